package main

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type shadowed struct {
	Executed, Shadow, Rebuild bool
	Handled                   int
	Tables                    []struct {
		Table                   string
		Key                     []string
		Added, Changed, Removed int
		Rows                    []struct {
			Change  string
			Key     map[string]string
			Columns []struct {
				Column        string
				Before, After *string
			}
		}
	}
	WouldPublish struct {
		Count int
		Shown []struct {
			ID, Fact, Key string
			Data          map[string]any
		}
	} `json:"would_publish"`
	WouldAsk struct {
		Count int
		Shown []struct {
			Name, Key  string
			Suppressed bool
		}
	} `json:"would_ask"`
	WouldFail struct{ Count int } `json:"would_fail"`
}

// differences are the tables that differ, with how many rows were added, changed and
// removed.
func (s shadowed) differences() (all []string) {
	for _, t := range s.Tables {
		if t.Added+t.Changed+t.Removed > 0 {
			all = append(all, fmt.Sprintf("%s +%d ~%d -%d", t.Table, t.Added, t.Changed, t.Removed))
		}
	}
	return all
}

func (o operator) shadow(words ...string) (s shadowed) {
	o.t.Helper()
	o.read(&s, append([]string{"replay", "--since", "24h", "--shadow"}, words...)...)
	if !s.Shadow || s.Executed {
		o.t.Errorf("a shadow says %+v", s)
	}
	return s
}

// TestReplay_shadow shows what a replay would change, beside a running process: rows
// by key, facts, effects, failures; it changes nothing and leaves nothing behind.
func TestReplay_shadow(t *testing.T) {
	long(t)
	t.Parallel()
	d := startDev(t, t.TempDir())
	o := operator{t, d}
	playOrders(t, d)
	o.same("nothing differs", []string(nil), o.shadow("-g", "analytics").differences())

	// A store that has lost two orders, and one that was tampered with.
	lost := loseOrders(t, d, 2)
	left := filepath.Join(d.Data, "spine.db.analytics.shadow") // of a process that was killed
	if err := os.WriteFile(left, []byte("not a database"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := o.contents()
	s := o.shadow("-g", "analytics", "--unmask")
	o.same("handled", 2, s.Handled)
	o.same("rows of the orders that were lost", lost, s.rows())
	o.same("the live store", before, o.contents())
	away := o
	away.d.more = append(slices.Clone(d.more), "SPINE_REGISTRY_URL=http://127.0.0.1:1")
	away.spine(1, "replay", "-g", "analytics", "--since", "24h", "--shadow")
	o.same("the live store after a failure", before, o.contents())
	if found, err := filepath.Glob(left + "*"); err != nil || slices.ContainsFunc(found, func(name string) bool { return !strings.HasSuffix(name, ".lock") }) {
		t.Errorf("left behind: %v %v", found, err)
	}
	out, said := o.spine(0, "replay", "-g", "analytics", "--since", "24h", "--shadow")
	if !strings.Contains(said, "nothing was changed") {
		t.Errorf("a shadow says %s", said)
	}
	goldenText(t, "shadow.golden", unvarying(out))
	out, _ = o.spine(0, "replay", "-g", "analytics", "--since", "24h", "--shadow", "--limit", "1", "-o", "json")
	golden(t, "shadow", unvarying(out))
	o.spine(0, "replay", "-g", "analytics", "--since", "24h", "--execute")
	o.same("the replay does what its shadow showed", lost, ordersOf(t, d, "1 = 1", lost))

	o.spine(0, "audit")
	o.shadowOfFacts()
	for _, wrong := range [][]string{{"--execute"}, {"--list"}, {"--limit", "-1"}, {"--system", "shopify"}} {
		o.spine(2, append([]string{"replay", "-g", "analytics", "--since", "1h", "--shadow"}, wrong...)...)
	}
}

// shadowOfFacts has a group see all that it has published once more: the same ids.
func (o operator) shadowOfFacts() {
	o.t.Helper()
	for _, statement := range []string{
		`UPDATE inventory_levels SET reserved = 0`, `DELETE FROM inventory_withdrawal_lines`, `DELETE FROM inventory_withdrawals`, `DELETE FROM inventory_reservations`, `DELETE FROM inventory_lines`, `DELETE FROM inventory_orders`,
		`DELETE FROM spine_inbox WHERE group_name IN ('inventory', 'notifications')`, `DELETE FROM notifications_messages`,
	} {
		if _, err := storeOf(o.t, o.d).SQL().ExecContext(o.t.Context(), statement); err != nil {
			o.t.Fatal(err)
		}
	}
	published := o.factIDs("inventory.reservation.events")
	s := o.shadow("-g", "inventory")
	var told []string
	for _, f := range s.WouldPublish.Shown {
		told = append(told, f.ID)
		if f.Fact == "" || f.Key == "" || f.Data == nil {
			o.t.Errorf("would publish %+v", f)
		}
	}
	slices.Sort(told)
	o.same("would publish what was published", published, told)
	if s = o.shadow("-g", "inventory", "--limit", "1"); s.WouldPublish.Count != len(published) || len(s.WouldPublish.Shown) != 1 {
		o.t.Errorf("with a limit: %+v", s.WouldPublish)
	}
	o.same("nothing was published", published, o.factIDs("inventory.reservation.events"))
	if s.WouldAsk.Count+s.WouldFail.Count != 0 {
		o.t.Errorf("inventory asks for nothing: %+v %+v", s.WouldAsk, s.WouldFail)
	}
	s = o.shadow("-g", "notifications", "--effects")
	if s.WouldAsk.Count == 0 || s.WouldAsk.Shown[0].Suppressed {
		o.t.Errorf("would ask: %+v", s.WouldAsk)
	}
	for _, table := range s.Tables {
		for _, row := range table.Rows {
			for _, c := range row.Columns {
				if strings.Contains(c.Column, "email") && c.After != nil && *c.After != "***" {
					o.t.Errorf("%s of %s is shown: %s", c.Column, table.Table, *c.After)
				}
			}
		}
	}
}

// factIDs are the ids in a topic.
func (o operator) factIDs(topic string) (ids []string) {
	o.t.Helper()
	out, _ := o.spine(0, "tail", topic, "--offset", ":end", "-o", "json")
	for line := range strings.Lines(out) {
		var e struct{ Event struct{ ID string } }
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			o.t.Fatal(err)
		}
		ids = append(ids, e.Event.ID)
	}
	slices.Sort(ids)
	return ids
}

// loseOrders takes n orders out of analytics as if it had never seen them, and answers
// what stood in its tables.
func loseOrders(t *testing.T, d dev, n int) (lost []string) {
	t.Helper()
	keys := fmt.Sprintf(`order_key IN (SELECT order_key FROM analytics_orders o WHERE NOT test AND NOT EXISTS
		(SELECT 1 FROM analytics_withdrawals w WHERE w.order_key = o.order_key) ORDER BY order_key LIMIT %d)`, n)
	lost = ordersOf(t, d, keys, nil)
	if len(lost) < n {
		t.Fatalf("too few orders to lose: %v", lost)
	}
	// by the ids that stand now: each statement below takes away what the next one looks for
	if _, err := storeOf(t, d).SQL().ExecContext(t.Context(), `CREATE TEMP TABLE gone AS SELECT order_key, event_id FROM analytics_orders WHERE `+keys+`;
		DELETE FROM spine_inbox WHERE group_name = 'analytics' AND event_id IN (SELECT event_id FROM gone);
		DELETE FROM analytics_revenue WHERE order_key IN (SELECT order_key FROM gone);
		DELETE FROM analytics_order_parts WHERE order_key IN (SELECT order_key FROM gone);
		DELETE FROM analytics_orders WHERE order_key IN (SELECT order_key FROM gone)`); err != nil {
		t.Fatal(err)
	}
	return lost
}

// ordersOf shows rows of analytics, each as its table and its values; with some given,
// those of them that stand.
func ordersOf(t *testing.T, d dev, where string, of []string) (all []string) {
	t.Helper()
	for _, table := range []string{"analytics_order_parts", "analytics_orders", "analytics_revenue"} {
		columns, rows := read(t, storeOf(t, d).SQL(), `SELECT * FROM `+table+` WHERE `+where)
		for _, values := range rows {
			cells := make([]string, len(columns))
			for i, c := range columns {
				cells[i] = c + "=" + strings.NewReplacer("true", "1", "false", "0").Replace(fmt.Sprint(values[i]))
			}
			slices.Sort(cells)
			if line := table + " " + strings.Join(cells, " "); of == nil || slices.Contains(of, line) {
				all = append(all, line)
			}
		}
	}
	slices.Sort(all)
	return all
}

// rows are the rows that a shadow shows as added, in the form of ordersOf, and what
// else it shows.
func (s shadowed) rows() (all []string) {
	for _, t := range s.Tables {
		for _, r := range t.Rows {
			if r.Change != "added" {
				all = append(all, t.Table+" "+r.Change)
				continue
			}
			var cells []string
			for name, value := range r.Key {
				cells = append(cells, name+"="+value)
			}
			for _, c := range r.Columns {
				cells = append(cells, c.Column+"="+*c.After)
			}
			slices.Sort(cells)
			all = append(all, t.Table+" "+strings.Join(cells, " "))
		}
	}
	slices.Sort(all)
	return all
}

// contents are all tables of the live store.
func (o operator) contents() map[string]string {
	o.t.Helper()
	db := storeOf(o.t, o.d).SQL()
	_, names := read(o.t, db, `SELECT name FROM sqlite_schema WHERE type = 'table'`)
	all := map[string]string{}
	for _, name := range names {
		_, rows := read(o.t, db, fmt.Sprintf(`SELECT * FROM "%s"`, name[0]))
		all[fmt.Sprint(name[0])] = fmt.Sprintf("%q", rows)
	}
	return all
}

// read reads what a query answers.
func read(t *testing.T, db *sql.DB, query string) (columns []string, all [][]any) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	if columns, err = rows.Columns(); err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		values, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		all = append(all, values)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return columns, all
}

// unvarying leaves out of an output what each run has anew: ids, numbers of orders and
// times, how far a partition is.
func unvarying(out string) string {
	for of, name := range map[string]string{
		`[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}`: "ID", `\b[12]\d{15}\b`: "N", `(?m)^((?:[a-z.]+) +\d+)( +\d+)+ *$`: "$1 …",
	} {
		out = regexp.MustCompile(of).ReplaceAllString(out, name)
	}
	return regexp.MustCompile(` {2,}`).ReplaceAllString(out, "  ") + "\n"
}

func goldenText(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}
