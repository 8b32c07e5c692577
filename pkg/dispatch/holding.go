package dispatch

import (
	"context"
	"fmt"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/eventspine/spine/pkg/bus"
	"github.com/eventspine/spine/pkg/dispatch/fault"
	"github.com/eventspine/spine/pkg/dispatch/measure"
	"github.com/eventspine/spine/pkg/dispatch/partition"
)

// assignment is a lease with whatever session serves it at the moment.
type assignment struct {
	lease  bus.Lease
	cancel context.CancelFunc
	done   chan struct{}

	mu      sync.Mutex
	session *partition.Session
	leaving bool
	trouble error // why there is no session
}

// assigned takes partitions, each on its own: one that has to wait for its former
// owner keeps none of the others waiting.
func (r *Runner) assigned(ctx context.Context, leases []bus.Lease) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closing {
		return
	}
	for _, l := range leases {
		ctx, cancel := context.WithCancel(ctx)
		a := &assignment{lease: l, cancel: cancel, done: make(chan struct{})}
		r.holding[l.Partition] = a
		go r.hold(ctx, a)
	}
}

// hold serves a lease, one session after the other: an owner that was fenced, or
// didn't learn the outcome of a commit, starts over while Kafka still means it.
func (r *Runner) hold(ctx context.Context, a *assignment) {
	defer close(a.done)
	for failures := 1; ; failures++ {
		begun := time.Now()
		s, err := r.engine.Open(ctx, a.lease)
		if err == nil {
			if !a.begin(s) {
				return
			}
			err = s.Serve(ctx)
		}
		if ctx.Err() != nil || err == nil || !r.members.Holds(a.lease) {
			return
		}
		if time.Since(begun) > time.Minute {
			failures = 1
		}
		a.fail(err)
		r.log.Warn("the session of the partition ended, starting over", "topic", a.lease.Topic, "partition", a.lease.ID, "error", err)
		fault.Sleep(ctx, r.o.Retry.Pause(failures))
	}
}

func (a *assignment) begin(s *partition.Session) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.session, a.trouble = s, nil
	return !a.leaving
}

func (a *assignment) fail(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.session, a.trouble = nil, err
}

// depart lets the assignment begin nothing more and answers what it is serving.
func (a *assignment) depart() *partition.Session {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.leaving = true
	return a.session
}

// revoked hands partitions back: drained, stored, told to Kafka, in this order.
func (r *Runner) revoked(ctx context.Context, leases []bus.Lease) {
	drain, cancel := context.WithTimeout(ctx, r.o.ShutdownTimeout)
	defer cancel()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var commits []bus.Commit
	for _, a := range r.take(leases) {
		wg.Go(func() {
			s := a.depart()
			if s != nil {
				s.Drain(drain)
				if c, ok := s.Commit(); ok {
					mu.Lock()
					commits = append(commits, c)
					mu.Unlock()
				}
			}
			a.cancel()
			select {
			case <-a.done:
			case <-drain.Done():
			}
		})
	}
	wg.Wait()
	r.tell(context.WithoutCancel(ctx), commits)
}

// lost drops partitions: nothing of them is acknowledged, stored or committed.
func (r *Runner) lost(leases []bus.Lease) {
	for _, a := range r.take(leases) {
		if s := a.depart(); s != nil {
			s.Lose()
		}
		a.cancel()
	}
}

func (r *Runner) take(leases []bus.Lease) []*assignment {
	r.mu.Lock()
	defer r.mu.Unlock()
	var taken []*assignment
	for _, l := range leases {
		if a := r.holding[l.Partition]; a != nil && a.lease == l {
			delete(r.holding, l.Partition)
			taken = append(taken, a)
		}
	}
	return taken
}

// leave hands everything back and leaves the group.
func (r *Runner) leave(ctx context.Context) {
	r.mu.Lock()
	r.closing = true
	leases := make([]bus.Lease, 0, len(r.holding))
	for _, a := range r.holding {
		leases = append(leases, a.lease)
	}
	members := r.members
	r.mu.Unlock()
	r.revoked(ctx, leases)
	closing, cancel := context.WithTimeout(ctx, r.o.ShutdownTimeout)
	defer cancel()
	members.Close(closing)
}

func (r *Runner) sessions() map[bus.Lease]*partition.Session {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := map[bus.Lease]*partition.Session{}
	for _, a := range r.holding {
		a.mu.Lock()
		if a.session != nil {
			all[a.lease] = a.session
		}
		a.mu.Unlock()
	}
	return all
}

// commitLoop stores next_offset of each partition and then tells Kafka, whose
// offset follows the store's and starts nothing.
func (r *Runner) commitLoop(ctx context.Context) {
	told := map[bus.Lease]int64{}
	tick := time.NewTicker(r.o.CommitInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var commits []bus.Commit
		now := map[bus.Lease]int64{}
		for l, s := range r.sessions() {
			if err := s.Advance(ctx); err != nil && ctx.Err() == nil {
				r.outages.Begin(fault.Database, err)
				r.log.Warn("storing next_offset", "topic", l.Topic, "partition", l.ID, "error", err)
			}
			c, ok := s.Commit()
			if last, before := told[l]; ok && (!before || last != c.Offset) {
				commits = append(commits, c)
			}
			now[l] = c.Offset
		}
		if r.tell(ctx, commits) {
			told = now
		}
	}
}

func (r *Runner) tell(ctx context.Context, commits []bus.Commit) bool {
	if len(commits) == 0 {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := r.members.Commit(ctx, commits); err != nil {
		if ctx.Err() == nil {
			r.log.Warn("telling Kafka the offsets", "error", err)
		}
		return false
	}
	return true
}

// Away names the dependencies of handlers that are away, with the reason; "" = none.
// What needs them is held; the group is ready all the same.
func (r *Runner) Away() string { return r.breakers.Away() }

// Ready says whether the group owns its partitions and has their start offsets
// stored, and if not, why.
func (r *Runner) Ready() (ok bool, reason string) {
	r.mu.Lock()
	starting, closing, members := r.starting, r.closing, r.members
	holding := make([]*assignment, 0, len(r.holding))
	for _, a := range r.holding {
		holding = append(holding, a)
	}
	r.mu.Unlock()
	switch {
	case starting != "":
		return false, starting
	case closing:
		return false, "shutting down"
	case !members.Joined():
		return false, "kafka: joining the group"
	}
	var reasons []string
	if away := r.outages.Reason(); away != "" {
		reasons = append(reasons, away)
	}
	if full := r.room.Reason(); full != "" {
		reasons = append(reasons, full)
	}
	for _, a := range holding {
		if why := a.reason(); why != "" {
			reasons = append(reasons, why)
		}
	}
	sort.Strings(reasons)
	return len(reasons) == 0, strings.Join(reasons, "; ")
}

func (a *assignment) reason() string {
	a.mu.Lock()
	s, trouble := a.session, a.trouble
	a.mu.Unlock()
	switch {
	case trouble != nil:
		return fmt.Sprintf("taking %s: %v", a.lease.Partition, trouble)
	case s == nil:
		return fmt.Sprintf("taking %s", a.lease.Partition)
	}
	if err := s.Broken(); err != nil {
		return err.Error()
	}
	return ""
}

// lags are those of the partitions that are owned: a series of a former owner would
// stand still.
func (r *Runner) lags() []measure.Lag {
	var all []measure.Lag
	for _, s := range r.sessions() {
		all = append(all, s.Lag())
	}
	return all
}
