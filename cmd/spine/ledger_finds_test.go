package main_test

import (
	"database/sql"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eventspine/spine/pkg/app/play"
	"github.com/eventspine/spine/pkg/once"
)

// The ledger finds what is wrong: in a copy of the books of a day without faults, one
// thing at a time is changed.
func TestLedger_finds(t *testing.T) {
	t.Parallel()
	b := &backbone{t: t, place: newPlace(t, nil)}
	shops, skus := demoShops("")
	p := b.place
	p.shops = shops
	p.groups = "groups:\n  inventory:\n    stock: " + stockFile(t, p.dir, shops, skus) + "\n    pools:\n"
	for _, s := range shops {
		p.groups += "      " + s.Instance.Name + ": {warehouses: [" + s.Instance.Warehouses[0] + "]}\n"
	}
	p.configure(t)
	p.live(t, p.devArgs()...)
	calls := b.day(7, 60)
	report, err := play.Send(t.Context(), slices.Values(calls), play.Options{URL: "http://" + p.intake, Retry: true})
	if err != nil {
		t.Fatal(err)
	}
	p.settle(t, time.Minute)
	look := func(database string, change func(*ledger, word)) string {
		there := *p
		there.database = database
		l, w := openLedger(t, &there, report.Accepted), theWord(t, slices.Values(calls))
		change(l, w)
		l.check(w)
		l.checkGroups()
		return strings.Join(l.findings, "\n")
	}
	none := func(*ledger, word) {}
	if found := look(p.database, none); found != "" {
		t.Fatalf("nothing is wrong, and the ledger finds:\n%s", found)
	}
	of := func(group string) string { return ` WHERE group_name = '` + group + `' ` }
	for what, c := range map[string]struct {
		tamper string // SQL
		change func(*ledger, word)
		finds  string
	}{
		"an effect is lost":           {tamper: `DELETE FROM invoicing_payments WHERE event_id = (SELECT MIN(event_id) FROM invoicing_payments)`, finds: `tables of invoicing differ`},
		"a mark is lost":              {tamper: `DELETE FROM spine_inbox ` + of("analytics") + ` AND kafka_offset = 0`, finds: `neither handled nor kept`},
		"an event was never there":    {tamper: `UPDATE spine_inbox SET event_id = 'phantom' ` + of("inventory") + ` AND event_id = (SELECT MIN(event_id) FROM spine_inbox ` + of("inventory") + `)`, finds: `is not in the stream`},
		"an effect without its event": {tamper: `UPDATE inventory_orders SET event_id = 'phantom' WHERE order_key = (SELECT MIN(order_key) FROM inventory_orders)`, finds: `which has not handled it`},
		"an effect stands twice":      {tamper: `UPDATE inventory_withdrawals SET event_id = (SELECT MIN(event_id) FROM inventory_orders), fact = 'order.placed.v2' WHERE event_id = (SELECT MIN(event_id) FROM inventory_withdrawals)`, finds: `stands more than once in the tables of inventory`},
		"stock is reserved twice":     {tamper: `UPDATE inventory_levels SET reserved = reserved + 1`, finds: `differ from their reservations`},
		"an invoice is off by a unit": {tamper: `UPDATE invoicing_invoices SET gross = gross + 1, rounding = rounding + 1 WHERE order_key = (SELECT MIN(order_key) FROM invoicing_invoices)`, finds: `orders and invoices`},
		"an invoice is gone":          {tamper: `UPDATE invoicing_counters SET last_number = last_number + 1`, finds: `have gaps`},
		"revenue is off by a unit":    {tamper: `UPDATE analytics_revenue SET amount = amount + 1 WHERE movement = 'SALE'`, finds: `revenue of`},
		"a message is open":           {tamper: `UPDATE notifications_messages SET status = 'REQUESTED' WHERE message = (SELECT MIN(message) FROM notifications_messages WHERE status = 'SENT')`, finds: `not come to their end`},
		"events are handled in another order": {
			tamper: `UPDATE spine_inbox SET handled_at = 4000000000000000 - kafka_offset ` + of("analytics"), finds: `before .* of the same key`,
		},
		"a dead letter is changed": {tamper: `UPDATE spine_waiting SET record_value = x'00' WHERE state = 'dead'`, finds: `has no copy`},
		"an answer without a delivery": {change: func(l *ledger, _ word) {
			l.stock.Accepted = map[string]string{"nowhere": "shopify/uk"}
		}, finds: `neither in Kafka nor in the spool`},
		"a delivery that nobody sent": {change: func(_ *ledger, w word) { clear(w.bodies) }, finds: `never sent`},
		"a fact that nobody told": {change: func(_ *ledger, w word) {
			w.facts["order.placed.v2"] = w.facts["order.placed.v2"][1:]
		}, finds: `phantom \[`},
		"a fact is lost": {change: func(_ *ledger, w word) {
			w.facts["order.edited.v1"] = append(w.facts["order.edited.v1"], "shopify/uk/1")
		}, finds: `lost \[shopify/uk/1\]`},
		"a fact stands twice": {change: func(l *ledger, _ word) {
			l.facts = append(l.facts, l.facts[slices.IndexFunc(l.facts, func(f happened) bool { return f.Type == "order.placed.v2" })])
		}, finds: `doubled`},
		"another amount": {change: func(_ *ledger, w word) {
			for _, said := range w.amounts {
				clear(said)
			}
		}, finds: `is to be paid`},
	} {
		if c.change == nil {
			c.change = none
		}
		database := p.database
		if c.tamper != "" {
			database = tampered(t, p.database, c.tamper)
		}
		if found := look(database, c.change); !regexp.MustCompile(c.finds).MatchString(found) {
			t.Errorf("%s: no finding matches %q; findings:\n%s", what, c.finds, found)
		}
	}
}

// tampered is a copy of an SQLite database in which something is changed.
func tampered(t *testing.T, url, statement string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "copy.db")
	from, err := once.Open(t.Context(), once.Options{URL: url, Existing: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := from.SQL().ExecContext(t.Context(), `VACUUM INTO '`+file+`'`); err != nil {
		t.Fatal(err)
	}
	if err := from.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	res, err := db.ExecContext(t.Context(), statement)
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		t.Fatalf("%s: %d rows (%v)", statement, n, err)
	}
	return "sqlite:" + file
}
