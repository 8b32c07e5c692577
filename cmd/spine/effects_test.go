package main_test

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eventspine/spine/consumers/analytics"
	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/money"
	"github.com/eventspine/spine/pkg/once"
	creditnote "github.com/eventspine/spine/schemas/credit-note"
	"github.com/eventspine/spine/schemas/invoice"
	"github.com/eventspine/spine/schemas/notification"
	"github.com/eventspine/spine/schemas/order"
	"github.com/eventspine/spine/schemas/stock"
)

// rowsOf asks a database; each row is its columns, joined by "|".
func rowsOf(t *testing.T, db *sql.DB, query string, args ...any) []string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query, args...)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	list := []string{}
	for rows.Next() {
		cells, into := make([]sql.NullString, len(names)), make([]any, len(names))
		for i := range cells {
			into[i] = &cells[i]
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		texts := make([]string, len(cells))
		for i, c := range cells {
			texts[i] = c.String
		}
		list = append(list, strings.Join(texts, "|"))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}

// checkGroups looks into the tables of each group.
func (l *ledger) checkGroups() {
	l.t.Helper()
	l.marks()
	l.probe()
	l.inventory()
	l.invoicing()
	l.notifications()
	l.analytics()
}

// marks: every fact that a group handles left one mark in its own tables.
func (l *ledger) marks() {
	l.t.Helper()
	for _, g := range l.place.fleet().Groups {
		var want []string
		for _, f := range l.facts {
			if slices.ContainsFunc(g.On, func(h consumer.Handler) bool { return h.Type == f.Type }) {
				want = append(want, f.ID+"|"+f.Type)
			}
		}
		slices.Sort(want)
		got := l.ours(l.rows(`SELECT event_id, fact FROM ` + g.Name + `_effects ORDER BY event_id`))
		if diff := cmp.Diff(want, got); diff != "" {
			l.findf("events in the stream and marks in the tables of %s differ (-stream +tables):\n%s", g.Name, diff)
		}
	}
}

// probe: of each key, the rows stand in the order of the topic.
func (l *ledger) probe() {
	l.t.Helper()
	if !l.place.probed {
		return
	}
	last := map[string]happened{}
	at := make(map[string]happened, len(l.facts))
	for _, f := range l.facts {
		at[f.ID] = f
	}
	for _, id := range l.rows(`SELECT event_id FROM probe_effects ORDER BY place`) {
		f, known := at[id]
		if !known {
			l.findf("phantom: the probe has handled %s, which is not in the stream", id)
			continue
		}
		if before := last[f.Key]; before.Offset > f.Offset {
			l.findf("the probe has handled %s %s after %s %s of the same key, which comes later in the topic", f.Type, f.ID, before.Type, before.ID)
		}
		last[f.Key] = f
	}
}

// ours leaves out rows whose first column is the id of an event of other instances.
func (l *ledger) ours(rows []string) []string {
	if !realParts() {
		return rows
	}
	return slices.DeleteFunc(rows, func(row string) bool {
		id, _, _ := strings.Cut(row, "|")
		return l.stock.Events[id] == nil
	})
}

// inventory: one reservation per order, and the levels say what the reservations say.
func (l *ledger) inventory() {
	l.t.Helper()
	want := l.mine(l.rows(`SELECT order_key FROM inventory_orders WHERE outcome IN ('RESERVED', 'PARTIAL') ORDER BY order_key`))
	l.sameKeys("stock.reserved.v1", want, of[stock.ReservedV1](l))
	short := l.mine(l.rows(`SELECT order_key FROM inventory_orders WHERE outcome IN ('SHORT', 'PARTIAL') ORDER BY order_key`))
	l.sameKeys("stock.shortage-detected.v1", short, of[stock.ShortageDetectedV1](l))
	wrong := l.rows(`SELECT v.sku, v.warehouse, v.on_hand, v.reserved, COALESCE(r.open, 0) FROM inventory_levels v
		LEFT JOIN (SELECT i.sku, s.warehouse, CAST(SUM(s.reserved - s.released) AS BIGINT) AS open FROM inventory_reservations s
			JOIN inventory_lines i ON i.order_key = s.order_key AND i.line_id = s.line_id GROUP BY i.sku, s.warehouse) r
		ON r.sku = v.sku AND r.warehouse = v.warehouse
		WHERE v.reserved <> COALESCE(r.open, 0) OR v.reserved > v.on_hand`)
	if len(wrong) > 0 {
		l.findf("levels that differ from their reservations (sku|warehouse|on hand|reserved|reservations): %v", wrong)
	}
	if n := l.number(`SELECT COUNT(*) FROM inventory_reservations`); n == 0 {
		l.findf("nothing was reserved: the day proves nothing")
	}
}

// sameKeys compares order keys with the facts of one type, which each order has once.
func (l *ledger) sameKeys(fact string, want []string, facts []happened) {
	l.t.Helper()
	got := make([]string, len(facts))
	for i, f := range facts {
		got[i] = f.Entity
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		l.findf("%s (-tables +stream):\n%s", fact, diff)
	}
}

// invoicing: one invoice per order, numbers without gaps, and each document published.
func (l *ledger) invoicing() {
	l.t.Helper()
	var want []string
	for _, f := range of[order.PlacedV2](l) {
		if placed, _ := f.Data.(*order.PlacedV2); !f.Test {
			want = append(want, f.Key+"|"+placed.Totals.GrandTotal.Text(4))
		}
	}
	slices.Sort(want)
	got := []string{}
	for _, row := range l.mine(l.rows(`SELECT order_key, gross FROM invoicing_invoices`)) {
		key, gross, _ := strings.Cut(row, "|")
		n, err := strconv.ParseInt(gross, 10, 64)
		if err != nil {
			l.t.Fatal(err)
		}
		got = append(got, key+"|"+money.FromUnits(n, 4).Text(4))
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		l.findf("orders and invoices (-stream +tables):\n%s", diff)
	}
	for _, series := range []string{"invoices", "credit_notes"} {
		name := map[string]string{"invoices": "INV", "credit_notes": "CN"}[series]
		for _, row := range l.rows(`SELECT c.legal_entity, c.last_number, COUNT(d.number), COALESCE(MIN(d.sequence), 1), COALESCE(MAX(d.sequence), 0)
			FROM invoicing_counters c LEFT JOIN invoicing_`+series+` d ON d.legal_entity = c.legal_entity
			WHERE c.series = $1 GROUP BY c.legal_entity, c.last_number`, name) {
			part := strings.Split(row, "|")
			if part[1] != part[2] || part[3] != "1" || part[4] != part[1] {
				l.findf("%s have gaps (entity|counter|documents|first|last): %s", series, row)
			}
		}
	}
	l.sameKeys("invoice.created.v1", l.mine(l.rows(`SELECT order_key FROM invoicing_invoices`)), of[invoice.CreatedV1](l))
	numbers := []string{}
	for _, f := range of[creditnote.IssuedV1](l) {
		if note, ok := f.Data.(*creditnote.IssuedV1); ok {
			numbers = append(numbers, note.Number)
		}
	}
	slices.Sort(numbers)
	kept := second(l.mine(l.rows(`SELECT order_key, number FROM invoicing_credit_notes`)))
	if diff := cmp.Diff(kept, numbers); diff != "" {
		l.findf("credit notes (-tables +stream):\n%s", diff)
	}
}

// notifications: every occasion has come to its end, once: the row, the effect, the
// mail and the fact.
func (l *ledger) notifications() {
	l.t.Helper()
	if open := l.mine(l.rows(`SELECT order_key, message, status FROM notifications_messages WHERE status NOT IN ('SENT', 'NO_RECIPIENT', 'TEST', 'NOTHING')`)); len(open) > 0 {
		l.findf("messages that have not come to their end: %v", open)
	}
	want := second(l.mine(l.rows(`SELECT order_key, message FROM notifications_messages WHERE status = 'SENT'`)))
	if len(want) == 0 {
		l.findf("no mail was sent: the day proves nothing")
	}
	files, err := filepath.Glob(filepath.Join(l.place.data(), "mail", "*.eml"))
	if err != nil {
		l.t.Fatal(err)
	}
	mails := []string{}
	for _, f := range files {
		mails = append(mails, strings.TrimSuffix(filepath.Base(f), ".eml"))
		if info, err := os.Stat(f); err != nil || info.Size() == 0 {
			l.findf("mail %s: empty or gone (%v)", f, err)
		}
	}
	facts := []string{}
	for _, f := range of[notification.SentV1](l) {
		facts = append(facts, f.Entity)
	}
	done := []string{}
	effects, err := l.db.Store("notifications").Effects(l.t.Context(), once.EffectFilter{})
	if err != nil {
		l.t.Fatal(err)
	}
	for _, e := range effects {
		if e.State != once.EffectDone {
			l.findf("effect %s is %s", e.Key, e.State)
		}
		done = append(done, e.Key)
	}
	for what, got := range map[string][]string{"mails in the folder": mails, "facts notification.sent.v1": facts, "effects": done} {
		got = slices.DeleteFunc(got, l.foreignMessage)
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			l.findf("messages that were sent and %s (-messages +%s):\n%s", what, what, diff)
		}
	}
}

// second is the second column, sorted.
func second(rows []string) []string {
	list := make([]string, len(rows))
	for i, row := range rows {
		list[i] = strings.Split(row, "|")[1]
	}
	slices.Sort(list)
	return list
}

// foreignMessage says by its key, <template>.<system>.<instance>.<order>, that a
// message is about an order of another instance.
func (l *ledger) foreignMessage(key string) bool {
	part := strings.Split(key, ".")
	_, ours := l.place.instances()[part[1]+"/"+part[2]]
	return !ours
}

// analytics: the numbers are those of one run over the stream without any crash, and the
// sales are those of the orders.
func (l *ledger) analytics() {
	l.t.Helper()
	sold := map[string]int64{}
	for _, row := range l.rows(`SELECT order_key, CAST(SUM(amount) AS BIGINT) FROM analytics_revenue WHERE movement = 'SALE' GROUP BY order_key`) {
		key, amount, _ := strings.Cut(row, "|")
		n, err := strconv.ParseInt(amount, 10, 64)
		if err != nil {
			l.t.Fatal(err)
		}
		sold[key] = n
	}
	for _, f := range of[order.PlacedV2](l) {
		placed, ok := f.Data.(*order.PlacedV2)
		if !ok || f.Test {
			continue
		}
		net := placed.Totals.GrandTotal
		for _, line := range placed.Lines {
			net = net.Sub(line.TaxAmount)
		}
		for _, s := range placed.ShippingLines {
			for _, tax := range s.TaxLines {
				net = net.Sub(tax.Amount)
			}
		}
		if want, err := net.Units(4); err != nil || sold[f.Key] != want {
			l.findf("revenue of %s: %d, want %d in 10⁻⁴ (%v)", f.Key, sold[f.Key], want, err)
		}
	}
	again := l.analyticsAgain()
	for _, q := range []string{
		`SELECT * FROM analytics_orders ORDER BY order_key`,
		`SELECT * FROM analytics_order_parts ORDER BY order_key, part_no`,
		`SELECT * FROM analytics_withdrawals ORDER BY order_key, withdrawal`,
		`SELECT * FROM analytics_withdrawal_lines ORDER BY order_key, withdrawal, line_id, how`,
		`SELECT * FROM analytics_revenue ORDER BY order_key, cause, part_no`,
	} {
		want, got := rowsOf(l.t, again.SQL(), q), l.mine(l.rows(q))
		for _, rows := range [][]string{want, got} {
			slices.Sort(rows)
		}
		if diff := cmp.Diff(want, got, boolsAlike()); diff != "" {
			l.findf("%s: (-a run over the stream +what stands):\n%s", q, diff)
		}
	}
}

// boolsAlike: SQLite says 1 where PostgreSQL says true.
func boolsAlike() cmp.Option {
	same := strings.NewReplacer("|true", "|1", "|false", "|0")
	return cmp.Comparer(func(a, b string) bool { return same.Replace(a) == same.Replace(b) })
}

// mine leaves out rows of orders of other instances, whose key is the first column.
func (l *ledger) mine(rows []string) []string {
	ours := l.place.instances()
	return slices.DeleteFunc(rows, func(row string) bool {
		key, _, _ := strings.Cut(row, "|")
		_, known := ours[event.InstanceOfKey(key)]
		return !known
	})
}

// analyticsAgain runs the group over the facts of the stream in a database of its own.
func (l *ledger) analyticsAgain() *once.DB {
	l.t.Helper()
	db, err := once.Open(l.t.Context(), once.Options{URL: "sqlite:" + filepath.Join(l.t.TempDir(), "again.db")})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		if err := db.Close(); err != nil {
			l.t.Error(err)
		}
	})
	g := analytics.Group()
	if err := db.Migrate(l.t.Context(), g.Name, g.Tables); err != nil {
		l.t.Fatal(err)
	}
	handlers := map[string]consumer.Handler{}
	for _, h := range g.On {
		handlers[h.Type] = h
	}
	instances := l.place.instances()
	err = db.Write(l.t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		for _, f := range l.facts {
			h, handled := handlers[f.Type]
			if !handled {
				continue
			}
			f.Instance = instances[f.Source]
			if err := h.Call(ctx, consumer.Tx{DB: tx, Out: silent{}}, f.Event, f.Data); err != nil {
				return fmt.Errorf("%s %s: %w", f.Type, f.ID, err)
			}
		}
		return nil
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return db
}

// silent is an Out for a group that publishes nothing.
type silent struct{}

func (silent) Publish(event.New) error          { return fmt.Errorf("analytics publishes nothing") }
func (silent) Effect(string, string, any) error { return fmt.Errorf("analytics has no effects") }

// tally is what the test tells of the day.
func (l *ledger) tally() string {
	n := map[string]int{}
	for _, f := range l.facts {
		n[f.Type]++
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d deliveries in Kafka, %d answered 2xx, %d facts:", len(l.stock.Deliveries), len(l.stock.Accepted), len(l.facts))
	for _, fact := range slices.Sorted(maps.Keys(n)) {
		fmt.Fprintf(&b, " %s %d", fact, n[fact])
	}
	return b.String()
}
