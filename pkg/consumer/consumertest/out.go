package consumertest

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/wire"
	"github.com/eventspine/spine/pkg/wire/avrobin"
)

// out is what a handler sees as consumer.Out: as strict as that of dispatch.
type out struct {
	engine *engine
	tx     once.Tx
	cause  wire.Cause
}

func causeOf(group string, e event.Event) wire.Cause {
	at, err := wire.IDTimeOf(e.ID)
	if err != nil {
		at = e.OccurredAt
	}
	return wire.Cause{
		Source: "spine/" + group, Origin: event.OriginProcess, IDAt: at, RecordedAt: e.RecordedAt,
		Correlation: e.CorrelationID, Causation: e.ID, Test: e.Test,
	}
}

// published is a fact as it leaves.
type published struct {
	ID, Type, Key string
	Fact          event.Fact
}

// Publish is part of consumer.Out.
func (o *out) Publish(n event.New) error {
	if n.Fact == nil {
		return errors.New("publishing: no fact")
	}
	if !slices.ContainsFunc(o.engine.group.Emits, func(f event.Fact) bool { return f.EventType() == n.Fact.EventType() }) {
		return fmt.Errorf("publishing %s: the group does not declare it in Emits", n.Fact.EventType())
	}
	e, fact, err := wire.Stamp(n, o.cause)
	if err != nil {
		return err
	}
	if _, err := encoded(fact); err != nil {
		return err
	}
	text, err := json.Marshal(published{e.ID, e.Type, e.Key, fact})
	if err != nil {
		return fmt.Errorf("publishing %s: %w", e.Type, err)
	}
	return o.tx.Send(context.Background(), once.Outgoing{Kind: once.OutFact, Record: once.Record{
		Topic: "out", Partition: -1, Timestamp: e.OccurredAt, Key: []byte(e.ID), Value: text,
	}})
}

// encoded is a fact as it is on the wire.
func encoded(fact event.Fact) ([]byte, error) {
	encoder, ok := fact.(interface{ EncodeAvro(*avrobin.Writer) })
	if !ok {
		return nil, fmt.Errorf("%T is no generated fact", fact)
	}
	w := avrobin.NewWriter()
	encoder.EncodeAvro(w)
	payload, err := w.Finish()
	if err != nil {
		return nil, fmt.Errorf("encoding %s: %w", fact.EventType(), err)
	}
	return slices.Clone(payload), nil
}

// Effect is part of consumer.Out.
func (o *out) Effect(name, key string, args any) error {
	if !slices.ContainsFunc(o.engine.group.Effects, func(e consumer.Effect) bool { return e.Name == name }) {
		return fmt.Errorf("effect %q: the group declares no such effect", name)
	}
	if key == "" {
		return fmt.Errorf("effect %s: an idempotency key is required", name)
	}
	raw, err := json.Marshal(args)
	if err != nil {
		return fmt.Errorf("effect %s: writing its arguments: %w", name, err)
	}
	cause, err := json.Marshal(o.cause)
	if err != nil {
		return fmt.Errorf("effect %s: writing its cause: %w", name, err)
	}
	return o.tx.Effect(context.Background(), once.Effect{Name: name, Key: key, Args: raw, Cause: cause})
}

// tripwire is the SQL of a handler, which a fault cuts before one of its statements.
type tripwire struct {
	consumer.DB
	hooks
	cancel context.CancelFunc
	n      int
}

func (t *tripwire) step() {
	if t.trip != nil && t.n == t.statement {
		*t.reached = true
		t.n++
		t.trip(t.cancel)
	}
	t.n++
}

// ExecContext implements consumer.DB.
func (t *tripwire) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	t.step()
	return t.DB.ExecContext(ctx, query, args...)
}

// PrepareContext implements consumer.DB.
func (t *tripwire) PrepareContext(ctx context.Context, query string) (*sql.Stmt, error) {
	t.step()
	return t.DB.PrepareContext(ctx, query)
}

// QueryContext implements consumer.DB.
func (t *tripwire) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	t.step()
	return t.DB.QueryContext(ctx, query, args...)
}

// QueryRowContext implements consumer.DB.
func (t *tripwire) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	t.step()
	return t.DB.QueryRowContext(ctx, query, args...)
}
