package postgres

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"cloudsettle/core"
)

const (
	// commitTimeout bounds how long a commit may take that was sent. It goes on
	// whatever the caller does.
	commitTimeout = 30 * time.Second
	// resolveTimeout bounds how long a call tries to find out whether a commit
	// happened whose answer was lost.
	resolveTimeout = 20 * time.Second
	// resolvePause is the pause between two tries.
	resolvePause = 100 * time.Millisecond
	// commitKept is how long commits are remembered: far longer than anybody
	// asks for one, clocks of replicas included.
	commitKept = 6 * time.Hour
	// sweepEvery and sweepRows bound the work of forgetting commits.
	sweepEvery = 10 * time.Minute
	sweepRows  = 10_000
)

// commitID names a commit. It begins with the time, so that old ones are next
// to each other.
type commitID [16]byte

func newCommitID() (id commitID) {
	_, _ = rand.Read(id[:]) // it never fails
	binary.BigEndian.PutUint64(id[:], uint64(time.Now().UnixMilli())<<16|uint64(binary.BigEndian.Uint16(id[6:])))
	return id
}

const insertCommit = "insert into commits (id, committed) values ($1, true)"

// commit sends what waits and commits. nil means that it is committed.
func (t *txn) commit(ctx context.Context) *failure {
	if t.begin != "" && len(t.queue) == 0 {
		return nil // nothing was read or written
	}
	whatever, stop := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer stop()
	if f := t.connect(ctx); f != nil {
		return f
	}
	var id commitID
	wrote := t.wrote || len(t.queue) > 0
	if wrote {
		id = newCommitID()
		t.queue = append(t.queue, statement{insertCommit, []any{id[:]}, errVoided})
	}
	f := t.finish(whatever)
	switch {
	case f == nil:
		return nil
	case !wrote && f.kind == unknown:
		return &failure{lost, f.err}
	case f.kind == unknown:
		return t.s.resolve(whatever, id, f)
	}
	return f
}

// errVoided says that somebody who waited for this commit gave it up.
func errVoided() error { return errors.New("postgres: the commit was given up") }

// finish sends the last round trip.
func (t *txn) finish(ctx context.Context) *failure {
	committed := ""
	f := t.send(ctx, []query{{sql: "commit", rows: func(rows pgx.Rows) error {
		rows.Close()
		committed = rows.CommandTag().String()
		return rows.Err()
	}}})
	switch {
	case f == nil && committed == "COMMIT":
		return nil
	case f == nil:
		return &failure{contended, fmt.Errorf("postgres: the commit ended as %s", committed)}
	case f.kind == lost && !pgconn.SafeToRetry(f.err):
		f.kind = unknown
	case f.kind == final && ctx.Err() != nil:
		return &failure{unknown, errors.New("postgres: the commit takes too long")}
	}
	return f
}

// resolve finds out whether a transaction was committed: the first to insert
// its id decides. If it is we, its own insert must fail and it never commits.
func (s *Store) resolve(ctx context.Context, id commitID, f *failure) *failure {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), resolveTimeout)
	defer stop()
	for {
		committed, err := s.isCommitted(ctx, id)
		switch {
		case err == nil && committed:
			return nil
		case err == nil:
			return &failure{lost, f.err}
		case !sleep(ctx, resolvePause):
			return &failure{final, fmt.Errorf(
				"postgres: whether the commit happened is not known: %w: %w: %w", core.ErrUnavailable, f.err, err)}
		}
	}
}

// isCommitted decides the fate of a commit and returns it. It may be asked
// again: the first answer stays.
func (s *Store) isCommitted(ctx context.Context, id commitID) (committed bool, err error) {
	b := &pgx.Batch{}
	b.Queue("insert into commits (id, committed) values ($1, false) on conflict do nothing", id[:])
	results := s.pool.SendBatch(ctx, b)
	if err := results.Close(); err != nil {
		return false, err
	}
	err = s.pool.QueryRow(ctx, "select committed from commits where id = $1", id[:]).Scan(&committed)
	return committed, err
}

// sweep forgets old commits from time to time, until ctx is done.
func (s *Store) sweep(ctx context.Context) {
	defer close(s.swept)
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			s.forget(ctx, now.Add(-commitKept))
		}
	}
}

// forget removes the commits before a time. What fails is done the next time.
func (s *Store) forget(ctx context.Context, before time.Time) {
	var end commitID
	binary.BigEndian.PutUint64(end[:], uint64(before.UnixMilli())<<16)
	for {
		tag, err := s.pool.Exec(ctx, `
			delete from commits where id in (select id from commits where id < $1 order by id limit $2)`, end[:], sweepRows)
		if err != nil || tag.RowsAffected() < sweepRows {
			return
		}
	}
}
