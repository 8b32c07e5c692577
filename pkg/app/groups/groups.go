// Package groups is the command spine groups: how the groups stand, and what sets one to
// another place, fences it or removes it.
package groups

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/app/cli"
	"github.com/eventspine/spine/pkg/app/config"
	"github.com/eventspine/spine/pkg/app/tap"
	"github.com/eventspine/spine/pkg/bus"
	"github.com/eventspine/spine/pkg/once"
)

// commands are those of this package, on one command line.
type commands struct{ *cli.CLI }

// Commands are the commands of this package.
func Commands(c *cli.CLI) []*cobra.Command { return []*cobra.Command{commands{c}.newGroupsCmd()} }

// groupInfo is what groups list and describe show: a contract.
type groupInfo struct {
	Group      string          `json:"group"`
	State      string          `json:"state"` // of the consumer group at the broker
	Members    []groupMember   `json:"members"`
	Lag        int64           `json:"lag"`         // records
	LagSeconds float64         `json:"lag_seconds"` // age of the last record that is done, or of the first that is left where that isn't known; 0 = nothing is left
	Handled    int             `json:"handled"`
	Waiting    int             `json:"waiting"`
	Dead       int             `json:"dead"`
	Room       waitingRoom     `json:"waiting_room"`
	HeldKeys   int             `json:"held_keys"`
	Outgoing   int             `json:"outgoing"`
	Effects    effectCounts    `json:"effects"`
	Partitions []groupPosition `json:"partitions"`
}

type groupMember struct {
	ID       string `json:"id"`
	ClientID string `json:"client_id"`
	Host     string `json:"host"`
}

type effectCounts struct {
	Done    int `json:"done"`
	Open    int `json:"open"`
	Unknown int `json:"unknown"`
}

// waitingRoom is how full it is of what waits or is dead.
type waitingRoom struct {
	Bytes int64 `json:"bytes"`
	Limit int64 `json:"limit"`
}

type groupPosition struct {
	Topic      string  `json:"topic"`
	Partition  int32   `json:"partition"`
	NextOffset int64   `json:"next_offset"` // of the group's own store: this is where it goes on
	Committed  int64   `json:"committed"`   // at the broker, for lag tools; -1 = none
	End        int64   `json:"end"`
	Lag        int64   `json:"lag"`
	LagSeconds float64 `json:"lag_seconds"`
	Waiting    int     `json:"waiting"`
	Dead       int     `json:"dead"`
	HeldKeys   int     `json:"held_keys"`
	UpdatedAt  string  `json:"updated_at"`

	start int64 // of the topic
	told  bool  // the broker was told the time
}

func (a commands) newGroupsCmd() *cobra.Command {
	cmd := cli.Plural(&cobra.Command{Use: "groups", Short: "Groups: members, offsets, lag in records and in time, waiting keys", Args: cobra.NoArgs, RunE: cli.Help}, "group")
	cmd.AddCommand(
		&cobra.Command{
			Use: "list", Short: "List the groups", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				infos, err := groupInfos(cmd.Context(), a.CLI, a.Fleet.GroupNames())
				if err != nil {
					return err
				}
				return a.Print(infos, func(w *cli.Table) {
					w.Row("GROUP", "STATE", "MEMBERS", "LAG", "BEHIND", "HANDLED", "WAITING", "DEAD", "HELD KEYS", "OUTGOING")
					for _, g := range infos {
						w.Row(g.Group, g.State, len(g.Members), g.Lag, behind(g.LagSeconds), g.Handled, g.Waiting, g.Dead, g.HeldKeys, g.Outgoing)
					}
				})
			},
		},
		&cobra.Command{
			Use: "describe GROUP", Short: "Show a group per partition", Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, words []string) error {
				if _, err := a.Fleet.Group(words[0]); err != nil {
					return err
				}
				infos, err := groupInfos(cmd.Context(), a.CLI, words)
				if err != nil {
					return err
				}
				return a.Print(infos[0], func(w *cli.Table) { describeGroup(w, infos[0]) })
			},
		},
		a.newResetCmd(), a.newFenceCmd(), a.newDeleteCmd(),
	)
	return cmd
}

func describeGroup(w *cli.Table, g groupInfo) {
	w.Line("%s: %s, %d members, %d records behind (%s)", g.Group, g.State, len(g.Members), g.Lag, behind(g.LagSeconds))
	w.Line("handled %d, waiting %d, dead %d, held keys %d, outgoing %d, effects %d done, %d open, %d unknown",
		g.Handled, g.Waiting, g.Dead, g.HeldKeys, g.Outgoing, g.Effects.Done, g.Effects.Open, g.Effects.Unknown)
	w.Line("waiting room: %d of %d bytes", g.Room.Bytes, g.Room.Limit)
	for _, m := range g.Members {
		w.Line("member %s at %s", m.ID, m.Host)
	}
	w.Line("")
	w.Row("TOPIC", "PARTITION", "NEXT OFFSET", "COMMITTED", "END", "LAG", "BEHIND", "WAITING", "DEAD", "HELD KEYS")
	for _, p := range g.Partitions {
		w.Row(p.Topic, p.Partition, p.NextOffset, p.Committed, p.End, p.Lag, behind(p.LagSeconds), p.Waiting, p.Dead, p.HeldKeys)
	}
}

func behind(seconds float64) string {
	if seconds == 0 {
		return "0s"
	}
	return time.Duration(seconds * float64(time.Second)).Round(100 * time.Millisecond).String()
}

func groupInfos(ctx context.Context, a *cli.CLI, names []string) ([]groupInfo, error) {
	infos := make([]groupInfo, 0, len(names))
	err := a.WithAdmin(ctx, func(ctx context.Context, l *config.Loaded, admin *kadm.Client) (err error) {
		dbs := cli.NewStores(l)
		defer func() { err = errors.Join(err, dbs.Close()) }()
		described, err := admin.DescribeGroups(ctx, names...)
		if err != nil {
			return fmt.Errorf("describing the groups: %w", err)
		}
		client, err := cli.Client(l)
		if err != nil {
			return err
		}
		for _, name := range names {
			info, err := groupOf(ctx, dbs, admin, name)
			if err == nil {
				err = info.agesLeft(ctx, client)
			}
			if err != nil {
				return err
			}
			info.members(described[name])
			info.Room.Limit = int64(l.WaitingRoomOf(name))
			infos = append(infos, info)
		}
		return nil
	})
	return infos, err
}

func (g *groupInfo) members(d kadm.DescribedGroup) {
	g.State, g.Members = cmp.Or(d.State, "Empty"), []groupMember{}
	for _, m := range d.Members {
		g.Members = append(g.Members, groupMember{ID: m.MemberID, ClientID: m.ClientID, Host: m.ClientHost})
	}
}

// groupOf reads a group's store and what the broker knows of its topics.
func groupOf(ctx context.Context, dbs *cli.Stores, admin *kadm.Client, name string) (groupInfo, error) {
	g := groupInfo{Group: name, Partitions: []groupPosition{}}
	db, err := dbs.Of(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return g, nil // it has never run
	}
	if err != nil {
		return g, err
	}
	store := db.Store(name)
	counts, err := store.Counts(ctx)
	if err != nil {
		return g, err
	}
	g.Handled, g.Waiting, g.Dead, g.Outgoing = counts.Handled, counts.Waiting, counts.Dead, counts.Outgoing
	g.Room.Bytes = counts.WaitingBytes
	g.Effects = effectCounts{counts.EffectsDone, counts.EffectsOpen, counts.EffectsUnknown}
	owned, err := store.Ownerships(ctx)
	if err != nil {
		return g, err
	}
	return g, g.positions(ctx, admin, owned)
}

func (g *groupInfo) positions(ctx context.Context, admin *kadm.Client, owned []once.Ownership) error {
	var topics []string
	for _, o := range owned {
		if !slices.Contains(topics, o.Topic) {
			topics = append(topics, o.Topic)
		}
	}
	if len(topics) == 0 {
		return nil
	}
	at, err := toldOf(ctx, admin, g.Group, topics)
	if err != nil {
		return err
	}
	for _, o := range owned {
		p := at.position(o)
		g.Lag, g.HeldKeys = g.Lag+p.Lag, g.HeldKeys+p.HeldKeys
		g.LagSeconds = max(g.LagSeconds, p.LagSeconds)
		g.Partitions = append(g.Partitions, p)
	}
	return nil
}

// told is what the broker says of topics and of a group's commits.
type told struct {
	starts, ends kadm.ListedOffsets
	committed    kadm.OffsetResponses
}

func toldOf(ctx context.Context, admin *kadm.Client, group string, topics []string) (t told, err error) {
	if t.starts, err = admin.ListStartOffsets(ctx, topics...); err == nil {
		t.ends, err = admin.ListEndOffsets(ctx, topics...)
	}
	if err != nil {
		return t, fmt.Errorf("listing offsets: %w", err)
	}
	if t.committed, err = admin.FetchOffsets(ctx, group); err != nil {
		return t, fmt.Errorf("reading the commits of %s: %w", group, err)
	}
	return t, nil
}

// position is where the store stands. The time that the broker was told is that of
// another record where the store has been set back behind it.
func (t told) position(o once.Ownership) groupPosition {
	p := groupPosition{
		Topic: o.Topic, Partition: o.Partition, NextOffset: o.NextOffset, Committed: -1, Waiting: o.Waiting, Dead: o.Dead,
		HeldKeys: o.HeldKeys, UpdatedAt: o.UpdatedAt.UTC().Format(cli.MicroTime),
	}
	if end, ok := t.ends.Lookup(o.Topic, o.Partition); ok && end.Err == nil {
		p.End, p.Lag = end.Offset, max(0, end.Offset-o.NextOffset)
	}
	if start, ok := t.starts.Lookup(o.Topic, o.Partition); ok && start.Err == nil {
		p.start = start.Offset
	}
	c, ok := t.committed.Lookup(o.Topic, o.Partition)
	if !ok || c.Err != nil {
		return p
	}
	p.Committed = c.At
	if at, ok := bus.CommittedTime(c.Metadata); ok && p.Lag > 0 && c.At <= o.NextOffset {
		p.LagSeconds, p.told = max(0, time.Since(at).Seconds()), true
	}
	return p
}

// agesLeft finds the lag in time of partitions of which the broker was not told one:
// where nothing is done yet, or a person has set the store back.
func (g *groupInfo) agesLeft(ctx context.Context, client []kgo.Opt) error {
	var places []tap.Place
	for _, p := range g.Partitions {
		if p.Lag > 0 && !p.told {
			places = append(places, p.next())
		}
	}
	if len(places) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, agesWithin)
	defer cancel()
	times, err := tap.Times(ctx, client, places)
	if err != nil {
		return err
	}
	for i := range g.Partitions {
		p := &g.Partitions[i]
		if at, ok := times[p.next()]; ok && !p.told {
			p.LagSeconds = max(0, time.Since(at).Seconds())
			g.LagSeconds = max(g.LagSeconds, p.LagSeconds)
		}
	}
	return nil
}

// agesWithin bounds reading the first records that are left.
const agesWithin = 5 * time.Second

// next is the first record that is left, where its topic still has it.
func (p groupPosition) next() tap.Place {
	return tap.Place{Topic: p.Topic, Partition: p.Partition, Offset: max(p.NextOffset, p.start)}
}
