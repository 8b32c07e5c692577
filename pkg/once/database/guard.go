package database

import (
	"context"
	"database/sql"
	"strings"
	"sync"

	"github.com/eventspine/spine/pkg/consumer"
)

// Guarded is the SQL of a transaction for a handler: it ends with the handler's
// turn, though the transaction may go on with another lane's.
type Guarded struct {
	tx   *sql.Tx
	lite bool // SQLite: an interrupted statement would undo the whole batch

	mu    sync.RWMutex // a statement runs, or End: none of a handler that was left behind runs in another's turn
	ended bool
	stmts []*sql.Stmt
}

// Guard makes the SQL of a handler; End ends it.
func (db *DB) Guard(tx *sql.Tx) *Guarded { return &Guarded{tx: tx, lite: db.dialect == SQLite} }

// End refuses all that comes later.
func (g *Guarded) End() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ended = true
	for _, s := range g.stmts {
		_ = s.Close()
	}
}

var _ consumer.DB = (*Guarded)(nil)

// allow says whether a statement may run now. g.mu is held until it has run.
func (g *Guarded) allow(ctx context.Context, query string) (context.Context, error) {
	if g.ended {
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
	g.mu.RLock()
	defer g.mu.RUnlock()
	ctx, err := g.allow(ctx, query)
	if err != nil {
		return nil, err
	}
	return g.tx.ExecContext(ctx, query, args...)
}

// PrepareContext implements consumer.DB.
func (g *Guarded) PrepareContext(ctx context.Context, query string) (*sql.Stmt, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	ctx, err := g.allow(ctx, query)
	if err != nil {
		return nil, err
	}
	stmt, err := g.tx.PrepareContext(ctx, query) //nolint:sqlclosecheck // the caller's
	if err == nil {
		g.stmts = append(g.stmts, stmt)
	}
	return stmt, err
}

// QueryContext implements consumer.DB.
func (g *Guarded) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	ctx, err := g.allow(ctx, query)
	if err != nil {
		return nil, err
	}
	return g.tx.QueryContext(ctx, query, args...) //nolint:sqlclosecheck // the caller's
}

// QueryRowContext implements consumer.DB. What allow refuses comes back as the
// error of a context that was cancelled before the query.
func (g *Guarded) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	g.mu.RLock()
	defer g.mu.RUnlock()
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
