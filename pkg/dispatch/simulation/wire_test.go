//go:build synctests

package simulation_test

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

type dialer = func(ctx context.Context, network, address string) (net.Conn, error)

var errCut = errors.New("the network is cut")

// line is the network of one member, which can be cut.
type line struct {
	dial dialer

	mu    sync.Mutex
	isCut bool
	conns []net.Conn
}

// DialContext is how the member's clients reach the brokers.
func (l *line) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	l.mu.Lock()
	gone := l.isCut
	l.mu.Unlock()
	if gone {
		return nil, errCut
	}
	c, err := l.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isCut {
		_ = c.Close()
		return nil, errCut
	}
	l.conns = append(l.conns, c)
	return c, nil
}

func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.isCut = true
	for _, c := range l.conns {
		_ = c.Close()
	}
	l.conns = nil
}

func (l *line) mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.isCut = false
}

// brokerFaults are the faults that the brokers' control functions carry out.
type brokerFaults struct {
	mu      sync.Mutex
	zombies map[string]bool // members whose heartbeats are answered, and never arrive
	late    int             // so many answers to producers come late
	delay   time.Duration
}

func (f *brokerFaults) install(c *kfake.Cluster) {
	c.ControlKey(kmsg.Heartbeat.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		beat, ok := req.(*kmsg.HeartbeatRequest)
		if !ok || !f.zombie(beat.MemberID) {
			return nil, nil, false
		}
		return beat.ResponseKind(), nil, true
	})
	c.ControlKey(kmsg.Produce.Int16(), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if d := f.takeDelay(); d > 0 {
			c.SleepControl(func() { sleep(context.Background(), d) })
		}
		return nil, nil, false
	})
}

func (f *brokerFaults) zombie(memberID string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	name, _, _ := strings.Cut(memberID, "-")
	return f.zombies[name]
}

func (f *brokerFaults) setZombie(name string, is bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.zombies == nil {
		f.zombies = map[string]bool{}
	}
	f.zombies[name] = is
}

func (f *brokerFaults) takeDelay() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.late == 0 {
		return 0
	}
	f.late--
	return f.delay
}

func (f *brokerFaults) setLate(count int, delay time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.late, f.delay = count, delay
}

// refuse lets the brokers answer some requests of the group with an error. After a time
// out or an append that was not replicated, they do the work all the same.
func refuse(c *kfake.Cluster, what, times string) error {
	count, err := strconv.Atoi(times)
	if err != nil {
		return err
	}
	f := kfake.Fault{Count: count}
	known := map[string]struct {
		key kmsg.Key
		err *kerr.Error
	}{
		"commit-illegal-generation": {kmsg.OffsetCommit, kerr.IllegalGeneration},
		"commit-rebalance":          {kmsg.OffsetCommit, kerr.RebalanceInProgress},
		"commit-loading":            {kmsg.OffsetCommit, kerr.CoordinatorLoadInProgress},
		"heartbeat-rebalance":       {kmsg.Heartbeat, kerr.RebalanceInProgress},
		"heartbeat-unknown":         {kmsg.Heartbeat, kerr.UnknownMemberID},
		"heartbeat-not-coordinator": {kmsg.Heartbeat, kerr.NotCoordinator},
		"fetch-not-leader":          {kmsg.Fetch, kerr.NotLeaderForPartition},
		"produce-not-leader":        {kmsg.Produce, kerr.NotLeaderForPartition},
		"produce-timed-out":         {kmsg.Produce, kerr.RequestTimedOut},
		"produce-after-append":      {kmsg.Produce, kerr.NotEnoughReplicasAfterAppend},
	}[what]
	if known.err == nil {
		return errors.New("unknown fault " + what)
	}
	f.Keys, f.Err = []kmsg.Key{known.key}, known.err
	switch known.key {
	case kmsg.Produce:
		f.Topic = output // the sources of the simulation have no trouble
	case kmsg.Fetch:
		f.Topic = input
	default:
		f.Group = group
	}
	c.Fault(f)
	return nil
}
