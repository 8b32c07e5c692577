package turns

import (
	"sync/atomic"
	"time"
)

// Pace says how much a worker takes at a time: as much as it does in a short time.
type Pace struct {
	Most   int           // at a time
	Budget time.Duration // in which a worker has to have done what it has taken
	one    atomic.Int64  // how long one takes, as it was lately; 0 = not known
}

// Share is how many a worker takes: slow ones are shared out.
func (p *Pace) Share() int {
	one := time.Duration(p.one.Load())
	if one <= 0 {
		return p.Most
	}
	return int(min(max(p.Budget/one, 1), time.Duration(p.Most)))
}

// Took notes how long a worker took for n.
func (p *Pace) Took(n int, d time.Duration) {
	if n > 0 {
		p.one.Store((3*p.one.Load() + int64(d)/int64(n)) / 4)
	}
}
