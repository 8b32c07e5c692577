package main

import (
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
	mark   time.Duration // a figure's own time, from the first record
}

func (s spent) cpuPerEvent() float64 { return float64(s.cpu.Nanoseconds()) / float64(s.events) / 1000 }

func (s spent) rate() float64 { return float64(s.events) / s.wall.Seconds() }

// sink is where events end: what is counted here, and nothing else, was handled.
type sink struct {
	want  int64
	count atomic.Int64
	sum   atomic.Int64
	full  chan struct{}
	first sync.Once
	cpu   time.Duration
	start time.Time
}

func newSink(want int) *sink { return &sink{want: int64(want), full: make(chan struct{})} }

// begin is called for each record; the first one starts the clocks, so that joining
// the group is not counted.
func (s *sink) begin() {
	s.first.Do(func() { s.cpu, s.start = cpuTime(), time.Now() })
}

func (s *sink) take(number int64) {
	s.sum.Add(number)
	if s.count.Add(1) == s.want {
		close(s.full)
	}
}

// end stops the clocks and holds count and checksum against what was fed.
func (s *sink) end(f *feed) (spent, error) {
	took := spent{events: f.n, cpu: cpuTime() - s.cpu, wall: time.Since(s.start)}
	if n, sum := s.count.Load(), s.sum.Load(); n != int64(f.n) || sum != f.sum {
		return took, fmt.Errorf("the sink has %d events with checksum %d, want %d with %d", n, sum, f.n, f.sum)
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
