package turns

import (
	"sync"
	"sync/atomic"
)

// each is the least distance between the turns of two rows that wait.
const each = 2

// Order gives out turns. Its zero value is ready for use.
type Order struct {
	arrivals, now atomic.Uint64
	mu            sync.Mutex
	soon          uint64 // given last
}

// Next is the turn of a record, in the order in which they come.
func (o *Order) Next() uint64 { return o.arrivals.Add(1) }

// Soon is the turn of a waiting row that is due: before most of what came meanwhile, as
// it is older, but no more than each third, so that a flood of failing keys leaves the
// other turns to the live records.
func (o *Order) Soon() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.soon = min(max(o.soon, o.now.Load())+each, o.Next())
	return o.soon
}

// Late is a turn after all that Next and Soon give.
func (o *Order) Late() uint64 { return o.Next() | 1<<63 }

// Took says whose turn it is.
func (o *Order) Took(turn uint64) {
	if turn < 1<<63 {
		o.now.Store(turn)
	}
}
