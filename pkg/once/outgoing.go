package once

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/eventspine/spine/pkg/once/database"
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

const effectColumns = `id, name, effect_key, args, cause, state, attempts, next_at, error FROM spine_effects`

// Effects lists the partition's effects that are due, by id: pending ones, and those
// in state EffectIntent. The latter are in flight in this session, which has to know
// its own, or were when a former one ended: then the outcome is unknown.
func (o *Owner) Effects(ctx context.Context, now time.Time, limit int) ([]Effect, error) {
	return o.s.db.effects(ctx, `SELECT `+effectColumns+` WHERE ownership = $1 AND state IN ('pending', 'intent')
		AND next_at <= $2 ORDER BY id LIMIT $3`, o.id, micros(now), limit)
}

// Intend marks an effect as about to be called and counts the attempt.
func (o *Owner) Intend(ctx context.Context, id int64) error {
	return o.setEffect(ctx, id, `state = 'intent', attempts = attempts + 1`)
}

// Failed notes that a call failed. state is EffectPending, to be called again at
// next, or EffectUnknown, for a person to decide.
func (o *Owner) Failed(ctx context.Context, id int64, next time.Time, msg string, state EffectState) error {
	if state != EffectPending && state != EffectUnknown {
		return fmt.Errorf("noting a failed effect: state %q", state)
	}
	return o.setEffect(ctx, id, `next_at = $4, error = $5, state = $6`, micros(next), text(msg), string(state))
}

func (o *Owner) setEffect(ctx context.Context, id int64, set string, args ...any) error {
	return o.write(ctx, -1, func(ctx context.Context, t *transaction) error {
		return t.setEffect(ctx, id, set, args...)
	})
}

func (t *transaction) setEffect(ctx context.Context, id int64, set string, args ...any) error {
	res, err := t.ExecContext(ctx, `UPDATE spine_effects SET changed_at = $1, `+set+
		` WHERE id = $2 AND ownership = $3 AND state <> 'done'`, append([]any{micros(t.now), id, t.o.id}, args...)...)
	if err != nil {
		return fmt.Errorf("storing the state of effect %d: %w", id, err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 1 {
		return err
	}
	return fmt.Errorf("storing the state of effect %d: it is done or gone", id)
}

// Complete marks an effect as done, in one transaction with fn (nil = nothing more)
// and what leaves with it. If it is done already, fn is not called.
func (o *Owner) Complete(ctx context.Context, id int64, fn func(context.Context, Tx) error) error {
	return o.write(ctx, -1, func(sctx context.Context, t *transaction) error {
		var state EffectState
		err := t.QueryRowContext(sctx, `SELECT state FROM spine_effects WHERE id = $1 AND ownership = $2`,
			id, o.id).Scan(&state)
		if err != nil {
			return fmt.Errorf("reading effect %d: %w", id, err)
		}
		if state == EffectDone {
			return nil
		}
		if err := t.setEffect(sctx, id, `state = 'done', error = ''`); err != nil || fn == nil {
			return err
		}
		return t.call(ctx, sctx, false, fn)
	})
}

func (db *DB) effects(ctx context.Context, query string, args ...any) ([]Effect, error) {
	rows, err := db.SQL().QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("reading effects: %w", database.Available(err))
	}
	defer rows.Close()
	var list []Effect
	for rows.Next() {
		var e Effect
		var next int64
		if err := rows.Scan(&e.ID, &e.Name, &e.Key, record.Column{Bytes: &e.Args}, record.Column{Bytes: &e.Cause}, &e.State,
			&e.Attempts, &next, &e.Error); err != nil {
			return nil, fmt.Errorf("reading effects: %w", err)
		}
		e.NextAt = fromMicros(next)
		list = append(list, e)
	}
	if err := rows.Err(); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("reading effects: %w", database.Available(err))
	}
	return list, nil
}
