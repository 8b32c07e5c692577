package app

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/eventspine/spine/pkg/app/config"
	"github.com/eventspine/spine/pkg/app/serve"
)

func (a *cli) newRunCmd() *cobra.Command {
	var shutdown time.Duration
	cmd := &cobra.Command{
		Use:   "run [intake] [translate] [group NAME...]",
		Short: "Run the named roles (default all) against the configured parts",
		Example: `  spine run                              # everything in one process
  spine run intake                       # receivers only
  spine run group inventory invoicing    # two groups`,
		RunE: func(cmd *cobra.Command, words []string) error {
			roles, err := a.roles(words)
			if err != nil {
				return err
			}
			l, err := a.load(nil)
			if err != nil {
				return err
			}
			return a.serve(cmd.Context(), l, roles, shutdown, nil)
		},
	}
	cmd.Flags().DurationVar(&shutdown, "shutdown-timeout", 20*time.Second, "time for what is in flight at the end")
	return cmd
}

// roles reads the words of run; none means all.
func (a *cli) roles(words []string) (serve.Roles, error) {
	all := serve.Roles{Intake: true, Translate: true}
	for _, g := range a.fleet.Groups {
		all.Groups = append(all.Groups, g.Name)
	}
	if len(words) == 0 {
		return all, nil
	}
	var r serve.Roles
	for i, word := range words {
		switch word {
		case "intake":
			r.Intake = true
		case translateName:
			r.Translate = true
		case "group", "groups":
			if i+1 == len(words) {
				return r, usage("group: want the names of groups, such as group inventory")
			}
			r.Groups = words[i+1:]
			return r, nil
		default:
			return r, usage("no role %s: want intake, translate, group NAME...", word)
		}
	}
	return r, nil
}

// serve runs roles against the parts that the configuration names.
func (a *cli) serve(ctx context.Context, l *config.Loaded, roles serve.Roles, shutdown time.Duration, ready func(serve.Addresses)) error {
	log, err := a.logger()
	if err != nil {
		return err
	}
	facts, topics, err := a.fleet.contracts()
	if err != nil {
		return err
	}
	conf, err := kafka(l)
	if err != nil {
		return err
	}
	conf.Log = log
	registry, err := registryClient(l)
	if err != nil {
		return err
	}
	return serve.Run(ctx, serve.Options{
		Adapters: a.fleet.Adapters, Groups: a.fleet.Groups, Facts: facts, Topics: topics, Config: l, Kafka: conf,
		Registry: registry, Roles: roles, Shutdown: shutdown, Version: buildVersion().Version, Log: log, Ready: ready,
	})
}
