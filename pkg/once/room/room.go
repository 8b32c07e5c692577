// Package room is the SQL that looks at the waiting room of a group as a whole: how
// full it is, why what is dead died, and what a person gave up.
package room

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/eventspine/spine/pkg/once/database"
)

// Size is how much waits or is dead.
type Size struct{ Rows, Bytes int64 }

// Measure measures the waiting room of a group, by an index alone.
func Measure(ctx context.Context, db *database.DB, group string) (Size, error) {
	var size Size
	err := db.SQL().QueryRowContext(ctx, `SELECT COUNT(*), CAST(COALESCE(SUM(bytes), 0) AS BIGINT) FROM spine_waiting
		WHERE ownership IN (SELECT id FROM spine_ownership WHERE group_name = $1)`, group).Scan(&size.Rows, &size.Bytes)
	if err != nil {
		return Size{}, fmt.Errorf("measuring the waiting room of %s: %w", group, database.Available(err))
	}
	return size, nil
}

// Death is why a record is dead.
type Death struct{ Class, Reason string }

// Deaths lists why the records of a group died that were dead before a time, each
// reason once, at most limit.
func Deaths(ctx context.Context, db *database.DB, group string, before time.Time, limit int) ([]Death, error) {
	q := database.Query{What: "reading why records are dead", SQL: `SELECT DISTINCT w.class, w.reason FROM spine_waiting w
		JOIN spine_ownership o ON o.id = w.ownership
		WHERE o.group_name = $1 AND w.state = 'dead' AND w.last_failed < $2 LIMIT $3`, Args: []any{group, before.UnixMicro(), limit}}
	return database.List(ctx, db.SQL(), q, func(rows *sql.Rows, d *Death) error { return rows.Scan(&d.Class, &d.Reason) })
}

// Old lists at most limit dead rows of a group that failed last before a time, the
// oldest first: those that hold nobody up, and that nobody has asked about yet.
func Old(ctx context.Context, db *database.DB, group string, before time.Time, limit int) ([]int64, error) {
	q := database.Query{What: "reading which dead rows are old", SQL: `SELECT w.id FROM spine_waiting w
		JOIN spine_ownership o ON o.id = w.ownership
		WHERE o.group_name = $1 AND w.state = 'dead' AND w.last_failed < $2
			AND NOT EXISTS (SELECT 1 FROM spine_waiting b WHERE b.ownership = w.ownership AND b.key_hash = w.key_hash AND b.id <> w.id)
			AND NOT EXISTS (SELECT 1 FROM spine_requests r WHERE r.ownership = w.ownership AND r.target = 'row'
				AND r.row_id = w.id AND r.done_at = 0)
		ORDER BY w.last_failed, w.id LIMIT $3`, Args: []any{group, before.UnixMicro(), limit}}
	return database.List(ctx, db.SQL(), q, database.Value[int64])
}

// Mark notes that a row of spine_waiting is given up, in the transaction of the owner
// that removes it: the record is neither handled nor lost.
func Mark(ctx context.Context, tx *sql.Tx, rowID int64) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO spine_dropped (group_name, event_id, ownership, kafka_offset, dropped_at)
		SELECT o.group_name, w.event_id, w.ownership, w.kafka_offset, $1 FROM spine_waiting w
		JOIN spine_ownership o ON o.id = w.ownership WHERE w.id = $2 ON CONFLICT DO NOTHING`, time.Now().UnixMicro(), rowID)
	if err != nil {
		return fmt.Errorf("marking row %d as given up: %w", rowID, err)
	}
	return nil
}

// Dropped lists the ids of the events that a person gave up for a group.
func Dropped(ctx context.Context, db *database.DB, group string) ([]string, error) {
	q := database.Query{What: "reading what was given up", SQL: `SELECT event_id FROM spine_dropped WHERE group_name = $1`, Args: []any{group}}
	return database.List(ctx, db.SQL(), q, database.Value[string])
}

// Prune forgets at most limit marks of a group from before a time, and answers how
// many.
func Prune(ctx context.Context, db *database.DB, group string, before time.Time, limit int) (int, error) {
	return db.Delete(ctx, database.Query{
		What: "pruning what " + group + " gave up",
		SQL: `DELETE FROM spine_dropped WHERE group_name = $1 AND (ownership, kafka_offset) IN
			(SELECT ownership, kafka_offset FROM spine_dropped WHERE group_name = $1 AND dropped_at < $2
			ORDER BY dropped_at LIMIT $3)`,
		Args: []any{group, before.UnixMicro(), limit},
	})
}
