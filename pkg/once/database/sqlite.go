package database

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"modernc.org/sqlite"
)

// A batch ends when nobody is waiting for a turn, and at the latest then.
const (
	batchJobs = 256
	batchTime = 20 * time.Millisecond
)

var (
	errAbandoned = errors.New("the transaction was abandoned by a panic or runtime.Goexit")
	errAlone     = errors.New("the batch was undone: again, alone")
)

// writer is the one writer of an SQLite database: a goroutine that opens a
// transaction, lets the lanes that are waiting have their turn in it one after
// another, a savepoint each, and commits them together. A lane runs its own code in
// its own goroutine while the writer waits, so a panic stays where it belongs.
type writer struct {
	db      *sql.DB
	conn    *sql.Conn // nil = to be opened
	jobs    chan *job
	next    *job // taken from jobs, to run alone after the current batch
	commits atomic.Bool
	commit  func(*sql.Tx) error
	quit    chan struct{}
	once    sync.Once
	done    chan struct{}
}

// job is one lane's transaction.
type job struct {
	alone  bool
	gone   <-chan struct{} // the lane no longer waits for its turn
	turn   chan *sql.Tx    // unbuffered: a turn that is given is taken
	ran    chan error      // nil = keep what it wrote
	result chan error
}

func newWriter(ctx context.Context, db *sql.DB) *writer {
	w := &writer{db: db, jobs: make(chan *job), quit: make(chan struct{}), done: make(chan struct{})}
	w.commit = (*sql.Tx).Commit
	go w.loop(context.WithoutCancel(ctx))
	return w
}

func (w *writer) close() error {
	w.once.Do(func() { close(w.quit) })
	<-w.done
	return nil
}

// run waits for a turn, takes it and waits for the commit of the batch. SQL
// statements do not obey ctx: an interrupted statement would undo the whole batch.
func (w *writer) run(ctx context.Context, fn func(context.Context, *sql.Tx) error) error {
	err := w.attempt(ctx, fn, false)
	if errors.Is(err, errAlone) {
		err = w.attempt(ctx, fn, true)
	}
	return err
}

func (w *writer) attempt(ctx context.Context, fn func(context.Context, *sql.Tx) error, alone bool) error {
	j := &job{
		alone: alone, gone: ctx.Done(),
		turn: make(chan *sql.Tx), ran: make(chan error, 1), result: make(chan error, 1),
	}
	select {
	case w.jobs <- j:
	case <-ctx.Done():
		return ctx.Err()
	case <-w.quit:
		return fmt.Errorf("%w: %w", ErrUnavailable, errClosed)
	}
	select {
	case tx := <-j.turn:
		if err := j.run(ctx, tx, fn); err != nil {
			return Available(err)
		}
		return <-j.result
	case err := <-j.result: // there was no transaction to take part in
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (j *job) run(ctx context.Context, tx *sql.Tx, fn func(context.Context, *sql.Tx) error) error {
	err := errAbandoned
	defer func() { j.ran <- err }()
	err = fn(context.WithoutCancel(ctx), tx)
	return err
}

func (w *writer) loop(ctx context.Context) {
	defer close(w.done)
	defer w.drop()
	for {
		j := w.next
		w.next = nil
		if j == nil {
			select {
			case j = <-w.jobs:
			case <-w.quit:
				return
			}
		}
		w.batch(ctx, j)
	}
}

// batch is one transaction, from BEGIN IMMEDIATE to COMMIT.
func (w *writer) batch(ctx context.Context, first *job) {
	tx, err := w.begin(ctx)
	if err != nil {
		first.result <- Available(err)
		return
	}
	var kept []*job
	start := time.Now()
	for j := first; j != nil; j = w.another(first, len(kept), start) {
		keep, err := turn(ctx, tx, j)
		if keep {
			kept = append(kept, j)
		}
		if err != nil { // SQLite has ended the transaction by itself: nothing of it stands
			_ = tx.Rollback()
			w.drop()
			answer(kept, Available(err), true)
			return
		}
	}
	if len(kept) == 0 {
		if err := tx.Rollback(); err != nil {
			w.drop()
		}
		return
	}
	w.commits.Store(true)
	err = w.commit(tx)
	w.commits.Store(false)
	if err != nil {
		w.drop()
		if !rolledBack(err) {
			answer(kept, fmt.Errorf("%w: %w", ErrOutcomeUnknown, err), false)
			return
		}
	}
	answer(kept, Available(err), true)
}

// answer tells the lanes how the batch ended. When it was undone, each one tries
// again alone: only the guilty one is to learn the error.
func answer(jobs []*job, err error, undone bool) {
	for _, j := range jobs {
		if err != nil && undone && !j.alone {
			j.result <- errAlone
			continue
		}
		j.result <- err
	}
}

// turn gives the lane its turn. It answers whether what the lane wrote is kept; an
// error means that the transaction is gone.
func turn(ctx context.Context, tx *sql.Tx, j *job) (keep bool, err error) {
	if _, err := tx.ExecContext(ctx, `SAVEPOINT lane`); err != nil {
		j.result <- Available(err)
		return false, err
	}
	select {
	case j.turn <- tx:
		keep = <-j.ran == nil
	case <-j.gone:
	}
	if !keep {
		if _, err := tx.ExecContext(ctx, `ROLLBACK TO lane`); err != nil {
			return false, err
		}
	}
	_, err = tx.ExecContext(ctx, `RELEASE lane`)
	return keep, err
}

// another is the next lane that waits for a turn in this batch.
func (w *writer) another(first *job, kept int, start time.Time) *job {
	if first.alone || kept >= batchJobs || time.Since(start) > batchTime {
		return nil
	}
	select {
	case j := <-w.jobs:
		if j.alone {
			w.next = j
			return nil
		}
		return j
	default:
		return nil
	}
}

func (w *writer) begin(ctx context.Context) (*sql.Tx, error) {
	if w.conn == nil {
		conn, err := w.db.Conn(ctx)
		if err != nil {
			return nil, err
		}
		w.conn = conn
		if err := conn.Raw(w.guard); err != nil {
			w.drop()
			return nil, err
		}
	}
	tx, err := w.conn.BeginTx(ctx, nil)
	if err != nil {
		w.drop()
	}
	return tx, err
}

// guard lets the connection commit only when the writer does. Some errors (disk
// full, out of memory) make SQLite end the transaction by itself; what a lane wrote
// after that would be committed at once, and alone. Promise: once.
func (w *writer) guard(dc any) error {
	hooks, ok := dc.(sqlite.HookRegisterer)
	if !ok {
		return fmt.Errorf("the SQLite driver has no commit hook: %T", dc)
	}
	hooks.RegisterCommitHook(func() int32 {
		if w.commits.Load() {
			return 0
		}
		return 1
	})
	return nil
}

// drop closes the connection, which ends what is open on it.
func (w *writer) drop() {
	if w.conn == nil {
		return
	}
	_ = w.conn.Raw(func(any) error { return driver.ErrBadConn })
	_ = w.conn.Close()
	w.conn = nil
}
