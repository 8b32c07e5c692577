package partition

import (
	"slices"
	"time"
)

// tracker knows which of the delivered offsets of a partition are done. Offsets
// come in order and may leave gaps: compaction and control records take some.
type tracker struct {
	open []mark // from the lowest one that is not done
	next int64  // behind the last delivered one
	time time.Time
}

type mark struct {
	offset int64
	time   time.Time
	done   bool
}

// deliver notes an offset that is to be done.
func (t *tracker) deliver(offset int64, at time.Time) {
	t.open = append(t.open, mark{offset: offset, time: at})
	t.next = offset + 1
}

// ack notes that an offset is handled, waiting or dead-lettered durably.
func (t *tracker) ack(offset int64) {
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

// low is the lowest offset that is not done (promise: not lost), and the time of
// the last record below it.
func (t *tracker) low() (int64, time.Time) {
	if len(t.open) > 0 {
		return t.open[0].offset, t.time
	}
	return t.next, t.time
}
