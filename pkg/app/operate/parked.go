package operate

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/eventspine/spine/pkg/app/cli"
	"github.com/eventspine/spine/pkg/app/show"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/once/request"
)

// parkedKey is a key that waits, or a record that waits alone: a contract.
type parkedKey struct {
	Group     string `json:"group"`
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Key       string `json:"key"`
	Row       int64  `json:"row"`    // of the head
	State     string `json:"state"`  // of the head: wait or dead
	Behind    int    `json:"behind"` // rows that wait behind the head
	Class     string `json:"class"`
	Reason    string `json:"reason"`
	Attempts  int    `json:"attempts"`
	Redriven  int    `json:"redriven"`
	Since     string `json:"since,omitempty"`
	NextTry   string `json:"next_try,omitempty"`
}

func (a commands) newParkedCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "parked", Short: "What waits: keys, each alone with its later events behind it, and calls to the outside", Args: cobra.NoArgs, RunE: cli.Help}
	show := a.newShowRowCmd("Show a row that waits and its record, or an effect; personal data is masked")
	show.Use = "show ROW | EFFECT"
	cmd.AddCommand(a.newParkedListCmd(), show, a.newParkedRetryCmd(), a.newParkedDropCmd())
	return cmd
}

func (a commands) newParkedListCmd() *cobra.Command {
	var group string
	var w where
	cmd := &cobra.Command{
		Use: "list", Short: "List the keys and effects that wait, and how full the waiting rooms are", Args: cobra.NoArgs,
		Long: `List the keys that wait, each by the row of its head; the effects (calls to the outside) that failed and wait to
be called again, or whose outcome a person has to decide on (unknown); and how full the waiting rooms are. A full
room pauses the partitions of its group.

--where sees the head of a key, what failed and why. Effects have no record: with a condition they are left out.`,
		Example: `  spine parked list -g invoicing
  spine parked list --where 'event.source == "shopify/uk" && attempts > 3'`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			groups := a.Fleet.GroupNames()
			if group != "" {
				groups = []string{group}
			}
			p := parked{Keys: []parkedKey{}, Effects: []parkedEffect{}, Rooms: []parkedRoom{}}
			for _, g := range groups {
				err := a.withRoom(cmd.Context(), g, func(ctx context.Context, r room) error {
					return r.parked(ctx, w, &p)
				})
				if err != nil && !neverRan(err) {
					return err
				}
			}
			return a.Print(p, func(w *cli.Table) { p.show(w, a.Wide()) })
		},
	}
	cmd.Flags().StringVarP(&group, "group", "g", "", "one group only")
	w.flags(cmd)
	return cmd
}

// parked is what waits: a contract.
type parked struct {
	Keys    []parkedKey    `json:"keys"`
	Effects []parkedEffect `json:"effects"`
	Rooms   []parkedRoom   `json:"rooms"`
}

// parkedRoom is how full a waiting room is of what waits or is dead.
type parkedRoom struct {
	Group string `json:"group"`
	Rows  int64  `json:"rows"`
	Bytes int64  `json:"bytes"`
	Limit int64  `json:"limit"` // bytes
}

func (p parked) show(w *cli.Table, wide bool) {
	w.Row("GROUP", "KEY", "STATE", "ROW", "BEHIND", "CLASS", "ATTEMPTS", "SINCE", "NEXT TRY", "REASON")
	for _, k := range p.Keys {
		w.Row(k.Group, k.Key, k.State, k.Row, k.Behind, k.Class, k.Attempts, k.Since, k.NextTry, clipped(k.Reason, wide))
	}
	w.Line("")
	if len(p.Effects) > 0 {
		w.Row("GROUP", "EFFECT", "NAME", "KEY", "STATE", "ATTEMPTS", "SINCE", "NEXT TRY", "REASON")
		for _, e := range p.Effects {
			w.Row(e.Group, e.Effect, e.Name, e.Key, e.State, e.Attempts, e.Since, e.NextTry, clipped(e.Reason, wide))
		}
		w.Line("")
	}
	w.Row("GROUP", "WAITING ROOM ROWS", "BYTES", "LIMIT")
	for _, r := range p.Rooms {
		w.Row(r.Group, r.Rows, r.Bytes, r.Limit)
	}
}

// parked adds what waits of a group.
func (r room) parked(ctx context.Context, w where, p *parked) error {
	keys, err := r.keys(ctx, w)
	if err != nil {
		return err
	}
	var effects []parkedEffect
	if w.condition == "" {
		if effects, err = r.failing(ctx); err != nil {
			return err
		}
	}
	size, err := r.store.Room(ctx)
	p.Keys, p.Effects = append(p.Keys, keys...), append(p.Effects, effects...)
	p.Rooms = append(p.Rooms, parkedRoom{Group: r.group, Rows: size.Rows, Bytes: size.Bytes, Limit: int64(r.limit)})
	return err
}

// keys lists the keys of a group that wait and for whose heads the condition holds. Dead
// rows that hold no key are dead letters only.
func (r room) keys(ctx context.Context, w where) ([]parkedKey, error) {
	rows, err := r.rows(ctx, once.RowFilter{})
	if err != nil {
		return nil, err
	}
	type place struct {
		topic     string
		partition int32
		key       string
	}
	var heads []once.Row
	headOf, behind := map[place]int64{}, map[int64]int{}
	for _, row := range rows { // by id: the first one of a key is its head
		p := place{row.Record.Topic, row.Record.Partition, string(row.Record.Key)}
		if row.Holds {
			if head, known := headOf[p]; known {
				behind[head]++
				continue
			}
			headOf[p] = row.ID
		} else if row.State == once.Dead {
			continue
		}
		heads = append(heads, row)
	}
	if heads, err = r.matching(ctx, heads, w); err != nil {
		return nil, err
	}
	keys := make([]parkedKey, len(heads))
	for i, row := range heads {
		keys[i] = parkedKey{
			Group: r.group, Topic: row.Record.Topic, Partition: row.Record.Partition, Key: show.Printable(row.Record.Key),
			Row: row.ID, State: string(row.State), Behind: behind[row.ID],
			Class: row.Class, Reason: row.Reason, Attempts: row.Attempts, Redriven: row.Redriven,
			Since: microTime(row.FirstFailed), NextTry: nextTry(row),
		}
	}
	return keys, nil
}

func (a commands) newShowRowCmd(short string) *cobra.Command {
	var group string
	var unmask bool
	cmd := &cobra.Command{
		Use: "show ROW", Short: short, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, words []string) error {
			if ofEffects(words) {
				return a.showEffect(cmd.Context(), group, words[0], unmask)
			}
			return a.showRow(cmd.Context(), group, words[0], unmask)
		},
	}
	cmd.Flags().StringVarP(&group, "group", "g", "", "the group")
	cmd.Flags().BoolVar(&unmask, "unmask", false, "show personal data")
	return cmd
}

func (a commands) newParkedRetryCmd() *cobra.Command {
	var group, key string
	cmd := &cobra.Command{
		Use: "retry [ROW... | EFFECT...]", Short: "Try waiting heads now, their attempts counted anew; call effects again, with their keys",
		RunE: func(cmd *cobra.Command, words []string) error {
			if len(words) == 0 == (key == "") {
				return cli.Usage("want the rows of heads, effects, or --key")
			}
			if ofEffects(words) {
				return a.withRoom(cmd.Context(), group, func(ctx context.Context, r room) error {
					effects, err := r.effects(ctx, words)
					if err != nil {
						return err
					}
					return r.decide(ctx, request.Retry, effects)
				})
			}
			return a.withRoom(cmd.Context(), group, func(ctx context.Context, r room) error {
				rows, err := r.named(ctx, words)
				if key != "" {
					rows, err = r.headsOf(ctx, key)
				}
				if err != nil {
					return err
				}
				for _, row := range rows {
					if row.State == once.Dead {
						return cli.Refused("row %d is dead: spine dlq redrive -g %s --id %d", row.ID, group, row.ID)
					}
				}
				answers, err := r.ask(ctx, request.Retry, rows, 0)
				if err != nil {
					return err
				}
				return r.showAnswers(answers)
			})
		},
	}
	cmd.Flags().StringVarP(&group, "group", "g", "", "the group")
	cmd.Flags().StringVar(&key, "key", "", "the head of this record key")
	return cmd
}

// headsOf are the heads of a key, one per topic and partition.
func (r room) headsOf(ctx context.Context, key string) ([]once.Row, error) {
	rows, err := r.rows(ctx, once.RowFilter{Key: []byte(key)})
	if err != nil {
		return nil, err
	}
	type place struct {
		topic     string
		partition int32
	}
	seen := map[place]bool{}
	var heads []once.Row
	for _, row := range rows {
		if p := (place{row.Record.Topic, row.Record.Partition}); !seen[p] || !row.Holds {
			seen[p] = seen[p] || row.Holds
			heads = append(heads, row)
		}
	}
	if len(heads) == 0 {
		return nil, cli.Usage("no record of key %s waits in group %s", key, r.group)
	}
	return heads, nil
}

func (r room) named(ctx context.Context, words []string) ([]once.Row, error) {
	rows := make([]once.Row, len(words))
	for i, word := range words {
		var err error
		if rows[i], err = r.row(ctx, word); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

func (a commands) newParkedDropCmd() *cobra.Command {
	var group string
	var yes bool
	cmd := &cobra.Command{
		Use: "drop ROW... | EFFECT...", Short: "Remove waiting or dead rows for good, their successors go on; give effects up",
		Args: cli.AtLeast(1, "the rows or effects"),
		Long: `Remove waiting or dead rows for good; their successors go on. The group never handles these records, and
spine audit counts them as dropped from then on.

An effect that is given up is not called any more, and what its group writes when it is done is not written.`,
		RunE: func(cmd *cobra.Command, words []string) error {
			if ofEffects(words) {
				return a.withRoom(cmd.Context(), group, func(ctx context.Context, r room) error { return r.giveUp(ctx, words, yes) })
			}
			return a.withRoom(cmd.Context(), group, func(ctx context.Context, r room) error {
				rows, err := r.named(ctx, words)
				if err != nil {
					return err
				}
				for _, row := range rows {
					fmt.Fprintf(a.Stderr, "row %d: %s/%d@%d, key %s, event %s, %s: %s\n", row.ID, row.Record.Topic, row.Record.Partition,
						row.Record.Offset, show.Printable(row.Record.Key), row.EventID, row.State, row.Reason)
				}
				if err := a.Confirm(yes, fmt.Sprintf("drop %d of %s for good", len(rows), group)); err != nil {
					return err
				}
				answers, err := r.ask(ctx, request.Drop, rows, 0)
				if err != nil {
					return err
				}
				return r.showAnswers(answers)
			})
		},
	}
	cmd.Flags().StringVarP(&group, "group", "g", "", "the group")
	cmd.Flags().BoolVar(&yes, "yes", false, "don't ask")
	return cmd
}
