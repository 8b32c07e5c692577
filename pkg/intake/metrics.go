package intake

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// metrics are what the receiver tells about itself.
type metrics struct {
	deliveries metric.Int64Counter
	latency    metric.Float64Histogram
	gauges     metric.Registration
}

func newMetrics(m metric.Meter, depth func() (records, bytes int64)) (*metrics, error) {
	deliveries, err := m.Int64Counter("spine_deliveries_total", metric.WithDescription("requests of sources, by outcome: accepted, spooled, or why not"))
	if err != nil {
		return nil, fmt.Errorf("making metrics: %w", err)
	}
	latency, err := m.Float64Histogram("spine_accept_duration_seconds", metric.WithUnit("s"),
		metric.WithDescription("from the request to the answer of what is accepted"),
		metric.WithExplicitBucketBoundaries(.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2, 2.5, 5))
	if err != nil {
		return nil, fmt.Errorf("making metrics: %w", err)
	}
	records, err := m.Int64ObservableGauge("spine_spool_records", metric.WithDescription("deliveries that wait for Kafka in the spool"))
	if err != nil {
		return nil, fmt.Errorf("making metrics: %w", err)
	}
	bytes, err := m.Int64ObservableGauge("spine_spool_bytes", metric.WithUnit("By"), metric.WithDescription("size of the deliveries in the spool"))
	if err != nil {
		return nil, fmt.Errorf("making metrics: %w", err)
	}
	gauges, err := m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		n, size := depth()
		o.ObserveInt64(records, n)
		o.ObserveInt64(bytes, size)
		return nil
	}, records, bytes)
	if err != nil {
		return nil, fmt.Errorf("making metrics: %w", err)
	}
	return &metrics{deliveries: deliveries, latency: latency, gauges: gauges}, nil
}

func (m *metrics) close() error { return m.gauges.Unregister() }

func (m *metrics) count(ctx context.Context, in Instance, outcome string) {
	m.deliveries.Add(ctx, 1, metric.WithAttributes(
		attribute.String("system", in.System), attribute.String("instance", in.Name), attribute.String("outcome", outcome)))
}

func (m *metrics) took(ctx context.Context, in Instance, d time.Duration) {
	m.latency.Record(ctx, d.Seconds(), metric.WithAttributes(
		attribute.String("system", in.System), attribute.String("instance", in.Name)))
}
