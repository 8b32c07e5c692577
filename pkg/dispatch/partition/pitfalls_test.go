package partition

import (
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/bus"
	"github.com/eventspine/spine/pkg/dispatch/fault"
)

// Pitfall: a batch that can't be unpacked ends the reading of its partition, the
// client says so once, and soon nobody remembers it.
func TestBroken_staysBroken(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err   error
		stays bool
	}{
		"out of range":        {&bus.RangeError{Want: 2, Start: 5, End: 9}, true},
		"unpacks to too much": {fmt.Errorf("unable to decompress: %w", &kgo.ErrDecompressTooLarge{Topic: "t", Offset: 1, NextOffset: 2}), true},
		"no leader":           {errors.New("no leader at the moment"), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				outages := fault.NewOutages(time.Minute)
				s := &Session{g: &Engine{Outages: outages}, log: slog.New(slog.DiscardHandler)}
				s.feed(t.Context(), bus.Batch{Err: c.err})
				said := func() bool { return s.Broken() != nil || outages.Reason() != "" }
				if !said() {
					t.Error("nobody is told")
				}
				fault.Sleep(t.Context(), time.Hour)
				if said() != c.stays {
					t.Errorf("after an hour it is said: %t, want %t", said(), c.stays)
				}
			})
		})
	}
}
