package partition

import (
	"context"
	"sync"

	"github.com/eventspine/spine/pkg/dispatch/turns"
	"github.com/eventspine/spine/pkg/once"
)

// Ready is the queue of lanes that have something to do, shared by all partitions.
// The lane whose next record came first goes first: next_offset follows closely, and
// little is repeated after a crash. A hot key takes one worker and no more.
//
// A worker takes several lanes of one partition, as many as it does in a short time.
type Ready struct {
	turns.Order
	pace   turns.Pace // of workers
	mu     sync.Mutex
	some   sync.Cond
	open   []*laneTurns // of partitions; those that have lanes
	idle   int          // workers that wait
	waking bool         // one of them has been woken and is not here yet
	closed bool
}

// laneTurns are the ready lanes of one partition.
type laneTurns = turns.Queue[*lane]

// NewReady makes an empty queue, whose workers take up to most lanes at a time, and
// no more than they do in a short time. bare = their handlers share no transaction.
func NewReady(most int, bare bool) *Ready {
	q := &Ready{pace: turns.Pace{Most: most, Budget: once.BatchTime}}
	if bare {
		q.pace.Budget = bareTime
	}
	q.some.L = &q.mu
	return q
}

// hurry gives a lane that stands in the queue an earlier turn: the one of its live record
// where it stands there for a replay, the one of a waiting row.
func (q *Ready) hurry(l *lane, turn uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if l.turn <= turn {
		return
	}
	l.turn = turn
	l.s.turns.Hurry(l, turn)
}

// push adds a lane; its turn stands until it is popped.
func (q *Ready) push(l *lane) {
	q.mu.Lock()
	defer q.mu.Unlock()
	of := &l.s.turns
	if of.Len() == 0 {
		q.open = append(q.open, of)
	}
	of.Push(l, l.turn)
	q.wake()
}

// wake wakes one worker, unless one is on its way: it wakes the next one, if there is
// something left. q.mu is held.
func (q *Ready) wake() {
	if q.idle > 0 && !q.waking {
		q.waking = true
		q.some.Signal()
	}
}

// pop waits for lanes of one partition; none = closed.
func (q *Ready) pop(lanes []*lane) []*lane {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.open) == 0 && !q.closed {
		q.idle++
		q.some.Wait()
		q.idle--
		q.waking = false
	}
	if q.closed {
		return nil
	}
	first := 0
	for i, of := range q.open {
		if of.First() < q.open[first].First() {
			first = i
		}
	}
	of := q.open[first]
	for n := q.pace.Share(); n > 0 && of.Len() > 0; n-- {
		q.Took(of.First())
		lanes = append(lanes, of.Pop())
	}
	if of.Len() == 0 {
		last := len(q.open) - 1
		q.open[first], q.open[last] = q.open[last], nil
		q.open = q.open[:last]
	}
	if len(q.open) > 0 {
		q.wake()
	}
	return lanes
}

// Close ends all Work.
func (q *Ready) Close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.some.Broadcast()
}

// Work takes ready lanes and does one task of each, until the queue is closed.
func (q *Ready) Work(ctx context.Context) {
	for lanes := q.pop(nil); len(lanes) > 0; lanes = q.pop(lanes[:0]) {
		q.pace.Took(lanes[0].s.step(ctx, lanes))
		clear(lanes)
	}
}
