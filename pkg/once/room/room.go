// Package room is the SQL that looks at the waiting room of a group as a whole: how
// full it is, and why what is dead died.
package room

import (
	"context"
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
	rows, err := db.SQL().QueryContext(ctx, `SELECT DISTINCT w.class, w.reason FROM spine_waiting w
		JOIN spine_ownership o ON o.id = w.ownership
		WHERE o.group_name = $1 AND w.state = 'dead' AND w.last_failed < $2 LIMIT $3`, group, before.UnixMicro(), limit)
	if err != nil {
		return nil, fmt.Errorf("reading why records are dead: %w", database.Available(err))
	}
	defer rows.Close()
	var list []Death
	for rows.Next() {
		var d Death
		if err := rows.Scan(&d.Class, &d.Reason); err != nil {
			return nil, fmt.Errorf("reading why records are dead: %w", err)
		}
		list = append(list, d)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("reading why records are dead: %w", database.Available(err))
	}
	return list, nil
}
