package groups

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/app/cli"
	"github.com/eventspine/spine/pkg/app/config"
	"github.com/eventspine/spine/pkg/app/tap"
	"github.com/eventspine/spine/pkg/bus"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/once/ownership"
	"github.com/eventspine/spine/pkg/topic"
)

// resetPartition is what reset does to a partition: a contract.
type resetPartition struct {
	Topic      string       `json:"topic"`
	Partition  int32        `json:"partition"`
	NextOffset int64        `json:"next_offset"` // of the store, as it is
	Committed  int64        `json:"committed"`   // at the broker; -1 = none
	Target     int64        `json:"target"`
	Skipped    int64        `json:"skipped"`           // records that the group passes over and never handles
	Repeated   int64        `json:"repeated"`          // records that come again, or for the first time
	Known      int64        `json:"known"`             // of these: handled, waiting or dead, so that nothing happens
	Forgotten  int64        `json:"forgotten"`         // of the repeated: so old that the inbox may have forgotten them
	Lost       *offsetRange `json:"lost,omitempty"`    // no longer in the topic, whatever the target
	Passed     *offsetRange `json:"passed,omitempty"`  // the range of the skipped
	Result     string       `json:"result"`            // planned, unchanged or done
	Warning    string       `json:"warning,omitempty"` // what is to be known before it is done
}

// unchanged is the result where a partition is at its target already.
const unchanged = "unchanged"

// offsetRange are offsets, To included.
type offsetRange struct {
	From int64 `json:"from"`
	To   int64 `json:"to"`
}

// resetResult is what reset shows: a contract.
type resetResult struct {
	Group      string            `json:"group"`
	Members    int               `json:"members"`
	Executed   bool              `json:"executed"`
	Partitions []*resetPartition `json:"partitions"`
}

// resetting is one reset at work.
type resetting struct {
	*cli.CLI
	group     string
	topic     string // "" = all
	partition int32  // -1 = all
	to        target
	execute   bool
	admin     *kadm.Client
	db        *once.DB
	client    []kgo.Opt
}

func (a commands) newResetCmd() *cobra.Command {
	r := &resetting{CLI: a.CLI}
	var to string
	cmd := &cobra.Command{
		Use: "reset GROUP", Short: "Set where a group goes on, in its store and at the broker; previews unless --execute", Args: cobra.ExactArgs(1),
		Long: `Set where a group goes on, in its store and at the broker. Without --execute it shows what would be done.

--to earliest, latest, 17 (with --topic and --partition), 2026-03-14T11:20:00Z, 2026-03-14, -2h (the first record of the
last two hours), +5 (pass over five more), -5 (five again).

Set back, records come again: those that the group has handled, or that wait or are dead, are duplicates and nothing
happens; the others are handled now. Set forward, records are passed over and never handled: spine audit counts them as
skipped. What waits, is dead or is on its way out stays as it is. It is safe beside a running process, which starts over
from there: whoever worked on the state from before can write nothing any more.`,
		Example: `  spine groups reset analytics --to -2h
  spine groups reset inventory --topic commerce.order.events --partition 3 --to earliest --execute`,
		RunE: func(cmd *cobra.Command, words []string) (err error) {
			r.group = words[0]
			if r.to, err = parseTarget(to, time.Now()); err != nil {
				return err
			}
			if r.partition >= 0 && r.topic == "" || r.to.kind == toOffset && (r.topic == "" || r.partition < 0) {
				return cli.Usage("an offset belongs to one partition: want --topic and --partition")
			}
			return r.run(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.StringVar(&to, "to", "", "where to")
	f.StringVar(&r.topic, "topic", "", "this topic only")
	f.Int32Var(&r.partition, "partition", -1, "this partition of the topic only")
	f.BoolVar(&r.execute, "execute", false, "do it")
	return cmd
}

type targetKind int

const (
	toEarliest targetKind = iota
	toLatest
	toOffset
	toShift
	toTime
)

// target is what --to says.
type target struct {
	kind targetKind
	n    int64
	at   time.Time
}

func parseTarget(s string, now time.Time) (target, error) {
	switch s {
	case "earliest":
		return target{kind: toEarliest}, nil
	case "latest":
		return target{kind: toLatest}, nil
	}
	if n, err := strconv.ParseInt(s, 10, 62); err == nil {
		if strings.HasPrefix(s, "+") || strings.HasPrefix(s, "-") {
			return target{kind: toShift, n: n}, nil
		}
		return target{kind: toOffset, n: n}, nil
	}
	if d, err := time.ParseDuration(s); err == nil && d <= 0 {
		return target{kind: toTime, at: now.Add(d)}, nil
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return target{kind: toTime, at: t}, nil
		}
	}
	return target{}, cli.Usage("--to %q: want earliest, latest, an offset, +N, -N, a time such as -2h, 2026-03-14 or RFC 3339", s)
}

func (r *resetting) run(ctx context.Context) error {
	if _, err := r.Fleet.Group(r.group); err != nil {
		return err
	}
	return r.WithAdmin(ctx, func(ctx context.Context, l *config.Loaded, admin *kadm.Client) (err error) {
		dbs := cli.NewStores(l)
		defer func() { err = errors.Join(err, dbs.Close()) }()
		r.admin = admin
		if r.db, err = dbs.Of(ctx, r.group); err != nil {
			return err
		}
		if r.client, err = cli.Client(l); err != nil {
			return err
		}
		result, err := r.plan(ctx)
		if err != nil {
			return err
		}
		if r.execute {
			if err := r.set(ctx, &result); err != nil {
				return err
			}
		}
		return r.show(result)
	})
}

// plan finds the target of each partition and what it means.
func (r *resetting) plan(ctx context.Context) (resetResult, error) {
	result := resetResult{Group: r.group, Executed: r.execute, Partitions: []*resetPartition{}}
	described, err := r.admin.DescribeGroups(ctx, r.group)
	if err != nil {
		return result, fmt.Errorf("describing the group: %w", err)
	}
	result.Members = len(described[r.group].Members)
	owned, err := r.owned(ctx)
	if err != nil {
		return result, err
	}
	b, err := r.bounds(ctx, owned)
	if err != nil {
		return result, err
	}
	for _, o := range owned {
		p, err := r.partitionOf(ctx, o, b)
		if err != nil {
			return result, err
		}
		result.Partitions = append(result.Partitions, p)
	}
	return result, nil
}

// owned are the partitions that are meant: those that the group has owned.
func (r *resetting) owned(ctx context.Context) ([]once.Ownership, error) {
	all, err := r.db.Store(r.group).Ownerships(ctx)
	if err != nil {
		return nil, err
	}
	var meant []once.Ownership
	for _, o := range all {
		if (r.topic == "" || o.Topic == r.topic) && (r.partition < 0 || o.Partition == r.partition) {
			meant = append(meant, o)
		}
	}
	if len(meant) == 0 {
		return nil, cli.Usage("group %s has never owned such a partition; see spine groups describe %s", r.group, r.group)
	}
	return meant, nil
}

// bounds are what the broker says of the topics.
type bounds struct {
	starts, ends, timed, remembered kadm.ListedOffsets
	committed                       kadm.OffsetResponses
}

func (r *resetting) bounds(ctx context.Context, owned []once.Ownership) (b bounds, err error) {
	seen := map[string]bool{}
	var topics []string
	for _, o := range owned {
		if !seen[o.Topic] {
			seen[o.Topic], topics = true, append(topics, o.Topic)
		}
	}
	if b.starts, err = r.admin.ListStartOffsets(ctx, topics...); err == nil {
		b.ends, err = r.admin.ListEndOffsets(ctx, topics...)
	}
	if err == nil && r.to.kind == toTime {
		b.timed, err = r.admin.ListOffsetsAfterMilli(ctx, r.to.at.UnixMilli(), topics...)
	}
	if err == nil {
		b.committed, err = r.admin.FetchOffsets(ctx, r.group)
	}
	if err == nil {
		b.remembered, err = r.remembered(ctx, topics)
	}
	if err != nil {
		return b, fmt.Errorf("asking for the offsets: %w", err)
	}
	return b, nil
}

// remembered are the offsets from which on the inbox has surely forgotten nothing. The
// embedded broker's groups forget nothing at all.
func (r *resetting) remembered(ctx context.Context, topics []string) (kadm.ListedOffsets, error) {
	meta, err := r.admin.BrokerMetadata(ctx)
	if err != nil || meta.Cluster == topic.EmbeddedCluster {
		return nil, err
	}
	_, declared, err := r.Fleet.Contracts()
	if err != nil {
		return nil, err
	}
	all := kadm.ListedOffsets{}
	for _, name := range topics {
		if w := declared.Window(name); w > 0 {
			listed, err := r.admin.ListOffsetsAfterMilli(ctx, time.Now().Add(-w).UnixMilli(), name)
			if err != nil {
				return nil, err
			}
			all[name] = listed[name]
		}
	}
	return all, nil
}

func (r *resetting) partitionOf(ctx context.Context, o once.Ownership, b bounds) (*resetPartition, error) {
	start, ok := b.starts.Lookup(o.Topic, o.Partition)
	end, found := b.ends.Lookup(o.Topic, o.Partition)
	if !ok || !found || start.Err != nil || end.Err != nil {
		return nil, fmt.Errorf("asking for the offsets of %s/%d: %w", o.Topic, o.Partition, cmp.Or(start.Err, end.Err, error(kerr.UnknownTopicOrPartition)))
	}
	p := &resetPartition{Topic: o.Topic, Partition: o.Partition, NextOffset: o.NextOffset, Committed: -1, Result: "planned"}
	if c, ok := b.committed.Lookup(o.Topic, o.Partition); ok && c.Err == nil {
		p.Committed = c.At
	}
	var err error
	if p.Target, err = r.target(o, offsetRange{start.Offset, end.Offset}, b); err != nil {
		return nil, err
	}
	if p.Target == p.NextOffset {
		p.Result = unchanged
	}
	return p, r.consequences(ctx, p, start.Offset, end.Offset, b)
}

// target is what --to means in a partition that holds offsets, their end excluded.
func (r *resetting) target(o once.Ownership, holds offsetRange, b bounds) (int64, error) {
	switch r.to.kind {
	case toEarliest:
		return holds.From, nil
	case toShift:
		return min(max(o.NextOffset+r.to.n, holds.From), holds.To), nil
	case toTime:
		if t, ok := b.timed.Lookup(o.Topic, o.Partition); ok && t.Err == nil && t.Offset >= 0 {
			return t.Offset, nil
		}
	case toOffset:
		if r.to.n < holds.From || r.to.n > holds.To {
			return 0, cli.Usage("--to %d: %s/%d holds %d to %d", r.to.n, o.Topic, o.Partition, holds.From, holds.To-1)
		}
		return r.to.n, nil
	}
	return holds.To, nil // latest, or no record that late
}

// consequences counts what a target means.
func (r *resetting) consequences(ctx context.Context, p *resetPartition, start, end int64, b bounds) (err error) {
	if p.NextOffset < start {
		p.Lost = &offsetRange{p.NextOffset, start - 1}
	}
	if p.NextOffset > end {
		p.Warning = "the topic ends before the stored offset: if it was made anew, its records may be taken for those that wait or are dead at the same offsets"
	}
	move := ownership.Reset{Topic: p.Topic, Partition: p.Partition, From: max(min(p.NextOffset, end), start), To: p.Target}
	if p.Known, err = ownership.Known(ctx, r.db.DB, r.group, move); err != nil {
		return err
	}
	if move.To >= move.From {
		if p.Skipped = max(move.To-move.From-p.Known, 0); p.Skipped > 0 {
			p.Passed = &offsetRange{move.From, move.To - 1}
		}
		return nil
	}
	p.Repeated = move.From - move.To
	if at, ok := b.remembered.Lookup(p.Topic, p.Partition); ok && at.Err == nil {
		until := at.Offset
		if until < 0 { // no record is that young
			until = end
		}
		p.Forgotten = max(0, min(until, move.From)-move.To)
	}
	if p.Forgotten > 0 {
		p.Warning = fmt.Sprintf("the inbox may have forgotten %d of the records from %d on: they would be handled AGAIN", p.Forgotten, move.To)
	}
	return nil
}

// set does it: the store first, which stands, then Kafka's commit, which follows. Where
// a process runs the group, its owners start over and tell Kafka themselves.
func (r *resetting) set(ctx context.Context, result *resetResult) error {
	by := cmp.Or(r.Env["USER"], r.Env["LOGNAME"], "unknown")
	for _, p := range result.Partitions {
		if p.Result == unchanged {
			continue
		}
		from, err := ownership.Set(ctx, r.db.DB, r.group, ownership.Reset{Topic: p.Topic, Partition: p.Partition, To: p.Target, By: by})
		if err != nil {
			return err
		}
		p.NextOffset, p.Result = from, "done"
	}
	if result.Members > 0 {
		return nil
	}
	offsets := kadm.Offsets{}
	for _, p := range result.Partitions {
		at, err := tap.TimeBefore(ctx, r.client, tap.Place{Topic: p.Topic, Partition: p.Partition, Offset: p.Target})
		if err != nil {
			return err
		}
		offsets.Add(kadm.Offset{Topic: p.Topic, Partition: p.Partition, At: p.Target, LeaderEpoch: -1, Metadata: bus.CommitMetadata(at)})
	}
	done, err := r.admin.CommitOffsets(ctx, r.group, offsets)
	if err == nil {
		err = done.Error()
	}
	if err != nil && !errors.Is(err, kerr.UnknownMemberID) { // somebody has joined since, and tells Kafka
		return fmt.Errorf("telling Kafka the offsets, after the store was set: %w", err)
	}
	return nil
}

func (r *resetting) show(result resetResult) error {
	same := 0
	err := r.Print(result, func(w *cli.Table) {
		w.Row("TOPIC", "PARTITION", "NEXT OFFSET", "COMMITTED", "TARGET", "SKIPPED", "REPEATED", "KNOWN", "RESULT")
		for _, p := range result.Partitions {
			if p.Result == unchanged && !r.Wide() {
				same++
				continue
			}
			w.Row(p.Topic, p.Partition, p.NextOffset, p.Committed, p.Target, p.Skipped, p.Repeated, p.Known, p.Result)
		}
		if same > 0 {
			w.Line("%d partitions stay where they are", same)
		}
	})
	if err != nil || !r.People() {
		return err
	}
	for _, p := range result.Partitions {
		place := fmt.Sprintf("spine: %s/%d: ", p.Topic, p.Partition)
		if p.Lost != nil {
			fmt.Fprintf(r.Stderr, "%soffsets %d to %d are no longer there: lost\n", place, p.Lost.From, p.Lost.To)
		}
		if p.Passed != nil {
			fmt.Fprintf(r.Stderr, "%s%d records of %d to %d are passed over and never handled\n", place, p.Skipped, p.Passed.From, p.Passed.To)
		}
		if p.Warning != "" {
			fmt.Fprintf(r.Stderr, "%sWARNING: %s\n", place, p.Warning)
		}
	}
	switch {
	case !result.Executed:
		fmt.Fprintln(r.Stderr, "spine: a preview, nothing was changed; --execute does it")
	case result.Members > 0:
		fmt.Fprintf(r.Stderr, "spine: %d members run it: they start over from there within seconds\n", result.Members)
	}
	return nil
}
