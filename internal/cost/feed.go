package main

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

// feed is a topic full of orders.
type feed struct {
	topic      string
	partitions int32
	n          int // orders, numbered from 0
}

// load says what the orders of a feed are like.
type load struct {
	n          int
	partitions int32
	keys       int
	types      int
	even       bool // each partition has as many keys as the others
}

func (p *parts) feed(ctx context.Context, l load) (*feed, error) {
	topic, err := p.topic(ctx, l.partitions)
	if err != nil {
		return nil, err
	}
	kinds := orders(max(l.types, 1))
	if err := p.register(ctx, kinds); err != nil {
		return nil, err
	}
	f := &feed{topic: topic, partitions: l.partitions, n: l.n}
	codec, key := p.codec(), l.key()
	var batch []*kgo.Record
	for i := range l.n {
		rec, err := record(ctx, codec, topic, kinds[i%len(kinds)], i, key(i))
		if err != nil {
			return nil, err
		}
		if batch = append(batch, rec); len(batch) == 5000 || i == l.n-1 {
			if err := p.producer.Publish(ctx, batch...); err != nil {
				return nil, err
			}
			batch = batch[:0]
		}
	}
	return f, nil
}

// key says which key an order has.
func (l load) key() func(i int) int {
	if !l.even {
		return func(i int) int { return i % l.keys }
	}
	partition := kgo.StickyKeyPartitioner(nil).ForTopic("")
	var keys []int
	taken := make([]int, l.partitions)
	for key := 0; len(keys) < l.keys; key++ {
		at := partition.Partition(&kgo.Record{Key: []byte(keyOf(strconv.Itoa(key)))}, int(l.partitions))
		if taken[at]*int(l.partitions) < l.keys {
			taken[at]++
			keys = append(keys, key)
		}
	}
	return func(i int) int { return keys[i%l.keys] }
}

// source is where all orders come from.
const source = "shopify/uk"

// keyOf is the record key of an order's facts.
func keyOf(entity string) string { return source + ":" + entity }

func (p *parts) register(ctx context.Context, kinds []kind) error {
	for _, k := range kinds {
		text := k.fact(order.PlacedV2{}).AvroSchema()
		_, rest, _ := strings.Cut(text, `"name":"`)
		name, _, _ := strings.Cut(rest, `"`)
		if _, err := p.registry.CreateSchema(ctx, "spine.order."+name, sr.Schema{Schema: text, Type: sr.TypeAvro}); err != nil {
			return fmt.Errorf("registering %s: %w", name, err)
		}
	}
	return nil
}

// began is the time of the first order: ids are ordered by time, as in operation.
func began() time.Time { return time.Date(2026, 3, 14, 11, 20, 0, 0, time.UTC) }

func record(ctx context.Context, codec *wire.Codec, topic string, k kind, i, key int) (*kgo.Record, error) {
	entity := strconv.Itoa(key)
	at := began().Add(time.Duration(i) * time.Millisecond)
	e, fact, err := wire.Stamp(event.New{Fact: k.fact(placed(i, entity)), Entity: entity, Discriminator: strconv.Itoa(i), At: at}, wire.Cause{
		Source: source, Origin: event.OriginWebhook, RecordedAt: at.Add(time.Second), Correlation: "order:" + keyOf(entity),
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
		OrderNumber: strconv.Itoa(i), PlacedAt: began(), TimeZone: "Europe/London", SalesChannel: "web", Currency: "GBP", ShopCurrency: "GBP",
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
