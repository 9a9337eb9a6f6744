package postgres

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"

	"cloudsettle/core"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migrate brings a database to this version's schema. Of several processes that
// start at once one does it and the others wait for it.
func migrate(ctx context.Context, config *pgx.ConnConfig) error {
	db := stdlib.OpenDB(*config)
	defer db.Close()
	files, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		return fmt.Errorf("postgres: migrate: %w", err)
	}
	provider, err := goose.NewProvider(database.DialectCustom, db, files,
		goose.WithStore(versions{}), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("postgres: migrate: %w", err)
	}
	if err := inTurn(ctx, db, func() error { return upgrade(ctx, provider) }); err != nil {
		return errMigrate(err)
	}
	return nil
}

func errMigrate(err error) error {
	var connect *pgconn.ConnectError
	if errors.As(err, &connect) {
		return fmt.Errorf("postgres: the database does not answer: %w: %w", core.ErrUnavailable, err)
	}
	return fmt.Errorf("postgres: migrate: %w", err)
}

// upgrade applies what the database lacks. It refuses one that has more.
func upgrade(ctx context.Context, p *goose.Provider) error {
	now, err := p.GetDBVersion(ctx)
	if err != nil {
		return err
	}
	sources := p.ListSources()
	newest := sources[len(sources)-1].Version
	switch {
	case now > newest:
		return fmt.Errorf("version %d is newer than %d: %w", now, newest, core.ErrSchema)
	case now == newest:
		return nil
	}
	_, err = p.Up(ctx)
	return err
}

// inTurn runs fn while it holds the lock of migrations, which is a row: session
// and advisory locks are not to be had everywhere.
func inTurn(ctx context.Context, db *sql.DB, fn func() error) error {
	if err := (versions{}).CreateVersionTable(ctx, db); err != nil {
		return err
	}
	tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return err
	}
	var version int64
	err = tx.QueryRowContext(ctx, "select version from schema_versions where version = 0 for update").Scan(&version)
	if err == nil {
		err = fn()
	}
	return errors.Join(err, tx.Rollback())
}

// versions keeps which migrations were applied. It implements database.Store;
// goose's own table numbers its rows by a sequence.
type versions struct{}

// Tablename implements database.Store.
func (versions) Tablename() string { return "schema_versions" }

// CreateVersionTable implements database.Store. Version 0 is there from the
// start: it is the row that inTurn locks.
func (versions) CreateVersionTable(ctx context.Context, db database.DBTxConn) error {
	const create = `create table if not exists schema_versions (
		version    bigint      primary key,
		applied_at timestamptz not null default now()
	)`
	_, err := db.ExecContext(ctx, create)
	var pg *pgconn.PgError
	if errors.As(err, &pg) && (pg.Code == "23505" || pg.Code == "42P07") { // another process made it meanwhile
		err = nil
	}
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, "insert into schema_versions (version) values (0) on conflict do nothing")
	return err
}

// TableExists lets goose skip making the table.
func (versions) TableExists(context.Context, database.DBTxConn) (bool, error) { return true, nil }

// Insert implements database.Store.
func (versions) Insert(ctx context.Context, db database.DBTxConn, r database.InsertRequest) error {
	_, err := db.ExecContext(ctx, "insert into schema_versions (version) values ($1) on conflict do nothing", r.Version)
	return err
}

// Delete implements database.Store.
func (versions) Delete(ctx context.Context, db database.DBTxConn, version int64) error {
	_, err := db.ExecContext(ctx, "delete from schema_versions where version = $1", version)
	return err
}

// GetMigration implements database.Store.
func (versions) GetMigration(ctx context.Context, db database.DBTxConn, version int64) (*database.GetMigrationResult, error) {
	var out database.GetMigrationResult
	err := db.QueryRowContext(ctx, "select applied_at from schema_versions where version = $1", version).Scan(&out.Timestamp)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, database.ErrVersionNotFound
	}
	out.IsApplied = true
	return &out, err
}

// GetLatestVersion implements database.Store.
func (versions) GetLatestVersion(ctx context.Context, db database.DBTxConn) (version int64, err error) {
	err = db.QueryRowContext(ctx, "select max(version) from schema_versions").Scan(&version)
	return version, err
}

// ListMigrations implements database.Store.
func (versions) ListMigrations(ctx context.Context, db database.DBTxConn) (list []*database.ListMigrationsResult, err error) {
	rows, err := db.QueryContext(ctx, "select version from schema_versions order by version desc")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		m := &database.ListMigrationsResult{IsApplied: true}
		if err := rows.Scan(&m.Version); err != nil {
			return nil, err
		}
		list = append(list, m)
	}
	return list, rows.Err()
}
