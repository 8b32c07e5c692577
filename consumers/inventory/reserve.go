package inventory

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/schemas/common"
	"github.com/eventspine/spine/schemas/stock"
)

// anOrder is what the group knows of an order.
type anOrder struct {
	Ref   common.Ref
	Key   string
	At    time.Time
	Lines []line
}

// line is a stock-tracked line of an order.
type line struct {
	ID, SKU  string
	Ordered  int64
	Reserved int64 // decided when the order was handled: all or nothing
	Released int64
	From     []share
}

// share is the part of a line that one warehouse serves.
type share struct {
	Warehouse string
	Reserved  int64
	Released  int64
}

// how a quantity was taken back.
type how string

const (
	byCancellation how = "CANCELLATION"
	byRefund       how = "CANCEL" // a refund's word for goods that had not left
	byReturn       how = "RETURN" // a refund's word for goods that came back
)

// withdrawal is a cancellation or a refund: what it takes back, per line.
type withdrawal struct {
	Key    string // natural key inside the order
	At     time.Time
	Reason stock.ReservationReleasedV1Reason
	All    bool
	Lines  map[string]map[how]int64
}

func (w *withdrawal) add(lineID string, by how, n int64) {
	if w.Lines == nil {
		w.Lines = map[string]map[how]int64{}
	}
	if w.Lines[lineID] == nil {
		w.Lines[lineID] = map[how]int64{}
	}
	w.Lines[lineID][by] += n
}

// due is how much of a line is taken back by a set of withdrawals. It doesn't depend on
// their order, and never shrinks when one is added.
func due(l line, ws []withdrawal) int64 {
	sum := map[how]int64{}
	for _, w := range ws {
		if w.All {
			return l.Ordered
		}
		for by, n := range w.Lines[l.ID] {
			sum[by] = min(sum[by]+min(n, l.Ordered), l.Ordered) // bounded: cannot overflow
		}
	}
	return min(l.Ordered, max(sum[byCancellation], sum[byRefund])+sum[byReturn])
}

// level is the stock of an article in a warehouse, locked.
type level struct{ OnHand, Reserved int64 }

func (l level) free() int64 { return l.OnHand - l.Reserved }

// reserve decides line by line and writes the levels. Levels are locked in one order
// over all orders, so that two of them cannot wait for each other.
func (h handlers) reserve(ctx context.Context, tx consumer.Tx, pool served, o *anOrder, ws []withdrawal) (short []stock.ShortageDetectedV1Line, oversold bool, after []stock.ReservedV1PoolLevel, err error) {
	levels, err := h.lock(ctx, tx, pool, o.Lines)
	if err != nil {
		return nil, false, nil, err
	}
	touched := map[string]bool{}
	for i := range o.Lines {
		l := &o.Lines[i]
		if due(*l, ws) >= l.Ordered {
			continue // withdrawn before it came
		}
		available := free(levels, pool, l.SKU)
		l.From = allot(levels, pool, l.SKU, l.Ordered)
		if l.From == nil {
			short = append(short, stock.ShortageDetectedV1Line{
				LineID: l.ID, SKU: l.SKU, Requested: decimal(l.Ordered), Available: decimal(max(0, available)), Pool: pool.Name,
			})
			continue
		}
		l.Reserved, touched[l.SKU] = l.Ordered, true
		oversold = oversold || available < l.Ordered
		for _, s := range l.From {
			at := place{l.SKU, s.Warehouse}
			levels[at] = level{levels[at].OnHand, levels[at].Reserved + s.Reserved}
			if err := addReserved(ctx, tx, at, s.Reserved); err != nil {
				return nil, false, nil, err
			}
		}
	}
	for _, sku := range slices.Sorted(maps.Keys(touched)) {
		after = append(after, stock.ReservedV1PoolLevel{SKU: sku, PoolAvailable: decimal(free(levels, pool, sku))})
	}
	return short, oversold, after, nil
}

// lock seeds the levels that an order touches, if need be, and locks them.
func (h handlers) lock(ctx context.Context, tx consumer.Tx, pool served, lines []line) (map[place]level, error) {
	var all []place
	for _, l := range lines {
		for _, w := range pool.Warehouses {
			all = append(all, place{l.SKU, w})
		}
	}
	slices.SortFunc(all, byPlace)
	levels := map[place]level{}
	for _, at := range slices.Compact(all) {
		if onHand, stocked := h.cfg.seeds[at]; stocked {
			if err := seedLevel(ctx, tx, at, onHand); err != nil {
				return nil, err
			}
		}
		l, err := lockLevel(ctx, tx, at)
		if err != nil {
			return nil, err
		}
		levels[at] = l
	}
	return levels, nil
}

// free is what the pool can still sell of an article.
func free(levels map[place]level, pool served, sku string) (n int64) {
	for _, w := range pool.Warehouses {
		n += levels[place{sku, w}].free()
	}
	return n
}

// allot shares a quantity among the warehouses of the pool; nil = it cannot be served
// in full. A single warehouse comes before a split; what a pool sells beyond its stock
// is on the account of its first warehouse.
func allot(levels map[place]level, pool served, sku string, n int64) []share {
	for _, w := range pool.Warehouses {
		if levels[place{sku, w}].free() >= n {
			return []share{{Warehouse: w, Reserved: n}}
		}
	}
	if len(pool.Warehouses) == 0 || (!pool.Oversell && free(levels, pool, sku) < n) {
		return nil
	}
	var parts []share
	for _, w := range pool.Warehouses {
		if take := min(n, levels[place{sku, w}].free()); take > 0 {
			parts = append(parts, share{Warehouse: w, Reserved: take})
			n -= take
		}
	}
	if n == 0 {
		return parts
	}
	if !pool.Oversell {
		return nil // some warehouse is below zero: an earlier oversell that is allowed no more
	}
	first := pool.Warehouses[0]
	if len(parts) > 0 && parts[0].Warehouse == first {
		parts[0].Reserved += n
		return parts
	}
	return append([]share{{Warehouse: first, Reserved: n}}, parts...)
}

// release sets free what is due by ws and not released yet, and announces it as the
// doing of the last of them.
func release(ctx context.Context, tx consumer.Tx, o *anOrder, ws []withdrawal) error {
	freed := map[place]int64{}
	var lines []common.ReservedLine
	for i := range o.Lines {
		l := &o.Lines[i]
		n := min(l.Reserved, due(*l, ws)) - l.Released
		if n <= 0 {
			continue
		}
		l.Released += n
		// The warehouse that was preferred least is relieved first.
		for j := len(l.From) - 1; j >= 0 && n > 0; j-- {
			s := &l.From[j]
			take := min(n, s.Reserved-s.Released)
			if take == 0 {
				continue
			}
			s.Released, n = s.Released+take, n-take
			freed[place{l.SKU, s.Warehouse}] += take
			lines = append(lines, reservedLine(*l, s.Warehouse, take))
			if err := updateShare(ctx, tx, o.Key, l.ID, *s); err != nil {
				return err
			}
		}
		if err := updateReleased(ctx, tx, o.Key, *l); err != nil {
			return err
		}
	}
	for _, at := range slices.SortedFunc(maps.Keys(freed), byPlace) {
		if err := addReserved(ctx, tx, at, -freed[at]); err != nil {
			return err
		}
	}
	if len(lines) == 0 {
		return nil
	}
	w := ws[len(ws)-1]
	return tx.Publish(event.New{
		Fact:   stock.ReservationReleasedV1{ReservationID: o.reservation(), OrderRef: o.Ref, Reason: w.Reason, Lines: lines},
		Entity: o.Key, Discriminator: w.Key, Key: o.Key, At: w.At,
	})
}

func announceReserved(tx consumer.Tx, o anOrder, pool string, after []stock.ReservedV1PoolLevel, oversold bool) error {
	var lines []common.ReservedLine
	for _, l := range o.Lines {
		for _, s := range l.From {
			lines = append(lines, reservedLine(l, s.Warehouse, s.Reserved))
		}
	}
	if len(lines) == 0 {
		return nil
	}
	return tx.Publish(event.New{
		Fact: stock.ReservedV1{
			ReservationID: o.reservation(), OrderRef: o.Ref, Lines: lines, Pool: pool,
			AvailableAfter: after, Oversell: oversold, DecidedAt: o.At,
		},
		Entity: o.Key, Key: o.Key, At: o.At,
	})
}

func announceShortage(tx consumer.Tx, o anOrder, short []stock.ShortageDetectedV1Line) error {
	if len(short) == 0 {
		return nil
	}
	return tx.Publish(event.New{
		Fact:   stock.ShortageDetectedV1{OrderRef: o.Ref, Lines: short},
		Entity: o.Key, Key: o.Key, At: o.At,
	})
}

// reservation is the id of the only reservation that an order gets.
func (o anOrder) reservation() string { return o.Key + "#1" }

func reservedLine(l line, warehouse string, n int64) common.ReservedLine {
	ref := common.Ref{Object: "warehouse", ID: warehouse}
	if in, err := event.ParseInstance(warehouse); err == nil {
		ref.System, ref.Instance = in.System, in.Name
	}
	return common.ReservedLine{LineID: l.ID, SKU: l.SKU, Quantity: decimal(n), Warehouse: ref}
}

func byPlace(a, b place) int {
	if a.SKU != b.SKU {
		if a.SKU < b.SKU {
			return -1
		}
		return 1
	}
	switch {
	case a.Warehouse < b.Warehouse:
		return -1
	case a.Warehouse > b.Warehouse:
		return 1
	}
	return 0
}
