package once_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/once/database/databasetest"
	"github.com/eventspine/spine/pkg/once/oncetest"
)

// Pitfall: a new owner loads held keys before it has its epoch, and does not see what
// the old owner moves to the store meanwhile: a later event of the key overtakes.
func TestTakeover_seesWhatWasInFlight(t *testing.T) {
	t.Parallel()
	dsn := databasetest.PostgresURL(t)
	a, b := oncetest.Open(t, dsn), oncetest.Open(t, dsn)
	old := own(t, a)
	locks, err := b.SQL().BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	// Whoever writes waiting rows stops here, whoever reads them does not.
	if _, err := locks.ExecContext(t.Context(), `LOCK TABLE spine_waiting IN SHARE MODE`); err != nil {
		t.Fatal(err)
	}
	waiting := func(want int) {
		t.Helper()
		deadline, tick := time.NewTimer(20*time.Second), time.NewTicker(5*time.Millisecond)
		defer deadline.Stop()
		defer tick.Stop()
		for n := 0; n < want; {
			err := locks.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM pg_locks l
				WHERE NOT l.granted AND (l.relation = 'spine_waiting'::regclass
				OR l.locktype = 'advisory' AND pg_blocking_pids(l.pid) && (SELECT array_agg(w.pid) FROM pg_locks w
				WHERE NOT w.granted AND w.relation = 'spine_waiting'::regclass))`).Scan(&n)
			if err != nil {
				t.Fatal(err)
			}
			select {
			case <-tick.C:
			case <-deadline.C:
				t.Fatalf("%d transactions wait, want %d", n, want)
			}
		}
	}
	spilled := make(chan error, 1)
	go func() {
		row := once.Row{State: once.Wait, Holds: true, EventID: "event-1", Record: item(1).Record}
		spilled <- old.Spill(t.Context(), row, nil, nil)
	}()
	waiting(1)
	taken := make(chan *once.Owner, 1)
	go func() {
		o, err := b.Store("group").Own(t.Context(), "orders", 0, 0)
		if err != nil {
			t.Error(err)
		}
		taken <- o
	}()
	waiting(2)
	if err := locks.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := <-spilled; err != nil {
		t.Fatal(err)
	}
	if _, held := (<-taken).Held()["1"]; !held {
		t.Error("the new owner does not know the key that the old one moved to the store")
	}
}

// Pitfall: an owner reads its epoch and then waits for the lock: what was true before
// the wait is not true behind it.
func TestFence_readsBehindTheLock(t *testing.T) {
	t.Parallel()
	dsn := databasetest.PostgresURL(t)
	a, b := oncetest.Open(t, dsn), oncetest.Open(t, dsn)
	old := own(t, a)
	// A bump that has its lock and is not committed yet.
	bump, err := b.SQL().BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = bump.Rollback() }()
	var class, id int64
	done := make(chan error, 1)
	_, err = old.Do(t.Context(), item(1), func(ctx context.Context, tx once.Tx) error {
		return tx.QueryRowContext(ctx, `SELECT classid, objid FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()`).Scan(&class, &id)
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bump.ExecContext(t.Context(), `SELECT pg_advisory_xact_lock($1::int, $2::int)`, int32(uint32(class)), int32(uint32(id))); err != nil {
		t.Fatal(err)
	}
	if _, err := bump.ExecContext(t.Context(), `UPDATE spine_ownership SET epoch = epoch + 1`); err != nil {
		t.Fatal(err)
	}
	go func() {
		_, err := old.Do(t.Context(), item(2), nothing)
		done <- err
	}()
	deadline, tick := time.NewTimer(20*time.Second), time.NewTicker(5*time.Millisecond)
	defer deadline.Stop()
	defer tick.Stop()
	for n := 0; n == 0; {
		if err := bump.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'
			AND pg_backend_pid() = ANY(pg_blocking_pids(pid))`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatal("the old owner does not wait for the lock")
		}
	}
	if err := bump.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, once.ErrFenced) {
		t.Errorf("the old owner, behind the lock: %v, want ErrFenced", err)
	}
}

// Pitfall: taking a partition over gets slow with all that ever waited.
func TestTakeover_manyWaitingRows(t *testing.T) {
	t.Parallel()
	db := oncetest.Open(t, databasetest.URL(t))
	own(t, db)
	const rows = 10_000
	numbers := `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)`
	key := `CAST('key-' || i AS BLOB)`
	if db.Dialect() == once.PostgreSQL {
		key = `convert_to('key-' || i, 'UTF8')`
	}
	exec(t, db, numbers+` INSERT INTO spine_waiting (ownership, kafka_offset, state, event_id, key_hash, next_at, attempts,
		first_failed, last_failed, class, reason, bytes, record_time, record_key, headers, record_value)
		SELECT o.id, i, 'dead', 'event-' || i, i, 0, 5, 1, 1, 'transient', 'no', 100, 1, `+key+`, `+key+`, `+key+`
		FROM n, spine_ownership o`)
	begun := time.Now()
	o := own(t, db)
	if took := time.Since(begun); took > 5*time.Second || len(o.Held()) != rows {
		t.Errorf("%d held keys in %v, want %d within 5 s", len(o.Held()), took, rows)
	}
	begun = time.Now()
	if heads, err := o.Heads(t.Context(), time.Now(), 100); err != nil || len(heads) != 0 {
		t.Errorf("heads: %d, %v", len(heads), err)
	}
	if got, err := o.Do(t.Context(), item(rows+1), nothing); err != nil || got != once.Handled {
		t.Errorf("%v, %v", got, err)
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("one look and one event beside them took %v", took)
	}
}

// Pitfall: a commit whose answer is lost is taken for undone, and the same session goes
// on with a memory that doesn't know what stands.
func TestOutcomeUnknown_endsTheOwner(t *testing.T) {
	t.Parallel()
	db := oncetest.Open(t, databasetest.SQLiteURL(t))
	o := own(t, db)
	if err := o.LoseAnswer(t.Context(), `UPDATE spine_ownership SET next_offset = 3`); !errors.Is(err, once.ErrOutcomeUnknown) {
		t.Fatalf("got %v, want ErrOutcomeUnknown", err)
	}
	for what, err := range map[string]error{
		"Advance": o.Advance(t.Context(), 5),
		"Spill":   o.Spill(t.Context(), once.Row{State: once.Wait, EventID: "e", Record: item(7).Record}, nil, nil),
		"Check":   o.Check(t.Context()),
		"DoAll": o.DoAll(t.Context(), []once.Item{item(8), item(9)}, func(context.Context, int, once.Tx) error {
			t.Error("a handler is called")
			return nil
		})[0].Err,
	} {
		if !errors.Is(err, once.ErrOutcomeUnknown) {
			t.Errorf("%s: %v, want ErrOutcomeUnknown: the session is over", what, err)
		}
	}
	if next := own(t, db).NextOffset(); next != 3 {
		t.Errorf("the next session starts at %d, want 3: what was committed stands", next)
	}
}
