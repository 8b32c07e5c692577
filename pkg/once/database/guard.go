package database

import (
	"context"
	"database/sql"
	"strings"
	"sync/atomic"

	"github.com/eventspine/spine/pkg/consumer"
)

// Guarded is the SQL of a transaction for a handler: it ends with the handler's
// turn, though the transaction may go on with another lane's.
type Guarded struct {
	tx    *sql.Tx
	lite  bool // SQLite: an interrupted statement would undo the whole batch
	ended atomic.Bool
}

// Guard makes the SQL of a handler; End ends it.
func (db *DB) Guard(tx *sql.Tx) *Guarded { return &Guarded{tx: tx, lite: db.dialect == SQLite} }

// End refuses all that comes later.
func (g *Guarded) End() { g.ended.Store(true) }

var _ consumer.DB = (*Guarded)(nil)

func (g *Guarded) allow(ctx context.Context, query string) (context.Context, error) {
	if g.ended.Load() {
		return nil, sql.ErrTxDone
	}
	if control(query) {
		return nil, ErrTxControl
	}
	if g.lite {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		return context.WithoutCancel(ctx), nil
	}
	return ctx, nil
}

// ExecContext implements consumer.DB.
func (g *Guarded) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	ctx, err := g.allow(ctx, query)
	if err != nil {
		return nil, err
	}
	return g.tx.ExecContext(ctx, query, args...)
}

// PrepareContext implements consumer.DB.
func (g *Guarded) PrepareContext(ctx context.Context, query string) (*sql.Stmt, error) {
	ctx, err := g.allow(ctx, query)
	if err != nil {
		return nil, err
	}
	return g.tx.PrepareContext(ctx, query)
}

// QueryContext implements consumer.DB.
func (g *Guarded) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	ctx, err := g.allow(ctx, query)
	if err != nil {
		return nil, err
	}
	return g.tx.QueryContext(ctx, query, args...)
}

// QueryRowContext implements consumer.DB. What allow refuses comes back as the
// error of a context that was cancelled before the query.
func (g *Guarded) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	allowed, err := g.allow(ctx, query)
	if err != nil {
		refused, cancel := context.WithCancelCause(ctx)
		cancel(err)
		allowed = refused
	}
	return g.tx.QueryRowContext(allowed, query, args...)
}

// control says that a statement begins or ends a transaction. Savepoints are a
// handler's right.
func control(query string) bool {
	query = strings.TrimLeft(query, " \t\r\n;")
	n := strings.IndexFunc(query, func(r rune) bool { return r < 'A' || r > 'z' })
	if n < 0 {
		n = len(query)
	}
	switch strings.ToUpper(query[:n]) {
	case "BEGIN", "START", "COMMIT", "END", "ABORT":
		return true
	case "ROLLBACK":
		return !strings.Contains(strings.ToUpper(query), " TO ")
	}
	return false
}
