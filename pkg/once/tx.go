package once

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/once/journal"
	"github.com/eventspine/spine/pkg/once/outgoing"
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
		e.Name, e.Key = record.ID(e.Name), record.ID(e.Key)
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
	out := &leaving{silent: silent}
	if err := t.run(ctx, out, fn); err != nil {
		return err
	}
	return t.leave(sctx, out)
}

// run runs a handler, whose SQL ends with it.
func (t *transaction) run(ctx context.Context, out *leaving, fn func(context.Context, Tx) error) error {
	g := t.o.s.db.Guard(t.Tx)
	defer g.End()
	return fn(ctx, Tx{DB: g, out: out})
}

// leave stores what leaves with the transaction.
func (t *transaction) leave(ctx context.Context, out *leaving) error {
	if err := outgoing.Add(ctx, t.Tx, t.o.id, out.records); err != nil {
		return err
	}
	return journal.Add(ctx, t.Tx, t.o.s.group, t.o.id, out.effects)
}
