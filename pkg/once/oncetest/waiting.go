package oncetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/once/request"
)

func spilled(k *kit) {
	o := k.own(0)
	head, next := row("k", 0, once.Dead), []once.Row{row("k", 1, once.Wait), row("k", 3, once.Wait)}
	k.ok(o.Spill(k.ctx(), head, next, []once.Outgoing{deadCopy(0)}))
	k.ok(o.Spill(k.ctx(), head, next, []once.Outgoing{deadCopy(0)})) // again: nothing is doubled
	if diff := cmp.Diff([]int64{0, 1, 3}, k.offsets(once.RowFilter{})); diff != "" {
		k.Error(diff)
	}
	want := once.Counts{Waiting: 2, Dead: 1, Outgoing: 1, WaitingBytes: k.counts().WaitingBytes}
	if diff := cmp.Diff(want, k.counts()); diff != "" || want.WaitingBytes == 0 {
		k.Errorf("%+v %s", want, diff)
	}
	rows, err := k.store.Rows(k.ctx(), once.RowFilter{State: once.Dead})
	k.ok(err)
	head.ID = rows[0].ID
	if diff := cmp.Diff([]once.Row{head}, rows); diff != "" {
		k.Errorf("the dead head: %s", diff)
	}
	if held := k.own(0).Held(); len(held) != 1 || !has(held, "k") {
		k.Errorf("the next owner holds %v", held)
	}
}

// duplicateFails: a record with the id of an event that is handled at another offset
// fails all the same, for example because it cannot be read.
func duplicateFails(k *kit) {
	o := k.own(0)
	k.do(o, live("k", 0), nothing, once.Handled)
	bad := row("k", 1, once.Dead)
	bad.EventID = eventID(0)
	k.ok(o.Spill(k.ctx(), bad, nil, []once.Outgoing{deadCopy(1)}))
	if c := k.counts(); c.Dead != 1 || c.Outgoing != 1 {
		k.Errorf("its dead letter is lost: %+v", c)
	}
	same := row("k", 0, once.Dead) // but what is handled at this very offset is done
	k.ok(o.Spill(k.ctx(), same, nil, []once.Outgoing{deadCopy(0)}))
	if c := k.counts(); c.Dead != 1 || c.Outgoing != 1 {
		k.Errorf("handled and dead: %+v", c)
	}
	rows, err := k.store.Rows(k.ctx(), once.RowFilter{})
	k.ok(err)
	k.ask(o, request.Redrive, rows[0].ID)
	k.do(o, waiting(rows[0]), nothing, once.DuplicateEvent)
	if c := k.counts(); c.Dead != 0 || c.Waiting != 0 {
		k.Errorf("a duplicate goes when its turn comes: %+v", c)
	}
}

func has(set map[string]struct{}, key string) bool { _, ok := set[key]; return ok }

func spillAtomic(k *kit) {
	o := k.own(0)
	before := k.dump()
	bad := deadCopy(0)
	bad.Kind = "neither" // refused by the database, after the rows were written
	if err := o.Spill(k.ctx(), row("k", 0, once.Dead), []once.Row{row("k", 1, once.Wait)}, []once.Outgoing{bad}); err == nil {
		k.Error("a copy of no kind was stored")
	}
	if diff := cmp.Diff(before, k.dump()); diff != "" {
		k.Errorf("half a spill stands: %s", diff)
	}
	if err := o.Spill(k.ctx(), row("k", 0, "odd"), nil, nil); err == nil {
		k.Error("a row of no state was stored")
	}
	k.ok(o.Spill(k.ctx(), row("k", 0, once.Dead), nil, []once.Outgoing{deadCopy(0)}))
}

func appended(k *kit) {
	o := k.own(0)
	k.do(o, live("k", 0), nothing, once.Handled)
	k.ok(o.Spill(k.ctx(), row("k", 1, once.Wait), nil, nil))
	k.ok(o.Append(k.ctx(), rec("k", 2), eventID(2)))
	k.ok(o.Append(k.ctx(), rec("k", 2), eventID(2))) // stands already
	k.ok(o.Append(k.ctx(), rec("k", 3), eventID(0))) // handled already
	k.ok(o.Append(k.ctx(), rec("k", 4), eventID(4)))
	if diff := cmp.Diff([]int64{1, 2, 4}, k.offsets(once.RowFilter{})); diff != "" {
		k.Error(diff)
	}
	if err := o.Append(k.ctx(), once.Record{Topic: topic, Offset: 9}, eventID(9)); err == nil {
		k.Error("a null key was appended")
	}
	// A key that was released meanwhile: the row becomes a head and is not left behind.
	k.ok(o.Append(k.ctx(), rec("free", 5), eventID(5)))
	if diff := cmp.Diff([]int64{1, 5}, sorted(offsetsOf(k.heads(o)))); diff != "" {
		k.Errorf("heads: %s", diff)
	}
}

func sorted(list []int64) []int64 { slices.Sort(list); return list }

func waiting(r once.Row) once.Item {
	return once.Item{Mode: once.Waiting, EventID: r.EventID, Record: r.Record}
}

func drains(k *kit) {
	o, note := k.own(0), k.notes()
	k.ok(o.Spill(k.ctx(), row("k", 0, once.Wait), []once.Row{row("k", 1, once.Wait), row("k", 2, once.Wait)}, nil))
	k.ok(o.Spill(k.ctx(), row("m", 3, once.Wait), nil, nil))
	later := row("n", 4, once.Wait)
	later.NextAt = time.Now().Add(time.Hour)
	k.ok(o.Spill(k.ctx(), later, nil, nil))

	o = k.own(0) // by a new owner
	var order []int64
	for heads := k.heads(o); len(heads) > 0; heads = k.heads(o) {
		for _, h := range heads {
			if held, err := o.KeyHeld(k.ctx(), h.Record.Key); err != nil || !held {
				k.Errorf("key %s is held: %v, %v", h.Record.Key, held, err)
			}
			k.do(o, waiting(h), note(h.Record.Offset), once.Handled)
			if h.Record.Key[0] == 'k' {
				order = append(order, h.Record.Offset)
			}
		}
	}
	if diff := cmp.Diff([]int64{0, 1, 2}, order); diff != "" {
		k.Errorf("order of the key: %s", diff)
	}
	if held, err := o.KeyHeld(k.ctx(), []byte("k")); err != nil || held {
		k.Errorf("the key is held after its last row: %v, %v", held, err)
	}
	if diff := cmp.Diff([]int64{4}, k.offsets(once.RowFilter{})); diff != "" {
		k.Errorf("what is not due: %s", diff)
	}
	if rows, err := o.Heads(k.ctx(), later.NextAt.Add(time.Second), 10); err != nil || len(rows) != 1 {
		k.Errorf("due in an hour: %v, %v", rows, err)
	}
}

// appendMeetsDrain: the last row of a key goes while the next one comes, which must
// not be left behind a head that is gone.
func appendMeetsDrain(k *kit) {
	o := k.own(0)
	for i := int64(0); i < 60; i += 2 {
		k.ok(o.Spill(k.ctx(), row("k", i, once.Wait), nil, nil))
		heads := k.heads(o)
		if len(heads) != 1 {
			k.Fatalf("heads at %d: %v", i, offsetsOf(heads))
		}
		come := make(chan error, 1)
		go func() { come <- o.Append(k.ctx(), rec("k", i+1), eventID(i+1)) }()
		k.do(o, waiting(heads[0]), nothing, once.Handled)
		k.ok(<-come)
		heads = k.heads(o)
		if diff := cmp.Diff([]int64{i + 1}, offsetsOf(heads)); diff != "" {
			k.Fatalf("round %d: %s", i/2, diff)
		}
		k.do(o, waiting(heads[0]), nothing, once.Handled)
	}
}

func redriven(k *kit) {
	o := k.own(0)
	k.ok(o.Spill(k.ctx(), row("k", 0, once.Wait), []once.Row{row("k", 1, once.Wait)}, nil))
	head := k.heads(o)[0]
	head.State, head.Attempts, head.Reason = once.Dead, 8, "gave up"
	k.ok(o.Spill(k.ctx(), head, nil, []once.Outgoing{deadCopy(0)}))
	if heads := k.heads(o); len(heads) != 0 {
		k.Errorf("a dead head does not block: %v", offsetsOf(heads))
	}
	dead, err := k.store.Rows(k.ctx(), once.RowFilter{State: once.Dead})
	k.ok(err)
	if len(dead) != 1 || dead[0].Attempts != 8 || dead[0].Reason != "gave up" || k.counts().Outgoing != 1 {
		k.Fatalf("the dead head: %+v", dead)
	}
	k.ask(o, request.Redrive, dead[0].ID)
	heads := k.heads(o)
	if diff := cmp.Diff([]int64{0}, offsetsOf(heads)); diff != "" || heads[0].Attempts != 0 {
		k.Fatalf("it revives where it stood: %s, %+v", diff, heads)
	}
	k.do(o, waiting(heads[0]), nothing, once.Handled)
	if diff := cmp.Diff([]int64{1}, offsetsOf(k.heads(o))); diff != "" {
		k.Errorf("then its successor: %s", diff)
	}
	gone := heads[0]
	gone.State = once.Dead
	k.ok(o.Spill(k.ctx(), gone, nil, []once.Outgoing{deadCopy(0)})) // its row is gone
	if c := k.counts(); c.Dead != 0 || c.Outgoing != 1 || c.Waiting != 1 {
		k.Errorf("a row that is gone came back: %+v", c)
	}
}

func released(k *kit) {
	o := k.own(0)
	for i := range int64(3) {
		r := row("k", i, once.Wait)
		r.Holds = false
		k.ok(o.Spill(k.ctx(), r, nil, nil))
	}
	null := row("", 3, once.Wait)
	null.Record.Key = nil // a null key holds nothing, whatever the row says
	k.ok(o.Spill(k.ctx(), null, nil, nil))
	if held := k.own(0).Held(); len(held) != 0 {
		k.Errorf("held: %v", held)
	}
	o = k.own(0)
	k.do(o, live("k", 4), nothing, once.Handled)
	if diff := cmp.Diff([]int64{0, 1, 2, 3}, sorted(offsetsOf(k.heads(o)))); diff != "" {
		k.Error(diff)
	}
	for _, h := range k.heads(o) {
		k.do(o, waiting(h), nothing, once.Handled)
	}
	if c := k.counts(); c.Waiting != 0 || c.Handled != 5 {
		k.Errorf("books: %+v", c)
	}
}

// anyMoves compares the store with a list per key, after any sequence of moves.
func anyMoves(k *kit) {
	rapid.Check(k.T, func(t *rapid.T) {
		m := &moves{kit: k, t: t, part: int32(time.Now().UnixNano() % 1_000_000_000), keys: map[string][]move{}}
		m.own()
		steps := rapid.IntRange(1, 25).Draw(t, "steps")
		for range steps {
			m.step()
			m.compare()
		}
	})
}

type move struct {
	offset int64
	dead   bool
}

type moves struct {
	*kit
	t    *rapid.T
	part int32
	o    *once.Owner
	keys map[string][]move
	off  int64
}

func (m *moves) must(err error) {
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *moves) own() {
	o, err := m.store.Own(m.ctx(), topic, m.part, 0)
	m.must(err)
	m.o = o
}

func (m *moves) row(key string, state once.WaitState) once.Row {
	r := row(key, m.off, state)
	r.Record.Partition, r.EventID = m.part, fmt.Sprint(m.part, "/", m.off)
	m.off++
	return r
}

func (m *moves) step() {
	key := rapid.SampledFrom([]string{"a", "b", ""}).Draw(m.t, "key")
	rows := m.keys[key]
	dead := rapid.Bool().Draw(m.t, "dead")
	state := once.Wait
	if dead {
		state = once.Dead
	}
	switch rapid.SampledFrom([]string{"arrive", "arrive", "try", "try", "redrive", "drop", "own"}).Draw(m.t, "move") {
	case "arrive":
		r := m.row(key, state)
		if len(rows) > 0 {
			m.must(m.o.Append(m.ctx(), r.Record, r.EventID))
			m.keys[key] = append(rows, move{r.Record.Offset, false})
			return
		}
		next := m.row(key, once.Wait)
		m.must(m.o.Spill(m.ctx(), r, []once.Row{next}, nil))
		m.keys[key] = []move{{r.Record.Offset, dead}, {next.Record.Offset, false}}
	case "try":
		for _, h := range m.heads(m.o) {
			m.try(h, state)
		}
	case "redrive":
		list, err := m.store.Rows(m.ctx(), once.RowFilter{State: once.Dead, Topic: topic, Partition: m.part, Key: []byte(key)})
		m.must(err)
		for _, r := range list {
			m.ask(m.o, request.Redrive, r.ID)
			rows[0].dead = false
		}
	case "drop":
		list, err := m.store.Rows(m.ctx(), once.RowFilter{Topic: topic, Partition: m.part, Key: []byte(key)})
		m.must(err)
		if len(list) > 0 {
			n := rapid.IntRange(0, len(list)-1).Draw(m.t, "which")
			m.ask(m.o, request.Drop, list[n].ID)
			if m.keys[key] = slices.Delete(rows, n, n+1); len(m.keys[key]) == 0 {
				delete(m.keys, key)
			}
		}
	case "own":
		m.own()
	}
}

// try handles a head, or lets it die.
func (m *moves) try(h once.Row, state once.WaitState) {
	key := string(h.Record.Key)
	if state == once.Dead {
		h.State = once.Dead
		m.must(m.o.Spill(m.ctx(), h, nil, nil))
		m.keys[key][0].dead = true
		return
	}
	got, err := m.o.Do(m.ctx(), waiting(h), nothing)
	m.must(err)
	if got != once.Handled {
		m.t.Fatalf("the head of %q at %d: %v", key, h.Record.Offset, got)
	}
	if m.keys[key] = m.keys[key][1:]; len(m.keys[key]) == 0 {
		delete(m.keys, key)
	}
}

func (m *moves) compare() {
	want := map[string]int64{}
	for key, rows := range m.keys {
		if !rows[0].dead {
			want[key] = rows[0].offset
		}
	}
	got := map[string]int64{}
	for _, h := range m.heads(m.o) {
		got[string(h.Record.Key)] = h.Record.Offset
	}
	if diff := cmp.Diff(want, got); diff != "" {
		m.t.Fatalf("heads: %s", diff)
	}
	for key, rows := range m.keys {
		list, err := m.store.Rows(m.ctx(), once.RowFilter{Topic: topic, Partition: m.part, Key: []byte(key)})
		m.must(err)
		var expect []int64
		for _, r := range rows {
			expect = append(expect, r.offset)
		}
		if diff := cmp.Diff(expect, offsetsOf(list)); diff != "" {
			m.t.Fatalf("rows of %q: %s", key, diff)
		}
	}
	m.own()
	if diff := cmp.Diff(slices.Sorted(maps.Keys(m.keys)), slices.Sorted(maps.Keys(m.o.Held()))); diff != "" {
		m.t.Fatalf("held: %s", diff)
	}
}

func outgoing(k *kit) {
	a := k.own(0)
	for i := range int64(3) {
		k.do(a, live("k", i), func(ctx context.Context, tx once.Tx) error {
			return errors.Join(tx.Send(ctx, fact("k", 10*i)), tx.Send(ctx, fact("k", 10*i+1)))
		}, once.Handled)
	}
	if _, err := a.Do(k.ctx(), live("k", 3), func(ctx context.Context, tx once.Tx) error {
		return tx.Send(ctx, once.Outgoing{Kind: "odd"})
	}); err == nil {
		k.Error("an outgoing record of no kind was taken")
	}
	values := func(o *once.Owner, limit int) (values []string, ids []int64) {
		k.Helper()
		list, err := o.Outgoing(k.ctx(), limit)
		k.ok(err)
		for _, out := range list {
			values, ids = append(values, string(out.Value)), append(ids, out.ID)
		}
		return values, ids
	}
	_, ids := values(a, 2)
	k.ok(a.Remove(k.ctx(), ids))
	b := k.own(0)
	k.do(b, live("k", 4), func(ctx context.Context, tx once.Tx) error { return tx.Send(ctx, fact("k", 40)) }, once.Handled)
	got, ids := values(b, 100)
	want := []string{"value of 10", "value of 11", "value of 20", "value of 21", "value of 40"}
	if diff := cmp.Diff(want, got); diff != "" {
		k.Errorf("what was left comes before anything new: %s", diff)
	}
	other, err := k.store.Own(k.ctx(), topic, 1, 0)
	k.ok(err)
	k.ok(other.Remove(k.ctx(), ids)) // another partition's rows are not its own
	if got, _ := values(b, 100); len(got) != 5 {
		k.Errorf("an owner removed rows of another partition: %v", got)
	}
	k.ok(b.Remove(k.ctx(), append(ids, 12345)))
	if got, _ := values(b, 100); len(got) != 0 {
		k.Errorf("left: %v", got)
	}
}
