package translate_test

import (
	"testing"
	"time"

	"github.com/eventspine/spine/pkg/wire"
)

// Pitfall: the state of an object is read without a lock: two snapshots compare
// themselves with the same past, and the older one may be written last. Both come
// while a third transaction keeps the row, so that neither can write before the
// other one has read, if reading does not wait.
func TestStateRowIsLocked(t *testing.T) {
	t.Parallel()
	k := newKit(t, "postgres")
	k.want(t, k.snap("1x"), "facts") // the row is there
	gate, err := k.db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := gate.ExecContext(t.Context(), "SELECT 1 FROM translate_objects FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	waiting := func(want int) {
		t.Helper()
		deadline, tick := time.NewTimer(20*time.Second), time.NewTicker(5*time.Millisecond)
		defer deadline.Stop()
		defer tick.Stop()
		for n := 0; n < want; {
			err := gate.QueryRowContext(t.Context(), `
				WITH first AS (SELECT pid FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid)))
				SELECT COUNT(DISTINCT pid) FROM pg_locks WHERE NOT granted
				AND (pid IN (SELECT pid FROM first) OR pg_blocking_pids(pid) && (SELECT array_agg(pid) FROM first))`).Scan(&n)
			if err != nil {
				t.Fatal(err)
			}
			select {
			case <-tick.C:
			case <-deadline.C:
				t.Fatalf("%d wait for the row, want %d", n, want)
			}
		}
	}
	type result struct {
		out *out
		err error
	}
	handle := func(d wire.Delivery) <-chan result {
		done := make(chan result, 1)
		go func() {
			tx, o, err := k.begin(t.Context(), d)
			if err == nil {
				err = tx.Commit()
			}
			done <- result{o, err}
		}()
		return done
	}
	older, newer := k.snap("2y"), k.snap("3z")
	first := handle(newer)
	waiting(1)
	second := handle(older)
	waiting(2)
	if err := gate.Commit(); err != nil {
		t.Fatal(err)
	}
	for _, done := range []<-chan result{first, second} {
		r := <-done
		if r.err != nil {
			t.Fatal(r.err)
		}
		k.take(r.out)
	}
	if got := k.types(); got != "placed edited" {
		t.Errorf("facts: %s: the older snapshot was compared with a past that had gone", got)
	}
	k.want(t, k.snap("3z"), "duplicate") // the newest stands
}
