package fault_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventspine/spine/pkg/dispatch/fault"
)

// Several calls in a row: who fails or panics stops nobody, who ends the goroutine or
// runs into the deadline is the last, and the time for all is a time for beginning.
func TestTimedEach(t *testing.T) {
	t.Parallel()
	errBad := errors.New("bad")
	for name, c := range map[string]struct {
		all  time.Duration
		do   func(ctx context.Context, i int) error
		want []string // "ok", or what the error is
		took time.Duration
	}{
		"all well":     {do: func(context.Context, int) error { return nil }, want: []string{"ok", "ok", "ok"}},
		"one fails":    {do: of(1, func(context.Context) error { return errBad }), want: []string{"ok", "bad", "ok"}},
		"one panics":   {do: of(1, func(context.Context) error { panic("boom") }), want: []string{"ok", "panic", "ok"}},
		"one ends it":  {do: of(1, func(context.Context) error { runtime.Goexit(); return nil }), want: []string{"ok", "panic"}},
		"one is late":  {do: of(1, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }), want: []string{"ok", "late"}, took: time.Second},
		"one is left":  {want: []string{"ok", "left"}, took: 2 * time.Second},
		"no time left": {all: 5 * time.Millisecond, do: func(context.Context, int) error { <-time.After(3 * time.Millisecond); return nil }, want: []string{"ok", "ok"}, took: 6 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if name == "one is left" { // a goroutine that never ends is none for a bubble
				never := make(chan struct{})
				c.do = of(1, func(context.Context) error { <-never; return nil })
				synctest.Test(t, func(t *testing.T) {
					never = make(chan struct{})
					defer close(never)
					each(t, c.all, c.do, errBad, c.want, c.took)
				})
				return
			}
			synctest.Test(t, func(t *testing.T) { each(t, c.all, c.do, errBad, c.want, c.took) })
		})
	}
}

// of does something for call n alone.
func of(n int, fn func(context.Context) error) func(context.Context, int) error {
	return func(ctx context.Context, i int) error {
		if i != n {
			return nil
		}
		return fn(ctx)
	}
}

func each(t *testing.T, all time.Duration, do func(context.Context, int) error, bad error, want []string, took time.Duration) {
	t.Helper()
	begun := time.Now()
	errs := fault.TimedEach(t.Context(), fault.Limits{Call: time.Second, All: all}, 3, do)
	if d := time.Since(begun); d != took {
		t.Errorf("it took %s, want %s", d, took)
	}
	var got []string
	for _, err := range errs {
		var thrown *fault.PanicError
		var left *fault.LeftError
		switch {
		case err == nil:
			got = append(got, "ok")
		case errors.Is(err, bad):
			got = append(got, "bad")
		case errors.As(err, &thrown):
			got = append(got, "panic")
		case errors.As(err, &left):
			got = append(got, "left")
		case errors.Is(err, context.DeadlineExceeded):
			got = append(got, "late")
		}
	}
	if len(got) != len(want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("got %v, want %v", got, want)
		}
	}
}
