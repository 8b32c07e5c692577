package day

import "github.com/eventspine/spine/pkg/money"

// fill puts one to five lines into the order.
func (p *play) fill(s *sale, burst bool) {
	s.LineItems = []wireLine{}
	articles := catalogue()
	for first := true; first || len(s.lines) < 5 && p.chance(45); first = false {
		u := p.rand.Float64()
		pick := int(u * u * float64(len(articles))) // best sellers first
		if burst {
			pick = p.rand.IntN(3)
		}
		p.add(s, pick, articles[pick], p.quantity())
	}
	if p.chance(2) {
		p.addCustom(s)
	}
}

func (p *play) quantity() int64 {
	switch {
	case p.chance(82):
		return 1
	case p.chance(70):
		return 2
	}
	return 3 + p.rand.Int64N(9)
}

// add puts an article into the order.
func (p *play) add(s *sale, pick int, a article, quantity int64) {
	product, variant, sku := 8_000_000_000_001+int64(pick), variantID(pick), a.sku
	line := wireLine{
		ID: p.id(), Name: a.title, Title: a.title, Quantity: quantity, CurrentQuantity: quantity, Fulfillable: quantity, GiftCard: a.gift,
		ProductExists: true, ProductID: &product, RequiresShipping: !a.gift, SKU: &sku, Taxable: !a.zeroTax, VariantID: &variant, Grams: 200, TotalDiscount: "0.00",
	}
	if !a.untracked {
		keeper := "shopify"
		line.VariantInventory = &keeper
	}
	s.put(line, charge{price: s.of(a.pence * s.level / 100), quantity: quantity, untaxed: a.zeroTax})
}

// addCustom puts in a line that is no article: no variant, no SKU.
func (p *play) addCustom(s *sale) {
	s.put(wireLine{
		ID: p.id(), Name: "Gift wrapping", Title: "Gift wrapping", Quantity: 1, CurrentQuantity: 1, Fulfillable: 1, RequiresShipping: true, Taxable: true, TotalDiscount: "0.00",
	}, charge{price: s.of(4 * s.level), quantity: 1})
}

// tip is what some customers give at the counter.
func (p *play) tip(s *sale) {
	if !p.chance(40) {
		return
	}
	s.put(wireLine{ID: p.id(), Name: "Tip", Title: "Tip", Quantity: 1, CurrentQuantity: 1, Tip: &wireTip{}, TotalDiscount: "0.00"},
		charge{price: s.of((1 + p.rand.Int64N(5)) * s.level), quantity: 1, untaxed: true, tip: true})
}

func (s *sale) put(line wireLine, c charge) {
	line.GraphQL, line.Price, line.PriceSet = gid("LineItem", line.ID), s.text(c.price), s.set(c.price)
	s.LineItems, s.lines = append(s.LineItems, line), append(s.lines, c)
}

// ship charges for shipping; some customers have a code for free shipping.
func (p *play) ship(s *sale) {
	price, code := s.of(395*s.level/100), "STANDARD"
	if p.chance(20) {
		price, code = s.of(995*s.level/100), "EXPRESS"
	}
	c := charge{price: price, quantity: 1}
	if p.chance(4) {
		index := s.apply(wireApplication{TargetType: "shipping_line", Type: "discount_code", Value: "100.0", ValueType: "percentage", Allocation: "each", TargetSelection: "all"}, "SHIPFREE")
		c.cuts = append(c.cuts, cut{index, price})
	}
	s.ShippingLines = append(s.ShippingLines, wireShipping{ID: p.id(), Code: code, Title: code, Source: "shopify", Price: s.text(price), PriceSet: s.set(price)})
	s.freight = append(s.freight, c)
}

// apply enters a discount of the order. A code stands as code, anything else as title.
func (s *sale) apply(a wireApplication, name string) int {
	if a.Type == "discount_code" {
		a.Code = &name
	} else {
		a.Title = &name
	}
	s.DiscountApplied = append(s.DiscountApplied, a)
	return len(s.DiscountApplied) - 1
}

// discount gives a part of the orders a discount, of every kind that there is.
func (p *play) discount(s *sale) {
	application := wireApplication{TargetType: "line_item", Value: "10.0", ValueType: "percentage", Allocation: "across", TargetSelection: "all"}
	one := application
	one.Value, one.Allocation, one.TargetSelection = "5.0", "each", "entitled"
	switch {
	case p.chance(16):
		application.Type = "discount_code"
		s.cutAll(s.apply(application, "SPRING10"), 10)
	case p.chance(5):
		one.Type = "automatic"
		s.cutLine(s.apply(one, "Buy more, save"), 0, 5)
	case p.chance(2):
		application.Type = "manual"
		s.cutAll(s.apply(application, "Sorry for the wait"), 10)
	case p.chance(1):
		one.Type = "script"
		s.cutLine(s.apply(one, "VIP"), 0, 5)
	}
	if p.chance(2) { // a second one on top
		one.Type = "automatic"
		s.cutLine(s.apply(one, "Happy hour"), len(s.lines)-1, 5)
	}
}

func (s *sale) cutAll(index int, percent int64) {
	for i := range s.lines {
		s.cutLine(index, i, percent)
	}
}

func (s *sale) cutLine(index, i int, percent int64) {
	amount := s.part(s.lines[i].gross(), money.FromUnits(percent, 2), money.FromUnits(1, 0))
	s.lines[i].cuts = append(s.lines[i].cuts, cut{index, amount})
}
