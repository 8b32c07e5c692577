package dispatch_test

import (
	"slices"
	"testing"
	"time"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/once/request"
)

// Story: a dead head revives where it stands, and the key drains in order; nobody
// else is disturbed.
func TestRequest_redriveDrainsInOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	mend := w.script.reject("bad")
	w.run()
	w.send("k:bad", "k:x", "k:y", "l:a")
	w.until("the key waits, the other one is done", func() bool { return len(w.rows()) == 3 && len(w.ledger()) == 1 })
	mend()
	w.redrive()
	w.send("k:z") // what comes live stays behind
	w.until("the key is done", func() bool { return len(w.labels("k")) == 4 })
	w.same("of k", []string{"bad", "x", "y", "z"}, w.labels("k"))
	if calls := w.script.called(); len(slices.DeleteFunc(calls, func(l string) bool { return l != "a" })) != 1 {
		t.Errorf("the other key was handled again: %v", w.script.called())
	}
}

// A dropped head is gone for good; its successors go on in order.
func TestRequest_dropLetsSuccessorsGoOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.script.reject("bad")
	w.run()
	w.send("k:bad", "k:x", "k:y")
	w.until("the key waits", func() bool { return len(w.rows()) == 3 })
	w.ask(request.Drop, w.rows()[0].ID)
	w.until("the key goes on", func() bool { return len(w.labels("k")) == 2 })
	w.send("k:z") // and is free again
	w.until("it is free", func() bool { return len(w.labels("k")) == 3 })
	w.same("of k", []string{"x", "y", "z"}, w.labels("k"))
	if c := w.counts(); c.Dead+c.Waiting != 0 {
		t.Errorf("left in the store: %+v", c)
	}
}

// A key that waits until a far time goes on when somebody asks.
func TestRequest_retryNow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	mend := w.script.answer("slow", func() error { return consumer.Later(time.Now().Add(time.Hour), "not yet") })
	w.run()
	w.send("k:slow", "k:x")
	w.until("the key waits", func() bool { return len(w.rows()) == 2 })
	mend()
	w.ask(request.Retry, w.rows()[0].ID)
	w.until("the key goes on", func() bool { return len(w.labels("k")) == 2 })
	w.same("of k", []string{"slow", "x"}, w.labels("k"))
}

// A request that nobody carries out stays, and the next owner does it.
func TestRequest_waitsForAnOwner(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	mend := w.script.reject("bad")
	r := w.run()
	w.send("k:bad", "k:x")
	w.until("the key waits", func() bool { return len(w.rows()) == 2 })
	r.stop()
	mend()
	if _, err := request.Ask(t.Context(), w.db.DB, w.group, request.Redrive, w.rows()[0].ID); err != nil {
		t.Fatal(err)
	}
	if rows := w.rows(); rows[0].State != once.Dead {
		t.Errorf("the command wrote to the row: %+v", rows[0])
	}
	w.run()
	w.until("the key goes on", func() bool { return len(w.labels("k")) == 2 })
	w.same("of k", []string{"bad", "x"}, w.labels("k"))
}
