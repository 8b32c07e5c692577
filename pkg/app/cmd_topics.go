package app

import (
	"bufio"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/eventspine/spine/pkg/app/config"
	"github.com/eventspine/spine/pkg/topic"
)

func (a *cli) newTopicsCmd() *cobra.Command {
	cmd := plural(&cobra.Command{Use: "topics", Short: "Topics: declared against actual", Args: cobra.NoArgs, RunE: help}, "topic")
	cmd.AddCommand(a.newTopicsPlanCmd(), a.newTopicsApplyCmd(), a.newTopicsListCmd(), a.newTopicsDescribeCmd())
	return cmd
}

// wanted are all topics of the fleet, the derived ones among them.
func (a *cli) wanted() ([]topic.Spec, error) {
	_, topics, err := a.fleet.contracts()
	if err != nil {
		return nil, err
	}
	return topics.All(a.fleet.systems(), a.fleet.groupNames()), nil
}

func (a *cli) newTopicsPlanCmd() *cobra.Command {
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
					return &exitError{code: exitDrift}
				}
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&exitCode, "exit-code", false, "exit 3 where declared and actual differ")
	cmd.Flags().IntVar(&replicas, "replication-factor", 0, "of new topics (default 3, or the number of brokers where there are fewer)")
	return cmd
}

func (a *cli) newTopicsApplyCmd() *cobra.Command {
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
				if err := a.confirm(yes, "apply this plan"); err != nil {
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

func (a *cli) withPlan(ctx context.Context, replicas int, fn func(context.Context, *kadm.Client, topic.Plan) error) error {
	specs, err := a.wanted()
	if err != nil {
		return err
	}
	return a.withAdmin(ctx, func(ctx context.Context, _ *config.Loaded, admin *kadm.Client) error {
		p, err := topic.MakePlan(ctx, admin, specs, topic.Options{ReplicationFactor: replicas})
		if err != nil {
			return err
		}
		return fn(ctx, admin, p)
	})
}

func (a *cli) showPlan(p topic.Plan) error {
	if a.people() {
		return p.WriteText(a.Stdout)
	}
	return a.print(p, nil)
}

// confirm asks a person. Where nobody can be asked, what needs a confirmation is
// refused.
func (a *cli) confirm(yes bool, what string) error {
	if yes {
		return nil
	}
	if !terminal(a.Stdin) {
		return refused("nobody to ask whether to %s: use --yes", what)
	}
	fmt.Fprintf(a.Stderr, "%s? [y/N] ", strings.ToUpper(what[:1])+what[1:])
	answer, _ := bufio.NewReader(a.Stdin).ReadString('\n') //nolint:errcheck // no answer is no
	if answer = strings.ToLower(strings.TrimSpace(answer)); answer != "y" && answer != "yes" {
		return refused("not confirmed: nothing was changed")
	}
	return nil
}

func (a *cli) newTopicsListCmd() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List declared topics and those of our form in the cluster", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withTopics(cmd.Context(), func(infos []topic.Info) error {
				if a.people() {
					return topic.WriteTable(a.Stdout, infos)
				}
				return a.print(infos, nil)
			})
		},
	}
}

func (a *cli) newTopicsDescribeCmd() *cobra.Command {
	return &cobra.Command{
		Use: "describe NAME", Short: "Show a topic: declaration, placement, settings", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, words []string) error {
			return a.withTopics(cmd.Context(), func(infos []topic.Info) error {
				i := slices.IndexFunc(infos, func(i topic.Info) bool { return i.Name == words[0] })
				if i < 0 {
					return usage("no topic %s is declared or stands in the cluster; see spine topics list", words[0])
				}
				if a.people() {
					return infos[i].WriteText(a.Stdout)
				}
				return a.print(infos[i], nil)
			})
		},
	}
}

func (a *cli) withTopics(ctx context.Context, fn func([]topic.Info) error) error {
	specs, err := a.wanted()
	if err != nil {
		return err
	}
	return a.withAdmin(ctx, func(ctx context.Context, _ *config.Loaded, admin *kadm.Client) error {
		infos, err := topic.List(ctx, admin, specs)
		if err != nil {
			return err
		}
		return fn(infos)
	})
}
