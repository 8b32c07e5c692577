package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/eventspine/spine/pkg/bus"
	"github.com/eventspine/spine/pkg/dispatch"
)

// onBoth runs a test under both protocols of membership.
func onBoth(t *testing.T, test func(t *testing.T, protocol string)) {
	t.Helper()
	for _, protocol := range []string{bus.Classic, bus.Consumer} {
		t.Run(protocol, func(t *testing.T) { t.Parallel(); test(t, protocol) })
	}
}

// Pitfall: a rebalance storm. Six members join and leave without end: work goes on
// meanwhile, and nothing is lost, doubled or out of order.
func TestStorm(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, protocol string) {
		t.Helper()
		const members = 6
		w := newLooseWorld(t, members)
		stay, storm := 250*time.Millisecond, 5*time.Second
		if w.set.Real {
			stay, storm = 500*time.Millisecond, 20*time.Second
		}
		by := func(o *dispatch.Options) { o.Protocol, o.Session = protocol, w.session() }
		ctx, cancel := context.WithTimeout(t.Context(), storm)
		defer cancel()
		var all sync.WaitGroup
		for i := range members {
			all.Go(func() {
				pause(ctx, time.Duration(i)*stay/members)
				for ctx.Err() == nil {
					m := w.start(by)
					pause(ctx, stay)
					m.stop()
				}
			})
		}
		sent, n, handled := map[string][]string{}, 0, []int{0}
		for ctx.Err() == nil {
			var words []string
			for range 20 {
				entity, label := fmt.Sprint(n%31), fmt.Sprintf("%c%d", "ap"[n%2], n)
				sent[entity] = append(sent[entity], label)
				words = append(words, entity+":"+label)
				n++
			}
			w.send(words...)
			pause(ctx, stay)
			handled = append(handled, len(w.ledger()))
		}
		all.Wait()
		if done := handled[len(handled)-1]; done == 0 {
			t.Errorf("no progress in the storm: %v", handled)
		}
		t.Logf("%d sent, handled in the storm: %v", n, handled)
		w.run(by)
		w.until("all are handled", func() bool { return len(w.ledger()) >= n })
		w.until("all is out", func() bool { c := w.counts(); return c.Waiting+c.Dead+c.Outgoing == 0 })
		w.check(sent)
		checkFacts(w, sent)
	})
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// A graceful restart under load repeats nothing: no handler is called twice for what
// it has done, no fact leaves twice, and the next owner goes on where the last stopped.
func TestRestart_repeatsNothing(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, protocol string) {
		t.Helper()
		w := newLooseWorld(t, 3)
		by := func(o *dispatch.Options) { o.Protocol, o.Session = protocol, w.session() }
		sent, n := map[string][]string{}, 0
		for range 4 {
			r := w.run(by)
			for range 5 {
				var words []string
				for range 40 {
					entity, label := fmt.Sprint(n%17), fmt.Sprintf("p%d", n)
					sent[entity] = append(sent[entity], label)
					words = append(words, entity+":"+label)
					n++
				}
				w.send(words...)
			}
			r.stop() // in the middle of it
		}
		w.run(by)
		w.until("all are handled", func() bool { return len(w.ledger()) >= n })
		w.until("all is out", func() bool { return w.counts().Outgoing == 0 })
		w.check(sent)
		if calls := w.script.called(); len(calls) != n {
			slices.Sort(calls)
			t.Errorf("%d events, %d calls of the handler", n, len(calls))
		}
		if out := len(w.read(w.out)); out != n {
			t.Errorf("%d facts, %d in the topic", n, out)
		}
	})
}

// A protocol that the brokers don't serve ends the group with the reason.
func TestProtocol_refused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	old, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.MaxVersions(kversion.V4_2_0()), kfake.SeedTopics(1, w.in))
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	o := w.options()
	o.Protocol, o.Kafka = bus.Consumer, bus.Config{Brokers: old.ListenAddrs()}
	r, err := dispatch.New(o)
	if err != nil {
		t.Fatal(err)
	}
	var refused *bus.ProtocolError
	if err := r.Run(t.Context()); !errors.As(err, &refused) {
		t.Errorf("got %v", err)
	}
}
