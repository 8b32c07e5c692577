package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func open(t *testing.T) (*DB, *writer) {
	t.Helper()
	db, err := Open(t.Context(), Options{URL: "sqlite:" + filepath.Join(t.TempDir(), "x.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, s := range []string{
		`CREATE TABLE parent (id INTEGER PRIMARY KEY)`,
		`CREATE TABLE child (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED)`,
	} {
		if _, err := db.SQL().ExecContext(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	w, ok := db.runner.(*writer)
	if !ok {
		t.Fatalf("runner is %T", db.runner)
	}
	return db, w
}

func count(t *testing.T, db *DB) int {
	t.Helper()
	var n int
	if err := db.SQL().QueryRowContext(t.Context(), `SELECT (SELECT COUNT(*) FROM child) + (SELECT COUNT(*) FROM parent)`).
		Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func insert(id, parent int) func(context.Context, *sql.Tx) error {
	return func(ctx context.Context, tx *sql.Tx) error {
		var p any
		if parent != 0 {
			p = parent
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO child (id, parent) VALUES ($1, $2)`, id, p)
		return err
	}
}

// together runs all in one batch: the first holds its turn until the others wait.
func together(t *testing.T, db *DB, fns ...func(context.Context, *sql.Tx) error) []error {
	t.Helper()
	errs := make([]error, len(fns))
	var wg sync.WaitGroup
	inside, goOn := make(chan struct{}), make(chan struct{})
	var first atomic.Bool
	wg.Go(func() {
		errs[0] = db.Write(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
			if first.CompareAndSwap(false, true) {
				close(inside)
				<-goOn
			}
			return fns[0](ctx, tx)
		})
	})
	<-inside
	var started sync.WaitGroup
	for i, fn := range fns[1:] {
		started.Add(1)
		wg.Go(func() {
			started.Done()
			errs[i+1] = db.Write(t.Context(), fn)
		})
	}
	started.Wait()
	for range 100 { // let them come to the queue; the test holds either way, it is only less sharp
		runtime.Gosched()
	}
	close(goOn)
	wg.Wait()
	return errs
}

func TestBatchSharesACommit(t *testing.T) {
	t.Parallel()
	db, w := open(t)
	var commits atomic.Int32
	w.commit = func(tx *sql.Tx) error { commits.Add(1); return tx.Commit() }
	var fns []func(context.Context, *sql.Tx) error
	for i := range 40 {
		fns = append(fns, insert(i+1, 0))
	}
	for _, err := range together(t, db, fns...) {
		if err != nil {
			t.Error(err)
		}
	}
	if n := commits.Load(); count(t, db) != 40 || n > 20 {
		t.Errorf("%d rows by %d commits", count(t, db), n)
	}
}

// A commit that fails because of one lane: the others are committed without it.
func TestFailedCommitHitsTheGuiltyOnly(t *testing.T) {
	t.Parallel()
	db, _ := open(t)
	errs := together(t, db, insert(1, 0), insert(2, 99), insert(3, 0), insert(4, 0))
	for i, err := range errs {
		if (err != nil) != (i == 1) || errors.Is(err, ErrUnavailable) || errors.Is(err, ErrOutcomeUnknown) {
			t.Errorf("lane %d: %v", i, err)
		}
	}
	if n := count(t, db); n != 3 {
		t.Errorf("rows: %d, want those of the 3 others", n)
	}
}

func TestOutcomeOfABatchIsUnknown(t *testing.T) {
	t.Parallel()
	db, w := open(t)
	commit := w.commit
	w.commit = func(tx *sql.Tx) error { return errors.Join(commit(tx), errors.New("disk I/O error")) }
	for i, err := range together(t, db, insert(1, 0), insert(2, 0)) {
		if !errors.Is(err, ErrOutcomeUnknown) {
			t.Errorf("lane %d: %v, want ErrOutcomeUnknown", i, err)
		}
	}
	w.commit = commit
	if err := db.Write(t.Context(), insert(3, 0)); err != nil {
		t.Errorf("the writer goes on: %v", err)
	}
}

// SQLite may end the transaction by itself, and a lane may not notice: what it writes
// then must not be committed, and the others of the batch must not suffer.
func TestTransactionEndsUnderALane(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"ROLLBACK", "COMMIT", "RELEASE lane"} {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			db, _ := open(t)
			sick := func(ctx context.Context, tx *sql.Tx) error {
				_ = insert(100, 0)(ctx, tx)
				_, _ = tx.ExecContext(ctx, end)
				_ = insert(101, 0)(ctx, tx)
				_ = insert(102, 0)(ctx, tx)
				return nil
			}
			errs := together(t, db, insert(1, 0), sick, insert(2, 0))
			for i, err := range errs {
				if (err != nil) != (i == 1) {
					t.Errorf("lane %d: %v", i, err)
				}
			}
			if n := count(t, db); n != 2 {
				t.Errorf("rows: %d, want those of the 2 others", n)
			}
		})
	}
}

func TestOneFailureUndoesOnlyItsOwn(t *testing.T) {
	t.Parallel()
	db, _ := open(t)
	sick := errors.New("sick")
	errs := together(t, db, insert(1, 0), func(ctx context.Context, tx *sql.Tx) error {
		return errors.Join(insert(2, 0)(ctx, tx), sick)
	}, insert(1, 0), insert(3, 0))
	if errs[0] != nil && errs[2] != nil || errs[0] == nil && errs[2] == nil {
		t.Errorf("of two rows with one key, one stands: %v, %v", errs[0], errs[2])
	}
	if !errors.Is(errs[1], sick) || errs[3] != nil {
		t.Errorf("lanes: %v", errs)
	}
	if n := count(t, db); n != 2 {
		t.Errorf("rows: %d, want 2", n)
	}
}

// A lane that gives up while it waits leaves the writer alone; one that is closed
// out learns it.
func TestWaitingForATurn(t *testing.T) {
	t.Parallel()
	db, _ := open(t)
	inside, goOn, first := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		first <- db.Write(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
			close(inside)
			<-goOn
			return insert(1, 0)(ctx, tx)
		})
	}()
	<-inside
	ctx, cancel := context.WithCancel(t.Context())
	second := make(chan error, 1)
	go func() { second <- db.Write(ctx, insert(2, 0)) }()
	cancel()
	if err := <-second; !errors.Is(err, context.Canceled) {
		t.Errorf("gave up: %v", err)
	}
	third := make(chan error, 1)
	go func() { third <- db.Close() }()
	close(goOn)
	if err := <-first; err != nil {
		t.Errorf("what is in flight ends well: %v", err)
	}
	if err := <-third; err != nil {
		t.Error(err)
	}
	if err := db.Write(t.Context(), insert(3, 0)); !errors.Is(err, ErrUnavailable) {
		t.Errorf("after Close: %v, want ErrUnavailable", err)
	}
}

// Another process writes at the same time: the writer waits for it.
func TestAnotherWriter(t *testing.T) {
	t.Parallel()
	db, _ := open(t)
	tx, err := db.SQL().BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := insert(1, 0)(t.Context(), tx); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- db.Write(t.Context(), insert(2, 0)) }()
	select {
	case err := <-done:
		t.Fatalf("written beside an open transaction: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil || count(t, db) != 2 {
		t.Errorf("%v, %d rows", err, count(t, db))
	}
}

// The disk is full: nobody's fault, nothing is lost, and it goes on when there is room.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	db, w := open(t)
	limit := func(n int) {
		if _, err := w.conn.ExecContext(t.Context(), fmt.Sprintf(`PRAGMA max_page_count = %d`, n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Write(t.Context(), insert(1, 0)); err != nil {
		t.Fatal(err)
	}
	limit(1)
	big := func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `CREATE TABLE big AS SELECT randomblob(1000000) AS b`)
		return err
	}
	errs := together(t, db, insert(2, 0), big, insert(3, 0))
	if errs[0] != nil || errs[2] != nil || !errors.Is(errs[1], ErrUnavailable) {
		t.Errorf("lanes: %v", errs)
	}
	if n := count(t, db); n != 3 {
		t.Errorf("rows: %d, want 3", n)
	}
}
