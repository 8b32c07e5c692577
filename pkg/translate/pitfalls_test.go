package translate_test

import (
	"testing"
	"time"
)

// Pitfall: the state row of an object is read without a lock: two snapshots compare
// themselves with the same state, and the older one may be written last.
func TestStateRowIsLocked(t *testing.T) {
	t.Parallel()
	k := newKit(t, "postgres")
	k.want(t, k.snap("1x"), "facts") // the row is there
	older, newer := k.snap("2y"), k.snap("3z")
	tx, first, err := k.begin(t.Context(), newer)
	if err != nil {
		t.Fatal(err)
	}
	second := make(chan error, 1)
	go func() {
		_, err := k.handle(t, older)
		second <- err
	}()
	deadline, tick := time.NewTimer(20*time.Second), time.NewTicker(5*time.Millisecond)
	defer deadline.Stop()
	defer tick.Stop()
	for waiting := 0; waiting == 0; {
		select {
		case err := <-second:
			t.Fatalf("the second one did not wait: %v", err)
		case <-deadline.C:
			t.Fatal("the second one never waits for the lock")
		case <-tick.C:
		}
		row := tx.QueryRowContext(t.Context(), "SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))")
		if err := row.Scan(&waiting); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := <-second; err != nil {
		t.Fatal(err)
	}
	k.take(first)
	k.want(t, k.snap("3z"), "duplicate") // the newest stands
	if got := k.types(); got != "placed edited" {
		t.Errorf("facts: %s: the older snapshot was compared with a state that had gone", got)
	}
}
