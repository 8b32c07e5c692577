package dispatch

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/once"
)

const (
	relayBatch = 500
	relayLook  = 15 * time.Second // without being woken
	relaySlow  = 10 * time.Second // an acknowledgement that takes longer is an outage
)

// relay publishes what the transactions of this partition left behind: in order,
// read from the table and not from a lane's memory, left-overs of former owners
// before anything new (promise: in order). One batch is on its way at a time.
func (s *session) relay(ctx context.Context) {
	defer close(s.relayDone)
	failures := 0
	for ctx.Err() == nil {
		n, err := s.relayOnce(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case fenced(err):
			s.finish(err)
			return
		case err != nil:
			failures++
			s.jam(true)
			s.r.log.Warn("publishing what is outgoing", "topic", s.lease.Topic, "partition", s.lease.ID, "error", err)
			sleep(ctx, s.r.o.Retry.pause(failures))
			continue
		}
		failures = 0
		s.jam(false)
		if n > 0 {
			continue
		}
		idle := time.NewTimer(relayLook)
		select {
		case <-ctx.Done():
		case <-s.wakeRelay:
		case <-idle.C:
		case <-s.closeRelay: // all transactions are over, and the table is empty
			idle.Stop()
			if n, err := s.relayOnce(ctx); n == 0 && err == nil {
				return
			}
		}
		idle.Stop()
	}
}

// relayOnce publishes the lowest outgoing rows and removes those that are
// acknowledged. A crash between the two publishes them again under the same ids.
func (s *session) relayOnce(ctx context.Context) (int, error) {
	rows, err := s.owner.Outgoing(ctx, relayBatch)
	if err != nil || len(rows) == 0 {
		return 0, err
	}
	records := make([]*kgo.Record, len(rows))
	for i, row := range rows {
		records[i] = kafka(row.Record)
		records[i].Timestamp = time.Time{} // Kafka's timestamp is the time of publishing
	}
	slow := time.AfterFunc(relaySlow, func() { s.r.outages.begin(broker, errors.New("no acknowledgement yet")) })
	errs := s.r.producer.Send(ctx, records)
	slow.Stop()
	var acked []int64
	var failed error
	for i, err := range errs {
		if err != nil && failed == nil {
			failed = err
		}
		if err == nil {
			acked = append(acked, rows[i].ID)
			s.r.m.publish(rows[i].Kind)
		}
	}
	if failed == nil {
		s.r.outages.over(broker)
	}
	if len(acked) > 0 {
		if err := s.owner.Remove(ctx, acked); err != nil { // promise: fenced; the number may be another row's after a restore
			return 0, err
		}
	}
	if failed != nil {
		s.r.outages.begin(broker, failed)
		return 0, failed
	}
	return len(rows), nil
}

// jam pauses the partition while its outgoing records can't leave.
func (s *session) jam(stuck bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stuck != stuck {
		s.stuck = stuck
		s.throttle()
	}
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// watch looks for waiting rows that are due and at the epoch, also when idle: a
// redriven row and a store that was restored announce themselves in no other way.
func (s *session) watch(ctx context.Context) {
	var checked time.Time
	for ctx.Err() == nil {
		if time.Since(checked) >= s.r.o.Look {
			checked = time.Now()
			if err := s.owner.Check(ctx); fenced(err) { // promise: fenced
				s.finish(err)
				return
			} else if err != nil && ctx.Err() == nil {
				s.r.outages.begin(database, err)
			}
		}
		if err := s.look(ctx); err != nil && ctx.Err() == nil {
			s.r.log.Warn("looking for waiting rows", "topic", s.lease.Topic, "partition", s.lease.ID, "error", err)
		}
		timer := time.NewTimer(s.nextLook())
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-s.wakeLook:
		}
		timer.Stop()
	}
}

func (s *session) lookAt(at time.Time) {
	s.mu.Lock()
	if s.due.IsZero() || at.Before(s.due) {
		s.due = at
	}
	s.mu.Unlock()
	poke(s.wakeLook)
}

func (s *session) nextLook() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	wait := s.r.o.Look
	if !s.due.IsZero() {
		wait = min(wait, max(time.Until(s.due), 0))
	}
	return wait
}

// look puts the waiting rows that are due into their lanes.
func (s *session) look(ctx context.Context) error {
	now := time.Now()
	s.mu.Lock()
	if s.phase != active {
		s.mu.Unlock()
		return nil
	}
	if !s.due.IsZero() && !s.due.After(now) {
		s.due = time.Time{}
	}
	s.settled = map[int64]struct{}{}
	limit := len(s.rows) + 128
	s.mu.Unlock()
	rows, err := s.owner.Heads(ctx, now, limit)
	s.mu.Lock()
	defer s.mu.Unlock()
	settled := s.settled
	s.settled = nil
	if err != nil {
		return err
	}
	for _, row := range rows {
		_, stale := settled[row.ID] // what was read of it is from before
		if _, busy := s.rows[row.ID]; busy || stale {
			continue
		}
		s.revive(row)
	}
	return nil
}

// revive makes a task of a waiting row. s.mu is held.
func (s *session) revive(row once.Row) {
	rec := kafka(row.Record)
	t := &task{mode: once.Waiting, rec: rec, row: row}
	t.event, t.bad = s.r.head(rec)
	k, handled := s.r.plan[t.event.Type]
	t.kind = k
	if t.bad == nil && !handled {
		t.bad = &undecodableError{errors.New("the group doesn't handle this fact any more")}
	}
	l := s.lane(rec.Key)
	if row.Holds && l.keyed {
		s.held[l.id] = struct{}{}
	}
	s.rows[row.ID] = struct{}{}
	l.heads = append(l.heads, t)
	s.schedule(l)
}
