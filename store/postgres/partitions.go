package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"cloudsettle/core"
	"cloudsettle/core/usage"
)

// Usage and daily bills have a partition for each month, made when the first
// row of the month, or of the month before, is to be written.

// monthly are the tables with partitions.
var monthly = []string{"usage", "daily_bills"}

// The months that have partitions of their own. What is far outside is a
// mistake of somebody's, and shares one at each end.
const (
	firstMonth usage.Month = 2000 * 12
	lastMonth  usage.Month = 2199*12 + 11
)

// partitions knows which months have theirs.
type partitions struct {
	mu    sync.Mutex
	known map[usage.Month]bool
}

// clamp returns the month whose partition m is in.
func clamp(m usage.Month) usage.Month { return max(firstMonth-1, min(m, lastMonth+1)) }

// has reports whether the partitions of a day are known to be there.
func (p *partitions) has(d usage.Day) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.known[clamp(d.Month())]
}

// needs is a failure if the partitions of a day are not known to be there.
func (p *partitions) needs(d usage.Day) error {
	if p.has(d) {
		return nil
	}
	return &failure{homeless, &noPartition{d}}
}

// noPartition says which day has no partition.
type noPartition struct{ day usage.Day }

func (n *noPartition) Error() string { return "postgres: no partition for " + n.day.String() }

// missed makes the partitions that f misses. If the engine says that one is not
// there which was, somebody removed it: then all are looked for again.
func (p *partitions) missed(ctx context.Context, s *Store, f *failure) *failure {
	var n *noPartition
	if !errors.As(f.err, &n) {
		p.mu.Lock()
		p.known = nil
		p.mu.Unlock()
		return f
	}
	m := clamp(n.day.Month())
	for _, m := range []usage.Month{m, clamp(m + 1)} { // so that a month begins without a pause
		if err := s.makePartitions(ctx, m); err != nil {
			return &failure{final, fmt.Errorf("postgres: partitions of %s: %w: %w", m, core.ErrUnavailable, err)}
		}
		p.mu.Lock()
		if p.known == nil {
			p.known = map[usage.Month]bool{}
		}
		p.known[m] = true
		p.mu.Unlock()
	}
	return f
}

// partitionAttempts is how often a partition is tried to be made when another
// process makes the same one.
const partitionAttempts = 5

func (s *Store) makePartitions(ctx context.Context, m usage.Month) (err error) {
	for range partitionAttempts {
		if err = s.tryPartitions(ctx, m); err == nil {
			return nil
		}
		var pg *pgconn.PgError
		if !errors.As(err, &pg) || !isRace[pg.Code] {
			return err
		}
	}
	return err
}

// isRace are the codes that say that another process made the same: the table,
// its row in the catalog, a deadlock with it, a lock that took too long.
var isRace = map[string]bool{"42P07": true, "23505": true, "40P01": true, "40001": true, "55P03": true}

// tryPartitions makes the partitions of a month. It waits only a moment for
// those who use the tables, because everybody else waits behind it.
func (s *Store) tryPartitions(ctx context.Context, m usage.Month) error {
	return pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "set local lock_timeout = '2s'"); err != nil {
			return err
		}
		for _, table := range monthly {
			if _, err := tx.Exec(ctx, partitionSQL(table, m)); err != nil {
				return err
			}
		}
		return nil
	})
}

// partitionSQL makes a table's partition of one month.
func partitionSQL(table string, m usage.Month) string {
	name, from, to := "early", "minvalue", "maxvalue"
	if m > lastMonth {
		name = "late"
	} else if m >= firstMonth {
		name = fmt.Sprintf("%04d_%02d", m/12, m%12+1)
	}
	if m >= firstMonth {
		first, _ := m.Days()
		from = fmt.Sprint(int32(first))
	}
	if m <= lastMonth {
		_, end := m.Days()
		to = fmt.Sprint(int32(end))
	}
	return fmt.Sprintf("create table if not exists %[1]s_%[2]s partition of %[1]s for values from (%[3]s) to (%[4]s)",
		table, name, from, to)
}
