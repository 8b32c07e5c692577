package database

import (
	"context"
	"database/sql/driver"
	"fmt"
	"strings"

	"modernc.org/sqlite"
)

// maxStatements are kept by a connection; more of them push the oldest out.
const maxStatements = 128

// remembering makes SQLite connections that keep the statements which they have
// prepared: to prepare one costs more than to run it.
type remembering struct{ driver.Connector }

// Connect implements driver.Connector.
func (r remembering) Connect(ctx context.Context) (driver.Conn, error) {
	dc, err := r.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	c, ok := dc.(connection)
	if !ok {
		return nil, fmt.Errorf("the SQLite driver can do less than is needed: %T", dc)
	}
	return &rememberer{connection: c, known: map[string]*statement{}}, nil
}

// connection is what database/sql, and the writer, use of the driver's.
type connection interface {
	driver.Conn
	running
	living
	sqlite.HookRegisterer
}

type running interface {
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
}

type living interface {
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

// rememberer is a connection, used by one goroutine at a time.
type rememberer struct {
	connection
	known map[string]*statement
	order []string // of their coming
}

type statement struct {
	prepared
	open bool // its rows are being read
	gone bool // forgotten meanwhile
}

type prepared interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

// Close implements driver.Conn.
func (c *rememberer) Close() error {
	for query := range c.known {
		c.forget(query)
	}
	return c.connection.Close()
}

// ExecContext implements driver.ExecerContext.
func (c *rememberer) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	s, err := c.statement(ctx, query)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return c.connection.ExecContext(ctx, query, args)
	}
	result, err := s.ExecContext(ctx, args)
	if err != nil {
		c.forget(query)
	}
	return result, err
}

// QueryContext implements driver.QueryerContext.
func (c *rememberer) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	s, err := c.statement(ctx, query)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return c.connection.QueryContext(ctx, query, args)
	}
	rows, err := s.QueryContext(ctx, args)
	if err != nil {
		c.forget(query)
		return nil, err
	}
	typed, ok := rows.(result)
	if !ok {
		return nil, fmt.Errorf("the SQLite driver's rows can do less than is needed: %T", rows)
	}
	s.open = true
	return &reading{result: typed, of: s}, nil
}

// statement is a prepared statement that nobody reads from; nil = there is none, and
// the query is to go its own way.
func (c *rememberer) statement(ctx context.Context, query string) (*statement, error) {
	if s := c.known[query]; s != nil {
		if s.open {
			return nil, nil //nolint:nilnil // as said
		}
		return s, nil
	}
	if !repeats(query) {
		return nil, nil //nolint:nilnil // as said
	}
	ds, err := c.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	p, ok := ds.(prepared)
	if !ok {
		return nil, fmt.Errorf("the SQLite driver's statements can do less than is needed: %T", ds)
	}
	if len(c.order) == maxStatements { // some of them are gone already
		c.forget(c.order[0])
		c.order = c.order[1:]
	}
	s := &statement{prepared: p}
	c.known[query] = s
	c.order = append(c.order, query)
	return s, nil
}

// forget closes a statement, or leaves that to the end of its rows.
func (c *rememberer) forget(query string) {
	s := c.known[query]
	if s == nil {
		return
	}
	delete(c.known, query)
	if s.gone = true; !s.open {
		_ = s.Close()
	}
}

// repeats says whether a query is one that comes again and does nothing while it is
// prepared, as a PRAGMA does.
func repeats(query string) bool {
	switch first, _, _ := strings.Cut(strings.TrimLeft(query, " \t\r\n"), " "); strings.ToUpper(first) {
	case "SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "SAVEPOINT", "RELEASE", "ROLLBACK":
		return true
	}
	return false
}

// result is what database/sql uses of the driver's rows.
type result interface {
	driver.Rows
	columns
}

type columns interface {
	driver.RowsColumnTypeDatabaseTypeName
	driver.RowsColumnTypeLength
	driver.RowsColumnTypeNullable
	driver.RowsColumnTypePrecisionScale
	driver.RowsColumnTypeScanType
}

// reading keeps a statement from being used again before its rows are read.
type reading struct {
	result
	of *statement
}

// Close implements driver.Rows.
func (r *reading) Close() error {
	err := r.result.Close()
	if r.of.open = false; r.of.gone {
		_ = r.of.Close()
	}
	return err
}
