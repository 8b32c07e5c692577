package replay

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/eventspine/spine/pkg/once/database"
	"github.com/eventspine/spine/pkg/once/record"
)

// Out is a record that the owner of an input partition is to publish.
type Out struct {
	Topic     string // of the input
	Partition int32  // of the input
	Record    record.Record
}

// place is a partition of the input.
type place struct {
	topic     string
	partition int32
}

// AskPublish leaves records for the owners of the input partitions, who let them out
// with what their handlers publish: in order per input partition, once. In the list
// of replays, the offsets of such a part count its records.
func AskPublish(ctx context.Context, db *database.DB, group string, outs []Out) (id int64, err error) {
	err = db.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if err := forget(ctx, tx, group); err != nil {
			return err
		}
		if id, err = insert(ctx, tx, group, Request{Kind: Publish}); err != nil {
			return err
		}
		owners, counts := map[place]int32{}, map[place]int64{}
		var order []place
		for _, out := range outs {
			p := place{out.Topic, out.Partition}
			if _, known := owners[p]; !known {
				order = append(order, p)
				if owners[p], err = ownershipOf(ctx, tx, group, p.topic, p.partition); err != nil {
					return err
				}
			}
			counts[p]++
			if _, err := tx.ExecContext(ctx, `INSERT INTO spine_replay_records (replay, ownership, topic, kafka_partition,
				record_key, headers, record_value) VALUES ($1, $2, $3, $4, $5, $6, $7)`, id, owners[p], out.Record.Topic,
				out.Record.Partition, record.Blob(out.Record.Key), record.EncodeHeaders(out.Record.Headers), record.Blob(out.Record.Value)); err != nil {
				return err
			}
		}
		for _, p := range order {
			if err := insertPart(ctx, tx, id, owners[p], Range{From: 0, Until: counts[p]}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("asking to publish: %w", err)
	}
	return id, nil
}

// Release moves the next records of a part to what is outgoing, in a transaction of
// the owner, and answers how many.
func Release(ctx context.Context, tx *sql.Tx, ownership int32, p Part, limit int) (int, error) {
	const chosen = `(SELECT x.id FROM spine_replay_records x WHERE x.replay = $1 AND x.ownership = $2 ORDER BY x.id LIMIT $3)`
	if err := Check(ctx, tx, ownership, p.ID); err != nil {
		return 0, err
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO spine_outgoing (ownership, kind, created_at, topic, kafka_partition,
		record_time, record_key, headers, record_value) SELECT ownership, 'fact', CAST($4 AS BIGINT), topic, kafka_partition, 0, record_key,
		headers, record_value FROM spine_replay_records WHERE id IN `+chosen+` ORDER BY id`, p.ID, ownership, limit, time.Now().UnixMicro()); err != nil {
		return 0, fmt.Errorf("letting out records of replay %d: %w", p.ID, err)
	}
	res, err := tx.ExecContext(ctx, `DELETE FROM spine_replay_records WHERE id IN `+chosen, p.ID, ownership, limit)
	if err != nil {
		return 0, fmt.Errorf("letting out records of replay %d: %w", p.ID, err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return 0, err
	}
	step := Step{Cursor: p.Cursor + n, Counts: Counts{Handled: p.Cursor + n}}
	if n == 0 { // nothing is left, whatever the count says
		step.Cursor = p.Until
	}
	return int(n), Move(ctx, tx, ownership, p.ID, step)
}
