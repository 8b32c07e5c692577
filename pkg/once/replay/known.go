package replay

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"github.com/eventspine/spine/pkg/once/database"
	"github.com/eventspine/spine/pkg/once/record"
)

// Known is what of some events is done, or stands as a row.
type Known struct {
	Handled  []bool           // whether they are in the inbox, one by one
	Standing map[int64]string // state of waiting and dead rows by offset
}

// Place names the offsets [From, Until) of a partition by its ownership.
type Place struct {
	Ownership   int32
	From, Until int64
}

// Look says which of some events a group has handled, and which offsets stand as rows.
// It asks once for all of them, and is told what is not handled: of a replay that is
// mostly nothing. It reads beside the owner: what it finds stays so, as only a restore
// forgets it.
func Look(ctx context.Context, db *database.DB, group string, eventIDs []string, at Place) (Known, error) {
	k := Known{Handled: make([]bool, len(eventIDs)), Standing: map[int64]string{}}
	if len(eventIDs) == 0 {
		return k, nil
	}
	ids := make([]string, len(eventIDs))
	for i, e := range eventIDs {
		ids[i] = record.ID(e)
	}
	asked, err := json.Marshal(ids)
	if err != nil {
		return Known{}, fmt.Errorf("looking into the inbox: %w", err)
	}
	list := `json_each($2)`
	if db.Dialect() == database.PostgreSQL {
		list = `json_array_elements_text(CAST($2 AS json)) AS asked(value)`
	}
	fresh := map[string]struct{}{}
	err = database.Each(ctx, db.SQL(), database.Query{What: "looking into the inbox", SQL: `SELECT value FROM ` + list + `
		WHERE NOT EXISTS (SELECT 1 FROM spine_inbox i WHERE i.group_name = $1 AND i.event_id = value)`, Args: []any{group, string(asked)}},
		func(rows *sql.Rows) error {
			var id string
			err := rows.Scan(&id)
			fresh[id] = struct{}{}
			return err
		})
	if err != nil {
		return Known{}, err
	}
	for i, id := range ids {
		_, unknown := fresh[id]
		k.Handled[i] = !unknown
	}
	err = database.Each(ctx, db.SQL(), database.Query{What: "looking for waiting rows", SQL: `SELECT kafka_offset, state
		FROM spine_waiting WHERE ownership = $1 AND kafka_offset >= $2 AND kafka_offset < $3`, Args: []any{at.Ownership, at.From, at.Until}},
		func(rows *sql.Rows) error {
			var offset int64
			var state string
			err := rows.Scan(&offset, &state)
			k.Standing[offset] = state
			return err
		})
	if err != nil {
		return Known{}, err
	}
	return k, nil
}
