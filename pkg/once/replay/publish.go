package replay

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/once/database"
	"github.com/eventspine/spine/pkg/once/record"
)

// Out is a record that the owner of an input partition is to publish.
type Out struct {
	Topic     string // of the input
	Partition int32  // of the input
	Record    record.Record
	Note      string // what the group's Consent is told; "" = it is not asked
}

// Consent says, in the owner's transaction, whether a record with that note still is
// to be let out; what it writes is committed with that.
type Consent func(ctx context.Context, db consumer.DB, note string) (bool, error)

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
				record_key, headers, record_value, note) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`, id, owners[p], out.Record.Topic,
				out.Record.Partition, record.Blob(out.Record.Key), record.EncodeHeaders(out.Record.Headers), record.Blob(out.Record.Value), out.Note); err != nil {
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

// Batch says how many records are let out, and who is asked before.
type Batch struct {
	Limit   int
	Consent Consent     // nil = nobody
	DB      consumer.DB // for it
}

// Release moves the next records of a part to what is outgoing, in a transaction of
// the owner, and answers how many are dealt with. One without consent is dropped, and
// counted as a duplicate.
func Release(ctx context.Context, tx *sql.Tx, ownership int32, p Part, b Batch) (int, error) {
	if err := Check(ctx, tx, ownership, p.ID); err != nil {
		return 0, err
	}
	n, dropped, err := release(ctx, tx, ownership, p.ID, b)
	if err != nil {
		return 0, fmt.Errorf("letting out records of replay %d: %w", p.ID, err)
	}
	step := p.Step
	step.Cursor += int64(n)
	step.Counts.Duplicate += int64(dropped)
	step.Counts.Handled = step.Cursor - step.Counts.Duplicate
	if n == 0 { // nothing is left, whatever the count says
		step.Cursor = p.Until
	}
	return n, Move(ctx, tx, ownership, p.ID, step)
}

func release(ctx context.Context, tx *sql.Tx, ownership int32, id int64, b Batch) (n, dropped int, err error) {
	list, err := notes(ctx, tx, ownership, id, b.Limit)
	if err != nil || len(list) == 0 {
		return 0, 0, err
	}
	for _, x := range list {
		leaves := true
		if x.text != "" && b.Consent != nil {
			if leaves, err = b.Consent(ctx, b.DB, x.text); err != nil {
				return 0, 0, err
			}
		}
		if leaves {
			continue
		}
		dropped++
		if _, err := tx.ExecContext(ctx, `DELETE FROM spine_replay_records WHERE id = $1`, x.record); err != nil {
			return 0, 0, err
		}
	}
	const chosen = ` FROM spine_replay_records WHERE replay = $1 AND ownership = $2 AND id <= $3`
	last := list[len(list)-1].record
	if _, err := tx.ExecContext(ctx, `INSERT INTO spine_outgoing (ownership, kind, created_at, topic, kafka_partition,
		record_time, record_key, headers, record_value) SELECT ownership, 'fact', CAST($4 AS BIGINT), topic, kafka_partition, 0, record_key,
		headers, record_value`+chosen+` ORDER BY id`, id, ownership, last, time.Now().UnixMicro()); err != nil {
		return 0, 0, err
	}
	_, err = tx.ExecContext(ctx, `DELETE`+chosen, id, ownership, last)
	return len(list), dropped, err
}

// note is what stands beside a record.
type note struct {
	record int64
	text   string
}

func notes(ctx context.Context, tx *sql.Tx, ownership int32, id int64, limit int) ([]note, error) {
	q := database.Query{What: "reading its records", SQL: `SELECT id, note FROM spine_replay_records WHERE replay = $1 AND ownership = $2
		ORDER BY id LIMIT $3`, Args: []any{id, ownership, limit}}
	return database.List(ctx, tx, q, func(rows *sql.Rows, n *note) error { return rows.Scan(&n.record, &n.text) })
}
