package stage

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/eventspine/spine/pkg/app/cli"
	"github.com/eventspine/spine/pkg/app/config"
	"github.com/eventspine/spine/pkg/app/serve"
)

func (a commands) newRunCmd() *cobra.Command {
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
			l, err := a.Load(nil)
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
func (a commands) roles(words []string) (serve.Roles, error) {
	all := serve.Roles{Intake: true, Translate: true}
	for _, g := range a.Fleet.Groups {
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
		case cli.Translate:
			r.Translate = true
		case "group", "groups":
			if i+1 == len(words) {
				return r, cli.Usage("group: want the names of groups, such as group inventory")
			}
			r.Groups = words[i+1:]
			return r, nil
		default:
			return r, cli.Usage("no role %s: want intake, translate, group NAME...", word)
		}
	}
	return r, nil
}

// serve runs roles against the parts that the configuration names.
func (a commands) serve(ctx context.Context, l *config.Loaded, roles serve.Roles, shutdown time.Duration, ready func(serve.Addresses)) error {
	a.Running = l
	log, err := a.Logger()
	if err != nil {
		return err
	}
	facts, topics, err := a.Fleet.Contracts()
	if err != nil {
		return err
	}
	conf, err := cli.Kafka(l)
	if err != nil {
		return err
	}
	conf.Log = log
	registry, err := cli.RegistryClient(l)
	if err != nil {
		return err
	}
	return serve.Run(ctx, serve.Options{
		Adapters: a.Fleet.Adapters, Groups: a.Fleet.Groups, Facts: facts, Topics: topics, Config: l, Kafka: conf,
		Registry: registry, Roles: roles, Shutdown: shutdown, Version: cli.BuildVersion().Version, Log: log, Ready: ready,
	})
}
