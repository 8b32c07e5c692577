package bus_test

import (
	"context"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/bus"
)

// Pitfall: a partition goes away and comes back, and what was asked for by its former
// lease ends the reading of the new one.
func TestStop_ofAFormerLease(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, protocol string) {
		t.Helper()
		c := brokers(t)
		name := topic(t, c, 2)
		a := joinBy(t, c, protocol, name, nil)
		leases(t, a.assigned, 2)
		b, err := bus.NewGroup(c, bus.GroupOptions{
			Name: name, Topics: []string{name}, Protocol: protocol, Assigned: func([]bus.Lease) {},
			Revoked: func(context.Context, []bus.Lease) {}, Lost: func([]bus.Lease) {},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Join(); err != nil {
			t.Fatal(err)
		}
		gone := leases(t, a.revoked, 1)[0]
		b.Close(patience(t))
		back := leases(t, a.assigned, 1)[0]
		got := make(chan int64, 100)
		a.Start(back, 0, func(_ context.Context, b bus.Batch) {
			for _, r := range b.Records {
				got <- r.Offset
			}
		})
		a.Stop(gone)
		for want := range int64(3) { // one after the other: each poll comes behind the stop
			rec := &kgo.Record{Topic: name, Partition: back.ID, Value: []byte("x")}
			p, err := kgo.NewClient(kgo.SeedBrokers(c.Brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
			if err != nil {
				t.Fatal(err)
			}
			err = p.ProduceSync(t.Context(), rec).FirstErr()
			p.Close()
			if err != nil {
				t.Fatal(err)
			}
			select {
			case offset := <-got:
				if offset != want {
					t.Errorf("got offset %d, want %d", offset, want)
				}
			case <-patience(t).Done():
				t.Fatal("the stop of the former lease has ended the later one")
			}
		}
	})
}
