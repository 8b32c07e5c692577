package once

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/once/journal"
	"github.com/eventspine/spine/pkg/once/record"
)

// Tx is a handler's transaction: the SQL connection and what leaves with it. It ends
// with the function that received it.
type Tx struct {
	consumer.DB
	out *leaving
}

// Send adds an outgoing record, relayed in order after the commit.
func (t Tx) Send(_ context.Context, out Outgoing) error {
	if out.Kind != OutFact && out.Kind != OutDeadLetter {
		return fmt.Errorf("sending a record: unknown kind %q", out.Kind)
	}
	t.out.records = append(t.out.records, out)
	return nil
}

// Effect adds a call to the outside, of which Name, Key, Args, Cause and NextAt
// count. It is not added if this group has asked for the same name and key before,
// and suppressed in a replay.
func (t Tx) Effect(_ context.Context, e Effect) error {
	if e.Name == "" || e.Key == "" {
		return errors.New("asking for an effect: needs a name and a key")
	}
	if !t.out.silent { // promise: suppressed in replay
		e.Name, e.Key = id(e.Name), id(e.Key)
		t.out.effects = append(t.out.effects, e)
	}
	return nil
}

// leaving is what a transaction wants done outside.
type leaving struct {
	silent  bool
	records []Outgoing
	effects []Effect
}

// transaction is one transaction of an owner, behind lock and epoch.
type transaction struct {
	*sql.Tx
	o    *Owner
	next int64     // next_offset
	row  WaitState // the state of the row at the offset that was asked for, "" = none
	now  time.Time
}

// call runs a handler and stores what leaves with it.
func (t *transaction) call(ctx, sctx context.Context, silent bool, fn func(context.Context, Tx) error) error {
	g := t.o.s.db.Guard(t.Tx)
	defer g.End()
	out := &leaving{silent: silent}
	if err := fn(ctx, Tx{DB: g, out: out}); err != nil {
		return err
	}
	if err := t.insertOutgoing(sctx, out.records); err != nil {
		return err
	}
	return journal.Add(sctx, t.Tx, t.o.s.group, t.o.id, out.effects)
}

// maxInsert bounds the rows of one INSERT: SQLite takes 32,766 parameters.
const maxInsert = 1000

func (t *transaction) insertOutgoing(ctx context.Context, records []Outgoing) error {
	rows := make([][]any, len(records))
	for i, r := range records {
		rows[i] = []any{
			t.o.id, string(r.Kind), micros(t.now), r.Topic, r.Partition, r.Timestamp.UnixMicro(),
			record.Blob(r.Key), record.EncodeHeaders(r.Headers), record.Blob(r.Value),
		}
	}
	return t.insert(ctx, "outgoing rows", `INSERT INTO spine_outgoing (ownership, kind, created_at, topic,
		kafka_partition, record_time, record_key, headers, record_value) VALUES `, rows)
}

func (t *transaction) insert(ctx context.Context, what, into string, rows [][]any) error {
	for len(rows) > 0 {
		n := min(len(rows), maxInsert)
		var q strings.Builder
		q.WriteString(into)
		var args []any
		for i, row := range rows[:n] {
			if i > 0 {
				q.WriteByte(',')
			}
			q.WriteString("(" + placeholders(len(args)+1, len(row)) + ")")
			args = append(args, row...)
		}
		if _, err := t.ExecContext(ctx, q.String(), args...); err != nil {
			return fmt.Errorf("storing %s: %w", what, err)
		}
		rows = rows[n:]
	}
	return nil
}

// placeholders is "$from,…" for n parameters.
func placeholders(from, n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "$%d", from+i)
	}
	return b.String()
}
