package postgres

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/jackc/pgx/v5"

	"cloudsettle/core"
	"cloudsettle/core/usage"
	"cloudsettle/core/workspace"
	"cloudsettle/store/internal/daypack"
)

// AppendUsage implements core.Store. A batch with a sample that cannot be a key
// is ErrInvalid and nothing of it is stored.
//
// The days that a batch touches are read and locked, merged here, and written
// back. A new day is inserted only if nobody else has, and a stored one changed
// only at the revision that was merged: so it needs no serializable
// transaction, whose look for days that are not there yet would be in the way
// of all who report.
func (s *Store) AppendUsage(ctx context.Context, entries []usage.Entry) ([]usage.Verdict, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	days, err := daypack.Split(entries)
	if err != nil || len(days) == 0 {
		return nil, err
	}
	for i := range days {
		if !isText(days[i].Workspace) {
			return nil, core.Invalid("invalid_sample", "workspace %q is not UTF-8", days[i].Workspace)
		}
	}
	verdicts := make([]usage.Verdict, len(entries))
	err = s.repeat(ctx, beginUsage, func(ctx context.Context, t *txn) error { return t.appendDays(ctx, days, verdicts) })
	if err != nil {
		return nil, err
	}
	return verdicts, nil
}

// Statements about many rows name the keys twice: as rows to join, and as arrays
// that the index is looked up by. From a join alone the planner may conclude
// that a day is small, and read all of it for each chunk.

// dayKey is where a day's usage is stored.
type dayKey struct {
	day       int32
	workspace string
}

// storedDay is a day's usage as it is stored.
type storedDay struct {
	key     dayKey
	sealed  bool
	samples []byte
}

func scanStoredDay(rows pgx.Rows, d *storedDay) error {
	return rows.Scan(&d.key.day, &d.key.workspace, &d.sealed, &d.samples)
}

// dayArrays are the columns of several days' usage.
type dayArrays struct {
	days       []int32
	workspaces []string
	revs       []int64
	samples    [][]byte
}

func (a *dayArrays) add(d *daypack.Batch, rev uint64, samples []byte) {
	a.days, a.workspaces = append(a.days, int32(d.Day)), append(a.workspaces, d.Workspace)
	a.revs, a.samples = append(a.revs, whole(rev)), append(a.samples, samples)
}

// appendDays merges batches into their stored days.
func (t *txn) appendDays(ctx context.Context, days []daypack.Batch, verdicts []usage.Verdict) error {
	stored, err := t.lockDays(ctx, days)
	if err != nil {
		return err
	}
	var fresh, changed dayArrays
	for i := range days {
		d := &days[i]
		before, there := stored[dayKey{int32(d.Day), d.Workspace}]
		value, differs, err := d.Merge(nil, before.samples, before.sealed, verdicts)
		if err != nil {
			return errUsage(d.Workspace, d.Day, err)
		}
		rev, err := daypack.Rev(value)
		switch {
		case err != nil:
			return errUsage(d.Workspace, d.Day, err)
		case !differs:
		case there:
			changed.add(d, rev, value)
		default:
			fresh.add(d, rev, value)
		}
	}
	return t.putDays(&fresh, &changed)
}

// lockDays reads the stored days of batches so that they stay as they are. It
// fails if the partition of one is not known to be there.
func (t *txn) lockDays(ctx context.Context, days []daypack.Batch) (map[dayKey]storedDay, error) {
	var keys dayArrays
	for i := range days {
		if i == 0 || days[i].Day != days[i-1].Day {
			if err := t.s.partitions.needs(days[i].Day); err != nil {
				return nil, err
			}
		}
		keys.days, keys.workspaces = append(keys.days, int32(days[i].Day)), append(keys.workspaces, days[i].Workspace)
	}
	rows, err := all(ctx, &t.reader, scanStoredDay, `
		select u.day, u.workspace, u.sealed, u.samples
		from unnest($1::int[], $2::text[]) with ordinality as k (day, workspace, n)
		join usage u on u.day = k.day and u.workspace = k.workspace collate "C"
		where u.day = any($3::int[]) and u.workspace = any($2::text[])
		order by k.n for update of u`, keys.days, keys.workspaces, slices.Compact(slices.Clone(keys.days)))
	stored := make(map[dayKey]storedDay, len(rows))
	for _, d := range rows {
		stored[d.key] = d
	}
	return stored, err
}

func (t *txn) putDays(fresh, changed *dayArrays) error {
	outrun := func() error { return core.Conflict("contended", "usage of the same day was reported at the same time") }
	if len(fresh.days) > 0 {
		err := t.write(outrun, `
			insert into usage (day, workspace, rev, sealed, samples)
			select day, workspace, rev, false, samples
			from unnest($1::int[], $2::text[], $3::bigint[], $4::bytea[]) as k (day, workspace, rev, samples)`,
			fresh.days, fresh.workspaces, fresh.revs, fresh.samples)
		if err != nil {
			return err
		}
	}
	if len(changed.days) == 0 {
		return nil
	}
	return t.write(outrun, `
		with changed as (
			update usage u set rev = k.rev, samples = k.samples
			from unnest($1::int[], $2::text[], $3::bigint[], $4::bytea[]) as k (day, workspace, rev, samples)
			where u.day = k.day and u.workspace = k.workspace collate "C" and u.rev = k.rev - 1 and not u.sealed
				and u.day = any($5::int[]) and u.workspace = any($2::text[])
			returning 1
		) select 1 / (count(*) = cardinality($1::int[]))::int from changed`,
		changed.days, changed.workspaces, changed.revs, changed.samples, slices.Compact(slices.Clone(changed.days)))
}

func errUsage(workspace string, day usage.Day, err error) error {
	return fmt.Errorf("postgres: usage of %q on %s: %w", workspace, day, err)
}

// scanUsage reads day, workspace, sealed and samples.
func scanUsage(rows pgx.Rows, rec *usage.Record) error {
	var d storedDay
	if err := scanStoredDay(rows, &d); err != nil {
		return err
	}
	return d.unpack(rec)
}

func (d *storedDay) unpack(rec *usage.Record) (err error) {
	day := usage.Day(d.key.day)
	if *rec, err = daypack.Decode(d.samples, d.key.workspace, day); err != nil {
		return errUsage(d.key.workspace, day, err)
	}
	rec.Sealed = d.sealed
	return nil
}

// UsageOf implements core.UsageReader.
func (r *reader) UsageOf(ctx context.Context, id workspace.ID, day usage.Day) (usage.Record, error) {
	what := "usage on " + day.String() + " of workspace"
	if !isKey(string(id)) {
		return usage.Record{}, r.none(what, string(id))
	}
	return only(ctx, r, what, string(id), scanUsage,
		"select day, workspace, sealed, samples from usage where day = $1 and workspace = $2", int32(day), string(id))
}

// UsageOn implements core.UsageReader.
func (r *reader) UsageOn(ctx context.Context, day usage.Day, p core.Page) iter.Seq2[usage.Record, error] {
	return list(ctx, r, p, listing[usage.Record]{
		`select day, workspace, sealed, samples from usage where day = $1 and workspace > $2
		order by workspace limit $3`,
		onDay(day), scanUsage, func(rec *usage.Record) string { return rec.Workspace },
	})
}

// onDay is byID within a day.
func onDay(day usage.Day) func(string) ([]any, error) {
	return func(after string) ([]any, error) { return []any{int32(day), clean(after)}, nil }
}

// UsageDays implements core.UsageReader. It looks once for each day that it
// yields, however many records the day has.
func (r *reader) UsageDays(ctx context.Context, from, to usage.Day) iter.Seq2[usage.Day, error] {
	return yieldAll(ctx, r, scanDay, `
		with recursive open (day) as (
			(select day from usage where not sealed and day >= $1 and day < $2 order by day limit 1)
			union all
			select (select u.day from usage u where not u.sealed and u.day > open.day and u.day < $2 order by u.day limit 1)
			from open where open.day is not null
		) select day from open where day is not null`, int32(from), int32(to))
}

func scanDay(rows pgx.Rows, d *usage.Day) error { return rows.Scan((*int32)(d)) }

// SealUsage implements core.UsageWriter. The revision stays: it is the one that
// was billed.
func (t *txn) SealUsage(ctx context.Context, seals ...usage.Seal) ([]bool, error) {
	if t.over {
		return nil, errOver
	}
	done := make([]bool, len(seals))
	byDay := map[usage.Day][]int{}
	for i, seal := range seals {
		if err := checkKey("usage", seal.Workspace); err != nil {
			return nil, err
		}
		byDay[seal.Day] = append(byDay[seal.Day], i)
	}
	for day, at := range byDay {
		workspaces, revs := make([]string, len(at)), make([]int64, len(at))
		for i, n := range at {
			workspaces[i], revs[i] = seals[n].Workspace, whole(seals[n].Rev)
		}
		sealed, err := all(ctx, &t.reader, func(rows pgx.Rows, n *int) error { return rows.Scan(n) }, `
			update usage u set sealed = true
			from unnest($2::text[], $3::bigint[]) with ordinality as k (workspace, rev, n)
			where u.day = $1 and u.workspace = any($2::text[]) and u.workspace = k.workspace collate "C" and u.rev = k.rev
				and not u.sealed
			returning k.n`, int32(day), workspaces, revs)
		if err != nil {
			return nil, err
		}
		for _, n := range sealed {
			done[at[n-1]] = true
		}
		t.wrote = t.wrote || len(sealed) > 0
	}
	return done, nil
}
