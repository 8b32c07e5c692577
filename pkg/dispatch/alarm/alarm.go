// Package alarm tells people what needs one: a log line, and a message to a
// Slack-compatible webhook. It never keeps a lane waiting, says the same thing once
// in a while only, and outlives its own endpoint being away.
package alarm

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
)

const (
	maxWaiting = 100              // alarms that are to be judged, or to be sent
	maxKinds   = 4096             // of which the last time is remembered
	perMinute  = 10               // messages; more are counted in one
	recheck    = time.Minute      // what stood before is looked up no sooner again
	farewell   = 3 * time.Second  // for what is left at the end
	patience   = 10 * time.Second // of one call
)

// Options say how to tell.
type Options struct {
	Webhook string        // Slack-compatible; "" = log only
	Every   time.Duration // one kind of alarm no sooner again; 0 = 1 h
	Meter   metric.Meter  // nil = none
	Log     *slog.Logger  // nil = silent
}

// Notice is something that people should know.
type Notice struct {
	Kind string // notices of one kind are one alarm
	Text string // no personal data
	// Old says that it is known already; nil = it is new. An error means: not known.
	Old func(context.Context) (bool, error)
}

// Alarms take notices. A nil one takes them and does nothing.
type Alarms struct {
	o        Options
	client   *http.Client
	outcomes metric.Int64Counter

	mu      sync.Mutex
	quiet   map[string]time.Time // by kind: nothing new until then
	notices []Notice             // to be judged
	texts   []string             // to be sent
	window  time.Time            // when the present minute began
	sent    int                  // texts in it
	more    int                  // texts that the minute had no room for
	judge   chan struct{}
	send    chan struct{}
}

// New makes alarms; Run sends them.
func New(o Options) (*Alarms, error) {
	if o.Every <= 0 {
		o.Every = time.Hour
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Meter == nil {
		o.Meter = noop.NewMeterProvider().Meter("")
	}
	outcomes, err := o.Meter.Int64Counter("spine_alarms", metric.WithDescription("Alarms by outcome: raised, quieted, sent, refused, dropped."))
	if err != nil {
		return nil, fmt.Errorf("instruments of the alarms: %w", err)
	}
	return &Alarms{
		o: o, client: &http.Client{Timeout: patience}, outcomes: outcomes, quiet: map[string]time.Time{},
		judge: make(chan struct{}, 1), send: make(chan struct{}, 1),
	}, nil
}

// Raise takes a notice and returns at once.
func (a *Alarms) Raise(n Notice) {
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	if now.Before(a.quiet[n.Kind]) {
		a.count("quieted", 1)
		return
	}
	a.hush(n.Kind, now.Add(a.o.Every))
	var lost int
	a.notices, lost = bounded(append(a.notices, n))
	a.count("dropped", lost)
	poke(a.judge)
}

// hush remembers that a kind is known; the one that is due soonest makes room. a.mu
// is held.
func (a *Alarms) hush(kind string, until time.Time) {
	a.quiet[kind] = until
	if len(a.quiet) <= maxKinds {
		return
	}
	oldest := kind
	for k, at := range a.quiet {
		if at.Before(a.quiet[oldest]) {
			oldest = k
		}
	}
	delete(a.quiet, oldest)
}

// bounded drops the oldest of what waits beyond its limit.
func bounded[T any](waiting []T) (kept []T, lost int) {
	lost = max(len(waiting)-maxWaiting, 0)
	return waiting[lost:], lost
}

func poke(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}

func (a *Alarms) count(outcome string, n int) {
	if n > 0 {
		a.outcomes.Add(context.Background(), int64(n), metric.WithAttributes(attribute.String("outcome", outcome))) //nolint:forbidigo // a count; nobody waits for it
	}
}

// Run judges and sends until ctx ends, and then tries once to send what is left.
func (a *Alarms) Run(ctx context.Context) {
	var sender sync.WaitGroup
	sender.Go(func() { a.sendAll(ctx) })
	for ctx.Err() == nil {
		for n, ok := a.nextNotice(); ok; n, ok = a.nextNotice() {
			a.decide(ctx, n)
		}
		minute := time.NewTimer(a.restOfMinute())
		select {
		case <-ctx.Done():
		case <-a.judge:
		case <-minute.C:
			a.sumUp()
		}
		minute.Stop()
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	for n, ok := a.nextNotice(); ok; n, ok = a.nextNotice() {
		a.decide(last, n)
	}
	sender.Wait()
	a.sumUp()
	for text, ok := a.nextText(); ok && a.post(last, text) == nil; text, ok = a.nextText() {
		a.count("sent", 1)
	}
}

func (a *Alarms) nextNotice() (n Notice, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.notices) == 0 {
		return n, false
	}
	n, a.notices = a.notices[0], a.notices[1:]
	return n, true
}

// decide raises an alarm, unless the matter is an old one.
func (a *Alarms) decide(ctx context.Context, n Notice) {
	if n.Old != nil {
		old, err := n.Old(ctx)
		if err != nil {
			a.o.Log.Warn("looking whether an alarm is new; it is taken to be", "error", err)
		}
		if old {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.hush(n.Kind, time.Now().Add(min(recheck, a.o.Every)))
			a.count("quieted", 1)
			return
		}
	}
	a.o.Log.Error("alarm", "says", n.Text)
	a.count("raised", 1)
	if a.o.Webhook == "" {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if now := time.Now(); now.Sub(a.window) >= time.Minute {
		a.window, a.sent = now, 0
	}
	if a.sent >= perMinute {
		a.more++
		return
	}
	a.sent++
	a.queue(n.Text)
}

// queue has a text sent. a.mu is held.
func (a *Alarms) queue(text string) {
	var lost int
	a.texts, lost = bounded(append(a.texts, text))
	a.count("dropped", lost)
	poke(a.send)
}

// restOfMinute is how long nothing is to be summed up.
func (a *Alarms) restOfMinute() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.more == 0 {
		return time.Hour
	}
	return max(time.Until(a.window.Add(time.Minute)), time.Millisecond)
}

// sumUp tells of the alarms that their minute had no room for.
func (a *Alarms) sumUp() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.more > 0 {
		a.queue(fmt.Sprintf("spine: and %d more alarms; the log has them", a.more))
		a.more = 0
	}
}
