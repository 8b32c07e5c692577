package consumertest

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/eventspine/spine/pkg/once"
)

// fault is one kind of trouble.
type fault struct {
	name   string
	happen string                       // what happens, for the story: "it …"
	strike func(r *engine, e given)     // handles an event through the trouble; nil = as always
	order  func(events []given) []given // another order of the history
}

var (
	errCrash   = errors.New("the process dies here")
	errRefused = errors.New("the outside refuses")
)

// again is no fault: what differs then depends on the clock, on chance or on the
// process, and would be blamed on every fault.
func again() fault {
	return fault{name: "no fault, a second time", happen: "is handled by another process, a moment later"}
}

func faults() []fault {
	return []fault{
		{name: "a new process for each event", happen: "is handled by a new process, which remembers nothing", strike: restarted},
		{name: "twice, same offset", happen: "is delivered twice at one offset", strike: sameOffset},
		{name: "twice, other offset", happen: "is delivered twice, at two offsets", strike: otherOffset},
		{name: "again after the inbox forgot", happen: "is delivered again when the inbox has forgotten it", strike: forgotten},
		{name: "crash before the commit", happen: "is handled, the process dies before the commit, and the next one handles it", strike: crashBefore},
		{name: "crash after the commit", happen: "is handled, the process dies after the commit, and it is delivered again", strike: crashAfter},
		{name: "crash while publishing", happen: "is handled, and the process dies between publishing and taking note of it", strike: crashRelay},
		{name: "rebalance in the middle", happen: "is handled while another owner takes the partition, and is delivered to both", strike: rebalanced},
		{name: "keys out of order", happen: "comes in another order between the keys", order: shuffled},
		{name: "cancelled handler", happen: "is handled too slowly: the context ends before one of its SQL statements; then it is handled again", strike: cancelled},
		{name: "panic in the handler", happen: "is handled, which panics before one of its SQL statements; then it is handled again", strike: panicking},
		{name: "poison among them", happen: "comes after a copy that is cut in half", strike: poisoned},
		{name: "effects fail", happen: "is handled, and its effects fail, are made and can't be noted as done, and are repeated with the same key", strike: failing},
	}
}

func restarted(r *engine, e given) {
	r.Helper()
	r.start()
	r.handle(e)
}

func sameOffset(r *engine, e given) {
	r.Helper()
	at := r.next
	r.handle(e)
	r.settle(e, at)
}

func otherOffset(r *engine, e given) {
	r.Helper()
	r.handle(e)
	r.handle(e)
}

// forgotten: the inbox keeps events for a time only. What outlasts it needs a natural
// key of its own.
func forgotten(r *engine, e given) {
	r.Helper()
	r.handle(e)
	r.must(r.owner.Advance(r.Context(), r.next))
	_, err := r.db.Store(r.group.Name).Prune(r.Context(), time.Now().Add(time.Hour), 1000)
	r.must(err)
	r.handle(e)
}

func crashBefore(r *engine, e given) {
	r.Helper()
	_ = r.deliver(e, r.next, hooks{end: func() error { return errCrash }}) // errCrash, or what is wrong with the event
	r.start()
	r.handle(e)
}

func crashAfter(r *engine, e given) {
	r.Helper()
	at := r.next
	r.next++
	r.settle(e, at)
	r.start()
	r.settle(e, at)
	r.pump()
}

func crashRelay(r *engine, e given) {
	r.Helper()
	at := r.next
	r.next++
	r.settle(e, at)
	r.relay(false)
	r.start()
	r.pump()
}

// rebalanced: the bump waits for the transaction in flight, and fences the old owner.
func rebalanced(r *engine, e given) {
	r.Helper()
	at := r.next
	r.next++
	taken := make(chan *once.Owner, 1)
	asked := false
	_ = r.deliver(e, at, hooks{end: func() error {
		if !asked { // the store may call again
			asked = true
			go func() { taken <- r.taken() }()
		}
		return nil
	}})
	old := r.owner
	if asked {
		if r.owner = <-taken; r.owner == nil {
			r.Fatal("the partition could not be taken")
		}
		item := once.Item{EventID: "zombie", Record: once.Record{Topic: topic, Offset: r.next}}
		if _, err := old.Do(r.Context(), item, func(context.Context, once.Tx) error { return nil }); !errors.Is(err, once.ErrFenced) {
			r.Errorf("an owner that lost the partition writes: %v", err)
		}
	}
	r.group = r.make()
	r.settle(e, at)
	r.pump()
}

func (r *engine) taken() *once.Owner {
	owner, err := r.db.Store(r.group.Name).Own(r.Context(), topic, 0, 0)
	if err != nil {
		return nil
	}
	return owner
}

// shuffled keeps the order within each key: the keys take turns, the last one first.
func shuffled(events []given) []given {
	var keys []string
	byKey := map[string][]given{}
	for _, e := range events {
		if _, known := byKey[e.Key]; !known {
			keys = append(keys, e.Key)
		}
		byKey[e.Key] = append(byKey[e.Key], e)
	}
	slices.Reverse(keys)
	var all []given
	for len(all) < len(events) {
		for _, key := range keys {
			if rest := byKey[key]; len(rest) > 0 {
				all, byKey[key] = append(all, rest[0]), rest[1:]
			}
		}
	}
	return all
}

// places are the SQL statements of a handler before which a fault happens, each in
// a try of its own.
func places() []int { return []int{0, 1, 2, 4, 8} }

// cut tries an event with a trip before each of its places.
func cut(r *engine, e given, trip func(context.CancelFunc)) {
	r.Helper()
	for _, n := range places() {
		reached := false
		_ = r.deliver(e, r.next, hooks{statement: n, trip: trip, reached: &reached}) // the fault, unless the handler makes nothing of it
		if !reached {
			break
		}
	}
	r.handle(e)
}

func cancelled(r *engine, e given) {
	r.Helper()
	cut(r, e, func(cancel context.CancelFunc) { cancel() })
}

func panicking(r *engine, e given) {
	r.Helper()
	cut(r, e, func(context.CancelFunc) { panic(errCrash) })
}

func poisoned(r *engine, e given) {
	r.Helper()
	bad := e
	bad.ID, bad.payload = "poison of "+e.ID, e.payload[:len(e.payload)/2]
	if err := r.deliver(bad, r.next, hooks{}); err == nil {
		r.Errorf("%s: a record that is cut in half is handled", e.Type)
	}
	r.next++
	r.handle(e)
}

func failing(r *engine, e given) {
	r.Helper()
	at := r.next
	r.next++
	r.settle(e, at)
	for _, effect := range r.effects() {
		r.must(r.owner.Intend(r.Context(), effect.ID))
		r.must(r.owner.Failed(r.Context(), effect.ID, time.Now(), errRefused.Error(), once.EffectPending))
	}
	for _, effect := range r.effects() {
		r.must(r.owner.Intend(r.Context(), effect.ID))
		r.complete(effect, func() error { return errCrash })
	}
	r.pump() // the same process: what it remembers shows
}
