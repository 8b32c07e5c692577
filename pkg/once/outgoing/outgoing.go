// Package outgoing is the SQL of records on their way to Kafka: they stand in
// spine_outgoing from the transaction that published them until Kafka has
// acknowledged them. What writes runs in a transaction of the owner, behind lock and
// epoch.
package outgoing

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/eventspine/spine/pkg/once/database"
	"github.com/eventspine/spine/pkg/once/record"
)

// maxRows bounds the rows of one statement: SQLite takes 32,766 parameters.
const maxRows = 1000

// Kind tells facts from dead-letter copies.
type Kind string

// The kinds.
const (
	Fact       Kind = "fact"
	DeadLetter Kind = "dlq"
)

// Row is a record on its way to Kafka. ID is set by the store and ordered per
// partition of the input.
type Row struct {
	ID   int64
	Kind Kind
	record.Record
}

// Add stores what a transaction publishes, in its order.
func Add(ctx context.Context, tx *sql.Tx, ownership int32, rows []Row) error {
	now := time.Now().UnixMicro()
	for len(rows) > 0 {
		n := min(len(rows), maxRows)
		var q strings.Builder
		q.WriteString(`INSERT INTO spine_outgoing (ownership, created_at, kind, topic, kafka_partition, record_time,
			record_key, headers, record_value) VALUES `)
		args := append(make([]any, 0, 2+7*n), ownership, now)
		for i, r := range rows[:n] {
			if i > 0 {
				q.WriteByte(',')
			}
			q.WriteString("($1,$2," + database.Placeholders(len(args)+1, 7) + ")")
			args = append(args, string(r.Kind), r.Topic, r.Partition, r.Timestamp.UnixMicro(),
				record.Blob(r.Key), record.EncodeHeaders(r.Headers), record.Blob(r.Value))
		}
		if _, err := tx.ExecContext(ctx, q.String(), args...); err != nil {
			return fmt.Errorf("storing outgoing rows: %w", err)
		}
		rows = rows[n:]
	}
	return nil
}

// List reads the lowest rows of a partition.
func List(ctx context.Context, db *database.DB, ownership int32, limit int) ([]Row, error) {
	q := database.Query{What: "reading outgoing rows", SQL: `SELECT id, kind, topic, kafka_partition, record_time, record_key,
		headers, record_value FROM spine_outgoing WHERE ownership = $1 ORDER BY id LIMIT $2`, Args: []any{ownership, limit}}
	return database.List(ctx, db.SQL(), q, func(rows *sql.Rows, out *Row) error {
		var at int64
		var headers []byte
		err := rows.Scan(&out.ID, &out.Kind, &out.Topic, &out.Partition, &at, record.Column{Bytes: &out.Key}, &headers,
			record.Column{Bytes: &out.Value})
		if err != nil {
			return err
		}
		out.Timestamp = time.UnixMicro(at).UTC()
		out.Headers, err = record.DecodeHeaders(headers)
		return err
	})
}

// Remove removes rows that Kafka has acknowledged.
func Remove(ctx context.Context, tx *sql.Tx, ownership int32, ids []int64) error {
	for rest := ids; len(rest) > 0; {
		n := min(len(rest), maxRows)
		args := []any{ownership}
		for _, id := range rest[:n] {
			args = append(args, id)
		}
		//nolint:gosec // placeholders only
		if _, err := tx.ExecContext(ctx, `DELETE FROM spine_outgoing WHERE ownership = $1 AND id IN (`+
			database.Placeholders(2, n)+`)`, args...); err != nil {
			return fmt.Errorf("removing outgoing rows: %w", err)
		}
		rest = rest[n:]
	}
	return nil
}
