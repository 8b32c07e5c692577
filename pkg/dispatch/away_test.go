package dispatch_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/dispatch"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/wire"
	"github.com/eventspine/spine/schemas/stock"
)

// withShortages lets the group handle a second fact, which asks nobody, and answers
// how long each took from the topic to the handler.
func (w *world) withShortages(took chan<- time.Duration) func(*dispatch.Options) {
	return func(o *dispatch.Options) {
		o.Group.On = append(o.Group.On, consumer.On(func(_ context.Context, _ consumer.Tx, e event.Of[stock.ShortageDetectedV1]) error {
			took <- time.Since(e.OccurredAt)
			return nil
		}))
	}
}

// Pitfall 26: an outage turns everything into dead letters, or into calls. A dependency
// is away: what needs it is held and one record at a time asks, what doesn't need it
// goes on, nothing waits in the store or dies; when it is back, all is handled in order.
func TestDependencyAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	const lanes, pause = 8, 100 * time.Millisecond
	var gone atomic.Bool
	var calls, asking, most atomic.Int64
	gone.Store(true)
	w.script.set(func(context.Context, string, int) error {
		if !gone.Load() {
			return nil
		}
		if n := calls.Add(1); n > lanes+3 {
			most.Store(max(most.Load(), asking.Add(1)))
			defer asking.Add(-1)
		}
		return fmt.Errorf("sending: %w", consumer.Unavailable("mail", errBroken))
	})
	took := make(chan time.Duration, 1000)
	begun := time.Now()
	r := w.run(w.withShortages(took), func(o *dispatch.Options) {
		o.Concurrency = lanes
		o.Retry = dispatch.Retry{Attempts: 2, Base: pause, Max: pause}
	})
	sent, total := map[string][]string{}, 0
	var all []string
	for i := range 400 {
		entity, label := fmt.Sprint(i%80), fmt.Sprintf("m%d", i)
		sent[entity] = append(sent[entity], label)
		all = append(all, entity+":"+label)
		total++
	}
	w.send(all...)
	w.until("the dependency is known to be away", func() bool { return r.Away() != "" })
	for i := range 100 { // of other keys, in the same partitions
		rec := w.record(fmt.Sprint("s", i), "s", func(n *event.New, _ *wire.Cause) {
			n.Fact, n.At = shortage("s"), time.Now()
		})
		w.publish(rec)
		select {
		case d := <-took:
			if d > time.Second {
				t.Errorf("what doesn't need it took %s", d)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("what doesn't need it is held, too")
		}
	}
	probes := calls.Load()
	w.until("it is asked again", func() bool { return calls.Load() > probes+5 })
	if n, limit := calls.Load(), lanes+3+int64(time.Since(begun)/(pause/2)); n > limit {
		t.Errorf("%d calls while it was away, want at most %d", n, limit)
	}
	if n := most.Load(); n > 1 {
		t.Errorf("%d records asked at the same time", n)
	}
	if c := w.counts(); c.Waiting+c.Dead != 0 || len(w.read("dlq."+w.group)) != 0 {
		t.Errorf("%+v: a dependency that is away parks nothing", c)
	}
	if ok, why := r.Ready(); !ok || !strings.HasPrefix(r.Away(), "mail: ") {
		t.Errorf("ready %t (%s), away %q", ok, why, r.Away())
	}
	gone.Store(false)
	w.until("all is handled", func() bool { return len(w.ledger()) >= total })
	w.check(sent)
	if away := r.Away(); away != "" {
		t.Errorf("away: %q", away)
	}
}

// A handler that takes longer than it may fails, and one that ignores its context
// stops nobody: it is left behind, and what it does then has no effect.
func TestDeadline(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	never, ended := make(chan struct{}), make(chan struct{}, 10)
	group := w.groupOf()
	group.On = []consumer.Handler{consumer.On(func(ctx context.Context, tx consumer.Tx, e event.Of[cancelled]) error {
		switch label := e.Data.OrderNumber; label {
		case "obeys":
			<-ctx.Done()
			return ctx.Err()
		case "ignores":
			<-never
			_, err := tx.ExecContext(context.Background(), `INSERT INTO ledger (label, entity, event_id) VALUES ('late', 'late', 'late')`)
			if err == nil {
				t.Error("a handler that was left behind writes")
			}
			ended <- struct{}{}
			return nil
		default:
			return w.handle(ctx, tx, e)
		}
	})}
	w.run(func(o *dispatch.Options) {
		o.Group, o.Deadline, o.Retry.Attempts = group, 100*time.Millisecond, 2
	})
	w.send("a:obeys", "b:ignores", "c:1", "c:2")
	w.until("both have failed for good", func() bool { return w.counts().Dead == 2 })
	close(never)
	for range 2 {
		<-ended
	}
	w.send("c:3")
	w.until("others are handled", func() bool { return len(w.ledger()) == 3 })
	if diff := cmp.Diff([]string{"1", "2", "3"}, w.labels("")); diff != "" {
		t.Errorf("the ledger (-want +got):\n%s", diff)
	}
	for _, row := range w.rows() {
		if row.State == once.Dead && (row.Attempts != 2 || row.Class != "transient" || !strings.Contains(row.Reason, context.DeadlineExceeded.Error())) {
			t.Errorf("%d attempts, %s: %s", row.Attempts, row.Class, row.Reason)
		}
	}
}
