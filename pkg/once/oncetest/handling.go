package oncetest

import (
	"context"
	"database/sql"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/once/database"
	"github.com/eventspine/spine/pkg/once/replay"
)

func handledOnce(k *kit) {
	o, note := k.own(0), k.notes()
	k.do(o, live("k", 0), note(0), once.Handled)
	k.do(o, live("k", 0), note(0), once.DuplicateDelivery)
	again := live("k", 5)
	again.EventID = eventID(0)
	k.do(o, again, note(5), once.DuplicateEvent)
	k.do(o, again, note(5), once.DuplicateEvent)
	k.counted(1, `SELECT COUNT(*) FROM notes`)
	want := once.Counts{Handled: 1, Outgoing: 1, EffectsOpen: 1}
	if diff := cmp.Diff(want, k.counts()); diff != "" {
		k.Error(diff)
	}
	if _, err := o.Do(k.ctx(), once.Item{Record: rec("k", 6)}, nothing); err == nil {
		k.Error("an item without an event id was handled")
	}
}

func twoGroups(k *kit) {
	note := k.notes()
	for _, group := range []string{"one", "two"} {
		o, err := k.db.Store(group).Own(k.ctx(), topic, 0, 0)
		k.ok(err)
		k.do(o, live("k", 0), note(0), once.Handled)
	}
	k.counted(2, `SELECT COUNT(*) FROM notes`)
	k.counted(2, `SELECT COUNT(*) FROM spine_effects`) // one per group, as above
}

func undone(k *kit) {
	o, note := k.own(0), k.notes()
	before := k.dump()
	sick := errors.New("sick")
	_, err := o.Do(k.ctx(), live("k", 0), func(ctx context.Context, tx once.Tx) error {
		k.ok(note(0)(ctx, tx))
		return sick
	})
	if !errors.Is(err, sick) || errors.Is(err, once.ErrUnavailable) {
		k.Errorf("got %v, want the handler's own error", err)
	}
	if _, err := o.Do(k.ctx(), live("k", 1), func(ctx context.Context, tx once.Tx) error {
		k.ok(note(1)(ctx, tx))
		_, err := tx.ExecContext(ctx, `INSERT INTO nowhere VALUES (1)`)
		return err
	}); err == nil || errors.Is(err, once.ErrUnavailable) {
		k.Errorf("a statement that fails: %v", err)
	}
	if diff := cmp.Diff(before, k.dump()); diff != "" || k.count(`SELECT COUNT(*) FROM notes`) != 0 {
		k.Errorf("something of it stands: %s", diff)
	}
	k.do(o, live("k", 0), note(0), once.Handled)
}

func abandoned(k *kit) {
	o, note := k.own(0), k.notes()
	before := k.dump()
	for name, end := range map[string]func(){"panic": func() { panic("boom") }, "goexit": runtime.Goexit} {
		done := make(chan any)
		go func() {
			defer func() { done <- recover() }()
			_, _ = o.Do(k.ctx(), live("k", 0), func(ctx context.Context, tx once.Tx) error {
				if err := note(0)(ctx, tx); err != nil {
					return err
				}
				end()
				return nil
			})
		}()
		if got := <-done; name == "panic" && got != "boom" {
			k.Errorf("the panic came back as %v", got)
		}
		if diff := cmp.Diff(before, k.dump()); diff != "" || k.count(`SELECT COUNT(*) FROM notes`) != 0 {
			k.Errorf("%s: something of it stands: %s", name, diff)
		}
	}
	k.do(o, live("k", 0), note(0), once.Handled)
}

// cancelled: the caller gives up while the handler runs.
func cancelled(k *kit) {
	o, note := k.own(0), k.notes()
	before := k.dump()
	ctx, cancel := context.WithCancel(k.ctx())
	_, err := o.Do(ctx, live("k", 0), func(ctx context.Context, tx once.Tx) error {
		k.ok(note(0)(ctx, tx))
		cancel()
		return note(1)(ctx, tx)
	})
	if !errors.Is(err, context.Canceled) || errors.Is(err, once.ErrUnavailable) {
		k.Errorf("got %v, want context.Canceled", err)
	}
	if diff := cmp.Diff(before, k.dump()); diff != "" || k.count(`SELECT COUNT(*) FROM notes`) != 0 {
		k.Errorf("something of it stands: %s", diff)
	}
	if _, err := o.Do(ctx, live("k", 0), nothing); !errors.Is(err, context.Canceled) {
		k.Errorf("called when it is over: %v", err)
	}
	k.do(o, live("k", 0), note(0), once.Handled)
}

func txEnds(k *kit) {
	o := k.own(0)
	k.notes()
	var kept once.Tx
	k.do(o, live("k", 0), func(_ context.Context, tx once.Tx) error { kept = tx; return nil }, once.Handled)
	if _, err := kept.ExecContext(k.ctx(), `INSERT INTO notes (note) VALUES (1)`); !errors.Is(err, sql.ErrTxDone) {
		k.Errorf("a transaction that has ended: got %v, want sql.ErrTxDone", err)
	}
	if err := kept.QueryRowContext(k.ctx(), `SELECT 1`).Err(); err == nil {
		k.Error("a query in a transaction that has ended: want an error")
	}
	for _, statement := range []string{"COMMIT", " rollback", "Begin;", "END", "START TRANSACTION"} {
		_, err := o.Do(k.ctx(), live("k", 1), func(ctx context.Context, tx once.Tx) error {
			_, err := tx.ExecContext(ctx, statement)
			return err
		})
		if !errors.Is(err, database.ErrTxControl) {
			k.Errorf("%s: got %v, want ErrTxControl", statement, err)
		}
	}
	k.do(o, live("k", 1), func(ctx context.Context, tx once.Tx) error { // savepoints are a handler's right
		for _, s := range []string{
			"SAVEPOINT mine", "INSERT INTO notes (note) VALUES (1)", "ROLLBACK TO mine", "RELEASE mine",
			"INSERT INTO notes (note) VALUES (2)",
		} {
			if _, err := tx.ExecContext(ctx, s); err != nil {
				return err
			}
		}
		return nil
	}, once.Handled)
	if n := k.count(`SELECT SUM(note) FROM notes`); n != 2 {
		k.Errorf("notes after a handler's own savepoint: %d, want 2", n)
	}
}

func rowsCountAsDone(k *kit) {
	o := k.own(0)
	k.ok(o.Spill(k.ctx(), row("a", 0, once.Wait), nil, nil))
	k.ok(o.Spill(k.ctx(), row("b", 1, once.Dead), nil, nil))
	k.do(o, live("a", 0), nothing, once.DuplicateDelivery)
	k.do(o, live("b", 1), nothing, once.DuplicateDelivery)
	dead := live("b", 1)
	dead.Mode = once.Waiting
	k.do(o, dead, nothing, once.DuplicateDelivery) // dead rows are not tried
	gone := live("c", 2)
	gone.Mode = once.Waiting
	k.do(o, gone, nothing, once.DuplicateDelivery) // a row that was dropped
	if c := k.counts(); c.Handled != 0 || c.Waiting != 1 || c.Dead != 1 {
		k.Errorf("books: %+v", c)
	}
	k.ok(o.Advance(k.ctx(), 10))
	k.do(o, live("d", 9), nothing, once.DuplicateDelivery)
	k.do(o, live("d", 10), nothing, once.Handled)
}

func replayed(k *kit) {
	o, note := k.own(10), k.notes()
	id, err := replay.Ask(k.ctx(), k.db.DB, "group", replay.Request{Kind: replay.Facts}, []replay.Range{{Topic: topic, Until: 12}})
	k.ok(err)
	item := func(offset int64) once.Item {
		i := live("k", offset)
		i.Mode, i.Replay, i.Silent = once.Replay, id, true
		return i
	}
	k.do(o, live("k", 10), nothing, once.Handled)
	k.do(o, item(3), note(3), once.Handled)
	k.do(o, item(3), note(3), once.DuplicateDelivery)
	if _, err := o.Do(k.ctx(), item(11), note(11)); err == nil {
		k.Error("a replay went ahead of next_offset")
	}
	k.ok(o.Spill(k.ctx(), row("w", 11, once.Dead), nil, nil))
	k.ok(o.Advance(k.ctx(), 12))
	k.do(o, item(10), note(10), once.DuplicateDelivery)
	k.do(o, item(11), note(11), once.DuplicateDelivery) // left to redrive
	want := once.Counts{Handled: 2, Dead: 1, Outgoing: 1, WaitingBytes: k.counts().WaitingBytes}
	if diff := cmp.Diff(want, k.counts()); diff != "" {
		k.Errorf("no effect of a replay: %s", diff)
	}
	k.counted(1, `SELECT COUNT(*) FROM notes`)
	odd := live("k", 12)
	odd.EventID = strings.Repeat("\x00\"<x>", 200) // no database keeps it as it is
	k.do(o, odd, nothing, once.Handled)
	known, err := o.Done(k.ctx(), []string{eventID(3), eventID(4), odd.EventID, `"`, eventID(3)}, 3, 12)
	k.ok(err)
	want2 := replay.Known{Handled: []bool{true, false, true, false, true}, Standing: map[int64]string{11: "dead"}}
	if diff := cmp.Diff(want2, known); diff != "" {
		k.Errorf("what is done: %s", diff)
	}
}

// lanes: concurrent handlers, one in four of which fails after it wrote.
func lanes(k *kit) {
	const n = 64
	o, note := k.own(0), k.notes()
	sick := errors.New("sick")
	var wg sync.WaitGroup
	for i := range int64(n) {
		wg.Go(func() {
			_, err := o.Do(k.ctx(), live("k"+eventID(i), i), func(ctx context.Context, tx once.Tx) error {
				if err := note(i)(ctx, tx); err != nil {
					return err
				}
				switch i % 8 {
				case 0:
					return sick
				case 4:
					_, err := tx.ExecContext(ctx, `INSERT INTO nowhere VALUES (1)`)
					return err
				}
				return nil
			})
			if (err != nil) != (i%4 == 0) {
				k.Errorf("lane %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	want := once.Counts{Handled: n * 3 / 4, Outgoing: n * 3 / 4, EffectsOpen: n * 3 / 4}
	if diff := cmp.Diff(want, k.counts()); diff != "" {
		k.Error(diff)
	}
	k.counted(n*3/4, `SELECT COUNT(*) FROM notes`)
	k.counted(0, `SELECT COUNT(*) FROM notes WHERE note % 4 = 0`) // of lanes that failed
}

func sameEventTwice(k *kit) {
	o, note := k.own(0), k.notes()
	var handled, duplicates atomic.Int32
	var wg sync.WaitGroup
	for i := range int64(16) {
		wg.Go(func() {
			item := live("k"+eventID(i), i)
			item.EventID = "the same"
			switch got, err := o.Do(k.ctx(), item, note(i)); {
			case err != nil:
				k.Error(err)
			case got == once.Handled:
				handled.Add(1)
			case got == once.DuplicateEvent:
				duplicates.Add(1)
			}
		})
	}
	wg.Wait()
	if handled.Load() != 1 || duplicates.Load() != 15 || k.count(`SELECT COUNT(*) FROM notes`) != 1 {
		k.Errorf("handled %d, duplicates %d, want 1 and 15", handled.Load(), duplicates.Load())
	}
}

func byteIdentical(k *kit) {
	o := k.own(0)
	for i, r := range []once.Record{
		{Key: nil, Value: nil},
		{Key: []byte{}, Value: []byte{}, Timestamp: time.UnixMilli(-1).UTC()},
		{
			Key: []byte("\x00\xff"), Value: make([]byte, 100_000), Timestamp: time.UnixMilli(0).UTC(),
			Headers: []once.Header{{Key: "a"}, {Key: "a", Value: []byte{}}, {Value: []byte{0}}},
		},
		{Key: []byte(strings.Repeat("long", 5_000)), Timestamp: time.UnixMicro(1_700_000_000_123_456).UTC()},
	} {
		r.Topic, r.Offset = topic, int64(i)
		k.ok(o.Spill(k.ctx(), once.Row{State: once.Dead, EventID: eventID(r.Offset), Record: r}, nil,
			[]once.Outgoing{{Kind: once.OutDeadLetter, Record: r}}))
		rows, err := k.store.Rows(k.ctx(), once.RowFilter{State: once.Dead})
		k.ok(err)
		if diff := cmp.Diff(r, rows[len(rows)-1].Record); diff != "" {
			k.Errorf("record %d as a row: %s", i, diff)
		}
		out, err := o.Outgoing(k.ctx(), 10)
		k.ok(err)
		r.Offset = 0 // of its own topic, not yet known
		if diff := cmp.Diff(r, out[len(out)-1].Record); diff != "" {
			k.Errorf("record %d as an outgoing row: %s", i, diff)
		}
	}
}

func hostile(k *kit) {
	o := k.own(0)
	for i, id := range []string{"nul\x00", "\xff\xfe", strings.Repeat("x", 1<<20), "'; DROP TABLE spine_inbox; --"} {
		offset := int64(2 * i)
		item := live("k", offset)
		item.EventID = id
		k.do(o, item, nothing, once.Handled)
		k.do(o, item, nothing, once.DuplicateDelivery)
		item.Record.Offset++
		k.do(o, item, nothing, once.DuplicateEvent)
		bad := row("bad", 100+offset, once.Dead)
		bad.EventID, bad.Holds, bad.Class, bad.Reason = id+"2", false, id, "reason: "+id
		k.ok(o.Spill(k.ctx(), bad, nil, nil))
	}
	if c := k.counts(); c.Handled != 4 || c.Dead != 4 {
		k.Errorf("books: %+v", c)
	}
}
