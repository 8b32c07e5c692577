// Package translate is the group that turns deliveries into facts. It is run like any
// other: the state of the object, the mark that the delivery is handled and the facts
// on their way out are one SQL transaction.
//
// It touches no network and no clock: what a delivery means depends on the delivery,
// the adapter and the snapshot before it, so that a delivery can be translated again.
// It never holds a key: the next snapshot heals a failed one, and a report stands
// alone.
//
// The path of a delivery, from top to bottom: handle, translate, then split, snapshot
// or report. Tables: translate_objects, the last snapshot of each object and its
// version; translate_outcomes, what became of each delivery.
package translate

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/producer"
	"github.com/eventspine/spine/pkg/wire"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Options are what the group is made of.
type Options struct {
	Adapters  []producer.Adapter
	Instances map[string]event.Instance // by "<system>/<name>"
	Route     wire.Route
	Meter     metric.Meter // nil = nothing is measured
}

// translator is the group's only handler.
type translator struct {
	adapters  map[string]adapter // by system
	instances map[string]event.Instance
	route     wire.Route
	became    metric.Int64Counter
}

// adapter is an adapter with its objects by kind of delivery.
type adapter struct {
	producer.Adapter
	objects map[string]producer.Object
}

// Group makes the group "translate", after Check.
func Group(o Options) (consumer.Group, error) {
	if err := Check(o.Adapters, o.Route); err != nil {
		return consumer.Group{}, err
	}
	tables, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return consumer.Group{}, fmt.Errorf("reading the migrations of translate: %w", err)
	}
	if o.Meter == nil {
		o.Meter = noop.NewMeterProvider().Meter("")
	}
	became, err := o.Meter.Int64Counter("spine_translated", metric.WithDescription("Deliveries by what translate made of them."))
	if err != nil {
		return consumer.Group{}, fmt.Errorf("making the instruments of translate: %w", err)
	}
	t := &translator{adapters: map[string]adapter{}, instances: o.Instances, route: o.Route, became: became}
	for _, a := range o.Adapters {
		objects := map[string]producer.Object{}
		for _, object := range a.Objects {
			for _, kind := range object.Kinds {
				objects[kind] = object
			}
		}
		t.adapters[a.System] = adapter{Adapter: a, objects: objects}
	}
	return consumer.Group{
		Name: "translate", Owner: "platform", Start: consumer.FromBeginning, Backfill: true, Tables: tables,
		On: []consumer.Handler{{Type: wire.DeliveryType, New: func() any { return new(wire.Delivery) }, Call: t.handle}},
	}, nil
}

// Check finds mistakes of adapters that would show only when a delivery comes: those
// of producer.Adapter.Check, two adapters for one system, and facts without a topic.
func Check(adapters []producer.Adapter, route wire.Route) error {
	var wrong []error
	systems := map[string]bool{}
	for _, a := range adapters {
		wrong = append(wrong, a.Check())
		if systems[a.System] {
			wrong = append(wrong, fmt.Errorf("adapter %s: want one adapter per system", a.System))
		}
		systems[a.System] = true
		for _, o := range a.Objects {
			for _, fact := range o.Emits {
				if _, ok := route(fact); !ok {
					wrong = append(wrong, fmt.Errorf("adapter %s: no topic takes %s: declare it in topics/", a.System, fact))
				}
			}
		}
	}
	return errors.Join(wrong...)
}

// outcome says what became of a delivery.
type outcome string

const (
	facts     outcome = "facts"     // it meant something
	noFact    outcome = "no_fact"   // it is of an unknown kind, or nothing visible changed
	stale     outcome = "stale"     // a later snapshot of the object is known
	duplicate outcome = "duplicate" // the last snapshot of the object, byte for byte
	wasSplit  outcome = "split"     // it was a batch: its objects follow as deliveries
	rekeyed   outcome = "rekeyed"   // it follows as a delivery under the key of its object
)

// handle is called once for each delivery, in its transaction.
func (t *translator) handle(ctx context.Context, tx consumer.Tx, _ event.Event, fact any) error {
	d, ok := fact.(*wire.Delivery)
	if !ok {
		return fmt.Errorf("translating: got %T", fact)
	}
	out, ok := tx.Out.(wire.Publisher)
	if !ok {
		return fmt.Errorf("translating: the engine's way out is no wire.Publisher but %T", tx.Out)
	}
	became, ids, err := t.translate(ctx, tx.DB, out, *d)
	if err != nil {
		return err
	}
	if err := record(ctx, tx.DB, *d, became, ids); err != nil {
		return err
	}
	// Counted before the commit: one that fails counts twice. The table is exact.
	system, instance, _ := strings.Cut(d.Source, "/")
	t.became.Add(ctx, 1, metric.WithAttributes(
		attribute.String("system", system), attribute.String("instance", instance), attribute.String("outcome", string(became))))
	return nil
}

// translate says what became of a delivery, and the ids of the facts it published.
func (t *translator) translate(ctx context.Context, db consumer.DB, out wire.Publisher, d wire.Delivery) (outcome, []string, error) {
	in, a, err := t.origin(d)
	if err != nil {
		return "", nil, err
	}
	seen := given(d, in)
	if n, err := a.forwardParts(out, d, seen); err != nil || n > 0 {
		return wasSplit, nil, err
	}
	object, known := a.objects[d.Kind]
	if !known {
		return noFact, nil, nil // it is kept in raw.<system>, for the day on which its kind is known
	}
	native, err := decoded(d.Kind, object.Decode, d.Body)
	if err != nil {
		return "", nil, err
	}
	if object.Snapshot {
		return t.snapshot(ctx, db, out, subject{adapter: a, object: object, delivery: d, given: seen, native: native})
	}
	return t.report(out, subject{adapter: a, object: object, delivery: d, given: seen, native: native})
}

// origin is the installation and the adapter of a delivery.
func (t *translator) origin(d wire.Delivery) (event.Instance, adapter, error) {
	in, err := event.ParseInstance(d.Source)
	if err != nil {
		return in, adapter{}, consumer.Reject("source: want <system>/<instance>")
	}
	a, ok := t.adapters[in.System]
	if !ok {
		return in, a, consumer.Reject("no adapter for the system " + in.System)
	}
	if configured, ok := t.instances[d.Source]; ok {
		return configured, a, nil
	}
	in.UnknownConfig = true
	return in, a, nil
}

// given is a delivery as an adapter sees it.
func given(d wire.Delivery, in event.Instance) producer.Delivery {
	return producer.Delivery{
		ID: d.ID, Kind: d.Kind, Key: d.Key, Origin: d.Origin, Instance: in, Header: d.Header, Body: d.Body, ReceivedAt: d.ReceivedAt,
	}
}

// subject is a delivery together with what it is about.
type subject struct {
	adapter  adapter
	object   producer.Object
	delivery wire.Delivery
	given    producer.Delivery
	native   any
}

// report publishes what a delivery tells by itself.
func (t *translator) report(out wire.Publisher, s subject) (outcome, []string, error) {
	news, err := s.facts(nil)
	if err != nil {
		return "", nil, err
	}
	return t.publish(out, s, news, nil)
}

// facts asks the adapter what happened.
func (s subject) facts(before any) ([]event.New, error) {
	var news []event.New
	err := guarded(s.delivery.Kind, func() (err error) {
		news, err = s.object.Facts(s.given, before, s.native)
		return err
	})
	return news, err
}

// publish lets facts leave in the name of their source.
func (t *translator) publish(out wire.Publisher, s subject, news []event.New, v *version) (outcome, []string, error) {
	cause, err := s.cause(v)
	if err != nil {
		return "", nil, err
	}
	var ids []string
	for _, n := range news {
		if n.Fact == nil || !emits(s.object, n.Fact.EventType()) {
			return "", nil, consumer.Reject(fmt.Sprintf("%s: the adapter emits %T, which the object does not declare", s.delivery.Kind, n.Fact))
		}
		target, ok := t.route(n.Fact.EventType())
		if !ok {
			return "", nil, fmt.Errorf("publishing %s: no topic takes it", n.Fact.EventType())
		}
		key := n.Key
		if key == "" {
			key = event.Key(s.delivery.Source, n.Entity)
		}
		cause.Correlation = target.Aggregate + ":" + key // the root aggregate is where the fact lives
		id, err := out.PublishAs(cause, n)
		if err != nil {
			return "", nil, fmt.Errorf("translating %s: %w", s.delivery.Kind, err)
		}
		ids = append(ids, id)
	}
	if len(news) == 0 {
		return noFact, nil, nil
	}
	return facts, ids, nil
}

func emits(o producer.Object, fact string) bool {
	for _, name := range o.Emits {
		if name == fact {
			return true
		}
	}
	return false
}

// cause is whose word the facts of a delivery are: one id, one content, whichever
// way and however often the fact arrives (promise: once).
func (s subject) cause(v *version) (wire.Cause, error) {
	d := s.delivery
	c := wire.Cause{
		Source: d.Source, Origin: d.Origin, IDTime: s.adapter.IDTime, RecordedAt: d.ReceivedAt, Request: d.Request, Traceparent: d.Traceparent,
	}
	if v != nil {
		c.SourceVersion, c.Sequence = &v.source, fmt.Sprintf("%020d", v.source)
	}
	if s.adapter.APIVersion == nil {
		return c, nil
	}
	return c, guarded(d.Kind, func() error {
		if text := s.adapter.APIVersion(d.Header, d.Body); text != "" {
			c.SourceAPIVersion = &text
		}
		return nil
	})
}

// micros is a time as the tables hold it.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}
