package dispatch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/wire"
)

const (
	effectSlots   = 8                // calls at the same time, per partition
	effectIdle    = 15 * time.Second // without being woken
	effectTimeout = time.Minute      // of one call
)

// calls are the effects of one session that are being called.
type calls struct {
	mu    sync.Mutex
	ids   map[int64]struct{}
	keys  map[string]struct{} // causes: what follows from one correlation is called one after the other
	again map[int64]time.Time // those that are to be called again, and when
	wg    sync.WaitGroup
}

// wait is how long there is nothing to do without being woken.
func (c *calls) wait() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	wait := effectIdle
	for _, at := range c.again {
		wait = min(wait, max(time.Until(at), time.Millisecond))
	}
	return wait
}

// runEffects calls the outside for the transactions of this partition, after their
// commit, also for those of former owners (promise: outside effects).
func (s *session) runEffects(ctx context.Context) {
	defer close(s.effectsDone)
	c := &calls{ids: map[int64]struct{}{}, keys: map[string]struct{}{}, again: map[int64]time.Time{}}
	defer c.wg.Wait()
	for ctx.Err() == nil {
		wait := c.wait()
		if err := s.callDue(ctx, c); err != nil && ctx.Err() == nil {
			s.r.log.Warn("looking for effects", "topic", s.lease.Topic, "partition", s.lease.ID, "error", err)
			wait = min(wait, s.r.o.Retry.Max)
		} else {
			wait = c.wait()
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-s.wakeEffects:
		case <-s.closeEffects:
			timer.Stop()
			return // what is in flight ends before the session does
		}
		timer.Stop()
	}
}

func (s *session) callDue(ctx context.Context, c *calls) error {
	c.mu.Lock()
	busy := len(c.ids)
	c.mu.Unlock()
	if busy >= effectSlots {
		return nil
	}
	due, err := s.owner.Effects(ctx, time.Now(), busy+4*effectSlots)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range due {
		var cause wire.Cause
		if err := json.Unmarshal(e.Cause, &cause); err != nil {
			s.r.log.Error("reading the cause of an effect", "effect", e.Name, "key", e.Key, "error", err)
		}
		_, known := c.ids[e.ID]
		_, before := c.keys[cause.Correlation]
		if known || before || len(c.ids) >= effectSlots {
			continue
		}
		c.ids[e.ID], c.keys[cause.Correlation] = struct{}{}, struct{}{}
		delete(c.again, e.ID)
		c.wg.Go(func() {
			again := s.effect(ctx, e, cause)
			c.mu.Lock()
			delete(c.ids, e.ID)
			delete(c.keys, cause.Correlation)
			if !again.IsZero() {
				c.again[e.ID] = again
			}
			c.mu.Unlock()
			poke(s.wakeEffects)
		})
	}
	return nil
}

// effect makes one call: intent first, then the call, then what is true only after
// it. It answers when it is to be called again, zero = not by this session.
func (s *session) effect(ctx context.Context, e once.Effect, cause wire.Cause) (again time.Time) {
	def, known := s.r.effects[e.Name]
	log := s.r.log.With("effect", e.Name, "key", e.Key, "correlation_id", cause.Correlation, "request", cause.Request)
	switch {
	case !known:
		log.Error("the group declares no such effect any more")
		return s.unsent(ctx, e, "the group declares no such effect any more", once.EffectUnknown)
	case e.State == once.EffectIntent && def.Unknown == consumer.Ask:
		log.Error("the outcome of the effect is unknown: a person decides")
		return s.unsent(ctx, e, "the process ended during the call", once.EffectUnknown)
	}
	if err := s.owner.Intend(ctx, e.ID); err != nil {
		return s.unwritten(e, err)
	}
	call, cancel := context.WithTimeout(ctx, effectTimeout)
	err := contained(func() error { return def.Do(call, e.Key, e.Args) })
	cancel()
	var rejected *consumer.RejectError
	switch {
	case err == nil:
		return s.complete(ctx, e, def, cause)
	case ctx.Err() != nil:
		return time.Time{} // stays an intent: what became of it is not known
	case errors.As(err, &rejected), def.Unknown == consumer.Ask && errors.Is(err, context.DeadlineExceeded):
		log.Error("the effect needs a person", "error", err)
		return s.unsent(ctx, e, err.Error(), once.EffectUnknown)
	}
	log.Warn("the effect failed, trying again with the same key", "attempt", e.Attempts+1, "error", err)
	return s.unsent(ctx, e, err.Error(), once.EffectPending)
}

// unsent writes down that a call failed.
func (s *session) unsent(ctx context.Context, e once.Effect, msg string, state once.EffectState) (again time.Time) {
	result := failedEffect
	if state == once.EffectUnknown {
		result = unknownEffect
	}
	s.r.m.effect(e.Name, result)
	next := time.Now().Add(s.r.o.Retry.pause(e.Attempts + 1))
	if err := s.owner.Failed(ctx, e.ID, next, bounded(msg), state); err != nil {
		return s.unwritten(e, err)
	}
	if state == once.EffectUnknown {
		return time.Time{}
	}
	return next
}

// unwritten is a failure of the engine's own writing: the effect is looked at again.
func (s *session) unwritten(e once.Effect, err error) (again time.Time) {
	if fenced(err) {
		s.finish(err)
		return time.Time{}
	}
	s.r.log.Warn("writing down where an effect stands", "effect", e.Name, "key", e.Key, "error", err)
	return time.Now().Add(s.r.o.Retry.pause(e.Attempts + 1))
}

// complete marks the effect as done together with what Done writes. The call is
// made and is not repeated for a failure here, as long as the session lives.
func (s *session) complete(ctx context.Context, e once.Effect, def consumer.Effect, cause wire.Cause) (again time.Time) {
	var leaves left
	var done func(context.Context, once.Tx) error
	if def.Done != nil {
		done = func(ctx context.Context, tx once.Tx) error {
			leaves = left{}
			out := s.r.out(ctx, tx, cause, &leaves)
			return contained(func() error {
				return def.Done(ctx, consumer.Tx{DB: tx, Out: out}, e.Key, e.Args)
			})
		}
	}
	for failures := 1; ; failures++ {
		err := s.owner.Complete(ctx, e.ID, done)
		switch {
		case err == nil:
			s.r.m.effect(e.Name, doneEffect)
			if leaves.facts > 0 {
				poke(s.wakeRelay)
			}
			return time.Time{}
		case fenced(err):
			return s.unwritten(e, err)
		case ctx.Err() != nil:
			return time.Time{}
		}
		away := classify(err).away != ""
		s.r.log.Warn("writing down that the effect is done", "effect", e.Name, "key", e.Key, "attempt", failures, "error", err)
		if !away && failures >= s.r.o.Retry.Attempts {
			return s.unsent(ctx, e, fmt.Sprintf("called, but writing it down failed: %v", err), once.EffectUnknown)
		}
		sleep(ctx, s.r.o.Retry.pause(failures))
	}
}
