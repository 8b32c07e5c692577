// Package intake receives what sources push over HTTP. It reads the body once,
// verifies the signature over the raw bytes, and answers 2xx only when the delivery
// is durable: in Kafka (acks=all), or in the spool, a fsynced file that holds what
// Kafka does not take in time and hands it over, in order per key, when it does
// (promise: accepted). Nothing is interpreted while the sender waits.
//
// The path of a request, from top to bottom: ServeHTTP, receive, deliver.
package intake

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/producer"
)

// Instance is an installation that may send, with the secrets that prove it.
type Instance struct {
	event.Instance
	Secrets [][]byte // the current one, then the previous one while a rotation lasts
}

// Options are what an Intake is made of. The zero value of a limit is its default.
type Options struct {
	Adapters  []producer.Adapter
	Instances []Instance
	// Publish answers nil once all records are in Kafka with acks=all. It may outlive
	// its context: the receiver waits by a timer of its own.
	Publish     func(ctx context.Context, records ...*kgo.Record) error
	SpoolPath   string        // SQLite file; its folder must exist
	MaxSpool    int64         // bytes of deliveries in the spool; 1 GiB
	MaxBody     int64         // bytes; 2 MiB, at most 2.875 MiB
	MaxInFlight int           // requests at a time; 512
	Budget      time.Duration // how long a sender waits for Kafka, and again for the spool; 2 s
	Meter       metric.Meter  // nil = nothing is measured
	Log         *slog.Logger  // nil = nothing is logged
	Now         func() time.Time
}

// Intake is the HTTP handler of POST /webhooks/{system}/{instance}, and the spool
// behind it.
type Intake struct {
	o          Options
	hooks      map[string]hook // by "<system>/<instance>"
	slots      chan struct{}   // requests
	publishing chan struct{}   // calls of Publish, those among them that nobody waits for
	spool      *spool
	metrics    *metrics
}

// hook is one way in.
type hook struct {
	Instance
	producer.Webhook
}

// largestBody leaves room for headers in a record of raw.<system>, which has at most
// 3 MiB: Kafka would never take a larger one, and the spool would hold it for good.
const largestBody = 3<<20 - 128<<10

// New opens the spool and checks the options. The caller runs Run beside the HTTP
// server, and ends with Close.
func New(o Options) (*Intake, error) {
	o = o.withDefaults()
	if o.Publish == nil {
		return nil, errors.New("starting intake: want a way to publish")
	}
	if o.MaxBody > largestBody {
		return nil, fmt.Errorf("starting intake: a body of %d bytes: want at most %d", o.MaxBody, largestBody)
	}
	hooks, err := hooksOf(o.Adapters, o.Instances)
	if err != nil {
		return nil, fmt.Errorf("starting intake: %w", err)
	}
	s, err := openSpool(o.SpoolPath, o.MaxSpool)
	if err != nil {
		return nil, fmt.Errorf("starting intake: %w", err)
	}
	m, err := newMetrics(o.Meter, s.depth)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting intake: %w", err), s.close())
	}
	return &Intake{
		o: o, hooks: hooks, spool: s, metrics: m,
		slots: make(chan struct{}, o.MaxInFlight), publishing: make(chan struct{}, o.MaxInFlight),
	}, nil
}

func (o Options) withDefaults() Options {
	o.MaxSpool = or(o.MaxSpool, 1<<30)
	o.MaxBody = or(o.MaxBody, 2<<20)
	o.MaxInFlight = or(o.MaxInFlight, 512)
	o.Budget = or(o.Budget, 2*time.Second)
	if o.Meter == nil {
		o.Meter = noop.NewMeterProvider().Meter("")
	}
	o.Log = orDiscard(o.Log)
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

func or[N int | int64 | time.Duration](n, otherwise N) N {
	if n <= 0 {
		return otherwise
	}
	return n
}

// hooksOf joins instances with the adapters of their systems. An instance whose
// system pushes nothing has no hook; one without a secret is refused.
func hooksOf(adapters []producer.Adapter, instances []Instance) (map[string]hook, error) {
	webhooks := map[string]producer.Webhook{}
	for _, a := range adapters {
		if err := a.Check(); err != nil {
			return nil, err
		}
		for _, w := range a.Webhooks {
			webhooks[a.System] = w
		}
	}
	hooks := map[string]hook{}
	for _, in := range instances {
		w, pushes := webhooks[in.System]
		if !pushes {
			continue
		}
		if len(in.Secrets) == 0 {
			return nil, fmt.Errorf("instance %s: want a secret; nothing is accepted unsigned", in)
		}
		for _, secret := range in.Secrets {
			if len(secret) == 0 {
				return nil, fmt.Errorf("instance %s: a secret is empty", in)
			}
		}
		hooks[in.String()] = hook{Instance: in, Webhook: w}
	}
	return hooks, nil
}

// Depth says how much is in the spool.
func (i *Intake) Depth() (records, bytes int64) { return i.spool.depth() }

// Close closes the spool. What is in it stays there for the next start.
// A second call does nothing.
func (i *Intake) Close() error {
	return errors.Join(i.metrics.close(), i.spool.close())
}
