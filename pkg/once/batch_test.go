package once_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/once/database/databasetest"
	"github.com/eventspine/spine/pkg/once/oncetest"
)

// Several records in one transaction, on both databases.
func TestDoAll(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]func(testing.TB) string{"sqlite": databasetest.SQLiteURL, "postgres": databasetest.PostgresURL} {
		for _, s := range []struct {
			name  string
			story func(*kit)
		}{
			{"several items share a transaction", together},
			{"who fails undoes only its own", oneFails},
			{"the victim of a deadlock is handled one by one", victim},
			{"a batch that is fenced or abandoned leaves nothing", batchOfNobody},
			{"waiting rows count as done", mixed},
			{"a slow batch begins nothing more", slowBatch},
			{"without the inbox, next_offset refuses", unmarked},
		} {
			t.Run(name+"/"+s.name, func(t *testing.T) {
				t.Parallel()
				db := oncetest.Open(t, url(t))                                                 // skips without a server
				s.story(&kit{T: t, db: db, store: db.Store("group").WithBatchTime(time.Hour)}) // however slow the machine is
			})
		}
	}
}

// kit is what a story needs.
type kit struct {
	*testing.T
	db    *once.DB
	store *once.Store
}

func (k *kit) ctx() context.Context { return k.Context() }

func (k *kit) own() *once.Owner {
	k.Helper()
	o, err := k.store.Own(k.ctx(), "orders", 0, 0)
	k.ok(err)
	return o
}

func (k *kit) ok(err error) {
	k.Helper()
	if err != nil {
		k.Fatal(err)
	}
}

func eventID(offset int64) string { return fmt.Sprintf("event-%03d", offset) }

func live(key string, offset int64) once.Item {
	return once.Item{Mode: once.Live, EventID: eventID(offset), Record: once.Record{
		Topic: "orders", Offset: offset, Timestamp: time.UnixMilli(1_700_000_000_000 + offset).UTC(),
		Key: []byte(key), Value: fmt.Appendf(nil, "value of %d", offset),
	}}
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

// all is how many rows stand in the tables that a handler of noting writes.
func (k *kit) all() map[string]int {
	k.Helper()
	rows := map[string]int{}
	for _, table := range []string{"notes", "spine_inbox", "spine_outgoing", "spine_effects"} {
		rows[table] = k.count(`SELECT COUNT(*) FROM ` + table)
	}
	return rows
}

func each(n int) map[string]int {
	return map[string]int{"notes": n, "spine_inbox": n, "spine_outgoing": n, "spine_effects": n}
}

// notes makes handlers that leave one row of their own, one fact and one effect.
func (k *kit) notes() func(context.Context, once.Item, once.Tx) error {
	k.Helper()
	_, err := k.db.SQL().ExecContext(k.ctx(), `CREATE TABLE notes (note BIGINT NOT NULL)`)
	k.ok(err)
	return func(ctx context.Context, item once.Item, tx once.Tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO notes (note) VALUES ($1)`, item.Record.Offset); err != nil {
			return err
		}
		if err := tx.Send(ctx, once.Outgoing{Kind: once.OutFact, Record: item.Record}); err != nil {
			return err
		}
		return tx.Effect(ctx, once.Effect{Name: "mail", Key: item.EventID, Args: []byte(`{}`)})
	}
}

// batch is items of keys of their own, at offsets from 0.
func batch(n int64) []once.Item {
	var items []once.Item
	for offset := range n {
		items = append(items, live(string(rune('a'+offset)), offset))
	}
	return items
}

func results(done []once.Done) []once.Result {
	var list []once.Result
	for _, d := range done {
		if d.Err != nil {
			d.Result = -1
		}
		list = append(list, d.Result)
	}
	return list
}

func (k *kit) doAll(o *once.Owner, items []once.Item, fn func(context.Context, int, once.Tx) error, want ...once.Result) []once.Done {
	k.Helper()
	done := o.DoAll(k.ctx(), items, fn)
	if diff := cmp.Diff(want, results(done)); diff != "" {
		k.Fatalf("DoAll (-1 = error): %s %v", diff, done)
	}
	return done
}

// noting calls the handler of each item by its offset, and counts the calls.
func (k *kit) noting(items []once.Item, calls *int) func(context.Context, int, once.Tx) error {
	note := k.notes()
	return func(ctx context.Context, i int, tx once.Tx) error {
		*calls++
		return note(ctx, items[i], tx)
	}
}

func together(k *kit) {
	o, items, calls := k.own(), batch(4), 0
	note := k.noting(items, &calls)
	k.doAll(o, items, note, once.Handled, once.Handled, once.Handled, once.Handled)
	k.doAll(o, items, note, once.DuplicateDelivery, once.DuplicateDelivery, once.DuplicateDelivery, once.DuplicateDelivery)
	if diff := cmp.Diff(each(4), k.all()); diff != "" || calls != 4 {
		k.Errorf("after %d calls, want 4: %s", calls, diff)
	}
	out, err := o.Outgoing(k.ctx(), 10)
	k.ok(err)
	for i, r := range out {
		if want := items[i].Record.Value; string(r.Value) != string(want) {
			k.Errorf("outgoing %d: %s, want %s", i, r.Value, want)
		}
	}
	twice := []once.Item{live("x", 7), live("y", 8), live("z", 9)}
	twice[1].EventID, twice[2].EventID = twice[0].EventID, eventID(1)
	k.doAll(o, twice, func(context.Context, int, once.Tx) error { return nil }, once.Handled, once.DuplicateEvent, once.DuplicateEvent)
	k.ok(o.Advance(k.ctx(), 12))
	k.doAll(o, []once.Item{live("x", 11), live("y", 12)}, note, once.DuplicateDelivery, once.Handled)
}

// oneFails: who fails undoes only its own, whatever the others do.
func oneFails(k *kit) {
	o, items, sick := k.own(), batch(5), errors.New("sick")
	calls := make([]int, len(items))
	note := k.notes()
	for _, bad := range []map[int]bool{{1: true}, {0: true, 3: true, 4: true}} {
		clear(calls)
		done := o.DoAll(k.ctx(), items, func(ctx context.Context, i int, tx once.Tx) error {
			calls[i]++
			if err := note(ctx, items[i], tx); err != nil || !bad[i] {
				return err
			}
			return sick
		})
		for i, d := range done {
			if bad[i] != errors.Is(d.Err, sick) || !bad[i] && d.Result != once.Handled {
				k.Errorf("item %d: %v, %v", i, d.Result, d.Err)
			}
			if bad[i] && calls[i] != 1 {
				k.Errorf("item %d was called %d times for one failure", i, calls[i])
			}
		}
		good := len(items) - len(bad)
		if diff := cmp.Diff(each(good), k.all()); diff != "" {
			k.Error(diff)
		}
		for i := range items { // the next round is of other events
			items[i].Record.Offset += 100
			items[i].EventID = eventID(items[i].Record.Offset)
		}
		for _, table := range []string{"notes", "spine_inbox", "spine_outgoing", "spine_effects"} {
			_, err := k.db.SQL().ExecContext(k.ctx(), `DELETE FROM `+table)
			k.ok(err)
		}
	}
}

// victim: the database chose the batch as the victim of a deadlock.
func victim(k *kit) {
	o, items := k.own(), batch(3)
	note, first := k.notes(), true
	k.doAll(o, items, func(ctx context.Context, i int, tx once.Tx) error {
		if err := note(ctx, items[i], tx); err != nil {
			return err
		}
		if i == 2 && first {
			first = false
			return &pgconn.PgError{Code: "40P01"}
		}
		return nil
	}, once.Handled, once.Handled, once.Handled)
	if n := k.count(`SELECT COUNT(*) FROM notes`); n != 3 {
		k.Errorf("the handlers' rows: %d, want 3", n)
	}
}

// batchOfNobody: a fenced owner writes nothing of a batch, and a batch that is
// abandoned leaves nothing.
func batchOfNobody(k *kit) {
	o, items, calls := k.own(), batch(3), 0
	note := k.noting(items, &calls)
	for name, end := range map[string]func(){"panic": func() { panic("boom") }, "goexit": runtime.Goexit} {
		over := make(chan any)
		go func() {
			defer func() { over <- recover() }()
			o.DoAll(k.ctx(), items, func(ctx context.Context, i int, tx once.Tx) error {
				if i == 2 {
					end()
				}
				return note(ctx, i, tx)
			})
		}()
		<-over
		if diff := cmp.Diff(each(0), k.all()); diff != "" {
			k.Errorf("%s: something of it stands: %s", name, diff)
		}
	}
	k.own()
	calls = 0
	for i, d := range k.doAll(o, items, note, -1, -1, -1) {
		if !errors.Is(d.Err, once.ErrFenced) {
			k.Errorf("item %d: %v, want ErrFenced", i, d.Err)
		}
	}
	if diff := cmp.Diff(each(0), k.all()); diff != "" || calls != 0 {
		k.Errorf("a fenced owner called %d handlers: %s", calls, diff)
	}
}

// mixed: what stands as a row counts as done within a batch, too.
func mixed(k *kit) {
	o, items, calls := k.own(), batch(4), 0
	note := k.noting(items, &calls)
	k.ok(o.Spill(k.ctx(), once.Row{State: once.Wait, Holds: true, EventID: items[1].EventID, Record: items[1].Record}, nil, nil))
	k.doAll(o, items, note, once.Handled, once.DuplicateDelivery, once.Handled, once.Handled)
	if calls != 3 {
		k.Errorf("%d handlers were called, want 3", calls)
	}
	gone, cancel := context.WithCancel(k.ctx())
	cancel()
	more := []once.Item{live("x", 7), live("y", 8)}
	for i, d := range o.DoAll(gone, more, note) {
		if !errors.Is(d.Err, context.Canceled) {
			k.Errorf("item %d of a caller that gave up: %v", i, d.Err)
		}
	}
}

// slowBatch: a batch that takes its time begins nothing more.
func slowBatch(k *kit) {
	k.store = k.store.WithBatchTime(time.Nanosecond) // any handler is slow
	o, items, calls := k.own(), batch(3), 0
	note := k.noting(items, &calls)
	done := o.DoAll(k.ctx(), items, note)
	if diff := cmp.Diff([]once.Done{{Result: once.Handled}, {}, {}}, done, cmpopts.EquateErrors()); diff != "" {
		k.Fatal(diff)
	}
	if diff := cmp.Diff(each(1), k.all()); diff != "" {
		k.Error(diff)
	}
	k.doAll(o, items[1:2], func(ctx context.Context, _ int, tx once.Tx) error { return note(ctx, 1, tx) }, once.Handled)
}

// unmarked: without the inbox an event is handled again, until next_offset has passed.
func unmarked(k *kit) {
	o, items, calls := k.own(), batch(2), 0
	for i := range items {
		items[i].Unmarked = true
	}
	note := func(context.Context, int, once.Tx) error { calls++; return nil }
	k.doAll(o, items, note, once.Handled, once.Handled)
	k.doAll(o, items, note, once.Handled, once.Handled)
	k.ok(o.Advance(k.ctx(), 1))
	k.doAll(o, items, note, once.DuplicateDelivery, once.Handled)
	k.doAll(o, items[:1], note, once.DuplicateDelivery)
	k.doAll(o, items[1:], note, once.Handled)
	if n := k.counts().Handled; n != 0 || calls != 6 {
		k.Errorf("%d events in the inbox after %d calls, want none after 6", n, calls)
	}
}
