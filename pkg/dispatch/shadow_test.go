package dispatch_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/dispatch"
	"github.com/eventspine/spine/pkg/dispatch/shadow"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/once/difference"
	"github.com/eventspine/spine/pkg/once/replay"
	"github.com/eventspine/spine/pkg/once/scratch"
	"github.com/eventspine/spine/pkg/wire"
)

// ledgerOf are the migrations of a group that writes the ledger.
func (w *world) ledgerOf() fstest.MapFS {
	seq := "INTEGER PRIMARY KEY AUTOINCREMENT"
	if w.db.Dialect() == once.PostgreSQL {
		seq = "BIGSERIAL PRIMARY KEY"
	}
	return fstest.MapFS{"00001_create.sql": &fstest.MapFile{Data: []byte(`-- +goose Up
CREATE TABLE IF NOT EXISTS ledger (seq ` + seq + `, label TEXT, entity TEXT, event_id TEXT);
-- +goose Down
DROP TABLE ledger;
`)}}
}

// shade opens a filled copy of the group's store.
func (w *world) shade() *scratch.Store {
	w.t.Helper()
	s, err := scratch.Open(w.t.Context(), scratch.Options{Live: w.db, URL: w.set.DatabaseURL, Group: w.group, Purpose: "shadow", Tables: w.ledgerOf()})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = s.Remove(context.WithoutCancel(w.t.Context())) })
	if err := s.Fill(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	return s
}

// dump is all that stands in the live store, but for the times at which owners said so.
func (w *world) dump() string {
	w.t.Helper()
	var b strings.Builder
	for _, query := range []string{
		`SELECT label || entity || event_id FROM ledger ORDER BY seq`,
		`SELECT event_id || kafka_offset || handled_at FROM spine_inbox ORDER BY event_id`,
		`SELECT topic || next_offset || epoch FROM spine_ownership ORDER BY id`,
		`SELECT event_id || state FROM spine_waiting ORDER BY id`, `SELECT effect_key || state FROM spine_effects ORDER BY id`,
		`SELECT CAST(id AS TEXT) FROM spine_outgoing ORDER BY id`, `SELECT CAST(id AS TEXT) FROM spine_replays`,
	} {
		rows, err := w.db.SQL().QueryContext(w.t.Context(), query)
		if err != nil {
			w.t.Fatal(err)
		}
		fmt.Fprintln(&b, query)
		for rows.Next() {
			var s string
			if err := rows.Scan(&s); err != nil {
				w.t.Fatal(err)
			}
			fmt.Fprintln(&b, "  "+s)
		}
		if err := rows.Close(); err != nil {
			w.t.Fatal(err)
		}
	}
	return b.String()
}

// A shadow shows what a replay would do: the rows, the facts, the effects, the
// failures. The live store is the same before and after, nothing leaves, and a living
// owner goes on meanwhile; what it does then is no difference.
func TestShadow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.script.set(func(_ context.Context, label string, _ int) error {
		switch label {
		case "x":
			return consumer.Reject("never")
		case "panic":
			panic("at " + label)
		}
		return nil
	})
	w.send("k:a", "k:e1", "l:p1", "m:x", "k:b", "n:panic")
	calls := &callLog{}
	w.run(fromNow, withEffect(calls), func(o *dispatch.Options) { o.Group.Tables = w.ledgerOf() })
	w.send("k:e2")
	w.until("the live one is handled", func() bool { s, _ := w.next(0); return s == 7 && len(calls.all()) == 1 })
	before, copied := w.dump(), w.shade()
	tables, err := difference.Keep(t.Context(), copied.DB.DB)
	if err != nil {
		t.Fatal(err)
	}
	o := w.options()
	o.Group.Tables, o.Group.Effects = w.ledgerOf(), []consumer.Effect{{Name: "call"}}
	run, err := shadow.New(t.Context(), shadow.Options{Group: o.Group, DB: copied.DB, Codec: w.codec, Route: o.Route})
	if err != nil {
		t.Fatal(err)
	}
	failures := w.shadowAll(run)
	if diff := cmp.Diff(before, w.dump()); diff != "" {
		t.Errorf("the live store has changed:\n%s", diff)
	}
	w.send("k:live") // the owner goes on while the copy is there
	w.until("the owner goes on", func() bool { s, _ := w.next(0); return s == 8 })
	w.same("failures", []string{"m rejected never", "n panic panic: at panic"}, failures)
	w.same("rows", []string{"ledger added a k", "ledger added e1 k", "ledger added p1 l", "ledger added b k"}, w.differs(copied, tables))
	published, asked := w.left(run)
	w.same("would publish", 1, len(published))
	w.same("would ask", []string{"call e1"}, asked)
	w.same("nothing was published", 0, len(w.read(w.out)))
	w.same("nothing outside was called", []string{"e2"}, calls.all())

	w.same("the replay does it", replay.Counts{Handled: 4, Duplicate: 2, Failed: 2}, w.replayed(w.replay(replay.Request{}, 8)))
	w.same("in the ledger, of k", []string{"e2", "live", "a", "e1", "b"}, w.labels("k"))
	w.same("in the ledger, of l", []string{"p1"}, w.labels("l"))
	w.until("what it publishes leaves", func() bool { return len(w.read(w.out)) == 1 })
	e, err := wire.Head(w.read(w.out)[0])
	w.same("the fact that was foretold", published, []string{e.ID})
	if err != nil {
		t.Fatal(err)
	}
}

// shadowAll has a shadow handle all that stands in the topic, and answers what failed.
func (w *world) shadowAll(run *shadow.Shadow) (failures []string) {
	w.t.Helper()
	for _, rec := range w.read(w.in) {
		e, err := wire.Head(rec)
		if err != nil {
			w.t.Fatal(err)
		}
		failed, err := run.Handle(w.t.Context(), rec, e.ID)
		if err != nil {
			w.t.Fatal(err)
		}
		if failed != nil {
			failures = append(failures, e.Entity+" "+failed.Class+" "+failed.Reason)
		}
	}
	return failures
}

func (w *world) differs(s *scratch.Store, tables []difference.Table) (all []string) {
	w.t.Helper()
	for _, table := range tables {
		err := difference.Compare(w.t.Context(), s.DB.DB, table, func(r difference.Row) error {
			line := fmt.Sprintf("%s %s", table.Name, r.Change)
			for _, c := range r.Cells {
				if c.Column.Name != "event_id" && c.After != nil {
					line += " " + *c.After
				}
			}
			all = append(all, line)
			return nil
		})
		if err != nil {
			w.t.Fatal(err)
		}
	}
	return all
}

// left are the ids that would be published, and the effects that would be asked for.
func (w *world) left(run *shadow.Shadow) (published, asked []string) {
	w.t.Helper()
	err := run.Published(w.t.Context(), func(r *kgo.Record) error {
		e, err := wire.Head(r)
		published = append(published, e.ID)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	err = run.Effects(w.t.Context(), func(e once.Effect) error {
		asked = append(asked, e.Name+" "+e.Key)
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return published, asked
}
