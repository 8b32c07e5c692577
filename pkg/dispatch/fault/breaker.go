package fault

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
)

const (
	tripAfter = 3   // failures in a row, none of its calls answered between them
	fullRoom  = 256 // calls at the same time, at which a dependency counts as recovered
)

// errNothingSaid is the end of a task that says nothing of a dependency: it was
// cancelled, or another one was away.
var errNothingSaid = errors.New("nothing was learned of the dependency")

// Breakers hold back the tasks that need a dependency which is away. What a kind of
// task needs is learned from its failures: the handler that answered
// consumer.Unavailable("mail") needs mail. There is a breaker for each dependency,
// one set for each group and process.
//
// Open, a breaker lets nothing pass. After a time that grows with each failure it
// lets one task probe. If the dependency answers, tasks pass in growing numbers, so
// that what was held doesn't come down on it at once.
type Breakers struct {
	retry   Retry
	changed func(Change)
	learned atomic.Bool // false: nothing was ever away, and nobody has to ask

	mu    sync.Mutex
	needs map[string][]*breaker // by kind of task
	known map[string]*breaker   // by dependency
}

// Change is a breaker that opened, also after a probe that failed, or closed.
type Change struct {
	Dependency string
	Open       bool
	Cause      error     // why it is open
	Failures   int       // probes in a row that failed, and the failure before them
	Probe      time.Time // when the next task may probe
}

// breaker keeps gobreaker's account of one dependency: whose answers count, and when
// it trips. When to ask, and how many at a time, is decided here.
type breaker struct {
	name     string
	two      *gobreaker.TwoStepCircuitBreaker[struct{}]
	open     bool // or half-open
	cause    error
	failures int
	probe    time.Time // nothing passes before it
	tripped  time.Time
	outage   int // counts openings: who came in before the last one is not among the busy
	busy     int // calls on their way
	room     int // so many calls at the same time while it is open or recovers; 0 = no limit
}

// NewBreakers makes breakers that have learned nothing. changed is told of each
// change, and must return at once; nil = nobody is.
func NewBreakers(r Retry, changed func(Change)) *Breakers {
	if changed == nil {
		changed = func(Change) {}
	}
	return &Breakers{retry: r, changed: changed, needs: map[string][]*breaker{}, known: map[string]*breaker{}}
}

// Pass is the right of one task to run. Leave gives it back.
type Pass struct {
	of   *Breakers
	kind string
	gone []ticket
}

type ticket struct {
	b      *breaker
	outage int
	done   func(error)
}

// Enter asks whether a task of a kind may run. Where wait is not 0 it may not, and is
// to ask again then: the tasks that were held come spread over time.
func (bs *Breakers) Enter(kind string) (p Pass, wait time.Duration) {
	p = Pass{of: bs, kind: kind}
	if !bs.learned.Load() {
		return p, 0
	}
	bs.mu.Lock()
	defer bs.mu.Unlock()
	now := time.Now()
	for _, b := range bs.needs[kind] {
		done, wait := bs.ask(b, now)
		if wait > 0 {
			p.end(func(*breaker) error { return errNothingSaid })
			return Pass{}, wait
		}
		p.gone = append(p.gone, ticket{b, b.outage, done})
	}
	return p, 0
}

// ask takes a place at a breaker. bs.mu is held.
func (bs *Breakers) ask(b *breaker, now time.Time) (done func(error), wait time.Duration) {
	if left := b.probe.Sub(now); left > 0 {
		return nil, left + rand.N(bs.retry.Base)
	}
	done, err := b.two.Allow()
	switch {
	case err != nil: // a probe is on its way
		return nil, bs.retry.Base/2 + rand.N(bs.retry.Base)
	case b.room > 0 && b.busy >= b.room:
		done(errNothingSaid)
		return nil, bs.retry.Base/10 + rand.N(bs.retry.Base/5+1)
	}
	b.busy++
	return done, 0
}

// HeldError says that a dependency went away after the task had entered.
type HeldError struct{ Wait time.Duration }

// Error says so.
func (e *HeldError) Error() string { return "a dependency has gone away since" }

// Held asks once more, right before the call: what the task needs may have gone away
// since it entered, by what was called before it.
func (p *Pass) Held() error {
	if p.of == nil || !p.of.learned.Load() {
		return nil
	}
	p.of.mu.Lock()
	defer p.of.mu.Unlock()
	for _, b := range p.of.needs[p.kind] {
		mine := slices.ContainsFunc(p.gone, func(t ticket) bool { return t.b == b && t.outage == b.outage })
		if b.open && !mine {
			return &HeldError{Wait: max(time.Until(b.probe), time.Millisecond) + rand.N(p.of.retry.Base)}
		}
	}
	return nil
}

// Leave says what came of the task: failed is what its error meant, nil = it was
// done. Whatever a task answers except that the dependency is away counts as an
// answer of the dependency, but for what was cancelled and for a deadline.
func (p *Pass) Leave(failed *Failure) {
	bs := p.of
	if bs == nil {
		return // a task that asked for nothing
	}
	learn := failed != nil && failed.Away != "" && failed.Away != Registry // what the registry has said before is known without it
	if !learn && len(p.gone) == 0 {
		return
	}
	bs.mu.Lock()
	defer bs.mu.Unlock()
	if learn {
		p.blame(*failed)
	}
	p.end(func(b *breaker) error {
		switch {
		case failed == nil:
			return nil
		case failed.Away == b.name, failed.Late && b.open:
			return errors.New(failed.Reason)
		case failed.Away != "", failed.Late, failed.Class == Fenced:
			return errNothingSaid
		}
		return nil
	})
}

// Drop gives the pass back of a task that was cancelled: it says nothing.
func (p *Pass) Drop() {
	if len(p.gone) == 0 {
		return
	}
	p.of.mu.Lock()
	defer p.of.mu.Unlock()
	p.end(func(*breaker) error { return errNothingSaid })
}

// end gives all places back. of.mu is held.
func (p *Pass) end(verdict func(*breaker) error) {
	for _, t := range p.gone {
		if t.outage != t.b.outage {
			continue // it began before the dependency went away: old news
		}
		t.b.busy--
		err := verdict(t.b)
		if err != nil && !errors.Is(err, errNothingSaid) {
			t.b.cause = err
		}
		t.done(err)
		if err == nil && t.b.room > 0 {
			if t.b.room++; t.b.room > fullRoom {
				t.b.room = 0
			}
		}
	}
	p.gone = nil
}

// blame learns that the kind needs what it said is away. of.mu is held.
func (p *Pass) blame(f Failure) {
	bs := p.of
	for _, b := range bs.needs[p.kind] {
		if b.name == f.Away {
			if !slices.ContainsFunc(p.gone, func(t ticket) bool { return t.b == b }) {
				bs.count(b, errors.New(f.Reason)) // it was on its way before another one taught us
			}
			return
		}
	}
	b := bs.known[f.Away]
	if b == nil {
		b = bs.make(f.Away)
		bs.known[f.Away] = b
	}
	bs.needs[p.kind] = append(bs.needs[p.kind], b)
	bs.learned.Store(true)
	bs.count(b, errors.New(f.Reason))
}

func (bs *Breakers) count(b *breaker, cause error) {
	if b.open {
		return
	}
	if done, err := b.two.Allow(); err == nil {
		b.cause = cause
		done(cause)
	}
}

func (bs *Breakers) make(name string) *breaker {
	b := &breaker{name: name}
	b.two = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name: name, MaxRequests: 1,
		Timeout:       time.Nanosecond, // it is asked when a probe is due, not before
		IsExcluded:    func(err error) bool { return errors.Is(err, errNothingSaid) },
		ReadyToTrip:   func(c gobreaker.Counts) bool { return b.room > 0 || c.ConsecutiveFailures >= tripAfter },
		OnStateChange: func(_ string, _, to gobreaker.State) { bs.turn(b, to) },
	})
	return b
}

// turn is called while bs.mu is held.
func (bs *Breakers) turn(b *breaker, to gobreaker.State) {
	switch to {
	case gobreaker.StateHalfOpen:
		return // a probe will tell
	case gobreaker.StateOpen:
		now := time.Now()
		if now.Sub(b.tripped) > 2*bs.retry.Max {
			b.failures = 0 // it was well for long enough
		}
		b.open, b.room, b.busy, b.tripped = true, 1, 0, now
		b.outage++
		b.failures++
		b.probe = now.Add((bs.retry.ceiling(b.failures) + bs.retry.Pause(b.failures)) / 2)
	case gobreaker.StateClosed:
		b.open, b.cause = false, nil
	}
	bs.changed(Change{Dependency: b.name, Open: b.open, Cause: b.cause, Failures: b.failures, Probe: b.probe})
}

// Away names the dependencies that are away, with the reason; "" = none. One that
// nobody probes is left out: what needs it may have gone to another process.
func (bs *Breakers) Away() string {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	var away []string
	for _, b := range bs.known {
		if b.open && time.Since(b.probe) < 2*bs.retry.Max {
			away = append(away, b.name+": "+b.cause.Error())
		}
	}
	slices.Sort(away)
	return strings.Join(away, "; ")
}
