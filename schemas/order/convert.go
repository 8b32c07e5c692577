// Package order holds the facts of orders, and converts order.placed between its
// majors.
package order

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/money"
	"github.com/eventspine/spine/schemas/common"
)

// Codes of conversion errors.
const (
	CodeUnrepresentable = "UNREPRESENTABLE" // a v2 that v1 can't say
	CodeUpcastMoney     = "UPCAST_MONEY"    // a double that is no amount
	CodeUpcastCurrency  = "UPCAST_CURRENCY" // the instance has no known base currency
	CodeUpcastTime      = "UPCAST_TIME"     // a timestamp that is no ISO 8601
)

// UnrepresentableError says which field of a fact its older major can't say. The
// event is refused, never told wrong.
type UnrepresentableError struct {
	Fact   string // "order.placed.v1": the one that can't say it
	Field  string
	Reason string
}

// Code is UNREPRESENTABLE.
func (*UnrepresentableError) Code() string { return CodeUnrepresentable }

// Error names the fact, the field and the reason.
func (e *UnrepresentableError) Error() string {
	return fmt.Sprintf("%s: %s can't say %s: %s", CodeUnrepresentable, e.Fact, e.Field, e.Reason)
}

// UpcastError says which field of an older major can't be read.
type UpcastError struct {
	ErrorCode string // UPCAST_MONEY, UPCAST_CURRENCY, UPCAST_TIME
	Field     string
	Reason    string
}

// Code is the code of the error.
func (e *UpcastError) Code() string { return e.ErrorCode }

// Error names the code, the field and the reason.
func (e *UpcastError) Error() string { return e.ErrorCode + ": " + e.Field + ": " + e.Reason }

// What v1 said and v2 can't keep stands in the extensions, so that the way back
// is exact: a total finer than 4 decimals, a price finer than 6, a timestamp in
// another form than RFC 3339 in UTC with microseconds.
const (
	extUnexplained = "upcast_unexplained" // total − Σ net amounts, where nothing explains it
	extTotal       = "upcast_v1_total"
	extTimestamp   = "upcast_v1_timestamp"
	extPrice       = "upcast_v1_price/" // + line id
)

const (
	priceScale  = 6
	amountScale = 4
)

// Upcasts makes a PlacedV2 of an order.placed.v1.
func (PlacedV2) Upcasts() []event.Upcast {
	return []event.Upcast{{
		From: PlacedV1{}.EventType(),
		New:  func() any { return new(PlacedV1) },
		Convert: func(old any, in event.Instance) (event.Fact, error) {
			switch v1 := old.(type) {
			case *PlacedV1:
				return UpcastPlacedV1(*v1, in)
			case PlacedV1:
				return UpcastPlacedV1(v1, in)
			}
			return nil, fmt.Errorf("upcasting order.placed.v1: got %T", old)
		},
	}}
}

// UpcastPlacedV1 makes an order.placed.v2 of an order.placed.v1: amounts are in
// the instance's base currency, what v1 doesn't say is unknown, and the event
// keeps its id. Taxes are not known, so totals don't add up (UPCAST_PARTIAL).
// An error is an UpcastError.
func UpcastPlacedV1(v1 PlacedV1, in event.Instance) (PlacedV2, error) {
	places, err := money.Exponent(in.BaseCurrency)
	if err != nil {
		return PlacedV2{}, &UpcastError{CodeUpcastCurrency, "currency", fmt.Sprintf("base currency %q of %s: %v", in.BaseCurrency, in, err)}
	}
	placedAt, err := parseTimestamp(v1.Timestamp, in)
	if err != nil {
		return PlacedV2{}, err
	}
	v2 := PlacedV2{
		Meta:         v1.Meta,
		OrderRef:     common.Ref{System: v1.Meta.SourceSystem, Instance: v1.Meta.SourceInstance, Object: "order", ID: v1.OrderID},
		OrderNumber:  v1.OrderID,
		PlacedAt:     placedAt,
		TimeZone:     "UTC",
		SalesChannel: "web",
		Currency:     in.BaseCurrency,
		ShopCurrency: in.BaseCurrency,
		Customer: PlacedV2Customer{
			Ref: &common.Ref{System: v1.Meta.SourceSystem, Instance: v1.Meta.SourceInstance, Object: "customer", ID: v1.CustomerID},
		},
		TaxCompleteness: PlacedV2TaxCompletenessUpcastPartial,
		PaymentTerms:    PlacedV2PaymentTerms{Status: PlacedV2PaymentStatusUnknown},
		Extensions:      map[string]string{},
	}
	if in.TimeZone != "" {
		v2.TimeZone = in.TimeZone
	}
	from := v1.EventType()
	v2.Meta.UpcastFrom = &from
	if formatTimestamp(placedAt) != v1.Timestamp {
		v2.Extensions[extTimestamp] = v1.Timestamp
	}
	if err := upcastItems(&v2, v1.Items, places); err != nil {
		return PlacedV2{}, err
	}
	if err := upcastTotal(&v2, v1, in); err != nil {
		return PlacedV2{}, err
	}
	return v2, nil
}

func upcastItems(v2 *PlacedV2, items []PlacedV1Item, places int) error {
	for i, item := range items {
		id := v2.OrderRef.ID + "/" + strconv.Itoa(i+1)
		price, err := fromDouble(item.Price, priceScale, "items["+strconv.Itoa(i)+"].price")
		if err != nil {
			return err
		}
		if toDouble(price) != item.Price {
			v2.Extensions[extPrice+id] = strconv.FormatFloat(item.Price, 'g', -1, 64)
		}
		quantity := money.FromUnits(int64(item.Quantity), 0)
		net := quantity.Mul(price).Round(places, money.HalfUp)
		if _, err := net.Units(amountScale); err != nil {
			return &UpcastError{CodeUpcastMoney, "items[" + strconv.Itoa(i) + "]", "quantity times price passes decimal(19,4)"}
		}
		v2.Lines = append(v2.Lines, PlacedV2Line{
			LineID: id, SKU: item.SKU, Name: item.SKU, Quantity: quantity, Unit: "each",
			UnitPrice: price, NetAmount: net, RequiresShipping: true,
			StockTracked: true, // v1 knew goods from stock only; an oversell is worse than a shortage
		})
	}
	return nil
}

// upcastTotal explains the difference between total and lines: a cent a line is
// rounding, the rest is shipping where the instance says so, else it stays
// unexplained and is said so.
func upcastTotal(v2 *PlacedV2, v1 PlacedV1, in event.Instance) error {
	total, err := fromDouble(v1.Total, amountScale, "total")
	if err != nil {
		return err
	}
	if toDouble(total) != v1.Total {
		v2.Extensions[extTotal] = strconv.FormatFloat(v1.Total, 'g', -1, 64)
	}
	var net money.Decimal
	for _, l := range v2.Lines {
		net = net.Add(l.NetAmount)
	}
	if _, err := net.Units(amountScale); err != nil {
		return &UpcastError{CodeUpcastMoney, "items", "their sum passes decimal(19,4)"}
	}
	t := common.Totals{Merchandise: net, GrandTotal: total}
	gap, cents := total.Sub(net), money.FromUnits(int64(len(v2.Lines)), 2)
	switch {
	case gap.Abs().Cmp(cents) <= 0:
		t.Rounding = gap
	case in.V1Shipping && gap.Sign() > 0:
		t.Shipping = gap
	default:
		v2.Extensions[extUnexplained] = gap.String()
	}
	v2.Totals, v2.ShopTotals = t, t
	return nil
}

// DowncastPlacedV2 makes an order.placed.v1 of an order.placed.v2 for readers that
// know nothing newer. It is partial: what v1 would tell wrong is an
// UnrepresentableError.
func DowncastPlacedV2(v2 PlacedV2, in event.Instance) (PlacedV1, error) {
	if v2.Currency != in.BaseCurrency {
		return PlacedV1{}, refuse("currency", fmt.Sprintf("%s is not the base currency %q of %s", v2.Currency, in.BaseCurrency, in))
	}
	v1 := PlacedV1{Meta: v2.Meta, OrderID: v2.OrderRef.ID, Timestamp: formatTimestamp(v2.PlacedAt)}
	if from := v1.Meta.UpcastFrom; from != nil && *from == v1.EventType() {
		v1.Meta.UpcastFrom = nil
	}
	if v2.Customer.Ref != nil {
		v1.CustomerID = v2.Customer.Ref.ID
	}
	if text, kept := v2.Extensions[extTimestamp]; kept {
		if at, err := parseTimestamp(text, in); err == nil && at.Equal(v2.PlacedAt) {
			v1.Timestamp = text
		}
	}
	var err error
	if v1.Total, err = downcastMoney(v2.Totals.GrandTotal, amountScale, v2.Extensions[extTotal], "totals.grand_total"); err != nil {
		return PlacedV1{}, err
	}
	for i, l := range v2.Lines {
		at := "lines[" + strconv.Itoa(i) + "]"
		n, err := l.Quantity.Units(0)
		if err != nil || n < math.MinInt32 || n > math.MaxInt32 {
			return PlacedV1{}, refuse(at+".quantity", l.Quantity.String()+" is no whole number of 32 bits")
		}
		price, err := downcastMoney(l.UnitPrice, priceScale, v2.Extensions[extPrice+l.LineID], at+".unit_price")
		if err != nil {
			return PlacedV1{}, err
		}
		v1.Items = append(v1.Items, PlacedV1Item{SKU: l.SKU, Quantity: int32(n), Price: price})
	}
	return v1, nil
}

func refuse(field, reason string) error {
	return &UnrepresentableError{Fact: PlacedV1{}.EventType(), Field: field, Reason: reason}
}

// downcastMoney is the double that reads back as d at its scale. That is a little
// stricter than a tolerance of 0.00005, so that up after down gives d again.
// original is the double that d was made from, "" where it was made from none.
func downcastMoney(d money.Decimal, scale int, original, field string) (float64, error) {
	if f, err := strconv.ParseFloat(original, 64); err == nil {
		if back, err := fromDouble(f, scale, field); err == nil && back.Equal(d) {
			return f, nil
		}
	}
	f := toDouble(d)
	if back, err := fromDouble(f, scale, field); err != nil || !back.Equal(d) {
		return 0, refuse(field, d.String()+" is no exact double")
	}
	return f, nil
}

// fromDouble is the shortest decimal text of a double, rounded half up to the
// scale: for a price at most 0.0000005 away, within what v2 allows.
func fromDouble(f float64, scale int, field string) (money.Decimal, error) {
	bad := func(reason string) error {
		return &UpcastError{CodeUpcastMoney, field, strconv.FormatFloat(f, 'g', -1, 64) + " " + reason}
	}
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return money.Decimal{}, bad("is no amount")
	}
	if math.Abs(f) < 1e-30 {
		return money.Decimal{}, nil // its text would be longer than money reads
	}
	d, err := money.Parse(strconv.FormatFloat(f, 'f', -1, 64))
	if err != nil {
		return money.Decimal{}, bad(err.Error())
	}
	d = d.Round(scale, money.HalfUp)
	if _, err := d.Units(scale); err != nil {
		return money.Decimal{}, bad("passes decimal(19," + strconv.Itoa(scale) + ")")
	}
	return d, nil
}

// toDouble is the double nearest to d.
func toDouble(d money.Decimal) float64 {
	f, err := strconv.ParseFloat(d.String(), 64)
	if err != nil {
		return math.NaN() // unreachable: a decimal of 19 digits is a double
	}
	return f
}

func formatTimestamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// parseTimestamp reads ISO 8601, to the microsecond; a time without a zone is in
// the zone of the instance.
func parseTimestamp(text string, in event.Instance) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999Z0700"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC().Truncate(time.Microsecond), nil
		}
	}
	zone, err := in.Location()
	if err != nil {
		return time.Time{}, &UpcastError{CodeUpcastTime, "timestamp", err.Error()}
	}
	t, err := time.ParseInLocation("2006-01-02T15:04:05.999999999", text, zone)
	if err != nil {
		return time.Time{}, &UpcastError{CodeUpcastTime, "timestamp", fmt.Sprintf("%q is no ISO 8601", text)}
	}
	return t.UTC().Truncate(time.Microsecond), nil
}
