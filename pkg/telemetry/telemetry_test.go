package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/eventspine/spine/pkg/telemetry"
)

func metrics(t *testing.T) *telemetry.Metrics {
	t.Helper()
	m, err := telemetry.NewMetrics("spine", "1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return m
}

func get(t *testing.T, h http.Handler, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	return w.Code, w.Body.String()
}

func TestMetricsInPrometheusForm(t *testing.T) {
	t.Parallel()
	m := metrics(t)
	meter := m.Meter("spine/test")
	n, err := meter.Int64Counter("spine.deliveries")
	if err != nil {
		t.Fatal(err)
	}
	n.Add(t.Context(), 3, metric.WithAttributes(attribute.String("outcome", "accepted")))
	took, err := meter.Float64Histogram("spine.handle.duration", metric.WithUnit("s"))
	if err != nil {
		t.Fatal(err)
	}
	took.Record(t.Context(), 0.0002)
	code, body := get(t, telemetry.Handler(m, telemetry.NewReadiness(), slog.New(slog.DiscardHandler)), "/metrics")
	if code != http.StatusOK {
		t.Fatalf("status %d", code)
	}
	for _, line := range []string{
		`spine_deliveries_total{outcome="accepted"} 3`,
		`spine_handle_duration_seconds_bucket{le="0.0001"} 0`,
		`spine_handle_duration_seconds_bucket{le="0.00025"} 1`,
		`spine_handle_duration_seconds_bucket{le="60"} 1`,
		`target_info{service_name="spine",service_version="1.2.3"} 1`,
		"go_goroutines ",
	} {
		if !strings.Contains(body, line) {
			t.Errorf("/metrics has no line %s in:\n%s", line, spineOnly(body))
		}
	}
}

func spineOnly(body string) string {
	var b strings.Builder
	for line := range strings.Lines(body) {
		if strings.Contains(line, "spine") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// Two processes in one (tests, demo) count apart.
func TestMetricsAreApart(t *testing.T) {
	t.Parallel()
	a, b := metrics(t), metrics(t)
	n, err := a.Meter("x").Int64Counter("spine.only.here")
	if err != nil {
		t.Fatal(err)
	}
	n.Add(t.Context(), 1)
	if _, body := get(t, telemetry.Handler(b, telemetry.NewReadiness(), slog.New(slog.DiscardHandler)), "/metrics"); strings.Contains(body, "only_here") {
		t.Error("what one counts, another one shows")
	}
}

func TestReadyz(t *testing.T) {
	t.Parallel()
	r := telemetry.NewReadiness()
	h := telemetry.Handler(metrics(t), r, slog.New(slog.DiscardHandler))
	check := func(wantCode int, want string) {
		t.Helper()
		if code, body := get(t, h, "/readyz"); code != wantCode || body != want+"\n" {
			t.Errorf("/readyz = %d %s; want %d %s", code, body, wantCode, want)
		}
	}
	check(503, `{"ready":false,"parts":{}}`)
	r.Add("broker", func(context.Context) error { return nil })
	check(200, `{"ready":true,"parts":{"broker":{"ready":true,"reason":""}}}`)
	r.Add("group inventory", func(context.Context) error { return errors.New("owns 3 of 12 partitions") })
	check(503, `{"ready":false,"parts":{"broker":{"ready":true,"reason":""},"group inventory":{"ready":false,"reason":"owns 3 of 12 partitions"}}}`)
	r.Add("group inventory", func(context.Context) error { return nil })
	check(200, `{"ready":true,"parts":{"broker":{"ready":true,"reason":""},"group inventory":{"ready":true,"reason":""}}}`)
	if code, body := get(t, h, "/healthz"); code != 200 || body != "{\"alive\":true}\n" {
		t.Errorf("/healthz = %d %s", code, body)
	}
	if code, _ := get(t, h, "/other"); code != 404 {
		t.Errorf("/other = %d; want 404", code)
	}
}

// A part that hangs, and one that obeys its context, both end as not ready.
func TestProbesThatHang(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := telemetry.NewReadiness()
		release := make(chan struct{})
		r.Add("deaf", func(context.Context) error { <-release; return nil })
		r.Add("slow", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		r.Add("fine", func(context.Context) error { return nil })
		s := r.Check(t.Context())
		close(release)
		if s.Ready || s.Parts["deaf"].Ready || s.Parts["slow"].Ready || !s.Parts["fine"].Ready {
			t.Errorf("status = %+v; want the fine one ready only", s)
		}
		if !strings.Contains(s.Parts["deaf"].Reason, "no answer within 2s") {
			t.Errorf("reason = %q", s.Parts["deaf"].Reason)
		}
	})
}

func TestNewLog(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	log, err := telemetry.NewLog(&b, "json", "warn")
	if err != nil {
		t.Fatal(err)
	}
	log.InfoContext(t.Context(), "quiet")
	log.WarnContext(t.Context(), "loud", "correlation_id", "order:shopify/uk:5001")
	var line map[string]any
	if err := json.Unmarshal(b.Bytes(), &line); err != nil {
		t.Fatalf("not one line of JSON: %v\n%s", err, b.String())
	}
	delete(line, "time")
	if diff := cmp.Diff(map[string]any{"level": "WARN", "msg": "loud", "correlation_id": "order:shopify/uk:5001"}, line); diff != "" {
		t.Error(diff)
	}
	for _, c := range [][2]string{{"xml", "info"}, {"json", "loud"}, {"text", ""}, {"text", "info+2"}} {
		if _, err := telemetry.NewLog(&b, c[0], c[1]); err == nil {
			t.Errorf("format %q level %q: no error", c[0], c[1])
		}
	}
}
