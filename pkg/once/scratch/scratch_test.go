package scratch_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/once/database/databasetest"
	"github.com/eventspine/spine/pkg/once/oncetest"
	"github.com/eventspine/spine/pkg/once/scratch"
)

const (
	group = "stock-keeping"
	topic = "orders"
)

// tables refer to each other in a circle, compute a column and number their rows.
func tables(dialect once.Dialect) fstest.MapFS {
	number := "INTEGER PRIMARY KEY AUTOINCREMENT"
	if dialect == once.PostgreSQL {
		number = "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"
	}
	return fstest.MapFS{"00001_create.sql": &fstest.MapFile{Data: []byte(`-- +goose Up
CREATE TABLE stock_keeping_boxes (
    id    ` + number + `,
    "Who" TEXT NOT NULL UNIQUE,
    shout TEXT GENERATED ALWAYS AS ("Who" || '!') STORED
);
CREATE TABLE a_stock_keeping_parts (
    box  BIGINT NOT NULL REFERENCES stock_keeping_boxes (id),
    part TEXT   NOT NULL,
    PRIMARY KEY (part, box)
);
CREATE VIEW stock_keeping_view AS SELECT "Who" FROM stock_keeping_boxes;
-- +goose Down
DROP VIEW stock_keeping_view;
DROP TABLE a_stock_keeping_parts;
DROP TABLE stock_keeping_boxes;
`)}}
}

type kit struct {
	*testing.T
	url  string
	live *once.DB
}

func newKit(t *testing.T) *kit {
	t.Helper()
	k := &kit{T: t, url: databasetest.URL(t)}
	k.live = oncetest.Open(t, k.url)
	if err := k.live.Migrate(t.Context(), group, tables(k.live.Dialect())); err != nil {
		t.Fatal(err)
	}
	return k
}

func (k *kit) open() *scratch.Store {
	k.Helper()
	s, err := scratch.Open(k.Context(), k.options())
	if err != nil {
		k.Fatal(err)
	}
	k.Cleanup(func() { _ = s.Remove(context.WithoutCancel(k.Context())) })
	return s
}

func (k *kit) options() scratch.Options {
	return scratch.Options{Live: k.live, URL: k.url, Group: group, Purpose: "rebuild", Tables: tables(k.live.Dialect())}
}

func (k *kit) own(db *once.DB, partition int32) *once.Owner {
	k.Helper()
	o, err := db.Store(group).Own(k.Context(), topic, partition, 0)
	if err != nil {
		k.Fatal(err)
	}
	return o
}

// pack handles the record at an offset: a box and a part of it.
func (k *kit) pack(o *once.Owner, offset int64, who string) error {
	item := once.Item{EventID: fmt.Sprint("event-", offset), Record: once.Record{Topic: topic, Offset: offset, Key: []byte(who)}}
	_, err := o.Do(k.Context(), item, func(ctx context.Context, tx once.Tx) error {
		var id int64
		if err := tx.QueryRowContext(ctx, `INSERT INTO stock_keeping_boxes ("Who") VALUES ($1) RETURNING id`, who).Scan(&id); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO a_stock_keeping_parts (box, part) VALUES ($1, $2)`, id, who+" part")
		return err
	})
	if err != nil {
		return err
	}
	return o.Advance(k.Context(), offset+1)
}

func (k *kit) ok(err error) {
	k.Helper()
	if err != nil {
		k.Fatal(err)
	}
}

// rows shows what stands in a store.
func (k *kit) rows(db *once.DB, query string) (all []string) {
	k.Helper()
	rows, err := db.SQL().QueryContext(k.Context(), query)
	k.ok(err)
	defer rows.Close()
	for rows.Next() {
		var s string
		k.ok(rows.Scan(&s))
		all = append(all, s)
	}
	k.ok(rows.Err())
	return all
}

func (k *kit) same(what string, want, got any) {
	k.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		k.Errorf("%s: %s", what, diff)
	}
}

func (k *kit) boxes(db *once.DB) []string {
	k.Helper()
	return k.rows(db, `SELECT b.id || ' ' || shout || ' ' || p.part FROM stock_keeping_boxes b JOIN a_stock_keeping_parts p ON p.box = b.id ORDER BY b.id`)
}

func (k *kit) handled(db *once.DB) []string {
	k.Helper()
	return k.rows(db, `SELECT o.kafka_partition || '/' || i.kafka_offset || ' ' || i.event_id FROM spine_inbox i
		JOIN spine_ownership o ON o.id = i.ownership WHERE i.group_name = '`+group+`' ORDER BY i.event_id`)
}

func TestTables(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	got, err := k.open().Tables(t.Context())
	k.ok(err)
	k.same("tables", []scratch.Table{
		{Name: "a_stock_keeping_parts", Columns: []string{"box", "part"}, Key: []string{"part", "box"}},
		{Name: "stock_keeping_boxes", Columns: []string{"id", "Who"}, Key: []string{"id"}},
	}, got)
}

func TestSwap(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.ok(k.pack(k.own(k.live, 1), 50, "somebody of another partition first")) // its ownership has another number there
	owner := k.own(k.live, 0)
	for i, who := range []string{"ann", "bob", "cid"} {
		k.ok(k.pack(owner, int64(i), who))
	}
	neighbour, err := k.live.Store("neighbour").Own(t.Context(), topic, 0, 7)
	k.ok(err)
	s := k.open()
	there := k.own(s.DB, 0)
	k.ok(k.pack(there, 0, "ann"))
	k.ok(k.pack(there, 1, "bob"))
	k.ok(there.Spill(t.Context(), once.Row{
		State: once.Dead, Holds: true, EventID: "event-2", Class: "permanent", Reason: "no",
		Record: once.Record{Topic: topic, Offset: 2, Key: []byte("cid")},
	}, nil, nil))
	k.ok(there.Advance(t.Context(), 3))
	k.ok(k.pack(k.own(s.DB, 2), 80, "dora"))
	want := k.boxes(s.DB)

	k.ok(s.Swap(t.Context()))

	k.same("boxes", want, k.boxes(k.live))
	k.same("the view", []string{"ann", "bob", "dora"}, k.rows(k.live, `SELECT "Who" FROM stock_keeping_view ORDER BY 1`))
	k.same("handled", []string{"0/0 event-0", "0/1 event-1", "2/80 event-80"}, k.handled(k.live))
	rows, err := k.live.Store(group).Rows(t.Context(), once.RowFilter{})
	k.ok(err)
	if len(rows) != 1 || rows[0].EventID != "event-2" || rows[0].State != once.Dead {
		t.Errorf("dead: %+v", rows)
	}
	if err := k.pack(owner, 3, "eve"); !errors.Is(err, once.ErrFenced) {
		t.Errorf("the owner from before goes on: %v", err)
	}
	k.ok(neighbour.Advance(t.Context(), 9)) // not fenced
	next := k.own(k.live, 0)
	if next.NextOffset() != 3 || len(next.Held()) != 1 {
		t.Errorf("the next owner begins at %d with %v", next.NextOffset(), next.Held())
	}
	k.ok(k.pack(next, 3, "eve"))
	k.ok(k.pack(k.own(k.live, 2), 81, "fay"))
	k.ok(s.Remove(t.Context()))
	k.same("a number is not given out again", 5, len(k.boxes(k.live)))
}

func TestFill(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.own(k.live, 3)
	owner := k.own(k.live, 0)
	k.ok(k.pack(owner, 0, "ann"))
	s := k.open()
	k.ok(s.Fill(t.Context()))
	k.same("boxes", k.boxes(k.live), k.boxes(s.DB))
	k.same("handled", k.handled(k.live), k.handled(s.DB))
	k.ok(k.pack(owner, 1, "bob")) // it was not disturbed
	there := k.own(s.DB, 0)
	if there.NextOffset() != 1 {
		t.Errorf("it goes on at %d", there.NextOffset())
	}
	k.ok(k.pack(there, 1, "zoe"))
	k.same("what is done here doesn't show there", []string{"bob"}, k.rows(k.live, `SELECT "Who" FROM stock_keeping_boxes WHERE "Who" IN ('bob', 'zoe')`))
}

// What fails leaves the live contents as they were, its owners too.
func TestSwapIsOneTransaction(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	owner := k.own(k.live, 0)
	k.ok(k.pack(owner, 0, "ann"))
	for _, statement := range []string{ // of a person: it refers to a box that the other store hasn't
		`CREATE TABLE bookmarks (box BIGINT NOT NULL REFERENCES stock_keeping_boxes (id))`, `INSERT INTO bookmarks SELECT id FROM stock_keeping_boxes`,
	} {
		_, err := k.live.SQL().ExecContext(t.Context(), statement)
		k.ok(err)
	}
	s := k.open()
	if err := s.Swap(t.Context()); err == nil {
		t.Error("what a person's table refers to is gone")
	}
	k.same("handled", []string{"0/0 event-0"}, k.handled(k.live))
	k.same("boxes", 1, len(k.boxes(k.live)))
	k.ok(k.pack(owner, 1, "bob"))
}

func TestOneAtATime(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	s := k.open()
	k.ok(k.pack(k.own(s.DB, 0), 0, "ann"))
	if _, err := scratch.Open(t.Context(), k.options()); !errors.Is(err, scratch.ErrBusy) {
		t.Errorf("a second one: %v", err)
	}
	k.same("the first one stands", 1, len(k.boxes(s.DB)))
	k.ok(s.Remove(t.Context()))
	k.same("the next one begins with nothing", 0, len(k.boxes(k.open().DB)))
}

// What is named like the scratch store and isn't one stays.
func TestForeignSchema(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	if k.live.Dialect() == once.SQLite {
		s := k.open()
		k.ok(s.Remove(t.Context()))
		left, err := filepath.Glob(k.live.Name() + "." + group + ".*")
		k.ok(err)
		for _, file := range left {
			if info, err := os.Stat(file); err != nil || !strings.HasSuffix(file, ".lock") {
				t.Errorf("left: %v, %v", info, err)
			}
		}
		return
	}
	name := k.live.Name() + "_stock_keeping_rebuild"
	_, err := k.live.SQL().ExecContext(t.Context(), `CREATE SCHEMA `+name)
	k.ok(err)
	defer func() {
		_, err := k.live.SQL().ExecContext(context.WithoutCancel(t.Context()), `DROP SCHEMA `+name)
		k.ok(err)
	}()
	if _, err := scratch.Open(t.Context(), k.options()); err == nil {
		t.Error("a person's schema was taken")
	}
}

// What Begin finds is one snapshot: where the live group stands, what it has handled
// ahead of that, and its rows; nothing of it is handled here.
func TestBegin(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	owner := k.own(k.live, 0)
	for i, who := range []string{"ann", "bob"} {
		k.ok(k.pack(owner, int64(i), who))
	}
	k.own(k.live, 1)
	for _, offset := range []int64{5, 3} { // in flight: 2 and 4 aren't done
		item := once.Item{EventID: fmt.Sprint("event-", offset), Record: once.Record{Topic: topic, Offset: offset}}
		_, err := owner.Do(t.Context(), item, func(context.Context, once.Tx) error { return nil })
		k.ok(err)
	}
	s := k.open()
	parts, err := s.Begin(t.Context(), func(ctx context.Context, tx *sql.Tx, live string) error {
		k.ok(k.pack(owner, 2, "cid")) // after the snapshot, which the next line has begun at the latest
		_, err := tx.ExecContext(ctx, `CREATE TABLE kept AS SELECT "Who" FROM `+live+`stock_keeping_boxes`)
		return err
	})
	k.ok(err)
	k.same("parts", []scratch.Part{{Topic: topic, Next: 2, Ahead: []int64{3, 5}}, {Topic: topic, Partition: 1}}, parts)
	k.same("kept", []string{"ann", "bob"}, k.rows(s.DB, `SELECT "Who" FROM kept ORDER BY 1`))
	k.same("rows", 0, len(k.boxes(s.DB)))
	k.same("handled", 0, len(k.handled(s.DB)))
	if next := k.own(s.DB, 0).NextOffset(); next != 6 {
		t.Errorf("a replay here ends below %d", next)
	}
}
