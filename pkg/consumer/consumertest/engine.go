package consumertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/wire"
	"github.com/eventspine/spine/pkg/wire/avrobin"
)

const topic = "all.facts"

// given is an event of the history with its payload as it is on the wire.
type given struct {
	event.Event
	payload    []byte
	revision   revision // that wrote it; zero = today's
	believable bool
}

// engine does for one group what dispatch does: stamp, store, relay, call.
type engine struct {
	testing.TB
	make      func() consumer.Group
	options   Options
	group     consumer.Group
	db        *once.DB
	owner     *once.Owner
	next      int64             // offset of the next record
	outcomes  map[string]string // by event id
	panicked  map[string]bool   // by event id
	published map[string]string // by id and content
}

// run handles a history. Where strikes says so, the fault handles the event.
func (k *kit) run(tb testing.TB, events []given, f fault, strikes func(int) bool) *engine {
	tb.Helper()
	g := k.make()
	r := &engine{
		TB: tb, make: k.make, options: k.options, group: g, db: open(tb, g, k.url(tb)),
		outcomes: map[string]string{}, panicked: map[string]bool{}, published: map[string]string{},
	}
	tb.Cleanup(r.close)
	if k.options.Outside != nil {
		k.options.Outside() // what was before is not of this run
	}
	r.start()
	if f.order != nil && strikes(0) {
		events = f.order(slices.Clone(events))
	}
	for i, e := range events {
		if f.strike != nil && strikes(i) {
			f.strike(r, e)
		} else {
			r.handle(e)
		}
	}
	r.pump()
	return r
}

// close closes the database, once.
func (r *engine) close() {
	if r.db != nil {
		_ = r.db.Close() // a test file
		r.db = nil
	}
}

func open(tb testing.TB, g consumer.Group, url string) *once.DB {
	tb.Helper()
	db, err := once.Open(tb.Context(), once.Options{URL: url})
	if err != nil {
		tb.Fatal(err)
	}
	if err := db.Migrate(tb.Context(), g.Name, g.Tables); err != nil {
		tb.Fatal(err)
	}
	return db
}

// start is the start of a process: it remembers nothing and takes the partition.
func (r *engine) start() {
	r.Helper()
	r.group = r.make()
	r.owner = r.own()
}

func (r *engine) own() *once.Owner {
	r.Helper()
	owner, err := r.db.Store(r.group.Name).Own(r.Context(), topic, 0, 0)
	if err != nil {
		r.Fatal(err)
	}
	return owner
}

// handle is the plain path of an event.
func (r *engine) handle(e given) {
	r.Helper()
	at := r.next
	r.next++
	r.settle(e, at)
	r.pump()
}

// retries is how often an event is tried that fails without a fault.
const retries = 3

// settle delivers an event at an offset until it is known what becomes of it.
func (r *engine) settle(e given, at int64) {
	r.Helper()
	var err error
	for range retries {
		if err = r.deliver(e, at, hooks{}); err == nil {
			break
		}
		if errors.Is(err, once.ErrFenced) || errors.Is(err, once.ErrOutcomeUnknown) {
			r.start()
		}
	}
	became, panics := outcomeOf(err)
	r.outcomes[e.ID] = became
	r.panicked[e.ID] = r.panicked[e.ID] || panics
}

const handledWell = "handled"

// outcomeOf names what becomes of an event, the same in every run.
func outcomeOf(err error) (became string, panics bool) {
	var (
		rejected *consumer.RejectError
		later    *consumer.LaterError
		away     *consumer.UnavailableError
		thrown   panicError
		bad      undecodableError
	)
	switch {
	case err == nil:
		return handledWell, false
	case errors.As(err, &thrown):
		return thrown.Error(), true
	case errors.As(err, &rejected):
		return rejected.Error(), false
	case errors.As(err, &later):
		return "later: " + later.Reason, false
	case errors.As(err, &away):
		return away.Dependency + " is unavailable", false
	case errors.As(err, &bad):
		return bad.Error(), false
	}
	return "fails: " + err.Error(), false
}

// panicError is a handler that panicked; undecodableError a record that can't be read.
type (
	panicError       struct{ what any }
	undecodableError struct{ err error }
)

func (e panicError) Error() string       { return fmt.Sprintf("panics: %v", e.what) }
func (e undecodableError) Error() string { return "can't be read: " + e.err.Error() }
func (e undecodableError) Unwrap() error { return e.err }

// hooks are places for faults.
type hooks struct {
	statement int                      // before which SQL statement of the handler trip is called
	trip      func(context.CancelFunc) // nil = nothing happens
	reached   *bool                    // says that trip was called
	end       func() error             // after the handler, within its transaction
}

// deliver hands a record to the handler in the store's transaction.
func (r *engine) deliver(e given, at int64, h hooks) error {
	r.Helper()
	handler, fact, err := r.decode(e)
	if err != nil {
		return undecodableError{err}
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	item := once.Item{Mode: once.Live, EventID: e.ID, Record: once.Record{Topic: topic, Offset: at, Key: []byte(e.Key), Value: e.payload, Timestamp: e.RecordedAt}}
	_, err = r.owner.Do(ctx, item, func(ctx context.Context, tx once.Tx) error {
		db := &tripwire{DB: tx.DB, hooks: h, cancel: cancel}
		err := contained(func() error {
			return handler.Call(ctx, consumer.Tx{DB: db, Out: &out{engine: r, tx: tx, cause: causeOf(r.group.Name, e.Event)}}, e.Event, fact)
		})
		if err == nil && h.end != nil {
			return h.end()
		}
		return err
	})
	return err
}

// decode reads a payload as the handler takes it, upcast if need be.
func (r *engine) decode(e given) (h consumer.Handler, fact any, err error) {
	for _, h := range r.group.On {
		if h.Type == e.Type {
			fact = h.New()
			return h, fact, decoded(e, fact)
		}
	}
	for _, h := range r.group.On {
		for _, up := range h.Upcasts {
			if up.From != e.Type {
				continue
			}
			old := up.New()
			if err := decoded(e, old); err != nil {
				return h, nil, err
			}
			fact, err = up.Convert(old, e.Instance)
			return h, fact, err
		}
	}
	return h, nil, fmt.Errorf("the group does not read %s", e.Type)
}

// types are the fact types that the group reads, older majors among them.
func (r *engine) types() []string {
	all := map[string]bool{}
	for _, h := range r.group.On {
		all[h.Type] = true
		for _, up := range h.Upcasts {
			all[up.From] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

func decoded(e given, into any) error {
	fact, ok := into.(interface{ DecodeAvro(*avrobin.Reader) })
	if !ok {
		return fmt.Errorf("%T is no generated fact", into)
	}
	reader := avrobin.NewReader()
	if e.revision.read == nil {
		reader.Reset(e.payload)
	} else if err := e.revision.read.Reset(reader, e.payload); err != nil {
		return err
	}
	fact.DecodeAvro(reader)
	return reader.Finish()
}

func contained(fn func() error) (err error) {
	defer func() {
		if what := recover(); what != nil {
			err = panicError{what}
		}
	}()
	return fn()
}

// pump relays what is on its way out and makes the calls that are due.
func (r *engine) pump() {
	r.Helper()
	r.relay(true)
	for _, e := range r.effects() {
		r.must(r.owner.Intend(r.Context(), e.ID))
		r.complete(e, nil)
	}
	r.relay(true)
}

func (r *engine) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// relay publishes outgoing rows. Without the removal it is a crash in between.
func (r *engine) relay(remove bool) {
	r.Helper()
	list, err := r.owner.Outgoing(r.Context(), 1000)
	r.must(err)
	var ids []int64
	for _, o := range list {
		r.published[string(o.Key)+" "+string(o.Value)] = string(o.Value)
		ids = append(ids, o.ID)
	}
	if remove && len(ids) > 0 {
		r.must(r.owner.Remove(r.Context(), ids))
	}
}

// effects are those that are due, those without an outcome among them.
func (r *engine) effects() []once.Effect {
	r.Helper()
	list, err := r.owner.Effects(r.Context(), time.Now().Add(time.Hour), 1000)
	r.must(err)
	return list
}

// complete is an effect after its call: Done, and the mark that it is done.
func (r *engine) complete(e once.Effect, end func() error) {
	r.Helper()
	i := slices.IndexFunc(r.group.Effects, func(d consumer.Effect) bool { return d.Name == e.Name })
	var cause wire.Cause
	r.must(json.Unmarshal(e.Cause, &cause))
	err := r.owner.Complete(r.Context(), e.ID, func(ctx context.Context, tx once.Tx) error {
		if done := r.group.Effects[i].Done; done != nil {
			err := contained(func() error {
				return done(ctx, consumer.Tx{DB: tx.DB, Out: &out{engine: r, tx: tx, cause: cause}}, e.Key, e.Args)
			})
			if err != nil {
				return err
			}
		}
		if end != nil {
			return end()
		}
		return nil
	})
	if err != nil && end == nil {
		r.outcomes["effect "+e.Name+" "+e.Key] = "done " + strings.TrimPrefix(err.Error(), "fails: ")
	}
}
