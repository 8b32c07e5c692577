// Package inbox is the SQL of what a group has handled: an event id stands in
// spine_inbox from the transaction that handled it until it is pruned (promise:
// once). What marks runs in a transaction of the owner, behind lock and epoch.
package inbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/eventspine/spine/pkg/once/database"
)

// Place is where an event was handled.
type Place struct {
	Ownership int32
	Offset    int64
}

// Entry is an event that is handled. Its id is one that a database can hold.
type Entry struct {
	EventID string
	Place
}

// Mark puts events into the inbox and answers the ids that were not in it.
func Mark(ctx context.Context, tx *sql.Tx, group string, entries []Entry) (map[string]struct{}, error) {
	if len(entries) == 0 {
		return nil, nil //nolint:nilnil // nothing to mark, and reading a nil map is right
	}
	now := time.Now().UnixMicro()
	var q strings.Builder
	q.WriteString(`INSERT INTO spine_inbox (group_name, handled_at, event_id, ownership, kafka_offset) VALUES `)
	args := append(make([]any, 0, 2+3*len(entries)), group, now)
	for i, e := range entries {
		if i > 0 {
			q.WriteByte(',')
		}
		q.WriteString("($1,$2," + database.Placeholders(len(args)+1, 3) + ")")
		args = append(args, e.EventID, e.Ownership, e.Offset)
	}
	q.WriteString(` ON CONFLICT DO NOTHING RETURNING event_id`)
	fresh := make(map[string]struct{}, len(entries))
	marked := database.Query{What: "marking events as handled", SQL: q.String(), Args: args}
	return fresh, database.Each(ctx, tx, marked, func(rows *sql.Rows) error {
		var eventID string
		err := rows.Scan(&eventID)
		fresh[eventID] = struct{}{}
		return err
	})
}

// Unmark takes events out again that the transaction has marked and not begun.
func Unmark(ctx context.Context, tx *sql.Tx, group string, eventIDs []string) error {
	if len(eventIDs) == 0 {
		return nil
	}
	args := []any{group}
	for _, id := range eventIDs {
		args = append(args, id)
	}
	//nolint:gosec // placeholders only
	if _, err := tx.ExecContext(ctx, `DELETE FROM spine_inbox WHERE group_name = $1 AND event_id IN (`+
		database.Placeholders(2, len(eventIDs))+`)`, args...); err != nil {
		return fmt.Errorf("unmarking events: %w", err)
	}
	return nil
}

// Find is where the event was handled, the zero place if it was not.
func Find(ctx context.Context, tx *sql.Tx, group, eventID string) (Place, error) {
	var p Place
	err := tx.QueryRowContext(ctx, `SELECT ownership, kafka_offset FROM spine_inbox
		WHERE group_name = $1 AND event_id = $2`, group, eventID).Scan(&p.Ownership, &p.Offset)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return p, fmt.Errorf("looking into the inbox: %w", err)
	}
	return p, nil
}

// Prune removes at most limit events handled before a time, but never one that a
// waiting or dead row carries, or that is not yet below next_offset.
func Prune(ctx context.Context, db *database.DB, group string, before time.Time, limit int) (int, error) {
	return db.Delete(ctx, database.Query{
		What: "pruning the inbox of " + group,
		SQL: `DELETE FROM spine_inbox WHERE group_name = $1 AND event_id IN (
			SELECT i.event_id FROM spine_inbox i WHERE i.group_name = $1 AND i.handled_at < $2
			AND NOT EXISTS (SELECT 1 FROM spine_waiting w JOIN spine_ownership o ON o.id = w.ownership
				WHERE w.event_id = i.event_id AND o.group_name = i.group_name)
			AND NOT EXISTS (SELECT 1 FROM spine_ownership o
				WHERE o.id = i.ownership AND o.next_offset <= i.kafka_offset)
			ORDER BY i.handled_at LIMIT $3)`,
		Args: []any{group, before.UnixMicro(), limit},
	})
}
