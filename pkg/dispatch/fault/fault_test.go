package fault_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/dispatch/fault"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/wire"
)

func TestClassify(t *testing.T) {
	t.Parallel()
	plain, at := errors.New("plain"), time.Unix(99, 0)
	for name, c := range map[string]struct {
		err  error
		want fault.Failure
	}{
		"plain":            {plain, fault.Failure{Class: fault.Transient, Reason: "plain"}},
		"cancelled":        {context.Canceled, fault.Failure{Class: fault.Transient, Reason: "context canceled"}},
		"fenced":           {once.ErrFenced, fault.Failure{Class: fault.Fenced, Reason: once.ErrFenced.Error()}},
		"unknown outcome":  {once.ErrOutcomeUnknown, fault.Failure{Class: fault.Fenced, Reason: once.ErrOutcomeUnknown.Error()}},
		"database":         {once.ErrUnavailable, fault.Failure{Class: fault.Transient, Reason: once.ErrUnavailable.Error(), Away: "database"}},
		"registry":         {wire.ErrRegistryUnavailable, fault.Failure{Class: fault.Transient, Reason: wire.ErrRegistryUnavailable.Error(), Away: "registry"}},
		"dependency":       {consumer.Unavailable("mail", plain), fault.Failure{Class: fault.Transient, Reason: "mail is unavailable: plain", Away: "mail"}},
		"rejected":         {consumer.Reject("no"), fault.Failure{Class: fault.Rejected, Reason: "no", Permanent: true}},
		"later":            {consumer.Later(at, "soon"), fault.Failure{Class: fault.Later, Reason: "soon", At: at}},
		"bad record":       {&wire.BadRecordError{Code: "x", Err: plain}, fault.Failure{Class: fault.Undecodable, Reason: "x: plain", Permanent: true}},
		"no upcast":        {&fault.UndecodableError{Err: plain}, fault.Failure{Class: fault.Undecodable, Reason: "plain", Permanent: true}},
		"panic":            {fault.Contained(func() error { panic("p") }), fault.Failure{Class: fault.Panicked, Reason: "panic: p"}},
		"panic in decoder": {fault.Recovered(func() error { panic("p") }), fault.Failure{Class: fault.Panicked, Reason: "panic: p"}},
	} {
		got := fault.Classify(c.err)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		wrapped := fault.Classify(fmt.Errorf("handling: %w", c.err))
		if wrapped.Class != c.want.Class || wrapped.Away != c.want.Away || wrapped.Permanent != c.want.Permanent {
			t.Errorf("%s, wrapped: %+v", name, wrapped)
		}
	}
}

// A database that is away while a handler rejects is the database's fault.
func TestClassify_awayComesFirst(t *testing.T) {
	t.Parallel()
	f := fault.Classify(errors.Join(consumer.Reject("no"), once.ErrUnavailable))
	if f.Away != fault.Database || f.Permanent {
		t.Errorf("got %+v", f)
	}
}

func TestContained(t *testing.T) {
	t.Parallel()
	if err := fault.Contained(func() error { runtime.Goexit(); return nil }); fault.Classify(err).Class != fault.Panicked {
		t.Errorf("Goexit answers %v", err)
	}
	if err := fault.Contained(func() error { return nil }); err != nil {
		t.Error(err)
	}
}

// Full jitter: the pauses are spread from nothing to the doubled ceiling, never
// beyond the longest.
func TestPause(t *testing.T) {
	t.Parallel()
	p := fault.Retry{Base: 100 * time.Millisecond, Max: time.Second}
	for failures, ms := range map[int]int{1: 100, 2: 200, 3: 400, 4: 800, 5: 1000, 60: 1000} {
		ceiling := time.Duration(ms) * time.Millisecond
		var below, above int
		for range 2000 {
			pause := p.Pause(failures)
			if pause <= 0 || pause > ceiling+time.Millisecond {
				t.Fatalf("after %d failures: %s", failures, pause)
			}
			if pause < ceiling/2 {
				below++
			} else {
				above++
			}
		}
		if below < 800 || above < 800 {
			t.Errorf("after %d failures: %d below and %d above the middle", failures, below, above)
		}
	}
}

func TestOutages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := fault.NewOutages(time.Minute)
		o.Begin(fault.Registry, errors.New("no answer"))
		o.Begin("mail", errors.New("a handler's dependency is not ours"))
		if got := o.Reason(); got != "registry: no answer" {
			t.Errorf("got %q", got)
		}
		fault.Sleep(t.Context(), 2*time.Minute)
		if got := o.Reason(); got != "" {
			t.Errorf("after a while: %q", got)
		}
		o.Begin(fault.Database, errors.New("gone"))
		o.Over(fault.Database)
		if got := o.Reason(); got != "" {
			t.Errorf("after it came back: %q", got)
		}
	})
}
