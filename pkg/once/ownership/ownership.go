// Package ownership is what a person may do to the partitions that a group owns in its
// store, beside any process: give them fresh epochs, set them to other offsets, delete
// them. Each waits for what is in flight and gives the ownership a fresh epoch, so that
// whoever owned it can write nothing any more (promise: fenced).
package ownership

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/eventspine/spine/pkg/once/database"
)

// ErrNone says that the group has never owned the partition.
const ErrNone = database.Error("the group has never owned this partition")

// Epoch is a fresh one. It is random: a counter would come back with a backup.
func Epoch() int64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never answers an error
	return int64(binary.BigEndian.Uint64(b[:]))
}

// Bump takes the ownership's lock exclusively, which waits for its shared holders, and
// then gives it a fresh epoch. Later shared requests queue behind it.
func Bump(ctx context.Context, db *database.DB, tx *sql.Tx, id int32) (epoch, next int64, err error) {
	if err := db.Lock(ctx, tx, database.Lock{Kind: "ownership", ID: id}); err != nil {
		return 0, 0, err
	}
	epoch = Epoch()
	err = tx.QueryRowContext(ctx, `UPDATE spine_ownership SET epoch = $1, updated_at = $2 WHERE id = $3
		RETURNING next_offset`, epoch, time.Now().UnixMicro(), id).Scan(&next)
	return epoch, next, err
}

// Fence gives the ownerships of a group, or of all groups where it is "", a fresh epoch,
// so that no living owner goes on: the end of a restore. It answers how many.
func Fence(ctx context.Context, db *database.DB, group string) (int, error) {
	ids, err := list(ctx, db, group)
	if err != nil {
		return 0, err
	}
	for n, id := range ids {
		err := db.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
			_, _, err := Bump(ctx, db, tx, id)
			return err
		})
		if err != nil {
			return n, fmt.Errorf("fencing ownership %d: %w", id, err)
		}
	}
	return len(ids), nil
}

func list(ctx context.Context, db *database.DB, group string) ([]int32, error) {
	q := database.Query{What: "listing the ownerships", SQL: `SELECT id FROM spine_ownership WHERE $1 = '' OR group_name = $1 ORDER BY id`, Args: []any{group}}
	return database.List(ctx, db.SQL(), q, database.Value[int32])
}

// Reset is one partition set to another offset by a person.
type Reset struct {
	Topic     string
	Partition int32
	From, To  int64 // next_offset before and after
	At        time.Time
	By        string
}

// Set sets next_offset of a partition and leaves a mark of it, in one transaction with
// the fresh epoch: an owner that lives starts over from there. What waits, is dead, is
// handled or is outgoing stays as it is. It answers the next_offset from before.
func Set(ctx context.Context, db *database.DB, group string, r Reset) (from int64, err error) {
	err = db.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		var id int32
		err := tx.QueryRowContext(ctx, `SELECT id FROM spine_ownership
			WHERE group_name = $1 AND topic = $2 AND kafka_partition = $3`, group, r.Topic, r.Partition).Scan(&id)
		if errors.Is(err, sql.ErrNoRows) {
			return ErrNone
		}
		if err != nil {
			return err
		}
		if _, from, err = Bump(ctx, db, tx, id); err != nil { // promise: fenced
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE spine_ownership SET next_offset = $1,
			start_offset = CASE WHEN start_offset > $1 THEN $1 ELSE start_offset END WHERE id = $2`, r.To, id); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO spine_resets (group_name, topic, kafka_partition, from_offset, to_offset, reset_at, reset_by)
			VALUES ($1, $2, $3, $4, $5, $6, $7)`, group, r.Topic, r.Partition, from, r.To, time.Now().UnixMicro(), r.By)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("setting %s/%d of %s to %d: %w", r.Topic, r.Partition, group, r.To, err)
	}
	return from, nil
}

// Resets lists what people have set, the oldest first.
func Resets(ctx context.Context, db *database.DB, group string) ([]Reset, error) {
	q := database.Query{What: "reading the resets", SQL: `SELECT topic, kafka_partition, from_offset, to_offset, reset_at, reset_by
		FROM spine_resets WHERE group_name = $1 ORDER BY id`, Args: []any{group}}
	return database.List(ctx, db.SQL(), q, func(rows *sql.Rows, r *Reset) error {
		var at int64
		err := rows.Scan(&r.Topic, &r.Partition, &r.From, &r.To, &at, &r.By)
		r.At = time.UnixMicro(at).UTC()
		return err
	})
}

// Known counts the offsets of [from, to) of a partition that the group has handled, or
// that wait or are dead: what of it comes again is not handled again.
func Known(ctx context.Context, db *database.DB, group string, r Reset) (n int64, err error) {
	from, to := min(r.From, r.To), max(r.From, r.To)
	err = db.SQL().QueryRowContext(ctx, `SELECT
		(SELECT COUNT(*) FROM spine_inbox i WHERE i.group_name = $1 AND i.ownership = o.id AND i.kafka_offset >= $4 AND i.kafka_offset < $5) +
		(SELECT COUNT(*) FROM spine_waiting w WHERE w.ownership = o.id AND w.kafka_offset >= $4 AND w.kafka_offset < $5)
		FROM spine_ownership o WHERE o.group_name = $1 AND o.topic = $2 AND o.kafka_partition = $3`,
		group, r.Topic, r.Partition, from, to).Scan(&n)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("counting what is known of %s/%d: %w", r.Topic, r.Partition, database.Available(err))
	}
	return n, nil
}
