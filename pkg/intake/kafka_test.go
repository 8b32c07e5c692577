package intake_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/bus"
	"github.com/eventspine/spine/pkg/devstack/devtest"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/intake"
	"github.com/eventspine/spine/pkg/producer"
	"github.com/eventspine/spine/pkg/wire"
)

// The real client and a broker: what was accepted while the broker answers, while it
// does not, and after that, is in the topic, in order per key.
func TestKafka(t *testing.T) {
	t.Parallel()
	parts := devtest.Parts(t)
	a := shop()
	a.System = devtest.Unique(t, "shop")
	topic := "raw." + a.System
	parts.CreateTopics(t, 4, topic)
	var cut atomic.Bool // the network, as the client sees it
	kafka, err := bus.NewProducer(bus.Config{Brokers: parts.Brokers, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		if cut.Load() {
			return nil, net.ErrClosed
		}
		c, err := (&net.Dialer{}).DialContext(ctx, network, address)
		return cable{c, &cut}, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kafka.Close)
	i, err := intake.New(intake.Options{
		Adapters: []producer.Adapter{a}, Instances: []intake.Instance{{Instance: event.Instance{System: a.System, Name: "uk"}, Secrets: [][]byte{current}}},
		Publish: kafka.Publish, SpoolPath: filepath.Join(t.TempDir(), "spool.db"), Budget: 500 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = i.Close() })
	run(t, i)
	want := map[string][]string{}
	send := func(n int) {
		for k := range n {
			body := fmt.Sprintf(`{"id":%d,"n":%d}`, k%3, k)
			r := request(t, body)
			r.URL.Path = "/webhooks/" + a.System + "/uk"
			r.Header.Set("X-Correlation-Id", fmt.Sprint("req-", len(want), "-", k))
			response := serve(i, r)
			if response.StatusCode != http.StatusOK {
				t.Fatalf("status %d", response.StatusCode)
			}
			key := fmt.Sprintf("%s/uk:%d", a.System, k%3)
			want[key] = append(want[key], body)
		}
	}
	send(9)
	cut.Store(true)
	send(9)
	if n, _ := i.Depth(); n == 0 {
		t.Error("nothing is in the spool although the broker is away")
	}
	cut.Store(false)
	send(9)
	eventually(t, "the spool is empty", func() bool { n, _ := i.Depth(); return n == 0 })
	got, seen := map[string][]string{}, map[string]bool{}
	reader, err := kgo.NewClient(kgo.SeedBrokers(parts.Brokers...), kgo.ConsumeTopics(topic))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(reader.Close)
	for len(seen) < 27 {
		fetches := reader.PollFetches(t.Context())
		if err := fetches.Err0(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			d, err := wire.DecodeDelivery(r)
			if err != nil {
				t.Error(err)
				return
			}
			if !seen[d.ID] { // a copy of a call whose answer was lost carries the same id
				got[d.Key] = append(got[d.Key], string(d.Body))
			}
			seen[d.ID] = true
			if d.Kind != "orders/create" || d.Source != a.System+"/uk" || d.Request == "" || d.Traceparent == "" {
				t.Errorf("read %+v", d)
			}
		})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-accepted +read\n%s", diff)
	}
}

// cable is a connection that can be cut: then writes end it.
type cable struct {
	net.Conn
	cut *atomic.Bool
}

func (c cable) Write(b []byte) (int, error) {
	if c.cut.Load() {
		_ = c.Close()
		return 0, net.ErrClosed
	}
	return c.Conn.Write(b)
}
