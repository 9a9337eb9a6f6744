package postgres

import (
	"context"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cloudsettle/core"
	"cloudsettle/store/postgres/pgtest"
	"cloudsettle/store/storetest"
)

func TestMovable(t *testing.T) {
	t.Parallel()
	storetest.RunMovable(t, func(t *testing.T) core.Movable { return openNew(t) })
}

// notMoved are the tables that say nothing about records.
var notMoved = []string{"commits", "leases", "schema_versions"}

// TestEveryTableMoves: each table of the schema is moved. A new one must be
// added to movers.
func TestEveryTableMoves(t *testing.T) {
	t.Parallel()
	s := openNew(t)
	known := slices.Clone(notMoved)
	for _, m := range movers {
		known = append(known, m.holds...)
	}
	for _, table := range tablesOf(t, s) {
		if !slices.Contains(known, table) {
			t.Errorf("nothing moves %s", table)
		}
	}
	if diff := cmp.Diff(slices.Sorted(slices.Values(s.Tables())), slices.Sorted(maps.Keys(movers))); diff != "" {
		t.Errorf("tables and their movers:\n%s", diff)
	}
}

// TestMovedDatabaseIsTheSame: every column of every table has what it had in
// the database that the rows came from, and something is in each table.
func TestMovedDatabaseIsTheSame(t *testing.T) {
	t.Parallel()
	from, to := openNew(t), openNew(t)
	storetest.Fill(t, from)
	for _, table := range from.Tables() {
		list, err := from.Rows(t.Context(), table, "", 10_000)
		if err != nil {
			t.Fatal(err)
		}
		if err := to.PutRows(t.Context(), table, list); err != nil {
			t.Fatal(err)
		}
	}
	for _, table := range tablesOf(t, from) {
		if slices.Contains(notMoved, table) {
			continue
		}
		was, is := contents(t, from, table), contents(t, to, table)
		if len(was) == 0 {
			t.Errorf("%s is empty", table)
		}
		if diff := cmp.Diff(was, is); diff != "" {
			t.Errorf("%s:\n%s", table, diff)
		}
	}
}

// tablesOf returns the tables of a store's schema, without partitions.
func tablesOf(t *testing.T, s *Store) []string {
	t.Helper()
	return textsOf(t, s, `
		select relname::text from pg_class
		where relnamespace = current_schema()::regnamespace and relkind in ('r', 'p') and not relispartition order by 1`)
}

// contents returns all rows of a table with all columns.
func contents(t *testing.T, s *Store, table string) []string {
	t.Helper()
	return textsOf(t, s, "select x::text from "+table+" x order by 1")
}

func textsOf(t *testing.T, s *Store, sql string) (list []string) {
	t.Helper()
	rows, err := s.pool.Query(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			t.Fatal(err)
		}
		list = append(list, text)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}

func openNew(t *testing.T) *Store {
	t.Helper()
	s, err := Open(context.Background(), pgtest.New(t)+"&pool_max_conns=8")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}
