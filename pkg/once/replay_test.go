package once_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/once/record"
	"github.com/eventspine/spine/pkg/once/replay"
	"github.com/eventspine/spine/pkg/once/request"
)

// replaying is a store of which partition 0 of orders is replayed.
type replaying struct {
	*testing.T
	db    *once.DB
	store *once.Store
}

// onBothReplaying runs a story on each dialect that is at hand.
func onBothReplaying(t *testing.T, story func(*replaying)) {
	t.Helper()
	onBoth(t, func(a *asking) { story(&replaying{a.T, a.db, a.db.Store("group")}) })
}

func (k *replaying) ctx() context.Context { return k.Context() }

func (k *replaying) ok(err error) {
	k.Helper()
	if err != nil {
		k.Fatal(err)
	}
}

func (k *replaying) own() *once.Owner {
	k.Helper()
	o, err := k.store.Own(k.ctx(), "orders", 0, 4)
	k.ok(err)
	k.ok(o.Advance(k.ctx(), 4))
	return o
}

func (k *replaying) counts() once.Counts {
	k.Helper()
	c, err := k.store.Counts(k.ctx())
	k.ok(err)
	return c
}

func (k *replaying) do(o *once.Owner, item once.Item, fn func(context.Context, once.Tx) error, want once.Result) {
	k.Helper()
	if got, err := o.Do(k.ctx(), item, fn); err != nil || got != want {
		k.Fatalf("Do of offset %d = %v, %v; want %v", item.Record.Offset, got, err, want)
	}
}

// mails is a handler that leaves one effect.
func mails(offset int64) func(context.Context, once.Tx) error {
	return func(ctx context.Context, tx once.Tx) error {
		return tx.Effect(ctx, once.Effect{Name: "mail", Key: fmt.Sprint(offset), Args: []byte(`{}`)})
	}
}

func replayedRow(offset int64) once.Row {
	return once.Row{
		State: once.Dead, EventID: fmt.Sprint("event-", offset), Record: item(offset).Record, Attempts: 1,
		FirstFailed: time.UnixMicro(1_000_000), LastFailed: time.UnixMicro(1_000_000), Class: "permanent", Reason: "no such thing", Silent: true,
	}
}

func replayedCopy() []once.Outgoing {
	return []once.Outgoing{{Kind: once.OutDeadLetter, Record: once.Record{Topic: "dlq.group", Partition: -1}}}
}

// askReplay asks for a replay of partition 0, as a person does.
func (k *replaying) askReplay(r replay.Request, from, until int64) int64 {
	k.Helper()
	r.Kind = replay.Facts
	id, err := replay.Ask(k.ctx(), k.db.DB, "group", r, []replay.Range{{Topic: "orders", From: from, Until: until}})
	k.ok(err)
	return id
}

func (k *replaying) replayPart(id int64) replay.Part {
	k.Helper()
	parts, err := replay.List(k.ctx(), k.db.DB, "group", id)
	if err != nil || len(parts) != 1 {
		k.Fatalf("the parts of replay %d: %+v, %v", id, parts, err)
	}
	return parts[0]
}

// again is an offset as a replay hands it over.
func again(id, offset int64) once.Item {
	i := item(offset)
	i.Mode, i.Replay, i.Silent = once.Replay, id, true
	return i
}

// A failing handler leaves the cursor where it was; the end is done.
func TestReplay_cursorMovesWithTheHandling(t *testing.T) {
	t.Parallel()
	onBothReplaying(t, func(k *replaying) {
		o := k.own()
		id := k.askReplay(replay.Request{Facts: []string{"a.b.v1", "c.d.v2"}, Rate: 5}, 1, 3)
		part, found, err := o.NextReplay(k.ctx())
		if err != nil || !found || part.ID != id || part.Cursor != 1 || part.Until != 3 || part.Rate != 5 || len(part.Facts) != 2 {
			k.Fatalf("the open replay: %+v %t %v", part, found, err)
		}
		item := again(id, 1)
		item.Reached = func(done map[int64]once.Result) (replay.Step, bool) {
			return replay.Step{Cursor: 2, Counts: replay.Counts{Handled: 1}}, done[1] == once.Handled
		}
		sick := errors.New("sick")
		if _, err := o.Do(k.ctx(), item, func(ctx context.Context, tx once.Tx) error {
			return errors.Join(mails(1)(ctx, tx), sick)
		}); !errors.Is(err, sick) {
			k.Fatalf("a sick handler: %v", err)
		}
		if p := k.replayPart(id); p.Cursor != 1 || p.Counts != (replay.Counts{}) {
			k.Errorf("the cursor moved without the handling: %+v", p)
		}
		k.do(o, item, mails(1), once.Handled)
		if p := k.replayPart(id); p.Cursor != 2 || p.Counts.Handled != 1 || p.Result != replay.Open {
			k.Errorf("the cursor didn't move with the handling: %+v", p)
		}
		k.ok(o.MoveReplay(k.ctx(), id, replay.Step{Cursor: 3, Counts: replay.Counts{Handled: 1, Other: 1}}))
		if p := k.replayPart(id); p.Cursor != 3 || p.Result != replay.Done || p.DoneAt.IsZero() || p.Counts.Other != 1 {
			k.Errorf("at its end: %+v", p)
		}
		if _, found, err := o.NextReplay(k.ctx()); found || err != nil {
			k.Errorf("a replay that is done is open: %v", err)
		}
		if _, err := replay.Ask(k.ctx(), k.db.DB, "group", replay.Request{Kind: replay.Facts}, []replay.Range{{Topic: "else", Until: 1}}); err == nil {
			k.Error("a partition that nobody owned is replayed")
		}
	})
}

// Replayed records of different keys share a transaction, in which the cursor moves
// with all that it has done. Who fails undoes only its own; a replay that was given up
// leaves nothing, and two replays don't share.
func TestReplay_together(t *testing.T) {
	t.Parallel()
	onBothReplaying(t, func(k *replaying) {
		k.store = k.store.WithBatchTime(time.Hour)
		o, sick := k.own(), errors.New("sick")
		first, second := k.askReplay(replay.Request{}, 0, 4), k.askReplay(replay.Request{}, 0, 4)
		var asked []map[int64]once.Result
		items := func(ids ...int64) (list []once.Item) {
			for offset, id := range ids {
				item := again(id, int64(offset))
				item.Reached = func(done map[int64]once.Result) (replay.Step, bool) {
					asked = append(asked, done)
					return replay.Step{Cursor: 1, Counts: replay.Counts{Handled: int64(len(done))}}, true
				}
				list = append(list, item)
			}
			return list
		}
		handle := func(bad int) func(context.Context, int, once.Tx) error {
			return func(ctx context.Context, i int, tx once.Tx) error {
				if err := tx.Send(ctx, once.Outgoing{Kind: once.OutFact, Record: item(int64(i)).Record}); err != nil || i != bad {
					return err
				}
				return sick
			}
		}
		done := o.DoAll(k.ctx(), items(first, first, first), handle(1))
		if !errors.Is(done[1].Err, sick) || done[0].Result != once.Handled || done[2].Result != once.Handled {
			k.Errorf("one of three is sick: %+v", done)
		}
		if diff := cmp.Diff([]map[int64]once.Result{{0: once.Handled, 2: once.Handled}}, asked); diff != "" {
			k.Errorf("the cursor was asked for (-want +got):\n%s", diff)
		}
		if p, c := k.replayPart(first), k.counts(); p.Cursor != 1 || p.Counts.Handled != 2 || c.Handled != 2 || c.Outgoing != 2 {
			k.Errorf("after it: %+v %+v", p, c)
		}
		asked = nil
		for i, d := range o.DoAll(k.ctx(), items(first, second), handle(-1)) {
			if d.Result != once.DuplicateDelivery && i == 0 || d.Result != once.Handled && i == 1 {
				k.Errorf("of two replays, %d: %+v", i, d)
			}
		}
		if diff := cmp.Diff([]map[int64]once.Result{{0: once.DuplicateDelivery}, {1: once.Handled}}, asked); diff != "" {
			k.Errorf("two replays shared a transaction (-want +got):\n%s", diff)
		}
		before := k.counts()
		if _, err := replay.Drop(k.ctx(), k.db.DB, "group", second); err != nil {
			k.Fatal(err)
		}
		list := items(second, second, second, second)[2:]
		list[0].EventID = "not handled yet"
		for i, d := range o.DoAll(k.ctx(), list, handle(-1)) {
			if !errors.Is(d.Err, replay.ErrDropped) {
				k.Errorf("item %d of a replay that was given up: %+v", i, d)
			}
		}
		if diff := cmp.Diff(before, k.counts()); diff != "" {
			k.Errorf("it left something (-want +got):\n%s", diff)
		}
	})
}

// Promise: fenced. A fenced owner moves no replay; the next one goes on at the cursor.
func TestReplay_ofAFencedOwner(t *testing.T) {
	t.Parallel()
	onBothReplaying(t, func(k *replaying) {
		old := k.own()
		id := k.askReplay(replay.Request{}, 0, 3)
		now := k.own()
		if _, err := old.Do(k.ctx(), again(id, 1), mails(1)); !errors.Is(err, once.ErrFenced) {
			k.Errorf("a replayed record under an old epoch: %v", err)
		}
		for what, err := range map[string]error{
			"a cursor":   old.MoveReplay(k.ctx(), id, replay.Step{Cursor: 3}),
			"a dead row": old.Bury(k.ctx(), replayedRow(2), replayedCopy()),
		} {
			if !errors.Is(err, once.ErrFenced) {
				k.Errorf("%s under an old epoch: %v", what, err)
			}
		}
		part, found, err := now.NextReplay(k.ctx()) // the next owner goes on at the cursor
		if err != nil || !found || part.Cursor != 0 {
			k.Errorf("the next owner finds %+v %t %v", part, found, err)
		}
		if c := k.counts(); c.Handled+c.Dead+c.Outgoing != 0 {
			k.Errorf("written under an old epoch: %+v", c)
		}
	})
}

// A replay that is given up handles nothing more.
func TestReplay_givenUp(t *testing.T) {
	t.Parallel()
	onBothReplaying(t, func(k *replaying) {
		o := k.own()
		id := k.askReplay(replay.Request{}, 0, 3)
		if n, err := replay.Drop(k.ctx(), k.db.DB, "other", id); n != 0 || err != nil {
			k.Errorf("another group gave it up: %d %v", n, err)
		}
		n, err := replay.Drop(k.ctx(), k.db.DB, "group", id)
		if n != 1 || err != nil {
			k.Fatalf("given up: %d %v", n, err)
		}
		if _, err := o.Do(k.ctx(), again(id, 0), mails(0)); !errors.Is(err, replay.ErrDropped) {
			k.Errorf("a record of a replay that was given up: %v", err)
		}
		if err := o.MoveReplay(k.ctx(), id, replay.Step{Cursor: 1}); !errors.Is(err, replay.ErrDropped) {
			k.Errorf("its cursor: %v", err)
		}
		if c := k.counts(); c.Handled != 0 {
			k.Errorf("handled all the same: %+v", c)
		}
		if p := k.replayPart(id); p.Result != replay.Dropped {
			k.Errorf("it is shown as %+v", p)
		}
	})
}

// What fails in a replay stands below next_offset as a dead row that a redrive
// revives; it holds nothing, so that the live key is free, and stays without effects.
func TestReplay_failure(t *testing.T) {
	t.Parallel()
	onBothReplaying(t, func(k *replaying) {
		o := k.own()
		dead := replayedRow(1)
		dead.Silent = true
		k.ok(o.Bury(k.ctx(), dead, replayedCopy()))
		k.ok(o.Bury(k.ctx(), dead, replayedCopy())) // once
		if c := k.counts(); c.Dead != 1 || c.Outgoing != 1 {
			k.Fatalf("buried: %+v", c)
		}
		if held, err := o.KeyHeld(k.ctx(), item(1).Record.Key); held || err != nil {
			k.Errorf("the live key is held: %v", err)
		}
		k.do(o, item(4), nothing, once.Handled)
		rows, err := k.store.Rows(k.ctx(), once.RowFilter{})
		k.ok(err)
		_, err = request.Ask(k.ctx(), k.db.DB, "group", request.Redrive, rows[0].ID)
		k.ok(err)
		_, err = o.Serve(k.ctx(), func(int64) bool { return false })
		k.ok(err)
		heads, err := o.Heads(k.ctx(), time.Now(), 10)
		k.ok(err)
		if len(heads) != 1 || !heads[0].Silent || heads[0].Holds {
			k.Fatalf("revived: %+v", heads)
		}
		item := item(1)
		item.Mode, item.Silent = once.Waiting, heads[0].Silent
		k.do(o, item, mails(1), once.Handled)
		if c := k.counts(); c.Dead+c.Waiting+c.EffectsOpen != 0 || c.Handled != 2 {
			k.Errorf("after its redrive: %+v", c)
		}
	})
}

// A replay with effects touches the outside.
func TestReplay_withEffects(t *testing.T) {
	t.Parallel()
	onBothReplaying(t, func(k *replaying) {
		o := k.own()
		item := again(k.askReplay(replay.Request{Effects: true}, 0, 3), 1)
		item.Silent = false
		k.do(o, item, mails(1), once.Handled)
		if c := k.counts(); c.EffectsOpen != 1 {
			k.Errorf("effects that were asked for: %+v", c)
		}
	})
}

// Records made beforehand leave by their owner, in order, once.
func TestReplay_publishes(t *testing.T) {
	t.Parallel()
	onBothReplaying(t, func(k *replaying) {
		o := k.own()
		out := func(n int64) replay.Out {
			r := item(n).Record
			r.Topic, r.Partition = "facts", -1
			return replay.Out{Topic: "orders", Record: r}
		}
		id, err := replay.AskPublish(k.ctx(), k.db.DB, "group", []replay.Out{out(1), out(2), out(3)})
		k.ok(err)
		for _, want := range []int{2, 1} {
			part, found, err := o.NextReplay(k.ctx())
			if err != nil || !found || part.Kind != replay.Publish || part.ID != id {
				k.Fatalf("the open request: %+v %t %v", part, found, err)
			}
			if n, err := o.ReleaseReplay(k.ctx(), part, 2); n != want || err != nil {
				k.Fatalf("let out %d, want %d: %v", n, want, err)
			}
		}
		if p := k.replayPart(id); p.Result != replay.Done || p.Counts.Handled != 3 {
			k.Errorf("at its end: %+v", p)
		}
		outgoing, err := o.Outgoing(k.ctx(), 10)
		k.ok(err)
		var got []record.Record
		for _, x := range outgoing {
			x.Timestamp = time.Time{}
			got = append(got, x.Record)
		}
		var want []record.Record
		for _, x := range []replay.Out{out(1), out(2), out(3)} {
			x.Record.Timestamp, x.Record.Offset = time.Time{}, 0
			want = append(want, x.Record)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			k.Errorf("outgoing: %s", diff)
		}
	})
}

// The group is asked before a record leaves, in that transaction: what it refuses is
// dropped, what it writes is committed with what leaves, once.
func TestReplay_publishesWithConsent(t *testing.T) {
	t.Parallel()
	onBothReplaying(t, func(k *replaying) {
		var asked []string
		fails := true
		k.store = k.store.WithConsent(func(ctx context.Context, db consumer.DB, note string) (bool, error) {
			asked = append(asked, note)
			_, err := db.ExecContext(ctx, `INSERT INTO spine_goose (version_id, is_applied) VALUES (-1, TRUE)`)
			if note == "c" && fails {
				err = errors.New("not now")
			}
			return note != "b", err
		})
		o := k.own()
		var outs []replay.Out
		for n, note := range []string{"a", "b", "", "c", "b"} {
			r := item(int64(n)).Record
			r.Topic, r.Partition, r.Key = "facts", -1, []byte(note)
			outs = append(outs, replay.Out{Topic: "orders", Record: r, Note: note})
		}
		id, err := replay.AskPublish(k.ctx(), k.db.DB, "group", outs)
		k.ok(err)
		for _, want := range []int{3, 0, 2} {
			part, _, err := o.NextReplay(k.ctx())
			k.ok(err)
			n, err := o.ReleaseReplay(k.ctx(), part, 3)
			if n != want || (err != nil) != (want == 0) {
				k.Fatalf("let out %d, want %d: %v", n, want, err)
			}
			fails = want != 0 && fails
		}
		if p := k.replayPart(id); p.Result != replay.Done || p.Counts.Handled != 3 || p.Counts.Duplicate != 2 {
			k.Errorf("at its end: %+v", p)
		}
		if diff := cmp.Diff([]string{"a", "b", "c", "c", "b"}, asked); diff != "" {
			k.Errorf("asked (-want +got):\n%s", diff)
		}
		outgoing, err := o.Outgoing(k.ctx(), 10)
		k.ok(err)
		var keys []string
		for _, x := range outgoing {
			keys = append(keys, string(x.Key))
		}
		if diff := cmp.Diff([]string{"a", "", "c"}, keys); diff != "" {
			k.Errorf("outgoing (-want +got):\n%s", diff)
		}
		var rows int
		k.ok(k.db.SQL().QueryRowContext(k.ctx(), `SELECT COUNT(*) FROM spine_goose WHERE version_id = -1`).Scan(&rows))
		if rows != 4 {
			k.Errorf("%d rows of what was asked and committed, want 4", rows)
		}
	})
}
