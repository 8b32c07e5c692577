// Package fault says what an error means for a record, when to try again, and what
// is away. It decides by type, never by text.
package fault

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/wire"
)

// Classes of failures, as they stand in rows and in the header spine_dlq_class.
const (
	Fenced      = "fenced"      // the session ends; the record has done nothing
	Later       = "later"       // the handler wants to be asked again
	Rejected    = "rejected"    // by the handler, for good
	Undecodable = "undecodable" // can't be read
	Panicked    = "panic"
	Transient   = "transient" // anything else
)

// Dependencies of the engine itself.
const (
	Registry = "registry"
	Database = "database"
	Broker   = "kafka"
)

// Failure is what an error means.
type Failure struct {
	Class     string
	Reason    string
	Permanent bool      // no retry helps
	Away      string    // the dependency that is away; "" = none
	At        time.Time // for Later
	Late      bool      // it ran into its deadline
}

// Ends says whether an error ends the session: it is fenced, or doesn't know the
// outcome of a commit. Only a fresh load knows what stands.
func Ends(err error) bool {
	return errors.Is(err, once.ErrFenced) || errors.Is(err, once.ErrOutcomeUnknown)
}

// Classify says what an error means.
func Classify(err error) Failure {
	var (
		unavailable *consumer.UnavailableError
		later       *consumer.LaterError
		rejected    *consumer.RejectError
		bad         *wire.BadRecordError
		undecodable *UndecodableError
		thrown      *PanicError
	)
	f := Failure{Class: Transient, Reason: err.Error()}
	switch {
	case Ends(err):
		f.Class = Fenced
	case errors.Is(err, once.ErrUnavailable):
		f.Away = Database
	case errors.Is(err, wire.ErrRegistryUnavailable):
		f.Away = Registry
	case errors.As(err, &unavailable):
		f.Away = unavailable.Dependency
	case errors.As(err, &rejected):
		f.Class, f.Permanent, f.Reason = Rejected, true, rejected.Reason
	case errors.As(err, &later):
		f.Class, f.At, f.Reason = Later, later.At, later.Reason
	case errors.As(err, &bad), errors.As(err, &undecodable):
		f.Class, f.Permanent = Undecodable, true
	case errors.As(err, &thrown):
		f.Class = Panicked
	default:
		f.Late = errors.Is(err, context.DeadlineExceeded)
	}
	return f
}

// Retry says how often and how fast a failing record is tried again before it
// becomes a dead letter.
type Retry struct {
	Attempts int           // 0 = 5
	Base     time.Duration // pause after the first failure, doubled after each; 0 = 500 ms
	Max      time.Duration // longest pause; 0 = 30 s
}

// WithDefaults fills in what is not set.
func (p Retry) WithDefaults() Retry {
	if p.Attempts <= 0 {
		p.Attempts = 5
	}
	if p.Base <= 0 {
		p.Base = 500 * time.Millisecond
	}
	if p.Max <= 0 {
		p.Max = 30 * time.Second
	}
	return p
}

// Pause is drawn anew each time between nothing and the doubled pause (full
// jitter), so that what failed together doesn't come back together.
func (p Retry) Pause(failures int) time.Duration {
	return time.Millisecond + rand.N(p.ceiling(failures))
}

func (p Retry) ceiling(failures int) time.Duration {
	ceiling := p.Base << min(max(failures-1, 0), 20)
	if ceiling <= 0 || ceiling > p.Max {
		return p.Max
	}
	return ceiling
}

// Outages remembers what is away, for readiness. What isn't confirmed for a while
// is forgotten: the record that saw it may have gone to another process.
type Outages struct {
	some  atomic.Bool // something is known: asked with each record
	mu    sync.Mutex
	known map[string]outage
	keep  time.Duration
}

type outage struct {
	err  error
	seen time.Time
}

// NewOutages remembers an outage for keep after it was last seen.
func NewOutages(keep time.Duration) *Outages {
	return &Outages{known: map[string]outage{}, keep: keep}
}

// Begin notes that a part is away.
func (o *Outages) Begin(part string, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.known[part] = outage{err, time.Now()}
	o.some.Store(true)
}

// Over notes that a part has answered.
func (o *Outages) Over(part string) {
	if !o.some.Load() {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.known, part)
	o.some.Store(len(o.known) > 0)
}

// Reason names the engine's own parts that are away; a handler's dependency is not
// among them.
func (o *Outages) Reason() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var reasons []string
	for _, part := range []string{Registry, Database, Broker} {
		if known, ok := o.known[part]; ok && time.Since(known.seen) < o.keep {
			reasons = append(reasons, fmt.Sprintf("%s: %v", part, known.err))
		}
	}
	sort.Strings(reasons)
	return strings.Join(reasons, "; ")
}

// Sleep waits, unless ctx ends first.
func Sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
