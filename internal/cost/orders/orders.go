package orders

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/money"
	"github.com/eventspine/spine/pkg/wire"
	"github.com/eventspine/spine/schemas/common"
	"github.com/eventspine/spine/schemas/order"
)

// source is where all orders come from.
const source = "shopify/uk"

// KeyOf is the record key of an order's facts.
func KeyOf(entity string) string { return source + ":" + entity }

// Began is the time of the first order: ids are ordered by time, as in operation.
func Began() time.Time { return time.Date(2026, 3, 14, 11, 20, 0, 0, time.UTC) }

// Record is the record of order i, of the entity key.
func (k Kind) Record(ctx context.Context, codec *wire.Codec, topic string, i, key int) (*kgo.Record, error) {
	entity := strconv.Itoa(key)
	at := Began().Add(time.Duration(i) * time.Millisecond)
	e, fact, err := wire.Stamp(event.New{Fact: k.fact(placed(i, entity)), Entity: entity, Discriminator: strconv.Itoa(i), At: at}, wire.Cause{
		Source: source, Origin: event.OriginWebhook, RecordedAt: at.Add(time.Second), Correlation: "order:" + KeyOf(entity),
	})
	if err != nil {
		return nil, err
	}
	return codec.Encode(ctx, topic, e, fact)
}

// placed is an order of four lines, its number i.
func placed(i int, entity string) order.PlacedV2 {
	amount := func(units int64) money.Decimal { return money.FromUnits(units*10_000, 4) }
	totals := common.Totals{
		Merchandise: amount(100), Discount: amount(0), Shipping: amount(5), Tax: amount(20), Duties: amount(0), Tips: amount(0),
		Fees: amount(0), GrandTotal: amount(125),
	}
	o := order.PlacedV2{
		OrderRef:    common.Ref{System: "shopify", Instance: "uk", Object: "order", ID: entity},
		OrderNumber: strconv.Itoa(i), PlacedAt: Began(), TimeZone: "Europe/London", SalesChannel: "web", Currency: "GBP", ShopCurrency: "GBP",
		Customer:       order.PlacedV2Customer{Email: ptr("ada@example.com"), FirstName: ptr("Ada"), LastName: ptr("Byron"), Locale: ptr("en-GB"), IsGuest: true},
		BillingAddress: &common.Address{Name: "Ada Byron", Line1: "12 St James's Square", City: "London", PostalCode: ptr("SW1Y 4JH"), CountryCode: "GB"},
		Totals:         totals, ShopTotals: totals, PricesIncludeTax: true,
		TaxCompleteness: order.PlacedV2TaxCompletenessFull, PaymentTerms: order.PlacedV2PaymentTerms{Method: ptr("card"), Status: order.PlacedV2PaymentStatusUnknown},
		Extensions: map[string]string{"landing_site": "/"},
	}
	for line := range 4 {
		id := strconv.Itoa(line + 1)
		o.Lines = append(o.Lines, order.PlacedV2Line{
			LineID: id, SKU: "SKU-000" + id, Name: "Article " + id, Quantity: amount(1), Unit: "C62", UnitPrice: money.FromUnits(25_000_000, 6),
			DiscountAmount: amount(0), NetAmount: amount(25), TaxAmount: amount(5), RequiresShipping: true, StockTracked: true,
			TaxLines: []common.TaxLine{{Code: "VAT", Rate: money.FromUnits(200_000, 6), TaxableAmount: amount(25), Amount: amount(5), IncludedInPrice: true}},
		})
	}
	return o
}

func ptr(s string) *string { return &s }

// Register registers the schemas of kinds.
func Register(ctx context.Context, registry *sr.Client, kinds []Kind) error {
	for _, k := range kinds {
		text := k.Schema
		_, rest, _ := strings.Cut(text, `"name":"`)
		name, _, _ := strings.Cut(rest, `"`)
		if _, err := registry.CreateSchema(ctx, "spine.order."+name, sr.Schema{Schema: text, Type: sr.TypeAvro}); err != nil {
			return fmt.Errorf("registering %s: %w", name, err)
		}
	}
	return nil
}
