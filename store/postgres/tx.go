package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"cloudsettle/core"
)

// How transactions begin. AppendUsage locks the rows it changes and checks
// their revisions, so it needs no more than to see what is committed.
const (
	beginUpdate = "begin isolation level serializable read write"
	beginView   = "begin isolation level repeatable read read only"
	beginUsage  = "begin isolation level read committed read write"
)

// rollbackTimeout bounds how long a transaction that is given up may hold its
// connection; beyond it the connection is closed, which rolls back too.
const rollbackTimeout = 5 * time.Second

// maxFreshConns is how many connections a snapshot tries until its first
// statement is answered: those of a pool are all dead after a server restart.
const maxFreshConns = 3

// statement is a write that waits.
type statement struct {
	sql  string
	args []any
	// refused explains why the engine did not do it. It divides by the number
	// of rows it should have changed where a row may not be as expected.
	refused func() error
}

// query is a read. It has one result, which rows takes.
type query struct {
	sql  string
	args []any
	rows func(pgx.Rows) error
}

// reader is a transaction that reads.
type reader struct {
	s     *Store
	conn  *pgxpool.Conn // nil before the first statement
	begin string        // what begins it; "" once it has begun
	queue []statement
	wrote bool // something was sent that must be committed
	// broken is why the transaction cannot go on. It decides what becomes of
	// it, whatever its function makes of the errors it gets.
	broken *failure
	over   bool
	writes bool // it is part of a txn
	// Of a txn: the names that records had when they were read or put, by id,
	// and those whose places it holds; see named.
	names map[string][]key
	held  map[key]bool
	// Lookups that come next, and those that were done before their turn.
	ahead []*lookup
	known map[key]*lookup
}

// txn is a transaction that writes too.
type txn struct {
	reader
	moving bool // it puts records of another store, each of them new here
}

var (
	_ core.ReadTx = (*reader)(nil)
	_ core.Tx     = (*txn)(nil)
)

// errOver is what reads and writes of a transaction get after it has ended.
var errOver = errors.New("postgres: the transaction is over")

// write lets a write wait for the next round trip.
func (t *txn) write(refused func() error, sql string, args ...any) error {
	if t.over {
		return errOver
	}
	t.queue = append(t.queue, statement{sql, args, refused})
	clear(t.known) // it may be another now
	return nil
}

// ask sends what waits and queries in one round trip.
func (r *reader) ask(ctx context.Context, queries ...query) error {
	switch {
	case r.over:
		return errOver
	case r.broken != nil:
		return r.broken
	}
	for tries := 1; ; tries++ {
		fresh := r.begin != ""
		f := r.send(ctx, queries)
		switch {
		case f == nil:
			return nil
		case fresh && !r.writes && f.kind == lost && tries < maxFreshConns: // nothing was seen yet
			r.drop()
		default:
			r.broken = f
			return f
		}
	}
}

// send carries out one round trip.
func (r *reader) send(ctx context.Context, queries []query) *failure {
	if f := r.connect(ctx); f != nil {
		return f
	}
	b := &pgx.Batch{}
	if r.begin != "" {
		b.Queue(r.begin)
	}
	for _, w := range r.queue {
		b.Queue(w.sql, w.args...)
	}
	for _, q := range queries {
		b.Queue(q.sql, q.args...)
	}
	results := r.conn.SendBatch(ctx, b)
	f := r.receive(ctx, results, queries)
	if err := results.Close(); err != nil && f == nil {
		f = r.failed(ctx, err, nil)
	}
	if f == nil {
		r.wrote = r.wrote || len(r.queue) > 0
		r.begin, r.queue = "", r.queue[:0]
	}
	return f
}

// receive takes the results of one round trip in their order.
func (r *reader) receive(ctx context.Context, results pgx.BatchResults, queries []query) *failure {
	if r.begin != "" {
		if _, err := results.Exec(); err != nil {
			return r.failed(ctx, err, nil)
		}
	}
	for i := range r.queue {
		if _, err := results.Exec(); err != nil {
			return r.failed(ctx, err, r.queue[i].refused)
		}
	}
	for _, q := range queries {
		rows, err := results.Query()
		if err == nil {
			err = q.rows(rows)
			rows.Close()
		}
		if err = errors.Join(err, rows.Err()); err != nil {
			return r.failed(ctx, err, nil)
		}
	}
	return nil
}

// connect takes a connection from the pool.
func (r *reader) connect(ctx context.Context) *failure {
	if r.conn != nil {
		return nil
	}
	wait, stop := context.WithTimeout(ctx, acquireTimeout)
	defer stop()
	conn, err := r.s.pool.Acquire(wait)
	switch {
	case err == nil:
		r.conn = conn
		return nil
	case ctx.Err() != nil:
		return &failure{final, errContext(ctx)}
	}
	return &failure{lost, fmt.Errorf("postgres: connect: %w: %w", core.ErrUnavailable, err)}
}

// acquireTimeout bounds how long a call waits for a connection: when all are
// busy for longer, more calls only make it worse.
const acquireTimeout = 10 * time.Second

// end gives the transaction up, unless it was committed, and its connection
// back. The caller does not wait for the answer.
func (r *reader) end() {
	r.over = true
	conn := r.conn
	if conn == nil {
		return
	}
	r.conn = nil
	if conn.Conn().PgConn().TxStatus() == 'I' || conn.Conn().IsClosed() {
		conn.Release()
		return
	}
	r.s.running.Add(1) // whoever ends is still running, so Close has not passed
	go func() {
		defer r.s.running.Done()
		ctx, stop := context.WithTimeout(context.Background(), rollbackTimeout)
		defer stop()
		_, _ = conn.Exec(ctx, "rollback") // Release closes what is not idle
		conn.Release()
	}()
}

// drop gives a connection up that is of no use any more.
func (r *reader) drop() {
	if r.conn != nil {
		r.conn.Release() // closes it: it is broken
		r.conn = nil
	}
}

// failed makes a failure of an error that the engine or the connection gave.
func (r *reader) failed(ctx context.Context, err error, refused func() error) *failure {
	return classify(ctx, err, r.conn.Conn().IsClosed(), refused)
}
