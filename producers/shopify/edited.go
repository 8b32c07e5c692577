package shopify

import (
	"fmt"
	"time"

	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/money"
	"github.com/eventspine/spine/pkg/producer"
	"github.com/eventspine/spine/schemas/order"
)

// edit is the body of orders/edited: what was changed, without totals and without
// the lines themselves.
type edit struct {
	Edit struct {
		ID          int64     `json:"id" spine:"required"`
		OrderID     int64     `json:"order_id" spine:"required"`
		CommittedAt time.Time `json:"committed_at" spine:"required"`
		StaffNote   string    `json:"staff_note"`
		Lines       struct {
			Additions []delta `json:"additions"`
			Removals  []delta `json:"removals"`
		} `json:"line_items" spine:"required"`
	} `json:"order_edit" spine:"required"`
}

type delta struct {
	ID    int64 `json:"id" spine:"required"`
	Delta int64 `json:"delta" spine:"required"`
}

func editFacts(d producer.Delivery, e edit) ([]event.New, error) {
	added, err := deltas("order_edit.line_items.additions", e.Edit.Lines.Additions)
	if err != nil {
		return nil, err
	}
	removed, err := deltas("order_edit.line_items.removals", e.Edit.Lines.Removals)
	if err != nil {
		return nil, err
	}
	at := micros(e.Edit.CommittedAt)
	return []event.New{{
		Fact: order.EditedV1{
			OrderRef: ref(d, "order", e.Edit.OrderID), EditID: id(e.Edit.ID), EditedAt: at,
			LinesAdded: added, LinesRemoved: removed, Reason: text(e.Edit.StaffNote), Extensions: map[string]string{},
		},
		Entity: id(e.Edit.OrderID), Discriminator: id(e.Edit.ID), At: at,
	}}, nil
}

func deltas(path string, of []delta) ([]order.EditedV1LineDelta, error) {
	facts := []order.EditedV1LineDelta{}
	for i, c := range of {
		if c.Delta <= 0 || c.Delta > 1_000_000_000 {
			return nil, wrong(fmt.Sprintf("%s[%d].delta", path, i), "a quantity from 1 to 1,000,000,000")
		}
		facts = append(facts, order.EditedV1LineDelta{LineID: id(c.ID), Quantity: money.FromUnits(c.Delta, 0)})
	}
	return facts, nil
}
