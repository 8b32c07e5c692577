package alarm_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/eventspine/spine/pkg/dispatch/alarm"
)

// endpoint is a webhook: it answers what status says and keeps what it took.
type endpoint struct {
	mu     sync.Mutex
	status int // 0 = it is away
	texts  []string
	calls  int
}

func (e *endpoint) RoundTrip(req *http.Request) (*http.Response, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls++
	if e.status == 0 {
		return nil, errors.New("connection refused")
	}
	if e.status == http.StatusOK {
		var message struct{ Text string }
		if err := json.NewDecoder(req.Body).Decode(&message); err != nil {
			return nil, err
		}
		e.texts = append(e.texts, message.Text)
	}
	return &http.Response{StatusCode: e.status, Status: http.StatusText(e.status), Body: io.NopCloser(strings.NewReader("ok"))}, nil
}

func (e *endpoint) answer(status int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.status = status
}

func (e *endpoint) took() (texts []string, calls int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]string{}, e.texts...), e.calls
}

// ringing is alarms at work, on the clock of a bubble.
type ringing struct {
	*alarm.Alarms
	*endpoint
	reader *sdk.ManualReader
	stop   func()
}

func ring(t *testing.T, status int) ringing {
	t.Helper()
	reader := sdk.NewManualReader()
	a, err := alarm.New(alarm.Options{Webhook: "http://chat.example/hook", Every: time.Hour, Meter: sdk.NewMeterProvider(sdk.WithReader(reader)).Meter("")})
	if err != nil {
		t.Fatal(err)
	}
	e := &endpoint{status: status}
	a.Through(e)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); a.Run(ctx) }()
	stop := sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return ringing{a, e, reader, stop}
}

// outcomes are the counts of spine_alarms.
func (r ringing) outcomes(t *testing.T) map[string]int64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := r.reader.Collect(context.WithoutCancel(t.Context()), &all); err != nil {
		t.Fatal(err)
	}
	counts := map[string]int64{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			sum, ok := m.Data.(metricdata.Sum[int64])
			if !ok {
				t.Fatalf("%s is %T", m.Name, m.Data)
			}
			for _, p := range sum.DataPoints {
				outcome, _ := p.Attributes.Value("outcome")
				counts[outcome.AsString()] = p.Value
			}
		}
	}
	return counts
}

func notice(kind string) alarm.Notice { return alarm.Notice{Kind: kind, Text: "about " + kind} }

// pass lets time pass and everything settle.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// One kind is told of once in a while only.
func TestAlarm_once(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := ring(t, http.StatusOK)
		for range 50 {
			r.Raise(notice("a <b> & c"))
		}
		r.Raise(notice("other"))
		pass(59 * time.Minute)
		r.Raise(notice("a <b> & c"))
		pass(2 * time.Minute)
		texts, _ := r.took()
		if diff := cmp.Diff([]string{"about a &lt;b&gt; &amp; c", "about other"}, texts); diff != "" {
			t.Errorf("within the hour (-want +got):\n%s", diff)
		}
		r.Raise(notice("a <b> & c"))
		pass(time.Second)
		if texts, _ = r.took(); len(texts) != 3 {
			t.Errorf("after the hour: %q", texts)
		}
		want := map[string]int64{"raised": 3, "sent": 3, "quieted": 50}
		if diff := cmp.Diff(want, r.outcomes(t)); diff != "" {
			t.Errorf("counted (-want +got):\n%s", diff)
		}
	})
}

// What is known is no alarm; what can't be looked up is one.
func TestAlarm_old(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := ring(t, http.StatusOK)
		old := true
		known := notice("known")
		known.Old = func(context.Context) (bool, error) { return old, nil }
		unsure := notice("unsure")
		unsure.Old = func(context.Context) (bool, error) { return false, errors.New("the database is away") }
		r.Raise(known)
		r.Raise(unsure)
		pass(2 * time.Minute)
		if texts, _ := r.took(); len(texts) != 1 || texts[0] != "about unsure" {
			t.Errorf("got %q", texts)
		}
		old = false // it was cleared away, and happens anew
		r.Raise(known)
		pass(time.Second)
		if texts, _ := r.took(); len(texts) != 2 {
			t.Errorf("after it was cleared away: %q", texts)
		}
	})
}

// An endpoint that is away delays alarms, and nothing else; the newest are kept.
func TestAlarm_endpointAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := ring(t, 0)
		for i := range 300 {
			r.Raise(notice(fmt.Sprint("before ", i)))
			pass(10 * time.Second) // no more than the minute has room for
		}
		_, calls := r.took()
		if calls < 5 || calls > 60 {
			t.Errorf("%d calls in 50 minutes: want pauses between them", calls)
		}
		r.answer(http.StatusServiceUnavailable)
		pass(10 * time.Minute)
		r.answer(http.StatusOK)
		pass(20 * time.Minute)
		texts, _ := r.took()
		if len(texts) != 100 || texts[0] != "about before 200" || texts[99] != "about before 299" {
			t.Errorf("%d texts: %q", len(texts), texts)
		}
		if got := r.outcomes(t); got["sent"] != 100 || got["dropped"] != 200 || got["raised"] != 300 {
			t.Errorf("counted %v", got)
		}
	})
}

// An endpoint that refuses one text gets the next.
func TestAlarm_refused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := ring(t, http.StatusBadRequest)
		r.Raise(notice("bad"))
		pass(time.Minute)
		r.answer(http.StatusOK)
		r.Raise(notice("good"))
		pass(time.Second)
		if texts, _ := r.took(); len(texts) != 1 || texts[0] != "about good" {
			t.Errorf("got %q", texts)
		}
	})
}

// A flood is ten messages a minute, and a number.
func TestAlarm_flood(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := ring(t, http.StatusOK)
		for i := range 60 {
			r.Raise(notice(fmt.Sprint(i)))
		}
		pass(2 * time.Minute)
		texts, _ := r.took()
		if len(texts) != 11 || texts[10] != "spine: and 50 more alarms; the log has them" {
			t.Errorf("%d texts: %q", len(texts), texts)
		}
	})
}

// What is raised last is sent before the end, if the endpoint answers.
func TestAlarm_farewell(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := ring(t, 0)
		r.Raise(notice("first"))
		pass(time.Second)
		r.answer(http.StatusOK)
		r.Raise(notice("last"))
		r.stop()
		if texts, _ := r.took(); len(texts) != 2 {
			t.Errorf("got %q", texts)
		}
	})
}

// Nobody has to ask whether there are alarms.
func TestAlarm_none(t *testing.T) {
	t.Parallel()
	var none *alarm.Alarms
	none.Raise(notice("x"))
	none.Overflow("g", 2, 1)
}
