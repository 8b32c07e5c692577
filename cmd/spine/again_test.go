package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/eventspine/spine/pkg/devstack/devtest"
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
	long(t)
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

// TestReplay_killed kills what runs, twice, in the middle of a replay of facts that the
// group's store has forgotten: it goes on by itself, each fact is handled once, in the
// order of its key, and the list tells what became of all of them.
func TestReplay_killed(t *testing.T) {
	long(t)
	t.Parallel()
	const keys, labels = 400, 5
	const forgotten, all = keys * (labels - 1), keys * labels
	dir := t.TempDir()
	env := witnesses + "=" + filepath.Join(dir, "broken") // which is not there: the witness handles all
	o := operator{t, startDev(t, dir, env)}
	o.publish(facts{keys: keys, labels: labels})
	db := storeOf(t, o.d)
	devtest.Eventually(t, 2*time.Minute, "all is handled, and stored as done: a replay ends there", func() bool {
		var stored int
		err := db.SQL().QueryRowContext(t.Context(), `SELECT COALESCE(SUM(next_offset), 0) FROM spine_ownership WHERE group_name = 'witness'`).Scan(&stored)
		return err == nil && stored == all && o.counts(db, "onlooker").Calls == all
	})
	for _, statement := range []string{
		`DELETE FROM spine_inbox WHERE group_name = 'witness' AND event_id IN (SELECT event_id FROM witness_calls WHERE label > '0')`,
		`DELETE FROM witness_calls WHERE label > '0'`,
	} {
		if _, err := db.SQL().ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	asking := start(t, dir, o.d.env(), "replay", "-g", "witness", "--since", "start", "--execute", "--rate", "60")
	for _, done := range []int{forgotten / 8, forgotten / 2} {
		devtest.Eventually(t, time.Minute, "some are handled", func() bool { return o.counts(db, "witness").Calls > keys+done })
		o.d.end(syscall.SIGKILL)
		_ = asking.cmd.Process.Kill() // it has asked, and only watches
		if c := o.counts(db, "witness"); c.Calls >= all || c.Calls != c.Events {
			t.Errorf("killed: %+v, want some of them and none twice", c)
		}
		o.d = startDev(t, dir, env)
	}
	var list []replayed
	devtest.Eventually(t, 2*time.Minute, "the replay is done", func() bool {
		o.read(&list, "replay", "-g", "witness", "--list")
		return len(list) == 1 && list[0].State == "done"
	})
	o.same("calls", counts{Calls: all, Events: all}, o.counts(db, "witness"))
	o.same("the other group", counts{Calls: all, Events: all}, o.counts(db, "onlooker"))
	r := list[0]
	if r.Done != r.Records || r.Handled+r.Duplicate != all || r.Handled > forgotten || r.Handled == 0 || r.Failed != 0 {
		t.Errorf("%d forgotten of %d, listed: %+v", forgotten, all, r)
	}
	var disorder int
	if err := db.SQL().QueryRowContext(t.Context(), `SELECT COUNT(*) FROM witness_calls a JOIN witness_calls b ON a.record_key = b.record_key
		WHERE a.place < b.place AND a.label >= b.label`).Scan(&disorder); err != nil {
		t.Fatal(err)
	}
	o.same("facts of a key out of order", 0, disorder)
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
