package dispatch_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/dispatch"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/once/ownership"
	"github.com/eventspine/spine/pkg/once/request"
)

// manyDead makes so many keys with a dead head each and rows behind it.
func manyDead(w *world, keys, behind int) (mend func()) {
	w.t.Helper()
	var mended atomic.Bool
	w.script.set(func(_ context.Context, label string, _ int) error {
		if strings.HasSuffix(label, "-0") && !mended.Load() {
			return consumer.Reject("no such customer")
		}
		return nil
	})
	var all []string
	for n := range behind + 1 {
		for k := range keys {
			all = append(all, fmt.Sprintf("k%d:k%d-%d", k, k, n))
		}
	}
	w.send(all...)
	return func() { mended.Store(true) }
}

// A redrive of many keys doesn't wait for the next look at the store: where more rows
// are due than there is room for in memory, they follow as soon as there is room.
func TestRedrive_manyKeys(t *testing.T) {
	t.Parallel()
	const keys, behind = 1500, 0
	w := newWorld(t, 1)
	mend := manyDead(w, keys, behind)
	begun := time.Now()
	w.run(func(o *dispatch.Options) { o.Look = 2 * time.Second })
	w.until("all keys wait", func() bool { c := w.counts(); return c.Dead == keys && c.Waiting == keys*behind })
	dying := time.Since(begun) // what this machine does with as many records
	mend()
	var ids []int64
	for _, r := range w.rows() {
		if r.State == once.Dead {
			ids = append(ids, r.ID)
		}
	}
	begun = time.Now()
	if _, err := request.AskAll(t.Context(), w.db.DB, w.group, request.Redrive, ids); err != nil {
		t.Fatal(err)
	}
	w.until("all keys are done", func() bool { c := w.counts(); return c.Dead+c.Waiting == 0 })
	took := time.Since(begun)
	t.Logf("%d keys, %d records in %s: %.0f keys/s", keys, keys*(behind+1), took, float64(keys)/took.Seconds())
	if most := max(12*time.Second, 6*dying); took > most { // 128 keys a look would take 24 s
		t.Errorf("%d keys took %s, want less than %s", keys, took, most)
	}
	inOrder(t, w, keys, behind+1)
}

// inOrder: each key was handled once, in its order.
func inOrder(t *testing.T, w *world, keys, each int) {
	t.Helper()
	got := map[string][]string{}
	for _, l := range w.ledger() {
		got[l.entity] = append(got[l.entity], l.label)
	}
	for k := range keys {
		key := fmt.Sprintf("k%d", k)
		var want []string
		for n := range each {
			want = append(want, fmt.Sprintf("%s-%d", key, n))
		}
		if strings.Join(got[key], " ") != strings.Join(want, " ") {
			t.Errorf("%s was handled as %v, want %v", key, got[key], want)
		}
	}
}

// reset sets the first partition to another offset, as a person beside the process does.
func (w *world) reset(to int64) {
	w.t.Helper()
	if _, err := ownership.Set(w.t.Context(), w.db.DB, w.group, ownership.Reset{Topic: w.in, To: to}); err != nil {
		w.t.Fatal(err)
	}
}

// Set back under a living owner, the group starts over from there by itself, and
// nothing is handled twice.
func TestReset_livingOwner(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.run()
	w.send(words("k", 0, 20, "a")...)
	w.until("all are handled and stored", func() bool { s, k := w.next(0); return s == 20 && k == 20 })
	w.reset(5)
	w.until("it has come again", func() bool { s, k := w.next(0); return s == 20 && k == 20 })
	w.send("k:after")
	w.until("the next is handled", func() bool { return len(w.ledger()) >= 21 })
	if n := len(w.script.called()); n != 21 {
		t.Errorf("the handler was called %d times, want 21", n)
	}
}

// A redrive that is broken off twice goes on: what was asked stays asked, the owners that
// stop in the middle leave the rest to the next, and each record is handled once, in the
// order of its key.
func TestRedrive_brokenOffTwice(t *testing.T) {
	t.Parallel()
	const keys, behind = 1000, 1
	w := newWorld(t, 2)
	mend := manyDead(w, keys, behind)
	r := w.run()
	w.until("all keys wait", func() bool { c := w.counts(); return c.Dead == keys && c.Waiting == keys*behind })
	mend()
	for _, most := range []int{350, 350, keys} {
		var ids []int64
		for _, row := range w.rows() {
			if row.State == once.Dead && len(ids) < most {
				ids = append(ids, row.ID)
			}
		}
		before := len(w.ledger())
		if _, err := request.AskAll(t.Context(), w.db.DB, w.group, request.Redrive, ids); err != nil {
			t.Fatal(err)
		}
		w.until("some are done", func() bool { return len(w.ledger()) > before+50 })
		if most < keys {
			r.stop()
			r = w.run()
		}
	}
	w.until("all keys are done", func() bool { c := w.counts(); return c.Dead+c.Waiting == 0 })
	inOrder(t, w, keys, behind+1)
}
