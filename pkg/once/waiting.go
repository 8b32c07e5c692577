package once

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/eventspine/spine/pkg/once/database"
	"github.com/eventspine/spine/pkg/once/inbox"
	"github.com/eventspine/spine/pkg/once/outgoing"
	"github.com/eventspine/spine/pkg/once/record"
)

// behind is the next_at of a row that stands behind the first one of its key.
const behind int64 = math.MaxInt64

// Spill moves a failed head and the queued successors of its key to the store, in one
// transaction with the copies (promise: a failing key waits alone, its later events
// behind it). Of a successor, EventID and Record count. An offset that stands
// already, or is handled, is not stored again, and such a head leaves no copies. A
// head with an ID is a row of the store: its state, attempts, times, class, reason and
// whether it still holds its key are updated; if it is gone, nothing happens.
func (o *Owner) Spill(ctx context.Context, head Row, successors []Row, copies []Outgoing) error {
	if head.State != Wait && head.State != Dead {
		return fmt.Errorf("moving a record to the store: unknown state %q", head.State)
	}
	return o.write(ctx, head.Record.Offset, func(ctx context.Context, t *transaction) error {
		if err := t.lockKey(ctx, head.Record.Key); err != nil {
			return err
		}
		var stored bool
		var err error
		if head.ID != 0 {
			stored, err = t.updateRow(ctx, head)
		} else {
			stored, err = t.insertRow(ctx, head, record.Micros(head.NextAt))
		}
		if err != nil {
			return err
		}
		for _, s := range successors {
			s.State, s.Holds = Wait, head.Holds
			next := int64(0)
			if s.Holds {
				next = behind
			}
			if _, err := t.insertRow(ctx, s, next); err != nil {
				return err
			}
		}
		if err := t.promote(ctx, head.Record.Key); err != nil || !stored {
			return err
		}
		return outgoing.Add(ctx, t.Tx, o.id, copies)
	})
}

// Append puts a record behind the waiting rows of its key, unless it is known:
// handled, or in the store already.
func (o *Owner) Append(ctx context.Context, rec Record, eventID string) error {
	if rec.Key == nil {
		return errors.New("appending a record: a null key holds nothing")
	}
	return o.write(ctx, -1, func(ctx context.Context, t *transaction) error {
		if err := t.lockKey(ctx, rec.Key); err != nil {
			return err
		}
		if place, err := t.handledAt(ctx, eventID); err != nil || place.Ownership != 0 {
			return err
		}
		row := Row{State: Wait, Holds: true, EventID: eventID, Record: rec}
		if _, err := t.insertRow(ctx, row, behind); err != nil {
			return err
		}
		return t.promote(ctx, rec.Key) // the key may have been released meanwhile
	})
}

// lockKey lets one transaction at a time change which row is the first of a key, so
// that none is left behind a head that is gone.
func (t *transaction) lockKey(ctx context.Context, key []byte) error {
	if key == nil {
		return nil
	}
	sum := int32(keyHash(key)) + t.o.id
	if err := t.o.s.db.Lock(ctx, t.Tx, database.Lock{Kind: "key", ID: sum}); err != nil {
		return fmt.Errorf("locking the key: %w", err)
	}
	return nil
}

// insertRow stores a row unless its offset is done. Its event may be handled at
// another offset: a record that cannot even be read may carry any id.
func (t *transaction) insertRow(ctx context.Context, r Row, next int64) (bool, error) {
	if r.Record.Offset < t.next {
		return false, nil
	}
	place, err := t.handledAt(ctx, r.EventID)
	if err != nil || place == (inbox.Place{Ownership: t.o.id, Offset: r.Record.Offset}) {
		return false, err
	}
	var hash any
	if r.Holds && r.Record.Key != nil {
		hash = keyHash(r.Record.Key)
	}
	res, err := t.ExecContext(ctx, `INSERT INTO spine_waiting (ownership, kafka_offset, state, event_id, key_hash,
		next_at, attempts, first_failed, last_failed, class, reason, bytes, record_time, record_key, headers,
		record_value, silent) VALUES (`+database.Placeholders(1, 17)+`) ON CONFLICT DO NOTHING`,
		t.o.id, r.Record.Offset, string(r.State), record.ID(r.EventID), hash,
		next, r.Attempts, record.Micros(r.FirstFailed), record.Micros(r.LastFailed), text(r.Class), text(r.Reason),
		size(r.Record), r.Record.Timestamp.UnixMicro(), record.Blob(r.Record.Key), record.EncodeHeaders(r.Record.Headers),
		record.Blob(r.Record.Value), r.Silent)
	if err != nil {
		return false, fmt.Errorf("storing offset %d: %w", r.Record.Offset, err)
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

func (t *transaction) updateRow(ctx context.Context, r Row) (bool, error) {
	res, err := t.ExecContext(ctx, `UPDATE spine_waiting SET state = $1, attempts = $2, next_at = $3, first_failed = $4,
		last_failed = $5, class = $6, reason = $7, key_hash = CASE WHEN $8 THEN key_hash END
		WHERE id = $9 AND ownership = $10 AND kafka_offset = $11`,
		string(r.State), r.Attempts, record.Micros(r.NextAt), record.Micros(r.FirstFailed),
		record.Micros(r.LastFailed), text(r.Class), text(r.Reason), r.Holds, r.ID, t.o.id, r.Record.Offset)
	if err != nil {
		return false, fmt.Errorf("updating the row of offset %d: %w", r.Record.Offset, err)
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

// removeRow takes the row of a record out of the store; the next one of its key
// becomes its first.
func (t *transaction) removeRow(ctx context.Context, r Record) error {
	if err := t.lockKey(ctx, r.Key); err != nil {
		return err
	}
	if _, err := t.ExecContext(ctx, `DELETE FROM spine_waiting WHERE ownership = $1 AND kafka_offset = $2`,
		t.o.id, r.Offset); err != nil {
		return fmt.Errorf("removing the row of offset %d: %w", r.Offset, err)
	}
	return t.promote(ctx, r.Key)
}

// promote upholds that the first row of a key is never behind.
func (t *transaction) promote(ctx context.Context, key []byte) error {
	if key == nil {
		return nil
	}
	_, err := t.ExecContext(ctx, `UPDATE spine_waiting SET next_at = 0 WHERE next_at = $1 AND id =
		(SELECT w.id FROM spine_waiting w WHERE w.ownership = $2 AND w.key_hash = $3 AND w.record_key = $4
		ORDER BY w.id LIMIT 1)`, behind, t.o.id, keyHash(key), key)
	if err != nil {
		return fmt.Errorf("finding the first row of the key: %w", err)
	}
	return nil
}

// loadHeld reads the held keys: a memory that starts empty would let later events
// overtake what waits.
func (o *Owner) loadHeld(ctx context.Context, tx *sql.Tx) (map[string]struct{}, error) {
	q := database.Query{What: "reading the held keys", SQL: `SELECT DISTINCT record_key FROM spine_waiting
		WHERE ownership = $1 AND key_hash IS NOT NULL`, Args: []any{o.id}}
	held := map[string]struct{}{}
	return held, database.Each(ctx, tx, q, func(rows *sql.Rows) error {
		var key []byte
		err := rows.Scan(&key)
		held[string(key)] = struct{}{}
		return err
	})
}

// KeyHeld says whether a holding row of the key stands.
func (o *Owner) KeyHeld(ctx context.Context, key []byte) (bool, error) {
	var n int
	err := o.s.db.SQL().QueryRowContext(ctx, `SELECT COUNT(*) FROM (SELECT id FROM spine_waiting
		WHERE ownership = $1 AND key_hash = $2 AND record_key = $3 LIMIT 1) AS w`, o.id, keyHash(key), key).Scan(&n)
	if err != nil {
		return false, fmt.Errorf("looking for rows of a key: %w", database.Available(err))
	}
	return n > 0, nil
}

// Head is the first row of a held key, waiting or dead.
func (o *Owner) Head(ctx context.Context, key []byte) (Row, bool, error) {
	rows, err := o.s.db.rows(ctx, `SELECT `+rowColumns+` WHERE w.ownership = $1 AND w.key_hash = $2 AND w.record_key = $3
		ORDER BY w.id LIMIT 1`, o.id, keyHash(key), key)
	if err != nil || len(rows) == 0 {
		return Row{}, false, err
	}
	return rows[0], true, nil
}

const rowColumns = `w.id, w.state, w.key_hash IS NOT NULL, w.event_id, w.next_at, w.attempts, w.first_failed,
	w.last_failed, w.class, w.reason, w.redriven, w.silent, w.kafka_offset, w.record_time, w.record_key, w.headers, w.record_value,
	o.topic, o.kafka_partition FROM spine_waiting w JOIN spine_ownership o ON o.id = w.ownership`

// Heads lists the rows that are to be tried now: the first row of each held key,
// unless it is dead, and rows that hold nothing; due by now, the longest due first.
func (o *Owner) Heads(ctx context.Context, now time.Time, limit int) ([]Row, error) {
	return o.s.db.rows(ctx, `SELECT `+rowColumns+` WHERE w.ownership = $1 AND w.state = 'wait' AND w.next_at <= $2
		ORDER BY w.next_at, w.id LIMIT $3`, o.id, record.Micros(now), limit)
}

func (db *DB) rows(ctx context.Context, query string, args ...any) ([]Row, error) {
	q := database.Query{What: "reading waiting rows", SQL: query, Args: args}
	return database.List(ctx, db.SQL(), q, func(rows *sql.Rows, r *Row) error {
		var next, first, last, at int64
		var headers []byte
		err := rows.Scan(&r.ID, &r.State, &r.Holds, &r.EventID, &next, &r.Attempts, &first, &last, &r.Class,
			&r.Reason, &r.Redriven, &r.Silent, &r.Record.Offset, &at, record.Column{Bytes: &r.Record.Key}, &headers, record.Column{Bytes: &r.Record.Value},
			&r.Record.Topic, &r.Record.Partition)
		if err != nil {
			return err
		}
		if next != behind {
			r.NextAt = record.Time(next)
		}
		r.FirstFailed, r.LastFailed = record.Time(first), record.Time(last)
		r.Record.Timestamp = time.UnixMicro(at).UTC()
		r.Record.Headers, err = record.DecodeHeaders(headers)
		return err
	})
}
