package partition

import (
	"context"
	"errors"
	"time"

	"github.com/eventspine/spine/pkg/dispatch/fault"
	"github.com/eventspine/spine/pkg/dispatch/leaving"
	"github.com/eventspine/spine/pkg/once"
)

// Limits of how many waiting rows stand in lanes: beyond them no more are looked for
// until half of them are done.
const maxRows = 512

// jam pauses the partition while its outgoing records can't leave.
func (s *Session) jam(stuck bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stuck != stuck {
		s.stuck = stuck
		s.throttle()
	}
}

// measure looks how full the waiting room is, and pauses or resumes the partition.
func (s *Session) measure(ctx context.Context) {
	if err := s.g.Room.Measure(ctx); err != nil && ctx.Err() == nil {
		s.g.Outages.Begin(fault.Database, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.throttle()
}

// watch looks for waiting rows that are due, for requests and at the epoch, also when
// idle: a person who asks and a store that was restored announce themselves in no
// other way.
func (s *Session) watch(ctx context.Context) {
	var checked time.Time
	for ctx.Err() == nil {
		if time.Since(checked) >= s.g.Look {
			checked = time.Now()
			if err := s.owner.Check(ctx); fault.Ends(err) { // promise: fenced
				s.End(err)
				return
			} else if err != nil && ctx.Err() == nil {
				s.g.Outages.Begin(fault.Database, err)
			}
			s.measure(ctx)
			if err := s.serve(ctx); fault.Ends(err) {
				s.End(err)
				return
			} else if err != nil && ctx.Err() == nil {
				s.log.Warn("carrying out requests", "error", err)
			}
		}
		if err := s.look(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("looking for waiting rows", "error", err)
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

func (s *Session) lookAt(at time.Time) {
	s.mu.Lock()
	if s.due.IsZero() || at.Before(s.due) {
		s.due = at
	}
	s.mu.Unlock()
	poke(s.wakeLook)
}

func (s *Session) nextLook() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	wait := s.g.Look
	if !s.due.IsZero() && s.phase == active { // else nothing is looked for, and what is due stays due
		wait = min(wait, max(time.Until(s.due), 0))
	}
	return wait
}

// serve carries out what people have asked for beside the process, until nothing is
// left that can be. A row that stands in a lane has its turn first; only look, which
// follows, and the row before it put rows there.
func (s *Session) serve(ctx context.Context) error {
	for {
		served, err := s.owner.Serve(ctx, func(row int64) bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			_, busy := s.rows[row]
			return busy || s.phase != active
		})
		for _, r := range served {
			s.log.Info("carried out a request", "request_id", r.ID, "kind", r.Kind, string(r.Target), r.RowID, "result", r.Result)
			s.effects.Wake() // it may be about one
		}
		if err != nil || len(served) == 0 {
			return err
		}
	}
}

// look puts the waiting rows that are due into their lanes, as many as there is room
// for. Where more are due, settle asks for the next look as soon as there is room.
func (s *Session) look(ctx context.Context) error {
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
	s.mu.Unlock()
	rows, err := s.owner.Heads(ctx, now, maxRows) // those in lanes among them
	s.mu.Lock()
	defer s.mu.Unlock()
	settled := s.settled
	s.settled = nil
	if err != nil {
		return err
	}
	s.more = len(rows) == maxRows
	for _, row := range rows {
		_, stale := settled[row.ID] // what was read of it is from before
		if _, busy := s.rows[row.ID]; busy || stale {
			continue
		}
		s.revive(row)
	}
	return nil
}

// succeed puts the row that follows in its key into the lane, without a look. The lane
// is at work: nobody else can have had that row since it was read.
func (s *Session) succeed(row once.Row) {
	if row.NextAt.After(time.Now()) {
		s.lookAt(row.NextAt)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, busy := s.rows[row.ID]; !busy && s.phase == active {
		s.revive(row)
	}
}

// revive makes a task of a waiting row. s.mu is held.
func (s *Session) revive(row once.Row) {
	rec := leaving.Kafka(row.Record)
	t := &task{mode: once.Waiting, rec: rec, row: &row}
	t.event, t.bad = s.g.Plan.Head(rec)
	t.event.Replay = row.Silent // promise: outside effects; suppressed in replay
	k, handled := s.g.Plan.Kind(t.event.Type)
	t.kind = k
	if t.bad == nil && !handled {
		t.bad = &fault.UndecodableError{Err: errors.New("the group doesn't handle this fact any more")}
	}
	l := s.lane(rec.Key)
	if row.Holds && l.keyed {
		s.held[l.id] = struct{}{}
	}
	s.rows[row.ID] = struct{}{}
	t.number = s.g.Ready.Soon()
	if l.heads = append(l.heads, t); l.taken {
		s.g.Ready.hurry(l, t.number)
	}
	s.schedule(l)
}
