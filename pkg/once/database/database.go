// Package database opens a database of one of two dialects, SQLite for one machine
// and PostgreSQL beyond, brings its tables up to date and runs transactions whose
// outcome is known: undone, committed, or said to be unknown. On SQLite one writer
// serves all, several transactions in one commit.
package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"modernc.org/sqlite"
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

// DB is an open database. It is safe for concurrent use.
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

// Options opens a database.
type Options struct {
	URL            string // "sqlite:PATH" or "postgres://…"
	MaxConnections int    // 0 = 20
	Existing       bool   // an SQLite file that is not there is an error that wraps fs.ErrNotExist
}

// Open opens the database.
func Open(ctx context.Context, o Options) (*DB, error) {
	n := o.MaxConnections
	if n <= 0 {
		n = defaultConnections
	}
	n = max(n, 2) // the writer of SQLite keeps one
	var db *DB
	var err error
	switch scheme, rest, _ := strings.Cut(o.URL, ":"); scheme {
	case "sqlite":
		db, err = openSQLite(strings.TrimPrefix(rest, "//"), o.Existing)
	case "postgres", "postgresql":
		db, err = openPostgres(ctx, o.URL)
	default:
		err = fmt.Errorf("database url begins with %q, expected sqlite or postgres", scheme)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the database: %w", err)
	}
	db.sql.SetMaxOpenConns(n)
	db.sql.SetMaxIdleConns(n)
	if err := db.prepare(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the database: %w", err), db.Close())
	}
	return db, nil
}

func (db *DB) prepare(ctx context.Context) error {
	if db.dialect == PostgreSQL {
		var schema sql.NullString
		if err := db.sql.QueryRowContext(ctx, `SELECT current_schema()`).Scan(&schema); err != nil {
			return Available(err)
		}
		if !schema.Valid {
			return errors.New("no schema of the search_path exists")
		}
		db.schema = schema.String
		db.runner = &postgres{db: db.sql}
	} else {
		db.runner = newWriter(ctx, db.sql)
	}
	return nil
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
	connector, err := sqlite.NewConnector(dsn.String())
	if err != nil {
		return nil, err
	}
	return &DB{sql: sql.OpenDB(remembering{connector}), dialect: SQLite, path: path}, nil
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
		return nil, errors.Join(Available(err), db.Close())
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

// Name is the file of an SQLite database, the schema of a PostgreSQL one.
func (db *DB) Name() string {
	if db.dialect == PostgreSQL {
		return db.schema
	}
	return db.path
}

// Ping asks the database for a sign of life.
func (db *DB) Ping(ctx context.Context) error {
	if err := db.sql.PingContext(ctx); err != nil {
		return fmt.Errorf("asking the database for a sign of life: %w", Available(err))
	}
	return nil
}

// Write runs fn in a transaction of its own, again after a deadlock or a
// serialization failure. The context that fn receives is the one for SQL statements.
// An error of fn undoes everything and comes back as it is, wrapped in
// ErrUnavailable if it was the database that went away; a panic or runtime.Goexit in
// fn undoes everything, too. An answer to the commit that was lost is
// ErrOutcomeUnknown.
func (db *DB) Write(ctx context.Context, fn func(context.Context, *sql.Tx) error) error {
	for n := 1; ; n++ {
		err := db.WriteOnce(ctx, fn)
		if err == nil || !Serialization(err) || errors.Is(err, ErrOutcomeUnknown) {
			return err
		}
		if n == maxRetries {
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		pause := time.NewTimer(rand.N(time.Duration(min(n, 20)) * 2 * time.Millisecond))
		select {
		case <-ctx.Done():
			pause.Stop()
			return ctx.Err()
		case <-pause.C:
		}
	}
}

// WriteOnce is Write without a second try after a deadlock.
func (db *DB) WriteOnce(ctx context.Context, fn func(context.Context, *sql.Tx) error) error {
	return db.runner.run(ctx, fn)
}

// Lock takes the lock number id of a kind until the transaction ends, exclusively or
// shared. Later requests queue behind a waiting one. On SQLite the one writer is
// lock enough.
func (db *DB) Lock(ctx context.Context, tx *sql.Tx, l Lock) error {
	if db.dialect == SQLite {
		return nil
	}
	query := `SELECT pg_advisory_xact_lock($1, $2)`
	if l.Shared {
		query = `SELECT pg_advisory_xact_lock_shared($1, $2)`
	}
	_, err := tx.ExecContext(ctx, query, db.class(l.Kind), l.ID)
	return err
}

// Lock is a lock of a transaction.
type Lock struct {
	Kind   string
	ID     int32
	Shared bool
}

// Placeholders is "$from,…" for n parameters.
func Placeholders(from, n int) string {
	b := make([]byte, 0, 4*n)
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(append(b, '$'), int64(from+i), 10)
	}
	return string(b)
}

// Quote is a name as it stands in a statement.
func Quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// class keeps the locks of two kinds, and of two schemas of one database, apart.
func (db *DB) class(kind string) int32 { return hash32(db.schema + "/" + kind) }

func hash32(s string) int32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(s)) // never answers an error
	return int32(h.Sum32())
}
