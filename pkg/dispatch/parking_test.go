package dispatch_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/dispatch"
)

// failing lets the label fail until mended.
func (w *world) failing(label string) (mend func()) {
	var mended atomic.Bool
	w.script.set(func(_ context.Context, l string, _ int) error {
		if l == label && !mended.Load() {
			return errBroken
		}
		return nil
	})
	return func() { mended.Store(true) }
}

// stubborn records are tried without end, and for a moment only in memory.
func stubborn(o *dispatch.Options) {
	o.Retry.Attempts, o.Park = 1<<20, 100*time.Millisecond
}

// A record that fails for longer than a moment waits in the store, its successors
// behind it, so that next_offset goes on; after a restart and a rebalance its attempts
// are counted on, and the key drains in order before what is live.
func TestParking(t *testing.T) {
	t.Parallel()
	w := newLooseWorld(t, 3)
	mend := w.failing("bad")
	session := func(o *dispatch.Options) { o.Session = w.session() }
	first := w.run(stubborn, session)
	w.send("k:bad", "k:s1", "o:a1", "k:s2")
	w.until("the key waits in the store", func() bool {
		return slices.Equal(w.standing(), []string{"bad wait", "s1 wait", "s2 wait"})
	})
	attempts := func() int { return w.rows()[0].Attempts }
	before := attempts()
	passed := func(total int64) func() bool {
		return func() bool {
			var stored int64
			for p := range int32(3) {
				s, _ := w.next(p)
				stored += s
			}
			return stored == total
		}
	}
	w.until("next_offset passes it", passed(4))
	w.send("k:s3", "o:a2")
	w.until("what comes later waits behind", func() bool { return len(w.standing()) == 4 })
	first.stop()
	second := w.run(stubborn, session)
	w.until("the restart tries it again", func() bool { return attempts() > before })
	w.send("k:s4")
	before = attempts()
	w.run(stubborn, session) // a rebalance
	w.send("k:s5")
	second.stop() // and another one
	w.until("the new owner tries it again", func() bool { return len(w.standing()) == 6 && attempts() > before })
	w.send("k:s6", "o:a3")
	mend()
	w.until("the key drains", func() bool { return len(w.rows()) == 0 && len(w.labels("k")) == 7 })
	w.send("k:live")
	w.until("the key is free", func() bool { return len(w.labels("k")) == 8 })
	if diff := cmp.Diff([]string{"bad", "s1", "s2", "s3", "s4", "s5", "s6", "live"}, w.labels("k")); diff != "" {
		t.Errorf("order of the key (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"a1", "a2", "a3"}, w.labels("o")); diff != "" {
		t.Errorf("the other key (-want +got):\n%s", diff)
	}
	w.until("next_offset passes all", passed(11))
}

// What stands behind a failing record fills the memory of its partition: it goes to
// the store before the time, and other keys go on.
func TestParking_burst(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	mend := w.failing("bad")
	w.run(func(o *dispatch.Options) {
		stubborn(o)
		o.Park = time.Hour
		o.Retry.Base, o.Retry.Max = time.Hour, time.Hour // asleep until somebody wakes it
	})
	const burst = 4096 // of the partition's bounds
	w.send("k:bad")
	w.until("it has failed", func() bool { return len(w.script.called()) == 1 })
	w.send(words("k", 0, burst, "s")...)
	w.send("o:a1")
	w.until("the other key goes on", func() bool { return len(w.labels("o")) == 1 })
	w.until("next_offset passes the burst", func() bool { s, _ := w.next(0); return s == burst+2 })
	if c := w.counts(); c.Waiting != burst+1 || c.Dead != 0 {
		t.Errorf("%+v, want %d waiting", c, burst+1)
	}
	mend()
	w.ask("retry", w.rows()[0].ID)
	w.until("the key drains", func() bool { return len(w.labels("k")) > 300 })
	want := []string{"bad"}
	for _, word := range words("k", 0, burst, "s") {
		want = append(want, word[2:])
	}
	if got := w.labels("k"); !slices.Equal(got, want[:len(got)]) {
		t.Errorf("out of order: %v", got)
	}
}

// A group that releases goes on behind a dead letter, whether it died in memory or in
// the store; redriven, it is handled alone, after what has passed it.
func TestRelease(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	var mended atomic.Bool
	w.script.set(func(_ context.Context, label string, attempt int) error {
		switch {
		case mended.Load():
		case label == "later" && attempt == 1:
			return consumer.Later(time.Now().Add(50*time.Millisecond), "not yet")
		case label == "later", label == "dies":
			return errBroken
		}
		return nil
	})
	w.run(func(o *dispatch.Options) { o.Release = true })
	w.send("k:a", "k:dies", "k:b", "l:later", "l:c", "l:d")
	w.until("the successors are handled", func() bool { return len(w.ledger()) == 4 })
	w.send("k:g", "l:f")
	w.until("what comes later is handled", func() bool { return len(w.ledger()) == 6 })
	if got := w.standing(); !slices.Equal(got, []string{"dies dead", "later dead"}) && !slices.Equal(got, []string{"later dead", "dies dead"}) {
		t.Errorf("got %v", got)
	}
	for _, row := range w.rows() {
		if row.Holds {
			t.Errorf("offset %d holds its key", row.Record.Offset)
		}
	}
	w.until("each has its copy", func() bool { return len(w.read("dlq."+w.group)) == 2 })
	mended.Store(true)
	w.redrive()
	w.until("the redriven ones are handled", func() bool { return len(w.ledger()) == 8 })
	got := map[string][]string{"k": w.labels("k"), "l": w.labels("l")}
	if diff := cmp.Diff(map[string][]string{"k": {"a", "b", "g", "dies"}, "l": {"c", "d", "f", "later"}}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
