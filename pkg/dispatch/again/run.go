package again

import (
	"cmp"
	"slices"
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

// Of is what became of a record whose handler was to be called.
func Of(r once.Result) Outcome {
	if r == once.Handled {
		return Handled
	}
	return Duplicate
}

// Record is a record of a replay on its way through the lane of its key.
type Record struct {
	*kgo.Record
	Event event.Event
	Bad   error // why the headers can't be read
	run   *run
}

// Replay is the id of the request.
func (r *Record) Replay() int64 { return r.run.part.ID }

// Reached says how far the replay has come when what a transaction has done of it is
// done, by offset; false = a record below that is not: the cursor moves with it.
func (r *Record) Reached(done map[int64]once.Result) (replay.Step, bool) { return r.run.with(done) }

// Done says that the record is done; what it left is committed.
func (r *Record) Done(o Outcome) { r.run.done(r.Offset, o) }

// run is a replay of one partition at work: which of its records are done.
type run struct {
	part replay.Part

	mu    sync.Mutex
	marks []mark // from the cursor on
	next  int64  // behind the last one that was looked at
	below replay.Counts
	open  int           // records in the lanes
	most  int           // of them, that somebody waits for
	moved chan struct{} // there are no more than that
}

type mark struct {
	offset int64
	what   Outcome
}

func newRun(p replay.Part) *run {
	return &run{part: p, next: p.Cursor, below: p.Counts, moved: make(chan struct{}, 1)}
}

// look notes records; what they turn out to be at once is done.
func (r *run) look(marks []mark) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.marks = append(r.marks, marks...)
	r.next = marks[len(marks)-1].offset + 1
	for _, m := range marks {
		if m.what == open {
			r.open++
		}
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
	i, found := slices.BinarySearchFunc(r.marks, offset, func(m mark, offset int64) int { return cmp.Compare(m.offset, offset) })
	if found && r.marks[i].what == open {
		r.marks[i].what = what
		r.open--
	}
	if r.open <= r.most {
		select {
		case r.moved <- struct{}{}:
		default:
		}
	}
}

// few says whether at most some records are in the lanes; if not, moved says when.
func (r *run) few(most int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.most = most
	return r.open <= most
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

// with is step, were the records of a transaction done; false = the lowest one that is
// not done is none of them.
func (r *run) with(done map[int64]once.Result) (step replay.Step, further bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	counts, marks := r.below, r.marks
	for ; len(marks) > 0; marks = marks[1:] {
		what := marks[0].what
		if what == open {
			res, ok := done[marks[0].offset]
			if !ok {
				break
			}
			what, further = Of(res), true
		}
		count(&counts, what)
	}
	return replay.Step{Cursor: r.cursor(marks), Counts: counts}, further
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
