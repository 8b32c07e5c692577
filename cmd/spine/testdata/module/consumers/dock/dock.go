// Package dock counts what the carrier took, in the table dock_parcels.
package dock

import (
	"context"
	"embed"
	"fmt"
	"io/fs"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/event"

	"example.com/harbour/schemas/parcel"
)

//go:embed migrations
var files embed.FS

// Group is the reaction.
func Group() consumer.Group {
	tables, err := fs.Sub(files, "migrations")
	if err != nil {
		panic(err)
	}
	return consumer.Group{
		Name: "dock", Owner: "logistics", Start: consumer.FromBeginning, Tables: tables,
		On:      []consumer.Handler{consumer.On(collected)},
		Ledger:  map[string]string{"parcel.collected.v1": "SELECT event_id FROM dock_parcels"},
		Reports: []consumer.Report{{Title: "Parcels that left", Query: "SELECT currency, COUNT(*) AS parcels, SUM(postage) AS units FROM dock_parcels GROUP BY currency"}},
	}
}

func collected(ctx context.Context, tx consumer.Tx, e event.Of[parcel.CollectedV1]) error {
	units, err := e.Data.Postage.Amount.Units(4)
	if err != nil {
		return consumer.Reject(err.Error())
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO dock_parcels (event_id, parcel, postage, currency) VALUES ($1, $2, $3, $4)`,
		e.ID, e.Data.ParcelRef.ID, units, e.Data.Postage.Currency)
	if err != nil {
		return fmt.Errorf("keeping parcel %s: %w", e.Data.ParcelRef.ID, err)
	}
	return nil
}
