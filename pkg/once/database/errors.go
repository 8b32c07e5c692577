package database

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Error is the type of this package's errors: constants, to be found by errors.Is.
// Errors of the drivers are told apart by type and code, never by text: texts are
// translated.
type Error string

// Error is the text.
func (e Error) Error() string { return string(e) }

const (
	// ErrUnavailable wraps errors of a database that is away, full or out of
	// connections: try again, it is nobody's fault.
	ErrUnavailable = Error("database is unavailable")
	// ErrOutcomeUnknown says that the answer to a commit was lost.
	ErrOutcomeUnknown = Error("outcome of the commit is unknown")
	// ErrLocked says that another process runs roles on this SQLite database.
	ErrLocked = Error("another process runs roles on this database")
	// ErrTxControl says that a handler tried to begin or end the transaction that it
	// runs in.
	ErrTxControl = Error("the transaction belongs to the engine: a handler neither begins nor ends it")
)

const errClosed = Error("it is closed")

// Serialization says that the database chose this transaction as a victim: 40001
// serialization_failure, 40P01 deadlock_detected.
func Serialization(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == "40001" || pg.Code == "40P01")
}

// NoTable says that err is that of a table that is not there: 42P01 undefined_table, and on SQLite its general error, which is
// what a missing table answers there.
func NoTable(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code == "42P01"
	}
	return sqliteCode(err) == sqlite3.SQLITE_ERROR
}

// sqliteCode is the primary result code, 0 if err is none of SQLite.
func sqliteCode(err error) int {
	var lite *sqlite.Error
	if errors.As(err, &lite) {
		return lite.Code() & 0xff
	}
	return 0
}

// Available wraps err in ErrUnavailable if it says that the database is away, full
// or out of connections.
func Available(err error) error {
	if err != nil && !errors.Is(err, ErrUnavailable) && away(err) {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}

func away(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false // the caller's own patience
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return awayCode(pg.Code)
	}
	switch sqliteCode(err) {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL,
		sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY:
		return true
	}
	var connect *pgconn.ConnectError
	return errors.As(err, &connect) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone)
}

// awayCode: class 08 connection, 53 resources, 57P operator, 58 system; 25006 the
// server has become a standby, 25P03 idle in transaction, 55P03 lock timeout.
func awayCode(code string) bool {
	switch code {
	case "25006", "25P03", "55P03", "57P01", "57P02", "57P03", "57P05":
		return true
	}
	return len(code) == 5 && (code[:2] == "08" || code[:2] == "53" || code[:2] == "58")
}

// rolledBack says that a failed commit has certainly changed nothing: the server
// itself refused it. Any other error leaves the outcome open.
func rolledBack(err error) bool {
	if errors.Is(err, pgx.ErrTxCommitRollback) {
		return true
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.SeverityUnlocalized == "ERROR"
	}
	switch sqliteCode(err) {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CONSTRAINT:
		return true
	}
	return false
}
