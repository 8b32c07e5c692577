package leaving

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/dispatch/fault"
	"github.com/eventspine/spine/pkg/dispatch/measure"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/wire"
)

const (
	effectSlots   = 8                // calls at the same time, per partition
	effectIdle    = 15 * time.Second // without being woken
	effectTimeout = time.Minute      // of one call
)

// Effects calls the outside for the transactions of a partition, after their commit,
// also for those of former owners (promise: outside effects).
type Effects struct {
	part
	relay func() // wakes the relay
	mu    sync.Mutex
	ids   map[int64]struct{}  // being called
	keys  map[string]struct{} // causes: what follows from one correlation is called one after the other
	again map[int64]time.Time // to be called again, and when
	ended map[int64]struct{}  // calls that ended while the table was being read
	wg    sync.WaitGroup
}

// NewEffects makes the effects of a session, whose relay takes out what Done
// publishes.
func (g *Gate) NewEffects(s Session, relay *Relay) *Effects {
	return &Effects{part: newPart(g, s), relay: relay.Wake, ids: map[int64]struct{}{}, keys: map[string]struct{}{}, again: map[int64]time.Time{}}
}

// Run calls until ctx ends or it is closed, and then waits for the calls in flight.
func (c *Effects) Run(ctx context.Context) {
	defer close(c.done)
	defer c.wg.Wait()
	for ctx.Err() == nil {
		err := c.callDue(ctx)
		wait := c.wait()
		if err != nil && ctx.Err() == nil {
			c.s.Log.Warn("looking for effects", "error", err)
			wait = min(wait, c.gate.Retry.Max)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-c.wake:
		case <-c.closing:
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

// wait is how long there is nothing to do without being woken.
func (c *Effects) wait() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	wait := effectIdle
	for _, at := range c.again {
		wait = min(wait, max(time.Until(at), time.Millisecond))
	}
	return wait
}

// look begins a look at the table and answers how many calls are in flight.
func (c *Effects) look() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = map[int64]struct{}{}
	return len(c.ids)
}

func (c *Effects) callDue(ctx context.Context) error {
	busy, now := c.look(), time.Now()
	if busy >= effectSlots || c.gate.Aside {
		return nil
	}
	due, err := c.s.Owner.Effects(ctx, now, busy+4*effectSlots)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, at := range c.again {
		if !at.After(now) {
			delete(c.again, id) // it is among those that were read
		}
	}
	for _, e := range due {
		var cause wire.Cause
		if err := json.Unmarshal(e.Cause, &cause); err != nil {
			c.s.Log.Error("reading the cause of an effect", "effect", e.Name, "key", e.Key, "error", err)
		}
		_, known := c.ids[e.ID]
		_, stale := c.ended[e.ID] // what was read of it is from before
		_, before := c.keys[cause.Correlation]
		if !known && !stale && !before && len(c.ids) < effectSlots {
			c.begin(ctx, e, cause)
		}
	}
	return nil
}

// begin makes a call in the background. c.mu is held.
func (c *Effects) begin(ctx context.Context, e once.Effect, cause wire.Cause) {
	c.ids[e.ID], c.keys[cause.Correlation] = struct{}{}, struct{}{}
	c.wg.Go(func() {
		again := c.call(ctx, e, cause)
		c.mu.Lock()
		delete(c.ids, e.ID)
		delete(c.keys, cause.Correlation)
		c.ended[e.ID] = struct{}{}
		if !again.IsZero() {
			c.again[e.ID] = again
		}
		c.mu.Unlock()
		c.Wake()
	})
}

// call makes one call: intent first, then the call, then what is true only after
// it. It answers when it is to be called again, zero = not by this session.
func (c *Effects) call(ctx context.Context, e once.Effect, cause wire.Cause) (again time.Time) {
	def, known := c.gate.Effects[e.Name]
	log := c.s.Log.With("effect", e.Name, "key", e.Key, "correlation_id", cause.Correlation, "request", cause.Request)
	switch {
	case !known:
		log.Error("the group declares no such effect any more")
		return c.unsent(ctx, e, "the group declares no such effect any more", once.EffectUnknown)
	case e.State == once.EffectIntent && def.Unknown == consumer.Ask:
		log.Error("the outcome of the effect is unknown: a person decides")
		return c.unsent(ctx, e, "the process ended during the call", once.EffectUnknown)
	}
	if err := c.s.Owner.Intend(ctx, e.ID); err != nil {
		return c.unwritten(e, err)
	}
	err := attempt(ctx, e, def)
	switch {
	case err == nil:
		return c.complete(ctx, e, def, cause)
	case ctx.Err() != nil:
		return time.Time{} // stays an intent: what became of it is not known
	}
	reason := Bounded(fault.Redacted(err.Error(), nil)) // a mail server names whom it refuses
	var rejected *consumer.RejectError
	if errors.As(err, &rejected) || def.Unknown == consumer.Ask && errors.Is(err, context.DeadlineExceeded) {
		log.Error("the effect needs a person", "error", reason)
		return c.unsent(ctx, e, reason, once.EffectUnknown)
	}
	log.Warn("the effect failed, trying again with the same key", "attempt", e.Attempts+1, "error", reason)
	return c.unsent(ctx, e, reason, once.EffectPending)
}

// attempt makes the call, unless the effect looks up first whether it was made before.
func attempt(ctx context.Context, e once.Effect, def consumer.Effect) error {
	if def.Unknown == consumer.LookUp && e.Attempts > 0 { // promise: outside effects
		made := false
		err := timed(ctx, func(ctx context.Context) (err error) {
			made, err = def.Look(ctx, e.Key, e.Args)
			return err
		})
		if err != nil {
			return fmt.Errorf("looking up whether it was made: %w", err)
		}
		if made {
			return nil
		}
	}
	return timed(ctx, func(ctx context.Context) error { return def.Do(ctx, e.Key, e.Args) })
}

func timed(ctx context.Context, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, effectTimeout)
	defer cancel()
	return fault.Contained(func() error { return call(ctx) })
}

// unsent writes down that a call failed.
func (c *Effects) unsent(ctx context.Context, e once.Effect, msg string, state once.EffectState) (again time.Time) {
	result := measure.EffectFailed
	if state == once.EffectUnknown {
		result = measure.EffectUnknown
	}
	c.gate.Meters.Effect(ctx, e.Name, result)
	next := time.Now().Add(c.gate.Retry.Pause(e.Attempts + 1))
	if err := c.s.Owner.Failed(ctx, e.ID, next, Bounded(msg), state); err != nil {
		return c.unwritten(e, err)
	}
	if state == once.EffectUnknown {
		return time.Time{}
	}
	return next
}

// unwritten is a failure of the engine's own writing: the effect is looked at again.
func (c *Effects) unwritten(e once.Effect, err error) (again time.Time) {
	if fault.Ends(err) {
		c.s.End(err)
		return time.Time{}
	}
	c.s.Log.Warn("writing down where an effect stands", "effect", e.Name, "key", e.Key, "error", err)
	return time.Now().Add(c.gate.Retry.Pause(e.Attempts + 1))
}

// complete marks the effect as done together with what Done writes. The call is
// made and is not repeated for a failure here, as long as the session lives.
func (c *Effects) complete(ctx context.Context, e once.Effect, def consumer.Effect, cause wire.Cause) (again time.Time) {
	var left Left
	var done func(context.Context, once.Tx) error
	if def.Done != nil {
		done = func(ctx context.Context, tx once.Tx) error {
			left = Left{}
			return fault.Contained(func() error {
				return def.Done(ctx, c.gate.Tx(ctx, tx, cause, &left, false), e.Key, e.Args)
			})
		}
	}
	for failures := 1; ; failures++ {
		err := c.s.Owner.Complete(ctx, e.ID, done)
		switch {
		case err == nil:
			c.gate.Meters.Effect(ctx, e.Name, measure.EffectDone)
			if left.Facts > 0 {
				c.relay()
			}
			return time.Time{}
		case fault.Ends(err):
			return c.unwritten(e, err)
		case ctx.Err() != nil:
			return time.Time{}
		}
		away := fault.Classify(err).Away != ""
		c.s.Log.Warn("writing down that the effect is done", "effect", e.Name, "key", e.Key, "attempt", failures, "error", err)
		if !away && failures >= c.gate.Retry.Attempts {
			return c.unsent(ctx, e, fmt.Sprintf("called, but writing it down failed: %v", err), once.EffectUnknown)
		}
		fault.Sleep(ctx, c.gate.Retry.Pause(failures))
	}
}
