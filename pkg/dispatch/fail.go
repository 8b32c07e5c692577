package dispatch

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/wire"
)

// Classes of failures, as they stand in rows and in the header spine_dlq_class.
const (
	classFenced      = "fenced"      // the session ends; the record has done nothing
	classLater       = "later"       // the handler wants to be asked again
	classRejected    = "rejected"    // by the handler, for good
	classUndecodable = "undecodable" // can't be read
	classPanic       = "panic"
	classTransient   = "transient" // anything else
)

// Dependencies of the engine itself.
const (
	registry = "registry"
	database = "database"
	broker   = "kafka"
)

// failure is what an error means.
type failure struct {
	class     string
	reason    string
	permanent bool
	away      string    // the dependency that is away
	at        time.Time // for classLater
}

// classify decides by type, never by text.
func classify(err error) failure {
	var (
		unavailable *consumer.UnavailableError
		later       *consumer.LaterError
		rejected    *consumer.RejectError
		bad         *wire.BadRecordError
		undecodable *undecodableError
		thrown      *panicError
	)
	f := failure{class: classTransient, reason: err.Error()}
	switch {
	case fenced(err):
		f.class = classFenced
	case errors.Is(err, once.ErrUnavailable):
		f.away = database
	case errors.Is(err, wire.ErrRegistryUnavailable):
		f.away = registry
	case errors.As(err, &unavailable):
		f.away = unavailable.Dependency
	case errors.As(err, &rejected):
		f.class, f.permanent, f.reason = classRejected, true, rejected.Reason
	case errors.As(err, &later):
		f.class, f.at, f.reason = classLater, later.At, later.Reason
	case errors.As(err, &bad), errors.As(err, &undecodable):
		f.class, f.permanent = classUndecodable, true
	case errors.As(err, &thrown):
		f.class = classPanic
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

func (p Retry) withDefaults() Retry {
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

// pause is drawn anew each time between nothing and the doubled pause (full
// jitter), so that what failed together doesn't come back together.
func (p Retry) pause(failures int) time.Duration {
	ceiling := p.Base << min(max(failures-1, 0), 20)
	if ceiling <= 0 || ceiling > p.Max {
		ceiling = p.Max
	}
	return time.Millisecond + rand.N(ceiling) //nolint:gosec // jitter needs no secret
}

// outages remembers what is away, for readiness. What isn't confirmed for a while
// is forgotten: the record that saw it may have gone to another process.
type outages struct {
	mu    sync.Mutex
	known map[string]outage
	keep  time.Duration
}

type outage struct {
	err  error
	seen time.Time
}

func (o *outages) begin(part string, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.known[part] = outage{err, time.Now()}
}

func (o *outages) over(part string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.known, part)
}

// reason names the engine's own parts that are away; a handler's dependency is not
// among them.
func (o *outages) reason() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var reasons []string
	for _, part := range []string{registry, database, broker} {
		if known, ok := o.known[part]; ok && time.Since(known.seen) < o.keep {
			reasons = append(reasons, fmt.Sprintf("%s: %v", part, known.err))
		}
	}
	sort.Strings(reasons)
	return strings.Join(reasons, "; ")
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
