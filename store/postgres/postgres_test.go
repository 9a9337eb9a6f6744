package postgres_test

import (
	"context"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"

	"cloudsettle/core"
	"cloudsettle/store/postgres"
	"cloudsettle/store/postgres/pgtest"
	"cloudsettle/store/storetest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// pool bounds the connections of a test's store: many tests share the server.
const pool = "&pool_max_conns=16"

func TestConformance(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) core.Store { return open(t, pgtest.New(t)) })
}

func TestDurable(t *testing.T) {
	storetest.RunDurable(t, storetest.Durable{
		Open:  func(url string) (core.Store, error) { return postgres.Open(context.Background(), url+pool) },
		Place: func(t *testing.T) string { return pgtest.New(t) },
		Renew: func(url string) error {
			return inDatabase(url, "insert into schema_versions (version) values (1 << 30)")
		},
	})
}

// open opens the store at url and closes it after the test.
func open(t testing.TB, url string) *postgres.Store {
	t.Helper()
	s, err := postgres.Open(t.Context(), url+pool)
	if err != nil {
		t.Fatalf("Open() = %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	})
	return s
}

// inDatabase runs statements behind the store's back.
func inDatabase(url string, statements ...string) error {
	ctx := context.Background()
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	for _, sql := range statements {
		if _, err := c.Exec(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}
