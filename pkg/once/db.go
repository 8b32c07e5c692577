package once

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

// Dialect names the SQL dialect of a database.
type Dialect string

// The dialects.
const (
	SQLite     Dialect = "sqlite"
	PostgreSQL Dialect = "postgres"
)

const (
	defaultConnections = 20
	busyTimeout        = 10 * time.Second // SQLite: another process writes
	idleTimeout        = 10 * time.Second // PostgreSQL: a frozen owner cannot block a takeover for longer
	maxRetries         = 50               // of serialization failures and deadlocks
)

// DB is an open database with the tables of the store. It is safe for concurrent
// use.
type DB struct {
	sql     *sql.DB
	dialect Dialect
	path    string // SQLite: the file
	schema  string // PostgreSQL: the schema of the tables
	runner  runner
}

// runner runs a transaction. It answers fn's error after undoing all that fn did;
// when fn panics or calls runtime.Goexit, it undoes it as well. The context that fn
// receives is the one for SQL statements.
type runner interface {
	run(ctx context.Context, fn func(context.Context, *sql.Tx) error) error
	close() error
}

// Open opens the database and brings its own tables up to date (version table
// spine_goose). With Existing, a missing database or one without the tables is an
// error that wraps fs.ErrNotExist.
func Open(ctx context.Context, o Options) (*DB, error) {
	n := o.MaxConnections
	if n <= 0 {
		n = defaultConnections
	}
	var db *DB
	var err error
	switch scheme, rest, _ := strings.Cut(o.URL, ":"); scheme {
	case "sqlite":
		db, err = openSQLite(strings.TrimPrefix(rest, "//"), o.Existing)
	case "postgres", "postgresql":
		db, err = openPostgres(ctx, o.URL)
	default:
		err = fmt.Errorf("database url begins with %q, expected sqlite: or postgres:", scheme)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the database: %w", err)
	}
	db.sql.SetMaxOpenConns(n)
	db.sql.SetMaxIdleConns(n)
	if err := db.prepare(ctx, o.Existing); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the database: %w", err), db.Close())
	}
	return db, nil
}

func (db *DB) prepare(ctx context.Context, existing bool) error {
	if db.dialect == PostgreSQL {
		var schema sql.NullString
		if err := db.sql.QueryRowContext(ctx, `SELECT current_schema()`).Scan(&schema); err != nil {
			return available(err)
		}
		if !schema.Valid {
			return errors.New("no schema of the search_path exists")
		}
		db.schema = schema.String
		db.runner = &postgres{db: db.sql}
	} else {
		db.runner = newWriter(db.sql)
	}
	if existing {
		if _, err := db.sql.ExecContext(ctx, `SELECT id FROM spine_ownership WHERE id = 0`); err != nil {
			if noTable(err) {
				return fmt.Errorf("%w: the database has no tables of spine", fs.ErrNotExist)
			}
			return available(err)
		}
		return nil
	}
	own, err := fs.Sub(migrations, "migrations/"+string(db.dialect))
	if err != nil {
		return err
	}
	return db.migrate(ctx, "spine", own)
}

func openSQLite(path string, existing bool) (*DB, error) {
	if path == "" || strings.HasPrefix(path, ":memory:") {
		return nil, errors.New("sqlite: needs the path of a file")
	}
	mode := "rw"
	if !existing {
		mode = "rwc"
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return nil, err
		}
	}
	if _, err := os.Stat(path); existing && err != nil {
		return nil, err
	}
	q := url.Values{"mode": {mode}, "_txlock": {"immediate"}, "_pragma": {
		fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds()),
		"journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)",
	}}
	dsn := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: q.Encode()}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, err
	}
	return &DB{sql: db, dialect: SQLite, path: path}, nil
}

func openPostgres(ctx context.Context, dsn string) (*DB, error) {
	c, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	set := func(name, value string) {
		if _, ok := c.RuntimeParams[name]; !ok {
			c.RuntimeParams[name] = value
		}
	}
	set("application_name", "spine")
	set("idle_in_transaction_session_timeout", fmt.Sprint(idleTimeout.Milliseconds()))
	db := stdlib.OpenDB(*c)
	db.SetConnMaxIdleTime(5 * time.Minute)
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(available(err), db.Close())
	}
	return &DB{sql: db, dialect: PostgreSQL}, nil
}

// Close lets running transactions end, then closes the connections.
func (db *DB) Close() error {
	var err error
	if db.runner != nil {
		err = db.runner.close()
	}
	return errors.Join(err, db.sql.Close())
}

// SQL is the connection pool: for reading beside a running process, and for tests.
// On SQLite a write through it waits until the store's own writer is idle.
func (db *DB) SQL() *sql.DB { return db.sql }

// Dialect is the SQL dialect of the database.
func (db *DB) Dialect() Dialect { return db.dialect }

// Ping asks the database for a sign of life.
func (db *DB) Ping(ctx context.Context) error {
	if err := db.sql.PingContext(ctx); err != nil {
		return fmt.Errorf("asking the database for a sign of life: %w", available(err))
	}
	return nil
}

// Store is what one group has handled.
func (db *DB) Store(group string) *Store { return &Store{db: db, group: group} }

// write runs fn in a transaction of its own, again after a deadlock or a
// serialization failure.
func (db *DB) write(ctx context.Context, fn func(context.Context, *sql.Tx) error) error {
	for n := 1; ; n++ {
		err := db.runner.run(ctx, fn)
		if err == nil || !serialization(err) || errors.Is(err, ErrOutcomeUnknown) {
			return err
		}
		if n == maxRetries {
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		pause := time.NewTimer(rand.N(time.Duration(min(n, 20)) * 2 * time.Millisecond)) //nolint:gosec // jitter
		select {
		case <-ctx.Done():
			pause.Stop()
			return ctx.Err()
		case <-pause.C:
		}
	}
}
