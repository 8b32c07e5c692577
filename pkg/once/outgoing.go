package once

import (
	"context"
	"fmt"
	"time"

	"github.com/eventspine/spine/pkg/once/database"
	"github.com/eventspine/spine/pkg/once/journal"
	"github.com/eventspine/spine/pkg/once/record"
)

// Outgoing lists the partition's records on their way out, lowest first, so that
// what a previous owner left precedes anything new. Promise: in order.
func (o *Owner) Outgoing(ctx context.Context, limit int) ([]Outgoing, error) {
	rows, err := o.s.db.SQL().QueryContext(ctx, `SELECT id, kind, topic, kafka_partition, record_time, record_key,
		headers, record_value FROM spine_outgoing WHERE ownership = $1 ORDER BY id LIMIT $2`, o.id, limit)
	if err != nil {
		return nil, fmt.Errorf("reading outgoing rows: %w", database.Available(err))
	}
	defer rows.Close()
	var list []Outgoing
	for rows.Next() {
		var out Outgoing
		var at int64
		var headers []byte
		if err := rows.Scan(&out.ID, &out.Kind, &out.Topic, &out.Partition, &at, record.Column{Bytes: &out.Key}, &headers,
			record.Column{Bytes: &out.Value}); err != nil {
			return nil, fmt.Errorf("reading outgoing rows: %w", err)
		}
		if out.Headers, err = record.DecodeHeaders(headers); err != nil {
			return nil, err
		}
		out.Timestamp = time.UnixMicro(at).UTC()
		list = append(list, out)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("reading outgoing rows: %w", database.Available(err))
	}
	return list, nil
}

// Remove removes outgoing rows after their acknowledgement, behind lock and epoch:
// after a restore, an id may belong to another record.
func (o *Owner) Remove(ctx context.Context, ids []int64) error {
	return o.write(ctx, -1, func(ctx context.Context, t *transaction) error {
		for rest := ids; len(rest) > 0; {
			n := min(len(rest), maxInsert)
			args := []any{o.id}
			for _, id := range rest[:n] {
				args = append(args, id)
			}
			if _, err := t.ExecContext(ctx, `DELETE FROM spine_outgoing WHERE ownership = $1 AND id IN (`+
				placeholders(2, n)+`)`, args...); err != nil {
				return fmt.Errorf("removing outgoing rows: %w", err)
			}
			rest = rest[n:]
		}
		return nil
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
// next, EffectIntent, to be looked up then, or EffectUnknown, for a person to decide.
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
