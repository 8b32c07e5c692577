package app

import (
	"github.com/spf13/cobra"

	"github.com/eventspine/spine/pkg/app/again"
	"github.com/eventspine/spine/pkg/app/cli"
	"github.com/eventspine/spine/pkg/app/declared"
	"github.com/eventspine/spine/pkg/app/groups"
	"github.com/eventspine/spine/pkg/app/operate"
	"github.com/eventspine/spine/pkg/app/stage"
	"github.com/eventspine/spine/pkg/app/watch"
)

// newRoot assembles the commands.
func newRoot(a *cli.CLI) *cobra.Command {
	root := &cobra.Command{
		Use:           "spine",
		Short:         "The event-streaming backbone that gets a company's systems to agree on what happened",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		// Before anything is done: a wrong format must not be found after the work.
		PersistentPreRunE: func(*cobra.Command, []string) error { return a.CheckOutput() },
	}
	flags := root.PersistentFlags()
	flags.StringVar(&a.ConfigFile, "config", "", "configuration file (default spine.yaml, if there is one)")
	flags.StringVarP(&a.Output, "output", "o", "table", "output: table, wide, json or yaml")
	flags.BoolVar(&a.NoColor, "no-color", false, "no colours (also NO_COLOR)")
	flags.StringVar(&a.LogLevel, "log-level", "info", "debug, info, warn or error")
	flags.StringVar(&a.LogFormat, "log-format", "text", "text or json")
	flags.StringVar(&a.DataDir, "data", ".spine", "folder of the embedded parts and of local files")
	flags.StringVar(&a.Brokers, "brokers", "", "Kafka brokers, host:port,… (kafka.brokers)")
	flags.StringVar(&a.Registry, "registry-url", "", "schema registry (registry.url)")
	flags.StringVar(&a.Database, "database-url", "", "store of the groups (database.url)")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return cli.Usage("%w; see %s --help", err, cmd.CommandPath())
	})
	root.AddCommand(stage.Commands(a)...)
	root.AddCommand(watch.Commands(a)...)
	root.AddCommand(groups.Commands(a)...)
	root.AddCommand(operate.Commands(a)...)
	root.AddCommand(again.Commands(a)...)
	root.AddCommand(declared.Commands(a)...)
	checkUsage(root)
	return root
}

// checkUsage gives every command the same exit code for wrong words.
func checkUsage(cmd *cobra.Command) {
	if args := cmd.Args; args != nil {
		cmd.Args = func(cmd *cobra.Command, words []string) error {
			if err := args(cmd, words); err != nil {
				return cli.Usage("%w; see %s --help", err, cmd.CommandPath())
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		checkUsage(sub)
	}
}
