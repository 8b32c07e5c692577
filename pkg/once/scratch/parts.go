package scratch

import (
	"context"
	"database/sql"

	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/once/database"
)

// Part is a partition as a group has handled it: from its first record on, which a reset
// or a replay may have put before the one that the group began at, up to Next.
type Part struct {
	Topic      string
	Partition  int32
	From, Next int64
	Ahead      []int64 // what Begin has found handled at Next or above
}

// Parts lists the partitions that a group owns in a store, by topic and partition.
func Parts(ctx context.Context, db *once.DB, group string) ([]Part, error) {
	return partsOf(ctx, db.SQL(), "", group)
}

// partsOf reads the tables whose names begin with from.
func partsOf(ctx context.Context, db database.Reader, from, group string) ([]Part, error) {
	q := database.Query{What: "reading where " + group + " stands", SQL: `SELECT o.topic, o.kafka_partition, o.start_offset, o.next_offset,
		COALESCE((SELECT MIN(i.kafka_offset) FROM ` + from + `spine_inbox i WHERE i.group_name = o.group_name AND i.ownership = o.id), o.start_offset)
		FROM ` + from + `spine_ownership o WHERE o.group_name = $1 ORDER BY o.topic, o.kafka_partition`, Args: []any{group}}
	return database.List(ctx, db, q, func(rows *sql.Rows, p *Part) error {
		var first int64
		err := rows.Scan(&p.Topic, &p.Partition, &p.From, &p.Next, &first)
		p.From = min(p.From, first)
		return err
	})
}
