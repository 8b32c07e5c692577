package dispatch_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/dispatch"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/once/replay"
)

func atLeastOnce(o *dispatch.Options) { o.AtLeastOnce = true }

// A group without an inbox: what is delivered again is handled again, a replay handles
// all of its range, nothing is lost, and what fails waits, dies and comes back as ever.
func TestAtLeastOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	mend := w.script.reject("bad")
	w.run(atLeastOnce)
	w.send("k:p1", "k:p2", "l:bad", "l:p3")
	w.until("the dead head holds its key", func() bool {
		s, _ := w.next(0)
		return s == 4 && slices.Equal(w.standing(), []string{"bad dead", "p3 wait"})
	})
	if c := w.counts(); c.Handled != 0 {
		t.Errorf("%d events in the inbox of a group that has none", c.Handled)
	}
	w.reset(0)
	w.until("what was handled comes again, what stands doesn't", func() bool {
		s, _ := w.next(0)
		return s == 4 && slices.Equal(w.labels("k"), []string{"p1", "p2", "p1", "p2"})
	})
	w.same("standing", []string{"bad dead", "p3 wait"}, w.standing())
	mend()
	w.redrive()
	w.until("the key drains in order", func() bool { return slices.Equal(w.labels("l"), []string{"bad", "p3"}) && len(w.rows()) == 0 })
	w.same("a replay handles all", replay.Counts{Handled: 4}, w.replayed(w.replay(replay.Request{}, 4)))
	w.same("of k", []string{"p1", "p2", "p1", "p2", "p1", "p2"}, w.labels("k"))
	w.until("all is out", func() bool { return w.counts().Outgoing == 0 })
	ids := map[string]string{}
	for _, rec := range w.read(w.out) { // a fact that is published again has the id that it had
		for _, h := range rec.Headers {
			if h.Key != "ce_id" {
				continue
			}
			if was, seen := ids[string(rec.Value)]; seen && was != string(h.Value) {
				t.Errorf("one fact has the ids %s and %s", was, h.Value)
			}
			ids[string(rec.Value)] = string(h.Value)
		}
	}
	if len(ids) != 3 {
		t.Errorf("%d different facts, want 3", len(ids))
	}
}

// A group that has nothing to commit has no transactions: it keeps its place, its dead
// and waiting rows, and a handler that asks for a transaction is told why there is none.
func TestAtLeastOnce_withoutTransactions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	const refused = "it has no transaction"
	bare := func(o *dispatch.Options) {
		o.AtLeastOnce, o.Group.Emits = true, nil
		o.Group.On = []consumer.Handler{consumer.On(func(ctx context.Context, tx consumer.Tx, e event.Of[cancelled]) error {
			label := e.Data.OrderNumber
			var err error
			switch label {
			case "exec":
				_, err = tx.ExecContext(ctx, `DELETE FROM ledger`)
			case "row":
				var n int
				err = tx.QueryRowContext(ctx, `SELECT 1`).Scan(&n)
			case "query":
				_, err = tx.QueryContext(ctx, `SELECT 1`)
			case "publish":
				err = tx.Publish(event.New{Fact: shortage(label)})
			case "effect":
				err = tx.Effect("call", label, label)
			}
			if err != nil {
				return consumer.Reject(err.Error())
			}
			return w.script.call(ctx, label)
		})}
	}
	r := w.run(bare)
	asks := []string{"exec", "row", "query", "publish", "effect"}
	w.send("k:a", "k:b", "exec:exec", "row:row", "query:query", "publish:publish", "effect:effect", "l:c")
	w.until("all are done", func() bool { s, _ := w.next(0); return s == 8 })
	rows := w.rows()
	if len(rows) != len(asks) {
		t.Fatalf("standing: %v, want %v dead", w.standing(), asks)
	}
	for _, row := range rows {
		if !strings.Contains(row.Reason, refused) {
			t.Errorf("%s: the reason is %q", row.Record.Key, row.Reason)
		}
	}
	w.until("the copies are out", func() bool { return len(w.read("dlq."+w.group)) == len(asks) })
	r.stop()
	w.run(bare)
	w.send("k:d")
	w.until("it goes on where it stood", func() bool { s, _ := w.next(0); return s == 9 })
	called := w.script.called()
	slices.Sort(called)
	w.same("called", []string{"a", "b", "c", "d"}, called)
	w.reset(0)
	w.until("what is delivered again is handled again", func() bool { s, _ := w.next(0); return s == 9 && len(w.script.called()) == 8 })
	w.same("what stands stands", len(asks), len(w.rows()))
}
