package partition

import (
	"container/heap"
	"context"
	"slices"
	"sync"
	"sync/atomic"
)

// Ready is the queue of lanes that have something to do, shared by all partitions.
// The lane whose next record came first goes first: next_offset follows closely, and
// little is repeated after a crash. A hot key takes one worker and no more.
type Ready struct {
	arrivals atomic.Uint64
	mu       sync.Mutex
	some     sync.Cond
	lanes    byTurn
	closed   bool
}

// NewReady makes an empty queue.
func NewReady() *Ready {
	q := &Ready{}
	q.some.L = &q.mu
	return q
}

// number gives records their turns, in the order in which they come.
func (q *Ready) number() uint64 { return q.arrivals.Add(1) }

// late is the turn of a number after all that is live.
func late(number uint64) uint64 { return number | 1<<63 }

// hurry gives a lane that stands in the queue for a replay the turn of its live record.
func (q *Ready) hurry(l *lane, turn uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if l.turn <= turn {
		return
	}
	l.turn = turn
	if i := slices.Index(q.lanes, l); i >= 0 {
		heap.Fix(&q.lanes, i)
	}
}

// push adds a lane; its turn stands until it is popped.
func (q *Ready) push(l *lane) {
	q.mu.Lock()
	heap.Push(&q.lanes, l)
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
	l, _ := heap.Pop(&q.lanes).(*lane) // nothing else is in it
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

// byTurn is a heap of lanes (container/heap).
type byTurn []*lane

// Len is part of heap.Interface.
func (h byTurn) Len() int { return len(h) }

// Less is part of heap.Interface.
func (h byTurn) Less(i, j int) bool { return h[i].turn < h[j].turn }

// Swap is part of heap.Interface.
func (h byTurn) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push is part of heap.Interface.
func (h *byTurn) Push(x any) {
	if l, ok := x.(*lane); ok {
		*h = append(*h, l)
	}
}

// Pop is part of heap.Interface.
func (h *byTurn) Pop() any {
	old := *h
	l := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return l
}
