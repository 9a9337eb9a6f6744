package store

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"iter"
	"slices"
	"sync"

	"cloudsettle/core"
	"cloudsettle/store/internal/rows"
)

// copyBatch is how many rows go into one transaction of the target: enough to
// make commits cheap, few enough to hold in memory whatever the rows.
const copyBatch = 2000

// copySetting is where a target notes that a copy into it has begun. It does
// not move, as it says nothing about the records.
const copySetting = "db_copy"

// What copySetting says.
const (
	copyBegun = "begun"
	copyDone  = "done"
)

// Copy moves all records of one store to another. It may be stopped at any
// time and run again, and then goes on where it was.
type Copy struct {
	From, To core.Store
	// Moved, if not nil, is told what was done with how many more rows. Several
	// goroutines call it.
	Moved func(what string, rows int)
}

// Digest is what two stores have in one table.
type Digest struct {
	Table string `json:"table"`
	Rows  int    `json:"rows"`
	From  Sum    `json:"from"`
	To    Sum    `json:"to"`
	// Differs is the first key with another row, or none, on the other side.
	Differs string `json:"differs,omitempty"`
}

// Sum is the SHA-256 of the keys and values of all rows of a table, in order.
type Sum [sha256.Size]byte

// String returns the sum in hex.
func (s Sum) String() string { return hex.EncodeToString(s[:]) }

// MarshalText writes what String returns. It never fails.
func (s Sum) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, s[:]), nil }

// Same reports whether both stores have the same rows.
func (d *Digest) Same() bool { return d.From == d.To }

// ErrDiffers is a copy that is not what was copied.
var ErrDiffers = errors.New("the copy differs")

// ErrUnfinished is a store into which a copy has begun and not ended well: it
// is not to be used.
var ErrUnfinished = errors.New("a copy into this store was not finished: run it again")

// CheckComplete returns ErrUnfinished for half a copy.
func CheckComplete(ctx context.Context, s core.Store) error {
	state, err := copyState(ctx, s)
	if err == nil && state == copyBegun {
		err = ErrUnfinished
	}
	return err
}

func copyState(ctx context.Context, s core.Store) (string, error) {
	state, err := core.InView(ctx, s, func(ctx context.Context, tx core.ReadTx) (string, error) {
		return tx.Setting(ctx, copySetting)
	})
	if errors.Is(err, core.ErrNotFound) {
		return "", nil
	}
	return state, err
}

func setCopyState(ctx context.Context, s core.Store, state string) error {
	return s.Update(ctx, func(ctx context.Context, tx core.Tx) error {
		return tx.PutSetting(ctx, copySetting, state)
	})
}

// Run copies what is missing, then reads both stores again and compares them
// table by table. ErrDiffers comes with all digests. The target must be empty
// or an unfinished copy, and stays unfinished until Finish.
func (c *Copy) Run(ctx context.Context) ([]Digest, error) {
	from, to, err := c.begin(ctx)
	if err != nil {
		return nil, err
	}
	for _, table := range from.Tables() {
		if err := c.table(ctx, from, to, table); err != nil {
			return nil, fmt.Errorf("copy %s: %w", table, err)
		}
	}
	return c.compare(ctx, from, to)
}

// Finish makes the target usable. Run has found it equal.
func (c *Copy) Finish(ctx context.Context) error { return setCopyState(ctx, c.To, copyDone) }

// begin checks both stores and claims an empty target.
func (c *Copy) begin(ctx context.Context) (from, to core.Movable, err error) {
	from, ok := c.From.(core.Movable)
	to, both := c.To.(core.Movable)
	if !ok || !both {
		return nil, nil, core.Invalid("not_movable", "records of this kind of store cannot be moved")
	}
	if !slices.Equal(from.Tables(), to.Tables()) {
		return nil, nil, core.Invalid("not_movable", "the stores do not have the same tables")
	}
	if err := CheckComplete(ctx, from); err != nil {
		return nil, nil, fmt.Errorf("the source: %w", err)
	}
	state, err := copyState(ctx, to)
	if err != nil || state == copyBegun {
		return from, to, err
	}
	for _, table := range to.Tables() {
		key, err := to.LastKey(ctx, table)
		if err != nil {
			return nil, nil, err
		}
		if key != "" {
			return nil, nil, core.Conflict("not_empty", "the target is not empty: it has %s", table)
		}
	}
	return from, to, setCopyState(ctx, to, copyBegun)
}

// table copies the rows of a table that come after those that are there. Rows
// are written in order, so the last one tells how far a copy came.
func (c *Copy) table(ctx context.Context, from, to core.Movable, table string) error {
	after, err := to.LastKey(ctx, table)
	if err != nil {
		return err
	}
	if table == rows.Settings.Name { // the note of this copy is in it; there are few
		after = ""
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	read := make(chan batch, 1) // the next one is read while this one is written
	go func() {
		defer close(read)
		for list, err := range batches(ctx, from, table, after) {
			select {
			case read <- batch{list, err}:
			case <-ctx.Done():
				return
			}
		}
	}()
	for b := range read {
		if b.err == nil {
			b.err = to.PutRows(ctx, table, b.rows)
		}
		if b.err != nil {
			stop()
			for range read { // until the reader has left the source
			}
			return b.err
		}
		c.moved("copy "+table, len(b.rows))
	}
	return ctx.Err()
}

func (c *Copy) moved(what string, n int) {
	if c.Moved != nil {
		c.Moved(what, n)
	}
}

// batch is what was read at a time.
type batch struct {
	rows []core.Row
	err  error
}

// batches yields the rows of a table after a key, without the note of a copy.
func batches(ctx context.Context, s core.Movable, table, after string) iter.Seq2[[]core.Row, error] {
	return func(yield func([]core.Row, error) bool) {
		for {
			list, err := s.Rows(ctx, table, after, copyBatch)
			if err != nil {
				yield(nil, err)
				return
			}
			if len(list) == 0 {
				return
			}
			after = list[len(list)-1].Key
			if table == rows.Settings.Name {
				list = slices.DeleteFunc(list, func(r core.Row) bool { return r.Key == copySetting })
			}
			if !yield(list, nil) {
				return
			}
		}
	}
}

// compare makes the digests of all tables.
func (c *Copy) compare(ctx context.Context, from, to core.Movable) (all []Digest, err error) {
	for _, table := range from.Tables() {
		d := Digest{Table: table}
		var errs [2]error
		var both sync.WaitGroup
		both.Go(func() { d.From, d.Rows, errs[0] = c.digest(ctx, from, table) })
		both.Go(func() { d.To, _, errs[1] = c.digest(ctx, to, table) })
		both.Wait()
		if err := errors.Join(errs[:]...); err != nil {
			return all, fmt.Errorf("compare %s: %w", table, err)
		}
		if !d.Same() {
			if d.Differs, err = firstDifference(ctx, from, to, table); err != nil {
				return all, err
			}
		}
		all = append(all, d)
	}
	if i := slices.IndexFunc(all, func(d Digest) bool { return !d.Same() }); i >= 0 {
		return all, fmt.Errorf("%w: the first difference is in %s at %q", ErrDiffers, all[i].Table, all[i].Differs)
	}
	return all, nil
}

// digest hashes the rows of a table, each part with its length.
func (c *Copy) digest(ctx context.Context, s core.Movable, table string) (sum Sum, n int, err error) {
	h := sha256.New()
	for list, err := range batches(ctx, s, table, "") {
		if err != nil {
			return sum, n, err
		}
		for i := range list {
			add(h, []byte(list[i].Key))
			add(h, list[i].Value)
		}
		n += len(list)
		c.moved("compare "+table, len(list))
	}
	return Sum(h.Sum(nil)), n, nil
}

func add(h hash.Hash, part []byte) {
	var size [8]byte
	binary.BigEndian.PutUint64(size[:], uint64(len(part)))
	_, _ = h.Write(size[:]) // a hash takes everything
	_, _ = h.Write(part)
}

// firstDifference finds the first key whose rows are not the same.
func firstDifference(ctx context.Context, from, to core.Movable, table string) (string, error) {
	next, stop := iter.Pull2(each(ctx, to, table))
	defer stop()
	for a, err := range each(ctx, from, table) {
		b, errB, there := next()
		switch {
		case errors.Join(err, errB) != nil:
			return "", errors.Join(err, errB)
		case !there:
			return a.Key, nil
		case a.Key != b.Key || string(a.Value) != string(b.Value):
			return min(a.Key, b.Key), nil
		}
	}
	b, err, _ := next()
	return b.Key, err
}

// each yields the rows of a table one by one.
func each(ctx context.Context, s core.Movable, table string) iter.Seq2[core.Row, error] {
	return func(yield func(core.Row, error) bool) {
		for list, err := range batches(ctx, s, table, "") {
			if err != nil {
				yield(core.Row{}, err)
				return
			}
			for _, row := range list {
				if !yield(row, nil) {
					return
				}
			}
		}
	}
}
