package main_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"syscall"
	"time"
)

// striker makes faults happen. Several go on at a time, one on each process and link,
// and one on the brokers: a cluster of three stands one that is away.
type striker struct {
	*fleet
	log   io.Writer
	locks map[string]*sync.Mutex // of parts

	all sync.WaitGroup
	mu  sync.Mutex
	// done counts the faults that happened and healed; wrong is what no fault explains.
	done  int
	kinds map[string]int
	wrong []string
}

func newStriker(f *fleet, log io.Writer) *striker {
	locks := map[string]*sync.Mutex{"kafka": {}, "registry": {}, "postgres": {}}
	return &striker{fleet: f, log: log, locks: locks, kinds: map[string]int{}}
}

// run inflicts faults at their times until ctx ends or there are no more.
func (s *striker) run(ctx context.Context, begun time.Time, faults func(func(fault) bool)) {
	for f := range faults {
		if !nap(ctx, time.Until(begun.Add(f.At))) {
			break
		}
		fmt.Fprintln(s.log, f)
		s.all.Go(func() {
			err := s.inflict(ctx, f)
			if err != nil {
				s.blame(fmt.Sprintf("%s: %v", f, err))
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			s.done++
			s.kinds[f.Kind]++
		})
	}
}

// blame notes what no fault explains, at most 50 times.
func (s *striker) blame(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.wrong) < 50 {
		s.wrong = append(s.wrong, time.Now().UTC().Format(time.TimeOnly)+" "+what)
	}
}

func (s *striker) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.done
}

// nap is false if ctx ended before it was over.
func nap(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

func (s *striker) inflict(ctx context.Context, f fault) error {
	name, part, isLink := strings.Cut(f.On, "/")
	switch f.Kind {
	case "roll":
		s.roll(ctx)
		return nil
	case "rewind":
		return s.rewind(ctx, f.On)
	case "crash", "pause":
		return s.onPart(ctx, f)
	}
	m, err := s.member(name)
	if err != nil {
		return err
	}
	if isLink {
		return m.trouble(ctx, f, part)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch f.Kind {
	case "kill":
		err := m.strike()
		nap(ctx, f.For)
		if again := m.rise(); err == nil {
			err = again
		}
		return err
	case "freeze", "coma":
		if err := m.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			return err
		}
		nap(ctx, f.For)
		return m.cmd.Process.Signal(syscall.SIGCONT)
	}
	return fmt.Errorf("there is no fault %q of a process", f.Kind)
}

// onPart kills or freezes a part. One broker at a time: two keep what is acknowledged.
func (s *striker) onPart(ctx context.Context, f fault) error {
	lock := s.locks[strings.TrimRight(f.On, "123")]
	if lock == nil {
		return fmt.Errorf("there is no part %q", f.On)
	}
	lock.Lock()
	defer lock.Unlock()
	if f.Kind == "crash" {
		if err := s.parts.do("kill", f.On); err != nil {
			return err
		}
		nap(ctx, f.For)
		return s.parts.rise(f.On)
	}
	if err := s.parts.do("pause", f.On); err != nil {
		return err
	}
	nap(ctx, f.For)
	return s.parts.do("resume", f.On)
}

// rewind sets a group back, with the command that an operator has: what it has
// handled comes again. Where a part is away the command fails, and is tried again.
func (s *striker) rewind(ctx context.Context, group string) error {
	err := waitFor(ctx, 2*time.Minute, func(ctx context.Context) error {
		if _, said, code := s.command(ctx, "groups", "reset", group, "--to=-100", "--execute"); code != 0 {
			return fmt.Errorf("spine groups reset: exit code %d: %s", code, said)
		}
		return nil
	})
	if ctx.Err() == nil { // else it is not wanted any more
		return err
	}
	return nil
}

// roll deploys: every process is asked to end and started again, one after the other.
func (s *striker) roll(ctx context.Context) {
	for _, m := range s.members {
		if ctx.Err() != nil {
			return
		}
		if err := m.deploy(ctx); err != nil {
			s.blame("deploying: " + err.Error())
		}
	}
}

func (m *member) deploy(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.awake(ctx)
	err := m.ask(40 * time.Second)
	if again := m.rise(); err == nil {
		err = again
	}
	if ctx.Err() == nil { // the next one goes when this one is back, or soon
		soon, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		_ = waitFor(soon, 5*time.Second, ready(m.ops))
	}
	return err
}

// awake waits until a process that was started a moment ago answers: before its first
// lines have run, SIGTERM ends it as it ends every program, and nothing has begun yet.
func (m *member) awake(ctx context.Context) {
	_ = waitFor(ctx, 10*time.Second, func(ctx context.Context) error {
		_, err := readyz(ctx, m.ops)
		return err
	})
}

// trouble is a fault of the way between a process and a part.
func (m *member) trouble(ctx context.Context, f fault, part string) error {
	l := m.links[part]
	if l == nil {
		return fmt.Errorf("%s has no link to %q", m.name, part)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var heal func() error
	var err error
	switch f.Kind {
	case "cut":
		heal, err = l.cut()
	case "stall":
		heal, err = l.poison(`{"type":"timeout","stream":"downstream","attributes":{"timeout":0}}`)
	case "deafen":
		heal, err = l.poison(`{"type":"timeout","stream":"upstream","attributes":{"timeout":0}}`)
	case "delay":
		heal, err = l.poison(`{"type":"latency","stream":"downstream","attributes":{"latency":250,"jitter":150}}`)
	case "tear":
		heal, err = l.poison(`{"type":"limit_data","stream":"downstream","attributes":{"bytes":40000}}`)
	default:
		return fmt.Errorf("there is no fault %q of a link", f.Kind)
	}
	if err != nil {
		return err
	}
	nap(ctx, f.For)
	return heal()
}
