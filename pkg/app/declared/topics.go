package declared

import (
	"context"
	"slices"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/eventspine/spine/pkg/app/cli"
	"github.com/eventspine/spine/pkg/app/config"
	"github.com/eventspine/spine/pkg/topic"
)

func (a commands) newTopicsCmd() *cobra.Command {
	cmd := cli.Plural(&cobra.Command{Use: "topics", Short: "Topics: declared against actual", Args: cobra.NoArgs, RunE: cli.Help}, "topic")
	cmd.AddCommand(a.newTopicsPlanCmd(), a.newTopicsApplyCmd(), a.newTopicsListCmd(), a.newTopicsDescribeCmd())
	return cmd
}

// wanted are all topics of the fleet, the derived ones among them.
func (a commands) wanted() ([]topic.Spec, error) {
	_, topics, err := a.Fleet.Contracts()
	if err != nil {
		return nil, err
	}
	return topics.All(a.Fleet.Systems(), a.Fleet.GroupNames()), nil
}

func (a commands) newTopicsPlanCmd() *cobra.Command {
	var exitCode bool
	var replicas int
	cmd := &cobra.Command{
		Use: "plan", Short: "Show what apply would change; changes nothing", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withPlan(cmd.Context(), replicas, func(_ context.Context, _ *kadm.Client, p topic.Plan) error {
				if err := a.showPlan(p); err != nil {
					return err
				}
				if exitCode && p.Drift() {
					return &cli.ExitError{Code: cli.ExitDrift}
				}
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&exitCode, "exit-code", false, "exit 3 where declared and actual differ")
	cmd.Flags().IntVar(&replicas, "replication-factor", 0, "of new topics (default 3, or the number of brokers where there are fewer)")
	return cmd
}

func (a commands) newTopicsApplyCmd() *cobra.Command {
	var yes bool
	var replicas int
	var destroy []string
	cmd := &cobra.Command{
		Use: "apply", Short: "Create and alter topics as declared, after showing the plan", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withPlan(cmd.Context(), replicas, func(ctx context.Context, admin *kadm.Client, p topic.Plan) error {
				if err := a.showPlan(p); err != nil {
					return err
				}
				if !slices.ContainsFunc(p.Changes, func(c topic.Change) bool { return c.Action == topic.Create || c.Action == topic.Alter }) {
					return nil
				}
				if err := a.Confirm(yes, "apply this plan"); err != nil {
					return err
				}
				return topic.Apply(ctx, admin, p, destroy...)
			})
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	cmd.Flags().IntVar(&replicas, "replication-factor", 0, "of new topics (default 3, or the number of brokers where there are fewer)")
	cmd.Flags().StringSliceVar(&destroy, "destroy", nil, "topics in which an alteration may delete records")
	return cmd
}

func (a commands) withPlan(ctx context.Context, replicas int, fn func(context.Context, *kadm.Client, topic.Plan) error) error {
	specs, err := a.wanted()
	if err != nil {
		return err
	}
	return a.WithAdmin(ctx, func(ctx context.Context, _ *config.Loaded, admin *kadm.Client) error {
		p, err := topic.MakePlan(ctx, admin, specs, topic.Options{ReplicationFactor: replicas})
		if err != nil {
			return err
		}
		return fn(ctx, admin, p)
	})
}

func (a commands) showPlan(p topic.Plan) error {
	if a.People() {
		return p.WriteText(a.Stdout)
	}
	return a.Print(p, nil)
}

func (a commands) newTopicsListCmd() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List declared topics and those of our form in the cluster", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withTopics(cmd.Context(), func(infos []topic.Info) error {
				if a.People() {
					return topic.WriteTable(a.Stdout, infos)
				}
				return a.Print(infos, nil)
			})
		},
	}
}

func (a commands) newTopicsDescribeCmd() *cobra.Command {
	return &cobra.Command{
		Use: "describe NAME", Short: "Show a topic: declaration, placement, settings", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, words []string) error {
			return a.withTopics(cmd.Context(), func(infos []topic.Info) error {
				i := slices.IndexFunc(infos, func(i topic.Info) bool { return i.Name == words[0] })
				if i < 0 {
					return cli.Usage("no topic %s is declared or stands in the cluster; see spine topics list", words[0])
				}
				if a.People() {
					return infos[i].WriteText(a.Stdout)
				}
				return a.Print(infos[i], nil)
			})
		},
	}
}

func (a commands) withTopics(ctx context.Context, fn func([]topic.Info) error) error {
	specs, err := a.wanted()
	if err != nil {
		return err
	}
	return a.WithAdmin(ctx, func(ctx context.Context, _ *config.Loaded, admin *kadm.Client) error {
		infos, err := topic.List(ctx, admin, specs)
		if err != nil {
			return err
		}
		return fn(infos)
	})
}
