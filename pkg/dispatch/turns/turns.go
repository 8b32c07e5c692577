// Package turns is a queue in the order of turns, whatever the order of arrival, and how
// much of it goes to one worker.
package turns

import "slices"

// Queue gives out first what has the lowest turn. Its zero value is empty.
type Queue[T comparable] struct{ heap []entry[T] }

type entry[T comparable] struct {
	turn uint64
	v    T
}

// Len is how many stand in the queue.
func (q *Queue[T]) Len() int { return len(q.heap) }

// First is the lowest turn of a queue that is not empty.
func (q *Queue[T]) First() uint64 { return q.heap[0].turn }

// Push adds v.
func (q *Queue[T]) Push(v T, turn uint64) {
	q.heap = append(q.heap, entry[T]{turn, v})
	q.up(len(q.heap) - 1)
}

// Pop takes out what has the lowest turn, from a queue that is not empty.
func (q *Queue[T]) Pop() T {
	v, last := q.heap[0].v, len(q.heap)-1
	q.heap[0] = q.heap[last]
	q.heap[last] = entry[T]{}
	q.heap = q.heap[:last]
	q.down(0)
	return v
}

// Hurry gives v an earlier turn, if it stands in the queue.
func (q *Queue[T]) Hurry(v T, turn uint64) {
	if i := slices.IndexFunc(q.heap, func(e entry[T]) bool { return e.v == v }); i >= 0 && turn < q.heap[i].turn {
		q.heap[i].turn = turn
		q.up(i)
	}
}

func (q *Queue[T]) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if q.heap[parent].turn <= q.heap[i].turn {
			return
		}
		q.heap[parent], q.heap[i] = q.heap[i], q.heap[parent]
		i = parent
	}
}

func (q *Queue[T]) down(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(q.heap); child++ {
			if q.heap[child].turn < q.heap[least].turn {
				least = child
			}
		}
		if least == i {
			return
		}
		q.heap[least], q.heap[i] = q.heap[i], q.heap[least]
		i = least
	}
}
