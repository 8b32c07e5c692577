package operate

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/eventspine/spine/pkg/app/cli"
	"github.com/eventspine/spine/pkg/dispatch/fault"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/once/request"
)

// maxRedriven is how often a row is redriven before it is quarantined: a redrive that
// never helps goes in circles.
const maxRedriven = 5

// deadKind are the dead letters of one fingerprint: a contract.
type deadKind struct {
	Fingerprint string  `json:"fingerprint"`
	Class       string  `json:"class"`
	Reason      string  `json:"reason"` // of the first one
	Count       int     `json:"count"`
	Keys        int     `json:"held_keys"`
	Quarantined int     `json:"quarantined"`
	First       string  `json:"first"`
	Last        string  `json:"last"`
	Rows        []int64 `json:"rows"`
}

func (a commands) newDLQCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "dlq", Short: "Dead letters of one group: what failed, why, and the way back", Args: cobra.NoArgs, RunE: cli.Help}
	cmd.AddCommand(a.newDLQListCmd(), a.newShowRowCmd("Show a dead letter and why it is one; personal data is masked"), a.newRedriveCmd())
	return cmd
}

func (a commands) newDLQListCmd() *cobra.Command {
	var group string
	var w where
	cmd := &cobra.Command{
		Use: "list", Short: "List the dead letters of a group by fingerprint", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			kinds := []*deadKind{}
			err := a.withRoom(cmd.Context(), group, func(ctx context.Context, r room) error {
				rows, err := r.rows(ctx, once.RowFilter{State: once.Dead})
				if err == nil {
					rows, err = r.matching(ctx, rows, w)
				}
				kinds = deadKinds(rows)
				return err
			})
			if err != nil && !neverRan(err) {
				return err
			}
			return a.Print(kinds, func(w *cli.Table) {
				w.Row("FINGERPRINT", "COUNT", "CLASS", "FIRST", "LAST", "HELD KEYS", "QUARANTINED", "FIRST ROW", "REASON")
				for _, k := range kinds {
					w.Row(k.Fingerprint, k.Count, k.Class, k.First, k.Last, k.Keys, k.Quarantined, k.Rows[0], clipped(k.Reason, a.Wide()))
				}
			})
		},
	}
	cmd.Flags().StringVarP(&group, "group", "g", "", "the group")
	w.flags(cmd)
	return cmd
}

// deadKinds counts dead rows by fingerprint, in the order of the first of each.
func deadKinds(rows []once.Row) []*deadKind {
	kinds := []*deadKind{}
	known := map[string]*deadKind{}
	for _, row := range rows {
		id := fault.Fingerprint(row.Class, row.Reason)
		k := known[id]
		if k == nil {
			k = &deadKind{Fingerprint: id, Class: row.Class, Reason: row.Reason, First: microTime(row.LastFailed), Rows: []int64{}}
			known[id], kinds = k, append(kinds, k)
		}
		k.Count++
		k.Rows = append(k.Rows, row.ID)
		at := microTime(row.LastFailed)
		k.First, k.Last = min(k.First, at), max(k.Last, at)
		if row.Holds {
			k.Keys++
		}
		if row.Redriven >= maxRedriven {
			k.Quarantined++
		}
	}
	return kinds
}

// redriving selects dead rows, and says what to do with them.
type redriving struct {
	group, fingerprint, key string
	ids                     []int64
	limit                   int
	rate                    float64
	execute, force          bool
	where                   where
}

// redriveResult is what redrive shows: a contract.
type redriveResult struct {
	Group    string   `json:"group"`
	Executed bool     `json:"executed"`
	Rows     []answer `json:"rows"`
}

func (a commands) newRedriveCmd() *cobra.Command {
	var o redriving
	cmd := &cobra.Command{
		Use: "redrive", Short: "Have dead letters handled again, by this group alone; previews unless --execute", Args: cobra.NoArgs,
		Long: `Have dead letters handled again, by this group alone: each revives where it stands, before the later events of
its key, and the handler sees the original record. Without --execute it shows what would be done.

One that was redriven ` + strconv.Itoa(maxRedriven) + ` times is quarantined: it is left alone without --force.`,
		Example: `  spine dlq redrive -g invoicing
  spine dlq redrive -g invoicing --fingerprint 5f0c1a2b3c4d --execute --rate 20
  spine dlq redrive -g invoicing --where 'event.source == "shopify/uk" && reason.contains("tax")' --execute`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.limit < 0 || o.rate < 0 {
				return cli.Usage("--limit and --rate: want no negative number")
			}
			return a.withRoom(cmd.Context(), o.group, func(ctx context.Context, r room) error { return r.redrive(ctx, o) })
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.group, "group", "g", "", "the group")
	f.Int64SliceVar(&o.ids, "id", nil, "these rows only")
	f.StringVar(&o.fingerprint, "fingerprint", "", "dead letters of this fingerprint only")
	f.StringVar(&o.key, "key", "", "dead letters of this record key only")
	f.IntVar(&o.limit, "limit", 0, "that many, the oldest first (default all)")
	f.Float64Var(&o.rate, "rate", 0, "that many a second (default as fast as it goes)")
	o.where.flags(cmd)
	f.BoolVar(&o.execute, "execute", false, "do it")
	f.BoolVar(&o.force, "force", false, "quarantined ones, too")
	return cmd
}

// chosen are the dead rows that the flags select, by id: in the order of their keys.
func (r room) chosen(ctx context.Context, o redriving) ([]once.Row, error) {
	filter := once.RowFilter{State: once.Dead}
	if o.key != "" {
		filter.Key = []byte(o.key)
	}
	rows, err := r.rows(ctx, filter)
	if err != nil {
		return nil, err
	}
	for _, id := range o.ids {
		if !slices.ContainsFunc(rows, func(row once.Row) bool { return row.ID == id }) {
			return nil, cli.Usage("group %s has no such dead row %d", r.group, id)
		}
	}
	rows = slices.DeleteFunc(rows, func(row once.Row) bool {
		return len(o.ids) > 0 && !slices.Contains(o.ids, row.ID) ||
			o.fingerprint != "" && fault.Fingerprint(row.Class, row.Reason) != o.fingerprint
	})
	if rows, err = r.matching(ctx, rows, o.where); err != nil {
		return nil, err
	}
	if o.limit > 0 && len(rows) > o.limit {
		rows = rows[:o.limit]
	}
	return rows, nil
}

func (r room) redrive(ctx context.Context, o redriving) error {
	rows, err := r.chosen(ctx, o)
	if err != nil {
		return err
	}
	result := redriveResult{Group: r.group, Executed: o.execute, Rows: []answer{}}
	var chosen []once.Row
	for _, row := range rows {
		if row.Redriven >= maxRedriven && !o.force {
			result.Rows = append(result.Rows, answerOf(row, resultQuarantined))
			continue
		}
		chosen = append(chosen, row)
	}
	quarantined := len(result.Rows)
	if o.execute {
		answers, err := r.ask(ctx, request.Redrive, chosen, o.rate)
		if err != nil {
			return err
		}
		result.Rows = append(result.Rows, answers...)
	} else {
		for _, row := range chosen {
			result.Rows = append(result.Rows, answerOf(row, resultPlanned))
		}
	}
	slices.SortFunc(result.Rows, func(a, b answer) int { return cmp.Compare(a.Row, b.Row) })
	if err := r.showRedriven(result); err != nil {
		return err
	}
	if quarantined > 0 && len(chosen) == 0 {
		return cli.Refused("redriven %d times already, which did not help: mend the fault, then use --force, or spine parked drop", maxRedriven)
	}
	return nil
}

func (r room) showRedriven(result redriveResult) error {
	err := r.Print(result, func(w *cli.Table) {
		w.Row("ROW", "FINGERPRINT", "KEY", "RECORD", "REDRIVEN", "RESULT", "REASON")
		for _, a := range result.Rows {
			w.Row(a.Row, a.Fingerprint, a.Key, fmt.Sprintf("%s/%d@%d", a.Topic, a.Partition, a.Offset), a.Redriven, a.Result, clipped(a.Reason, r.Wide()))
		}
	})
	if err == nil && !result.Executed && r.People() {
		fmt.Fprintln(r.Stderr, "spine: a preview, nothing was changed; --execute does it")
	}
	return err
}
