package once

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/eventspine/spine/pkg/once/record"
	"github.com/eventspine/spine/pkg/once/request"
	"github.com/eventspine/spine/pkg/once/room"
)

// Serve carries out what was asked of the partition's owner, behind lock and epoch
// (promise: fenced). Rows that busy names are at work: their requests stay open.
func (o *Owner) Serve(ctx context.Context, busy func(rowID int64) bool) ([]request.Request, error) {
	if some, err := request.Waits(ctx, o.s.db.DB, o.id); err != nil || !some {
		return nil, err
	}
	var served []request.Request
	err := o.write(ctx, -1, func(ctx context.Context, t *transaction) (err error) {
		served, err = request.Serve(ctx, t.Tx, o.id, func(ctx context.Context, r request.Request) (request.Result, error) {
			if busy(r.RowID) {
				return request.Open, nil
			}
			return t.carryOut(ctx, r)
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	return served, nil
}

// GiveUp asks the owners to drop at most limit dead rows of the group that failed last
// before a time, as a person would, and answers how many it has asked for. A dead row
// that others wait behind stays: whether they go on without it is for a person to say
// (promise: in order).
func (s *Store) GiveUp(ctx context.Context, before time.Time, limit int) (int, error) {
	rows, err := room.Old(ctx, s.db.DB, s.group, before, limit)
	if err != nil || len(rows) == 0 {
		return 0, err
	}
	if _, err := request.AskAll(ctx, s.db.DB, s.group, request.Drop, rows); err != nil {
		return 0, fmt.Errorf("asking to drop dead rows: %w", err)
	}
	return len(rows), nil
}

func (t *transaction) carryOut(ctx context.Context, r request.Request) (request.Result, error) {
	var rec Record
	err := t.QueryRowContext(ctx, `SELECT record_key, kafka_offset FROM spine_waiting WHERE id = $1 AND ownership = $2`,
		r.RowID, t.o.id).Scan(record.Column{Bytes: &rec.Key}, &rec.Offset)
	if errors.Is(err, sql.ErrNoRows) {
		return request.Gone, nil
	}
	if err != nil {
		return "", err
	}
	var res sql.Result
	switch r.Kind {
	case request.Retry: // what stands behind its head stays there: promise: in order
		res, err = t.ExecContext(ctx, `UPDATE spine_waiting SET attempts = 0, next_at = $1
			WHERE id = $2 AND state = 'wait' AND next_at <> $3`, record.Micros(t.now), r.RowID, behind)
	case request.Redrive: // where it stands, before its successors: promise: in order
		res, err = t.ExecContext(ctx, `UPDATE spine_waiting SET state = 'wait', attempts = 0, next_at = $1,
			redriven = redriven + 1 WHERE id = $2 AND state = 'dead'`, record.Micros(t.now), r.RowID)
	case request.Drop:
		return request.Done, errors.Join(room.Mark(ctx, t.Tx, r.RowID), t.removeRow(ctx, rec))
	default: // of a newer version
		return request.Refused, nil
	}
	if err != nil {
		return "", err
	}
	if n, err := res.RowsAffected(); err != nil || n == 1 {
		return request.Done, err
	}
	return request.Refused, nil
}
