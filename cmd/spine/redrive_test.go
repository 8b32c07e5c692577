package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/devstack/devtest"
	"github.com/eventspine/spine/pkg/once"
)

// counts are numbers of a group: what its handler did, and what stands in its room.
type counts struct{ Calls, Events, Dead, Waiting int }

func (o operator) counts(db *once.DB, group string) (c counts) {
	o.t.Helper()
	err := db.SQL().QueryRowContext(o.t.Context(), `SELECT COUNT(*), COUNT(DISTINCT event_id),
		(SELECT COUNT(*) FROM spine_waiting w JOIN spine_ownership o ON o.id = w.ownership WHERE o.group_name = $1 AND w.state = 'dead'),
		(SELECT COUNT(*) FROM spine_waiting w JOIN spine_ownership o ON o.id = w.ownership WHERE o.group_name = $1 AND w.state = 'wait')
		FROM `+group+`_calls`, group).Scan(&c.Calls, &c.Events, &c.Dead, &c.Waiting)
	if err != nil {
		o.t.Fatal(err)
	}
	return c
}

// TestRedrive_killed kills what runs, and the command that asks, in the middle of a
// redrive of a thousand dead letters: the failing group handles each record once, in
// the order of its key and as it was published; another group of the topic gets none.
func TestRedrive_killed(t *testing.T) {
	long(t)
	t.Parallel()
	const keys, each, quarantined = 1100, 2, 3 // the last keys are at their limit
	dir := t.TempDir()
	broken := filepath.Join(dir, "broken")
	if err := os.WriteFile(broken, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	env := witnesses + "=" + broken
	o := operator{t, startDev(t, dir, env)}
	records := o.publish(facts{keys: keys, labels: each})
	db := storeOf(t, o.d)
	devtest.Eventually(t, 2*time.Minute, "all keys are dead", func() bool {
		return o.counts(db, "witness") == counts{0, 0, keys, keys * (each - 1)} && o.counts(db, "onlooker").Calls == keys*each
	})
	o.keptAsPublished(db, records)
	if _, err := db.SQL().ExecContext(t.Context(), `UPDATE spine_waiting SET redriven = 5 WHERE id IN
		(SELECT w.id FROM spine_waiting w JOIN spine_ownership o ON o.id = w.ownership WHERE o.group_name = 'witness' AND w.state = 'dead' ORDER BY w.id DESC LIMIT $1)`, quarantined); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(broken); err != nil {
		t.Fatal(err)
	}

	asking := start(t, dir, o.d.env(), "dlq", "redrive", "-g", "witness", "--execute", "--rate", "400")
	for _, done := range []int{keys / 5, keys} {
		devtest.Eventually(t, time.Minute, "some are handled", func() bool { return o.counts(db, "witness").Calls > done })
		o.d.end(syscall.SIGKILL)
		_ = asking.cmd.Process.Kill() // it may have asked for all by now
		asking.code(30 * time.Second)
		c := o.counts(db, "witness")
		t.Logf("killed: %+v", c)
		if c.Dead+c.Waiting <= quarantined*each {
			t.Errorf("the kill came too late to be in the middle: %+v", c)
		}
		o.d = startDev(t, dir, env)
		asking = start(t, dir, o.d.env(), "dlq", "redrive", "-g", "witness", "--execute", "--rate", "400", "-o", "json")
	}
	if code := asking.code(time.Minute); code != 0 && code != 4 { // 4: all was asked for before, only those at their limit are left
		t.Errorf("the command that went on: exit %d, %s", code, asking.stderr)
	}
	handled := (keys - quarantined) * each
	devtest.Eventually(t, time.Minute, "what is asked is done", func() bool {
		return o.counts(db, "witness") == counts{handled, handled, quarantined, quarantined * (each - 1)}
	})
	o.quarantinedOnes(quarantined)
	devtest.Eventually(t, time.Minute, "the others by force", func() bool {
		return o.counts(db, "witness") == counts{keys * each, keys * each, 0, 0}
	})
	o.same("the other group", counts{keys * each, keys * each, 0, 0}, o.counts(db, "onlooker"))
	o.same("records of the topic", int64(len(records)), o.published(topicOfOrders))
	o.handledAsPublished(db)
}

// keptAsPublished: the rows that wait or are dead are the records, byte by byte.
func (o operator) keptAsPublished(db *once.DB, records []*kgo.Record) {
	o.t.Helper()
	place := func(topic string, partition int32, offset int64) string {
		return fmt.Sprintf("%s/%d@%d", topic, partition, offset)
	}
	published := map[string]*kgo.Record{}
	for _, r := range records {
		published[place(r.Topic, r.Partition, r.Offset)] = r
	}
	var seen int
	for after := int64(0); ; {
		rows, err := db.Store("witness").Rows(o.t.Context(), once.RowFilter{After: after, Limit: 500})
		if err != nil {
			o.t.Fatal(err)
		}
		if len(rows) == 0 {
			break
		}
		for _, row := range rows {
			r := published[place(row.Record.Topic, row.Record.Partition, row.Record.Offset)]
			if r == nil || !bytes.Equal(r.Key, row.Record.Key) || !bytes.Equal(r.Value, row.Record.Value) ||
				!slices.EqualFunc(r.Headers, row.Record.Headers, func(a kgo.RecordHeader, b once.Header) bool { return a.Key == b.Key && bytes.Equal(a.Value, b.Value) }) {
				o.t.Fatalf("row %d is not the record: %+v, published %+v", row.ID, row.Record, r)
			}
			after = row.ID
			seen++
		}
	}
	o.same("rows", len(records), seen)
}

// quarantinedOnes stay, and say what they are, until they are redriven by force.
func (o operator) quarantinedOnes(n int) {
	o.t.Helper()
	if out, _ := o.spine(0, "dlq", "list", "-g", "witness", "-o", "json"); !strings.Contains(out, `"quarantined":`+strconv.Itoa(n)) {
		o.t.Errorf("listed: %s", out)
	}
	out, said := o.spine(4, "dlq", "redrive", "-g", "witness", "--execute", "-o", "json")
	if strings.Count(out, `"result":"quarantined"`) != n || !strings.Contains(said, "--force") {
		o.t.Errorf("without force: %s %s", out, said)
	}
	if out, _ := o.spine(0, "dlq", "redrive", "-g", "witness", "--execute", "--force", "-o", "json"); strings.Count(out, `"result":"done"`) != n {
		o.t.Errorf("by force: %s", out)
	}
}

// handledAsPublished: both groups' handlers saw the same, each key's in its order.
func (o operator) handledAsPublished(db *once.DB) {
	o.t.Helper()
	for what, query := range map[string]string{
		"events that the handlers saw differently": `SELECT COUNT(*) FROM witness_calls w LEFT JOIN onlooker_calls l ON l.event_id = w.event_id
			WHERE l.seen IS NULL OR l.seen <> w.seen`,
		"events of a key out of order": `SELECT COUNT(*) FROM witness_calls a JOIN witness_calls b ON a.record_key = b.record_key
			WHERE a.place < b.place AND a.label >= b.label`,
	} {
		var n int
		if err := db.SQL().QueryRowContext(o.t.Context(), query).Scan(&n); err != nil {
			o.t.Fatal(err)
		}
		o.same(what, 0, n)
	}
}
