package bus_test

import (
	"context"
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/eventspine/spine/pkg/bus"
)

func TestSupported(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		protocol string
		versions *kversion.Versions
		want     string
	}{
		"classic anywhere":   {bus.Classic, kversion.V3_5_0(), ""},
		"consumer on 3.5":    {bus.Consumer, kversion.V3_5_0(), "group protocol consumer: broker 0 is older than Kafka 4.3: use classic, or newer brokers"},
		"consumer on 4.2":    {bus.Consumer, kversion.V4_2_0(), "group protocol consumer: broker 0 is older than Kafka 4.3: use classic, or newer brokers"},
		"consumer on 4.3":    {bus.Consumer, kversion.V4_3_0(), ""},
		"consumer on newest": {bus.Consumer, kversion.Stable(), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, err := bus.NewGroup(bus.Config{Brokers: embedded(t, kfake.MaxVersions(c.versions)).ListenAddrs()}, bus.GroupOptions{Name: "g", Protocol: c.protocol})
			if err != nil {
				t.Fatal(err)
			}
			defer g.Close(t.Context())
			err = g.Supported(patience(t))
			var refused *bus.ProtocolError
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (!errors.As(err, &refused) || err.Error() != c.want):
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
	if _, err := bus.NewGroup(bus.Config{Brokers: []string{"b:1"}}, bus.GroupOptions{Name: "g", Protocol: "eager"}); err == nil {
		t.Error("an unknown protocol is accepted")
	}
}

// kick removes the only member of a group behind its back, as the coordinator removes
// one that was silent for too long.
func kick(t *testing.T, c bus.Config, protocol, group string) {
	t.Helper()
	admin, err := bus.NewAdmin(c)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	client, err := kgo.NewClient(kgo.SeedBrokers(c.Brokers...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if protocol == bus.Classic {
		groups, err := admin.DescribeGroups(t.Context(), group)
		if err != nil || len(groups[group].Members) != 1 {
			t.Fatalf("%v, %+v", err, groups)
		}
		req := kmsg.NewPtrLeaveGroupRequest()
		member := kmsg.NewLeaveGroupRequestMember()
		req.Group, req.MemberID, member.MemberID = group, groups[group].Members[0].MemberID, groups[group].Members[0].MemberID
		req.Members = append(req.Members, member)
		resp, err := req.RequestWith(t.Context(), client)
		if err != nil || resp.ErrorCode != 0 {
			t.Fatalf("%v, %+v", err, resp)
		}
		return
	}
	groups, err := admin.DescribeConsumerGroups(t.Context(), group)
	if err != nil || len(groups[group].Members) != 1 {
		t.Fatalf("%v, %+v", err, groups)
	}
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Group, req.MemberID, req.MemberEpoch = group, groups[group].Members[0].MemberID, -1
	resp, err := req.RequestWith(t.Context(), client)
	if err != nil || resp.ErrorCode != 0 {
		t.Fatalf("%v, %+v", err, resp)
	}
}

// A member that the coordinator has dropped commits nothing, learns that its leases
// are lost, comes back by itself, and can then commit under the new ones only.
func TestCommit_ofADroppedMember(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, protocol string) {
		t.Helper()
		c := brokers(t)
		name := topic(t, c, 1)
		m := joinBy(t, c, protocol, name, nil)
		old := leases(t, m.assigned, 1)[0]
		if err := m.Commit(patience(t), []bus.Commit{{Lease: old, Offset: 3}}); err != nil {
			t.Fatal(err)
		}
		kick(t, c, protocol, name)
		if protocol == bus.Consumer { // a classic member that is told so by a commit rejoins in silence, and keeps what it gets back
			var refused *kerr.Error
			if err := m.Commit(patience(t), []bus.Commit{{Lease: old, Offset: 5}}); !errors.As(err, &refused) && m.Holds(old) {
				t.Errorf("a dropped member's commit answers %v", err)
			}
		}
		if gone := leases(t, m.lost, 1)[0]; gone != old {
			t.Errorf("lost %v, want %v", gone, old)
		}
		now := leases(t, m.assigned, 1)[0]
		if m.Holds(old) || !m.Holds(now) {
			t.Error("the lease stands where it has ended, or has ended where it stands")
		}
		if err := m.Commit(patience(t), []bus.Commit{{Lease: old, Offset: 7}}); err != nil {
			t.Error(err)
		}
		if at, _ := committed(t, c, name).Lookup(name, 0); at.At != 3 {
			t.Errorf("committed is %d, want 3: what came later is not the member's", at.At)
		}
		if kafka, ok, err := m.AskCommitted(patience(t), now.Partition); !ok || err != nil || kafka != 3 {
			t.Errorf("the member is told %d, %t, %v, want 3", kafka, ok, err)
		}
		if err := m.Commit(patience(t), []bus.Commit{{Lease: now, Offset: 8}}); err != nil {
			t.Error(err)
		}
		if at, _ := committed(t, c, name).Lookup(name, 0); at.At != 8 {
			t.Errorf("committed is %d, want 8", at.At)
		}
	})
}

// Partitions are handed back with what was done, before anybody else has them.
func TestRevoke_commitsBeforeItEnds(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, protocol string) {
		t.Helper()
		c := brokers(t)
		name := topic(t, c, 4)
		a := joinBy(t, c, protocol, name, func(g *bus.Group, ctx context.Context, gone []bus.Lease) {
			for _, l := range gone {
				if !g.Holds(l) {
					t.Errorf("%s is lost before it is handed back", l)
				}
				if err := g.Commit(ctx, []bus.Commit{{Lease: l, Offset: int64(l.ID) + 1}}); err != nil {
					t.Error(err)
				}
			}
		})
		leases(t, a.assigned, 4)
		b := joinBy(t, c, protocol, name, nil)
		for _, l := range leases(t, b.assigned, 2) {
			if kafka, ok, err := b.AskCommitted(patience(t), l.Partition); !ok || err != nil || kafka != int64(l.ID)+1 {
				t.Errorf("%s: the next owner is told %d, %t, %v", l, kafka, ok, err)
			}
		}
		leases(t, a.revoked, 2)
	})
}
