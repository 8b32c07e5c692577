package once_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/once/database/databasetest"
	"github.com/eventspine/spine/pkg/once/oncetest"
)

func own(t *testing.T, db *once.DB) *once.Owner {
	t.Helper()
	o, err := db.Store("group").Own(t.Context(), "orders", 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func item(offset int64) once.Item {
	return once.Item{
		EventID: fmt.Sprint("event-", offset),
		Record:  once.Record{Topic: "orders", Offset: offset, Key: fmt.Append(nil, offset)},
	}
}

func nothing(context.Context, once.Tx) error { return nil }

func with(t *testing.T, raw, name, value string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set(name, value)
	u.RawQuery = q.Encode()
	return u.String()
}

func exec(t *testing.T, db *once.DB, query string, args ...any) {
	t.Helper()
	if _, err := db.SQL().ExecContext(t.Context(), query, args...); err != nil {
		t.Fatal(err)
	}
}

func handled(t *testing.T, db *once.DB) int {
	t.Helper()
	c, err := db.Store("group").Counts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c.Handled
}

// All lanes of a partition are in their handlers at the same time, as many as there
// are connections; none waits for the ownership row, and a bump gets through.
func TestLanesOfOnePartitionRunInParallel(t *testing.T) {
	t.Parallel()
	const connections, all = 12, 64
	db, err := once.Open(t.Context(), once.Options{URL: databasetest.PostgresURL(t), MaxConnections: connections})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	o := own(t, db)
	var inside, most atomic.Int32
	full := make(chan struct{})
	var wg sync.WaitGroup
	for i := range int64(all) {
		wg.Go(func() {
			_, err := o.Do(t.Context(), item(i), func(ctx context.Context, tx once.Tx) error {
				n := inside.Add(1)
				defer inside.Add(-1)
				most.Store(max(n, most.Load()))
				if n == connections {
					select {
					case <-full:
					default:
						close(full)
					}
				}
				select {
				case <-full:
				case <-time.After(20 * time.Second):
					return errors.New("the lanes wait for each other")
				}
				var waiting int
				err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM pg_stat_activity a JOIN pg_locks l ON l.pid = a.pid
					WHERE NOT l.granted AND l.relation = 'spine_ownership'::regclass`).Scan(&waiting)
				if err == nil && waiting > 0 {
					err = fmt.Errorf("%d wait for the ownership row", waiting)
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := handled(t, db); n != all || most.Load() != connections {
		t.Errorf("handled %d of %d, at most %d at once of %d", n, all, most.Load(), connections)
	}
}

// At each moment a lane of the old owner is in its transaction, and the bump of a new
// owner gets through: the lock's queue is fair.
func TestBumpGetsThroughUnderLoad(t *testing.T) {
	t.Parallel()
	const (
		hold = time.Second      // a lane waits so long for the next one
		over = 15 * time.Second // the lanes end by themselves
	)
	dsn := databasetest.PostgresURL(t)
	a, b := oncetest.Open(t, dsn), oncetest.Open(t, dsn)
	old := own(t, a)
	var (
		mu    sync.Mutex
		last  = make(chan struct{}) // closed when the next lane has begun
		next  atomic.Int64
		lanes sync.WaitGroup
	)
	begun, begins := time.Now(), make(chan struct{}, 1000)
	relay := func(context.Context, once.Tx) error {
		mine := make(chan struct{})
		mu.Lock()
		close(last)
		last = mine
		mu.Unlock()
		select {
		case begins <- struct{}{}:
		default:
		}
		select {
		case <-mine:
		case <-time.After(hold): // it stands behind the bump
		}
		return nil
	}
	for range 3 {
		lanes.Go(func() {
			for time.Since(begun) < over {
				if _, err := old.Do(t.Context(), item(next.Add(1)), relay); errors.Is(err, once.ErrFenced) {
					return
				} else if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 20 {
		<-begins
	}
	own(t, b)
	if time.Since(begun) > over {
		t.Error("the bump got through when the lanes had ended")
	}
	before := handled(t, b)
	lanes.Wait()
	if after := handled(t, b); after != before {
		t.Errorf("%d events were handled by the old owner after the bump", after-before)
	}
}

// A killed connection before the commit: nothing stands, and it says so.
func TestKilledConnection(t *testing.T) {
	t.Parallel()
	db := oncetest.Open(t, databasetest.PostgresURL(t))
	o := own(t, db)
	exec(t, db, `CREATE TABLE notes (note BIGINT NOT NULL)`)
	for _, swallow := range []bool{false, true} {
		_, err := o.Do(t.Context(), item(1), func(ctx context.Context, tx once.Tx) error {
			var pid int
			if err := tx.QueryRowContext(ctx, `SELECT pg_backend_pid()`).Scan(&pid); err != nil {
				return err
			}
			exec(t, db, `SELECT pg_terminate_backend($1, 10000)`, pid)
			_, err := tx.ExecContext(ctx, `INSERT INTO notes (note) VALUES (1)`)
			if err == nil {
				t.Error("a statement on a killed connection succeeded")
			}
			if swallow { // a handler that does not look
				return tx.Send(ctx, once.Outgoing{Kind: once.OutFact})
			}
			return fmt.Errorf("writing a note: %w", err)
		})
		if !errors.Is(err, once.ErrUnavailable) {
			t.Errorf("got %v, want ErrUnavailable", err)
		}
	}
	if n := handled(t, db); n != 0 {
		t.Errorf("handled: %d, want 0", n)
	}
	if got, err := o.Do(t.Context(), item(1), nothing); got != once.Handled || err != nil {
		t.Errorf("again: %v, %v", got, err)
	}
}

// A frozen owner cannot block a takeover: the server ends its idle transaction.
func TestFrozenOwner(t *testing.T) {
	t.Parallel()
	dsn := databasetest.PostgresURL(t)
	db := oncetest.Open(t, with(t, dsn, "idle_in_transaction_session_timeout", "300"))
	old := own(t, db)
	inside, thaw, finished := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		_, err := old.Do(t.Context(), item(1), func(context.Context, once.Tx) error {
			close(inside)
			<-thaw
			return nil
		})
		finished <- err
	}()
	<-inside
	o := own(t, oncetest.Open(t, dsn))
	close(thaw)
	if err := <-finished; !errors.Is(err, once.ErrUnavailable) && !errors.Is(err, once.ErrOutcomeUnknown) {
		t.Errorf("the frozen owner: %v", err)
	}
	if n := handled(t, db); n != 0 {
		t.Errorf("the frozen owner committed")
	}
	if got, err := o.Do(t.Context(), item(1), nothing); got != once.Handled || err != nil {
		t.Errorf("the new owner: %v, %v", got, err)
	}
}

// The default of a database without that setting is the store's own.
func TestIdleTimeoutIsSet(t *testing.T) {
	t.Parallel()
	db := oncetest.Open(t, databasetest.PostgresURL(t))
	var got string
	if err := db.SQL().QueryRowContext(t.Context(), `SHOW idle_in_transaction_session_timeout`).Scan(&got); err != nil {
		t.Fatal(err)
	}
	if got != "10s" {
		t.Errorf("idle_in_transaction_session_timeout = %s, want 10s", got)
	}
}

// Two handlers that lock the same rows in different order: the victim runs again.
func TestDeadlockIsRetried(t *testing.T) {
	t.Parallel()
	db := oncetest.Open(t, with(t, databasetest.PostgresURL(t), "deadlock_timeout", "50ms"))
	o := own(t, db)
	exec(t, db, `CREATE TABLE stock (sku INT PRIMARY KEY, units INT NOT NULL)`)
	exec(t, db, `INSERT INTO stock VALUES (0, 0), (1, 0)`)
	var calls atomic.Int32
	first := [2]chan struct{}{make(chan struct{}), make(chan struct{})}
	var wg sync.WaitGroup
	for i := range 2 {
		wg.Go(func() {
			var once1 sync.Once
			got, err := o.Do(t.Context(), item(int64(i)), func(ctx context.Context, tx once.Tx) error {
				calls.Add(1)
				add := func(sku int) error {
					_, err := tx.ExecContext(ctx, `UPDATE stock SET units = units + 1 WHERE sku = $1`, sku)
					return err
				}
				if err := add(i); err != nil {
					return err
				}
				once1.Do(func() { close(first[i]) })
				<-first[1-i]
				return add(1 - i)
			})
			if err != nil || got != once.Handled {
				t.Errorf("lane %d: %v, %v", i, got, err)
			}
		})
	}
	wg.Wait()
	var units int
	if err := db.SQL().QueryRowContext(t.Context(), `SELECT SUM(units) FROM stock`).Scan(&units); err != nil {
		t.Fatal(err)
	}
	if calls.Load() < 3 || units != 4 {
		t.Errorf("%d calls and %d units, want at least 3 and exactly 4", calls.Load(), units)
	}
}

// A handler that swallows the error of a statement has no transaction any more: its
// event is not handled.
func TestSwallowedError(t *testing.T) {
	t.Parallel()
	db := oncetest.Open(t, databasetest.PostgresURL(t))
	o := own(t, db)
	_, err := o.Do(t.Context(), item(1), func(ctx context.Context, tx once.Tx) error {
		_, _ = tx.ExecContext(ctx, `INSERT INTO nowhere VALUES (1)`)
		return nil
	})
	if err == nil || errors.Is(err, once.ErrOutcomeUnknown) || errors.Is(err, once.ErrUnavailable) {
		t.Errorf("got %v, want the handler's fault", err)
	}
	if n := handled(t, db); n != 0 {
		t.Errorf("handled: %d, want 0", n)
	}
}

func TestServerAway(t *testing.T) {
	t.Parallel()
	dsn := databasetest.PostgresURL(t)
	p := databasetest.NewProxy(t, dsn)
	db := oncetest.Open(t, p.URL)
	o := own(t, db)
	p.Stop()
	if _, err := o.Do(t.Context(), item(1), nothing); !errors.Is(err, once.ErrUnavailable) {
		t.Errorf("Do: %v, want ErrUnavailable", err)
	}
	if err := db.Ping(t.Context()); !errors.Is(err, once.ErrUnavailable) {
		t.Errorf("Ping: %v, want ErrUnavailable", err)
	}
	if _, err := o.Heads(t.Context(), time.Now(), 1); !errors.Is(err, once.ErrUnavailable) {
		t.Errorf("Heads: %v, want ErrUnavailable", err)
	}
	if err := o.Check(t.Context()); !errors.Is(err, once.ErrUnavailable) {
		t.Errorf("Check: %v, want ErrUnavailable", err)
	}
	if _, err := once.Open(t.Context(), once.Options{URL: p.URL}); !errors.Is(err, once.ErrUnavailable) {
		t.Errorf("Open: %v, want ErrUnavailable", err)
	}
}

// The server commits, the answer is lost: the session is over, and the next one
// finds what was committed.
func TestAnswerToCommitIsLost(t *testing.T) {
	t.Parallel()
	dsn := databasetest.PostgresURL(t)
	p := databasetest.NewProxy(t, dsn)
	db, direct := oncetest.Open(t, p.URL), oncetest.Open(t, dsn)
	o := own(t, db)
	_, err := o.Do(t.Context(), item(1), func(context.Context, once.Tx) error {
		p.LoseCommit.Store(true)
		return nil
	})
	if !errors.Is(err, once.ErrOutcomeUnknown) {
		t.Fatalf("got %v, want ErrOutcomeUnknown", err)
	}
	if err := o.Advance(t.Context(), 5); !errors.Is(err, once.ErrOutcomeUnknown) {
		t.Errorf("the session goes on: %v", err)
	}
	o = own(t, db)
	deadline := time.After(10 * time.Second)
	for tick := time.Tick(10 * time.Millisecond); handled(t, direct) == 0; {
		select {
		case <-tick:
		case <-deadline:
			t.Fatal("the server never committed")
		}
	}
	if got, err := o.Do(t.Context(), item(1), nothing); got != once.DuplicateDelivery || err != nil {
		t.Errorf("in the next session: %v, %v; want a duplicate", got, err)
	}
}
