// Package measure holds the instruments of a group.
package measure

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/once"
)

// Results of records, attribute result of spine_records.
const (
	Handled           = "handled"
	DuplicateDelivery = "duplicate_delivery" // the same offset again
	DuplicateEvent    = "duplicate_event"    // the same event id at another offset
	Skipped           = "skipped"            // not a fact of this group, or a backfill it doesn't want
	Replayed          = "replayed"
	Retried           = "retried"
	Waiting           = "waiting"
	Dead              = "dead"

	EffectDone    = "done"
	EffectFailed  = "failed"
	EffectUnknown = "unknown"
)

// Meters are the instruments of one group.
type Meters struct {
	group     string
	records   metric.Int64Counter
	published metric.Int64Counter
	effects   metric.Int64Counter
	left      metric.Int64Counter
	away      metric.Int64Gauge
	handler   metric.Float64Histogram
	occurred  metric.Float64Histogram
	recorded  metric.Float64Histogram

	mu    sync.RWMutex
	known map[series]*labels // of the facts that the group reads
}

// series is what a record is counted as.
type series struct{ fact, result string }

// labels are made once for each series: for each record they would cost more than to count.
type labels struct {
	counted []metric.AddOption
	taken   []metric.RecordOption // of the fact, whatever the result
}

// Lag is how many records of a partition are not done yet.
type Lag struct {
	Topic     string
	Partition int32
	Records   int64
}

// New makes the instruments of a group; a nil meter measures nothing. lags is asked
// for the partitions that are owned.
func New(m metric.Meter, group string, lags func() []Lag) (*Meters, error) {
	if m == nil {
		m = noop.NewMeterProvider().Meter("")
	}
	t := &Meters{group: group, known: map[series]*labels{}}
	var errs [9]error
	counter := func(name, description string, err *error) (c metric.Int64Counter) {
		c, *err = m.Int64Counter(name, metric.WithDescription(description))
		return c
	}
	seconds := func(name, description string, err *error) (h metric.Float64Histogram) {
		h, *err = m.Float64Histogram(name, metric.WithDescription(description), metric.WithUnit("s"),
			metric.WithExplicitBucketBoundaries(.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60, 600, 3600))
		return h
	}
	t.records = counter("spine_records", "Records by group, fact and result.", &errs[0])
	t.published = counter("spine_outgoing_published", "Outgoing records that Kafka has acknowledged.", &errs[1])
	t.effects = counter("spine_effects", "Calls to the outside by result.", &errs[2])
	t.left = counter("spine_handlers_left", "Calls of handlers that ignored the end of their context and were left behind.", &errs[7])
	t.away, errs[8] = m.Int64Gauge("spine_dependency_away",
		metric.WithDescription("1 while a dependency is away and what needs it is held, 0 when it has answered again."))
	t.handler = seconds("spine_handler_duration", "Handler and its transaction.", &errs[3])
	t.occurred = seconds("spine_occurred_to_handled", "From when it happened to when it is handled.", &errs[4])
	t.recorded = seconds("spine_recorded_to_handled", "From when its delivery was received to when it is handled.", &errs[5])
	_, errs[6] = m.Int64ObservableGauge("spine_lag", metric.WithDescription("Records that are not done yet, by owned partition."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			for _, l := range lags() {
				o.Observe(l.Records, t.of(attribute.String("topic", l.Topic), attribute.Int("partition", int(l.Partition))))
			}
			return nil
		}))
	for _, err := range errs {
		if err != nil {
			return nil, fmt.Errorf("instruments of group %s: %w", t.group, err)
		}
	}
	return t, nil
}

// set is of as a set, which costs nothing to use again.
func (m *Meters) set(more ...attribute.KeyValue) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(append(more, attribute.String("group", m.group))...))
}

func (m *Meters) of(more ...attribute.KeyValue) metric.MeasurementOption {
	return metric.WithAttributes(append(more, attribute.String("group", m.group))...)
}

func (m *Meters) labels(of series) *labels {
	m.mu.RLock()
	known := m.known[of]
	m.mu.RUnlock()
	if known != nil {
		return known
	}
	fact := attribute.String("fact", of.fact)
	known = &labels{
		counted: []metric.AddOption{m.set(fact, attribute.String("result", of.result))},
		taken:   []metric.RecordOption{m.set(fact)},
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.known[of] = known
	return known
}

// Record counts a record. An empty fact is one that the group doesn't know: its name
// comes from outside and would make a series of its own.
func (m *Meters) Record(ctx context.Context, fact, result string) {
	m.records.Add(ctx, 1, m.labels(series{fact, result}).counted...)
}

// Handled counts a record whose handler has done its work, and how long it took.
func (m *Meters) Handled(ctx context.Context, e *event.Event, begun time.Time) {
	now, known := time.Now(), m.labels(series{e.Type, Handled})
	m.records.Add(ctx, 1, known.counted...)
	m.handler.Record(ctx, now.Sub(begun).Seconds(), known.taken...)
	if !e.OccurredAt.IsZero() {
		m.occurred.Record(ctx, max(now.Sub(e.OccurredAt), 0).Seconds(), known.taken...) // clocks differ
	}
	if !e.RecordedAt.IsZero() {
		m.recorded.Record(ctx, max(now.Sub(e.RecordedAt), 0).Seconds(), known.taken...)
	}
}

// Left counts a handler that ignored the end of its context.
func (m *Meters) Left(ctx context.Context, fact string) {
	m.left.Add(ctx, 1, m.of(attribute.String("fact", fact)))
}

// Dependency says whether a dependency is away.
func (m *Meters) Dependency(ctx context.Context, name string, away bool) {
	var v int64
	if away {
		v = 1
	}
	m.away.Record(ctx, v, m.of(attribute.String("dependency", name)))
}

// Published counts an outgoing record that Kafka has acknowledged.
func (m *Meters) Published(ctx context.Context, k once.OutgoingKind) {
	m.published.Add(ctx, 1, m.of(attribute.String("kind", string(k))))
}

// Effect counts a call to the outside.
func (m *Meters) Effect(ctx context.Context, name, result string) {
	m.effects.Add(ctx, 1, m.of(attribute.String("effect", name), attribute.String("result", result)))
}
