package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Partition names a partition of a topic.
type Partition struct {
	Topic string
	ID    int32
}

// String is "topic/3".
func (p Partition) String() string { return p.Topic + "/" + strconv.Itoa(int(p.ID)) }

// Lease is one assignment of a partition to this member. A partition that goes
// away and comes back is another lease: what belongs to the old one is void.
type Lease struct {
	Partition
	number uint64
}

// Commit is an offset to be told to Kafka for its lag tools.
type Commit struct {
	Lease  Lease
	Offset int64     // the next one to be read
	Time   time.Time // of the last record below Offset; travels as metadata
}

// Batch is what one poll brought of one partition.
type Batch struct {
	Records []*kgo.Record // control records among them: they only move the position
	End     int64         // high watermark
	Err     error         // the partition can't be read; a *RangeError doesn't heal
}

// RangeError says that an offset is not, or no longer, in the partition.
type RangeError struct {
	Partition
	Want       int64 // the offset that was asked for
	Start, End int64 // what the partition holds: [Start, End); -1 = could not be asked
}

// Error gives the exact range that is missing.
func (e *RangeError) Error() string {
	if e.Want < e.Start {
		return fmt.Sprintf("%s: offsets %d to %d are no longer there (it holds %d to %d)", e.Partition, e.Want, e.Start-1, e.Start, e.End-1)
	}
	return fmt.Sprintf("%s: offset %d is past its end (it holds %d to %d)", e.Partition, e.Want, e.Start, e.End-1)
}

// GroupOptions describe a member of a consumer group. The callbacks come one at a
// time and must not close the group.
type GroupOptions struct {
	Name      string
	Topics    []string
	Assigned  func([]Lease)                  // returns at once
	Revoked   func(context.Context, []Lease) // finishes and commits; the leases end when it returns
	Lost      func([]Lease)                  // the leases have ended
	Protocol  string                         // Classic or Consumer; "" = Classic
	Session   time.Duration                  // the broker drops a silent member after it; 0 = 10 s; of Consumer the broker decides
	Rebalance time.Duration                  // time for Revoked; 0 = 60 s
}

// Group is a member of a consumer group. Membership and
// fetching are two clients: a partition is fetched from exactly the offset that
// Start names, and nothing that a former lease has polled can reach a later one.
type Group struct {
	name     string
	protocol string
	joining  []kgo.Opt
	member   *kgo.Client // since Join
	fetch    *kgo.Client
	admin    *kadm.Client

	commits   chan struct{} // full over a commit and while leases end (promise: fenced): a lock that one may stop waiting for; taken before mu
	mu        sync.Mutex
	leases    map[Partition]Lease
	numbers   uint64
	joined    bool
	committed map[Partition]int64 // as Kafka had it at the last assignment

	changesMu sync.Mutex
	changes   []change
	wake      context.CancelFunc // ends the poll, so that changes are applied
}

// change is asked of the poll loop, the only one that starts and stops fetching.
type change struct {
	lease  Lease
	offset int64
	feed   func(context.Context, Batch) // nil = stop
}

// NewGroup makes a member that has not joined yet.
func NewGroup(c Config, o GroupOptions) (*Group, error) {
	opts, err := c.Options()
	if err != nil {
		return nil, err
	}
	if o.Session == 0 {
		o.Session = 10 * time.Second
	}
	if o.Rebalance == 0 {
		o.Rebalance = time.Minute
	}
	balancing, err := balancing(o.Protocol)
	if err != nil {
		return nil, err
	}
	g := &Group{name: o.Name, protocol: o.Protocol, commits: make(chan struct{}, 1), leases: map[Partition]Lease{}, committed: map[Partition]int64{}}
	g.fetch, err = kgo.NewClient(append(slices.Clone(opts), fetching()...)...)
	if err != nil {
		return nil, fmt.Errorf("kafka consumer: %w", err)
	}
	g.admin = kadm.NewClient(g.fetch)
	g.joining = append(slices.Clone(opts), g.membership(o)...)
	for _, opt := range balancing {
		g.joining = append(g.joining, opt)
	}
	return g, nil
}

// Join joins the group: from here on the callbacks come.
func (g *Group) Join() error {
	member, err := kgo.NewClient(g.joining...)
	if err != nil {
		return fmt.Errorf("kafka group member: %w", err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.member = member
	return nil
}

func (g *Group) membership(o GroupOptions) []kgo.Opt {
	return []kgo.Opt{
		kgo.ConsumerGroup(o.Name), kgo.ConsumeTopics(o.Topics...), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.SessionTimeout(o.Session), kgo.HeartbeatInterval(o.Session / 4), kgo.RebalanceTimeout(o.Rebalance),
		// The member never fetches: it takes no offset from Kafka, it only notes them.
		kgo.AdjustFetchOffsetsFn(func(_ context.Context, at map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
			g.note(at)
			return map[string]map[int32]kgo.Offset{}, nil
		}),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, m map[string][]int32) {
			o.Assigned(g.grant(m))
			g.setJoined(true) // after the callback: who sees it joined sees its partitions, too
		}),
		kgo.OnPartitionsRevoked(func(ctx context.Context, _ *kgo.Client, m map[string][]int32) {
			leases := g.held(m)
			if len(leases) > 0 {
				o.Revoked(ctx, leases)
			}
			g.end(leases)
		}),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, m map[string][]int32) {
			leases := g.held(m)
			g.end(leases) // first of all: from here on nothing of them is committed
			g.setJoined(false)
			if len(leases) > 0 {
				o.Lost(leases)
			}
		}),
	}
}

func (g *Group) note(at map[string]map[int32]kgo.Offset) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for topic, partitions := range at {
		for id, offset := range partitions {
			g.committed[Partition{topic, id}] = offset.EpochOffset().Offset
		}
	}
}

// Committed is Kafka's offset of a partition, as it was when it was assigned last or as
// this member committed it since; false = none, or not known yet. Nothing starts from it.
func (g *Group) Committed(p Partition) (int64, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	offset, ok := g.committed[p]
	return offset, ok && offset >= 0
}

// AskCommitted asks for Kafka's offset of a partition; false = none.
func (g *Group) AskCommitted(ctx context.Context, p Partition) (int64, bool, error) {
	offsets, err := g.admin.FetchOffsets(ctx, g.name)
	if err != nil {
		return 0, false, fmt.Errorf("asking for the offset that Kafka has of %s: %w", p, err)
	}
	at, ok := offsets.Lookup(p.Topic, p.ID)
	return at.At, ok && at.Err == nil && at.At >= 0, nil
}

func (g *Group) grant(m map[string][]int32) []Lease {
	g.mu.Lock()
	defer g.mu.Unlock()
	var leases []Lease
	for topic, ids := range m {
		for _, id := range ids {
			g.numbers++
			l := Lease{Partition{topic, id}, g.numbers}
			g.leases[l.Partition] = l
			leases = append(leases, l)
		}
	}
	return leases
}

func (g *Group) held(m map[string][]int32) []Lease {
	g.mu.Lock()
	defer g.mu.Unlock()
	var leases []Lease
	for topic, ids := range m {
		for _, id := range ids {
			if l, ok := g.leases[Partition{topic, id}]; ok {
				leases = append(leases, l)
			}
		}
	}
	return leases
}

func (g *Group) end(leases []Lease) {
	g.commits <- struct{}{}
	defer func() { <-g.commits }()
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, l := range leases {
		if g.leases[l.Partition] == l {
			delete(g.leases, l.Partition)
			delete(g.committed, l.Partition)
		}
	}
}

// Holds says whether a lease still stands, as far as this member has been told.
func (g *Group) Holds(l Lease) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.leases[l.Partition] == l
}

func (g *Group) setJoined(joined bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.joined = joined
}

// Joined says whether the member has been given its share, which may be nothing.
func (g *Group) Joined() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.joined
}

// Commit tells Kafka offsets. What belongs to a lease that has ended is left out:
// the check and the commit are one step under the mutex that ends leases (promise:
// fenced). Kafka itself checks the member's generation only, never whether the
// partition is its own.
func (g *Group) Commit(ctx context.Context, commits []Commit) error {
	select {
	case g.commits <- struct{}{}:
		defer func() { <-g.commits }()
	case <-ctx.Done():
		return fmt.Errorf("committing offsets: %w", ctx.Err())
	}
	offsets, times := map[string]map[int32]kgo.EpochOffset{}, map[Partition]time.Time{}
	for _, c := range commits {
		if !g.Holds(c.Lease) {
			continue
		}
		if offsets[c.Lease.Topic] == nil {
			offsets[c.Lease.Topic] = map[int32]kgo.EpochOffset{}
		}
		offsets[c.Lease.Topic][c.Lease.ID] = kgo.EpochOffset{Epoch: -1, Offset: c.Offset}
		times[c.Lease.Partition] = c.Time
	}
	if len(offsets) == 0 {
		return nil
	}
	g.mu.Lock()
	member := g.member
	g.mu.Unlock()
	var failed error
	ctx = kgo.PreCommitFnContext(ctx, func(req *kmsg.OffsetCommitRequest) error {
		for i := range req.Topics {
			for j := range req.Topics[i].Partitions {
				p := &req.Topics[i].Partitions[j]
				p.Metadata = metadata(times[Partition{req.Topics[i].Topic, p.Partition}])
			}
		}
		return nil
	})
	member.CommitOffsetsSync(ctx, offsets, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
		failed = err
		if err != nil {
			return
		}
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				failed = errors.Join(failed, kerr.ErrorForCode(p.ErrorCode))
			}
		}
	})
	if failed != nil {
		return fmt.Errorf("committing offsets: %w", failed)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for topic, partitions := range offsets {
		for id, o := range partitions {
			g.committed[Partition{topic, id}] = o.Offset
		}
	}
	return nil
}

const metadataPrefix = "v1;ts="

// metadata carries the time of the committed record, so that lag in time is exact
// without reading the topic.
func metadata(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	s := metadataPrefix + strconv.FormatInt(t.UnixMilli(), 10)
	return &s
}

// CommitMetadata is the metadata of a commit by somebody who is no member; the zero
// time has none.
func CommitMetadata(t time.Time) string {
	if m := metadata(t); m != nil {
		return *m
	}
	return ""
}

// CommittedTime reads the time of the committed record from the metadata of a
// commit; false = it carries none.
func CommittedTime(metadata string) (time.Time, bool) {
	text, ok := strings.CutPrefix(metadata, metadataPrefix)
	if !ok {
		return time.Time{}, false
	}
	ms, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, false
	}
	return time.UnixMilli(ms).UTC(), true
}

// Range asks what offsets a partition holds: [start, end).
func (g *Group) Range(ctx context.Context, p Partition) (start, end int64, err error) {
	starts, err := g.admin.ListStartOffsets(ctx, p.Topic)
	if err != nil {
		return -1, -1, fmt.Errorf("asking for the start of %s: %w", p, err)
	}
	ends, err := g.admin.ListEndOffsets(ctx, p.Topic)
	if err != nil {
		return -1, -1, fmt.Errorf("asking for the end of %s: %w", p, err)
	}
	s, ok := starts.Lookup(p.Topic, p.ID)
	e, found := ends.Lookup(p.Topic, p.ID)
	if !ok || !found {
		return -1, -1, fmt.Errorf("asking for the offsets of %s: no such partition", p)
	}
	if err := errors.Join(s.Err, e.Err); err != nil {
		return -1, -1, fmt.Errorf("asking for the offsets of %s: %w", p, err)
	}
	return s.Offset, e.Offset, nil
}

// Missing lists those of the topics that don't exist.
func (g *Group) Missing(ctx context.Context, topics []string) ([]string, error) {
	details, err := g.admin.ListTopics(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("asking for topics: %w", err)
	}
	var missing []string
	for _, t := range topics {
		if d, ok := details[t]; !ok || errors.Is(d.Err, kerr.UnknownTopicOrPartition) {
			missing = append(missing, t)
		}
	}
	return missing, nil
}

// Close leaves the group and closes the connections. Leases that still stand are
// revoked on the way, until ctx ends.
func (g *Group) Close(ctx context.Context) {
	g.mu.Lock()
	member := g.member
	g.mu.Unlock()
	if member != nil {
		_ = member.LeaveGroupContext(ctx) // a broker that is away drops the member by itself
		member.CloseAllowingRebalance()
	}
	g.fetch.Close()
}
