package once

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/eventspine/spine/pkg/once/database"
	"github.com/eventspine/spine/pkg/once/inbox"
	"github.com/eventspine/spine/pkg/once/record"
)

// BatchTime is how long DoAll goes on beginning items in one transaction.
const BatchTime = 20 * time.Millisecond

// Done is what became of one item of several.
type Done struct {
	Result Result // 0 without an error: not begun
	Err    error
}

// DoAll is Do for items of different keys, live ones or those of one replay, in one
// transaction: one lock and epoch, one commit. Who fails undoes only its own: the transaction is undone, and the
// others are handled again without it, together once more, then each alone; so fn may
// be called again for an item that didn't fail. After a deadlock each is handled
// alone. What doesn't fit into the time of a batch is not begun.
func (o *Owner) DoAll(ctx context.Context, items []Item, fn func(ctx context.Context, i int, tx Tx) error) []Done {
	b := &batch{o: o, items: items, fn: fn, done: make([]Done, len(items)), rest: make([]int, len(items))}
	together := true
	for i, item := range items {
		b.rest[i] = i
		together = together && item.EventID != "" && item.Mode != Waiting && item.Mode == items[0].Mode && item.Replay == items[0].Replay
	}
	for range 2 {
		if together && len(b.rest) > 1 {
			together = b.together(ctx)
		}
	}
	for _, i := range b.rest {
		d := &b.done[i]
		d.Result, d.Err = o.Do(ctx, items[i], func(ctx context.Context, tx Tx) error { return fn(ctx, i, tx) })
	}
	return b.done
}

type batch struct {
	o      *Owner
	items  []Item
	fn     func(context.Context, int, Tx) error
	done   []Done
	rest   []int // items that are still to be handled
	failed int   // whose fn failed; below 0 = none
}

// errWaits says that waiting or dead rows stand among the offsets of a batch: each
// item looks for its own.
var errWaits = errors.New("rows stand among the offsets of the batch")

// together handles what is left in one transaction. It answers whether what is left
// then may be tried together again.
func (b *batch) together(ctx context.Context) (again bool) {
	results := make([]Result, len(b.items))
	err := b.o.within(ctx, b.o.s.db.WriteOnce, func(sctx context.Context, t *transaction) error {
		b.failed = -1 // the store may run it again
		clear(results)
		return b.handle(ctx, sctx, t, results)
	})
	switch {
	case err == nil:
		b.end(func(i int) Done { return Done{Result: results[i]} })
		return false
	case errors.Is(err, errWaits), database.Serialization(err) && !errors.Is(err, ErrOutcomeUnknown):
		return false
	case b.failed < 0, ctx.Err() != nil, errors.Is(err, ErrFenced), errors.Is(err, ErrOutcomeUnknown), errors.Is(err, ErrUnavailable):
		b.end(func(int) Done { return Done{Err: err} })
		return false
	}
	b.done[b.failed].Err = err
	var left []int
	for _, i := range b.rest {
		if i != b.failed {
			left = append(left, i)
		}
	}
	b.rest = left
	return true
}

// end is the end of all that is left.
func (b *batch) end(done func(i int) Done) {
	for _, i := range b.rest {
		b.done[i] = done(i)
	}
	b.rest = nil
}

// handle is the inside of the transaction.
func (b *batch) handle(ctx, sctx context.Context, t *transaction, results []Result) error {
	if err := b.fence(sctx, t); err != nil {
		return err
	}
	fresh, err := b.mark(sctx, t, results)
	if err != nil {
		return err
	}
	var out leaving
	limit := cmp.Or(b.o.s.batch, BatchTime)
	done := make(map[int64]Result, len(b.rest))
	for n, i := range b.rest {
		if n > 0 && time.Since(t.now) > limit {
			if err := b.unmark(sctx, t, b.rest[n:], fresh, results); err != nil {
				return err
			}
			break
		}
		item := b.items[i]
		if results[i] == 0 {
			if results[i], err = t.resultOf(sctx, item, fresh); err != nil {
				return err
			}
		}
		done[item.Record.Offset] = results[i]
		if results[i] != Handled {
			continue
		}
		out.silent = item.Silent
		if err := t.run(ctx, &out, func(ctx context.Context, tx Tx) error { return b.fn(ctx, i, tx) }); err != nil {
			b.failed = i
			return err
		}
	}
	if err := t.leave(sctx, &out); err != nil {
		return err
	}
	return t.reach(sctx, b.items[b.rest[0]], done) // promise: fenced; the cursor moves with the effects
}

// fence takes lock and epoch for all items at once.
func (b *batch) fence(ctx context.Context, t *transaction) error {
	low := b.items[b.rest[0]].Record.Offset
	high := low
	for _, i := range b.rest {
		low, high = min(low, b.items[i].Record.Offset), max(high, b.items[i].Record.Offset)
	}
	var rows int
	if err := t.own(ctx, `(SELECT COUNT(*) FROM spine_waiting w WHERE w.ownership = o.id AND w.kafka_offset BETWEEN $2 AND $3)`,
		&rows, low, high); err != nil {
		return err
	}
	if rows > 0 {
		return errWaits
	}
	return nil
}

// mark puts the events into the inbox, but for what is told without it.
func (b *batch) mark(ctx context.Context, t *transaction, results []Result) (map[string]struct{}, error) {
	var entries []inbox.Entry
	for _, i := range b.rest {
		item := b.items[i]
		done, err := t.stands(item)
		switch {
		case err != nil:
			return nil, err
		case done:
			results[i] = DuplicateDelivery
		case item.Unmarked:
			results[i] = Handled
		default:
			entries = append(entries, t.entry(item))
		}
	}
	return inbox.Mark(ctx, t.Tx, t.o.s.group, entries)
}

// unmark takes the events of items that were not begun out of the inbox again.
func (b *batch) unmark(ctx context.Context, t *transaction, of []int, fresh map[string]struct{}, results []Result) error {
	var ids []string
	for _, i := range of {
		results[i] = 0
		eventID := record.ID(b.items[i].EventID)
		if _, ok := fresh[eventID]; ok {
			delete(fresh, eventID)
			ids = append(ids, eventID)
		}
	}
	return inbox.Unmark(ctx, t.Tx, t.o.s.group, ids)
}
