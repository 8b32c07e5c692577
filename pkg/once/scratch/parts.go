package scratch

import (
	"context"
	"fmt"

	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/once/database"
)

// Part is a partition as a group has handled it: from its first record on, which a reset
// or a replay may have put before the one that the group began at, up to Next.
type Part struct {
	Topic      string
	Partition  int32
	From, Next int64
}

// Parts lists the partitions that a group owns in a store, by topic and partition.
func Parts(ctx context.Context, db *once.DB, group string) ([]Part, error) {
	rows, err := db.SQL().QueryContext(ctx, `SELECT o.topic, o.kafka_partition, o.start_offset, o.next_offset,
		COALESCE((SELECT MIN(i.kafka_offset) FROM spine_inbox i WHERE i.group_name = o.group_name AND i.ownership = o.id), o.start_offset)
		FROM spine_ownership o WHERE o.group_name = $1 ORDER BY o.topic, o.kafka_partition`, group)
	if err != nil {
		return nil, fmt.Errorf("reading where %s stands: %w", group, database.Available(err))
	}
	defer rows.Close()
	var all []Part
	for rows.Next() {
		var p Part
		var first int64
		if err := rows.Scan(&p.Topic, &p.Partition, &p.From, &p.Next, &first); err != nil {
			return nil, fmt.Errorf("reading where %s stands: %w", group, err)
		}
		p.From = min(p.From, first)
		all = append(all, p)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("reading where %s stands: %w", group, database.Available(err))
	}
	return all, nil
}
