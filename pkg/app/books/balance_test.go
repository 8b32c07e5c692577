package books_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/eventspine/spine/pkg/app/books"
)

const placed, invoiced = "order.placed.v2", "invoice.created.v1"

func place(topic string, offset int64) books.Place { return books.Place{Topic: topic, Offset: offset} }

func handled(topic string, offset int64) books.Handled {
	return books.Handled{Place: place(topic, offset), At: time.Date(2026, 3, 14, 11, 0, int(offset), 0, time.UTC)}
}

// balanced is a backbone in which all is well: two deliveries of one shop, each an
// order; one group that writes an invoice for each and publishes it.
func balanced() books.Stock {
	order := func(cause, sequence string, offset int64) *books.Event {
		return &books.Event{
			Type: placed, Source: "shopify/uk", Key: "shopify/uk:1", Cause: cause, Sequence: sequence, Request: "r" + sequence,
			First: place("orders", offset), Copies: 1,
		}
	}
	invoice := func(cause string, offset int64) *books.Event {
		return &books.Event{Type: invoiced, Source: "spine/invoicing", Key: "shopify/uk:1", Cause: cause, First: place("invoices", offset), Copies: 1}
	}
	delivery := func(sequence string, offset int64) *books.Delivery {
		return &books.Delivery{
			System: "shopify", Instance: "uk", First: place("raw", offset), Copies: 1, Request: "r" + sequence,
			Received: time.Date(2026, 3, 14, 11, 0, int(offset)-1, 0, time.UTC),
		}
	}
	return books.Stock{
		Window:     map[string]books.Range{"raw/0": {To: 2}, "orders/0": {To: 2}, "invoices/0": {To: 2}},
		Accepted:   map[string]string{"d1": "shopify/uk", "d2": "shopify/uk"},
		Spooled:    map[string]bool{},
		Deliveries: map[string]*books.Delivery{"d1": delivery("1", 0), "d2": delivery("2", 1)},
		Outcomes:   map[string]books.Outcome{"d1": {Kind: "facts", Events: []string{"o1"}}, "d2": {Kind: "facts", Events: []string{"o2"}}},
		Settled:    map[string]bool{"d1": true, "d2": true},
		Events:     map[string]*books.Event{"o1": order("d1", "1", 0), "o2": order("d2", "2", 1), "i1": invoice("o1", 0), "i2": invoice("o2", 1)},
		Translate: books.Group{
			Name: "translate", Owned: map[string]books.Range{"raw/0": {To: 2}},
			Handled: map[string]books.Handled{"d1": handled("raw", 0), "d2": handled("raw", 1)},
		},
		Groups: []books.Group{{
			Name: "invoicing", Reads: map[string]bool{placed: true}, Owned: map[string]books.Range{"orders/0": {To: 2}},
			Handled: map[string]books.Handled{"o1": handled("orders", 0), "o2": handled("orders", 1)},
			Ledger:  map[string]map[string]int{placed: {"o1": 1, "o2": 1}}, Ordered: true,
			Waiting: map[string]bool{}, Dead: map[string]bool{},
		}},
	}
}

func TestBalance_balanced(t *testing.T) {
	t.Parallel()
	got := books.Balance(balanced())
	want := books.Result{
		Balanced:   true,
		Rows:       []books.Row{{Group: "invoicing", Fact: placed, InStream: 2, Handled: 2}},
		Deliveries: []books.DeliveryRow{{System: "shopify", Instance: "uk", Accepted: 2, Translated: 2}},
		Effects:    []books.EffectRow{},
		Findings:   []string{},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// A call whose outcome only a person can find out is shown, and unbalances nothing.
func TestBalance_effects(t *testing.T) {
	t.Parallel()
	s := balanced()
	s.Groups[0].Effects = &books.EffectRow{Group: "invoicing", Done: 5, Open: 1, Unknown: 2, Dropped: 3}
	got := books.Balance(s)
	if d := cmp.Diff([]books.EffectRow{{Group: "invoicing", Done: 5, Open: 1, Unknown: 2, Dropped: 3}}, got.Effects); d != "" || !got.Balanced {
		t.Errorf("%t: %s", got.Balanced, d)
	}
}

// A fact that was found when its delivery was translated again comes behind what
// followed from later ones: that is no disorder.
func TestBalance_retold(t *testing.T) {
	t.Parallel()
	s := balanced()
	s.Events["o1"].Sequence, s.Events["o2"].Sequence, s.Events["o2"].Retold = "2", "1", true
	if got := books.Balance(s); !got.Balanced {
		t.Errorf("%+v %v", got.Totals, got.Findings)
	}
}

// What a person gave up is counted as that, and is not lost.
func TestBalance_dropped(t *testing.T) {
	t.Parallel()
	s := balanced()
	delete(s.Translate.Handled, "d1")
	delete(s.Groups[0].Handled, "o2")
	delete(s.Groups[0].Ledger[placed], "o2")
	delete(s.Events, "i2")
	s.Translate.Dropped, s.Groups[0].Dropped = map[string]bool{"d1": true}, map[string]bool{"o2": true, "o1": true}
	want := books.Result{
		Balanced:   true,
		Rows:       []books.Row{{Group: "invoicing", Fact: placed, InStream: 2, Handled: 1, Dropped: 1}},
		Deliveries: []books.DeliveryRow{{System: "shopify", Instance: "uk", Accepted: 2, Translated: 1, Dropped: 1}},
		Effects:    []books.EffectRow{},
		Findings:   []string{},
	}
	if d := cmp.Diff(want, books.Balance(s)); d != "" {
		t.Error(d)
	}
}

// Every kind of imbalance, planted alone, is found, named and counted.
func TestBalance_finds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		plant func(s *books.Stock)
		want  books.Totals
		says  string
	}{
		"answered 2xx and kept nowhere": {
			func(s *books.Stock) { s.Accepted["d3"] = "shopify/uk" }, books.Totals{Lost: 1}, "delivery d3 was answered 2xx",
		},
		"a delivery that translate passed by": {
			func(s *books.Stock) { delete(s.Translate.Handled, "d2") }, books.Totals{Lost: 1}, "delivery d2 of shopify/uk is not translated",
		},
		"a translated delivery that nobody sent": {
			func(s *books.Stock) {
				delete(s.Deliveries, "d2")
				s.Accepted = nil
			}, books.Totals{Phantom: 1}, "delivery d2 is translated and is not in Kafka",
		},
		"an event that a group passed by": {
			func(s *books.Stock) {
				delete(s.Groups[0].Handled, "o2")
				delete(s.Groups[0].Ledger[placed], "o2")
				delete(s.Events, "i2")
			}, books.Totals{Lost: 1}, "o2 is in the stream, and invoicing",
		},
		"a fact that translate noted and that never reached Kafka": {
			func(s *books.Stock) {
				s.Outcomes["d2"] = books.Outcome{Kind: "facts", Events: []string{"o2", "o8"}}
			}, books.Totals{Lost: 1}, "delivery d2 was translated into o8, which is not in Kafka",
		},
		"a handled event that is in no topic": {
			func(s *books.Stock) { s.Groups[0].Handled["o3"] = handled("orders", 1) }, books.Totals{Phantom: 1}, "event o3 is handled by invoicing",
		},
		"an effect twice": {
			func(s *books.Stock) { s.Groups[0].Ledger[placed]["o1"] = 2 }, books.Totals{Doubled: 1}, "o1 stands more than once in the tables of invoicing",
		},
		"an effect without its mark": {
			func(s *books.Stock) { s.Groups[0].Ledger[placed]["o9"] = 1 }, books.Totals{Phantom: 1}, "o9 stands in the tables of invoicing",
		},
		"one id, two contents": {
			func(s *books.Stock) { s.Events["o1"].Changed = true }, books.Totals{Doubled: 1}, "o1: two records of one id differ",
		},
		"a published fact whose cause was not handled": {
			func(s *books.Stock) { s.Events["i1"].Cause = "o7" }, books.Totals{Phantom: 1}, "i1 follows from o7",
		},
		"handled in another order than the topic's": {
			func(s *books.Stock) {
				h := s.Groups[0].Handled["o1"]
				h.At = h.At.Add(time.Hour)
				s.Groups[0].Handled["o1"] = h
			}, books.Totals{OutOfOrder: 1}, "event o2 is handled by invoicing before o1",
		},
		"snapshot facts against their sequence": {
			func(s *books.Stock) { s.Events["o1"].Sequence, s.Events["o2"].Sequence = "2", "1" }, books.Totals{OutOfOrder: 1}, "o2 stands behind o1",
		},
		"facts of a group against the order of their causes": {
			func(s *books.Stock) { s.Events["i1"].Cause, s.Events["i2"].Cause = "o2", "o1" }, books.Totals{OutOfOrder: 1}, "i2 stands behind i1",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := balanced()
			c.plant(&s)
			got := books.Balance(s)
			if d := cmp.Diff(c.want, got.Totals); d != "" || got.Balanced {
				t.Errorf("balanced %v, totals (-want +got):\n%s", got.Balanced, d)
			}
			if len(got.Findings) != 1 || !strings.Contains(got.Findings[0], c.says) {
				t.Errorf("findings %q, want one with %q", got.Findings, c.says)
			}
		})
	}
}

// A group without an inbox has handled what is below its offsets and nowhere else;
// what it left is no phantom, and what it left twice is shown and no imbalance.
func TestBalance_atLeastOnce(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		plant func(s *books.Stock, g *books.Group)
		row   books.Row
		want  books.Totals
	}{
		"handled":  {func(*books.Stock, *books.Group) {}, books.Row{Handled: 2}, books.Totals{}},
		"waiting":  {func(_ *books.Stock, g *books.Group) { g.Waiting["o2"] = true }, books.Row{Handled: 1, Parked: 1}, books.Totals{}},
		"dead":     {func(_ *books.Stock, g *books.Group) { g.Dead["o2"] = true }, books.Row{Handled: 1, Dead: 1}, books.Totals{}},
		"given up": {func(_ *books.Stock, g *books.Group) { g.Dropped = map[string]bool{"o2": true} }, books.Row{Handled: 1, Dropped: 1}, books.Totals{}},
		"passed over": {func(_ *books.Stock, g *books.Group) {
			g.Resets = []books.Reset{{Partition: "orders/0", From: 1, To: 2}}
		}, books.Row{Handled: 1, Skipped: 1}, books.Totals{}},
		"its offset lags behind what it has left": {
			func(_ *books.Stock, g *books.Group) { g.Owned["orders/0"] = books.Range{To: 1} }, books.Row{Handled: 1, Pending: 1}, books.Totals{},
		},
		"handled again": {func(_ *books.Stock, g *books.Group) { g.Ledger[placed]["o1"] = 2 }, books.Row{Handled: 2, Doubled: 1}, books.Totals{}},
		"an effect of nothing": {
			func(_ *books.Stock, g *books.Group) { g.Ledger[placed]["o9"] = 1 }, books.Row{Handled: 2}, books.Totals{Phantom: 1},
		},
		"a fact of nothing": {func(s *books.Stock, _ *books.Group) { s.Events["i2"].Cause = "o9" }, books.Row{Handled: 2}, books.Totals{Phantom: 1}},
		"it had an inbox":   {func(_ *books.Stock, g *books.Group) { g.Handled["o1"] = handled("orders", 0) }, books.Row{Handled: 2}, books.Totals{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := balanced()
			g := &s.Groups[0]
			g.AtLeastOnce, g.Handled = true, map[string]books.Handled{}
			c.plant(&s, g)
			got := books.Balance(s)
			c.row.Group, c.row.Fact, c.row.InStream, c.row.AtLeastOnce = "invoicing", placed, 2, true
			if d := cmp.Diff(c.row, got.Rows[0]); d != "" {
				t.Error(d)
			}
			if got.Totals != c.want || got.Balanced != (c.want == books.Totals{}) {
				t.Errorf("%+v, want %+v: %v", got.Totals, c.want, got.Findings)
			}
		})
	}
}

// What is no imbalance.
func TestBalance_accepts(t *testing.T) {
	t.Parallel()
	// forget makes the group know nothing of the second order.
	forget := func(s *books.Stock) *books.Group {
		delete(s.Groups[0].Handled, "o2")
		delete(s.Groups[0].Ledger[placed], "o2")
		delete(s.Events, "i2")
		return &s.Groups[0]
	}
	for name, c := range map[string]struct {
		plant func(s *books.Stock)
		row   books.Row
	}{
		"an event that waits": {func(s *books.Stock) { forget(s).Waiting["o2"] = true }, books.Row{InStream: 2, Handled: 1, Parked: 1}},
		"a dead letter":       {func(s *books.Stock) { forget(s).Dead["o2"] = true }, books.Row{InStream: 2, Handled: 1, Dead: 1}},
		"an event that the group has not reached": {
			func(s *books.Stock) { forget(s).Owned["orders/0"] = books.Range{To: 1} }, books.Row{InStream: 2, Handled: 1, Pending: 1},
		},
		"a partition that the group does not own yet": {
			func(s *books.Stock) {
				g := forget(s)
				delete(g.Handled, "o1")
				delete(s.Events, "i1")
				g.Ledger, g.Owned = nil, nil
			}, books.Row{InStream: 2, Pending: 2},
		},
		"an event from before the group began": {
			func(s *books.Stock) { forget(s).Owned["orders/0"] = books.Range{From: 2, To: 2} }, books.Row{},
		},
		"an event that came after the stream was read": {
			func(s *books.Stock) { s.Groups[0].Handled["o3"] = handled("orders", 2) }, books.Row{InStream: 2, Handled: 2},
		},
		"events from before the window": {
			func(s *books.Stock) {
				delete(s.Events, "o1")
				delete(s.Deliveries, "d1")
				s.Accepted = nil
				s.Window = map[string]books.Range{"raw/0": {From: 1, To: 2}, "orders/0": {From: 1, To: 2}, "invoices/0": {To: 2}}
			}, books.Row{InStream: 1, Handled: 1},
		},
		"a delivery in the spool": {
			func(s *books.Stock) {
				delete(s.Deliveries, "d2")
				delete(s.Translate.Handled, "d2")
				s.Spooled["d2"] = true
			}, books.Row{InStream: 2, Handled: 2},
		},
		"a fact on its way from translate to Kafka": {
			func(s *books.Stock) {
				s.Outcomes["d2"], s.Outgoing = books.Outcome{Kind: "facts", Events: []string{"o2", "o8"}}, 1
			},
			books.Row{InStream: 2, Handled: 2},
		},
		"a delivery that was translated while the stream was read": {
			func(s *books.Stock) {
				s.Outcomes["d2"] = books.Outcome{Kind: "facts", Events: []string{"o2", "o8"}}
				delete(s.Settled, "d2")
			}, books.Row{InStream: 2, Handled: 2},
		},
		"a group whose facts come from effects": {
			func(s *books.Stock) {
				s.Groups[0].Ordered = false
				s.Events["i1"].Cause, s.Events["i2"].Cause = "o2", "o1"
			}, books.Row{InStream: 2, Handled: 2},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := balanced()
			c.plant(&s)
			c.row.Group, c.row.Fact = "invoicing", placed
			got := books.Balance(s)
			if d := cmp.Diff([]books.Row{c.row}, got.Rows); d != "" || !got.Balanced {
				t.Errorf("%q (-want +got):\n%s", got.Findings, d)
			}
		})
	}
}

func TestBalance_deliveries(t *testing.T) {
	t.Parallel()
	s := balanced()
	last := int64(2)
	add := func(id string) {
		s.Deliveries[id] = &books.Delivery{System: "shopify", Instance: "us", First: place("raw", last), Copies: 1}
		last++
	}
	add("no fact")
	s.Translate.Handled["no fact"], s.Outcomes["no fact"] = handled("raw", 2), books.Outcome{Kind: "no_fact"}
	add("dead")
	s.Translate.Dead = map[string]bool{"dead": true}
	s.Translate.Owned["raw/0"] = books.Range{To: last}
	add("on its way")
	got := books.Balance(s)
	want := []books.DeliveryRow{
		{System: "shopify", Instance: "uk", Accepted: 2, Translated: 2}, {System: "shopify", Instance: "us", Accepted: 3, NoFact: 1, Dead: 1, Pending: 1},
	}
	if d := cmp.Diff(want, got.Deliveries); d != "" || !got.Balanced {
		t.Errorf("%q (-want +got):\n%s", got.Findings, d)
	}
}

func TestBalance_findingsAreBounded(t *testing.T) {
	t.Parallel()
	s := balanced()
	for i := range 150 {
		s.Accepted["x"+time.Duration(i).String()] = "shopify/uk"
	}
	got := books.Balance(s)
	if n := len(got.Findings); got.Totals.Lost != 150 || n != 101 || got.Findings[n-1] != "and 50 more" {
		t.Errorf("lost %d, %d findings, the last %q", got.Totals.Lost, n, got.Findings[n-1])
	}
	again := books.Balance(s)
	if d := cmp.Diff(got, again); d != "" {
		t.Errorf("the same books, another result:\n%s", d)
	}
}

func TestLatencies(t *testing.T) {
	t.Parallel()
	s := balanced()
	got := s.Latencies()
	if d := cmp.Diff([]float64{1000, 1000}, got); d != "" {
		t.Error(d)
	}
	if q := books.Quantile(got, 0.99); q != 1000 {
		t.Errorf("quantile %v", q)
	}
	if q := books.Quantile(nil, 0.5); q != 0 {
		t.Errorf("quantile of nothing %v", q)
	}
	s.Events["o1"].Copies = 3
	if n := s.Duplicates(s.Groups[0]); n != 2 {
		t.Errorf("%d duplicates, want 2", n)
	}
}
