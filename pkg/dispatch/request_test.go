package dispatch_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/once/request"
)

// badUntil rejects the label "bad" until mended.
func badUntil(mended <-chan struct{}) func(context.Context, string, int) error {
	return func(_ context.Context, label string, _ int) error {
		select {
		case <-mended:
			return nil
		default:
		}
		if label == "bad" {
			return consumer.Reject("no such thing")
		}
		return nil
	}
}

// Story: a dead head revives where it stands, and the key drains in order; nobody
// else is disturbed.
func TestRequest_redriveDrainsInOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	mended := make(chan struct{})
	w.script.set(badUntil(mended))
	w.run()
	w.send("k:bad", "k:x", "k:y", "l:a")
	w.until("the key waits, the other one is done", func() bool { return len(w.rows()) == 3 && len(w.ledger()) == 1 })
	close(mended)
	w.redrive()
	w.send("k:z") // what comes live stays behind
	w.until("the key is done", func() bool { return len(w.labels("k")) == 4 })
	if diff := cmp.Diff([]string{"bad", "x", "y", "z"}, w.labels("k")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if calls := w.script.called(); len(slices.DeleteFunc(calls, func(l string) bool { return l != "a" })) != 1 {
		t.Errorf("the other key was handled again: %v", w.script.called())
	}
}

// A dropped head is gone for good; its successors go on in order.
func TestRequest_dropLetsSuccessorsGoOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.script.set(badUntil(nil))
	w.run()
	w.send("k:bad", "k:x", "k:y")
	w.until("the key waits", func() bool { return len(w.rows()) == 3 })
	w.ask(request.Drop, w.rows()[0].ID)
	w.until("the key goes on", func() bool { return len(w.labels("k")) == 2 })
	w.send("k:z") // and is free again
	w.until("it is free", func() bool { return len(w.labels("k")) == 3 })
	if diff := cmp.Diff([]string{"x", "y", "z"}, w.labels("k")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if c := w.counts(); c.Dead+c.Waiting != 0 {
		t.Errorf("left in the store: %+v", c)
	}
}

// A key that waits until a far time goes on when somebody asks.
func TestRequest_retryNow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	mended := make(chan struct{})
	w.script.set(func(_ context.Context, label string, _ int) error {
		select {
		case <-mended:
			return nil
		default:
		}
		if label == "slow" {
			return consumer.Later(time.Now().Add(time.Hour), "not yet")
		}
		return nil
	})
	w.run()
	w.send("k:slow", "k:x")
	w.until("the key waits", func() bool { return len(w.rows()) == 2 })
	close(mended)
	w.ask(request.Retry, w.rows()[0].ID)
	w.until("the key goes on", func() bool { return len(w.labels("k")) == 2 })
	if diff := cmp.Diff([]string{"slow", "x"}, w.labels("k")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A request that nobody carries out stays, and the next owner does it.
func TestRequest_waitsForAnOwner(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	mended := make(chan struct{})
	w.script.set(badUntil(mended))
	r := w.run()
	w.send("k:bad", "k:x")
	w.until("the key waits", func() bool { return len(w.rows()) == 2 })
	r.stop()
	close(mended)
	if _, err := request.Ask(t.Context(), w.db.DB, w.group, request.Redrive, w.rows()[0].ID); err != nil {
		t.Fatal(err)
	}
	if rows := w.rows(); rows[0].State != once.Dead {
		t.Errorf("the command wrote to the row: %+v", rows[0])
	}
	w.run()
	w.until("the key goes on", func() bool { return len(w.labels("k")) == 2 })
	if diff := cmp.Diff([]string{"bad", "x"}, w.labels("k")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
