package replay

import (
	"context"
	"database/sql"

	"github.com/eventspine/spine/pkg/once/database"
)

// Known is what of some records is done, or stands as a row.
type Known struct {
	Handled  map[string]struct{} // event ids in the inbox
	Standing map[int64]string    // state of waiting and dead rows by offset
}

// Place names offsets of a partition by its ownership.
type Place struct {
	Ownership int32
	Offsets   []int64
}

const lookBatch = 500

// Look says which of some events a group has handled, and which offsets stand as rows.
// It reads beside the owner: what it finds stays so, as only a restore forgets it.
func Look(ctx context.Context, db *database.DB, group string, ids []string, at Place) (Known, error) {
	k := Known{Handled: map[string]struct{}{}, Standing: map[int64]string{}}
	for rest := ids; len(rest) > 0; {
		n := min(len(rest), lookBatch)
		args := []any{group}
		for _, id := range rest[:n] {
			args = append(args, id)
		}
		q := database.Query{What: "looking into the inbox", SQL: `SELECT event_id FROM spine_inbox
			WHERE group_name = $1 AND event_id IN (` + database.Placeholders(2, n) + `)`, Args: args}
		err := database.Each(ctx, db.SQL(), q, func(rows *sql.Rows) error {
			var id string
			err := rows.Scan(&id)
			k.Handled[id] = struct{}{}
			return err
		})
		if err != nil {
			return Known{}, err
		}
		rest = rest[n:]
	}
	for rest := at.Offsets; len(rest) > 0; {
		n := min(len(rest), lookBatch)
		args := []any{at.Ownership}
		for _, o := range rest[:n] {
			args = append(args, o)
		}
		q := database.Query{What: "looking for waiting rows", SQL: `SELECT kafka_offset, state FROM spine_waiting
			WHERE ownership = $1 AND kafka_offset IN (` + database.Placeholders(2, n) + `)`, Args: args}
		err := database.Each(ctx, db.SQL(), q, func(rows *sql.Rows) error {
			var offset int64
			var state string
			err := rows.Scan(&offset, &state)
			k.Standing[offset] = state
			return err
		})
		if err != nil {
			return Known{}, err
		}
		rest = rest[n:]
	}
	return k, nil
}
