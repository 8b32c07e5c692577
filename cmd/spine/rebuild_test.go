package main

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/eventspine/spine/pkg/app/play"
	"github.com/eventspine/spine/pkg/devstack/devtest"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/producer"
	"github.com/eventspine/spine/producers"
)

type rebuilt struct {
	Executed      bool
	Handled, Dead int
	Tables        []struct {
		Table       string
		Live, Built int
	}
	Partitions []struct{ From, Live, Built int64 }
	Warnings   []string
}

// rebuilder looks at the tables of analytics beside a dev.
type rebuilder struct {
	operator
	db *once.DB
}

// TestRebuild makes the tables of a group anew beside a running process: they come out
// as they were, whatever stood in them, and the group goes on.
func TestRebuild(t *testing.T) {
	long(t)
	t.Parallel()
	dir := t.TempDir()
	words := []string{"dev", "--kafka", ":0", "--registry", ":0", "--intake", ":0", "--ops", "127.0.0.1:0"}
	url := "sqlite:" + filepath.Join(dir, ".spine", "spine.db")
	if os.Getenv("SPINE_TEST_POSTGRES") != "" {
		url = devtest.Database(t)
		words = append(words, "--database-url", url)
	}
	d := devOf(t, start(t, dir, nil, words...))
	d.Database = url
	r := rebuilder{operator: operator{t, d}}
	playOrders(t, d)
	db, err := once.Open(t.Context(), once.Options{URL: url, Existing: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	r.db = db
	want := r.tables()
	r.refused()
	var p rebuilt
	r.read(&p, "replay", "-g", "analytics", "--rebuild")
	if p.Executed || len(p.Tables) != 5 || p.Tables[1].Live == 0 || len(p.Warnings) != 1 {
		t.Errorf("a preview: %+v", p)
	}
	r.equal("after a preview", want)
	if found := r.shadow(); len(found.differences()) > 0 || found.Handled == 0 {
		t.Errorf("a shadow of what is right: %+v", found)
	}
	r.again()
	r.equal("as it was", want)

	for _, statement := range []string{
		`UPDATE analytics_revenue SET amount = amount + 1`, `UPDATE analytics_order_parts SET part_no = 9 WHERE part_no = 0`, `UPDATE analytics_orders SET currency = 'XXX'`,
		`DELETE FROM spine_inbox WHERE group_name = 'analytics' AND event_id IN (SELECT event_id FROM spine_inbox WHERE group_name = 'analytics' LIMIT 3)`,
	} {
		if _, err := db.SQL().ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	r.compared()
	r.killed()
	r.again()
	r.equal("after somebody wrote in it", want)

	r.meanwhile()
	r.spine(0, "audit")
	want = r.tables()
	r.again()
	r.equal("after more has come meanwhile", want)
	r.spine(0, "audit")
}

func (r rebuilder) refused() {
	r.t.Helper()
	for _, group := range []string{"invoicing", "inventory", "notifications", "translate"} {
		_, said := r.spine(4, "replay", "-g", group, "--rebuild", "--execute")
		if !strings.Contains(said, group) {
			r.t.Errorf("%s is refused: %s", group, said)
		}
	}
	r.spine(4, "replay", "-g", "invoicing", "--rebuild", "--shadow")
	for _, wrong := range [][]string{{"--since", "1h"}, {"--shadow", "--execute"}, {"--shadow", "--effects"}} {
		r.spine(2, append([]string{"replay", "-g", "analytics", "--rebuild"}, wrong...)...)
	}
}

// compared shows what a rebuild would change, and changes nothing.
func (r rebuilder) compared() {
	r.t.Helper()
	before := r.tables()
	moved := r.count("order_parts WHERE part_no = 9")
	r.same("what differs", []string{
		fmt.Sprintf("analytics_order_parts +%d ~0 -%[1]d", moved), fmt.Sprintf("analytics_orders +0 ~%d -0", r.count("orders")),
		fmt.Sprintf("analytics_revenue +0 ~%d -0", r.count("revenue")),
	}, r.shadow("--unmask").differences())
	if r.db.Dialect() == once.SQLite {
		out, said := r.spine(0, "replay", "-g", "analytics", "--rebuild", "--shadow", "--limit", "2")
		if !strings.Contains(said, "nothing was changed") {
			r.t.Errorf("a shadow of a rebuild says %s", said)
		}
		goldenText(r.t, "rebuild_shadow.golden", unvarying(out))
	}
	r.equal("after a shadow", before)
	if r.begun() || r.stands("shadow") {
		r.t.Error("a shadow is left behind")
	}
}

func (r rebuilder) shadow(words ...string) (s shadowed) {
	r.t.Helper()
	r.read(&s, append([]string{"replay", "-g", "analytics", "--rebuild", "--shadow"}, words...)...)
	if !s.Shadow || !s.Rebuild || s.Executed || s.WouldFail.Count > 0 {
		r.t.Errorf("a shadow of a rebuild says %+v", s)
	}
	return s
}

func (r rebuilder) count(rows string) (n int) {
	r.t.Helper()
	if err := r.db.SQL().QueryRowContext(r.t.Context(), `SELECT COUNT(*) FROM analytics_`+rows).Scan(&n); err != nil {
		r.t.Fatal(err)
	}
	return n
}

func (r rebuilder) again() {
	r.t.Helper()
	var p rebuilt
	r.read(&p, "replay", "-g", "analytics", "--rebuild", "--execute")
	if !p.Executed || p.Handled == 0 || p.Dead > 0 {
		r.t.Errorf("rebuilt: %+v", p)
	}
}

// killed ends a rebuild in the middle, without a word: what stood in the tables stands.
func (r rebuilder) killed() {
	r.t.Helper()
	before := r.tables()
	p := start(r.t, r.t.TempDir(), r.d.env(), "replay", "-g", "analytics", "--rebuild", "--execute")
	devtest.Eventually(r.t, 30*time.Second, "it has begun", r.begun)
	if err := p.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		r.t.Fatal(err)
	}
	<-p.ended
	if !r.begun() {
		r.t.Fatal("it was over before")
	}
	r.equal("after a kill", before)
}

// begun says whether the scratch store of a rebuild is there.
func (r rebuilder) begun() bool { return r.stands("rebuild") }

func (r rebuilder) stands(purpose string) bool {
	r.t.Helper()
	if r.db.Dialect() == once.SQLite {
		_, err := os.Stat(r.db.Name() + ".analytics." + purpose)
		return err == nil
	}
	var n int
	err := r.db.SQL().QueryRowContext(r.t.Context(), `SELECT COUNT(*) FROM pg_namespace WHERE nspname = $1`, r.db.Name()+"_analytics_"+purpose).Scan(&n)
	if err != nil {
		r.t.Fatal(err)
	}
	return n > 0
}

// meanwhile plays more orders while the group is rebuilt.
func (r rebuilder) meanwhile() {
	r.t.Helper()
	day := producers.All()[0].Day
	var shops []producer.Shop
	for _, in := range day.Instances {
		shops = append(shops, producer.Shop{Instance: in, Secret: r.d.secret()})
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		report, err := play.Send(r.t.Context(), day.Calls(2, 60, shops), play.Options{URL: r.d.Intake, Workers: 2})
		if err != nil || len(report.Unexpected) > 0 {
			r.t.Errorf("playing orders: %v %v", err, report.Unexpected)
		}
	})
	r.again()
	wg.Wait()
	playOrders(r.t, r.d) // known ones: it waits until all is done
}

func (r rebuilder) equal(when string, want []string) {
	r.t.Helper()
	if diff := cmp.Diff(want, r.tables()); diff != "" {
		r.t.Errorf("%s: %s", when, diff)
	}
}

// tables are all rows of the group's tables, in an order of their own.
func (r rebuilder) tables() (all []string) {
	r.t.Helper()
	for _, table := range []string{"orders", "order_parts", "withdrawals", "withdrawal_lines", "revenue"} {
		rows, err := r.db.SQL().QueryContext(r.t.Context(), `SELECT * FROM analytics_`+table)
		if err != nil {
			r.t.Fatal(err)
		}
		all = append(all, r.lines(table, rows)...)
	}
	slices.Sort(all)
	return all
}

func (r rebuilder) lines(table string, rows *sql.Rows) (all []string) {
	r.t.Helper()
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		r.t.Fatal(err)
	}
	for rows.Next() {
		values, into := make([]any, len(names)), make([]any, len(names))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			r.t.Fatal(err)
		}
		all = append(all, table+" "+fmt.Sprint(values...))
	}
	if err := rows.Err(); err != nil {
		r.t.Fatal(err)
	}
	return all
}
