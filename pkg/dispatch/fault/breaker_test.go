package fault_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/dispatch/fault"
	"github.com/eventspine/spine/pkg/wire"
)

var patient = fault.Retry{Base: time.Second, Max: 30 * time.Second}.WithDefaults()

func away(name string) *fault.Failure {
	f := fault.Classify(consumer.Unavailable(name, errors.New("no answer")))
	return &f
}

// try lets a task of a kind run, if it may.
func try(t *testing.T, bs *fault.Breakers, kind string, failed *fault.Failure) (wait time.Duration) {
	t.Helper()
	p, wait := bs.Enter(kind)
	if wait == 0 {
		p.Leave(failed)
	}
	return wait
}

func trip(t *testing.T, bs *fault.Breakers, kind string) {
	t.Helper()
	for range 3 {
		if wait := try(t, bs, kind, away("mail")); wait > 0 {
			t.Fatalf("held for %s before it tripped", wait)
		}
	}
}

func TestBreakers_oneProbe(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var opened, closed int
		bs := fault.NewBreakers(patient, func(c fault.Change) {
			if c.Open {
				opened++
			} else {
				closed++
			}
		})
		trip(t, bs, "a")
		if got := bs.Away(); got != "mail: mail is unavailable: no answer" {
			t.Errorf("away: %q", got)
		}
		if wait := try(t, bs, "b", nil); wait > 0 {
			t.Error("what doesn't need mail is held")
		}
		calls, begun := 0, time.Now()
		for time.Since(begun) < 10*time.Minute {
			p, wait := bs.Enter("a")
			if wait > 0 {
				fault.Sleep(t.Context(), wait)
				continue
			}
			if _, second := bs.Enter("a"); second == 0 {
				t.Fatal("two probe at the same time")
			}
			calls++
			p.Leave(away("mail"))
		}
		if calls < 20 || calls > 50 { // 15 to 31 s apart, but for the first few
			t.Errorf("%d probes in 10 minutes", calls)
		}
		for try(t, bs, "a", nil) > 0 {
			fault.Sleep(t.Context(), time.Second)
		}
		if opened != calls+1 || closed != 1 || bs.Away() != "" {
			t.Errorf("opened %d times, closed %d times, away: %q", opened, closed, bs.Away())
		}
	})
}

// What was held comes back in growing numbers, not at once; a failure among the first
// holds the rest again.
func TestBreakers_noHerd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bs := fault.NewBreakers(patient, nil)
		trip(t, bs, "a")
		fault.Sleep(t.Context(), time.Minute)
		if wait := try(t, bs, "a", nil); wait > 0 {
			t.Fatal("no probe after a minute")
		}
		for _, want := range []int{2, 4, 8, 16, 32, 64, 128, 256, 1000} {
			var in []fault.Pass
			for range 1000 {
				if p, wait := bs.Enter("a"); wait == 0 {
					in = append(in, p)
				}
			}
			if len(in) != want {
				t.Errorf("%d at the same time, want %d", len(in), want)
			}
			for _, p := range in {
				p.Leave(nil)
			}
		}
		trip(t, bs, "a")
		fault.Sleep(t.Context(), time.Minute)
		try(t, bs, "a", nil)
		if wait := try(t, bs, "a", away("mail")); wait > 0 {
			t.Fatal("held though it answered")
		}
		if wait := try(t, bs, "a", nil); wait == 0 {
			t.Error("the first failure after it came back doesn't hold the rest")
		}
	})
}

// Answers to what was asked before the dependency went away are old news, and what was
// cancelled or failed elsewhere says nothing.
func TestBreakers_whatCounts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bs := fault.NewBreakers(patient, nil)
		try(t, bs, "a", away("mail"))
		try(t, bs, "a", nil)
		early, _ := bs.Enter("a")
		other, _ := bs.Enter("a")
		trip(t, bs, "a")
		early.Leave(nil)
		other.Leave(away("mail"))
		if bs.Away() == "" {
			t.Error("an old answer closes the breaker")
		}
		fault.Sleep(t.Context(), time.Minute)
		late, registry := fault.Classify(context.DeadlineExceeded), fault.Classify(wire.ErrRegistryUnavailable)
		for name, f := range map[string]*fault.Failure{"registry": &registry, "another": away("erp")} {
			if wait := try(t, bs, "a", f); wait > 0 || bs.Away() == "" {
				t.Errorf("%s: held for %s, away %q", name, wait, bs.Away())
			}
		}
		p, wait := bs.Enter("a")
		p.Drop()
		if wait > 0 || bs.Away() == "" {
			t.Error("a probe that was cancelled says something")
		}
		if wait := try(t, bs, "a", &late); wait > 0 {
			t.Error("the place of a cancelled probe is lost")
		}
		if wait := try(t, bs, "a", nil); wait == 0 {
			t.Error("a probe without an answer in time closes the breaker")
		}
		fault.Sleep(t.Context(), time.Minute)
		rejected := fault.Classify(consumer.Reject("no"))
		if wait := try(t, bs, "a", &rejected); wait > 0 || bs.Away() != "" {
			t.Errorf("a handler that got its answer and rejects: held for %s, away %q", wait, bs.Away())
		}
		if wait := try(t, bs, "registered", &registry); wait > 0 {
			t.Error("held")
		}
		if wait := try(t, bs, "registered", nil); wait > 0 {
			t.Error("the registry holds what can be read without it")
		}
	})
}

// A handler that ignores its context is left behind, one that obeys is not.
func TestTimed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		never := make(chan struct{})
		begun := time.Now()
		err := fault.Timed(t.Context(), 10*time.Second, func(context.Context) error { <-never; return nil })
		var left *fault.LeftError
		if f := fault.Classify(err); !errors.As(err, &left) || !f.Late || f.Class != fault.Transient || time.Since(begun) != 11*time.Second {
			t.Errorf("after %s: %v, %+v", time.Since(begun), err, f)
		}
		close(never)
		err = fault.Timed(t.Context(), time.Second, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		if f := fault.Classify(err); !f.Late {
			t.Errorf("%v, %+v", err, f)
		}
		if err := fault.Timed(t.Context(), time.Second, func(context.Context) error { return nil }); err != nil {
			t.Error(err)
		}
	})
}
