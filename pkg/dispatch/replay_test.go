package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	sdk "go.opentelemetry.io/otel/sdk/metric"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/dispatch"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/once/record"
	"github.com/eventspine/spine/pkg/once/replay"
	"github.com/eventspine/spine/pkg/wire"
)

// fromNow makes a group that was added later.
func fromNow(o *dispatch.Options) { o.Group.Start = consumer.FromNow }

// withEffect makes a group that calls the outside, which counts in calls.
func withEffect(calls *callLog) func(*dispatch.Options) {
	return func(o *dispatch.Options) {
		o.Group.Effects = []consumer.Effect{consumer.EffectOf("call", consumer.RetryWithKey, func(_ context.Context, key string, _ string) error {
			calls.add(key)
			return nil
		})}
	}
}

type callLog struct {
	mu   sync.Mutex
	keys []string
}

func (c *callLog) add(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keys = append(c.keys, key)
}

func (c *callLog) all() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.keys)
}

// replay asks for a replay of [0, until) of a partition.
func (w *world) replay(r replay.Request, until int64, partitions ...int32) int64 {
	w.t.Helper()
	r.Kind = replay.Facts
	var ranges []replay.Range
	for _, p := range append(partitions, 0)[:max(len(partitions), 1)] {
		ranges = append(ranges, replay.Range{Topic: w.in, Partition: p, Until: until})
	}
	id, err := replay.Ask(w.t.Context(), w.db.DB, w.group, r, ranges)
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

func (w *world) replayParts(id int64) []replay.Part {
	w.t.Helper()
	parts, err := replay.List(w.t.Context(), w.db.DB, w.group, id)
	if err != nil {
		w.t.Fatal(err)
	}
	return parts
}

// replayed waits for the end of a replay and answers what became of its records.
func (w *world) replayed(id int64) (c replay.Counts) {
	w.t.Helper()
	w.until("the replay is done", func() bool {
		return !slices.ContainsFunc(w.replayParts(id), func(p replay.Part) bool { return p.Result != replay.Done })
	})
	for _, p := range w.replayParts(id) {
		c.Handled, c.Duplicate, c.Standing = c.Handled+p.Counts.Handled, c.Duplicate+p.Counts.Duplicate, c.Standing+p.Counts.Standing
		c.Backfill, c.Other, c.Failed = c.Backfill+p.Counts.Backfill, c.Other+p.Counts.Other, c.Failed+p.Counts.Failed
	}
	return c
}

func (w *world) same(what string, want, got any) {
	w.t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// Pitfall: a replay calls the outside again. A group that was added later handles what
// was there before, after what was live, in the order of the keys, once, and touches
// nothing outside; what it publishes leaves.
func TestReplay_ofAGroupAddedLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.send("k:a", "k:e1", "l:p1", "k:b", "m:c")
	calls := &callLog{}
	w.run(fromNow, withEffect(calls))
	w.send("k:e2", "l:d")
	w.until("the live ones are handled", func() bool { s, _ := w.next(0); return s == 7 && len(calls.all()) == 1 })
	w.same("handled now", replay.Counts{Handled: 5, Duplicate: 2}, w.replayed(w.replay(replay.Request{}, 7)))
	w.same("of k", []string{"e2", "a", "e1", "b"}, w.labels("k"))
	w.same("of l", []string{"d", "p1"}, w.labels("l"))
	w.until("what it publishes leaves", func() bool { return w.counts().Outgoing == 0 && len(w.read(w.out)) == 1 })
	w.same("again", replay.Counts{Duplicate: 7}, w.replayed(w.replay(replay.Request{}, 7)))
	w.same("the outside was called for live events alone", []string{"e2"}, calls.all())
	w.same("effects in the store", 1, w.counts().EffectsDone)
}

// Effects that are asked for happen.
func TestReplay_withEffects(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.send("k:e1", "k:e2")
	calls := &callLog{}
	w.run(fromNow, withEffect(calls))
	w.replayed(w.replay(replay.Request{Effects: true}, 2))
	w.until("both are called", func() bool { return len(calls.all()) == 2 })
}

// A store that was restored without its offsets going back: facts that it has not
// handled are handled now, those of a named type alone, a backfill if it is asked for.
func TestReplay_chooses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	backfill := func(_ *event.New, c *wire.Cause) { c.Origin = event.OriginBackfill }
	w.publish(w.record("k", "a"), w.record("k", "b", backfill), w.record("k", "c"))
	w.run()
	w.until("the live ones are handled", func() bool { s, _ := w.next(0); return s == 3 })
	w.same("a backfill is not handled unasked", []string{"a", "c"}, w.labels(""))
	w.same("other facts", replay.Counts{Other: 3}, w.replayed(w.replay(replay.Request{Facts: []string{"stock.reserved.v1"}}, 3)))
	w.same("nothing new", replay.Counts{Duplicate: 2, Backfill: 1}, w.replayed(w.replay(replay.Request{}, 3)))
	w.same("the backfill", replay.Counts{Duplicate: 2, Handled: 1}, w.replayed(w.replay(replay.Request{Backfill: true}, 3)))
	w.same("in the end", []string{"a", "c", "b"}, w.labels(""))
}

// Pitfalls: a replay passes next_offset, and takes the effects of live events; it
// handles what waits or is dead.
func TestReplay_staysBehind(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	calls := &callLog{}
	mend := w.script.reject("bad")
	r := w.run(withEffect(calls))
	w.send("k:bad", "k:e1", "l:a")
	w.until("the key waits", func() bool { s, _ := w.next(0); return s == 3 && len(w.rows()) == 2 })
	id := w.replay(replay.Request{}, 5) // beyond what is there
	w.send("m:e2")                      // live, though a replay has asked for it
	w.until("the live one is handled with its effect", func() bool { return slices.Equal(calls.all(), []string{"e2"}) })
	if p := w.replayParts(id)[0]; p.Result != replay.Open || p.Counts.Handled != 0 {
		t.Errorf("the replay went ahead: %+v", p)
	}
	w.send("m:b")
	w.same("what became of them", replay.Counts{Duplicate: 3, Standing: 2}, w.replayed(id))
	w.same("the key still waits", []string{"bad dead", "e1 wait"}, w.standing())
	mend()
	w.redrive()
	w.until("a redrive handles it with its effects", func() bool { return len(calls.all()) == 2 })
	w.same("in order", []string{"bad", "e1"}, w.labels("k"))
	r.stop()
}

// What fails in a replay stands as a row that holds nothing: the replay and the live
// key go on, and a redrive handles it without effects.
func TestReplay_ofAFailingRecord(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.send("k:a", "k:e-bad", "k:b")
	calls := &callLog{}
	mend := w.script.reject("e-bad")
	w.run(fromNow, withEffect(calls))
	w.same("what became of them", replay.Counts{Handled: 2, Failed: 1}, w.replayed(w.replay(replay.Request{}, 3)))
	w.send("k:live")
	w.until("the live key goes on", func() bool { return slices.Equal(w.labels("k"), []string{"a", "b", "live"}) })
	w.same("it stands", []string{"e-bad dead"}, w.standing())
	w.until("with its copy", func() bool { return w.counts().Outgoing == 0 })
	w.same("a replay leaves it alone", replay.Counts{Duplicate: 3, Standing: 1}, w.replayed(w.replay(replay.Request{}, 4)))
	mend()
	w.redrive()
	w.until("it is handled", func() bool { return len(w.rows()) == 0 && len(w.labels("k")) == 4 })
	if c := w.counts(); c.EffectsOpen+c.EffectsDone != 0 || len(calls.all()) != 0 {
		t.Errorf("its effect: %+v %v", c, calls.all())
	}
}

// Owners come and go while a replay is on: each goes on at the cursor. Nothing is
// lost, nothing doubled, and the live records of a key stay in their order.
func TestReplay_acrossOwners(t *testing.T) {
	t.Parallel()
	const partitions, each = 3, 80
	w := newWorld(t, partitions)
	want := map[string][]string{}
	var all []string
	for i := range each * partitions {
		entity, label := fmt.Sprint(i%10), fmt.Sprintf("old%d", i)
		want[entity] = append(want[entity], label)
		all = append(all, entity+":"+label)
	}
	w.send(all...)
	r := w.run(fromNow)
	ends := map[int32]int64{}
	for p := range int32(partitions) {
		ends[p], _ = w.next(p)
	}
	var ranges []replay.Range
	for p, end := range ends {
		ranges = append(ranges, replay.Range{Topic: w.in, Partition: p, Until: end})
	}
	slow := make(chan struct{})
	w.script.set(func(ctx context.Context, label string, _ int) error {
		if strings.HasPrefix(label, "old") {
			select {
			case <-slow: // closed once the owners have changed
			case <-time.After(2 * time.Millisecond):
			case <-ctx.Done():
			}
		}
		return ctx.Err()
	})
	id, err := replay.Ask(t.Context(), w.db.DB, w.group, replay.Request{Kind: replay.Facts}, ranges)
	if err != nil {
		t.Fatal(err)
	}
	some := func(n int) { w.until("some are replayed", func() bool { return len(w.ledger()) >= n }) }
	some(20)
	if _, err := w.db.Store(w.group).Fence(t.Context()); err != nil { // somebody took them all
		t.Fatal(err)
	}
	some(60)
	second := w.run(fromNow) // a rebalance
	for i := range 20 {
		entity := fmt.Sprint(i % 10)
		want[entity] = append(want[entity], fmt.Sprintf("live%d", i))
		w.send(fmt.Sprintf("%s:live%d", entity, i))
	}
	some(120)
	r.stop()
	some(150)
	second.stop()
	close(slow)
	w.run(fromNow)
	c := w.replayed(id)
	if c.Handled+c.Duplicate != each*partitions || c.Handled == 0 || c.Failed+c.Standing+c.Other != 0 {
		t.Errorf("what became of them: %+v", c)
	}
	w.until("the live ones, too", func() bool { return len(w.ledger()) == each*partitions+20 })
	got := map[string][]string{}
	for _, l := range w.ledger() {
		got[l.entity] = append(got[l.entity], l.label)
	}
	for entity, labels := range got { // each of the two in its order
		slices.SortStableFunc(labels, func(a, b string) int { return strings.Compare(b[:2], a[:2]) })
		w.same("of "+entity, want[entity], labels)
	}
}

// Live records go first: while a replay has more to do than there are lanes, a live
// record doesn't wait for it, not even behind the records of its own key. The handlers
// of the replay are held until the live record stands in its lane: before it, only what
// the worker had taken by then is handled.
func TestReplay_liveGoesFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	const old, batch = 80, 4
	var all []string
	for i := range old {
		all = append(all, fmt.Sprintf("%d:old%d", i%20, i))
	}
	w.send(all...)
	held := make(chan struct{})
	w.script.set(func(ctx context.Context, label string, _ int) error {
		if strings.HasPrefix(label, "old") {
			select {
			case <-held:
			case <-ctx.Done():
			}
		}
		return ctx.Err()
	})
	reader := sdk.NewManualReader()
	w.run(fromNow, func(o *dispatch.Options) {
		o.Concurrency, o.Batch = 1, batch // of two workers, the one with the live record may come second to the store
		o.Meter = sdk.NewMeterProvider(sdk.WithReader(reader)).Meter("test")
	})
	id := w.replay(replay.Request{}, old)
	w.until("the replay is on", func() bool { return len(w.script.called()) > 0 })
	w.send("15:live") // of a key whose turn in the replay has not come
	w.until("the live record stands in its lane", func() bool { return lags(t, reader)["0"] == 1 })
	close(held)
	w.until("the live record is handled", func() bool { return slices.Contains(w.labels("15"), "live") })
	if n := slices.Index(w.script.called(), "live"); n > batch {
		t.Errorf("the live record waited for %d of a replay: %v", n, w.script.called())
	}
	w.same("handled", replay.Counts{Handled: old}, w.replayed(id))
}

// A replay that is given up stops where it is, also one that goes round a dependency
// that is away.
func TestReplay_givenUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.send("k:a", "k:away", "k:b")
	w.script.set(func(_ context.Context, label string, _ int) error {
		if label == "away" {
			return consumer.Unavailable("somewhere", errors.New("no answer"))
		}
		return nil
	})
	w.run(fromNow)
	id := w.replay(replay.Request{Rate: 1000}, 3)
	w.until("it is on", func() bool { return len(w.ledger()) == 1 })
	if n, err := replay.Drop(t.Context(), w.db.DB, w.group, id); n != 1 || err != nil {
		t.Fatalf("given up: %d, %v", n, err)
	}
	w.send("k:live")
	w.until("the live one is handled", func() bool { return slices.Contains(w.labels("k"), "live") })
	w.script.set(nil)
	w.same("the next one", replay.Counts{Handled: 2, Duplicate: 2}, w.replayed(w.replay(replay.Request{}, 4)))
	w.same("all", []string{"a", "live", "away", "b"}, w.labels("k"))
}

// Records that were made beforehand leave by the partition's owner, in order.
func TestReplay_publishes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.run()
	var outs []replay.Out
	for i := range 3 {
		outs = append(outs, replay.Out{Topic: w.in, Record: record.Record{Topic: w.out, Partition: -1, Key: []byte("k"), Value: fmt.Append(nil, i)}})
	}
	id, err := replay.AskPublish(t.Context(), w.db.DB, w.group, outs)
	if err != nil {
		t.Fatal(err)
	}
	w.same("let out", replay.Counts{Handled: 3}, w.replayed(id))
	w.until("they are out", func() bool { return w.counts() == once.Counts{} })
	var got []string
	for _, r := range w.read(w.out) {
		got = append(got, string(r.Value))
	}
	w.same("published", []string{"0", "1", "2"}, got)
}
