package replay

import (
	"context"
	"fmt"

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
	rows, err := db.SQL().QueryContext(ctx, `SELECT topic, kafka_partition, id, start_offset, next_offset FROM spine_ownership
		WHERE group_name = $1 ORDER BY topic, kafka_partition`, group)
	if err != nil {
		return nil, fmt.Errorf("reading ownerships: %w", database.Available(err))
	}
	defer rows.Close()
	var list []Owned
	for rows.Next() {
		var o Owned
		if err := rows.Scan(&o.Topic, &o.Partition, &o.Ownership, &o.Start, &o.Next); err != nil {
			return nil, fmt.Errorf("reading ownerships: %w", err)
		}
		list = append(list, o)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("reading ownerships: %w", database.Available(err))
	}
	return list, nil
}
