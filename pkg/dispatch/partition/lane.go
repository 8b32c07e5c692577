package partition

import (
	"context"
	"strconv"
	"time"

	"github.com/eventspine/spine/pkg/dispatch/again"
	"github.com/eventspine/spine/pkg/dispatch/fault"
	"github.com/eventspine/spine/pkg/dispatch/leaving"
	"github.com/eventspine/spine/pkg/dispatch/plan"
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
	kind      *plan.Kind // nil = the group doesn't handle it
	rec       *kgo.Record
	event     event.Event
	bad       error // why the headers can't be read
	size      int
	replay    *again.Record // nil = of no replay
	row       *once.Row     // the row it came from (Waiting), and the account of its failures; nil = neither
	failing   bool          // asleep in memory after a failure of its own
	decided   bool          // row is to be written before anything else
	tries     int           // without counting as attempts
	pass      fault.Pass    // of the dependencies that the handler needs
	notBefore time.Time     // asleep until
	number    uint64        // its turn: in the order of arrival, or when it is due
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
func (l *lane) next() (t *task, wait time.Duration) {
	wait = -1
	for _, line := range [3][]*task{l.heads, l.queue, l.again} {
		if len(line) == 0 {
			continue
		}
		if line[0].notBefore.IsZero() {
			return line[0], 0
		}
		left := time.Until(line[0].notBefore)
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
	t, wait := l.next()
	switch {
	case t != nil:
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

// share is what a worker has taken of a partition.
type share struct {
	cancel context.CancelCauseFunc
	open   int // tasks of it that are not settled
}

// work is a task that a worker has taken.
type work struct {
	of    *share
	l     *lane
	t     *task
	held  bool // its key waits in the store, as far as the session knows
	fact  any
	left  leaving.Left
	begun time.Time
	o     outcome
}

// step does one task of each lane, and answers how many, and how long that took but for
// the one commit: a slow one is a reason to share it. A lane goes back into the queue
// after it, so that records which came earlier go first, whatever their key.
func (s *Session) step(ctx context.Context, lanes []*lane) (done int, took time.Duration) {
	begun := time.Now()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	taken := s.begin(cancel, lanes)
	together := [...][]*work{once.Live: make([]*work, 0, len(taken)), once.Replay: nil}
	var alone []*work
	for i := range taken {
		w := &taken[i]
		var ready bool
		switch w.o, ready = s.prepare(ctx, w); {
		case !ready:
			s.settle(w)
		case w.t.mode != once.Waiting && w.t.tries == 0 && (w.t.row == nil || w.t.row.FirstFailed.IsZero()):
			together[w.t.mode] = append(together[w.t.mode], w)
		default: // who has failed before doesn't spoil the transaction of others
			alone = append(alone, w)
		}
	}
	beside := s.handle(ctx, together[once.Live]) + s.handle(ctx, together[once.Replay])
	for _, w := range alone {
		s.handle(ctx, []*work{w})
	}
	for i := range taken {
		if !taken[i].o.idle {
			done++
		}
	}
	return done, time.Since(begun) - beside
}

func (s *Session) begin(cancel context.CancelCauseFunc, lanes []*lane) []work {
	of := &share{cancel: cancel}
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := make([]work, 0, len(lanes))
	for _, l := range lanes {
		t, _ := l.next()
		if s.phase != active || t == nil { // queued but not begun: left to the next owner
			l.taken = false
			s.schedule(l)
			continue
		}
		t.failing = false
		_, held := s.held[l.id]
		taken = append(taken, work{of: of, l: l, t: t, held: held && l.keyed})
	}
	if of.open = len(taken); of.open > 0 {
		s.running[of] = struct{}{}
	}
	return taken
}

// outcome is what became of a task.
type outcome struct {
	done  int           // so many live records of the lane are acknowledged
	again time.Duration // > 0: the same task again, then
	lost  error         // the session has ended
	idle  bool          // cancelled: nothing happened
	what  again.Outcome // of a record of a replay
}

// settle acknowledges what was made durable, and sends the lanes on.
func (s *Session) settle(works ...*work) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.ifQuiet()
	for _, w := range works {
		if w.of.open--; w.of.open == 0 {
			delete(s.running, w.of)
		}
		w.l.taken = false
		if s.phase == over {
			continue // promise: fenced; who finishes late acknowledges nothing
		}
		if w.o.lost != nil {
			s.end(w.o.lost)
			continue
		}
		s.done(w.l, w.t, w.o)
		s.schedule(w.l)
	}
	s.throttle()
}

// done notes what became of a task. s.mu is held.
func (s *Session) done(l *lane, t *task, o outcome) {
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
		s.track.Ack(done.rec.Offset)
		s.queued--
		s.bytes -= done.size
	}
	l.queue = l.queue[o.done:]
}
