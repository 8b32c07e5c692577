package dispatch_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/eventspine/spine/pkg/dispatch"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/once/request"
)

// A full waiting room pauses the partitions: nothing is dropped, nothing more comes
// in, what waits is still tried. It goes on when there is room again.
func TestWaitingRoom(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	mend := w.script.reject("bad")
	one := len(w.record("1", "bad1").Value)
	r := w.run(func(o *dispatch.Options) { o.WaitingRoom = int64(20 * one) })
	var sent int
	for full := false; !full; sent += 10 { // records of one poll are the most that comes in behind the limit
		var batch []string
		for i := sent; i < sent+10; i++ {
			batch = append(batch, words(string(rune('a'+i%7)), i, i+1, "bad")...)
		}
		w.send(batch...)
		w.until("they stand, or the room is full", func() bool {
			_, reason := r.Ready()
			full = strings.Contains(reason, "waiting room")
			return full || len(w.rows()) == sent+10
		})
		if sent > 1000 {
			t.Fatal("the room never became full")
		}
	}
	w.looked() // each partition has seen it
	w.send(words("z", 0, 50, "late")...)
	w.looked()
	for _, label := range w.script.called() {
		if strings.HasPrefix(label, "late") {
			t.Errorf("%s came in though the room was full", label)
		}
	}
	w.ask(request.Drop, w.rows()[0].ID)
	mend()
	w.until("all but the one that was dropped are handled", func() bool { w.redrive(); return len(w.labels("")) == sent-1+50 })
	w.until("it is ready", func() bool { ok, _ := r.Ready(); return ok })
}

// looked waits until the owner of each partition with rows has looked: it answers what
// can't be done.
func (w *world) looked() {
	w.t.Helper()
	seen := map[int32]bool{}
	for _, row := range w.rows() {
		if seen[row.Record.Partition] {
			continue
		}
		seen[row.Record.Partition] = true
		id, err := request.Ask(w.t.Context(), w.db.DB, w.group, request.Retry, row.ID)
		if err != nil {
			w.t.Fatal(err)
		}
		w.answered(id)
	}
}

// A process that starts with a full room reads nothing.
func TestWaitingRoom_atTheStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	owner, err := w.db.Store(w.group).Own(t.Context(), w.in, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	w.send("k:x")
	row := once.Row{State: once.Dead, Holds: true, EventID: "e", Record: once.Record{Topic: w.in, Offset: 100, Key: []byte("d"), Value: make([]byte, 2000)}}
	if err := owner.Spill(t.Context(), row, nil, nil); err != nil {
		t.Fatal(err)
	}
	r := w.start(func(o *dispatch.Options) { o.WaitingRoom = 1000 })
	w.until("it says why", func() bool { _, reason := r.Ready(); return strings.Contains(reason, "2001 of 1000 bytes") })
	w.ask(request.Drop, w.rows()[0].ID)
	w.until("it goes on", func() bool { return slices.Equal(w.labels(""), []string{"x"}) })
}
