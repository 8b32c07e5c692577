package replay

import (
	"context"
	"database/sql"

	"github.com/eventspine/spine/pkg/once/database"
)

// Owned is a partition that a group has owned: what is below Next can be replayed.
type Owned struct {
	Topic     string
	Partition int32
	Ownership int32
	Start     int64 // where the group began
	Next      int64 // next_offset
}

// Ownerships lists the partitions of a group.
func Ownerships(ctx context.Context, db *database.DB, group string) ([]Owned, error) {
	q := database.Query{What: "reading ownerships", SQL: `SELECT topic, kafka_partition, id, start_offset, next_offset FROM spine_ownership
		WHERE group_name = $1 ORDER BY topic, kafka_partition`, Args: []any{group}}
	return database.List(ctx, db.SQL(), q, func(rows *sql.Rows, o *Owned) error {
		return rows.Scan(&o.Topic, &o.Partition, &o.Ownership, &o.Start, &o.Next)
	})
}
