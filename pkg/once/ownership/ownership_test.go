package ownership_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/once/database/databasetest"
	"github.com/eventspine/spine/pkg/once/oncetest"
	"github.com/eventspine/spine/pkg/once/ownership"
)

// onBoth tells a story on both dialects.
func onBoth(t *testing.T, story func(*testing.T, *once.DB)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { t.Parallel(); story(t, oncetest.Open(t, databasetest.SQLiteURL(t))) })
	t.Run("postgres", func(t *testing.T) { t.Parallel(); story(t, oncetest.Open(t, databasetest.PostgresURL(t))) })
}

func own(t *testing.T, db *once.DB, group string, start int64) *once.Owner {
	t.Helper()
	o, err := db.Store(group).Own(t.Context(), "orders", 0, start)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func item(offset int64) once.Item {
	return once.Item{EventID: fmt.Sprint("e", offset), Record: once.Record{Topic: "orders", Offset: offset, Key: []byte("k")}}
}

// handle handles an offset, and publishes and asks for an effect with it.
func handle(t *testing.T, o *once.Owner, offset int64) once.Result {
	t.Helper()
	got, err := o.Do(t.Context(), item(offset), func(ctx context.Context, tx once.Tx) error {
		key := fmt.Sprint(offset)
		return errors.Join(tx.Send(ctx, once.Outgoing{Kind: once.OutFact, Record: once.Record{Topic: "out"}}),
			tx.Effect(ctx, once.Effect{Name: "mail", Key: key}))
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// filled handles 0 to 4, puts 5 aside as dead with 6 behind it, and stores 7.
func filled(t *testing.T, db *once.DB, group string) *once.Owner {
	t.Helper()
	o := own(t, db, group, 0)
	for n := range int64(5) {
		handle(t, o, n)
	}
	row := func(offset int64, state once.WaitState) once.Row {
		return once.Row{State: state, Holds: true, EventID: item(offset).EventID, Record: item(offset).Record, NextAt: time.Now()}
	}
	if err := errors.Join(o.Spill(t.Context(), row(5, once.Dead), []once.Row{row(6, once.Wait)}, nil), o.Advance(t.Context(), 7)); err != nil {
		t.Fatal(err)
	}
	return o
}

func set(t *testing.T, db *once.DB, to int64) (from int64) {
	t.Helper()
	from, err := ownership.Set(t.Context(), db.DB, "g", ownership.Reset{Topic: "orders", To: to, By: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	return from
}

// Set back, the living owner is fenced, the next one goes on from there, and what the
// group knows is a duplicate: nothing is handled twice, and nothing that leaves is gone.
func TestSet_back(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *once.DB) {
		t.Helper()
		old := filled(t, db, "g")
		before, err := db.Store("g").Counts(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if from := set(t, db, 2); from != 7 {
			t.Errorf("next_offset was %d, want 7", from)
		}
		if err := old.Advance(t.Context(), 9); !errors.Is(err, once.ErrFenced) {
			t.Errorf("the living owner stores its offset: %v", err)
		}
		o := own(t, db, "g", 99)
		if o.NextOffset() != 2 {
			t.Errorf("the next owner begins at %d, want 2", o.NextOffset())
		}
		for n := int64(2); n < 7; n++ {
			if got := handle(t, o, n); got != once.DuplicateDelivery {
				t.Errorf("offset %d again: %v, want a duplicate", n, got)
			}
		}
		if got := handle(t, o, 7); got != once.Handled {
			t.Errorf("what is new: %v", got)
		}
		after, err := db.Store("g").Counts(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		before.Handled, before.Outgoing, before.EffectsOpen = before.Handled+1, before.Outgoing+1, before.EffectsOpen+1
		if diff := cmp.Diff(before, after); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// Set forward, what is passed over is not handled any more, and the mark says what it
// was and who did it.
func TestSet_forward(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *once.DB) {
		t.Helper()
		filled(t, db, "g")
		set(t, db, 20)
		set(t, db, 10)
		o := own(t, db, "g", 0)
		if got := handle(t, o, 9); got != once.DuplicateDelivery {
			t.Errorf("what was passed over: %v", got)
		}
		if got := handle(t, o, 10); got != once.Handled {
			t.Errorf("what comes then: %v", got)
		}
		resets, err := ownership.Resets(t.Context(), db.DB, "g")
		want := []ownership.Reset{{Topic: "orders", From: 7, To: 20, By: "ann"}, {Topic: "orders", From: 20, To: 10, By: "ann"}}
		if diff := cmp.Diff(want, resets, cmpopts.IgnoreFields(ownership.Reset{}, "At")); err != nil || diff != "" {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
		known, err := ownership.Known(t.Context(), db.DB, "g", ownership.Reset{Topic: "orders", From: 20, To: 3})
		if err != nil || known != 5 { // 3, 4 handled; 5, 6 in the store; 10 handled
			t.Errorf("known: %d, %v; want 5", known, err)
		}
	})
}

// A group that is set to before its beginning begins there.
func TestSet_beforeTheStart(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *once.DB) {
		t.Helper()
		own(t, db, "g", 50)
		set(t, db, 10)
		owned, err := db.Store("g").Ownerships(t.Context())
		if err != nil || owned[0].StartOffset != 10 || owned[0].NextOffset != 10 {
			t.Errorf("%+v, %v", owned, err)
		}
		_, err = ownership.Set(t.Context(), db.DB, "g", ownership.Reset{Topic: "orders", Partition: 3, To: 1})
		if !errors.Is(err, ownership.ErrNone) {
			t.Errorf("a partition that was never owned: %v", err)
		}
	})
}

// A deleted group leaves nothing in any table of the store, and the others keep theirs.
func TestDelete(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *once.DB) {
		t.Helper()
		o := filled(t, db, "g")
		filled(t, db, "h")
		set(t, db, 3)
		others, err := ownership.Count(t.Context(), db.DB, "h")
		if err != nil {
			t.Fatal(err)
		}
		counted, err := ownership.Count(t.Context(), db.DB, "g")
		if err != nil {
			t.Fatal(err)
		}
		removed, err := ownership.Delete(t.Context(), db.DB, "g")
		if diff := cmp.Diff(counted, removed); err != nil || diff != "" {
			t.Errorf("%v (-counted +removed):\n%s", err, diff)
		}
		left, err := ownership.Count(t.Context(), db.DB, "g")
		if err != nil {
			t.Fatal(err)
		}
		for _, table := range left {
			if table.Rows != 0 {
				t.Errorf("%s has %d rows of the group left", table.Name, table.Rows)
			}
		}
		now, err := ownership.Count(t.Context(), db.DB, "h")
		if diff := cmp.Diff(others, now); err != nil || diff != "" {
			t.Errorf("%v the other group (-before +after):\n%s", err, diff)
		}
		if err := o.Advance(t.Context(), 9); !errors.Is(err, once.ErrFenced) {
			t.Errorf("an owner of the deleted group: %v, want ErrFenced", err)
		}
		everyTable(t, db, left)
	})
}

// everyTable: a table of the store that Delete doesn't know keeps rows of a deleted
// group. Give it a column group_name or ownership.
func everyTable(t *testing.T, db *once.DB, known []ownership.Table) {
	t.Helper()
	query := `SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'spine\_%' ESCAPE '\'`
	if db.Dialect() == once.PostgreSQL {
		query = `SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema() AND table_type = 'BASE TABLE' AND table_name LIKE 'spine\_%'`
	}
	rows, err := db.SQL().QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		found := name == "spine_goose"
		for _, k := range known {
			found = found || k.Name == name
		}
		if !found {
			t.Errorf("%s has neither a column group_name nor ownership: its rows outlive a deleted group", name)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
}
