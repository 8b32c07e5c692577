package oncetest

import (
	"context"
	"errors"
	"sync"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/eventspine/spine/pkg/once"
)

func effectOnce(k *kit) {
	o := k.own(0)
	ask := func(key string) func(context.Context, once.Tx) error {
		return func(ctx context.Context, tx once.Tx) error {
			e := once.Effect{Name: "mail", Key: key, Args: []byte(`{"to":1}`), Cause: []byte(`{"c":1}`)}
			return errors.Join(tx.Effect(ctx, e), tx.Effect(ctx, e))
		}
	}
	k.do(o, live("k", 0), ask("x"), once.Handled)
	k.do(o, live("k", 1), ask("x"), once.Handled)
	k.do(o, live("k", 2), ask("y"), once.Handled)
	got, err := o.Effects(k.ctx(), time.Now(), 10)
	k.ok(err)
	want := []once.Effect{
		{Name: "mail", Key: "x", Args: []byte(`{"to":1}`), Cause: []byte(`{"c":1}`), State: once.EffectPending},
		{Name: "mail", Key: "y", Args: []byte(`{"to":1}`), Cause: []byte(`{"c":1}`), State: once.EffectPending},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(once.Effect{}, "ID", "CreatedAt", "ChangedAt")); diff != "" {
		k.Error(diff)
	}
	k.ok(o.Complete(k.ctx(), got[0].ID, nil))
	k.do(o, live("k", 3), ask("x"), once.Handled) // done, and remembered
	if c := k.counts(); c.EffectsDone != 1 || c.EffectsOpen != 1 {
		k.Errorf("books: %+v", c)
	}
	if _, err := o.Do(k.ctx(), live("k", 4), ask("")); err == nil {
		k.Error("an effect without a key was taken")
	}
}

func effectStates(k *kit) {
	o, note := k.own(0), k.notes()
	k.do(o, live("k", 0), note(0), once.Handled)
	due := func(now time.Time) []once.Effect {
		k.Helper()
		list, err := o.Effects(k.ctx(), now, 10)
		k.ok(err)
		return list
	}
	id := due(time.Now())[0].ID
	k.ok(o.Intend(k.ctx(), id))
	o = k.own(0) // it crashed during the call
	if e := due(time.Now())[0]; e.State != once.EffectIntent || e.Attempts != 1 {
		k.Errorf("an effect whose outcome is unknown: %+v", e)
	}
	at := time.Now().Add(time.Hour)
	k.ok(o.Failed(k.ctx(), id, at, "mail server: no\x00", once.EffectPending))
	if list := due(time.Now()); len(list) != 0 {
		k.Errorf("due before its time: %v", list)
	}
	if list := due(at.Add(time.Second)); len(list) != 1 || list[0].Error != "mail server: no\uFFFD" {
		k.Errorf("due at its time: %+v", list)
	}
	k.ok(o.Failed(k.ctx(), id, at, "who knows", once.EffectUnknown))
	if list := due(at.Add(time.Second)); len(list) != 0 || k.counts().EffectsUnknown != 1 {
		k.Errorf("a person decides, it is not due: %v", list)
	}
	if err := o.Failed(k.ctx(), id, at, "odd", once.EffectDone); err == nil {
		k.Error("a failure made it done")
	}
	sick := errors.New("sick")
	if err := o.Complete(k.ctx(), id, func(ctx context.Context, tx once.Tx) error {
		return errors.Join(note(1)(ctx, tx), sick)
	}); !errors.Is(err, sick) || k.counts().EffectsDone != 0 {
		k.Errorf("a completion that fails: %v", err)
	}
	k.ok(o.Complete(k.ctx(), id, note(2)))
	k.ok(o.Complete(k.ctx(), id, note(3))) // done already
	if err := o.Intend(k.ctx(), id); err == nil {
		k.Error("an effect that is done was intended again")
	}
	if n := k.count(`SELECT SUM(note) FROM notes`); n != 2 {
		k.Errorf("notes: %d, want those of 0 and 2", n)
	}
	if c := k.counts(); c.EffectsDone != 1 || c.Outgoing != 2 {
		k.Errorf("books: %+v", c)
	}
}

func readSide(k *kit) {
	furnish(k, k.own(0))
	k.ok(k.own(0).Spill(k.ctx(), row("w2", 3, once.Wait), []once.Row{row("w2", 4, once.Wait)}, nil))
	other, err := k.store.Own(k.ctx(), "payments", 2, 40)
	k.ok(err)
	k.ok(other.Advance(k.ctx(), 41))
	_, err = k.db.Store("another").Own(k.ctx(), topic, 0, 0)
	k.ok(err)

	groups, err := k.db.Groups(k.ctx())
	k.ok(err)
	if diff := cmp.Diff([]string{"another", "group"}, groups); diff != "" {
		k.Error(diff)
	}
	list, err := k.store.Ownerships(k.ctx())
	k.ok(err)
	want := []once.Ownership{
		{Topic: topic, Waiting: 3, Dead: 1, HeldKeys: 3, Outgoing: 1},
		{Topic: "payments", Partition: 2, StartOffset: 40, NextOffset: 41},
	}
	if diff := cmp.Diff(want, list, cmpopts.IgnoreFields(once.Ownership{}, "UpdatedAt")); diff != "" {
		k.Error(diff)
	}
	for name, c := range map[string]struct {
		filter once.RowFilter
		want   []int64
	}{
		"all":       {once.RowFilter{}, []int64{1, 2, 3, 4}},
		"state":     {once.RowFilter{State: once.Dead}, []int64{2}},
		"key":       {once.RowFilter{Key: []byte("w2")}, []int64{3, 4}},
		"partition": {once.RowFilter{Topic: topic, Partition: 1}, []int64{}},
		"topic":     {once.RowFilter{Topic: topic, Limit: 2}, []int64{1, 2}},
	} {
		if diff := cmp.Diff(c.want, k.offsets(c.filter)); diff != "" {
			k.Errorf("%s: %s", name, diff)
		}
	}
	rows, err := k.store.Rows(k.ctx(), once.RowFilter{Limit: 2})
	k.ok(err)
	if diff := cmp.Diff([]int64{3, 4}, k.offsets(once.RowFilter{After: rows[1].ID})); diff != "" {
		k.Errorf("the next page: %s", diff)
	}
	if diff := cmp.Diff([]int64{2}, k.offsets(once.RowFilter{ID: rows[1].ID})); diff != "" {
		k.Errorf("one row: %s", diff)
	}
	for e, err := range k.store.Handled(k.ctx()) {
		k.ok(err)
		want := once.HandledEvent{EventID: eventID(0), Topic: topic}
		if diff := cmp.Diff(want, e, cmpopts.IgnoreFields(once.HandledEvent{}, "HandledAt")); diff != "" {
			k.Error(diff)
		}
		if ago := time.Since(e.HandledAt); ago < 0 || ago > time.Minute {
			k.Errorf("handled at %v", e.HandledAt)
		}
	}
	for f, want := range map[once.EffectFilter]int{
		{}: 1, {State: once.EffectPending, Name: "mail"}: 1, {State: once.EffectDone}: 0, {Name: "call"}: 0, {After: 99}: 0,
	} {
		if list, err := k.store.Effects(k.ctx(), f); err != nil || len(list) != want {
			k.Errorf("effects of %+v: %v, %v; want %d", f, list, err, want)
		}
	}
	views(k)
}

// views: what people look at shows times as text.
func views(k *kit) {
	k.Helper()
	for view, column := range map[string]string{
		"ownership": "updated_at", "inbox": "handled_at", "waiting": "first_failed", "outgoing": "created_at",
		"effects": "created_at",
	} {
		var text string
		k.ok(k.db.SQL().QueryRowContext(k.ctx(), `SELECT `+column+` FROM spine_`+view+`_v LIMIT 1`).Scan(&text))
		if _, err := time.Parse("2006-01-02T15:04:05.000000Z", text); err != nil {
			k.Errorf("%s of %s: %v", column, view, err)
		}
	}
}

func groupTables(k *kit) {
	files := fstest.MapFS{"migrations/00001_stock.sql": {Data: []byte(`-- +goose Up
CREATE TABLE stock_levels (sku TEXT PRIMARY KEY, units BIGINT NOT NULL);
-- +goose Down
DROP TABLE stock_levels;
`)}}
	var wg sync.WaitGroup
	for range 4 { // several processes start at once
		wg.Go(func() {
			if err := k.db.Migrate(k.ctx(), "stock-room", files); err != nil {
				k.Error(err)
			}
		})
	}
	wg.Wait()
	if n := k.count(`SELECT COUNT(*) FROM stock_room_goose WHERE version_id = 1`); n != 1 {
		k.Errorf("the version table names the migration %d times", n)
	}
	k.ok(k.db.Migrate(k.ctx(), "bare", nil))
	if err := k.db.Migrate(k.ctx(), "Not A Name", files); err == nil {
		k.Error("a name that is none was taken")
	}
	o := k.own(0)
	k.do(o, live("k", 0), func(ctx context.Context, tx once.Tx) error { // the methods of consumer.DB, on one transaction
		st, err := tx.PrepareContext(ctx, `INSERT INTO stock_levels (sku, units) VALUES ($1, $2)
			ON CONFLICT (sku) DO UPDATE SET units = stock_levels.units + $2`)
		if err != nil {
			return err
		}
		defer st.Close()
		for range 2 {
			if _, err := st.ExecContext(ctx, "mug", 4); err != nil {
				return err
			}
		}
		rows, err := tx.QueryContext(ctx, `SELECT sku FROM stock_levels WHERE sku = $1`, "mug")
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
		}
		if err := rows.Err(); err != nil {
			return err
		}
		var units int
		if err := tx.QueryRowContext(ctx, `SELECT units FROM stock_levels`).Scan(&units); err != nil || units != 8 {
			k.Errorf("seen in the transaction: %d, %v; want 8", units, err)
		}
		return nil
	}, once.Handled)
}
