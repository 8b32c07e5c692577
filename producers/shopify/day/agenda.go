package day

import (
	"container/heap"
	"time"

	"github.com/eventspine/spine/pkg/producer"
)

// step is something that happens at a time: a turn in an order's life, or a call
// that reaches the receiver.
type step struct {
	at    time.Duration
	count int
	do    func(at time.Duration)
	call  producer.Call
}

func (p *play) at(at time.Duration, do func(time.Duration)) { p.push(step{at: at, do: do}) }

func (p *play) push(s step) {
	p.count++
	s.count = p.count
	heap.Push(&p.agenda, s)
}

// agenda is a heap of steps by time.
type agenda []step

func (a agenda) Len() int      { return len(a) }
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a agenda) Less(i, j int) bool {
	return a[i].at < a[j].at || a[i].at == a[j].at && a[i].count < a[j].count
}

// Push is for container/heap.
func (a *agenda) Push(x any) { *a = append(*a, x.(step)) } //nolint:forcetypeassert // only push calls it

// Pop is for container/heap.
func (a *agenda) Pop() any {
	last := len(*a) - 1
	s := (*a)[last]
	(*a)[last] = step{} // let go of its order
	*a = (*a)[:last]
	return s
}
