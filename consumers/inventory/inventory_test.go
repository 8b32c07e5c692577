package inventory_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/eventspine/spine/consumers/internal/grouptest"
	"github.com/eventspine/spine/consumers/inventory"
	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/schemas/order"
	"github.com/eventspine/spine/schemas/refund"
	"github.com/eventspine/spine/schemas/stock"
)

var noon = time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)

// group has a pool of two warehouses and the given stock: sku@warehouse=on hand.
func group(t *testing.T, oversell bool, levels ...string) consumer.Group {
	t.Helper()
	g := inventory.Group()
	cfg, ok := g.Config.(*inventory.Config)
	if !ok {
		t.Fatalf("config is a %T", g.Config)
	}
	cfg.Pools = map[string]inventory.Pool{"main": {Warehouses: []string{"wms/west", "wms/east"}, Oversell: oversell}}
	for _, l := range levels {
		sku, rest, _ := strings.Cut(l, "@")
		warehouse, onHand, _ := strings.Cut(rest, "=")
		cfg.Levels = append(cfg.Levels, inventory.Level{SKU: sku, Warehouse: warehouse, OnHand: onHand})
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	return g
}

func anOrder(id string, lines ...grouptest.Line) grouptest.Order {
	return grouptest.Order{Instance: grouptest.UK(), ID: id, At: noon, Lines: lines}
}

func handle(t *testing.T, k *grouptest.Kit, e event.Event, fact event.Fact) grouptest.Out {
	t.Helper()
	out, err := k.Handle(t.Context(), e, fact)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// said is what left the group, in short.
func said(out grouptest.Out) []string {
	all := []string{}
	for _, f := range out.Facts {
		switch f := f.(type) {
		case stock.ReservedV1:
			for _, l := range f.Lines {
				all = append(all, fmt.Sprintf("reserved %s %s %s", l.LineID, l.Quantity, l.Warehouse.ID))
			}
		case stock.ShortageDetectedV1:
			for _, l := range f.Lines {
				all = append(all, fmt.Sprintf("short %s %s of %s in %s", l.LineID, l.Available, l.Requested, l.Pool))
			}
		case stock.ReservationReleasedV1:
			for _, l := range f.Lines {
				all = append(all, fmt.Sprintf("released %s %s %s %s", l.LineID, l.Quantity, l.Warehouse.ID, f.Reason))
			}
		}
	}
	return all
}

func want[T any](t *testing.T, got, want T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func levels(t *testing.T, k *grouptest.Kit) []string {
	t.Helper()
	return k.Query(t, `SELECT sku, warehouse, on_hand, reserved, available FROM inventory_levels_view ORDER BY sku, warehouse`)
}

func TestPlaced_reservesPerLine(t *testing.T) {
	t.Parallel()
	grouptest.Each(t, func() consumer.Group { return group(t, false, "A@wms/east=5", "A@wms/west=3", "B@wms/east=1") }, func(k *grouptest.Kit) {
		t := k.T
		o := anOrder("1",
			grouptest.Line{ID: "a", SKU: "A", Quantity: "3", Price: "1"},
			grouptest.Line{ID: "b", SKU: "B", Quantity: "2", Price: "1"},
			grouptest.Line{ID: "c", SKU: "custom:c", Quantity: "1", Price: "1"},
			grouptest.Line{ID: "d", SKU: "D", Quantity: "1", Price: "1", Untracked: true},
			grouptest.Line{ID: "e", SKU: "A", Quantity: "4.5", Price: "1"},
		)
		out := handle(t, k, o.PlacedEvent(), o.Placed())
		// The shop prefers east; e is split, because no warehouse has 4.5 left.
		want(t, said(out), []string{"reserved a 3 wms/east", "reserved e 2 wms/east", "reserved e 2.5 wms/west", "short b 1 of 2 in main"})
		want(t, levels(t, k), []string{"A|wms/east|5.0000|5.0000|0.0000", "A|wms/west|3.0000|2.5000|0.5000", "B|wms/east|1.0000|0.0000|1.0000"})
		reserved, ok := out.Facts[0].(stock.ReservedV1)
		if !ok {
			t.Fatalf("got %T", out.Facts[0])
		}
		want(t, reserved.ReservationID, "shopify/uk:1#1")
		want(t, reserved.AvailableAfter[0].PoolAvailable.String(), "0.5")
		want(t, out.Events[0].Key, "shopify/uk:1")
		want(t, k.Query(t, `SELECT fact, order_key, effect FROM inventory_effects`), []string{"order.placed.v2|shopify/uk:1|PARTIAL"})
		want(t, k.Query(t, `SELECT order_key, pool, placed_at FROM inventory_orders_view`), []string{"shopify/uk:1|main|2026-03-14T12:00:00.000000Z"})
	})
}

func TestPlaced_once(t *testing.T) {
	t.Parallel()
	grouptest.Each(t, func() consumer.Group { return group(t, false, "A@wms/east=5") }, func(k *grouptest.Kit) {
		t := k.T
		o := anOrder("1", grouptest.Line{ID: "a", SKU: "A", Quantity: "3", Price: "1"})
		handle(t, k, o.PlacedEvent(), o.Placed())
		again := o.PlacedEvent()
		again.ID = event.NewID(noon, "other/path", "order.placed", "1", "")
		want(t, said(handle(t, k, again, o.Placed())), []string{})
		want(t, levels(t, k), []string{"A|wms/east|5.0000|3.0000|2.0000"})
	})
}

func TestPlaced_oversell(t *testing.T) {
	t.Parallel()
	grouptest.Each(t, func() consumer.Group { return group(t, true, "A@wms/west=1") }, func(k *grouptest.Kit) {
		t := k.T
		o := anOrder("1", grouptest.Line{ID: "a", SKU: "A", Quantity: "3", Price: "1"})
		out := handle(t, k, o.PlacedEvent(), o.Placed())
		want(t, said(out), []string{"reserved a 2 wms/east", "reserved a 1 wms/west"})
		if f, ok := out.Facts[0].(stock.ReservedV1); !ok || !f.Oversell || f.AvailableAfter[0].PoolAvailable.String() != "-2" {
			t.Errorf("got %+v, want oversell with -2 left", out.Facts[0])
		}
		want(t, levels(t, k), []string{"A|wms/east|0.0000|2.0000|-2.0000", "A|wms/west|1.0000|1.0000|0.0000"})
		e, c := o.Cancelled(noon.Add(time.Hour))
		handle(t, k, e, c)
		want(t, levels(t, k), []string{"A|wms/east|0.0000|0.0000|0.0000", "A|wms/west|1.0000|0.0000|1.0000"})
	})
}

func TestPlaced_testOrder(t *testing.T) {
	t.Parallel()
	grouptest.Each(t, func() consumer.Group { return group(t, false, "A@wms/east=5") }, func(k *grouptest.Kit) {
		t := k.T
		o := anOrder("1", grouptest.Line{ID: "a", SKU: "A", Quantity: "3", Price: "1"})
		e := o.PlacedEvent()
		e.Test = true
		want(t, said(handle(t, k, e, o.Placed())), []string{})
		ce, c := o.Cancelled(noon.Add(time.Hour))
		want(t, said(handle(t, k, ce, c)), []string{})
		want(t, levels(t, k), []string{})
	})
}

func TestNoPool_isShortage(t *testing.T) {
	t.Parallel()
	k := grouptest.SQLite(t, group(t, true, "A@wms/east=5"))
	o := anOrder("1", grouptest.Line{ID: "a", SKU: "A", Quantity: "3", Price: "1"})
	o.Instance.Warehouses = []string{"wms/mars"}
	want(t, said(handle(t, k, o.PlacedEvent(), o.Placed())), []string{"short a 0 of 3 in none"})
}

func TestCancellationWithRefund_releasesOnce(t *testing.T) {
	t.Parallel()
	grouptest.Each(t, func() consumer.Group { return group(t, false, "A@wms/east=5") }, func(k *grouptest.Kit) {
		t := k.T
		o := anOrder("1", grouptest.Line{ID: "a", SKU: "A", Quantity: "3", Price: "1"})
		handle(t, k, o.PlacedEvent(), o.Placed())
		re, r := o.Refund("r1", "3", noon.Add(time.Hour), grouptest.Refunded{ID: "a", Quantity: "2", Net: "2", Restock: refund.IssuedV1RestockCancel})
		out := handle(t, k, re, r)
		want(t, said(out), []string{"released a 2 wms/east REFUNDED"})
		ce, c := o.Cancelled(noon.Add(2 * time.Hour))
		want(t, said(handle(t, k, ce, c)), []string{"released a 1 wms/east CANCELLED"})
		want(t, said(handle(t, k, ce, c)), []string{})
		want(t, said(handle(t, k, re, r)), []string{})
		want(t, levels(t, k), []string{"A|wms/east|5.0000|0.0000|5.0000"})
	})
}

func TestCancellation_withoutRestockKeeps(t *testing.T) {
	t.Parallel()
	k := grouptest.SQLite(t, group(t, false, "A@wms/east=5"))
	o := anOrder("1", grouptest.Line{ID: "a", SKU: "A", Quantity: "3", Price: "1"})
	handle(t, k, o.PlacedEvent(), o.Placed())
	e, c := o.Cancelled(noon.Add(time.Hour))
	c.Restock = false
	want(t, said(handle(t, k, e, c)), []string{})
	want(t, levels(t, k), []string{"A|wms/east|5.0000|3.0000|2.0000"})
}

func TestUnknownScope_isRejected(t *testing.T) {
	t.Parallel()
	k := grouptest.SQLite(t, group(t, false))
	o := anOrder("1")
	e, c := o.Cancelled(noon)
	c.Scope, c.Lines = order.CancelledV1ScopeUnknown, nil
	_, err := k.Handle(t.Context(), e, c)
	if _, ok := err.(*consumer.RejectError); !ok { //nolint:errorlint // the outcome itself, not wrapped
		t.Errorf("got %v, want a rejection", err)
	}
}

// Whatever the order in which the facts of an order come, as much stays reserved, and
// what is announced adds up to it.
func TestInterleavings_endEqual(t *testing.T) {
	t.Parallel()
	k := grouptest.SQLite(t, group(t, false, "A@wms/east=3", "A@wms/west=9", "B@wms/west=9"))
	rapid.Check(t, func(r *rapid.T) {
		o := anOrder("1", grouptest.Line{ID: "a", SKU: "A", Quantity: "5", Price: "1"}, grouptest.Line{ID: "b", SKU: "B", Quantity: "3", Price: "1"})
		type input struct {
			e event.Event
			f event.Fact
		}
		inputs := []input{{o.PlacedEvent(), o.Placed()}}
		for i := range rapid.IntRange(1, 4).Draw(r, "withdrawals") {
			at := noon.Add(time.Duration(rapid.IntRange(1, 3).Draw(r, "hour")) * time.Hour).Add(time.Duration(i) * time.Second)
			line := rapid.SampledFrom([]string{"a", "b", "x"}).Draw(r, "line")
			n := fmt.Sprint(rapid.IntRange(0, 4).Draw(r, "quantity"))
			switch rapid.IntRange(0, 3).Draw(r, "kind") {
			case 0:
				e, f := o.Cancelled(at)
				inputs = append(inputs, input{e, f})
			case 1:
				e, f := o.Cancelled(at, grouptest.Line{ID: line, Quantity: n})
				inputs = append(inputs, input{e, f})
			default:
				how := rapid.SampledFrom([]refund.IssuedV1Restock{refund.IssuedV1RestockCancel, refund.IssuedV1RestockReturn, refund.IssuedV1RestockNo}).Draw(r, "restock")
				e, f := o.Refund(fmt.Sprint("r", i), n, at, grouptest.Refunded{ID: line, Quantity: n, Net: n, Restock: how})
				inputs = append(inputs, input{e, f})
			}
		}
		var first []string
		for range 3 {
			k.Reset(t)
			balance := map[string]int64{}
			for _, i := range rapid.Permutation(indexes(len(inputs))).Draw(r, "arrival") {
				in := inputs[i]
				out, err := k.Handle(t.Context(), in.e, in.f)
				if err != nil {
					r.Fatal(err)
				}
				for _, f := range out.Facts {
					switch f := f.(type) {
					case stock.ReservedV1:
						for _, l := range f.Lines {
							n, _ := l.Quantity.Units(0)
							balance[l.SKU+"@"+l.Warehouse.ID] += n
						}
					case stock.ReservationReleasedV1:
						for _, l := range f.Lines {
							n, _ := l.Quantity.Units(0)
							balance[l.SKU+"@"+l.Warehouse.ID] -= n
						}
					}
				}
			}
			held := k.Query(t, `SELECT l.sku, SUM(l.reserved - l.released) FROM inventory_lines l GROUP BY l.sku HAVING SUM(l.reserved - l.released) > 0 ORDER BY l.sku`)
			if first == nil {
				first = held
			}
			if diff := cmp.Diff(first, held); diff != "" {
				r.Fatalf("another arrival ends in another state: %s", diff)
			}
			for _, row := range k.Query(t, `SELECT sku, warehouse, reserved FROM inventory_levels`) {
				parts := strings.Split(row, "|")
				if announced := fmt.Sprint(balance[parts[0]+"@"+parts[1]] * 10000); announced != parts[2] {
					r.Fatalf("%s: facts add up to %s", row, announced)
				}
			}
		}
	})
}

// Many orders for one article never reserve more than there is.
func TestNeverBelowZero(t *testing.T) {
	t.Parallel()
	k := grouptest.SQLite(t, group(t, false, "A@wms/east=4", "A@wms/west=3"))
	rapid.Check(t, func(r *rapid.T) {
		k.Reset(t)
		var orders []grouptest.Order
		for i := range rapid.IntRange(1, 12).Draw(r, "steps") {
			if len(orders) > 0 && rapid.Bool().Draw(r, "cancel") {
				e, f := rapid.SampledFrom(orders).Draw(r, "which").Cancelled(noon.Add(time.Hour))
				if _, err := k.Handle(t.Context(), e, f); err != nil {
					r.Fatal(err)
				}
			} else {
				o := anOrder(fmt.Sprint(i), grouptest.Line{ID: "a", SKU: "A", Quantity: fmt.Sprint(rapid.IntRange(1, 5).Draw(r, "n")), Price: "1"})
				orders = append(orders, o)
				if _, err := k.Handle(t.Context(), o.PlacedEvent(), o.Placed()); err != nil {
					r.Fatal(err)
				}
			}
			if bad := k.Query(t, `SELECT sku, warehouse FROM inventory_levels WHERE reserved > on_hand`); len(bad) > 0 {
				r.Fatalf("oversold: %v", bad)
			}
		}
		sums := k.Query(t, `SELECT (SELECT COALESCE(SUM(reserved), 0) FROM inventory_levels), (SELECT COALESCE(SUM(reserved - released), 0) FROM inventory_reservations)`)
		if parts := strings.Split(sums[0], "|"); parts[0] != parts[1] {
			r.Fatalf("levels hold %s, reservations %s", parts[0], parts[1])
		}
	})
}

// Two orders for the last piece at the same time: one gets it.
func TestConcurrentOrders(t *testing.T) {
	t.Parallel()
	k := grouptest.Postgres(t, group(t, false, "A@wms/east=1", "B@wms/east=1"))
	o1 := anOrder("1", grouptest.Line{ID: "a", SKU: "A", Quantity: "1", Price: "1"}, grouptest.Line{ID: "b", SKU: "B", Quantity: "1", Price: "1"})
	o2 := anOrder("2", grouptest.Line{ID: "b", SKU: "B", Quantity: "1", Price: "1"}, grouptest.Line{ID: "a", SKU: "A", Quantity: "1", Price: "1"})
	ctx := t.Context()
	tx1, err := k.DB.BeginTx(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	out1, err := k.HandleIn(ctx, tx1, o1.PlacedEvent(), o1.Placed())
	if err != nil {
		t.Fatal(err)
	}
	type result struct {
		out grouptest.Out
		err error
	}
	second := make(chan result, 1)
	go func() {
		out, err := k.Handle(ctx, o2.PlacedEvent(), o2.Placed())
		second <- result{out, err}
	}()
	k.AwaitBlocked(t)
	if err := tx1.Commit(); err != nil {
		t.Fatal(err)
	}
	r := <-second
	if r.err != nil {
		t.Fatal(r.err)
	}
	want(t, said(out1), []string{"reserved a 1 wms/east", "reserved b 1 wms/east"})
	want(t, said(r.out), []string{"short b 0 of 1 in main", "short a 0 of 1 in main"})
}

func TestConfig_stockFile(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ csv, want string }{
		"good":          {"\ufeffsku,warehouse,on_hand\nvariant:50398373085484,wms/east,12.5\n", ""},
		"other order":   {"on_hand, warehouse, sku, note\n3, wms/east, A, x\n", ""},
		"no header":     {"A,wms/east,3\n", "stock.csv:1: column sku is missing"},
		"empty":         {"", "reading the header"},
		"negative":      {"sku,warehouse,on_hand\nA,wms/east,-1\n", "stock.csv:2: on_hand \"-1\": want 0 or more"},
		"five places":   {"sku,warehouse,on_hand\nA,wms/east,0.00001\n", "at most 4 decimal places"},
		"not a number":  {"sku,warehouse,on_hand\nA,wms/east,many\n", "stock.csv:2: on_hand \"many\""},
		"twice":         {"sku,warehouse,on_hand\nA,wms/east,1\n\nA,wms/east,1\n", "stock.csv:4: A in wms/east is given twice"},
		"bad warehouse": {"sku,warehouse,on_hand\nA,east,1\n", "warehouse \"east\": want <system>/<name>"},
		"no sku":        {"sku,warehouse,on_hand\n,wms/east,1\n", "sku \"\""},
		"ragged":        {"sku,warehouse,on_hand\nA,wms/east\n", "wrong number of fields"},
		"overflow":      {"sku,warehouse,on_hand\nA,wms/east,999999999999999\n", "on_hand \"999999999999999\""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "stock.csv")
			if err := os.WriteFile(path, []byte(c.csv), 0o600); err != nil {
				t.Fatal(err)
			}
			err := (&inventory.Config{Stock: path}).Validate()
			if c.want == "" && err != nil {
				t.Fatal(err)
			}
			if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestConfig_pools(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cfg  inventory.Config
		want string
	}{
		"no file":     {inventory.Config{Stock: "nowhere.csv"}, "stock: open nowhere.csv"},
		"empty pool":  {inventory.Config{Pools: map[string]inventory.Pool{"a": {}}}, "pools.a: names no warehouse"},
		"two pools":   {inventory.Config{Pools: map[string]inventory.Pool{"a": {Warehouses: []string{"w/1"}}, "b": {Warehouses: []string{"w/1"}}}}, "pools.b: warehouse w/1 stands in pool a already"},
		"bad name":    {inventory.Config{Pools: map[string]inventory.Pool{"a": {Warehouses: []string{"x"}}}}, `warehouse "x"`},
		"twice":       {inventory.Config{Levels: []inventory.Level{{"A", "w/1", "1"}, {"A", "w/1", "1"}}}, "levels[1]: A in w/1 is given twice"},
		"nothing set": {inventory.Config{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := c.cfg.Validate()
			if (c.want == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestConfig_demo(t *testing.T) {
	t.Parallel()
	g := inventory.Group()
	cfg, ok := g.Config.(*inventory.Config)
	if !ok {
		t.Fatalf("config is a %T", g.Config)
	}
	east, west := grouptest.UK(), grouptest.UK()
	east.Warehouses, west.Warehouses, west.Name = []string{"wms/east"}, []string{"wms/west"}, "us"
	for range 2 { // once per adapter
		cfg.Demo([]event.Instance{east, west}, []string{"A", "B"})
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	k := grouptest.SQLite(t, g)
	o := anOrder("1", grouptest.Line{ID: "a", SKU: "A", Quantity: "20", Price: "1"}, grouptest.Line{ID: "b", SKU: "B", Quantity: "20", Price: "1"})
	o.Instance = west
	want(t, said(handle(t, k, o.PlacedEvent(), o.Placed())), []string{"reserved a 20 wms/west", "short b 5 of 20 in us"})
}

func FuzzStock(f *testing.F) {
	f.Add("sku,warehouse,on_hand\nA,wms/east,3\n")
	f.Add("\ufeffsku,warehouse,on_hand\n\"A\nB\",wms/east,3.5\n")
	f.Fuzz(func(t *testing.T, csv string) {
		path := filepath.Join(t.TempDir(), "stock.csv")
		if err := os.WriteFile(path, []byte(csv), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := (&inventory.Config{Stock: path}).Validate(); err != nil && !strings.Contains(err.Error(), path) {
			t.Errorf("%v: doesn't name the file", err)
		}
	})
}

func indexes(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}
