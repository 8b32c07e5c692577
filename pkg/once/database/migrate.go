package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
	"syscall"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// tableName is what a group's name may be: its tables begin with it.
var tableName = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,47}$`)

// Migrate brings the tables of name, a group, up to date with the goose migrations at the
// root of fsys or in its folder migrations. The version table is <name>_goose, with
// "_" for each "-" of the name. The same files run on both dialects. Several
// processes may start at once: one migrates, the others wait for it.
func (db *DB) Migrate(ctx context.Context, name string, fsys fs.FS) error {
	if !tableName.MatchString(name) {
		return fmt.Errorf("migrating the tables of %q: the name does not match %s", name, tableName)
	}
	if fsys == nil {
		return nil
	}
	if found, err := fs.Glob(fsys, "*.sql"); err == nil && len(found) == 0 {
		if sub, err := fs.Sub(fsys, "migrations"); err == nil {
			fsys = sub
		}
	}
	table := versionTable(name)
	options := []goose.ProviderOption{goose.WithTableName(table), goose.WithDisableGlobalRegistry(true)}
	dialect := goose.DialectSQLite3
	if db.dialect == PostgreSQL {
		dialect = goose.DialectPostgres
		options = append(options, goose.WithSessionLocker(sessionLock{db.class("migration"), hash32(table)}))
	}
	p, err := goose.NewProvider(dialect, db.sql, fsys, options...)
	if err != nil {
		return fmt.Errorf("reading the migrations of %s: %w", name, err)
	}
	if db.dialect == SQLite { // goose looks before it locks: two starts at once would both migrate
		release, err := lockFile(db.path+".migrate", syscall.LOCK_EX)
		if err != nil {
			return fmt.Errorf("migrating the tables of %s: %w", name, err)
		}
		defer func() { _ = release() }() // it was only locked
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrating the tables of %s: %w", name, Available(err))
	}
	return nil
}

// Versions are the newest migration of name that was carried out, and the newest one of
// fsys. Nothing is written.
func (db *DB) Versions(ctx context.Context, name string, fsys fs.FS) (stands, knows int64, err error) {
	files, err := fs.Glob(fsys, "*.sql")
	if err != nil {
		return 0, 0, err
	}
	for _, file := range files {
		v, err := goose.NumericComponent(file)
		if err != nil {
			return 0, 0, fmt.Errorf("reading the migrations of %s: %w", name, err)
		}
		knows = max(knows, v)
	}
	err = db.sql.QueryRowContext(ctx, `SELECT COALESCE(MAX(version_id), 0) FROM `+versionTable(name)).Scan(&stands)
	return stands, knows, err
}

func versionTable(name string) string { return strings.ReplaceAll(name, "-", "_") + "_goose" }

// sessionLock lets one process migrate at a time; goose's own locker asks only
// every few seconds, this one waits in the database's queue.
type sessionLock struct{ class, key int32 }

var _ lock.SessionLocker = sessionLock{}

// SessionLock waits for the lock.
func (l sessionLock) SessionLock(ctx context.Context, conn *sql.Conn) error {
	_, err := conn.ExecContext(ctx, `SELECT pg_advisory_lock($1, $2)`, l.class, l.key)
	return err
}

// SessionUnlock gives it back.
func (l sessionLock) SessionUnlock(ctx context.Context, conn *sql.Conn) error {
	var held bool
	err := conn.QueryRowContext(ctx, `SELECT pg_advisory_unlock($1, $2)`, l.class, l.key).Scan(&held)
	if err == nil && !held {
		err = errors.New("the lock of the migrations was not held")
	}
	return err
}
