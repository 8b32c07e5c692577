// Package offsets knows how far a partition is done: offsets come in order, are done in
// any order, and next_offset is the lowest that is not.
package offsets

import (
	"slices"
	"time"
)

// Tracker knows which of the delivered offsets of a partition are done. Offsets
// come in order and may leave gaps: compaction and control records take some.
type Tracker struct {
	open []mark // from the lowest one that is not done
	Next int64  // behind the last delivered one
	time time.Time
}

type mark struct {
	offset int64
	time   time.Time
	done   bool
}

// Deliver notes an offset that is to be done.
func (t *Tracker) Deliver(offset int64, at time.Time) {
	t.open = append(t.open, mark{offset: offset, time: at})
	t.Next = offset + 1
}

// Ack notes that an offset is handled, waiting or dead-lettered durably.
func (t *Tracker) Ack(offset int64) {
	i, found := slices.BinarySearchFunc(t.open, offset, func(m mark, o int64) int { return int(min(max(m.offset-o, -1), 1)) })
	if !found {
		return
	}
	t.open[i].done = true
	n := 0
	for n < len(t.open) && t.open[n].done {
		t.time = t.open[n].time
		n++
	}
	t.open = t.open[n:]
}

// Low is the lowest offset that is not done (promise: not lost), and the time of
// the last record below it.
func (t *Tracker) Low() (int64, time.Time) {
	if len(t.open) > 0 {
		return t.open[0].offset, t.time
	}
	return t.Next, t.time
}

// Open is how many offsets stand open, from the lowest one that is not done.
func (t *Tracker) Open() int { return len(t.open) }
