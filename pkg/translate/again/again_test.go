package again_test

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/eventspine/spine/pkg/translate"
	"github.com/eventspine/spine/pkg/translate/again"
	"github.com/eventspine/spine/pkg/wire"
)

const (
	edited    = "order.edited.v1"
	cancelled = "order.cancelled.v1"
	received  = "payment.received.v1"
)

// day is some orders: one that stays, two that are cancelled, one of them when it is
// first seen; two payments, one of them reported twice.
func (l *live) day() {
	l.tb.Helper()
	l.order("1", 1, "open", "")
	l.order("2", 1, "open", "")
	l.pay("p1", "1")
	l.order("2", 2, "cancelled", "late")
	l.order("3", 1, "cancelled", "at once")
	l.pay("p1", "1")
	l.pay("p2", "2")
	l.order("1", 3, "open", "later")
}

func TestFold(t *testing.T) {
	t.Parallel()
	c := codec(t)
	for name, want := range map[string]struct {
		was, now           fault
		fresh, same, other []string
		gone               int
	}{
		"nothing has changed": {same: []string{cancelled, cancelled, edited, edited, edited, received, received}},
		"facts were forgotten": {
			was: forgetsCancelled, fresh: []string{cancelled, cancelled}, same: []string{edited, edited, edited, received, received},
		},
		"reports were forgotten": {
			was: forgetsPayments, fresh: []string{received, received}, same: []string{cancelled, cancelled, edited, edited, edited},
		},
		"facts were wrong": {
			was: saysOtherwise, same: []string{edited, edited, edited, received, received}, other: []string{cancelled, cancelled},
		},
		"ids were wrong": {
			was: inventsIDs, fresh: []string{received, received}, same: []string{cancelled, cancelled, edited, edited, edited}, gone: 2,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLive(t, c, adapter(want.was))
			l.day()
			f := l.again(adapter(want.now), 0)
			for state, types := range map[again.State][2][]string{
				again.Missing: {want.fresh, types(facts(t, f, again.Missing))},
				again.Same:    {want.same, types(facts(t, f, again.Same))},
				again.Changed: {want.other, types(facts(t, f, again.Changed))},
			} {
				if diff := cmp.Diff(append([]string{}, types[0]...), types[1]); diff != "" {
					t.Errorf("%s (-want +got):\n%s", state, diff)
				}
			}
			counts, err := f.Counts(t.Context())
			if wanted := (again.Counts{Deliveries: 8, Gone: want.gone}); err != nil || counts != wanted {
				t.Errorf("counts %+v, %v, want %+v", counts, err, wanted)
			}
			for _, s := range facts(t, f, again.Same) {
				if !s.Compared {
					t.Errorf("%s %s was not compared", s.Type, s.ID)
				}
			}
		})
	}
}

// What differs is shown field by field; personal data is not.
func TestFold_difference(t *testing.T) {
	t.Parallel()
	l := newLive(t, codec(t), adapter(saysOtherwise))
	l.order("3", 1, "cancelled", "at once")
	list := facts(t, l.again(adapter(""), 0), again.Changed)
	if len(list) != 1 {
		t.Fatalf("%d facts have changed, want 1", len(list))
	}
	got := []string{}
	for _, d := range list[0].Diff {
		got = append(got, fmt.Sprintf("%s: %s, now %s", d.Field, d.Published, d.Now))
	}
	if diff := cmp.Diff([]string{`order_number: "otherwise", now "at once"`, `reason_text: "***", now "***"`}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// An accepted change is published under its id, behind what stands: from then on it is
// the same.
func TestFold_lastRecordCounts(t *testing.T) {
	t.Parallel()
	l := newLive(t, codec(t), adapter(saysOtherwise))
	l.day()
	for _, f := range facts(t, l.again(adapter(""), 0), again.Changed) {
		l.topic = append(l.topic, f.Record)
	}
	if list := facts(t, l.again(adapter(""), 0), again.Changed, again.Missing); len(list) > 0 {
		t.Errorf("%v still differ", types(list))
	}
}

// An object from before the window has no past in the fold: what it tells is known by
// id, and its content is not compared with what was told of an earlier snapshot.
func TestFold_beforeTheWindow(t *testing.T) {
	t.Parallel()
	l := newLive(t, codec(t), adapter(forgetsCancelled))
	l.order("1", 1, "open", "")
	l.order("2", 1, "cancelled", "before")
	from := len(l.raw)
	l.order("1", 2, "cancelled", "in it")
	l.order("2", 2, "cancelled", "still")
	f := l.again(adapter(""), from)
	if diff := cmp.Diff([]string{cancelled, cancelled}, types(facts(t, f, again.Missing))); diff != "" {
		t.Errorf("new (-want +got):\n%s", diff)
	}
	same := facts(t, f, again.Same)
	if diff := cmp.Diff([]string{edited, edited}, types(same)); diff != "" {
		t.Errorf("same (-want +got):\n%s", diff)
	}
	for _, s := range same {
		if s.Compared {
			t.Errorf("%s %s of before the window was compared", s.Type, s.ID)
		}
	}
}

// What waits or is dead is left to redrive; what today's adapter refuses is counted,
// with the reason; a delivery that came twice counts once.
func TestFold_leftAndRefused(t *testing.T) {
	t.Parallel()
	l := newLive(t, codec(t), adapter(refuses))
	l.day()
	l.raw = append(l.raw, l.raw[0], l.raw[2])
	f := l.again(adapter(""), 0)
	counts, err := f.Counts(t.Context())
	if want := (again.Counts{Deliveries: 6, Left: 2}); err != nil || counts != want {
		t.Errorf("counts %+v, %v, want %+v", counts, err, want)
	}
	if list := facts(t, f, again.Missing, again.Changed); len(list) > 0 {
		t.Errorf("%v are told of what was not translated", types(list))
	}
	l.dead = nil // as if they were handled
	f = l.again(adapter(refuses), 0)
	reasons, err := f.Reasons(t.Context())
	if want := []again.Reason{{"rejected: order: status: want a known one", 2}}; err != nil || cmp.Diff(want, reasons) != "" {
		t.Errorf("reasons %+v, %v, want %+v", reasons, err, want)
	}
}

// Parts of a batch are translated where they arrived; those that translate never made
// are made now, and belong to the batch.
func TestFold_batches(t *testing.T) {
	t.Parallel()
	c := codec(t)
	body := `{"id":"1","updated_at":"2026-03-14T11:00:01Z","status":"cancelled"}` + "\n" + `{"id":"2","updated_at":"2026-03-14T11:00:01Z"}` + "\n"
	l := newLive(t, c, adapter("", splitting))
	l.send("batch", "shop/uk", body)
	if list := facts(t, l.again(adapter("", splitting), 0), again.Missing, again.Changed); len(list) > 0 {
		t.Errorf("%v are new in what was split before", types(list))
	}
	l = newLive(t, c, adapter(""))
	batch := l.send("batch", "shop/uk", body)
	list := facts(t, l.again(adapter("", splitting), 0), again.Missing)
	if diff := cmp.Diff([]string{cancelled, edited, edited}, types(list)); diff != "" {
		t.Errorf("new (-want +got):\n%s", diff)
	}
	for _, f := range list {
		if f.Delivery != batch.ID {
			t.Errorf("%s belongs to %s, want the batch", f.Type, f.Delivery)
		}
	}
}

// A store that cannot be reached stops the fold; it is no fault of a delivery.
func TestFold_registryAway(t *testing.T) {
	t.Parallel()
	l := newLive(t, codec(t), adapter(forgetsCancelled))
	l.day()
	l.codec = codecWithout(t)
	f := l.fold(adapter(""))
	if err := f.Take(t.Context(), l.raw); err == nil || !strings.Contains(err.Error(), "registry") {
		t.Errorf("got %v, want an error of the registry", err)
	}
	if counts, err := f.Counts(t.Context()); err != nil || counts != (again.Counts{}) {
		t.Errorf("counts %+v, %v", counts, err)
	}
}

// publish does what the owner of the partition does with what is new.
func (l *live) publish(list []again.Fact) (n int) {
	l.tb.Helper()
	for _, f := range list {
		text, err := translate.Retold{Event: f.ID, Delivery: f.Delivery, Anew: f.State == again.Changed, AsOf: time.Now()}.Text()
		if err != nil {
			l.tb.Fatal(err)
		}
		var ok bool
		err = l.write(func(tx *sql.Tx) (err error) {
			ok, err = translate.Retell(l.tb.Context(), tx, text)
			return err
		})
		if err != nil {
			l.tb.Fatal(err)
		}
		if ok {
			l.topic = append(l.topic, f.Record)
			n++
		}
	}
	return n
}

// The live state needs no repair: it is the last body, and the next delivery tells
// what happened since, no more and no less.
func TestFold_liveGoesOn(t *testing.T) {
	t.Parallel()
	l := newLive(t, codec(t), adapter(forgetsCancelled))
	l.day()
	l.group = group(t, adapter("")) // the fix is deployed
	list := facts(t, l.again(adapter(""), 0), again.Missing)
	if n := l.publish(list); n != 2 {
		t.Errorf("%d are published, want 2", n)
	}
	if n := l.publish(list); n != 0 {
		t.Errorf("%d are published again", n)
	}
	before := len(l.topic)
	l.order("2", 4, "cancelled", "touched")
	l.order("3", 4, "cancelled", "touched")
	if got := l.topic[before:]; len(got) > 0 {
		t.Errorf("the next snapshots tell %d facts, want none: nothing has happened", len(got))
	}
	l.order("1", 5, "cancelled", "now")
	if got := l.topic[before:]; len(got) != 1 {
		t.Errorf("a cancellation tells %d facts, want 1", len(got))
	}
	if list := facts(t, l.again(adapter(""), 0), again.Missing, again.Changed); len(list) > 0 {
		t.Errorf("%v are new or changed after all was published", types(list))
	}
}

// A fact that has come live since is not published a second time.
func TestFold_toldMeanwhile(t *testing.T) {
	t.Parallel()
	l := newLive(t, codec(t), adapter(forgetsPayments))
	l.pay("p1", "1")
	l.group = group(t, adapter(""))
	list := facts(t, l.again(adapter(""), 0), again.Missing)
	l.pay("p1", "1") // the vendor sends it again
	if n := l.publish(list); len(list) != 1 || n != 0 {
		t.Errorf("%d of %d are published, want none of 1", n, len(list))
	}
}

// Whatever arrives in whatever order, and whenever the window begins: what was
// published and what is new are together all that the fixed adapter would have told
// of the window, nothing is new that was published, and nothing differs.
func TestFold_property(t *testing.T) {
	t.Parallel()
	c := codec(t)
	for seed := range uint64(24) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			window(t, c, seed)
		})
	}
}

// window is a window of a random past, translated again.
func window(t *testing.T, c *wire.Codec, seed uint64) {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 1))
	faults := []fault{"", forgetsCancelled, forgetsPayments}
	broken, fixed := newLive(t, c, adapter(faults[random.IntN(len(faults))])), newLive(t, c, adapter(""))
	over := map[string]int{} // the version in which an order is cancelled, which is never taken back
	for _, id := range []string{"1", "2", "3"} {
		over[id] = 1 + random.IntN(6)
	}
	for range 1 + random.IntN(14) {
		id, version, pay := fmt.Sprint(1+random.IntN(3)), 1+random.IntN(4), random.IntN(3) == 0
		status := "open"
		if version >= over[id] {
			status = "cancelled"
		}
		for _, l := range []*live{broken, fixed} {
			if pay {
				l.pay("p"+id, id)
			} else {
				l.order(id, version, status, "")
			}
		}
	}
	from := random.IntN(len(broken.raw))
	f := broken.again(adapter(""), from)
	for _, d := range broken.raw {
		t.Logf("%d %s", d.Offset, d.Body)
	}
	if list := facts(t, f, again.Changed); len(list) > 0 {
		t.Fatalf("from %d: %v differ", from, types(list))
	}
	published, after := broken.ids(), broken.ids()
	for _, n := range facts(t, f, again.Missing) {
		if _, known := published[n.ID]; known {
			t.Fatalf("from %d: %s %s is new and was published", from, n.Type, n.ID)
		}
		after[n.ID] = n.Type
	}
	if phantom := missing(fixed.ids(), after); len(phantom) > 0 {
		t.Fatalf("from %d: %v never happened", from, phantom)
	}
	want := fixed.ids()
	if from > 0 { // what happened before, and is shown no more, cannot be known
		alone := newLive(t, c, adapter(""))
		for _, d := range broken.raw[from:] {
			alone.arrive(d.Delivery)
		}
		want = alone.ids()
	}
	if lost := missing(after, want); len(lost) > 0 {
		t.Fatalf("from %d: %v are neither published nor new", from, lost)
	}
}
