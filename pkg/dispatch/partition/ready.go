package partition

import (
	"context"
	"sync"
)

// Ready is the queue of lanes that have something to do, shared by all partitions.
type Ready struct {
	mu     sync.Mutex
	some   sync.Cond
	lanes  []*lane
	closed bool
}

// NewReady makes an empty queue.
func NewReady() *Ready {
	q := &Ready{}
	q.some.L = &q.mu
	return q
}

func (q *Ready) push(l *lane) {
	q.mu.Lock()
	q.lanes = append(q.lanes, l)
	q.mu.Unlock()
	q.some.Signal()
}

// pop waits for a lane; nil = closed.
func (q *Ready) pop() *lane {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.lanes) == 0 && !q.closed {
		q.some.Wait()
	}
	if q.closed {
		return nil
	}
	l := q.lanes[0]
	q.lanes[0] = nil
	q.lanes = q.lanes[1:]
	return l
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
	for l := q.pop(); l != nil; l = q.pop() {
		l.s.step(ctx, l)
	}
}
