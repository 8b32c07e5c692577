package groups

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/eventspine/spine/pkg/app/cli"
	"github.com/eventspine/spine/pkg/app/config"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/once/ownership"
)

// deletedGroup is what delete did: a contract.
type deletedGroup struct {
	Group   string            `json:"group"`
	Kafka   string            `json:"kafka"`   // state at the broker before; Dead = it was not there
	Offsets int               `json:"offsets"` // partitions with an offset at the broker
	Store   []ownership.Table `json:"store"`   // rows; empty without --store
}

func (a commands) newDeleteCmd() *cobra.Command {
	var store, yes bool
	cmd := &cobra.Command{
		Use: "delete GROUP", Short: "Delete a group at the broker, and with --store all that its store knows", Args: cobra.ExactArgs(1),
		Long: `Delete a group at the broker: its offsets there are for lag tools only, and come back when it runs again.

With --store also all that its store knows of it: where it stands, what it has handled, what waits, is dead or is on its
way out. After that the group is new: it begins at its start, and handles what it had handled before AGAIN. The tables
of its own stay. Refused while a process runs the group.`,
		RunE: func(cmd *cobra.Command, words []string) error {
			if _, err := a.Fleet.Group(words[0]); err != nil {
				return err
			}
			return a.WithAdmin(cmd.Context(), func(ctx context.Context, l *config.Loaded, admin *kadm.Client) error {
				return a.deleteGroup(ctx, l, admin, deletion{words[0], store, yes})
			})
		},
	}
	cmd.Flags().BoolVar(&store, "store", false, "what its store knows, too")
	cmd.Flags().BoolVar(&yes, "yes", false, "don't ask")
	return cmd
}

type deletion struct {
	group      string
	store, yes bool
}

func (a commands) deleteGroup(ctx context.Context, l *config.Loaded, admin *kadm.Client, d deletion) (err error) {
	described, err := admin.DescribeGroups(ctx, d.group)
	if err != nil {
		return fmt.Errorf("describing the group: %w", err)
	}
	at := described[d.group]
	if n := len(at.Members); n > 0 {
		return cli.Refused("%d members run %s: stop them first", n, d.group)
	}
	result := deletedGroup{Group: d.group, Kafka: at.State, Store: []ownership.Table{}}
	if offsets, err := admin.FetchOffsets(ctx, d.group); err == nil {
		result.Offsets = len(offsets.Sorted())
	}
	dbs := cli.NewStores(l)
	defer func() { err = errors.Join(err, dbs.Close()) }()
	var db *once.DB
	if d.store {
		db, err = dbs.Of(ctx, d.group)
		if err == nil {
			result.Store, err = ownership.Count(ctx, db.DB, d.group)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	fmt.Fprintf(a.Stderr, "at the broker: %d offsets, state %s\n", result.Offsets, result.Kafka)
	for _, t := range result.Store {
		fmt.Fprintf(a.Stderr, "in the store: %s, %d rows\n", t.Name, t.Rows)
	}
	if err := a.ConfirmName(d.yes, "delete this for good", d.group); err != nil {
		return err
	}
	if err := deleteAtBroker(ctx, admin, d.group); err != nil { // first: it refuses a group that somebody has joined since
		return err
	}
	if db != nil {
		if result.Store, err = ownership.Delete(ctx, db.DB, d.group); err != nil {
			return err
		}
	}
	return a.Print(result, func(w *cli.Table) {
		w.Row("WHAT", "DELETED")
		w.Row("offsets at the broker", result.Offsets)
		for _, t := range result.Store {
			w.Row(t.Name, t.Rows)
		}
	})
}

func deleteAtBroker(ctx context.Context, admin *kadm.Client, group string) error {
	gone, err := admin.DeleteGroup(ctx, group)
	if err == nil {
		err = gone.Err
	}
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return fmt.Errorf("deleting the group at the broker: %w", err)
	}
	return nil
}
