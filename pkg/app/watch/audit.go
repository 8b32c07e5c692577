package watch

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/eventspine/spine/pkg/app/books"
	"github.com/eventspine/spine/pkg/app/cli"
	"github.com/eventspine/spine/pkg/app/config"
	"github.com/eventspine/spine/pkg/intake"
	"github.com/eventspine/spine/pkg/topic"
)

func (a commands) newAuditCmd() *cobra.Command {
	var group, since string
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "The books of the backbone: deliveries → facts → effects, by id; exits 3 when they don't balance",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			from, err := cli.Time("since", since, time.Now())
			if err != nil {
				return err
			}
			l, err := a.Load(nil)
			if err != nil {
				return err
			}
			if group != "" {
				if _, err := a.Fleet.Group(group); err != nil {
					return err
				}
			}
			stock, err := Stock(cmd.Context(), a.CLI, l, from)
			if err != nil {
				return err
			}
			if group != "" {
				stock.Groups = slices.DeleteFunc(stock.Groups, func(g books.Group) bool { return g.Name != group })
			}
			result := books.Balance(stock)
			if err := a.Print(result, func(w *cli.Table) { ShowBooks(w, result, a.Wide()) }); err != nil {
				return err
			}
			if !result.Balanced {
				return &cli.ExitError{Code: cli.ExitDrift}
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&group, "group", "g", "", "one group only")
	cmd.Flags().StringVar(&since, "since", "", "records since then: 2h, 2026-03-14 or RFC 3339")
	return cmd
}

// Stock collects the books of the fleet.
func Stock(ctx context.Context, a *cli.CLI, l *config.Loaded, since time.Time) (_ books.Stock, err error) {
	client, err := cli.Client(l)
	if err != nil {
		return books.Stock{}, err
	}
	_, topics, err := a.Fleet.Contracts()
	if err != nil {
		return books.Stock{}, err
	}
	codec, err := cli.Codec(l)
	if err != nil {
		return books.Stock{}, err
	}
	o := books.Options{Client: client, Codec: codec, Since: since, Topics: factTopics(topics)}
	for _, system := range a.Fleet.Systems() {
		o.Raw = append(o.Raw, topic.RawName(system))
	}
	dbs := cli.NewStores(l)
	defer func() { err = errors.Join(err, dbs.Close()) }()
	if o.Translate, err = source(ctx, a, dbs, cli.Translate); err != nil {
		return books.Stock{}, err
	}
	for _, g := range a.Fleet.Groups {
		src, err := source(ctx, a, dbs, g.Name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it has never run
		}
		if err != nil {
			return books.Stock{}, err
		}
		if set := l.Groups[g.Name]; set != nil {
			src.AtLeastOnce = set.AtLeastOnce
		}
		o.Groups = append(o.Groups, src)
	}
	stock, err := books.Collect(ctx, o)
	if err != nil {
		return books.Stock{}, err
	}
	spooled, err := intake.Spooled(ctx, l.Intake.Spool)
	stock.Spooled = map[string]bool{}
	for _, id := range spooled {
		stock.Spooled[id] = true
	}
	return stock, err
}

func factTopics(topics *topic.Set) []string {
	var names []string
	for _, s := range topics.Specs() {
		names = append(names, s.Name)
	}
	return names
}

func source(ctx context.Context, a *cli.CLI, dbs *cli.Stores, name string) (books.Source, error) {
	g, err := a.Fleet.Group(name)
	if err != nil {
		return books.Source{}, err
	}
	db, err := dbs.Of(ctx, name)
	return books.Source{Group: g, DB: db}, err
}

// ShowBooks shows the books to people; without all, facts that are not in the stream
// are left out.
func ShowBooks(w *cli.Table, r books.Result, all bool) {
	w.Row("SYSTEM", "INSTANCE", "ACCEPTED", "TRANSLATED", "NO FACT", "DEAD", "DROPPED", "SKIPPED", "MISSING", "PENDING")
	for _, d := range r.Deliveries {
		w.Row(d.System, d.Instance, d.Accepted, d.Translated, d.NoFact, d.Dead, d.Dropped, d.Skipped, d.Missing, d.Pending)
	}
	w.Line("")
	w.Row("GROUP", "FACT", "IN STREAM", "HANDLED", "PARKED", "DEAD", "DROPPED", "SKIPPED", "MISSING", "DOUBLED", "PENDING")
	for _, row := range r.Rows {
		if row.InStream == 0 && !all {
			continue
		}
		w.Row(row.Group, row.Fact, row.InStream, row.Handled, row.Parked, row.Dead, row.Dropped, row.Skipped, row.Missing, row.Doubled, row.Pending)
	}
	w.Line("")
	showEffects(w, r.Effects)
	if r.Spooled > 0 {
		w.Line("%d deliveries wait in the spool", r.Spooled)
	}
	for i, row := range r.Rows {
		if row.AtLeastOnce && (i == 0 || r.Rows[i-1].Group != row.Group) {
			w.Line("%s runs at least once: handled is what it went past, what it handled again can't be seen", row.Group)
		}
	}
	for _, f := range r.Findings {
		w.Line("! %s", f)
	}
	verdict := "the books balance"
	if !r.Balanced {
		verdict = "THE BOOKS DO NOT BALANCE"
	}
	w.Line("%s: lost %d, doubled %d, phantom %d, out of order %d", verdict, r.Totals.Lost, r.Totals.Doubled, r.Totals.Phantom, r.Totals.OutOfOrder)
}

func showEffects(w *cli.Table, effects []books.EffectRow) {
	if len(effects) == 0 {
		return
	}
	w.Row("GROUP", "EFFECTS DONE", "OPEN", "UNKNOWN", "DROPPED")
	for _, e := range effects {
		w.Row(e.Group, e.Done, e.Open, e.Unknown, e.Dropped)
	}
	w.Line("")
	for _, e := range effects {
		if e.Unknown > 0 {
			w.Line("the outcome of %d effects of %s is not known, a person decides: spine parked list -g %s", e.Unknown, e.Group, e.Group)
		}
	}
}
