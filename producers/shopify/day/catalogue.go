package day

import (
	"fmt"
	"strconv"
	"time"

	"github.com/eventspine/spine/pkg/money"
	"github.com/eventspine/spine/pkg/producer"
)

// article is something that the shops of a Day sell. The price is in hundredths of
// a pound, and each shop makes its own price of it.
type article struct {
	sku, title string
	pence      int64
	untracked  bool // made to order, a download: the shop counts no stock
	gift       bool
	zeroTax    bool
}

// catalogue is the assortment, best sellers first. An article without a SKU is
// known by its variant.
func catalogue() []article {
	return []article{
		{sku: "TEE-NAVY-M", title: "Harbour tee, navy, M", pence: 1999},
		{sku: "MUG-ENAMEL", title: "Enamel mug", pence: 1250},
		{sku: "TOTE-CANVAS", title: "Canvas tote", pence: 1650},
		{sku: "TEE-NAVY-L", title: "Harbour tee, navy, L", pence: 1999},
		{sku: "SOCK-WOOL-2", title: "Wool socks, 2 pairs", pence: 1495},
		{sku: "BEANIE-RIB", title: "Ribbed beanie", pence: 1899},
		{sku: "CANDLE-SALT", title: "Sea salt candle", pence: 2200},
		{sku: "NOTE-A5-GRID", title: "Notebook A5, grid", pence: 899, zeroTax: true},
		{sku: "LAMP-BRASS", title: "Brass lamp", pence: 14900},
		{sku: "", title: "Sample fabric", pence: 250},
		{sku: "RAIN-COAT-M", title: "Raincoat, M", pence: 11950},
		{sku: "PRINT-A3-TIDE", title: "Tide table print, A3", pence: 3500, untracked: true},
		{sku: "GIFT-25", title: "Gift card", pence: 2500, untracked: true, gift: true, zeroTax: true},
		{sku: "DECK-CHAIR", title: "Deck chair", pence: 8900},
		{sku: "ROPE-20M", title: "Rope, 20 m", pence: 2765},
	}
}

// variantID is the same in all shops of a Day, as after a copy of the catalogue.
func variantID(i int) int64 { return 44_000_000_000_001 + int64(i) }

// stockedSKUs are the articles whose stock the orders of a Day reserve, as the
// facts name them.
func stockedSKUs() []string {
	var skus []string
	for i, a := range catalogue() {
		switch {
		case a.untracked:
		case a.sku == "":
			skus = append(skus, "variant:"+strconv.FormatInt(variantID(i), 10))
		default:
			skus = append(skus, a.sku)
		}
	}
	return skus
}

// market is where a shop sells to: a currency of its own, and its taxes.
type market struct {
	currency string
	rate     string // units of it for one of the shop's currency
	country  string
	region   string
	taxes    []tax
	duty     int64 // hundredths of a percent of the merchandise
}

type tax struct {
	title string
	rate  string // as a fraction
}

// stage is one shop of a Day.
type stage struct {
	producer.Shop
	zone     *time.Location
	level    int64 // its price of a thing for 100 pence, in minor units
	included bool  // prices contain tax
	home     []market
	abroad   []market
	orders   int64
}

func newStage(s producer.Shop) (*stage, error) {
	zone, err := s.Instance.Location()
	if err != nil {
		return nil, err
	}
	if _, err := money.Exponent(s.Instance.BaseCurrency); err != nil {
		return nil, fmt.Errorf("currency of %s: %w", s.Instance, err)
	}
	st := &stage{Shop: s, zone: zone, level: 100, included: true, orders: 1000}
	switch s.Instance.BaseCurrency {
	case "USD":
		st.level, st.included = 125, false
		st.home = []market{
			{country: "US", region: "NY", taxes: []tax{{"New York State Tax", "0.04"}, {"New York City Tax", "0.04875"}}},
			{country: "US", region: "CA", taxes: []tax{{"California State Tax", "0.0725"}}},
			{country: "US", region: "OR"},
		}
		st.abroad = []market{
			{currency: "CAD", rate: "1.3612", country: "CA", region: "ON", taxes: []tax{{"HST", "0.13"}}, duty: 800},
			{currency: "EUR", rate: "0.9245", country: "FR"},
			{currency: "KWD", rate: "0.3078", country: "KW"},
		}
	case "GBP":
		st.home = []market{{country: "GB", region: "ENG", taxes: []tax{{"GB VAT", "0.2"}}}}
		st.abroad = []market{
			{currency: "EUR", rate: "1.1734", country: "DE", taxes: []tax{{"DE VAT", "0.19"}}},
			{currency: "JPY", rate: "191.2", country: "JP"},
		}
	default: // any other shop sells at home only
		st.home = []market{{taxes: []tax{{"VAT", "0.19"}}}}
	}
	return st, nil
}

// weight is how busy a shop is, in percent of its best hour.
func (s *stage) weight(at time.Duration) float64 {
	hours := [24]float64{12, 8, 5, 4, 4, 6, 12, 22, 35, 45, 50, 55, 62, 60, 52, 50, 54, 62, 75, 95, 100, 92, 60, 30}
	return hours[clock(at).In(s.zone).Hour()]
}

// person is a customer. The addresses are of a domain that is nobody's.
type person struct {
	id          int64
	first, last string
}

func (p person) email() string {
	return fmt.Sprintf("%s.%s.%d@example.com", p.first, p.last, p.id%1000)
}

func (p *play) person() *person {
	first := [...]string{"Ada", "Bram", "Chloe", "Dev", "Elif", "Femi", "Grace", "Hugo", "Ines", "Jun", "Kofi", "Lena", "Mei", "Noor", "Otto", "Priya"}
	last := [...]string{"Archer", "Bose", "Clarke", "Diaz", "Evans", "Fischer", "Garcia", "Hughes", "Ito", "Jansen", "Khan", "Lopez"}
	return &person{id: 7_000_000_000 + p.rand.Int64N(5_000), first: first[p.rand.IntN(len(first))], last: last[p.rand.IntN(len(last))]}
}
