package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/once/replay"
)

type replayed struct {
	Replay                                    int64
	Executed                                  bool
	State                                     string
	Records, Done, Handled, Duplicate, Failed int
	Partitions                                []struct{ Records, Handled, Other int }
}

// TestReplay shows what a replay would do, has the owner carry it out, lists it, and
// gives one up; all beside a running process.
func TestReplay(t *testing.T) {
	t.Parallel()
	d := startDev(t, t.TempDir())
	o := operator{t, d}
	playOrders(t, d)
	o.same("nothing is to do", 0, o.toHandle("--since", "start"))
	if n := forget(t, d, "analytics", 3); n != 3 {
		t.Fatalf("forgot %d", n)
	}
	o.same("what the store forgot", 3, o.toHandle("--since", "24h"))
	o.same("of a fact", 3, o.toHandle("--since", "24h", "--facts", "order.placed.v2"))
	o.same("of another one", 0, o.toHandle("--since", "24h", "--facts", "refund.issued.v1"))
	o.same("before", 0, o.toHandle("--since", "48h", "--until", "24h"))
	if _, said := o.spine(0, "replay", "-g", "analytics", "--since", "24h"); !strings.Contains(said, "--execute") {
		t.Errorf("a preview says %s", said)
	}
	var r replayed
	o.read(&r, "replay", "-g", "analytics", "--since", "24h", "--execute")
	if r.State != "done" || !r.Executed || r.Handled != 3 || r.Duplicate == 0 || r.Done != r.Records || r.Failed != 0 {
		t.Errorf("carried out: %+v", r)
	}
	o.same("nothing is left", 0, o.toHandle("--since", "24h"))
	out, _ := o.spine(0, "replay", "-g", "analytics", "--since", "24h", "--execute")
	if !strings.Contains(out, "0 handled now") {
		t.Errorf("again: %s", out)
	}
	o.spine(0, "audit") // what a replay handled late is in order
	var list []replayed
	o.read(&list, "replay", "-g", "analytics", "--list")
	if len(list) != 2 || list[0].Replay != r.Replay || list[0].State != "done" {
		t.Errorf("listed: %+v", list)
	}
	for _, wrong := range [][]string{
		{},
		{"-g", "nobody", "--since", "1h"},
		{"-g", "analytics"},
		{"-g", "analytics", "--since", "sometimes"},
		{"-g", "translate", "--since", "1h"},
		{"-g", "analytics", "--since", "1h", "--facts", "stock.reserved.v1"},
		{"-g", "analytics", "--cancel", fmt.Sprint(r.Replay)},
	} {
		o.spine(2, append([]string{"replay"}, wrong...)...)
	}
	o.replayUnowned()
}

// toHandle is how many records a preview says are to be handled.
func (o operator) toHandle(words ...string) (n int) {
	o.t.Helper()
	var p struct {
		Executed   bool
		Partitions []struct {
			ToHandle int `json:"to_handle"`
		}
	}
	o.read(&p, append([]string{"replay", "-g", "analytics"}, words...)...)
	if p.Executed {
		o.t.Error("a preview says that it did something")
	}
	for _, part := range p.Partitions {
		n += part.ToHandle
	}
	return n
}

// replayUnowned gives up a request that nobody carries out.
func (o operator) replayUnowned() {
	o.t.Helper()
	o.d.end(syscall.SIGTERM)
	db := storeOf(o.t, o.d)
	id, err := replay.Ask(o.t.Context(), db.DB, "analytics", replay.Request{Kind: replay.Facts}, []replay.Range{{Topic: "commerce.order.events", Until: 2}})
	if err != nil {
		o.t.Fatal(err)
	}
	var list []replayed
	o.read(&list, "replay", "-g", "analytics", "--list")
	o.same("it stays", "open", list[len(list)-1].State)
	var r replayed
	o.read(&r, "replay", "-g", "analytics", "--cancel", fmt.Sprint(id))
	o.same("given up", "dropped", r.State)
}

// storeOf opens the store beside a dev.
func storeOf(t *testing.T, d dev) *once.DB {
	t.Helper()
	db, err := once.Open(t.Context(), once.Options{URL: "sqlite:" + filepath.Join(d.Data, "spine.db"), Existing: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// forget takes placed orders out of what a group has marked as handled.
func forget(t *testing.T, d dev, group string, n int) int {
	t.Helper()
	res, err := storeOf(t, d).SQL().ExecContext(t.Context(), `DELETE FROM spine_inbox WHERE group_name = $1 AND event_id IN
		(SELECT event_id FROM analytics_orders ORDER BY event_id LIMIT $2)`, group, n)
	if err != nil {
		t.Fatal(err)
	}
	gone, err := res.RowsAffected()
	if err != nil {
		t.Fatal(err)
	}
	return int(gone)
}
