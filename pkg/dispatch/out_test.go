package dispatch_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/dispatch"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/once/request"
	"github.com/eventspine/spine/pkg/wire"
	"github.com/eventspine/spine/schemas/stock"
)

// facts reads the published facts of a topic: their SKU is the label of their cause.
func (w *world) facts() []string {
	w.t.Helper()
	var labels []string
	for _, rec := range w.read(w.out) {
		var fact stock.ShortageDetectedV1
		if err := w.codec.Decode(w.t.Context(), rec, &fact); err != nil {
			w.t.Fatal(err)
		}
		labels = append(labels, fact.Lines[0].SKU)
	}
	return labels
}

// What a handler publishes carries what its cause said, and leaves with its
// transaction: what failed has published nothing.
func TestPublish(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.script.set(func(_ context.Context, label string, attempt int) error {
		if label == "p2" && attempt < 3 {
			return errBroken
		}
		return nil
	})
	w.run()
	cause := w.record("k", "p1", func(_ *event.New, c *wire.Cause) { c.Test = true })
	wire.Trace{Request: "req-7", Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}.AddTo(cause)
	w.publish(cause)
	w.send("k:p2", "k:p3")
	w.until("all are out", func() bool { return len(w.read(w.out)) == 3 })
	if diff := cmp.Diff([]string{"p1", "p2", "p3"}, w.facts()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	head, err := wire.Head(cause)
	if err != nil {
		t.Fatal(err)
	}
	rec := w.read(w.out)[0]
	got, err := wire.Head(rec)
	if err != nil {
		t.Fatal(err)
	}
	at, err := wire.IDTimeOf(head.ID)
	if err != nil {
		t.Fatal(err)
	}
	source := "spine/" + w.group
	want := event.Event{
		ID:   event.NewID(at, source, "stock.shortage-detected", "shopify/uk:k", "p1"),
		Type: "stock.shortage-detected.v1", Source: source, Entity: "shopify/uk:k", Key: "shopify/uk:k", Origin: event.OriginProcess,
		OccurredAt: head.OccurredAt, CorrelationID: "order:shopify/uk:k", CausationID: head.ID,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("envelope (-want +got):\n%s", diff)
	}
	var fact stock.ShortageDetectedV1
	if err := w.codec.Decode(t.Context(), rec, &fact); err != nil {
		t.Fatal(err)
	}
	if m := fact.Meta; !m.Test || !m.RecordedAt.Equal(born.Add(time.Second)) {
		t.Errorf("meta: test %t, recorded at %s", m.Test, m.RecordedAt)
	}
	if trace := wire.TraceOf(rec); trace.Request != "req-7" || !strings.HasPrefix(trace.Traceparent, "00-0af7") {
		t.Errorf("trace: %+v", trace)
	}
	if got := len(w.facts()); got != 3 {
		t.Errorf("%d facts, want 3", got)
	}
	w.until("the table is empty", func() bool { return w.counts().Outgoing == 0 })
}

// What can't be published is refused when the handler says it, and nothing of the
// transaction remains.
func TestPublish_refuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	errs := make(chan error, 10)
	w.run(func(o *dispatch.Options) {
		o.Route = func(fact string) (wire.Target, bool) {
			return wire.Target{Topic: w.out, Aggregate: "order"}, fact != "order.placed.v1"
		}
		o.Group.On = []consumer.Handler{consumer.On(func(_ context.Context, tx consumer.Tx, e event.Of[cancelled]) error {
			huge := shortage("x")
			huge.Lines[0].SKU = strings.Repeat("x", 1<<20)
			errs <- tx.Publish(event.New{Fact: huge, Entity: "1", At: e.OccurredAt})
			errs <- tx.Publish(event.New{Fact: placedV1{}, Entity: "1", At: e.OccurredAt})
			errs <- tx.Publish(event.New{Fact: shortage("x"), Entity: "", At: e.OccurredAt})
			errs <- tx.Effect("nobody", "k", nil)
			errs <- tx.Effect("call", "", nil)
			return consumer.Reject("seen enough")
		})}
		o.Group.Effects = []consumer.Effect{{Name: "call", Do: func(context.Context, string, json.RawMessage) error { return nil }}}
	})
	w.send("k:x")
	for _, want := range []string{"too large", "no topic", "entity", "declares no such effect", "idempotency key"} {
		select {
		case err := <-errs:
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want one about %q", err, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("no answer")
		}
	}
	w.until("it is dead", func() bool { return w.counts().Dead == 1 })
	if n := len(w.read(w.out)); n != 0 {
		t.Errorf("%d facts of a transaction that failed", n)
	}
}

// Left-overs of a former owner go out before anything new of their key, in order, once.
func TestRelay_leftovers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	owner, err := w.db.Store(w.group).Own(t.Context(), w.in, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	const old, fresh = 1200, 50 // left-overs: more than one batch
	input := w.record("k", "old")
	w.publish(input)
	item := once.Item{Mode: once.Live, EventID: "left-over", Record: once.Record{Topic: w.in, Key: input.Key}}
	_, err = owner.Do(t.Context(), item, func(ctx context.Context, tx once.Tx) error {
		for i := range old {
			rec := once.Record{Topic: w.out, Partition: -1, Key: input.Key, Value: fmt.Append(nil, i)}
			if err := tx.Send(ctx, once.Outgoing{Kind: once.OutFact, Record: rec}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Advance(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	w.send(words("k", 0, fresh, "p")...)
	w.run()
	w.until("the table is empty", func() bool { return len(w.ledger()) == fresh && w.counts().Outgoing == 0 })
	out := w.read(w.out)
	if len(out) != old+fresh {
		t.Fatalf("%d records, want %d", len(out), old+fresh)
	}
	for i, rec := range out {
		if string(rec.Key) != string(input.Key) {
			t.Fatalf("record %d has the key %q, want %q: the keys of the test differ", i, rec.Key, input.Key)
		}
		if i < old && string(rec.Value) != fmt.Sprint(i) {
			t.Fatalf("record %d is not the left-over of that number but %q", i, rec.Value)
		}
	}
}

// The order of the relay over restarts in the middle: first occurrences are in order,
// and after a drain nothing comes twice.
func TestRelay_acrossRestarts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	var want []string
	for round := range 4 {
		r := w.run()
		for i := range 30 {
			label := fmt.Sprintf("p%d-%d", round, i)
			want = append(want, label)
			w.send("k:" + label)
		}
		r.stop()
	}
	w.run()
	w.until("all are out", func() bool { return len(w.read(w.out)) >= len(want) })
	if diff := cmp.Diff(want, w.facts()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// outside is what effects touch.
type outside struct {
	mu    sync.Mutex
	calls []string
	do    func(key string, call int) error
}

func (o *outside) call(key string) error {
	o.mu.Lock()
	o.calls = append(o.calls, key)
	n := 0
	for _, k := range o.calls {
		if k == key {
			n++
		}
	}
	do := o.do
	o.mu.Unlock()
	if do == nil {
		return nil
	}
	return do(key, n)
}

func (o *outside) called() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.calls)
}

func (w *world) withEffect(o *outside, unknown consumer.Unknown) func(*dispatch.Options) {
	return func(opts *dispatch.Options) {
		opts.Group.Effects = []consumer.Effect{consumer.EffectOf("call", unknown,
			func(_ context.Context, key, args string) error {
				if key != args {
					return fmt.Errorf("arguments %q of key %q", args, key)
				}
				return o.call(key)
			},
			func(ctx context.Context, tx consumer.Tx, key, _ string) error {
				if _, err := tx.ExecContext(ctx, `INSERT INTO ledger (label, entity, event_id) VALUES ($1, 'done', '')`, key); err != nil {
					return err
				}
				return tx.Publish(event.New{Fact: shortage("done " + key), Entity: "1", Discriminator: key, At: born})
			})}
	}
}

// Promise: outside effects. After the commit, again with the same key until it
// succeeds, and what is true only afterwards is written with the mark.
func TestEffects(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	o := &outside{do: func(key string, call int) error {
		switch {
		case key == "e2" && call < 4:
			return errBroken
		case key == "e3" && call < 2:
			panic("out of order")
		case key == "e4":
			return consumer.Reject("no such address")
		}
		return nil
	}}
	w.script.set(func(_ context.Context, label string, attempt int) error {
		if label == "e5" && attempt < 2 { // asked for twice, by an attempt that was undone
			return errBroken
		}
		return nil
	})
	w.run(w.withEffect(o, consumer.RetryWithKey))
	w.send("a:e1", "b:e2", "c:e3", "d:e4", "e:e5")
	w.until("all are done, but one", func() bool { c := w.counts(); return c.EffectsDone == 4 && c.EffectsUnknown == 1 })
	calls := map[string]int{}
	for _, key := range o.called() {
		calls[key]++
	}
	if diff := cmp.Diff(map[string]int{"e1": 1, "e2": 4, "e3": 2, "e4": 1, "e5": 1}, calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	done := w.labels("done")
	slices.Sort(done)
	if diff := cmp.Diff([]string{"e1", "e2", "e3", "e5"}, done); diff != "" {
		t.Errorf("done (-want +got):\n%s", diff)
	}
	w.until("the facts of done are out", func() bool { return len(w.read(w.out)) == 4 })
	for _, rec := range w.read(w.out) {
		e, err := wire.Head(rec)
		if err != nil {
			t.Fatal(err)
		}
		if e.CausationID == "" || !strings.HasPrefix(e.CorrelationID, "order:shopify/uk:") || e.Source != "spine/"+w.group {
			t.Errorf("a fact of done has lost its cause: %+v", e)
		}
	}
}

// Effects of a former owner: those that were never called are called; those whose
// outcome is not known, by their policy.
func TestEffects_afterRestart(t *testing.T) {
	t.Parallel()
	for name, policy := range map[string]consumer.Unknown{"retry": consumer.RetryWithKey, "ask": consumer.Ask} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 1)
			leaveEffects(t, w)
			o := &outside{}
			w.run(w.withEffect(o, policy))
			w.until("all have ended", func() bool { c := w.counts(); return c.EffectsDone+c.EffectsUnknown == 2 })
			want, unknown := []string{"begun", "fresh"}, 0
			if policy == consumer.Ask {
				want, unknown = []string{"fresh"}, 1
			}
			got := o.called()
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" || w.counts().EffectsUnknown != unknown {
				t.Errorf("calls (-want +got):\n%s%+v", diff, w.counts())
			}
		})
	}
}

// An effect that looks up first is not called where a call may have been made: found
// by a former owner that ended during it, or failed. It is done once the other side
// knows it, and called again if not.
func TestEffects_lookUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	leaveEffects(t, w) // of begun, the answer is lost; fresh was never called
	made := map[string]bool{"begun": true}
	asked := map[string]int{}
	o := &outside{}
	o.do = func(key string, call int) error { // is called without the lock
		o.mu.Lock()
		defer o.mu.Unlock()
		switch {
		case key == "e-lost": // made, and the answer is lost
			made[key] = true
			return context.DeadlineExceeded
		case key == "e-never" && call < 3: // lost on the way there
			return context.DeadlineExceeded
		}
		made[key] = true
		return nil
	}
	look := func(_ context.Context, key, args string) (bool, error) {
		o.mu.Lock()
		defer o.mu.Unlock()
		asked[key]++
		switch {
		case key != args:
			return false, fmt.Errorf("arguments %q of key %q", args, key)
		case asked[key] == 1 && key != "e-never":
			return false, errBroken // looked up later, and not called meanwhile
		case asked[key] == 2 && key == "e-lost":
			panic("out of order")
		}
		return made[key], nil
	}
	w.run(w.withEffect(o, consumer.RetryWithKey), func(opts *dispatch.Options) {
		opts.Group.Effects[0] = consumer.LookingUp(opts.Group.Effects[0], look)
	})
	w.send("a:e-lost", "b:e-never")
	w.until("all are done", func() bool { return w.counts().EffectsDone == 4 })
	calls := map[string]int{}
	for _, key := range o.called() {
		calls[key]++
	}
	if diff := cmp.Diff(map[string]int{"fresh": 1, "e-lost": 1, "e-never": 3}, calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]int{"begun": 2, "e-lost": 3, "e-never": 2}, asked); diff != "" {
		t.Errorf("look-ups (-want +got):\n%s", diff)
	}
	done := w.labels("done")
	slices.Sort(done)
	if diff := cmp.Diff([]string{"begun", "e-lost", "e-never", "fresh"}, done); diff != "" {
		t.Errorf("done (-want +got):\n%s", diff)
	}
}

// A policy that nobody can follow is refused at the start.
func TestEffects_lookUpWithoutALook(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	opts := w.options()
	w.withEffect(&outside{}, consumer.LookUp)(&opts)
	if _, err := dispatch.New(opts); err == nil || !strings.Contains(err.Error(), "LookingUp") {
		t.Errorf("got %v, want an error that says what is missing", err)
	}
}

// A person has an effect called again that was refused, and gives another one up.
func TestEffects_decidedByAPerson(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	o := &outside{do: func(key string, call int) error {
		switch {
		case key == "e-down":
			return errBroken
		case call == 1:
			return consumer.Reject("no such address")
		}
		return nil
	}}
	w.run(w.withEffect(o, consumer.RetryWithKey), func(opts *dispatch.Options) { opts.Retry.Base, opts.Retry.Max = 1000*time.Hour, 1000*time.Hour })
	w.send("a:e-again", "b:e-never", "c:e-down")
	w.until("two need a person, one waits", func() bool {
		list, err := w.db.Store(w.group).Effects(t.Context(), once.EffectFilter{State: once.EffectPending, Tried: 1})
		return err == nil && len(list) == 1 && w.counts().EffectsUnknown == 2
	})
	w.decide(request.Retry, "e-again")
	w.decide(request.Drop, "e-never")
	w.until("one is done, one is given up", func() bool { c := w.counts(); return c.EffectsDone == 1 && c.EffectsUnknown == 0 })
	w.decide(request.Retry, "e-down") // is called now
	w.until("it is called again", func() bool { return len(o.called()) == 5 })
	calls := o.called()
	slices.Sort(calls)
	if diff := cmp.Diff([]string{"e-again", "e-again", "e-down", "e-down", "e-never"}, calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"e-again"}, w.labels("done")); diff != "" {
		t.Errorf("done (-want +got):\n%s", diff)
	}
}

// decide asks the owner beside the process, and waits until it is carried out.
func (w *world) decide(kind request.Kind, key string) {
	w.t.Helper()
	list, err := w.db.Store(w.group).Effects(w.t.Context(), once.EffectFilter{})
	i := slices.IndexFunc(list, func(e once.Effect) bool { return e.Key == key })
	if err != nil || i < 0 {
		w.t.Fatalf("effect %s: %v", key, err)
	}
	ids, err := request.AskEffects(w.t.Context(), w.db.DB, w.group, kind, []int64{list[i].ID})
	if err != nil || ids[0] == 0 {
		w.t.Fatalf("asking for %s of %s: %v", kind, key, err)
	}
	w.carriedOut(ids[0])
}

// leaveEffects is an owner that ended during one call and before another.
func leaveEffects(t *testing.T, w *world) {
	t.Helper()
	owner, err := w.db.Store(w.group).Own(t.Context(), w.in, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	item := once.Item{Mode: once.Live, EventID: "x", Record: once.Record{Topic: w.in, Key: []byte("k")}}
	_, err = owner.Do(t.Context(), item, func(ctx context.Context, tx once.Tx) error {
		for _, key := range []string{"begun", "fresh"} {
			cause, err := json.Marshal(wire.Cause{
				Source: "spine/" + w.group, Origin: event.OriginProcess, IDAt: born, RecordedAt: born, Correlation: "order:" + key,
			})
			if err != nil {
				return err
			}
			if err := tx.Effect(ctx, once.Effect{Name: "call", Key: key, Args: fmt.Appendf(nil, "%q", key), Cause: cause}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	effects, err := owner.Effects(t.Context(), time.Now(), 10)
	if err != nil || len(effects) != 2 {
		t.Fatalf("%d effects, %v", len(effects), err)
	}
	if err := owner.Intend(t.Context(), effects[0].ID); err != nil {
		t.Fatal(err)
	}
}

// A shutdown waits for the call that is being made.
func TestEffects_drain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	begun := make(chan struct{})
	o := &outside{do: func(string, int) error {
		close(begun)
		<-time.After(300 * time.Millisecond)
		return nil
	}}
	r := w.run(w.withEffect(o, consumer.Ask))
	w.send("k:e1")
	select {
	case <-begun:
	case <-time.After(20 * time.Second):
		t.Fatal("no call")
	}
	r.stop()
	if c := w.counts(); c.EffectsDone != 1 || len(o.called()) != 1 {
		t.Errorf("%+v after %d calls", c, len(o.called()))
	}
}

// Translate's own way out.
func TestPublisher(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	raw := "raw.t" + strings.TrimPrefix(w.group, "g-")
	w.set.CreateTopics(t, 1, raw)
	w.run(func(o *dispatch.Options) {
		o.Group.On = []consumer.Handler{consumer.On(func(_ context.Context, tx consumer.Tx, e event.Of[cancelled]) error {
			p, ok := tx.Out.(wire.Publisher)
			if !ok {
				return consumer.Reject("the way out is no wire.Publisher")
			}
			d := wire.Delivery{
				ID: "0193b7a8-0000-7000-8000-000000000001", Source: strings.TrimPrefix(raw, "raw.") + "/uk", Kind: "orders/create",
				Key: "shopify/uk:1", Origin: event.OriginWebhook, Body: []byte(`{"id":1}`), ReceivedAt: born,
			}
			if err := p.Forward(d); err != nil {
				return err
			}
			_, err := p.PublishAs(wire.Cause{Source: "shopify/uk", Origin: event.OriginPoll, RecordedAt: born},
				event.New{Fact: shortage("as"), Entity: "77", At: e.OccurredAt})
			return err
		})}
	})
	w.send("k:x")
	w.until("both are out", func() bool { return len(w.read(w.out)) == 1 && len(w.read(raw)) == 1 })
	d, err := wire.DecodeDelivery(w.read(raw)[0])
	if err != nil || string(d.Body) != `{"id":1}` || d.Key != "shopify/uk:1" {
		t.Errorf("delivery %+v, %v", d, err)
	}
	e, err := wire.Head(w.read(w.out)[0])
	if err != nil || e.Source != "shopify/uk" || e.CorrelationID != "order:shopify/uk:77" || e.Origin != event.OriginPoll {
		t.Errorf("fact %+v, %v", e, err)
	}
}

// A group that reads deliveries, as translate does.
func TestDeliveries(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	got := make(chan event.Of[wire.Delivery], 1)
	w.run(func(o *dispatch.Options) {
		o.Unheld = true
		o.Instances = map[string]event.Instance{"shopify/uk": {System: "shopify", Name: "uk", BaseCurrency: "GBP"}}
		o.Group.On = []consumer.Handler{consumer.On(func(_ context.Context, _ consumer.Tx, e event.Of[wire.Delivery]) error {
			got <- e
			return nil
		})}
	})
	rec := wire.EncodeDelivery(wire.Delivery{
		ID: "0193b7a8-0000-7000-8000-000000000001", Source: "shopify/uk", Kind: "orders/create", Key: "shopify/uk:1",
		Origin: event.OriginWebhook, Body: []byte("no json"), ReceivedAt: born,
	})
	rec.Topic = w.in
	w.publish(&kgo.Record{Topic: w.in, Key: []byte("x"), Value: []byte("a stranger")}, rec)
	select {
	case e := <-got:
		if string(e.Data.Body) != "no json" || e.Data.Offset != 1 || e.Instance.BaseCurrency != "GBP" || !e.RecordedAt.Equal(born) {
			t.Errorf("got %+v", e)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("no delivery")
	}
}
