package intake_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/intake"
	"github.com/eventspine/spine/pkg/producer"
	"github.com/eventspine/spine/pkg/wire"
)

const sig = "X-Shop-Hmac"

var current, previous = []byte("current secret"), []byte("previous secret") // never written

// shop is an adapter of the tests.
func shop(change ...func(*producer.Webhook)) producer.Adapter {
	w := producer.Webhook{
		Verify: producer.HMACSHA256(sig, producer.Base64),
		Kind:   producer.Header("X-Shop-Topic"),
		Keep:   []string{"X-Shop-Topic", "x-shop-id"},
		Key: func(_ string, h http.Header, body []byte) string {
			return producer.JSONField("id")(h, body)
		},
	}
	for _, c := range change {
		c(&w)
	}
	return producer.Adapter{System: "shop", Webhooks: []producer.Webhook{w}}
}

func instances() []intake.Instance {
	return []intake.Instance{
		{Instance: event.Instance{System: "shop", Name: "uk"}, Secrets: [][]byte{current, previous}},
		{Instance: event.Instance{System: "shop", Name: "us"}, Secrets: [][]byte{[]byte("another")}},
		{Instance: event.Instance{System: "polled", Name: "x"}},
	}
}

// broker takes records, unless it is told not to.
type broker struct {
	mu      sync.Mutex
	taken   []wire.Delivery
	refuses func(*kgo.Record) error // nil = takes all
	hangs   chan struct{}           // while it is not nil and open, calls do not return; they ignore their context
	called  chan struct{}           // one token for each call, as far as somebody listens
}

func (b *broker) Publish(_ context.Context, records ...*kgo.Record) error {
	b.mu.Lock()
	hangs := b.hangs
	b.mu.Unlock()
	if b.called != nil {
		select {
		case b.called <- struct{}{}:
		default:
		}
	}
	if hangs != nil {
		<-hangs
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var failure error
	for _, r := range records {
		if b.refuses != nil {
			if err := b.refuses(r); err != nil {
				failure = err
				continue
			}
		}
		d, err := wire.DecodeDelivery(r)
		if err != nil {
			return err
		}
		b.taken = append(b.taken, d)
	}
	return failure
}

func (b *broker) set(refuses func(*kgo.Record) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refuses = refuses
}

func (b *broker) deliveries() []wire.Delivery {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]wire.Delivery(nil), b.taken...)
}

var errAway = errors.New("broker is away")

func away(*kgo.Record) error { return errAway }

func start(t *testing.T, b *broker, change ...func(*intake.Options)) *intake.Intake {
	t.Helper()
	o := intake.Options{
		Adapters: []producer.Adapter{shop()}, Instances: instances(), Publish: b.Publish,
		SpoolPath: filepath.Join(t.TempDir(), "spool 1%.db"), Budget: 5 * time.Second,
	}
	for _, c := range change {
		c(&o)
	}
	i, err := intake.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = i.Close() }) // some tests close it themselves
	return i
}

// run drains until the test ends, or stop is called.
func run(t *testing.T, i *intake.Intake) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- i.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("draining: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func request(t *testing.T, body string) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/webhooks/shop/uk", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Shop-Topic", "orders/create")
	r.Header.Set(sig, producer.SignHMACSHA256(current, []byte(body), producer.Base64))
	return r
}

func serve(i http.Handler, r *http.Request) *http.Response {
	w := httptest.NewRecorder()
	i.ServeHTTP(w, r)
	return w.Result()
}

// post sends a good request and answers the delivery id; the status must be 200.
func post(t *testing.T, i http.Handler, body string) string {
	t.Helper()
	response := serve(i, request(t, body))
	defer response.Body.Close()
	var got struct {
		Received bool
		Delivery string
	}
	if err := json.NewDecoder(response.Body).Decode(&got); err != nil || response.StatusCode != http.StatusOK || !got.Received {
		t.Fatalf("%s: status %d, %+v, %v", body, response.StatusCode, got, err)
	}
	return got.Delivery
}

// eventually asks until the answer is yes.
func eventually(t *testing.T, what string, yes func() bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !yes() {
		select {
		case <-deadline.C:
			t.Fatalf("not in time: %s", what)
		case <-tick.C:
		}
	}
}
