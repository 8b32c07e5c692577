package leaving

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/dispatch/fault"
	"github.com/eventspine/spine/pkg/once"
)

const (
	relayBatch = 500
	relayLook  = 15 * time.Second // without being woken
	relaySlow  = 10 * time.Second // an acknowledgement that takes longer is an outage
)

// Session is the ownership that a relay or the effects work for.
type Session struct {
	Owner *once.Owner
	End   func(error) // it is fenced, or doesn't know the outcome of a commit
	Jam   func(bool)  // what is outgoing can't leave, or can again
	Log   *slog.Logger
}

// part is one of the two that work for a session: woken, closed, done.
type part struct {
	gate    *Gate
	s       Session
	wake    chan struct{}
	closing chan struct{}
	done    chan struct{}
}

func newPart(g *Gate, s Session) part {
	return part{gate: g, s: s, wake: make(chan struct{}, 1), closing: make(chan struct{}), done: make(chan struct{})}
}

// Wake says that there is something new to do.
func (p *part) Wake() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Close lets it finish what it has and begin nothing more. It is called once.
func (p *part) Close() { close(p.closing) }

// Done is closed when Run has returned.
func (p *part) Done() <-chan struct{} { return p.done }

// Relay publishes what the transactions of a partition left behind: in order, read
// from the table and not from a lane's memory, left-overs of former owners before
// anything new (promise: in order). One batch is on its way at a time.
type Relay struct{ part }

// NewRelay makes the relay of a session.
func (g *Gate) NewRelay(s Session) *Relay { return &Relay{newPart(g, s)} }

// Run relays until ctx ends, or until it was closed and the table is empty.
func (r *Relay) Run(ctx context.Context) {
	defer close(r.done)
	failures := 0
	for ctx.Err() == nil {
		n, err := r.once(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case fault.Ends(err):
			r.s.End(err)
			return
		case err != nil:
			failures++
			r.s.Jam(true)
			r.s.Log.Warn("publishing what is outgoing", "error", err)
			fault.Sleep(ctx, r.gate.Retry.Pause(failures))
			continue
		}
		failures = 0
		r.s.Jam(false)
		if n > 0 {
			continue
		}
		idle := time.NewTimer(relayLook)
		select {
		case <-ctx.Done():
		case <-r.wake:
		case <-idle.C:
		case <-r.closing: // all transactions are over, and the table is empty
			idle.Stop()
			if n, err := r.once(ctx); n == 0 && err == nil {
				return
			}
		}
		idle.Stop()
	}
}

// once publishes the lowest outgoing rows and removes those that are
// acknowledged. A crash between the two publishes them again under the same ids.
func (r *Relay) once(ctx context.Context) (int, error) {
	if r.gate.Aside {
		return 0, nil
	}
	rows, err := r.s.Owner.Outgoing(ctx, relayBatch)
	if err != nil || len(rows) == 0 {
		return 0, err
	}
	slow := time.AfterFunc(relaySlow, func() { r.gate.Outages.Begin(fault.Broker, errors.New("no acknowledgement yet")) })
	acked, failed := r.send(ctx, rows)
	slow.Stop()
	if failed == nil {
		r.gate.Outages.Over(fault.Broker)
	}
	if len(acked) > 0 {
		if err := r.s.Owner.Remove(ctx, acked); err != nil { // promise: fenced; the number may be another row's after a restore
			return 0, err
		}
	}
	if failed != nil {
		r.gate.Outages.Begin(fault.Broker, failed)
		return 0, failed
	}
	return len(rows), nil
}

// send publishes rows, and answers those that are acknowledged. After a failure it
// sends none of those behind.
func (r *Relay) send(ctx context.Context, rows []once.Outgoing) (acked []int64, failed error) {
	for _, round := range rounds(rows) {
		records := make([]*kgo.Record, len(round))
		for i, row := range round {
			records[i] = Kafka(row.Record)
			records[i].Timestamp = time.Time{} // Kafka's timestamp is the time of publishing
		}
		for i, err := range r.gate.Producer.Send(ctx, records) {
			if err != nil && failed == nil {
				failed = err
			}
			if err == nil {
				acked = append(acked, round[i].ID)
				r.gate.Meters.Published(ctx, round[i].Kind)
			}
		}
		if failed != nil {
			return acked, failed
		}
	}
	return acked, nil
}

// rounds sorts rows so that no two of one key are on their way together: where the
// broker refuses a record, the client goes on with the batches behind it, and they
// would overtake it (promise: in order).
func rounds(rows []once.Outgoing) (all [][]once.Outgoing) {
	next := map[string]int{}
	for _, row := range rows {
		n := 0
		if row.Key != nil {
			id := row.Topic + "/" + string(row.Key)
			n = next[id]
			next[id] = n + 1
		}
		if n == len(all) {
			all = append(all, nil)
		}
		all[n] = append(all[n], row)
	}
	return all
}
