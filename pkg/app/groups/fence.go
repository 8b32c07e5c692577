package groups

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/eventspine/spine/pkg/app/cli"
	"github.com/eventspine/spine/pkg/once"
)

// fencedGroup is what fence did to a group: a contract.
type fencedGroup struct {
	Group      string `json:"group"`
	Ownerships int    `json:"ownerships"` // partitions that have a fresh epoch
}

func (a commands) newFenceCmd() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use: "fence [GROUP]", Short: "After a restore: fresh epochs, so that nobody goes on from what the store forgot", Args: cobra.MaximumNArgs(1),
		Long: `Give every partition of a group, or of all groups, a fresh epoch in the store, before clients are let in after a
restore. Whoever still works on the state from before can write nothing any more, and a process that runs the group
starts over from what the store says. It is safe at any time: what is in flight is repeated.`,
		RunE: func(cmd *cobra.Command, words []string) error { return a.fence(cmd.Context(), words, yes) },
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "don't ask")
	return cmd
}

func (a commands) fence(ctx context.Context, names []string, yes bool) (err error) {
	if len(names) == 0 {
		names = a.Fleet.GroupNames()
	} else if _, err := a.Fleet.Group(names[0]); err != nil {
		return err
	}
	l, err := a.Load(nil)
	if err != nil {
		return err
	}
	dbs := cli.NewStores(l)
	defer func() { err = errors.Join(err, dbs.Close()) }()
	fenced, partitions := []fencedGroup{}, 0
	stores := map[string]*once.Store{}
	for _, name := range names {
		db, err := dbs.Restored(ctx, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		stores[name] = db.Store(name)
		owned, err := stores[name].Ownerships(ctx)
		if err != nil {
			return err
		}
		if len(owned) > 0 {
			fenced, partitions = append(fenced, fencedGroup{Group: name, Ownerships: len(owned)}), partitions+len(owned)
			fmt.Fprintf(a.Stderr, "%s: %d partitions\n", name, len(owned))
		}
	}
	if partitions == 0 {
		return errors.New("nothing to fence: none of the groups has run on this store")
	}
	if err := a.Confirm(yes, fmt.Sprintf("give %d partitions of %d groups fresh epochs", partitions, len(fenced))); err != nil {
		return err
	}
	for i, g := range fenced {
		if fenced[i].Ownerships, err = stores[g.Group].Fence(ctx); err != nil {
			return err
		}
	}
	return a.Print(fenced, func(w *cli.Table) {
		w.Row("GROUP", "FENCED")
		for _, g := range fenced {
			w.Row(g.Group, g.Ownerships)
		}
	})
}
