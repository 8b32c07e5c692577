// Package rebuild makes the tables of a group anew beside the live ones, from all that
// it has handled, and swaps them in.
package rebuild

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/eventspine/spine/pkg/app/cli"
	"github.com/eventspine/spine/pkg/app/config"
	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/once/database"
	"github.com/eventspine/spine/pkg/once/ownership"
	"github.com/eventspine/spine/pkg/once/replay"
	"github.com/eventspine/spine/pkg/once/scratch"
)

// purpose names the scratch store of a rebuild, and its Kafka group.
const purpose = "rebuild"

// rebuilt is what a rebuild does, or did: a contract.
type rebuilt struct {
	Group      string         `json:"group"`
	Executed   bool           `json:"executed"`
	Handled    int            `json:"handled"` // events, by the new tables
	Waiting    int            `json:"waiting"`
	Dead       int            `json:"dead"`
	Tables     []rebuiltTable `json:"tables"`
	Partitions []rebuiltPart  `json:"partitions"`
	Warnings   []string       `json:"warnings"` // why the new tables may differ
}

type rebuiltTable struct {
	Table string `json:"table"`
	Live  int64  `json:"live"`  // rows, before
	Built int64  `json:"built"` // 0 in a preview
}

type rebuiltPart struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	From      int64  `json:"from"`
	Live      int64  `json:"live"`  // the live next_offset when it began
	Built     int64  `json:"built"` // up to where it is built
}

// Options say what is rebuilt, and how.
type Options struct {
	*cli.CLI
	Loaded            *config.Loaded
	Group             consumer.Group
	DB                *once.DB // the live one
	Execute, Backfill bool
	Demo              bool // the demo shops stand in for instances
}

// Check refuses a group of which a rebuild would do harm.
func Check(of consumer.Group) error {
	switch {
	case of.Name == cli.Translate:
		return cli.Refused("translate publishes facts and has no tables to rebuild: --system translates deliveries again")
	case len(of.Emits) > 0:
		names := make([]string, len(of.Emits))
		for i, fact := range of.Emits {
			names[i] = fact.EventType()
		}
		return cli.Refused("the group %s publishes %s: what it has numbered would get other numbers, and what it has published can't be taken back",
			of.Name, strings.Join(names, ", "))
	case len(of.Effects) > 0:
		names := make([]string, len(of.Effects))
		for i, e := range of.Effects {
			names[i] = e.Name
		}
		return cli.Refused("the group %s asks for effects (%s): they would be asked for again", of.Name, strings.Join(names, ", "))
	case of.Tables == nil:
		return cli.Refused("the group %s has no tables", of.Name)
	}
	return nil
}

// rebuilding is one rebuild at work.
type rebuilding struct {
	Options
	group string
	admin *kadm.Client
	parts []scratch.Part
	done  rebuilt
}

// Run makes the group's tables anew beside the live ones, and swaps them in. Without
// Execute it says what it would do.
func Run(ctx context.Context, o Options) error {
	return within(ctx, o, func(r *rebuilding) error {
		if err := r.beside(ctx); err != nil {
			return err
		}
		return r.show()
	})
}

// Doubts refuses a group whose tables can't be made again, and names why they may
// differ.
func Doubts(ctx context.Context, o Options) (all []string, err error) {
	err = within(ctx, o, func(r *rebuilding) error {
		all = r.done.Warnings
		return nil
	})
	return all, err
}

// within gives fn a rebuild that is planned.
func within(ctx context.Context, o Options, fn func(*rebuilding) error) error {
	admin, err := cli.Admin(o.Loaded)
	if err != nil {
		return err
	}
	defer admin.Close()
	r := &rebuilding{Options: o, group: o.Group.Name, admin: admin, done: rebuilt{
		Group: o.Group.Name, Executed: o.Execute, Tables: []rebuiltTable{}, Partitions: []rebuiltPart{}, Warnings: []string{},
	}}
	if err := r.plan(ctx); err != nil {
		return err
	}
	return fn(r)
}

// plan finds the ranges, whether their facts are all there, and what may differ.
func (r *rebuilding) plan(ctx context.Context) (err error) {
	if r.parts, err = scratch.Parts(ctx, r.DB, r.group); err != nil {
		return err
	}
	if len(r.parts) == 0 {
		return cli.Refused("the group %s has not run yet: there is nothing to rebuild", r.group)
	}
	var topics []string
	for _, p := range r.parts {
		topics = append(topics, p.Topic)
		r.done.Partitions = append(r.done.Partitions, rebuiltPart{p.Topic, p.Partition, p.From, p.Next, p.From})
	}
	starts, err := r.admin.ListStartOffsets(ctx, slices.Compact(topics)...)
	if err != nil {
		return fmt.Errorf("asking for the offsets: %w", err)
	}
	if err := remembered(r.group, r.parts, starts); err != nil {
		return err
	}
	return r.doubts(ctx)
}

// remembered refuses a group whose facts are no longer all in their topics.
func remembered(group string, parts []scratch.Part, starts kadm.ListedOffsets) error {
	var gone []string
	for _, p := range parts {
		start, ok := starts.Lookup(p.Topic, p.Partition)
		if !ok || start.Err != nil {
			return fmt.Errorf("asking for the offsets of %s/%d: %w", p.Topic, p.Partition, cmp.Or(start.Err, errors.New("there is no such partition")))
		}
		if p.From < min(start.Offset, p.Next) {
			gone = append(gone, fmt.Sprintf("%s/%d: %d to %d", p.Topic, p.Partition, p.From, min(start.Offset, p.Next)-1))
		}
	}
	if len(gone) > 0 { // promise: not lost
		return cli.Refused("facts that %s has handled are no longer in their topics, so that what they left in its tables can't be made again: %s",
			group, strings.Join(gone, "; "))
	}
	return nil
}

// doubts names what people did to the group that a rebuild doesn't repeat.
func (r *rebuilding) doubts(ctx context.Context) error {
	if r.Demo {
		r.done.Warnings = append(r.done.Warnings, "the configuration names no instance: the demo shops are taken")
	}
	resets, err := ownership.Resets(ctx, r.DB.DB, r.group)
	if err != nil {
		return err
	}
	for _, x := range resets {
		if x.To > x.From {
			r.done.Warnings = append(r.done.Warnings, fmt.Sprintf("%s/%d: offsets %d to %d, which a reset passed over, are handled", x.Topic, x.Partition, x.From, x.To-1))
		}
	}
	replays, err := replay.List(ctx, r.DB.DB, r.group, 0)
	if err != nil {
		return err
	}
	if !r.Backfill && !r.Group.Backfill && slices.ContainsFunc(replays, func(p replay.Part) bool { return p.Backfill && p.Counts.Handled > 0 }) {
		r.done.Warnings = append(r.done.Warnings, "facts of a backfill, which a replay has handled, are left out without --backfill")
	}
	var dropped int
	err = r.DB.SQL().QueryRowContext(ctx, `SELECT COUNT(*) FROM spine_dropped WHERE group_name = $1`, r.group).Scan(&dropped)
	if err != nil {
		return fmt.Errorf("counting what was given up: %w", database.Available(err))
	}
	if dropped > 0 {
		r.done.Warnings = append(r.done.Warnings, fmt.Sprintf("%d facts that were given up are tried again", dropped))
	}
	return nil
}

// count notes how many rows each table has in a store.
func (r *rebuilding) count(ctx context.Context, db *once.DB, tables []scratch.Table, note func(*rebuiltTable, int64)) error {
	for _, t := range tables {
		var n int64
		if err := db.SQL().QueryRowContext(ctx, `SELECT COUNT(*) FROM `+t.Quoted()).Scan(&n); err != nil {
			return fmt.Errorf("counting the rows of %s: %w", t.Name, database.Available(err))
		}
		i := slices.IndexFunc(r.done.Tables, func(x rebuiltTable) bool { return x.Table == t.Name })
		if i < 0 {
			i, r.done.Tables = len(r.done.Tables), append(r.done.Tables, rebuiltTable{Table: t.Name})
		}
		note(&r.done.Tables[i], n)
	}
	return nil
}

func (r *rebuilding) show() error {
	err := r.Print(r.done, func(w *cli.Table) {
		w.Row("TOPIC", "PARTITION", "FROM", "LIVE", "BUILT")
		for _, p := range r.done.Partitions {
			w.Row(p.Topic, p.Partition, p.From, p.Live, p.Built)
		}
		for _, t := range r.done.Tables {
			if r.Execute {
				w.Line("%s: %d rows, %d before", t.Table, t.Built, t.Live)
			} else {
				w.Line("%s: %d rows, to be made again", t.Table, t.Live)
			}
		}
		if !r.Execute {
			return
		}
		w.Line("%s is rebuilt: %d events handled, %d wait, %d are dead", r.group, r.done.Handled, r.done.Waiting, r.done.Dead)
	})
	if err != nil || !r.People() {
		return err
	}
	r.Warn(r.done.Warnings)
	if !r.Execute {
		fmt.Fprintln(r.Stderr, "spine: a preview, nothing was changed; --execute does it")
	}
	return nil
}

// offsets of all partitions that a store has done since their beginning, of those that
// are to be done; reached = all.
func progressOf(parts, built []scratch.Part) (n, of int64, reached bool) {
	reached = true
	for _, want := range parts {
		of += want.Next - want.From
		i := slices.IndexFunc(built, func(p scratch.Part) bool { return p.Topic == want.Topic && p.Partition == want.Partition })
		if i >= 0 {
			n += min(built[i].Next, want.Next) - want.From
		}
		reached = reached && (i >= 0 && built[i].Next >= want.Next)
	}
	return n, of, reached
}
