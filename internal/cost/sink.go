package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// spent is what a run took, from its first record to its end.
type spent struct {
	events int
	cpu    time.Duration // user and system, of this process
	wall   time.Duration
	mark   time.Duration // a figure's own time
}

// The units that figures are compared in.
func cpuPerEvent(s spent) float64 { return float64(s.cpu.Nanoseconds()) / float64(s.events) / 1000 }

func wallPerEvent(s spent) float64 { return float64(s.wall.Nanoseconds()) / float64(s.events) / 1000 }
func perSecond(s spent) float64    { return float64(s.events) / s.wall.Seconds() }
func perCPUSecond(s spent) float64 { return float64(s.events) / s.cpu.Seconds() }
func marked(s spent) float64       { return float64(s.mark.Nanoseconds()) / 1e6 }

// sink is where events end: what is counted here, and nothing else, was handled.
type sink struct {
	want    int64
	seen    []atomic.Uint64 // a bit per number
	count   atomic.Int64    // numbers that came
	again   atomic.Int64    // calls for a number that had come before
	strange atomic.Int64    // numbers that nobody fed
	full    chan struct{}
	first   sync.Once
	cpu     time.Duration
	start   time.Time
}

func newSink(want int) *sink {
	return &sink{want: int64(want), seen: make([]atomic.Uint64, want/64+1), full: make(chan struct{})}
}

// begin is called for each record; the first one starts the clocks, so that joining
// the group is not counted.
func (s *sink) begin() {
	s.first.Do(func() { s.cpu, s.start = cpuTime(), time.Now() })
}

func (s *sink) take(number int64) {
	if number < 0 || number >= s.want {
		s.strange.Add(1)
		return
	}
	bit := uint64(1) << (number % 64)
	if s.seen[number/64].Or(bit)&bit != 0 {
		s.again.Add(1)
		return
	}
	if s.count.Add(1) == s.want {
		close(s.full)
	}
}

// wait waits until all has come.
func (s *sink) wait(ctx context.Context) error {
	select {
	case <-s.full:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// end stops the clocks and holds what came against what was fed.
func (s *sink) end() (spent, error) {
	took := spent{events: int(s.want), cpu: cpuTime() - s.cpu, wall: time.Since(s.start)}
	if n, strange := s.count.Load(), s.strange.Load(); n != s.want || strange > 0 {
		return took, fmt.Errorf("the sink has %d events and %d strange ones, want %d and none", n, strange, s.want)
	}
	if again := s.again.Load(); again > s.want/50 { // a batch or two that was undone; more is other work than was asked for
		return took, fmt.Errorf("%d of %d events were handled again", again, s.want)
	}
	return took, nil
}

// cpuTime is what this process has used so far.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0 // only with a wrong argument
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
