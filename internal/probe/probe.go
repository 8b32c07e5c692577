// Package probe is a group that fault runs add to the fleet: its handlers are not
// idempotent, so that its table shows what the runtime alone makes of redelivery.
package probe

import (
	"context"
	"embed"
	"fmt"
	"io/fs"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/schemas/order"
	"github.com/eventspine/spine/schemas/payment"
	"github.com/eventspine/spine/schemas/refund"
)

//go:embed migrations
var files embed.FS

// Group adds a row for each event of an order, in the order in which it is handled.
// It needs PostgreSQL.
func Group() (consumer.Group, error) {
	tables, err := fs.Sub(files, "migrations")
	if err != nil {
		return consumer.Group{}, err
	}
	g := consumer.Group{
		Name: "probe", Owner: "engineering", Start: consumer.FromBeginning, Backfill: true, Tables: tables, Ledger: map[string]string{},
		On: []consumer.Handler{
			consumer.On(mark[order.PlacedV2]), consumer.On(mark[order.EditedV1]), consumer.On(mark[order.CancelledV1]),
			consumer.On(mark[payment.ReceivedV1]), consumer.On(mark[refund.IssuedV1]),
		},
	}
	for _, h := range g.On {
		g.Ledger[h.Type] = `SELECT event_id FROM probe_effects WHERE fact = '` + h.Type + `'`
	}
	return g, nil
}

func mark[T event.Fact](ctx context.Context, tx consumer.Tx, e event.Of[T]) error {
	if _, err := tx.ExecContext(ctx, `INSERT INTO probe_effects (event_id, fact) VALUES ($1, $2)`, e.ID, e.Data.EventType()); err != nil {
		return fmt.Errorf("marking the event: %w", err)
	}
	return nil
}
