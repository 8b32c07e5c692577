// Package telemetry sets up what a running Spine says about itself: metrics by
// OpenTelemetry, read by Prometheus on /metrics; structured logs by slog; and the
// health and readiness of its parts over HTTP. Everything is a value that is
// handed on: there is no global provider, registry or logger.
package telemetry

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/attribute"
	otelprom "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
)

// Metrics counts and measures. Its meters feed one Prometheus registry of its own.
type Metrics struct {
	provider *sdk.MeterProvider
	registry *prometheus.Registry
}

// NewMetrics makes the metrics of one process. service and version name it in
// target_info. Histograms in seconds (unit "s") have the buckets of Buckets.
func NewMetrics(service, version string) (*Metrics, error) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	exporter, err := otelprom.New(otelprom.WithRegisterer(registry), otelprom.WithoutScopeInfo())
	if err != nil {
		return nil, fmt.Errorf("setting up metrics: %w", err)
	}
	seconds := sdk.NewView(
		sdk.Instrument{Kind: sdk.InstrumentKindHistogram, Name: "*", Unit: "s"},
		sdk.Stream{Aggregation: sdk.AggregationExplicitBucketHistogram{Boundaries: Buckets(), NoMinMax: true}},
	)
	provider := sdk.NewMeterProvider(
		sdk.WithReader(exporter),
		sdk.WithView(seconds),
		sdk.WithResource(resource.NewSchemaless(
			attribute.String("service.name", service), attribute.String("service.version", version))),
	)
	return &Metrics{provider: provider, registry: registry}, nil
}

// Buckets are the bounds of latency histograms in seconds, from 100 µs, about what
// a handler on SQLite takes, to a minute.
func Buckets() []float64 {
	return []float64{
		0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
		0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
	}
}

// Meter is the source of instruments of one package, such as "spine/intake".
func (m *Metrics) Meter(name string) metric.Meter { return m.provider.Meter(name) }

// Close stops the metrics; instruments do nothing after it.
func (m *Metrics) Close(ctx context.Context) error {
	if err := m.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("stopping metrics: %w", err)
	}
	return nil
}

// handler serves the metrics in Prometheus' form.
func (m *Metrics) handler(log *slog.Logger) http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog:      slog.NewLogLogger(log.Handler(), slog.LevelError),
		ErrorHandling: promhttp.ContinueOnError,
		Registry:      m.registry,
	})
}

// NewLog makes a logger. format is "text" or "json"; level is "debug", "info",
// "warn" or "error".
func NewLog(w io.Writer, format, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil || strings.ContainsAny(level, "+-") {
		return nil, fmt.Errorf("log level %q: want debug, info, warn or error", level)
	}
	o := &slog.HandlerOptions{Level: l}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, o)), nil
	}
	return nil, fmt.Errorf("log format %q: want text or json", format)
}
