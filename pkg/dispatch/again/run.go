package again

import (
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/once/replay"
)

// Outcome is what became of a record of a replay.
type Outcome int

// The outcomes.
const (
	open      Outcome = iota
	Handled           // now
	Duplicate         // before
	Standing          // waits or is dead: left to redrive
	Backfill          // of a backfill, which was not asked for
	Other             // of another fact
	Failed            // stands as a row now
	outcomes
)

// Record is a record of a replay on its way through the lane of its key.
type Record struct {
	*kgo.Record
	Event event.Event
	Bad   error // why the headers can't be read
	run   *run
}

// Replay is the id of the request.
func (r *Record) Replay() int64 { return r.run.part.ID }

// Reached says how far the replay has come when this record is done, too, if it is
// the lowest one that is not done: the cursor moves in its transaction.
func (r *Record) Reached(res once.Result) (replay.Step, bool) {
	o := Handled
	if res != once.Handled {
		o = Duplicate
	}
	return r.run.with(r.Offset, o)
}

// Done says that the record is done; what it left is committed.
func (r *Record) Done(o Outcome) { r.run.done(r.Offset, o) }

// run is a replay of one partition at work: which of its records are done.
type run struct {
	part replay.Part

	mu    sync.Mutex
	marks []mark // from the cursor on
	next  int64  // behind the last one that was looked at
	below replay.Counts
	open  int
	moved chan struct{} // something was done
}

type mark struct {
	offset int64
	what   Outcome
}

func newRun(p replay.Part) *run {
	return &run{part: p, next: p.Cursor, below: p.Counts, moved: make(chan struct{}, 1)}
}

// look notes a record; what it turns out to be at once is done.
func (r *run) look(offset int64, what Outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.marks = append(r.marks, mark{offset, what})
	r.next = offset + 1
	if what == open {
		r.open++
	}
}

// end notes that nothing is left to look at.
func (r *run) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next = r.part.Until
}

func (r *run) done(offset int64, what Outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.marks { // a window of a few hundred
		if r.marks[i].offset == offset && r.marks[i].what == open {
			r.marks[i].what = what
			r.open--
		}
	}
	select {
	case r.moved <- struct{}{}:
	default:
	}
}

// inFlight is how many records are in the lanes.
func (r *run) inFlight() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.open
}

// step is how far the replay has come.
func (r *run) step() replay.Step {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for n < len(r.marks) && r.marks[n].what != open {
		count(&r.below, r.marks[n].what)
		n++
	}
	r.marks = r.marks[n:]
	return replay.Step{Cursor: r.cursor(r.marks), Counts: r.below}
}

// with is step, were the lowest open record done; false = it is not this one.
func (r *run) with(offset int64, what Outcome) (replay.Step, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	counts, marks := r.below, r.marks
	for len(marks) > 0 && (marks[0].what != open || marks[0].offset == offset) {
		if marks[0].what == open {
			count(&counts, what)
		} else {
			count(&counts, marks[0].what)
		}
		marks = marks[1:]
	}
	for _, m := range marks {
		if m.offset == offset { // others below it are not done
			return replay.Step{}, false
		}
	}
	return replay.Step{Cursor: r.cursor(marks), Counts: counts}, true
}

func (r *run) cursor(left []mark) int64 {
	if len(left) > 0 {
		return left[0].offset
	}
	return r.next
}

func count(c *replay.Counts, what Outcome) {
	n := [outcomes]*int64{
		Handled: &c.Handled, Duplicate: &c.Duplicate, Standing: &c.Standing, Backfill: &c.Backfill, Other: &c.Other, Failed: &c.Failed,
	}[what]
	*n++
}
