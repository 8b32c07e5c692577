package once

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/eventspine/spine/pkg/once/database"
	"github.com/eventspine/spine/pkg/once/inbox"
	"github.com/eventspine/spine/pkg/once/journal"
	"github.com/eventspine/spine/pkg/once/ownership"
	"github.com/eventspine/spine/pkg/once/record"
	"github.com/eventspine/spine/pkg/once/replay"
	"github.com/eventspine/spine/pkg/once/room"
)

// Store is the part of a database that belongs to one group. What it reads may be
// read beside a running process.
type Store struct {
	db      *DB
	group   string
	consent replay.Consent // of the group, to what its owners let out on request
	batch   time.Duration  // how long DoAll goes on beginning items; 0 = BatchTime
}

// WithConsent is the store of a group that is asked before its owners let out what
// they are asked to publish.
func (s *Store) WithConsent(c replay.Consent) *Store {
	with := *s
	with.consent = c
	return &with
}

// Prune removes at most limit inbox rows of events handled before a time: by the
// time of handling, and never an id that a waiting or dead row carries, or that is
// not yet below next_offset. It answers how many. Promise: once.
func (s *Store) Prune(ctx context.Context, before time.Time, limit int) (int, error) {
	return inbox.Prune(ctx, s.db.DB, s.group, before, limit)
}

// Fence gives the ownerships of the group a fresh epoch, so that no living owner goes
// on: the end of a restore. It answers how many.
func (s *Store) Fence(ctx context.Context) (int, error) {
	return ownership.Fence(ctx, s.db.DB, s.group)
}

// Fence gives all ownerships of the database a fresh epoch, as Store.Fence does.
func (db *DB) Fence(ctx context.Context) (int, error) { return ownership.Fence(ctx, db.DB, "") }

// Groups lists the groups that own something in this database.
func (db *DB) Groups(ctx context.Context) ([]string, error) {
	q := database.Query{What: "listing the groups", SQL: `SELECT DISTINCT group_name FROM spine_ownership ORDER BY group_name`}
	return database.List(ctx, db.SQL(), q, database.Value[string])
}

// NextOffset is the stored offset of a partition, if it was ever owned.
func (s *Store) NextOffset(ctx context.Context, topic string, partition int32) (next int64, found bool, err error) {
	err = s.db.SQL().QueryRowContext(ctx, `SELECT next_offset FROM spine_ownership
		WHERE group_name = $1 AND topic = $2 AND kafka_partition = $3`, s.group, topic, partition).Scan(&next)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("reading next_offset: %w", database.Available(err))
	}
	return next, true, nil
}

// Ownership is where a group stands in a partition.
type Ownership struct {
	Topic       string
	Partition   int32
	StartOffset int64 // where the group began: what is before is not its
	NextOffset  int64
	UpdatedAt   time.Time
	Waiting     int // rows that wait
	Dead        int // dead rows
	HeldKeys    int // keys with a holding row
	Outgoing    int // records on their way out
}

// Ownerships lists where the group stands, by topic and partition.
func (s *Store) Ownerships(ctx context.Context) ([]Ownership, error) {
	q := database.Query{What: "reading ownerships", SQL: `SELECT o.topic, o.kafka_partition, o.start_offset, o.next_offset, o.updated_at,
		(SELECT COUNT(*) FROM spine_waiting w WHERE w.ownership = o.id AND w.state = 'wait'),
		(SELECT COUNT(*) FROM spine_waiting w WHERE w.ownership = o.id AND w.state = 'dead'),
		(SELECT COUNT(DISTINCT w.key_hash) FROM spine_waiting w WHERE w.ownership = o.id),
		(SELECT COUNT(*) FROM spine_outgoing x WHERE x.ownership = o.id)
		FROM spine_ownership o WHERE o.group_name = $1 ORDER BY o.topic, o.kafka_partition`, Args: []any{s.group}}
	return database.List(ctx, s.db.SQL(), q, func(rows *sql.Rows, o *Ownership) error {
		var at int64
		err := rows.Scan(&o.Topic, &o.Partition, &o.StartOffset, &o.NextOffset, &at, &o.Waiting, &o.Dead, &o.HeldKeys, &o.Outgoing)
		o.UpdatedAt = record.Time(at)
		return err
	})
}

// where builds a condition from the parts of a filter that are set.
type where struct {
	sql  strings.Builder
	args []any
}

func (w *where) and(set bool, condition string, arg any) {
	if set {
		w.args = append(w.args, arg)
		fmt.Fprintf(&w.sql, " AND "+condition, len(w.args))
	}
}

// RowFilter selects waiting and dead rows.
type RowFilter struct {
	State     WaitState // "" = both
	ID        int64     // 0 = all
	Topic     string    // "" = all
	Partition int32     // with Topic only
	Key       []byte    // nil = all
	After     int64     // rows with a higher id only, for paging
	Limit     int       // 0 = all
}

// Rows lists waiting and dead rows by id, which is the order in which a key drains.
func (s *Store) Rows(ctx context.Context, f RowFilter) ([]Row, error) {
	w := &where{args: []any{s.group}}
	w.and(f.State != "", "w.state = $%d", string(f.State))
	w.and(f.ID != 0, "w.id = $%d", f.ID)
	w.and(f.Topic != "", "o.topic = $%d", f.Topic)
	w.and(f.Topic != "", "o.kafka_partition = $%d", f.Partition)
	w.and(f.Key != nil, "w.record_key = $%d", f.Key)
	w.and(f.After != 0, "w.id > $%d", f.After)
	w.sql.WriteString(" ORDER BY w.id")
	w.limit(f.Limit)
	return s.db.rows(ctx, `SELECT `+rowColumns+` WHERE o.group_name = $1`+w.sql.String(), w.args...)
}

func (w *where) limit(n int) {
	if n > 0 {
		w.args = append(w.args, n)
		fmt.Fprintf(&w.sql, " LIMIT $%d", len(w.args))
	}
}

// EffectFilter selects effects.
type EffectFilter = journal.Filter

// Effects lists effects by id.
func (s *Store) Effects(ctx context.Context, f EffectFilter) ([]Effect, error) {
	return journal.List(ctx, s.db.DB, s.group, f)
}

// Counts are the totals of a group.
type Counts struct {
	Handled        int   // inbox rows
	Waiting        int   // rows that wait
	Dead           int   // dead rows
	WaitingBytes   int64 // size of the records that wait or are dead
	Outgoing       int   // records on their way out
	EffectsOpen    int   // pending or intent
	EffectsUnknown int
	EffectsDone    int
}

// Counts counts, all in one snapshot.
func (s *Store) Counts(ctx context.Context) (Counts, error) {
	const waiting = ` FROM spine_waiting w JOIN spine_ownership o ON o.id = w.ownership WHERE o.group_name = $1`
	const effects = `(SELECT COUNT(*) FROM spine_effects e WHERE e.group_name = $1 AND e.state `
	var c Counts
	err := s.db.SQL().QueryRowContext(ctx, `SELECT
		(SELECT COUNT(*) FROM spine_inbox i WHERE i.group_name = $1),
		(SELECT COUNT(*)`+waiting+` AND w.state = 'wait'),
		(SELECT COUNT(*)`+waiting+` AND w.state = 'dead'),
		(SELECT CAST(COALESCE(SUM(w.bytes), 0) AS BIGINT)`+waiting+`),
		(SELECT COUNT(*) FROM spine_outgoing x JOIN spine_ownership o ON o.id = x.ownership WHERE o.group_name = $1),
		`+effects+`IN ('pending', 'intent')), `+effects+`= 'unknown'), `+effects+`= 'done')`, s.group).
		Scan(&c.Handled, &c.Waiting, &c.Dead, &c.WaitingBytes, &c.Outgoing, &c.EffectsOpen, &c.EffectsUnknown,
			&c.EffectsDone)
	if err != nil {
		return Counts{}, fmt.Errorf("counting the rows of %s: %w", s.group, database.Available(err))
	}
	return c, nil
}

// Room measures the waiting room of the group, by an index alone.
func (s *Store) Room(ctx context.Context) (room.Size, error) {
	return room.Measure(ctx, s.db.DB, s.group)
}

// Deaths lists why records of the group died before a time, as room.Deaths does.
func (s *Store) Deaths(ctx context.Context, before time.Time, limit int) ([]room.Death, error) {
	return room.Deaths(ctx, s.db.DB, s.group, before, limit)
}

// HandledEvent is an inbox row.
type HandledEvent struct {
	EventID   string
	Topic     string
	Partition int32
	Offset    int64
	HandledAt time.Time
}

// Handled iterates over the inbox by event id, which for deterministic ids is the
// order of their id times. An error ends it.
func (s *Store) Handled(ctx context.Context) iter.Seq2[HandledEvent, error] {
	return func(yield func(HandledEvent, error) bool) {
		rows, err := s.db.SQL().QueryContext(ctx, `SELECT i.event_id, o.topic, o.kafka_partition, i.kafka_offset,
			i.handled_at FROM spine_inbox i JOIN spine_ownership o ON o.id = i.ownership
			WHERE i.group_name = $1 ORDER BY i.event_id`, s.group)
		if err != nil {
			yield(HandledEvent{}, fmt.Errorf("reading the inbox: %w", database.Available(err)))
			return
		}
		defer rows.Close()
		for rows.Next() {
			var e HandledEvent
			var at int64
			if err = rows.Scan(&e.EventID, &e.Topic, &e.Partition, &e.Offset, &at); err != nil {
				break
			}
			e.HandledAt = record.Time(at)
			if !yield(e, nil) {
				return
			}
		}
		if err = errors.Join(err, rows.Err()); err != nil {
			yield(HandledEvent{}, fmt.Errorf("reading the inbox: %w", database.Available(err)))
		}
	}
}
