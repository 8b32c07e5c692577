// Package again holds the command by which people have done again what Kafka still
// holds: facts by a group, or deliveries by an adapter that was fixed. It reads beside
// a running process and leaves a request; the owners of the partitions carry it out.
package again

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/app/cli"
	"github.com/eventspine/spine/pkg/app/config"
	"github.com/eventspine/spine/pkg/app/rebuild"
	"github.com/eventspine/spine/pkg/app/retell"
	"github.com/eventspine/spine/pkg/app/tap"
	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/dispatch"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/once/replay"
)

// options are the flags of spine replay.
type options struct {
	group, since, until string
	facts               []string
	rate                float64
	execute, noWait     bool
	effects, backfill   bool
	list, rebuild       bool
	shadow, unmask      bool
	limit               int
	cancel              int64
	system              retell.Options
}

// Commands are the commands of this package.
func Commands(c *cli.CLI) []*cobra.Command { return []*cobra.Command{newReplayCmd(c)} }

func newReplayCmd(c *cli.CLI) *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use: "replay", Short: "Run stored facts through a group, or deliveries through an adapter, again; previews unless --execute", Args: cobra.NoArgs,
		Long: `With -g, run stored facts through a group again. What the group has not handled is handled now: it was added later, it
skipped a backfill, its store was restored. What it has handled is counted, what waits or is dead is left to
spine dlq redrive. Without --execute it shows what would be done.

The owners of the partitions carry it out, after what is live, and go on where they were after a restart. A
fact that fails stands as a dead letter that holds nothing. Nothing outside is touched (no mail is sent)
without --effects, and what came with a backfill is left out without --backfill, unless the group takes it
anyway.

With --shadow, the range is handled on a copy of the group's store that is thrown away, and what would differ is shown:
rows of its tables by primary key, facts it would publish, effects it would ask for, failures. The store, the topics
and the outside are not touched, the owners go on. Personal data is masked, as is all text in tables, without --unmask.

--since and --until: 2h, 2026-03-14, RFC 3339, start, end, or offsets as in spine tail. A range ends at what
the group has done at the moment: what is after that comes live.

With --rebuild, make the tables of a group anew: its handlers run over all that the group has handled, on a scratch
store beside the live one, and the result is swapped in, in one transaction. The group may run meanwhile, and goes
on from there. With --shadow the tables are made and compared with the live ones, and nothing is swapped in. A group
that publishes or asks for effects is refused (exit 4): its numbers would change. So is one whose facts are no longer
all in their topics.

With --system, translate the kept deliveries of a source system again, after its adapter was fixed and deployed.
The window is translated by this binary on a scratch store and compared, by event id, with what was published: new,
the same, changed. With --execute, the owners of the deliveries' partitions publish what is new, in order. Changed
content under an old id is shown field by field and refused (exit 4) unless --accept-changed names it.`,
		Example: `  spine replay -g invoicing --since 24h
  spine replay -g invoicing --since 2026-03-14 --until 2026-03-15 --facts order.placed.v2 --execute
  spine replay -g analytics --since 2h --shadow
  spine replay -g invoicing --list
  spine replay -g invoicing --cancel 3
  spine replay -g analytics --rebuild --shadow
  spine replay -g analytics --rebuild --execute
  spine replay --system shopify --since 48h
  spine replay --system shopify --since 2026-03-14 --facts refund.issued.v1 --execute --rate 200`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.system.System != "" {
				return retells(cmd.Context(), c, o)
			}
			return run(cmd.Context(), c, o)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.group, "group", "g", "", "the group")
	f.StringVar(&o.since, "since", "", "from then on")
	f.StringVar(&o.until, "until", "", "up to then (default what the group has done at the moment)")
	f.StringSliceVar(&o.facts, "facts", nil, "these facts only, such as order.placed.v2")
	f.Float64Var(&o.rate, "rate", 0, "that many records a second, per partition (default as fast as it goes)")
	f.BoolVar(&o.execute, "execute", false, "do it")
	f.BoolVar(&o.noWait, "no-wait", false, "don't wait for the end")
	f.BoolVar(&o.effects, "effects", false, "touch the outside, as live facts do")
	f.BoolVar(&o.backfill, "backfill", false, "facts of a backfill, too")
	f.BoolVar(&o.list, "list", false, "list the replays of the last 30 days")
	f.BoolVar(&o.rebuild, "rebuild", false, "make the group's tables anew, from all that it has handled")
	f.Int64Var(&o.cancel, "cancel", 0, "give up a replay, by its number; what was handled stays")
	f.BoolVar(&o.shadow, "shadow", false, "on a copy of the store, show what would differ")
	f.IntVar(&o.limit, "limit", 20, "with --shadow: show that many rows of each table, facts, effects and failures; all are counted")
	f.BoolVar(&o.unmask, "unmask", false, "with --shadow: show personal data, and text in tables")
	o.system.Flags(cmd)
	return cmd
}

// retells translates deliveries again, with the flags that both forms have.
func retells(ctx context.Context, c *cli.CLI, o options) (err error) {
	if o.group != "" || o.shadow {
		return cli.Usage("-g with its flags, or --system, not both")
	}
	now := time.Now()
	if o.system.Since, err = cli.Time("since", o.since, now); err != nil {
		return err
	}
	if o.system.Until, err = cli.Time("until", o.until, now); err != nil {
		return err
	}
	o.system.Facts, o.system.Execute, o.system.Rate = o.facts, o.execute, o.rate
	return retell.Run(ctx, c, o.system)
}

// job is one replay of a group.
type job struct {
	*cli.CLI
	options
	of     consumer.Group
	db     *once.DB
	client []kgo.Opt
	window tap.Window
	owned  []replay.Owned
}

func run(ctx context.Context, c *cli.CLI, o options) (err error) {
	j := &job{CLI: c, options: o}
	if err := j.check(); err != nil {
		return err
	}
	l, demo, err := c.LoadDemo(nil)
	if err != nil {
		return err
	}
	dbs := cli.NewStores(l)
	defer func() { err = errors.Join(err, dbs.Close()) }()
	if j.db, err = dbs.Of(ctx, o.group); err != nil {
		return err
	}
	switch {
	case o.rebuild && o.shadow:
		return j.shadowOfRebuild(ctx, l, demo)
	case o.rebuild:
		return rebuild.Run(ctx, j.rebuilding(l, demo))
	case o.list:
		return j.show(ctx)
	case o.cancel != 0:
		return j.giveUp(ctx)
	}
	if err := j.prepare(ctx, l); err != nil {
		return err
	}
	switch {
	case o.execute:
		return j.carryOut(ctx)
	case o.shadow:
		return j.inShadow(ctx, l)
	}
	return j.preview(ctx)
}

// check looks at the words before anything is opened.
func (j *job) check() (err error) {
	if j.group == "" {
		return cli.Usage("want a group, -g GROUP (see spine groups list), or --system SYSTEM")
	}
	if j.of, err = j.Fleet.Group(j.group); err != nil {
		return err
	}
	if err := j.checkShadow(); err != nil {
		return err
	}
	if j.rebuild {
		return j.checkRebuild()
	}
	if j.list || j.cancel != 0 {
		return nil
	}
	known := dispatch.Types(j.of)
	for _, fact := range j.facts {
		if !slices.Contains(known, fact) {
			return cli.Usage("--facts %s: the group %s doesn't handle it; it handles %s", fact, j.group, strings.Join(known, ", "))
		}
	}
	switch {
	case len(known) == 0:
		return cli.Usage("the group %s reads deliveries, not facts: --system translates them again", j.group)
	case j.since == "":
		return cli.Usage("want --since: 24h, 2026-03-14, start …")
	case j.rate < 0:
		return cli.Usage("--rate: want no negative number")
	}
	if j.window, err = tap.ParseRange(j.since, j.until, time.Now()); err != nil {
		return cli.Usage("--since and --until: %w", err)
	}
	return nil
}

func (j *job) checkRebuild() error {
	if j.since != "" || j.until != "" || len(j.facts) > 0 || j.rate != 0 || j.effects || j.noWait || j.list || j.cancel != 0 {
		return cli.Usage("--rebuild takes all that the group has handled, and is waited for: of the other flags it has --execute, --backfill and --shadow only")
	}
	return rebuild.Check(j.of)
}

func (o options) checkShadow() error {
	switch {
	case o.shadow && (o.execute || o.list || o.cancel != 0):
		return cli.Usage("--shadow shows what would differ: without --execute, --list and --cancel")
	case o.limit < 0:
		return cli.Usage("--limit: want no negative number")
	}
	return nil
}

func (j *job) prepare(ctx context.Context, l *config.Loaded) (err error) {
	if j.client, err = cli.Client(l); err != nil {
		return err
	}
	if j.owned, err = replay.Ownerships(ctx, j.db.DB, j.group); err != nil {
		return err
	}
	if len(j.owned) == 0 {
		return cli.Refused("the group %s has not run yet: start it first, it says where its live records begin", j.group)
	}
	return nil
}

// read resolves the window to ranges of what the group has done, and hands the records
// in them to emit; nil = the ranges alone.
func (j *job) read(ctx context.Context, emit func(part int, r *kgo.Record) error) ([]replay.Range, error) {
	var topics []string
	ranges, index := make([]replay.Range, len(j.owned)), map[string]int{}
	for i, o := range j.owned {
		if !slices.Contains(topics, o.Topic) {
			topics = append(topics, o.Topic)
		}
		ranges[i], index[place(o.Topic, o.Partition)] = replay.Range{Topic: o.Topic, Partition: o.Partition}, i
	}
	err := tap.Read(ctx, tap.Options{
		Client: j.client, Topics: topics, Window: j.window,
		Resolved: func(topic string, partition int32, from, to int64) {
			if i, ok := index[place(topic, partition)]; ok {
				ranges[i].From, ranges[i].Until = from, max(from, min(to, j.owned[i].Next))
			}
		},
	}, func(r *kgo.Record) error {
		if emit == nil {
			return tap.ErrEnough
		}
		i, ok := index[place(r.Topic, r.Partition)]
		if !ok || r.Offset >= ranges[i].Until {
			return nil
		}
		return emit(i, r)
	})
	if err != nil {
		return nil, fmt.Errorf("reading the range: %w", err)
	}
	return ranges, nil
}

func place(topic string, partition int32) string { return fmt.Sprintf("%s/%d", topic, partition) }
