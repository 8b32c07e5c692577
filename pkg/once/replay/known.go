package replay

import (
	"context"
	"fmt"
	"strings"

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
		err := each(ctx, db, `SELECT event_id, '' FROM spine_inbox WHERE group_name = $1 AND event_id IN (`+numbers(2, n)+`)`, args,
			func(id, _ string) { k.Handled[id] = struct{}{} })
		if err != nil {
			return Known{}, fmt.Errorf("looking into the inbox: %w", err)
		}
		rest = rest[n:]
	}
	for rest := at.Offsets; len(rest) > 0; {
		n := min(len(rest), lookBatch)
		args := []any{at.Ownership}
		for _, o := range rest[:n] {
			args = append(args, o)
		}
		err := each(ctx, db, `SELECT kafka_offset, state FROM spine_waiting WHERE ownership = $1 AND kafka_offset IN (`+numbers(2, n)+`)`, args,
			func(offset int64, state string) { k.Standing[offset] = state })
		if err != nil {
			return Known{}, fmt.Errorf("looking for waiting rows: %w", err)
		}
		rest = rest[n:]
	}
	return k, nil
}

func each[A, B any](ctx context.Context, db *database.DB, query string, args []any, fn func(A, B)) error {
	rows, err := db.SQL().QueryContext(ctx, query, args...)
	if err != nil {
		return database.Available(err)
	}
	defer rows.Close()
	for rows.Next() {
		var a A
		var b B
		if err := rows.Scan(&a, &b); err != nil {
			return err
		}
		fn(a, b)
	}
	return database.Available(rows.Err())
}

// numbers is "$from,…" for n parameters.
func numbers(from, n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "$%d", from+i)
	}
	return b.String()
}
