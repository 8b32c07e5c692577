// Package again feeds what a group's topics still hold through its lanes once more,
// as a request in the store asks for: below next_offset, past what waits or is dead,
// after the live records, from a cursor that the next owner goes on at.
package again

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/bus"
	"github.com/eventspine/spine/pkg/dispatch/fault"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/once/replay"
)

const (
	page    = 1000 // records that are looked at together
	window  = 128  // records in the lanes at a time, per partition: enough for transactions to be shared
	atOnce  = 4    // partitions of a group that are replayed at a time, per process
	release = 500  // records that are let out together
)

// Slots limit how many partitions are replayed at a time.
type Slots chan struct{}

// NewSlots makes the slots of a group.
func NewSlots() Slots { return make(Slots, atOnce) }

// Session is the ownership that a feeder works for.
type Session struct {
	Owner  *once.Owner
	Slots  Slots
	Look   time.Duration // requests are looked for so often
	Retry  fault.Retry
	Reader func(from int64) (*bus.Reader, error)
	// Head reads the envelope of a record, and says whether the group handles it.
	Head func(*kgo.Record) (e event.Event, bad error, handles bool)
	ID   func(*kgo.Record, event.Event) string // inbox key
	// Room is the stored next_offset, and whether records may be fed: live ones go first.
	Room func() (below int64, room bool)
	Feed func([]*Record) // each to the lane of its key
	Out  func()          // something is outgoing
	End  func(error)     // the session is over
	Log  *slog.Logger
}

// Feeder carries out the replays of a partition, one after the other.
type Feeder struct{ s Session }

// New makes the feeder of a session.
func New(s Session) *Feeder { return &Feeder{s} }

// Run carries out replays until ctx ends.
func (f *Feeder) Run(ctx context.Context) {
	for failures := 0; ctx.Err() == nil; {
		part, found, err := f.s.Owner.NextReplay(ctx)
		if err == nil && found {
			err = f.carryOut(ctx, part)
		}
		switch {
		case ctx.Err() != nil:
			return
		case fault.Ends(err):
			f.s.End(err)
			return
		case errors.Is(err, replay.ErrDropped), err == nil && found:
			failures = 0
		case err != nil:
			failures++
			f.s.Log.Warn("a replay stands still", "replay", part.ID, "error", err)
			f.explain(ctx, part, err)
			fault.Sleep(ctx, f.s.Retry.Pause(failures))
		default:
			failures = 0
			fault.Sleep(ctx, f.s.Look)
		}
	}
}

// explain stores why a replay stands still, for people.
func (f *Feeder) explain(ctx context.Context, part replay.Part, why error) {
	now, found, err := f.s.Owner.NextReplay(ctx)
	if err != nil || !found || now.ID != part.ID {
		return
	}
	now.Reason = why.Error()
	if err := f.s.Owner.MoveReplay(ctx, now.ID, now.Step); err != nil && ctx.Err() == nil {
		f.s.Log.Warn("noting why a replay stands still", "replay", part.ID, "error", err)
	}
}

func (f *Feeder) carryOut(ctx context.Context, part replay.Part) error {
	select {
	case f.s.Slots <- struct{}{}:
		defer func() { <-f.s.Slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	f.s.Log.Info("replaying", "replay", part.ID, "kind", part.Kind, "from", part.Cursor, "until", part.Until)
	var err error
	switch part.Kind {
	case replay.Facts:
		err = f.facts(ctx, part)
	case replay.Publish:
		err = f.publish(ctx, part)
	default: // of a newer version
		err = fmt.Errorf("a replay of kind %s is not known here", part.Kind)
	}
	if err == nil {
		f.s.Log.Info("replayed", "replay", part.ID)
	}
	return err
}

// publish lets out records that were made beforehand; the relay takes them.
func (f *Feeder) publish(ctx context.Context, part replay.Part) error {
	for part.Cursor < part.Until {
		n, err := f.s.Owner.ReleaseReplay(ctx, part, release)
		if err != nil {
			return err
		}
		f.s.Out()
		part.Cursor += int64(n)
		if n == 0 {
			return nil
		}
	}
	return nil
}

// facts reads the range and feeds it, batch by batch.
func (f *Feeder) facts(ctx context.Context, part replay.Part) error {
	for below, _ := f.s.Room(); below < part.Until; below, _ = f.s.Room() { // promise: not lost; a replay never goes ahead of the live records
		fault.Sleep(ctx, f.s.Look)
		if err := f.s.Owner.MoveReplay(ctx, part.ID, part.Step); err != nil {
			return err
		}
	}
	reader, err := f.s.Reader(part.Cursor)
	if err != nil {
		return err
	}
	defer reader.Close()
	r, begun := newRun(part), time.Now()
	for n, last := 0, false; !last; {
		var records []*kgo.Record
		if records, last, err = f.read(ctx, reader, part); err != nil {
			return err
		}
		if err := f.feed(ctx, r, records); err != nil {
			return err
		}
		if n += len(records); part.Rate > 0 { // as slow as was asked for
			fault.Sleep(ctx, time.Until(begun.Add(time.Duration(n)*time.Second/time.Duration(part.Rate))))
		}
		if last {
			r.end()
		}
		if err := f.s.Owner.MoveReplay(ctx, part.ID, r.step()); err != nil {
			return over(err, r)
		}
	}
	if err := f.await(ctx, r, 0); err != nil {
		return err
	}
	return over(f.s.Owner.MoveReplay(ctx, part.ID, r.step()), r)
}

// over tells the end from being given up: the transaction of the last record may have
// moved the cursor to the end already.
func over(err error, r *run) error {
	if errors.Is(err, replay.ErrDropped) && r.few(0) && r.step().Cursor >= r.part.Until {
		return nil
	}
	return err
}

// read answers the next records of the range, and whether they are its last ones.
func (f *Feeder) read(ctx context.Context, reader *bus.Reader, part replay.Part) ([]*kgo.Record, bool, error) {
	most := page
	if part.Rate > 0 {
		most = min(page, max(part.Rate/4, 1))
	}
	records, err := reader.Read(ctx, most)
	if n := len(records); err != nil || n == 0 || records[n-1].Offset < part.Until-1 {
		return records, false, err
	}
	end, _ := slices.BinarySearchFunc(records, part.Until, func(rec *kgo.Record, until int64) int { return int(min(max(rec.Offset-until, -1), 1)) })
	return records[:end], true, nil
}

// feed sorts records out, and sends to the lanes what the group is to handle, many at
// a time: they share transactions.
func (f *Feeder) feed(ctx context.Context, r *run, records []*kgo.Record) error {
	sorted, marks, err := f.look(ctx, r, records)
	if err != nil {
		return err
	}
	for len(marks) > 0 {
		var lanes []*Record
		n := 0
		for ; n < len(marks) && len(lanes) < window/2; n++ {
			if marks[n].what == open {
				lanes = append(lanes, &sorted[n])
			}
		}
		if len(lanes) > 0 {
			if err := f.await(ctx, r, window/2); err != nil {
				return err
			}
		}
		r.look(marks[:n])
		f.s.Feed(lanes)
		sorted, marks = sorted[n:], marks[n:]
	}
	return nil
}

// look says what records are, and what of them the store knows.
func (f *Feeder) look(ctx context.Context, r *run, records []*kgo.Record) ([]Record, []mark, error) {
	sorted, marks := make([]Record, len(records)), make([]mark, len(records))
	ids := make([]string, 0, len(records))
	for i, rec := range records {
		sorted[i] = Record{Record: rec, run: r}
		marks[i] = mark{rec.Offset, f.sort(r.part, &sorted[i])}
		if marks[i].what == open {
			ids = append(ids, f.s.ID(rec, sorted[i].Event))
		}
	}
	if len(ids) == 0 {
		return sorted, marks, nil
	}
	known, err := f.s.Owner.Done(ctx, ids, marks[0].offset, marks[len(marks)-1].offset+1)
	if err != nil {
		return nil, nil, err
	}
	asked := 0
	for i := range marks {
		m := &marks[i]
		if m.what != open {
			continue
		}
		if known.Handled[asked] {
			m.what = Duplicate
		} else if _, stands := known.Standing[m.offset]; stands { // promise: in order; left to redrive
			m.what = Standing
		}
		asked++
	}
	return sorted, marks, nil
}

// sort says what a record is, as far as it shows without the store.
func (f *Feeder) sort(part replay.Part, r *Record) Outcome {
	if r.Attrs.IsControl() {
		return Other
	}
	var handles bool
	r.Event, r.Bad, handles = f.s.Head(r.Record)
	switch {
	case !handles, len(part.Facts) > 0 && !slices.Contains(part.Facts, r.Event.Type):
		return Other
	case r.Bad == nil && r.Event.Origin == event.OriginBackfill && !part.Backfill:
		return Backfill
	}
	r.Event.Replay = !part.Effects // promise: outside effects; suppressed in replay
	return open
}

// await waits until at most some records are in the lanes, and live ones leave room.
func (f *Feeder) await(ctx context.Context, r *run, most int) error {
	free := func() bool {
		_, room := f.s.Room()
		return r.few(most) && (room || most == 0)
	}
	if free() {
		return nil
	}
	tick := time.NewTicker(max(f.s.Look/20, 10*time.Millisecond))
	defer tick.Stop()
	for moved := time.Now(); !free(); {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-r.moved:
		case <-tick.C:
		}
		if time.Since(moved) >= f.s.Look { // a record that is tried again and again: given up meanwhile?
			moved = time.Now()
			if err := f.s.Owner.MoveReplay(ctx, r.part.ID, r.step()); err != nil {
				return over(err, r)
			}
		}
	}
	return nil
}
