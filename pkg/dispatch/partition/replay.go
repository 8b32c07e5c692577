package partition

import (
	"context"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/bus"
	"github.com/eventspine/spine/pkg/dispatch/again"
	"github.com/eventspine/spine/pkg/dispatch/leaving"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/once"
)

// crowded is how many live records may wait for their lanes while a replay goes on:
// live ones go first.
const crowded = 256

// feeder makes the feeder of the session's replays.
func (s *Session) feeder() *again.Feeder {
	return again.New(again.Session{
		Owner: s.owner, Slots: s.g.Replays, Look: s.g.Look, Retry: s.g.Retry, End: s.End, Out: s.relay.Wake, Log: s.log,
		Reader: func(from int64) (*bus.Reader, error) { return bus.NewReader(s.g.Kafka, s.lease.Partition, from) },
		Head: func(rec *kgo.Record) (event.Event, error, bool) {
			e, err := s.g.Plan.Head(rec)
			_, handles := s.g.Plan.Kind(e.Type)
			return e, err, handles
		},
		ID:   func(rec *kgo.Record, e event.Event) string { return (&task{rec: rec, event: e}).id() },
		Room: s.room,
		Feed: s.feedAgain,
	})
}

// room is the stored next_offset, and whether live records leave room for others.
func (s *Session) room() (below int64, free bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stored, s.phase == active && !s.stuck && s.queued <= crowded
}

// feedAgain puts records of a replay into the lanes of their keys, so that a key is one
// task at a time. Their turn comes after all that is live.
func (s *Session) feedAgain(records []*again.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase != active {
		return
	}
	for _, r := range records {
		kind, _ := s.g.Plan.Kind(r.Event.Type)
		t := &task{mode: once.Replay, rec: r.Record, event: r.Event, bad: r.Bad, kind: kind, replay: r, number: s.g.Ready.Late()}
		l := s.lane(r.Key)
		l.again = append(l.again, t)
		s.schedule(l)
	}
}

// bury stores a record that failed in a replay where it holds nothing: it is below
// next_offset, and the live key goes on.
func (s *Session) bury(ctx context.Context, l *lane, t *task) outcome {
	row := *t.row
	row.EventID, row.Record, row.Silent = t.id(), leaving.Kept(t.rec), t.event.Replay
	var copies []once.Outgoing
	if row.State == once.Dead {
		copies = append(copies, s.g.Gate.DeadCopy(row)) // promise: bad input; the copy leaves with this transaction
	}
	if err := s.owner.Bury(ctx, row, copies); err != nil {
		return s.storeError(ctx, t, err)
	}
	s.g.Room.Grow(leaving.Size(t.rec))
	s.moved(ctx, l, t, row, 0)
	return outcome{what: again.Failed}
}
