// Package oncetest is the conformance suite of the "handled once" store: the stories
// of the protocol that concern it, each on a fresh database.
package oncetest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/once/request"
)

// Open opens a database and closes it at the end of the test.
func Open(tb testing.TB, url string) *once.DB {
	tb.Helper()
	db, err := once.Open(tb.Context(), once.Options{URL: url})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := db.Close(); err != nil {
			tb.Error(err)
		}
	})
	return db
}

// Run runs the suite. open answers a fresh database at each call.
func Run(t *testing.T, open func(testing.TB) *once.DB) {
	t.Helper()
	for _, s := range []struct {
		name  string
		story func(*kit)
	}{
		{"an event is handled once", handledOnce},
		{"two groups act on the same event", twoGroups},
		{"what a failing handler wrote is undone", undone},
		{"a panic or goexit in a handler is undone", abandoned},
		{"a caller that gives up undoes it", cancelled},
		{"a handler's transaction ends with it", txEnds},
		{"waiting and dead rows count as done", rowsCountAsDone},
		{"a replay has no effects and stays behind", replayed},
		{"a fenced owner can write nothing", fencedWrites},
		{"a bump waits for what is in flight", bumpWaits},
		{"a bump waits no longer than its caller", bumpBounded},
		{"epochs are random", epochsRandom},
		{"a restore ends with fresh epochs", restored},
		{"next_offset never goes backwards", advance},
		{"a failed head moves with its successors", spilled},
		{"a duplicate that fails is a dead letter", duplicateFails},
		{"a spill is all or nothing", spillAtomic},
		{"later events of a held key append", appended},
		{"a key drains in order", drains},
		{"an append meets the end of its key", appendMeetsDrain},
		{"a dead head blocks until it is redriven", redriven},
		{"rows that hold nothing are tried alone", released},
		{"any sequence of moves keeps a key in order", anyMoves},
		{"outgoing rows leave in order", outgoing},
		{"an effect is asked for once", effectOnce},
		{"effects go from intent to done", effectStates},
		{"the inbox forgets by its rules", pruned},
		{"lanes do not disturb each other", lanes},
		{"one event at two offsets, at the same time", sameEventTwice},
		{"a record is kept byte-identical", byteIdentical},
		{"hostile ids and texts are storable", hostile},
		{"commands read beside it", readSide},
		{"tables of a group", groupTables},
	} {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			db := open(t)
			s.story(&kit{T: t, db: db, store: db.Store("group")})
		})
	}
}

const topic = "orders"

// kit is what a story needs.
type kit struct {
	*testing.T
	db    *once.DB
	store *once.Store
}

func (k *kit) ctx() context.Context { return k.Context() }

func (k *kit) own(start int64) *once.Owner {
	k.Helper()
	o, err := k.store.Own(k.ctx(), topic, 0, start)
	k.ok(err)
	return o
}

func (k *kit) ok(err error) {
	k.Helper()
	if err != nil {
		k.Fatal(err)
	}
}

// rec is the record of a key at an offset.
func rec(key string, offset int64) once.Record {
	return once.Record{
		Topic: topic, Offset: offset, Timestamp: time.UnixMilli(1_700_000_000_000 + offset).UTC(),
		Key: []byte(key), Value: fmt.Appendf(nil, "value of %d", offset),
		Headers: []once.Header{{Key: "ce_id", Value: []byte(eventID(offset))}},
	}
}

func eventID(offset int64) string { return fmt.Sprintf("event-%03d", offset) }

func live(key string, offset int64) once.Item {
	return once.Item{Mode: once.Live, EventID: eventID(offset), Record: rec(key, offset)}
}

func row(key string, offset int64, state once.WaitState) once.Row {
	return once.Row{
		State: state, Holds: true, EventID: eventID(offset), Record: rec(key, offset), Attempts: 1,
		FirstFailed: time.UnixMicro(1_000_000).UTC(), LastFailed: time.UnixMicro(2_000_000).UTC(),
		Class: "permanent", Reason: "no such thing",
	}
}

func fact(key string, offset int64) once.Outgoing {
	return once.Outgoing{Kind: once.OutFact, Record: rec(key, offset)}
}

func deadCopy(offset int64) once.Outgoing {
	r := rec("k", offset)
	r.Topic, r.Offset = "dlq.group", 0
	return once.Outgoing{Kind: once.OutDeadLetter, Record: r}
}

// notes makes handlers that leave one row of their own, one fact and one effect.
func (k *kit) notes() func(offset int64) func(context.Context, once.Tx) error {
	k.Helper()
	_, err := k.db.SQL().ExecContext(k.ctx(), `CREATE TABLE notes (note BIGINT NOT NULL)`)
	k.ok(err)
	return func(offset int64) func(context.Context, once.Tx) error {
		return func(ctx context.Context, tx once.Tx) error {
			if _, err := tx.ExecContext(ctx, `INSERT INTO notes (note) VALUES ($1)`, offset); err != nil {
				return err
			}
			if err := tx.Send(ctx, fact("k", offset)); err != nil {
				return err
			}
			return tx.Effect(ctx, once.Effect{Name: "mail", Key: eventID(offset), Args: []byte(`{}`)})
		}
	}
}

func nothing(context.Context, once.Tx) error { return nil }

func (k *kit) do(o *once.Owner, item once.Item, fn func(context.Context, once.Tx) error, want once.Result) {
	k.Helper()
	got, err := o.Do(k.ctx(), item, fn)
	if err != nil || got != want {
		k.Fatalf("Do of offset %d = %v, %v; want %v", item.Record.Offset, got, err, want)
	}
}

func idle(int64) bool { return false }

// ask has the owner carry out a request, as a person does.
func (k *kit) ask(o *once.Owner, kind request.Kind, rowID int64) {
	k.Helper()
	_, err := request.Ask(k.ctx(), k.db.DB, "group", kind, rowID)
	k.ok(err)
	served, err := o.Serve(k.ctx(), idle)
	if err != nil || len(served) != 1 || served[0].Result != request.Done {
		k.Fatalf("%s of row %d: %+v, %v", kind, rowID, served, err)
	}
}

func (k *kit) counts() once.Counts {
	k.Helper()
	c, err := k.store.Counts(k.ctx())
	k.ok(err)
	return c
}

func (k *kit) count(query string) int {
	k.Helper()
	var n int
	k.ok(k.db.SQL().QueryRowContext(k.ctx(), query).Scan(&n))
	return n
}

// counted checks what a query counts.
func (k *kit) counted(want int, query string) {
	k.Helper()
	if got := k.count(query); got != want {
		k.Errorf("%s: %d, want %d", query, got, want)
	}
}

// offsets are those of the rows of the store, in the order in which they drain.
func (k *kit) offsets(f once.RowFilter) []int64 {
	k.Helper()
	rows, err := k.store.Rows(k.ctx(), f)
	k.ok(err)
	return offsetsOf(rows)
}

func offsetsOf(rows []once.Row) []int64 {
	list := []int64{}
	for _, r := range rows {
		list = append(list, r.Record.Offset)
	}
	return list
}

func (k *kit) heads(o *once.Owner) []once.Row {
	k.Helper()
	rows, err := o.Heads(k.ctx(), time.Now(), 100)
	k.ok(err)
	return rows
}

// dump is all that the tables of the store hold, but for times.
func (k *kit) dump() string {
	k.Helper()
	var b strings.Builder
	for _, q := range []string{
		`SELECT id, epoch, next_offset, group_name FROM spine_ownership ORDER BY 1`,
		`SELECT ownership, kafka_offset, event_id, group_name FROM spine_inbox ORDER BY 3, 4`,
		`SELECT id, kafka_offset, state, attempts FROM spine_waiting ORDER BY 1`,
		`SELECT id, ownership, topic, kind FROM spine_outgoing ORDER BY 1`,
		`SELECT id, attempts, state, effect_key FROM spine_effects ORDER BY 1`,
	} {
		k.print(&b, q)
	}
	return b.String()
}

func (k *kit) print(b *strings.Builder, query string) {
	k.Helper()
	rows, err := k.db.SQL().QueryContext(k.ctx(), query)
	k.ok(err)
	defer rows.Close()
	for rows.Next() {
		var a, c, d, e any
		k.ok(rows.Scan(&a, &c, &d, &e))
		fmt.Fprintln(b, a, c, d, e)
	}
	k.ok(rows.Err())
}
