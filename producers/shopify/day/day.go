// Package day makes a believable trading day of Shopify shops: orders, payments,
// edits, cancellations and refunds as signed requests, with the duplicates, the
// disorder and the refuse that come with them in life.
package day

import (
	"cmp"
	"container/heap"
	"iter"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/producer"
)

// dayStart is when a Day begins: a Friday with American summer time and without a
// British one, so that the two shops' business dates differ as they do in life.
const dayStart = 1_773_360_000 // 2026-03-13T00:00:00Z, in seconds since 1970

// clock is the time of day at an offset from its start.
func clock(at time.Duration) time.Time { return time.Unix(dayStart, 0).UTC().Add(at) }

// A sale begins in the shops' busy hours, and customers come in a burst.
const burstStart, burstLength = 18*time.Hour + 30*time.Minute, 2 * time.Minute

// New is the trading day of two shops: one sells in pounds with taxes included, one
// in dollars with taxes on top, both also in other currencies. It plays other shops
// too; they sell at home only. Names and addresses of customers are made up.
func New() producer.Day {
	return producer.Day{
		Instances: []event.Instance{
			{
				System: "shopify", Name: "uk", BaseCurrency: "GBP", TimeZone: "Europe/London", LegalEntity: "UK01", Warehouses: []string{"wms/east"},
				ShopDomain: "harbour-lane-uk.myshopify.com", TaxPolicy: "LINE_HALF_UP", Calendar: "gb-eng", PaymentDays: 30,
			},
			{
				System: "shopify", Name: "us", BaseCurrency: "USD", TimeZone: "America/New_York", LegalEntity: "US01", Warehouses: []string{"wms/west"},
				ShopDomain: "harbour-lane-us.myshopify.com", TaxPolicy: "LINE_HALF_UP", Calendar: "us-federal", PaymentDays: 30,
			},
		},
		SKUs:  stockedSKUs(),
		Calls: calls,
		HowToSign: `  curl -i {url} --data-binary @{file} -H 'Content-Type: application/json' \
    -H 'X-Shopify-Topic: orders/create' -H 'X-Shopify-Shop-Domain: {domain}' \
    -H "X-Shopify-Hmac-Sha256: $(openssl dgst -sha256 -hmac "{secret}" -binary {file} | base64)"`,
	}
}

// calls plays the orders side by side: what is to happen next stands in an agenda,
// so only the orders that something still happens to are in memory.
func calls(seed uint64, orders int, shops []producer.Shop) iter.Seq[producer.Call] {
	return func(yield func(producer.Call) bool) {
		p := &play{rand: rand.New(rand.NewPCG(seed, 0x5eed)), nextID: int64(1_000+seed%8_000) * 1_000_000_000_000}
		for _, s := range shops {
			stage, err := newStage(s)
			if err != nil {
				continue // a shop whose zone or currency nobody knows sells nothing
			}
			p.stages = append(p.stages, stage)
		}
		if len(p.stages) == 0 || orders <= 0 {
			return
		}
		p.schedule(orders)
		for p.agenda.Len() > 0 {
			next := heap.Pop(&p.agenda).(step) //nolint:forcetypeassert // an agenda holds steps
			if next.do != nil {
				next.do(next.at)
				continue
			}
			next.call.After = next.at
			if !yield(next.call) {
				return
			}
		}
	}
}

// play is one run of a Day.
type play struct {
	rand   *rand.Rand
	stages []*stage
	agenda agenda
	count  int   // steps so far: equal times keep their order
	nextID int64 // ids of Shopify are unique over all shops
}

func (p *play) id() int64 {
	p.nextID += 1 + p.rand.Int64N(40)
	return p.nextID
}

// chance is true in so many of a hundred cases.
func (p *play) chance(percent float64) bool { return p.rand.Float64()*100 < percent }

// between is a random duration, in whole seconds.
func (p *play) between(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(p.rand.Int64N(int64((hi-lo)/time.Second)+1))*time.Second
}

// schedule spreads the orders over the day as customers do: few by night, most in
// the evening of the shop's own zone, and a burst when a sale begins.
func (p *play) schedule(orders int) {
	type arrival struct {
		at    time.Duration
		stage *stage
	}
	arrivals := make([]arrival, 0, orders)
	for len(arrivals) < orders {
		a := arrival{p.between(0, 24*time.Hour-time.Second), p.stages[p.rand.IntN(len(p.stages))]}
		if p.chance(8) {
			a.at = burstStart + p.between(0, burstLength-time.Second)
		} else if !p.chance(a.stage.weight(a.at)) {
			continue
		}
		arrivals = append(arrivals, a)
	}
	slices.SortStableFunc(arrivals, func(a, b arrival) int { return cmp.Compare(a.at, b.at) })
	for i, a := range arrivals {
		lost := i == orders/3 || p.chance(0.3)
		p.at(a.at, func(at time.Duration) { p.arrive(a.stage, at, lost) })
		if i == orders/2 || i%400 == 399 {
			p.at(a.at, func(at time.Duration) { p.noise(a.stage, at) })
		}
	}
}
