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
	"github.com/eventspine/spine/pkg/dispatch/offsets"
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

// Pitfall: one of the ways in which memory fills does not count, or a partition that
// is paused is resumed before there is room, or never.
func TestThrottle(t *testing.T) {
	t.Parallel()
	members, err := bus.NewGroup(bus.Config{Brokers: []string{"127.0.0.1:1"}}, bus.GroupOptions{Name: "g", Topics: []string{"t"}})
	if err != nil {
		t.Fatal(err)
	}
	defer members.Close(t.Context())
	for name, fill := range map[string]func(s *Session, share int){
		"records": func(s *Session, share int) { s.queued = maxQueued * share / 4 },
		"bytes":   func(s *Session, share int) { s.bytes = maxQueuedBytes * share / 4 },
		"open offsets": func(s *Session, share int) {
			s.track = offsets.Tracker{}
			for offset := range int64(maxOpen * share / 4) {
				s.track.Deliver(offset, time.Time{})
			}
		},
		"outgoing": func(s *Session, share int) { s.stuck = share > 2 },
	} {
		s := &Session{g: &Engine{Members: members}}
		for _, c := range []struct {
			share  int
			paused bool
		}{{2, false}, {4, true}, {2, false}, {4, true}} {
			fill(s, c.share)
			if s.throttle(); s.paused != c.paused {
				t.Errorf("%s at %d quarters: paused %t, want %t", name, c.share, s.paused, c.paused)
			}
		}
		if fill(s, 3); name != "outgoing" {
			if s.throttle(); !s.paused {
				t.Errorf("%s at 3 quarters: resumed before there is room", name)
			}
		}
	}
}

// Pitfall: the broker is back, records come, and readiness goes on naming it.
func TestOutage_endsWithTheNextBatch(t *testing.T) {
	t.Parallel()
	outages := fault.NewOutages(time.Minute)
	s := &Session{g: &Engine{Outages: outages}, log: slog.New(slog.DiscardHandler)}
	s.feed(t.Context(), bus.Batch{Err: errors.New("no leader at the moment")})
	if outages.Reason() == "" {
		t.Error("nobody is told")
	}
	s.feed(t.Context(), bus.Batch{End: 7})
	if why := outages.Reason(); why != "" {
		t.Errorf("still said after the broker has answered: %s", why)
	}
}

// Pitfall: a row is due while the partition is handed back. Nobody looks for it any
// more, so it stays due, and the watch runs in circles until the drain is over.
func TestWatch_restsWhileDraining(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		phase phase
		want  time.Duration
	}{{active, 0}, {draining, time.Second}, {over, time.Second}} {
		s := &Session{g: &Engine{Look: time.Second}, phase: c.phase, due: time.Now().Add(-time.Minute)}
		if got := s.nextLook(); got != c.want {
			t.Errorf("phase %d: the next look is in %v, want %v", c.phase, got, c.want)
		}
	}
}
