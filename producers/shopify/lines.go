package shopify

import (
	"fmt"
	"strings"

	"github.com/eventspine/spine/pkg/money"
	"github.com/eventspine/spine/pkg/producer"
	"github.com/eventspine/spine/schemas/common"
	"github.com/eventspine/spine/schemas/order"
)

// sku is the shop's own word for an article, or where it has none a word that is
// made of its ids. What is sold without an article is never in stock.
func (i item) sku() string {
	switch {
	case strings.TrimSpace(i.SKU) != "":
		return i.SKU
	case i.Variant != nil:
		return "variant:" + id(*i.Variant)
	}
	return "custom:" + id(i.ID)
}

// isTip tells tips, which the vendor puts among the lines.
func (l line) isTip() bool { return l.Tip != nil || l.TipGateway != "" }

func (l line) quantity() money.Decimal { return money.FromUnits(l.Quantity, 0) }

func (o orderState) lines(d producer.Delivery) []order.PlacedV2Line {
	var lines []order.PlacedV2Line
	for _, l := range o.Lines {
		price := l.Price.Presentment.Amount
		a := o.net(price.Mul(l.quantity()), l.Allocations, l.Taxes)
		fact := order.PlacedV2Line{
			LineID: id(l.ID), SKU: l.sku(), Name: l.Name, Quantity: l.quantity(), Unit: "each",
			UnitPrice: price, DiscountAmount: a.discount, NetAmount: a.net, TaxLines: a.taxes, TaxAmount: a.tax,
			RequiresShipping: l.RequiresShipping == nil || *l.RequiresShipping,
			StockTracked:     l.Variant != nil && l.Inventory != "",
			IsTip:            l.isTip(),
		}
		if l.Product != nil {
			product := ref(d, "product", *l.Product)
			fact.ProductRef = &product
		}
		lines = append(lines, fact)
	}
	return lines
}

func (o orderState) shippingLines() []order.PlacedV2ShippingLine {
	lines := []order.PlacedV2ShippingLine{}
	for _, f := range o.Freight {
		a := o.net(f.Price.Presentment.Amount, f.Allocations, f.Taxes)
		lines = append(lines, order.PlacedV2ShippingLine{
			Code: f.code(), Name: or(f.Title, f.Code), DiscountAmount: a.discount, NetAmount: a.net, TaxLines: a.taxes,
		})
	}
	return lines
}

func (f freight) code() string { return or(f.Code, f.Title) }

// amounts are the parts of a gross amount.
type amounts struct {
	discount, net, tax money.Decimal
	taxes              []common.TaxLine
}

// net takes the discounts off a gross amount, and the taxes where they are a part
// of it.
func (o orderState) net(gross money.Decimal, cuts []allocation, taxes []taxLine) amounts {
	a := amounts{taxes: []common.TaxLine{}}
	for _, c := range cuts {
		a.discount = a.discount.Add(c.Amount.Presentment.Amount)
	}
	for _, t := range taxes {
		a.tax = a.tax.Add(t.Price.Presentment.Amount)
	}
	a.net = gross.Sub(a.discount)
	if o.TaxesIncluded {
		a.net = a.net.Sub(a.tax)
	}
	for _, t := range taxes {
		a.taxes = append(a.taxes, common.TaxLine{
			Code: t.Title, Rate: t.Rate, TaxableAmount: a.net, Amount: t.Price.Presentment.Amount, IncludedInPrice: o.TaxesIncluded,
		})
	}
	return a
}

// discounts are the applications with what each took off which line.
func (o orderState) discounts() ([]order.PlacedV2Discount, error) {
	facts := []order.PlacedV2Discount{}
	for _, d := range o.Discounts {
		facts = append(facts, order.PlacedV2Discount{
			Code: text(or(d.Code, d.Title)), Kind: d.kind(), Target: d.target(), Allocation: []order.PlacedV2DiscountAllocation{},
		})
	}
	take := func(path, lineID string, cuts []allocation) error {
		for i, c := range cuts {
			if c.Index < 0 || c.Index >= len(facts) {
				return wrong(fmt.Sprintf("%s.discount_allocations[%d].discount_application_index", path, i), "the place of a discount in discount_applications")
			}
			f, amount := &facts[c.Index], c.Amount.Presentment.Amount
			f.Amount = f.Amount.Add(amount)
			f.Allocation = append(f.Allocation, order.PlacedV2DiscountAllocation{LineID: lineID, Amount: amount})
		}
		return nil
	}
	for i, l := range o.Lines {
		if err := take(fmt.Sprintf("line_items[%d]", i), id(l.ID), l.Allocations); err != nil {
			return nil, err
		}
	}
	for i, f := range o.Freight {
		if err := take(fmt.Sprintf("shipping_lines[%d]", i), f.code(), f.Allocations); err != nil {
			return nil, err
		}
	}
	return facts, nil
}

func (d discount) kind() order.PlacedV2DiscountKind {
	switch d.Type {
	case "discount_code":
		return order.PlacedV2DiscountKindCode
	case "automatic":
		return order.PlacedV2DiscountKindAutomatic
	case "manual":
		return order.PlacedV2DiscountKindManual
	case "script":
		return order.PlacedV2DiscountKindScript
	}
	return order.PlacedV2DiscountKindUnknown
}

// target is ORDER for what is spread over all lines.
func (d discount) target() order.PlacedV2DiscountTarget {
	switch {
	case d.TargetType == "shipping_line":
		return order.PlacedV2DiscountTargetShipping
	case d.TargetType == "line_item" && d.Selection == "all":
		return order.PlacedV2DiscountTargetOrder
	case d.TargetType == "line_item":
		return order.PlacedV2DiscountTargetLine
	}
	return order.PlacedV2DiscountTargetUnknown
}
