// Package replay holds the requests to handle again what a group's topics still
// hold. A command beside a running process leaves one; for each partition, its owner
// carries it out behind lock and epoch, from a cursor, so that another owner goes on
// where it ended.
package replay

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/eventspine/spine/pkg/once/database"
)

// Kind says what is asked of the owners.
type Kind string

// The kinds.
const (
	Facts   Kind = "facts"   // feed a range of offsets through the lanes again
	Publish Kind = "publish" // let out records that were made beforehand
)

// Result says what became of a part of a replay.
type Result string

// The results.
const (
	Open    Result = ""        // not at its end yet
	Done    Result = "done"    // it is
	Dropped Result = "dropped" // somebody gave it up; what was handled until then stays
)

// ErrDropped says that a replay is not open any more.
const ErrDropped = database.Error("the replay was given up")

// kept is how long replays that are over are remembered.
const kept = 30 * 24 * time.Hour

// Request is a replay as a person asks for it.
type Request struct {
	ID       int64
	Kind     Kind
	Facts    []string // these fact types only; nil = all that the group handles
	Backfill bool     // handle what came with a backfill, too
	Effects  bool     // touch the outside, as a live event does
	Rate     int      // records a second, per partition; 0 = as fast as it goes
	AskedAt  time.Time
}

// Range is what is replayed of one partition: offsets [From, Until).
type Range struct {
	Topic       string
	Partition   int32
	From, Until int64
}

// Counts say what became of the records below the cursor.
type Counts struct {
	Handled   int64 // handled now
	Duplicate int64 // handled before
	Standing  int64 // waiting or dead: left to redrive
	Backfill  int64 // of a backfill, which was not asked for
	Other     int64 // of other facts
	Failed    int64 // dead now, holding nothing
}

// Step is how far a part has come: Cursor is the lowest offset that is not done.
type Step struct {
	Cursor int64
	Counts Counts
	Reason string // why it stands still; "" = it goes on
}

// Part is a replay of one partition.
type Part struct {
	Request
	Range
	Step
	Result    Result
	UpdatedAt time.Time
	DoneAt    time.Time // zero = open
}

// Ask leaves a replay of ranges for the owners of their partitions. A partition that
// the group never owned is an error.
func Ask(ctx context.Context, db *database.DB, group string, r Request, ranges []Range) (id int64, err error) {
	err = db.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if err := forget(ctx, tx, group); err != nil {
			return err
		}
		if id, err = insert(ctx, tx, group, r); err != nil {
			return err
		}
		for _, part := range ranges {
			ownership, err := ownershipOf(ctx, tx, group, part.Topic, part.Partition)
			if err != nil {
				return err
			}
			if err := insertPart(ctx, tx, id, ownership, part); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("asking for a replay: %w", err)
	}
	return id, nil
}

func insert(ctx context.Context, tx *sql.Tx, group string, r Request) (id int64, err error) {
	err = tx.QueryRowContext(ctx, `INSERT INTO spine_replays (group_name, kind, facts, backfill, effects, rate, asked_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id`, group, string(r.Kind), strings.Join(r.Facts, ","), r.Backfill,
		r.Effects, r.Rate, time.Now().UnixMicro()).Scan(&id)
	return id, err
}

func ownershipOf(ctx context.Context, tx *sql.Tx, group, topic string, partition int32) (id int32, err error) {
	err = tx.QueryRowContext(ctx, `SELECT id FROM spine_ownership WHERE group_name = $1 AND topic = $2
		AND kafka_partition = $3`, group, topic, partition).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		err = fmt.Errorf("group %s has never owned %s/%d", group, topic, partition)
	}
	return id, err
}

func insertPart(ctx context.Context, tx *sql.Tx, id int64, ownership int32, r Range) error {
	now, done, result := time.Now().UnixMicro(), int64(0), Open
	if r.From >= r.Until {
		done, result = now, Done
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO spine_replay_parts (replay, ownership, from_offset, until_offset,
		next_offset, handled, duplicate, standing, backfill, other, failed, updated_at, done_at, result, reason)
		VALUES ($1, $2, $3, $4, $3, 0, 0, 0, 0, 0, 0, $5, $6, $7, '')`, id, ownership, r.From, r.Until, now, done, string(result))
	return err
}

// forget removes replays that have been over for long.
func forget(ctx context.Context, tx *sql.Tx, group string) error {
	const old = ` IN (SELECT r.id FROM spine_replays r WHERE r.group_name = $1 AND r.asked_at < $2 AND NOT EXISTS
		(SELECT 1 FROM spine_replay_parts p WHERE p.replay = r.id AND (p.done_at = 0 OR p.done_at >= $2)))`
	before := time.Now().Add(-kept).UnixMicro()
	for _, statement := range [...]string{`DELETE FROM spine_replay_parts WHERE replay` + old, `DELETE FROM spine_replays WHERE id` + old} {
		if _, err := tx.ExecContext(ctx, statement, group, before); err != nil {
			return fmt.Errorf("forgetting old replays: %w", err)
		}
	}
	return nil
}

const columns = `SELECT r.id, r.kind, r.facts, r.backfill, r.effects, r.rate, r.asked_at, o.topic, o.kafka_partition,
	p.from_offset, p.until_offset, p.next_offset, p.handled, p.duplicate, p.standing, p.backfill, p.other, p.failed,
	p.reason, p.result, p.updated_at, p.done_at FROM spine_replay_parts p JOIN spine_replays r ON r.id = p.replay
	JOIN spine_ownership o ON o.id = p.ownership `

// List lists the parts of a group's replays, by replay, topic and partition; id = 0:
// of all that are remembered.
func List(ctx context.Context, db *database.DB, group string, id int64) ([]Part, error) {
	return query(ctx, db, columns+`WHERE r.group_name = $1 AND (r.id = $2 OR $2 = 0)
		ORDER BY r.id, o.topic, o.kafka_partition`, group, id)
}

// Next is the oldest open part of an ownership; false = there is none.
func Next(ctx context.Context, db *database.DB, ownership int32) (Part, bool, error) {
	list, err := query(ctx, db, columns+`WHERE p.ownership = $1 AND p.done_at = 0 ORDER BY r.id LIMIT 1`, ownership)
	if err != nil || len(list) == 0 {
		return Part{}, false, err
	}
	return list[0], true, nil
}

func query(ctx context.Context, db *database.DB, text string, args ...any) ([]Part, error) {
	return database.List(ctx, db.SQL(), database.Query{What: "reading replays", SQL: text, Args: args}, func(rows *sql.Rows, p *Part) error {
		var facts string
		var asked, updated, done int64
		c := &p.Counts
		if err := rows.Scan(&p.ID, &p.Kind, &facts, &p.Backfill, &p.Effects, &p.Rate, &asked, &p.Topic, &p.Partition,
			&p.From, &p.Until, &p.Cursor, &c.Handled, &c.Duplicate, &c.Standing, &c.Backfill, &c.Other, &c.Failed,
			&p.Reason, &p.Result, &updated, &done); err != nil {
			return err
		}
		if facts != "" {
			p.Facts = strings.Split(facts, ",")
		}
		p.AskedAt, p.UpdatedAt = time.UnixMicro(asked).UTC(), time.UnixMicro(updated).UTC()
		if done != 0 {
			p.DoneAt = time.UnixMicro(done).UTC()
		}
		return nil
	})
}

// Drop gives up what is open of a replay, and answers how many partitions that are.
// The owners notice at their next step.
func Drop(ctx context.Context, db *database.DB, group string, id int64) (int, error) {
	var n int64
	err := db.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		now := time.Now().UnixMicro()
		res, err := tx.ExecContext(ctx, `UPDATE spine_replay_parts SET done_at = $1, updated_at = $1, result = $2
			WHERE replay = $3 AND done_at = 0 AND replay IN (SELECT id FROM spine_replays WHERE group_name = $4)`,
			now, string(Dropped), id, group)
		if err != nil {
			return err
		}
		if n, err = res.RowsAffected(); err != nil || n == 0 {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM spine_replay_records WHERE replay = $1`, id)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("giving up replay %d: %w", id, err)
	}
	return int(n), nil
}

// Move stores how far a part has come, in a transaction of the owner; at its end it is
// done. One that is not open any more is ErrDropped. The cursor never goes backwards.
func Move(ctx context.Context, tx *sql.Tx, ownership int32, id int64, s Step) error {
	now, c := time.Now().UnixMicro(), s.Counts
	res, err := tx.ExecContext(ctx, `UPDATE spine_replay_parts SET next_offset = $1, handled = $2, duplicate = $3,
		standing = $4, backfill = $5, other = $6, failed = $7, reason = $8, updated_at = $9,
		done_at = CASE WHEN $1 >= until_offset THEN CAST($9 AS BIGINT) ELSE 0 END, result = CASE WHEN $1 >= until_offset THEN 'done' ELSE '' END
		WHERE replay = $10 AND ownership = $11 AND done_at = 0 AND next_offset <= $1`,
		s.Cursor, c.Handled, c.Duplicate, c.Standing, c.Backfill, c.Other, c.Failed, s.Reason, now, id, ownership)
	if err != nil {
		return fmt.Errorf("moving the cursor of replay %d: %w", id, err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 1 {
		return err
	}
	return Check(ctx, tx, ownership, id)
}

// Check answers ErrDropped if a part is not open any more.
func Check(ctx context.Context, tx *sql.Tx, ownership int32, id int64) error {
	var done int64
	err := tx.QueryRowContext(ctx, `SELECT done_at FROM spine_replay_parts WHERE replay = $1 AND ownership = $2`,
		id, ownership).Scan(&done)
	if errors.Is(err, sql.ErrNoRows) || err == nil && done != 0 {
		return ErrDropped
	}
	if err != nil {
		return fmt.Errorf("looking for replay %d: %w", id, err)
	}
	return nil
}
