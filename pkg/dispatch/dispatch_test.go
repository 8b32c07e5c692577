package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/dispatch"
	"github.com/eventspine/spine/pkg/dispatch/fault"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/wire"
)

var errBroken = errors.New("broken")

// Promise: once. The same record twice, and the same event at another offset.
func TestOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	var records []*kgo.Record
	for i := range 40 {
		rec := w.record(fmt.Sprint(i%7), fmt.Sprintf("a%d", i))
		again := *rec
		records = append(records, rec, &again)
	}
	w.publish(records...)
	r := w.run()
	w.until("all are handled", func() bool { return len(w.ledger()) >= 40 })
	r.stop()
	w.run() // from where it stood
	w.send("0:last")
	w.until("the last is handled", func() bool { return slices.Contains(w.labels(""), "last") })
	if got := len(w.ledger()); got != 41 {
		t.Errorf("41 events, %d in the ledger", got)
	}
	if got := len(w.script.called()); got != 41 {
		t.Errorf("41 events, %d calls of the handler: what was drained was handled again", got)
	}
}

// Promise: in order, per key, with many lanes at work.
func TestOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 4)
	want := map[string][]string{}
	var all []string
	for i := range 300 {
		entity, label := fmt.Sprint(i%17), fmt.Sprintf("a%d", i)
		want[entity] = append(want[entity], label)
		all = append(all, entity+":"+label)
	}
	w.send(all...)
	w.run()
	w.until("all are handled", func() bool { return len(w.ledger()) >= 300 })
	for entity, labels := range want {
		if diff := cmp.Diff(labels, w.labels(entity)); diff != "" {
			t.Errorf("entity %s (-want +got):\n%s", entity, diff)
		}
	}
	w.until("the offsets are stored and told", func() bool {
		var store, kafka int64
		for p := range int32(4) {
			s, k := w.next(p)
			store, kafka = store+s, kafka+max(k, 0)
		}
		return store == 300 && kafka == 300
	})
}

// A failing key waits alone; its dead head stands before its successors, in the
// store and in dlq.<group>, byte for byte; redriven, the key drains in order.
func TestHeldKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.script.set(func(_ context.Context, label string, _ int) error {
		if label == "bad" {
			return fmt.Errorf("handling: %w %s", errBroken, strings.Repeat("ä", 5000))
		}
		return nil
	})
	r := w.run(func(o *dispatch.Options) { o.Version = "1.2.3" })
	head := w.record("k", "bad")
	wire.Trace{Traceparent: traceparent}.AddTo(head)
	head.Headers = append(head.Headers, kgo.RecordHeader{Key: "x-foreign", Value: []byte{0, 255}})
	w.publish(head)
	w.send("k:s1", "o:a1", "k:s2", "o:a2")
	w.until("the other key goes on", func() bool { return len(w.labels("o")) == 2 })
	w.until("the head is dead, its successors behind it", func() bool {
		return slices.Equal(w.standing(), []string{"bad dead", "s1 wait", "s2 wait"})
	})
	w.send("k:s3", "o:a3")
	w.until("an arrival goes behind", func() bool { return len(w.standing()) == 4 })
	w.until("the offset passes what stands", func() bool { s, _ := w.next(0); return s == 7 })
	if got := w.labels("k"); len(got) != 0 {
		t.Errorf("of the held key %v are handled", got)
	}
	w.until("the copy is out", func() bool { return len(w.read("dlq."+w.group)) == 1 })
	checkCopy(t, w, head, w.read("dlq." + w.group)[0])

	r.stop() // the memory of held keys must come back from the store
	w.run()
	w.send("k:s4", "o:a4")
	w.until("the other key goes on", func() bool { return len(w.labels("o")) == 4 })
	w.until("an arrival goes behind, after a restart, too", func() bool { return len(w.standing()) == 5 })
	w.script.set(nil)
	w.redrive()
	w.until("the key drains", func() bool { return len(w.rows()) == 0 })
	w.send("k:live")
	w.until("the key is free", func() bool { return slices.Contains(w.labels("k"), "live") })
	if diff := cmp.Diff([]string{"bad", "s1", "s2", "s3", "s4", "live"}, w.labels("k")); diff != "" {
		t.Errorf("order of the key (-want +got):\n%s", diff)
	}
	if got := w.script.attempts["bad"]; got != 4 {
		t.Errorf("%d attempts, want 3 and the one of the redrive", got)
	}
}

const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func checkCopy(t *testing.T, w *world, head, dead *kgo.Record) {
	t.Helper()
	if !slices.Equal(dead.Key, head.Key) || !slices.Equal(dead.Value, head.Value) {
		t.Error("key or value of the copy differ")
	}
	if diff := cmp.Diff(head.Headers, dead.Headers[:len(head.Headers)]); diff != "" {
		t.Errorf("headers of the copy (-want +got):\n%s", diff)
	}
	got := map[string]string{}
	for _, h := range dead.Headers[len(head.Headers):] {
		got[strings.TrimPrefix(h.Key, "spine_dlq_")] = string(h.Value)
	}
	want := map[string]string{
		"topic": w.in, "partition": "0", "offset": "0", "group": w.group, "attempts": "3", "class": "transient",
		"timestamp": got["timestamp"], "first_failed": got["first_failed"], "last_failed": got["last_failed"], "reason": got["reason"],
		"version": "1.2.3", "fingerprint": fault.Fingerprint("transient", got["reason"]), "trace": traceparent,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("account of the copy (-want +got):\n%s", diff)
	}
	if n := len(got["reason"]); n > 2048 || n < 2000 || !strings.HasPrefix(got["reason"], "handling: broken ä") {
		t.Errorf("the reason has %d bytes", n)
	}
}

// What a handler can answer, and what becomes of the event.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	until := time.Now().Add(700 * time.Millisecond)
	w.script.set(func(_ context.Context, label string, attempt int) error {
		switch {
		case label == "reject":
			return fmt.Errorf("no: %w", consumer.Reject("not this one"))
		case label == "later" && time.Now().Before(until):
			return consumer.Later(until, "too early")
		case label == "away" && attempt <= 8: // more often than attempts are allowed
			return consumer.Unavailable("mail", errBroken)
		case label == "flaky" && attempt < 3:
			return errBroken
		case label == "panic" && attempt < 3:
			panic("out of order")
		case label == "goexit" && attempt < 3:
			runtime.Goexit()
		case label == "dies":
			panic("always")
		}
		return nil
	})
	w.run()
	var sent []string
	for _, label := range []string{"reject", "later", "away", "flaky", "panic", "goexit", "dies"} {
		sent = append(sent, label+":"+label, label+":after")
	}
	w.send(sent...)
	w.until("all that can be handled is", func() bool { return len(w.ledger()) == 10 })
	for _, label := range []string{"later", "away", "flaky", "panic", "goexit"} {
		if diff := cmp.Diff([]string{label, "after"}, w.labels(label)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", label, diff)
		}
	}
	rows := map[string]string{}
	for _, r := range w.rows() {
		rows[strings.TrimPrefix(string(r.Record.Key), "shopify/uk:")] += string(r.State) + " " + r.Class + ","
	}
	if diff := cmp.Diff(map[string]string{"reject": "dead rejected,wait ,", "dies": "dead panic,wait ,"}, rows); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	attempts := map[string]int{}
	for _, label := range []string{"reject", "later", "away", "flaky", "panic", "goexit", "dies"} {
		attempts[label] = w.script.attempts[label]
	}
	if diff := cmp.Diff(map[string]int{"reject": 1, "later": 2, "away": 9, "flaky": 3, "panic": 3, "goexit": 3, "dies": 3}, attempts); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
	if _, kafka := w.next(0); kafka > 14 {
		t.Errorf("Kafka is told %d of 14", kafka)
	}
}

// A key that waits until a time survives a restart, with its successors.
func TestLater_acrossRestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	mend := w.script.answer("w", func() error { return consumer.Later(time.Now().Add(20*time.Millisecond), "not yet") })
	r := w.run()
	w.send("k:w", "k:x", "k:y")
	w.until("the key waits", func() bool { return len(w.rows()) == 3 })
	r.stop()
	mend()
	w.run()
	w.until("the key drains", func() bool { return len(w.ledger()) == 3 })
	if diff := cmp.Diff([]string{"w", "x", "y"}, w.labels("k")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Promise: bad input. It ends as a dead letter and stops nothing.
func TestPoison(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.run()
	garbage := w.record("g", "a1")
	garbage.Value = []byte("not avro")
	other := w.record("i", "a1")
	other.Headers = slices.Clone(other.Headers)
	for i, h := range other.Headers {
		if h.Key == wire.HeaderID {
			other.Headers[i].Value = []byte("019cec13-177b-835c-af42-62fc597f21c7")
		}
	}
	unknown := w.record("u", "a1")
	for i, h := range unknown.Headers {
		if h.Key == wire.HeaderType {
			unknown.Headers[i].Value = []byte("order.forgotten.v1")
		}
	}
	noType := &kgo.Record{Topic: w.in, Key: []byte("shopify/uk:n"), Value: []byte{1, 2, 3}}
	noKey := w.record("k", "a1")
	noKey.Key = nil
	w.publish(noType, w.record("n", "a1"), garbage, w.record("g", "a2"), other, w.record("i", "a2"), unknown, noKey, w.record("o", "a1"))
	w.until("what is good is handled", func() bool { return len(w.ledger()) == 2 })
	w.until("what is bad stands in the store", func() bool { return len(w.rows()) == 6 })
	got := map[string]string{}
	for _, r := range w.rows() {
		got[string(r.Record.Key)] += fmt.Sprintf("%s %t,", r.State, r.Holds)
	}
	want := map[string]string{
		"shopify/uk:n": "dead false,", // no key is held without a usable type
		"shopify/uk:g": "dead true,wait true,",
		"shopify/uk:i": "dead true,wait true,",
		"":             "dead false,", // a null key holds nothing
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	w.until("each has its copy", func() bool { return len(w.read("dlq."+w.group)) == 4 })
	w.until("the offset passes all", func() bool { s, _ := w.next(0); return s == 9 })
}

// A group that holds no key goes on behind a dead letter.
func TestUnheld(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.script.set(func(_ context.Context, label string, _ int) error {
		if label == "bad" {
			return consumer.Reject("never")
		}
		return nil
	})
	w.run(func(o *dispatch.Options) { o.Unheld = true })
	w.send("k:a", "k:bad", "k:b")
	w.until("the successor is handled", func() bool { return slices.Equal(w.labels("k"), []string{"a", "b"}) })
	if got := w.standing(); !slices.Equal(got, []string{"bad dead"}) {
		t.Errorf("got %v", got)
	}
	w.script.set(nil)
	w.redrive()
	w.until("the redriven one is handled", func() bool { return slices.Equal(w.labels("k"), []string{"a", "b", "bad"}) })
}

// A backfill is counted, not handled, unless the group wants it.
func TestBackfill(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	r := w.run()
	backfill := func(_ *event.New, c *wire.Cause) { c.Origin = event.OriginBackfill }
	w.publish(w.record("k", "old", backfill), w.record("k", "new"))
	w.until("the new one is handled", func() bool { return len(w.ledger()) == 1 })
	r.stop()
	w.run(func(o *dispatch.Options) { o.Group.Backfill = true })
	w.publish(w.record("k", "old2", backfill))
	w.until("the wanted backfill is handled", func() bool { return len(w.ledger()) == 2 })
	if diff := cmp.Diff([]string{"new", "old2"}, w.labels("k")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The first start: from now means from when the group is ready.
func TestFromNow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.send(words("k", 0, 5, "old")...)
	r := w.run(func(o *dispatch.Options) { o.Group.Start = consumer.FromNow })
	w.send("k:a", "l:b")
	w.until("what is new is handled", func() bool { return len(w.ledger()) == 2 })
	r.stop()
	w.send("k:c") // while nobody runs: not lost
	w.run(func(o *dispatch.Options) { o.Group.Start = consumer.FromNow })
	w.until("what came meanwhile is handled", func() bool { return len(w.ledger()) == 3 })
	if diff := cmp.Diff([]string{"a", "c"}, w.labels("k")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Pitfall 3: a failure that is not acknowledged must not be overtaken by the offset.
func TestOffset_staysBelowWhatIsNotDone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	gate := make(chan struct{})
	t.Cleanup(func() { close(gate) })
	w.script.set(func(_ context.Context, label string, _ int) error {
		if label == "away" {
			return consumer.Unavailable("erp", errBroken)
		}
		return nil
	})
	r := w.run()
	w.send("a:1", "b:away", "c:3", "d:4")
	w.until("the others are handled", func() bool { return len(w.ledger()) == 3 })
	w.until("the offset is stored", func() bool { s, k := w.next(0); return s == 1 && k == 1 })
	r.stop()
	if s, k := w.next(0); s != 1 || k != 1 {
		t.Errorf("next_offset is %d, Kafka's %d; want 1: offset 1 is not done", s, k)
	}
	w.script.set(nil)
	w.run()
	w.until("the one that was left is handled", func() bool { return len(w.ledger()) == 4 })
	w.until("the offset passes", func() bool { s, _ := w.next(0); return s == 4 })
	if got := len(w.ledger()); got != 4 {
		t.Errorf("%d in the ledger, want 4: redelivered ones are duplicates", got)
	}
}
