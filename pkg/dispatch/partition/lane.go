package partition

import (
	"context"
	"strconv"
	"time"

	"github.com/eventspine/spine/pkg/dispatch/again"
	"github.com/eventspine/spine/pkg/dispatch/fault"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/once"

	"github.com/twmb/franz-go/pkg/kgo"
)

// lane is the order of one key: one task at a time (promise: in order). A null key
// has no order: each of its records is a lane of its own.
type lane struct {
	s     *Session
	id    string // key bytes; "" with keyed false = null key
	keyed bool
	heads []*task // waiting rows that are due: one, where the key is held
	queue []*task // live records, as they came
	again []*task // records of a replay, after what is live
	taken bool    // in the queue of ready lanes, or at work
	turn  uint64  // while taken: the number of its next task
	timer *time.Timer
}

// task is one record on its way through a lane.
type task struct {
	mode      once.Mode
	kind      kind
	rec       *kgo.Record
	event     event.Event
	bad       error // why the headers can't be read
	size      int
	replay    *again.Record // nil = of no replay
	row       once.Row      // the row it came from (Waiting), and the account of its failures
	failing   bool          // asleep in memory after a failure of its own
	decided   bool          // row is to be written before anything else
	tries     int           // without counting as attempts
	pass      fault.Pass    // of the dependencies that the handler needs
	notBefore time.Time     // asleep until
	number    uint64        // in the order of arrival; 0 = not given yet
}

// id is the inbox key of the record. One without an id is only itself.
func (t *task) id() string {
	if t.event.ID != "" {
		return t.event.ID
	}
	return t.rec.Topic + "/" + strconv.Itoa(int(t.rec.Partition)) + "/" + strconv.FormatInt(t.rec.Offset, 10)
}

// lane finds the lane of a key. s.mu is held.
func (s *Session) lane(key []byte) *lane {
	if key == nil {
		return &lane{s: s}
	}
	l := s.lanes[string(key)]
	if l == nil {
		l = &lane{s: s, id: string(key), keyed: true}
		s.lanes[l.id] = l
	}
	return l
}

// size is how many bytes the first n live records of a lane have.
func (l *lane) size(n int) (bytes int) {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	for _, t := range l.queue[:n] {
		bytes += t.size
	}
	return bytes
}

// next is the task that a lane is to do now, or how long it has to wait for one;
// below 0 = there is none.
func (l *lane) next(now time.Time) (t *task, wait time.Duration) {
	wait = -1
	for _, line := range [3][]*task{l.heads, l.queue, l.again} {
		if len(line) == 0 {
			continue
		}
		left := line[0].notBefore.Sub(now)
		if left <= 0 {
			return line[0], 0
		}
		if wait < 0 || left < wait {
			wait = left
		}
	}
	return nil, wait
}

// schedule puts a lane that has something to do among the ready ones, or sets a
// timer. s.mu is held.
func (s *Session) schedule(l *lane) {
	if l.taken || s.phase != active {
		return
	}
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	t, wait := l.next(time.Now())
	switch {
	case t != nil:
		if t.number == 0 { // a waiting row: its turn comes when it is due
			t.number = s.g.Ready.number()
		}
		l.taken, l.turn = true, t.number
		s.g.Ready.push(l)
	case wait >= 0: // the worker is free, the lane sleeps: other keys go on
		l.timer = time.AfterFunc(wait, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.schedule(l)
		})
	case l.keyed:
		delete(s.lanes, l.id)
	}
}

// step does one task of a lane. The lane goes back into the queue after each, so that
// records which came earlier go first, whatever their key.
func (s *Session) step(ctx context.Context, l *lane) {
	t, ctx, cancel := s.begin(ctx, l)
	if t == nil {
		return
	}
	o := s.perform(ctx, l, t)
	cancel(nil)
	s.settle(l, t, o)
}

func (s *Session) begin(ctx context.Context, l *lane) (*task, context.Context, context.CancelCauseFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, _ := l.next(time.Now())
	if s.phase != active || t == nil { // queued but not begun: left to the next owner
		l.taken = false
		s.schedule(l)
		return nil, nil, nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	s.running[l] = cancel
	t.failing = false
	return t, ctx, cancel
}

// outcome is what became of a task.
type outcome struct {
	done  int           // so many live records of the lane are acknowledged
	again time.Duration // > 0: the same task again, then
	lost  error         // the session has ended
	idle  bool          // cancelled: nothing happened
	what  again.Outcome // of a record of a replay
}

// settle acknowledges what perform has made durable, and sends the lane on.
func (s *Session) settle(l *lane, t *task, o outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.running, l)
	l.taken = false
	defer s.ifQuiet()
	if s.phase == over {
		return // promise: fenced; who finishes late acknowledges nothing
	}
	if o.lost != nil {
		s.end(o.lost)
		return
	}
	switch {
	case o.idle:
	case o.again > 0:
		t.notBefore = time.Now().Add(o.again)
	case t.mode == once.Replay:
		l.again = l.again[1:]
		t.replay.Done(o.what)
	case t.mode == once.Waiting:
		l.heads = l.heads[1:]
		delete(s.rows, t.row.ID)
		if s.settled != nil {
			s.settled[t.row.ID] = struct{}{}
		}
		if s.more && len(s.rows) <= maxRows/2 {
			s.more, s.due = false, time.Now()
			poke(s.wakeLook)
		}
	}
	for _, done := range l.queue[:o.done] {
		s.track.ack(done.rec.Offset)
		s.queued--
		s.bytes -= done.size
	}
	l.queue = l.queue[o.done:]
	s.throttle()
	s.schedule(l)
}
