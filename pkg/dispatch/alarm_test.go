package dispatch_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/dispatch"
	"github.com/eventspine/spine/pkg/dispatch/alarm"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/wire"
	"github.com/eventspine/spine/schemas/common"
)

// chat is a webhook that counts what it is told.
type chat struct {
	url string
	mu  sync.Mutex
	all []string
}

func newChat(t *testing.T) *chat {
	t.Helper()
	c := &chat{}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body := make([]byte, r.ContentLength)
		_, _ = r.Body.Read(body)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.all = append(c.all, string(body))
	}))
	t.Cleanup(server.Close)
	c.url = server.URL
	return c
}

func (c *chat) told() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string{}, c.all...)
}

// with gives a run alarms of its own, as a process has them; done sends what is left.
func (c *chat) with(t *testing.T, every time.Duration) (change func(*dispatch.Options), done func()) {
	t.Helper()
	a, err := alarm.New(alarm.Options{Webhook: c.url, Every: every})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); a.Run(ctx) }()
	done = sync.OnceFunc(func() { cancel(); <-ended })
	t.Cleanup(done)
	return func(o *dispatch.Options) { o.Alarms = a }, done
}

// The first dead letter of its kind is an alarm, the others of its kind are not, nor
// is a restart; what was cleared away alarms anew. No alarm holds personal data.
func TestAlarm_firstDeadLetter(t *testing.T) {
	t.Parallel()
	w, c := newWorld(t, 2), newChat(t)
	w.script.set(func(_ context.Context, label string, _ int) error {
		return consumer.Reject("the customer jane@example.com of order " + label + " has no " + strings.Trim(label, "0123456789"))
	})
	w.send("a:shoes1")
	alarms, done := c.with(t, time.Nanosecond)
	r := w.run(alarms)
	w.until("one is dead", func() bool { return w.counts().Dead == 1 }) // of two at one moment, both may be the first
	w.send("b:shoes2", "c:shoes3")
	w.until("three are dead", func() bool { return w.counts().Dead == 3 })
	w.send("d:hat1")
	w.until("four are dead", func() bool { return w.counts().Dead == 4 })
	r.stop()
	done()
	told := c.told()
	if len(told) != 2 || !strings.Contains(strings.Join(told, ""), "no shoes") || !strings.Contains(strings.Join(told, ""), "no hat") {
		t.Errorf("told: %q", told)
	}
	for _, text := range told {
		if strings.Contains(text, "jane") || !strings.Contains(text, w.group) {
			t.Errorf("told: %s", text)
		}
	}
	alarms, done = c.with(t, time.Hour)
	r = w.run(alarms)
	w.send("e:shoes4", "f:socks1")
	w.until("six are dead", func() bool { return w.counts().Dead == 6 })
	r.stop()
	done()
	if told = c.told(); len(told) != 3 || !strings.Contains(told[2], "no socks") {
		t.Errorf("after a restart: %q", told)
	}
}

// A full waiting room is an alarm, one.
func TestAlarm_overflow(t *testing.T) {
	t.Parallel()
	w, c := newWorld(t, 1), newChat(t)
	w.script.reject("bad")
	alarms, _ := c.with(t, time.Hour)
	w.run(alarms, func(o *dispatch.Options) { o.WaitingRoom = 100 })
	w.send("a:bad", "b:bad", "c:bad")
	w.until("people know", func() bool {
		return strings.Contains(strings.Join(c.told(), ""), "waiting room of group "+w.group+" is full")
	})
}

// A handler quotes what it should not: neither the row nor the copy has it.
func TestDeadLetter_quotesNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.run(func(o *dispatch.Options) {
		o.Group.On = []consumer.Handler{consumer.On(func(_ context.Context, _ consumer.Tx, e event.Of[cancelled]) error {
			return fmt.Errorf("%s <jane@example.com> cancelled order %s by %q", *e.Data.CancelledBy.Display, e.Data.OrderNumber, *e.Data.CancelledBy.Display)
		})}
	})
	rec := w.record("1", "4711", func(n *event.New, _ *wire.Cause) {
		fact, _ := n.Fact.(cancelled)
		name := "Jane Doe"
		fact.CancelledBy = &common.Actor{Kind: common.ActorKindEmployee, Display: &name}
		n.Fact = fact
	})
	w.publish(rec)
	w.until("the copy is out", func() bool { return len(w.read("dlq."+w.group)) == 1 })
	const want = `*** <***> cancelled order 4711 by "***"`
	if got := w.rows()[0].Reason; got != want {
		t.Errorf("the row says %q, want %q", got, want)
	}
	dead := w.read("dlq." + w.group)[0]
	for _, h := range dead.Headers {
		if h.Key == "spine_dlq_reason" && string(h.Value) != want {
			t.Errorf("the copy says %q, want %q", h.Value, want)
		}
	}
	if !bytes.Equal(dead.Value, rec.Value) {
		t.Error("the copy has another value than the record")
	}
}
