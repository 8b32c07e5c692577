package once

import (
	"context"
	"time"

	"github.com/eventspine/spine/pkg/once/journal"
	"github.com/eventspine/spine/pkg/once/outgoing"
)

// Outgoing lists the partition's records on their way out, lowest first, so that
// what a previous owner left precedes anything new. Promise: in order.
func (o *Owner) Outgoing(ctx context.Context, limit int) ([]Outgoing, error) {
	return outgoing.List(ctx, o.s.db.DB, o.id, limit)
}

// Remove removes outgoing rows after their acknowledgement, behind lock and epoch:
// after a restore, an id may belong to another record.
func (o *Owner) Remove(ctx context.Context, ids []int64) error {
	return o.write(ctx, -1, func(ctx context.Context, t *transaction) error {
		return outgoing.Remove(ctx, t.Tx, o.id, ids)
	})
}

// Effects lists the partition's effects that are due, by id: pending ones, and those
// in state EffectIntent. The latter are in flight in this session, which has to know
// its own, or were when a former one ended: then the outcome is unknown.
func (o *Owner) Effects(ctx context.Context, now time.Time, limit int) ([]Effect, error) {
	return journal.Due(ctx, o.s.db.DB, o.id, now, limit)
}

// Intend marks an effect as about to be called and counts the attempt.
func (o *Owner) Intend(ctx context.Context, id int64) error {
	return o.write(ctx, -1, func(ctx context.Context, t *transaction) error {
		return journal.Intend(ctx, t.Tx, o.id, id)
	})
}

// Failed notes that a call failed. state is EffectPending, to be called again at
// next, or EffectUnknown, for a person to decide.
func (o *Owner) Failed(ctx context.Context, id int64, next time.Time, msg string, state EffectState) error {
	return o.write(ctx, -1, func(ctx context.Context, t *transaction) error {
		return journal.Failed(ctx, t.Tx, o.id, Effect{ID: id, State: state, NextAt: next, Error: text(msg)})
	})
}

// Complete marks an effect as done, in one transaction with fn (nil = nothing more)
// and what leaves with it. If it is done already, fn is not called.
func (o *Owner) Complete(ctx context.Context, id int64, fn func(context.Context, Tx) error) error {
	return o.write(ctx, -1, func(sctx context.Context, t *transaction) error {
		if first, err := journal.Complete(sctx, t.Tx, o.id, id); err != nil || !first || fn == nil {
			return err
		}
		return t.call(ctx, sctx, false, fn)
	})
}
