package oncetest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/once/request"
)

// writes are all ways in which an owner may write.
func writes(k *kit) map[string]func(*once.Owner) error {
	return map[string]func(*once.Owner) error{
		"Do": func(o *once.Owner) error {
			_, err := o.Do(k.ctx(), live("x", 50), nothing)
			return err
		},
		"Do, waiting": func(o *once.Owner) error {
			item := live("w", 1)
			item.Mode = once.Waiting
			_, err := o.Do(k.ctx(), item, nothing)
			return err
		},
		"Spill": func(o *once.Owner) error {
			return o.Spill(k.ctx(), row("y", 51, once.Dead), nil, []once.Outgoing{deadCopy(51)})
		},
		"Append": func(o *once.Owner) error { return o.Append(k.ctx(), rec("w", 52), eventID(52)) },
		"Serve": func(o *once.Owner) error {
			_, err := request.AskEffects(k.ctx(), k.db.DB, "group", request.Retry, []int64{1})
			k.ok(err)
			_, err = request.Ask(k.ctx(), k.db.DB, "group", request.Drop, 2)
			k.ok(err)
			_, err = o.Serve(k.ctx(), idle)
			return err
		},
		"Advance":  func(o *once.Owner) error { return o.Advance(k.ctx(), 60) },
		"Remove":   func(o *once.Owner) error { return o.Remove(k.ctx(), []int64{1}) },
		"Intend":   func(o *once.Owner) error { return o.Intend(k.ctx(), 1) },
		"Failed":   func(o *once.Owner) error { return o.Failed(k.ctx(), 1, time.Now(), "no", once.EffectUnknown) },
		"Complete": func(o *once.Owner) error { return o.Complete(k.ctx(), 1, nothing) },
	}
}

// furnish leaves a row of each kind: offset 0 handled with a fact and an effect, 1
// waiting, 2 dead.
func furnish(k *kit, o *once.Owner) {
	k.Helper()
	k.do(o, live("k", 0), func(ctx context.Context, tx once.Tx) error {
		k.ok(tx.Send(ctx, fact("k", 0)))
		return tx.Effect(ctx, once.Effect{Name: "mail", Key: "1"})
	}, once.Handled)
	k.ok(o.Spill(k.ctx(), row("w", 1, once.Wait), nil, nil))
	k.ok(o.Spill(k.ctx(), row("d", 2, once.Dead), nil, nil))
}

func fencedWrites(k *kit) {
	furnish(k, k.own(0))
	for name, write := range writes(k) {
		old := k.own(0)
		k.ok(old.Check(k.ctx()))
		k.own(0)
		before := k.dump()
		if err := write(old); !errors.Is(err, once.ErrFenced) {
			k.Errorf("%s of a fenced owner: %v, want ErrFenced", name, err)
		}
		if err := write(old); !errors.Is(err, once.ErrFenced) {
			k.Errorf("%s of a fenced owner, again: %v, want ErrFenced", name, err)
		}
		if diff := cmp.Diff(before, k.dump()); diff != "" {
			k.Errorf("%s of a fenced owner wrote: %s", name, diff)
		}
	}
	old := k.own(0)
	k.own(0)
	if err := old.Check(k.ctx()); !errors.Is(err, once.ErrFenced) {
		k.Errorf("a fenced owner that is idle: %v, want ErrFenced", err)
	}
	for name, write := range writes(k) { // the same calls work while it owns
		if err := write(k.own(0)); err != nil {
			// The order is random: what an earlier call completed cannot be intended any more.
			if name == "Intend" || name == "Failed" {
				continue
			}
			k.Errorf("%s of the owner: %v", name, err)
		}
	}
}

func bumpWaits(k *kit) {
	old, note := k.own(0), k.notes()
	inside, leave, owned := make(chan struct{}), make(chan struct{}), make(chan *once.Owner)
	finished := make(chan error, 1)
	go func() {
		_, err := old.Do(k.ctx(), live("k", 0), func(ctx context.Context, tx once.Tx) error {
			close(inside)
			<-leave
			return note(0)(ctx, tx)
		})
		finished <- err
	}()
	<-inside
	go func() {
		o, err := k.store.Own(k.ctx(), topic, 0, 0)
		if err != nil {
			k.Error(err)
		}
		owned <- o
	}()
	select {
	case <-owned:
		k.Fatal("taken while a handler of the previous owner was in flight")
	case <-time.After(100 * time.Millisecond):
	}
	close(leave)
	k.ok(<-finished)
	o := <-owned
	if c := k.counts(); c.Handled != 1 {
		k.Errorf("the handler that was in flight did not count: %+v", c)
	}
	k.do(o, live("k", 0), note(0), once.DuplicateDelivery)
	if _, err := old.Do(k.ctx(), live("k", 1), note(1)); !errors.Is(err, once.ErrFenced) {
		k.Errorf("the old owner: %v, want ErrFenced", err)
	}
}

func bumpBounded(k *kit) {
	old := k.own(0)
	inside, leave, finished := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		_, err := old.Do(k.ctx(), live("k", 0), func(context.Context, once.Tx) error {
			close(inside)
			<-leave
			return nil
		})
		finished <- err
	}()
	<-inside
	ctx, cancel := context.WithTimeout(k.ctx(), 50*time.Millisecond)
	defer cancel()
	if _, err := k.store.Own(ctx, topic, 0, 0); !errors.Is(err, context.DeadlineExceeded) {
		k.Errorf("got %v, want the caller's deadline", err)
	}
	close(leave)
	k.ok(<-finished)
	k.do(old, live("k", 1), nothing, once.Handled) // it was not fenced
}

func epochsRandom(k *kit) {
	seen := map[int64]bool{}
	for range 40 {
		k.own(0)
		var epoch int64
		k.ok(k.db.SQL().QueryRowContext(k.ctx(), `SELECT epoch FROM spine_ownership`).Scan(&epoch))
		if seen[epoch] {
			k.Errorf("epoch %d came back", epoch)
		}
		seen[epoch] = true
	}
	restore := k.backup()
	old := k.own(0)
	restore()
	k.own(0) // a count would go on from the backup, and come to the old owner's
	if err := old.Advance(k.ctx(), 1); !errors.Is(err, once.ErrFenced) {
		k.Errorf("an owner from before the restore: %v, want ErrFenced", err)
	}
}

// restored: backup, progress of a living owner, restore, fresh epochs.
func restored(k *kit) {
	a, note := k.own(0), k.notes()
	kept, err := k.store.Own(k.ctx(), topic, 1, 0) // which nobody takes from it
	k.ok(err)
	restore := k.backup()
	k.do(a, live("k", 0), note(0), once.Handled)
	out, err := a.Outgoing(k.ctx(), 10)
	k.ok(err)
	k.ok(a.Advance(k.ctx(), 1))

	restore()
	if n, err := k.db.Fence(k.ctx()); n != 2 || err != nil {
		k.Errorf("fenced %d ownerships, %v; want 2", n, err)
	}
	if err := kept.Advance(k.ctx(), 1); !errors.Is(err, once.ErrFenced) {
		k.Errorf("an owner that still lives: %v, want ErrFenced", err)
	}
	b := k.own(0)
	if b.NextOffset() != 0 {
		k.Errorf("next_offset = %d after the restore, want that of the backup", b.NextOffset())
	}
	k.do(b, live("m", 1), note(1), once.Handled) // its fact has the number that a's had
	again, err := b.Outgoing(k.ctx(), 10)
	k.ok(err)
	if again[0].ID != out[0].ID {
		k.Logf("ids: %d before, %d after", out[0].ID, again[0].ID)
	}
	for name, err := range map[string]error{
		"Remove": a.Remove(k.ctx(), []int64{out[0].ID}), "Advance": a.Advance(k.ctx(), 2), "Check": a.Check(k.ctx()),
	} {
		if !errors.Is(err, once.ErrFenced) {
			k.Errorf("%s of an owner from before the restore: %v, want ErrFenced", name, err)
		}
	}
	if left, err := b.Outgoing(k.ctx(), 10); err != nil || len(left) != 1 {
		k.Errorf("the fact of the new owner: %v, %v", left, err)
	}
	k.do(b, live("k", 0), note(0), once.Handled) // what the store forgot is repeated
}

// backup copies the tables of the store and answers what brings the copy back,
// sequences included.
func (k *kit) backup() (restore func()) {
	k.Helper()
	exec := func(format string, args ...any) {
		k.Helper()
		_, err := k.db.SQL().ExecContext(k.ctx(), fmt.Sprintf(format, args...))
		k.ok(err)
	}
	tables := []string{"ownership", "inbox", "waiting", "outgoing", "effects"}
	for _, t := range tables {
		exec(`CREATE TABLE saved_%s AS SELECT * FROM spine_%s`, t, t)
	}
	return func() {
		k.Helper()
		for _, t := range tables {
			exec(`DELETE FROM spine_%s`, t)
			switch {
			case t == "inbox":
				exec(`INSERT INTO spine_inbox SELECT * FROM saved_inbox`)
			case k.db.Dialect() == once.SQLite:
				exec(`INSERT INTO spine_%s SELECT * FROM saved_%s`, t, t)
				exec(`UPDATE sqlite_sequence SET seq = (SELECT COALESCE(MAX(id), 0) FROM spine_%s)
					WHERE name = 'spine_%s'`, t, t)
			default:
				exec(`INSERT INTO spine_%s OVERRIDING SYSTEM VALUE SELECT * FROM saved_%s`, t, t)
				exec(`SELECT setval(pg_get_serial_sequence('spine_%s', 'id'),
					(SELECT COALESCE(MAX(id), 0) + 1 FROM spine_%s), false)`, t, t)
			}
		}
	}
}

func advance(k *kit) {
	if next, found, err := k.store.NextOffset(k.ctx(), topic, 0); found || err != nil {
		k.Errorf("before the first owner: %d, %v, %v", next, found, err)
	}
	o := k.own(7)
	if o.NextOffset() != 7 {
		k.Errorf("next_offset = %d, want the start", o.NextOffset())
	}
	k.ok(o.Advance(k.ctx(), 9))
	k.ok(o.Advance(k.ctx(), 8))
	if next, found, err := k.store.NextOffset(k.ctx(), topic, 0); next != 9 || !found || err != nil {
		k.Errorf("stored: %d, %v, %v; want 9", next, found, err)
	}
	if next := k.own(0).NextOffset(); next != 9 {
		k.Errorf("the next owner starts at %d, want 9", next)
	}
	other, err := k.store.Own(k.ctx(), topic, 1, 3)
	k.ok(err)
	if other.NextOffset() != 3 {
		k.Errorf("another partition starts at %d, want 3", other.NextOffset())
	}
}

func pruned(k *kit) {
	o := k.own(0)
	for i := range int64(4) {
		k.do(o, live("k", i), nothing, once.Handled)
	}
	carried := row("w", 4, once.Wait) // the event of offset 1 again, at an offset that waits
	k.ok(o.Spill(k.ctx(), carried, nil, nil))
	_, err := k.db.SQL().ExecContext(k.ctx(), `UPDATE spine_waiting SET event_id = $1`, eventID(1))
	k.ok(err)
	k.ok(o.Advance(k.ctx(), 3)) // offset 3 is not passed yet

	prune := func(before time.Time, limit, want int) {
		k.Helper()
		if n, err := k.store.Prune(k.ctx(), before, limit); err != nil || n != want {
			k.Errorf("pruned %d, %v; want %d", n, err, want)
		}
	}
	prune(time.Now().Add(-time.Hour), 100, 0)
	if n, err := k.db.Store("other").Prune(k.ctx(), time.Now().Add(time.Hour), 100); err != nil || n != 0 {
		k.Errorf("another group pruned %d, %v", n, err)
	}
	prune(time.Now().Add(time.Hour), 1, 1)
	prune(time.Now().Add(time.Hour), 100, 1)
	var left []string
	for e, err := range k.store.Handled(k.ctx()) {
		k.ok(err)
		left = append(left, e.EventID)
	}
	if diff := cmp.Diff([]string{eventID(1), eventID(3)}, left); diff != "" {
		k.Errorf("the inbox after pruning: %s", diff)
	}
}
