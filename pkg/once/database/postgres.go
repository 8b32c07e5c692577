package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/stdlib"
)

// commitTimeout bounds the wait for the answer to a commit, rollbackTimeout that
// to a rollback.
const (
	commitTimeout   = 15 * time.Second
	rollbackTimeout = 2 * time.Second
)

// postgres runs each transaction on one connection of the pool.
type postgres struct{ db *sql.DB }

func (p *postgres) close() error { return nil }

// run begins, calls fn and commits. READ COMMITTED is asked for by name: the fence
// needs a statement after the lock to see what was committed before it.
func (p *postgres) run(ctx context.Context, fn func(context.Context, *sql.Tx) error) error {
	conn, err := p.db.Conn(ctx)
	if err != nil {
		return Available(err)
	}
	defer conn.Close()
	// The transaction obeys ctx until the commit begins, and not while it runs:
	// ending it there would only lose the answer.
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	obey := context.AfterFunc(ctx, end)
	defer obey()
	tx, err := conn.BeginTx(life, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return p.failed(ctx, conn, err)
	}
	open := true
	defer func() { // also after a panic or runtime.Goexit in fn
		if open {
			defer time.AfterFunc(rollbackTimeout, end).Stop()
			_ = tx.Rollback() // the server ends the transaction with the connection
		}
	}()
	if err := fn(ctx, tx); err != nil {
		return p.failed(ctx, conn, err)
	}
	if !obey() {
		return ctx.Err()
	}
	defer time.AfterFunc(commitTimeout, end).Stop()
	open = false
	err = tx.Commit()
	switch {
	case err == nil:
		return nil
	case rolledBack(err):
		return fmt.Errorf("committing: %w", err)
	}
	return fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
}

// failed answers the error of a transaction that was not committed, as
// ErrUnavailable if it is the connection that broke. When ctx is done, that is the
// error: what a statement says then is only its consequence.
func (p *postgres) failed(ctx context.Context, conn *sql.Conn, err error) error {
	if done := ctx.Err(); done != nil && !errors.Is(err, done) {
		return fmt.Errorf("%w: %w", done, err)
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return err
	}
	broken := conn.Raw(func(dc any) error {
		if c, ok := dc.(*stdlib.Conn); ok && c.Conn().IsClosed() {
			return sql.ErrConnDone
		}
		return nil
	}) != nil
	if broken && !errors.Is(err, ErrUnavailable) {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return Available(err)
}
