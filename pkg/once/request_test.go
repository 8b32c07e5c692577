package once_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/once/database/databasetest"
	"github.com/eventspine/spine/pkg/once/journal"
	"github.com/eventspine/spine/pkg/once/oncetest"
	"github.com/eventspine/spine/pkg/once/request"
	"github.com/eventspine/spine/pkg/once/room"
)

// asking is a partition in which rows stand, and a person beside it.
type asking struct {
	*testing.T
	db *once.DB
	o  *once.Owner
}

// onBoth tells a story on both dialects.
func onBoth(t *testing.T, story func(*asking)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		db := oncetest.Open(t, databasetest.SQLiteURL(t))
		story(&asking{t, db, own(t, db)})
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		db := oncetest.Open(t, databasetest.PostgresURL(t))
		story(&asking{t, db, own(t, db)})
	})
}

// stand puts a head and its successors into the store and answers their ids.
func (a *asking) stand(key string, from int64, head once.WaitState, successors int64) []int64 {
	a.Helper()
	row := func(offset int64, state once.WaitState) once.Row {
		r := once.Row{
			State: state, Holds: key != "", EventID: fmt.Sprint("event-", offset), Attempts: 3,
			NextAt: time.Now().Add(time.Hour), Record: once.Record{Topic: "orders", Offset: offset},
		}
		if key != "" {
			r.Record.Key = []byte(key)
		}
		return r
	}
	var behind []once.Row
	for n := range successors {
		behind = append(behind, row(from+1+n, once.Wait))
	}
	if err := a.o.Spill(a.Context(), row(from, head), behind, nil); err != nil {
		a.Fatal(err)
	}
	var ids []int64
	for _, r := range a.rows() {
		if r.Record.Offset >= from {
			ids = append(ids, r.ID)
		}
	}
	return ids
}

func (a *asking) rows() []once.Row {
	a.Helper()
	rows, err := a.db.Store("group").Rows(a.Context(), once.RowFilter{})
	if err != nil {
		a.Fatal(err)
	}
	return rows
}

func (a *asking) ask(kind request.Kind, row int64) int64 {
	a.Helper()
	id, err := request.Ask(a.Context(), a.db.DB, "group", kind, row)
	if err != nil {
		a.Fatal(err)
	}
	return id
}

// served is what the owner carries out now: kind, row and result.
func (a *asking) served(busy ...int64) []string {
	a.Helper()
	list, err := a.o.Serve(a.Context(), func(id int64) bool { return len(busy) > 0 && id == busy[0] })
	if err != nil {
		a.Fatal(err)
	}
	got := []string{}
	for _, r := range list {
		got = append(got, fmt.Sprint(r.Kind, " ", r.RowID, " ", r.Result))
	}
	return got
}

func (a *asking) want(got []string, format string, args ...any) {
	a.Helper()
	if diff := cmp.Diff([]string{fmt.Sprintf(format, args...)}, got); diff != "" {
		a.Errorf("carried out (-want +got): %s", diff)
	}
}

// due are the offsets that are to be tried now.
func (a *asking) due() []int64 {
	a.Helper()
	rows, err := a.o.Heads(a.Context(), time.Now(), 100)
	if err != nil {
		a.Fatal(err)
	}
	list := []int64{}
	for _, r := range rows {
		list = append(list, r.Record.Offset)
	}
	return list
}

func (a *asking) wantDue(offsets ...int64) {
	a.Helper()
	if diff := cmp.Diff(append([]int64{}, offsets...), a.due()); diff != "" {
		a.Errorf("due (-want +got): %s", diff)
	}
}

func TestRequest_retry(t *testing.T) {
	t.Parallel()
	onBoth(t, func(a *asking) {
		ids := a.stand("k", 0, once.Wait, 1)
		a.wantDue()
		a.ask(request.Retry, ids[1])
		a.want(a.served(), "retry %d refused", ids[1]) // behind its head
		a.wantDue()
		a.ask(request.Retry, ids[0])
		a.want(a.served(), "retry %d done", ids[0])
		a.wantDue(0)
		if r := a.rows()[0]; r.Attempts != 0 {
			a.Errorf("its attempts are not counted anew: %+v", r)
		}
		a.ask(request.Redrive, ids[0])
		a.want(a.served(), "redrive %d refused", ids[0]) // it is not dead
	})
}

func TestRequest_redrive(t *testing.T) {
	t.Parallel()
	onBoth(t, func(a *asking) {
		ids := a.stand("k", 0, once.Dead, 1)
		before := a.rows()[0]
		a.ask(request.Retry, ids[0])
		a.want(a.served(), "retry %d refused", ids[0]) // dead is not waiting
		a.ask(request.Redrive, ids[0])
		a.want(a.served(), "redrive %d done", ids[0])
		a.wantDue(0) // alone, before its successor
		after := a.rows()[0]
		if after.Redriven != 1 || after.Attempts != 0 {
			a.Errorf("not counted: %+v", after)
		}
		if diff := cmp.Diff(before.Record, after.Record); diff != "" {
			a.Errorf("the record changed: %s", diff)
		}
	})
}

func TestRequest_drop(t *testing.T) {
	t.Parallel()
	onBoth(t, func(a *asking) {
		ids := a.stand("k", 0, once.Dead, 3)
		a.ask(request.Drop, ids[2])
		a.want(a.served(), "drop %d done", ids[2]) // from the middle: the dead head blocks on
		a.wantDue()
		a.ask(request.Drop, ids[0])
		a.want(a.served(), "drop %d done", ids[0])
		a.wantDue(1) // the next one is the head
		null := a.stand("", 9, once.Dead, 0)
		a.ask(request.Drop, null[0])
		a.want(a.served(), "drop %d done", null[0])
		if n := len(a.rows()); n != 2 {
			a.Errorf("%d rows stand, want 2", n)
		}
		if given, err := room.Dropped(a.Context(), a.db.DB, "group"); err != nil || len(given) != 3 {
			a.Errorf("given up: %q, %v; want three marks", given, err)
		}
	})
}

func TestRequest_isAskedOnce(t *testing.T) {
	t.Parallel()
	onBoth(t, func(a *asking) {
		ids := a.stand("k", 0, once.Dead, 0)
		first := a.ask(request.Drop, ids[0])
		if again := a.ask(request.Drop, ids[0]); again != first {
			a.Errorf("asked twice: %d and %d", first, again)
		}
		if got := a.served(ids[0]); len(got) != 0 {
			a.Errorf("done while the row was at work: %v", got)
		}
		a.want(a.served(), "drop %d done", ids[0])
		if got := a.served(); len(got) != 0 {
			a.Errorf("carried out twice: %v", got)
		}
		list, err := request.List(a.Context(), a.db.DB, "group", first-1)
		if err != nil || len(list) != 1 || list[0].Result != request.Done || list[0].DoneAt.IsZero() {
			a.Errorf("what became of it: %+v, %v", list, err)
		}
		for group, row := range map[string]int64{"group": ids[0], "other": a.stand("m", 5, once.Dead, 0)[0]} {
			if _, err := request.Ask(a.Context(), a.db.DB, group, request.Drop, row); !errors.Is(err, request.ErrNoRow) {
				a.Errorf("%s asked for row %d: %v, want ErrNoRow", group, row, err)
			}
		}
	})
}

// effects asks for effects and answers their ids.
func (a *asking) effects(keys ...string) []int64 {
	a.Helper()
	item := once.Item{Mode: once.Live, EventID: "e", Record: once.Record{Topic: "orders", Key: []byte("k")}}
	_, err := a.o.Do(a.Context(), item, func(ctx context.Context, tx once.Tx) error {
		for _, key := range keys {
			if err := tx.Effect(ctx, once.Effect{Name: "mail", Key: key}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		a.Fatal(err)
	}
	var ids []int64
	for _, e := range a.journal(once.EffectFilter{}) {
		ids = append(ids, e.ID)
	}
	return ids
}

func (a *asking) journal(f once.EffectFilter) []once.Effect {
	a.Helper()
	list, err := a.db.Store("group").Effects(a.Context(), f)
	if err != nil {
		a.Fatal(err)
	}
	return list
}

// decide has the owner carry out what a person says of an effect, beside rows of the
// same number that are at work.
func (a *asking) decide(kind request.Kind, id int64, want request.Result, states ...once.EffectState) {
	a.Helper()
	asked, err := request.AskEffects(a.Context(), a.db.DB, "group", kind, []int64{id, id, 999})
	if err != nil || asked[0] == 0 || asked[1] != asked[0] || asked[2] != 0 {
		a.Fatalf("requests of effects %d, %d and 999: %v, %v", id, id, asked, err)
	}
	a.want(a.served(id), "%s %d %s", kind, id, want)
	got := []once.EffectState{}
	for _, e := range a.journal(once.EffectFilter{}) {
		got = append(got, e.State)
	}
	if diff := cmp.Diff(states, got); diff != "" {
		a.Errorf("states (-want +got): %s", diff)
	}
}

func (a *asking) ok(err error) {
	a.Helper()
	if err != nil {
		a.Fatal(err)
	}
}

// What a person says of an effect happens behind lock and epoch, and never to one that
// is being called, or that has ended.
func TestRequest_ofAnEffect(t *testing.T) {
	t.Parallel()
	onBoth(t, func(a *asking) {
		ids := a.effects("x", "y")
		x, y := ids[0], ids[1]
		later := time.Now().Add(time.Hour)
		a.ok(a.o.Intend(a.Context(), x))
		a.decide(request.Drop, x, request.Refused, once.EffectIntent, once.EffectPending) // it is being called
		a.ok(a.o.Failed(a.Context(), x, later, "who knows", once.EffectUnknown))
		a.decide(request.Redrive, x, request.Refused, once.EffectUnknown, once.EffectPending) // is for rows
		a.decide(request.Retry, x, request.Done, once.EffectPending, once.EffectPending)
		due, err := a.o.Effects(a.Context(), time.Now(), 10)
		if err != nil || len(due) != 2 || due[0].Attempts != 1 || due[0].Key != "x" {
			a.Errorf("not to be called now with its key, and its attempts known: %+v, %v", due, err)
		}
		if tried := a.journal(once.EffectFilter{State: once.EffectPending, Tried: 1}); len(tried) != 1 || tried[0].ID != x {
			a.Errorf("effects that failed: %+v", tried)
		}
		a.ok(a.o.Intend(a.Context(), x))
		a.ok(a.o.Failed(a.Context(), x, later, "no", once.EffectPending))
		a.decide(request.Drop, x, request.Done, once.EffectDropped, once.EffectPending)
		if err := a.o.Intend(a.Context(), x); err == nil {
			a.Error("an effect that was given up is called")
		}
		a.ok(a.o.Complete(a.Context(), y, nil))
		a.decide(request.Retry, x, request.Gone, once.EffectDropped, once.EffectDone)
		a.decide(request.Drop, y, request.Gone, once.EffectDropped, once.EffectDone)
		counts, err := journal.Count(a.Context(), a.db.DB, "group")
		if diff := cmp.Diff(map[once.EffectState]int{once.EffectDropped: 1, once.EffectDone: 1}, counts); diff != "" || err != nil {
			a.Errorf("counted: %v, %s", err, diff)
		}
	})
}

// A row that is gone before its request is carried out.
func TestRequest_ofARowThatIsGone(t *testing.T) {
	t.Parallel()
	onBoth(t, func(a *asking) {
		ids := a.stand("k", 0, once.Dead, 0)
		a.ask(request.Drop, ids[0])
		a.ask(request.Redrive, ids[0])
		if diff := cmp.Diff([]string{fmt.Sprintf("drop %d done", ids[0]), fmt.Sprintf("redrive %d gone", ids[0])}, a.served()); diff != "" {
			a.Error(diff)
		}
	})
}

// Commands don't migrate: beside a database of another version they say so.
func TestOpen_olderTables(t *testing.T) {
	t.Parallel()
	url := databasetest.URL(t)
	db := oncetest.Open(t, url)
	for _, change := range []string{"version_id - 1", "version_id + 2"} { // older, then newer
		exec(t, db, `UPDATE spine_goose SET version_id = `+change+` WHERE version_id = (SELECT MAX(version_id) FROM spine_goose)`)
		_, err := once.Open(t.Context(), once.Options{URL: url, Existing: true})
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: got %v, want an error that is not about a missing database", change, err)
		}
	}
}

// GiveUp asks for what is old, dead and alone on its key, the oldest first and each once.
func TestGiveUp(t *testing.T) {
	t.Parallel()
	onBoth(t, func(a *asking) {
		alone := a.stand("alone", 0, once.Dead, 0)
		a.stand("followed", 10, once.Dead, 1) // its successor waits for it
		a.stand("waiting", 20, once.Wait, 0)
		keyless := a.stand("", 30, once.Dead, 0)
		asked := a.stand("asked", 40, once.Dead, 0)
		a.ask(request.Redrive, asked[0])
		store := a.db.Store("group")
		for _, c := range []struct {
			before time.Time
			want   int
		}{{time.Unix(-1, 0), 0}, {time.Now().Add(time.Hour), 1}, {time.Now().Add(time.Hour), 1}, {time.Now().Add(time.Hour), 0}} {
			if n, err := store.GiveUp(a.Context(), c.before, 1); err != nil || n != c.want {
				a.Errorf("before %v: asked for %d, %v, want %d", c.before, n, err, c.want)
			}
		}
		if _, err := a.o.Serve(a.Context(), func(int64) bool { return false }); err != nil {
			a.Fatal(err)
		}
		for _, r := range a.rows() {
			if r.ID == alone[0] || r.ID == keyless[0] {
				a.Errorf("row %d of %q is still there", r.ID, r.Record.Key)
			}
		}
		if n := len(a.rows()); n != 4 {
			a.Errorf("%d rows are left, want the followed and its successor, the waiting and the redriven one", n)
		}
	})
}
