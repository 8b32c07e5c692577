package scratch

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/eventspine/spine/pkg/once/database"
)

// Begin gives the scratch store the partitions of the live group as it finds them in one
// snapshot, with nothing in them handled yet, and answers where each stands there. What
// they would replay is below their offsets here. keep is called in the same transaction,
// to copy what it wants of the snapshot: live stands before the names of its tables.
func (s *Store) Begin(ctx context.Context, keep func(ctx context.Context, tx *sql.Tx, live string) error) (parts []Part, err error) {
	if err := s.sameVersion(ctx); err != nil {
		return nil, fmt.Errorf("looking at the tables of %s: %w", s.group, err)
	}
	err = across(ctx, s.live.DB, s.DB.DB, true, func(ctx context.Context, c copying) error {
		if parts, err = partsOf(ctx, c.Tx, c.from, s.group); err != nil {
			return err
		}
		for i := range parts {
			if err := c.begin(ctx, s.group, &parts[i]); err != nil {
				return err
			}
		}
		return keep(ctx, c.Tx, c.from)
	})
	if err != nil {
		return nil, fmt.Errorf("looking at the tables of %s: %w", s.group, err)
	}
	return parts, nil
}

// begin stores a partition so that all that the live one has handled is below its
// next_offset.
func (c copying) begin(ctx context.Context, group string, p *Part) error {
	rows, err := c.QueryContext(ctx, `SELECT i.kafka_offset FROM `+c.from+`spine_inbox i JOIN `+c.from+`spine_ownership o ON o.id = i.ownership
		WHERE o.group_name = $1 AND i.group_name = $1 AND o.topic = $2 AND o.kafka_partition = $3 AND i.kafka_offset >= $4 ORDER BY i.kafka_offset`,
		group, p.Topic, p.Partition, p.Next)
	if err != nil {
		return err
	}
	defer rows.Close()
	top := p.Next
	for rows.Next() {
		var offset int64
		if err := rows.Scan(&offset); err != nil {
			return err
		}
		p.Ahead, top = append(p.Ahead, offset), offset+1
	}
	if err := rows.Err(); err != nil {
		return err
	}
	_, err = c.ExecContext(ctx, `INSERT INTO `+c.into+`spine_ownership (group_name, topic, kafka_partition, epoch, start_offset, next_offset, updated_at)
		SELECT group_name, topic, kafka_partition, epoch, $1, $2, updated_at FROM `+c.from+`spine_ownership
		WHERE group_name = $3 AND topic = $4 AND kafka_partition = $5`, p.From, top, group, p.Topic, p.Partition)
	return err
}

// sameVersion refuses live tables that this binary would make in another form.
func (s *Store) sameVersion(ctx context.Context) error {
	if s.tables == nil {
		return nil
	}
	live, _, err := s.live.Versions(ctx, s.group, s.tables)
	if err != nil {
		return database.Available(err)
	}
	if here, _, err := s.Versions(ctx, s.group, s.tables); err != nil || here != live {
		return errors.Join(ErrVersion, err)
	}
	return nil
}
