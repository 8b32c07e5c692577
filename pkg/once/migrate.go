package once

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"regexp"
	"strings"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations
var migrations embed.FS

// tableName is what a group's name may be: its tables begin with it.
var tableName = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,47}$`)

// Migrate brings the tables of a group up to date with the goose migrations at the
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
	return db.migrate(ctx, strings.ReplaceAll(name, "-", "_"), fsys)
}

func (db *DB) migrate(ctx context.Context, name string, fsys fs.FS) error {
	if found, err := fs.Glob(fsys, "*.sql"); err == nil && len(found) == 0 {
		if sub, err := fs.Sub(fsys, "migrations"); err == nil {
			fsys = sub
		}
	}
	table := name + "_goose"
	options := []goose.ProviderOption{goose.WithTableName(table), goose.WithDisableGlobalRegistry(true)}
	dialect := goose.DialectSQLite3
	if db.dialect == PostgreSQL {
		dialect = goose.DialectPostgres
		options = append(options, goose.WithSessionLocker(db.locker(table)))
	}
	p, err := goose.NewProvider(dialect, db.sql, fsys, options...)
	if err != nil {
		return fmt.Errorf("reading the migrations of %s: %w", name, err)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrating the tables of %s: %w", name, available(err))
	}
	return nil
}

// sessionLock lets one process migrate at a time; goose's own locker asks only
// every few seconds, this one waits in the database's queue.
type sessionLock struct{ class, key int32 }

var _ lock.SessionLocker = sessionLock{}

func (db *DB) locker(table string) sessionLock {
	return sessionLock{class: hash32(db.schema + "/goose"), key: hash32(table)}
}

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

func hash32(s string) int32 {
	h := fnv.New32a()
	h.Write([]byte(s))      // never answers an error
	return int32(h.Sum32()) //nolint:gosec // all 32 bits are wanted, the sign is no number
}
