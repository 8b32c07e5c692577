package once

import (
	"context"

	"github.com/eventspine/spine/pkg/once/outgoing"
	"github.com/eventspine/spine/pkg/once/record"
	"github.com/eventspine/spine/pkg/once/replay"
)

// NextReplay is the oldest replay that is open for the partition; false = none.
func (o *Owner) NextReplay(ctx context.Context) (replay.Part, bool, error) {
	return replay.Next(ctx, o.s.db.DB, o.id)
}

// MoveReplay stores how far a replay has come, behind lock and epoch (promise:
// fenced).
func (o *Owner) MoveReplay(ctx context.Context, id int64, s replay.Step) error {
	return o.write(ctx, -1, func(ctx context.Context, t *transaction) error {
		return replay.Move(ctx, t.Tx, o.id, id, s)
	})
}

// ReleaseReplay makes the next records of a replay that publishes outgoing ones.
func (o *Owner) ReleaseReplay(ctx context.Context, p replay.Part, limit int) (n int, err error) {
	err = o.write(ctx, -1, func(ctx context.Context, t *transaction) error {
		g := o.s.db.Guard(t.Tx)
		defer g.End()
		n, err = replay.Release(ctx, t.Tx, o.id, p, replay.Batch{Limit: limit, Consent: o.s.consent, DB: g})
		return err
	})
	return n, err
}

// Done says which of some events are handled, and which of the offsets [from, until)
// stand as waiting or dead rows.
func (o *Owner) Done(ctx context.Context, eventIDs []string, from, until int64) (replay.Known, error) {
	return replay.Look(ctx, o.s.db.DB, o.s.group, eventIDs, replay.Place{Ownership: o.id, From: from, Until: until})
}

// Bury stores a record that failed in a replay as a row that holds nothing, with its
// copies: live records of the key go on.
func (o *Owner) Bury(ctx context.Context, row Row, copies []Outgoing) error {
	row.Holds = false
	return o.write(ctx, -1, func(ctx context.Context, t *transaction) error {
		t.next = 0 // below next_offset it is not done by that
		stored, err := t.insertRow(ctx, row, record.Micros(row.NextAt))
		if err != nil || !stored {
			return err
		}
		return outgoing.Add(ctx, t.Tx, o.id, copies)
	})
}

// reach moves the cursor of the replay that an item belongs to, last of all: lanes
// wait for each other there. done is what the transaction has done of that replay. One
// that was given up undoes the transaction.
func (t *transaction) reach(ctx context.Context, item Item, done map[int64]Result) error {
	if item.Mode != Replay {
		return nil
	}
	if item.Reached != nil {
		if step, further := item.Reached(done); further {
			return replay.Move(ctx, t.Tx, t.o.id, item.Replay, step)
		}
	}
	return replay.Check(ctx, t.Tx, t.o.id, item.Replay)
}
