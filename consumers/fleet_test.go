package consumers_test

import (
	"testing"

	"github.com/eventspine/spine/consumers"
	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/consumer/consumertest"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/producers/shopify"
	"github.com/eventspine/spine/schemas"
	"github.com/eventspine/spine/schemas/order"
)

// Every group leaves the same behind, whatever happens to it on the way.
func TestFleet_conformance(t *testing.T) {
	t.Parallel()
	day := twoVersions(aDay(t, 16))
	options := consumertest.Options{
		Events:  func(uint64) []consumertest.Event { return day },
		Schemas: schemas.Files,
		Volatile: []string{ // the time of a call
			"notifications_messages.sent_at", "notification.sent.v1.Meta.OccurredAt",
		},
		Unordered: []string{ // running numbers, and what is left of an article at the time
			"invoicing_invoices.number", "invoicing_invoices.sequence", "invoicing_credit_notes.number", "invoicing_credit_notes.sequence",
			"invoice.created.v1.InvoiceNumber", "credit-note.issued.v1.Number",
			"stock.reserved.v1.AvailableAfter.PoolAvailable",
		},
	}
	for i, g := range consumers.All() {
		t.Run(g.Name, func(t *testing.T) {
			t.Parallel()
			data := t.TempDir()
			consumertest.Run(t, func() consumer.Group { return configured(t, consumers.All()[i], data) }, options)
		})
	}
}

// configured is a group of the demo, with stock of all that the day sells.
func configured(t *testing.T, g consumer.Group, data string) consumer.Group {
	t.Helper()
	if cfg, ok := g.Config.(interface{ Defaults(dataDir string) }); ok {
		cfg.Defaults(data)
	}
	if cfg, ok := g.Config.(interface {
		Demo(shops []event.Instance, skus []string)
	}); ok {
		day := shopify.Adapter().Day
		cfg.Demo(day.Instances, append(day.SKUs, "the one that runs out"))
	}
	if cfg, ok := g.Config.(interface{ Validate() error }); ok {
		if err := cfg.Validate(); err != nil {
			t.Fatal(err)
		}
	}
	return g
}

// twoVersions tells every other order as order.placed.v1, where v1 can say it.
func twoVersions(day []happened) (list []consumertest.Event) {
	for i, h := range day {
		e := consumertest.Event{Event: h.Event, Fact: h.fact}
		if v2, ok := h.fact.(order.PlacedV2); ok && i%2 == 0 {
			if v1, err := order.DowncastPlacedV2(v2, h.Instance); err == nil {
				e.Type, e.Fact = v1.EventType(), v1
			}
		}
		list = append(list, e)
	}
	return list
}
