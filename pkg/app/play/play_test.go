package play_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/eventspine/spine/pkg/app/play"
	"github.com/eventspine/spine/pkg/producer"
)

func call(body string, expect int, note string) producer.Call {
	return producer.Call{Instance: "shop/uk", Header: http.Header{"X-Kind": {"order"}}, Body: []byte(body), Expect: expect, Note: note}
}

// What was answered is counted where it was answered; what was answered otherwise
// than a correct intake answers is told.
func TestSend_counts(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Method != http.MethodPost || r.URL.Path != "/webhooks/shop/uk" || r.Header.Get("X-Kind") != "order" {
			t.Errorf("%s %s %s", r.Method, r.URL, r.Header)
		}
		switch text := string(body); {
		case strings.HasPrefix(text, "bad"):
			w.WriteHeader(http.StatusUnauthorized)
		case text == "silent":
			fmt.Fprint(w, "{}")
		default:
			fmt.Fprintf(w, `{"received":true,"delivery":"d-%s"}`, text)
		}
	}))
	defer server.Close()
	var progress atomic.Int64
	report, err := play.Send(t.Context(), slices.Values([]producer.Call{
		call("1", 200, ""), call("2", 200, "burst"), call("bad", 401, "bad signature"), call("bad again", 401, ""),
		call("3", 401, "tampered"), call("silent", 200, ""),
	}), play.Options{URL: server.URL, Workers: 2, Progress: func(int) { progress.Add(1) }})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(report.Unexpected)
	for what, d := range map[string]string{
		"accepted":   cmp.Diff(map[string]string{"d-1": "shop/uk", "d-2": "shop/uk", "d-3": "shop/uk"}, report.Accepted),
		"refused":    cmp.Diff(map[string]int{"401 bad signature": 1, "401 Unauthorized": 1}, report.Refused),
		"notes":      cmp.Diff(map[string]int{"burst": 1, "bad signature": 1, "tampered": 1}, report.Notes),
		"unexpected": cmp.Diff([]string{"shop/uk tampered: answered 200, want 401", "shop/uk: 200 without a delivery id"}, report.Unexpected),
	} {
		if d != "" {
			t.Errorf("%s (-want +got):\n%s", what, d)
		}
	}
	if report.Sent != 6 || report.Failed != 0 || len(report.Latency) != 6 || progress.Load() != 6 {
		t.Errorf("sent %d, failed %d, %d latencies, %d steps of progress", report.Sent, report.Failed, len(report.Latency), progress.Load())
	}
	if report.Quantile(0.99) < report.Quantile(0) || (play.Report{}).Quantile(0.5) != 0 {
		t.Error("quantiles are out of order")
	}
}

// As vendors do, a call is sent again until it is answered.
func TestSend_retries(t *testing.T) {
	t.Parallel()
	var tries atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if tries.Add(1) < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		fmt.Fprint(w, `{"delivery":"d"}`)
	}))
	defer server.Close()
	calls := []producer.Call{call("1", 200, "")}
	report, err := play.Send(t.Context(), slices.Values(calls), play.Options{URL: server.URL, Retry: true})
	if err != nil || report.Sent != 1 || len(report.Accepted) != 1 || tries.Load() != 3 {
		t.Errorf("%+v, %v after %d tries", report, err, tries.Load())
	}
	tries.Store(0)
	if report, err = play.Send(t.Context(), slices.Values(calls), play.Options{URL: server.URL}); err != nil || report.Refused["503 Service Unavailable"] != 1 {
		t.Errorf("without Retry: %+v, %v", report, err)
	}
}

func TestSend_nobodyAnswers(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	report, err := play.Send(t.Context(), slices.Values([]producer.Call{call("1", 200, "")}), play.Options{URL: server.URL})
	if err != nil || report.Failed != 1 || len(report.Unexpected) != 1 {
		t.Errorf("%+v, %v", report, err)
	}
}

// The rate is a rate, and the end of the context ends the day.
func TestSend_rate(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var at []time.Time
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		at = append(at, time.Now())
		fmt.Fprintf(w, `{"delivery":"d-%d"}`, len(at))
	}))
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	endless := func(yield func(producer.Call) bool) {
		for yield(call("1", 200, "")) {
		}
	}
	report, err := play.Send(ctx, endless, play.Options{URL: server.URL, Rate: 100, Progress: func(sent int) {
		if sent == 5 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) || report.Sent < 5 {
		t.Fatalf("sent %d, %v", report.Sent, err)
	}
	if took := at[4].Sub(at[0]); took < 30*time.Millisecond {
		t.Errorf("5 calls within %s, want 10 ms between them", took)
	}
}
