package app

import (
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/eventspine/spine/pkg/app/config"
	"github.com/eventspine/spine/pkg/telemetry"
)

// cli is one command line at work.
type cli struct {
	Process
	fleet Fleet

	configFile string
	output     string
	noColor    bool
	logLevel   string
	logFormat  string
	quiet      bool // nobody asked for logs: what matters stands in the output
	dataDir    string
	brokers    string
	registry   string
	database   string
	instances  map[string]config.Instance // where the configuration names none
}

func (a *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "spine",
		Short:         "The event-streaming backbone that gets a company's systems to agree on what happened",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	flags := root.PersistentFlags()
	flags.StringVar(&a.configFile, "config", "", "configuration file (default spine.yaml, if there is one)")
	flags.StringVarP(&a.output, "output", "o", "table", "output: table, wide, json or yaml")
	flags.BoolVar(&a.noColor, "no-color", false, "no colours (also NO_COLOR)")
	flags.StringVar(&a.logLevel, "log-level", "info", "debug, info, warn or error")
	flags.StringVar(&a.logFormat, "log-format", "text", "text or json")
	flags.StringVar(&a.dataDir, "data", ".spine", "folder of the embedded parts and of local files")
	flags.StringVar(&a.brokers, "brokers", "", "Kafka brokers, host:port,… (kafka.brokers)")
	flags.StringVar(&a.registry, "registry-url", "", "schema registry (registry.url)")
	flags.StringVar(&a.database, "database-url", "", "store of the groups (database.url)")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage("%w; see %s --help", err, cmd.CommandPath())
	})
	root.AddCommand(
		a.newDemoCmd(), a.newDevCmd(), a.newRunCmd(), a.newTailCmd(), a.newTopicsCmd(), a.newSchemaCmd(),
		a.newGroupsCmd(), a.newAuditCmd(), a.newCatalogCmd(), a.newConfigCmd(), a.newVersionCmd(),
	)
	checkUsage(root)
	return root
}

// checkUsage gives every command the same exit code for wrong words.
func checkUsage(cmd *cobra.Command) {
	if args := cmd.Args; args != nil {
		cmd.Args = func(cmd *cobra.Command, words []string) error {
			if err := args(cmd, words); err != nil {
				return usage("%w; see %s --help", err, cmd.CommandPath())
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		checkUsage(sub)
	}
}

// load reads the configuration; more are values set by flags of the command.
func (a *cli) load(more map[string]string) (*config.Loaded, error) {
	flags := map[string]string{}
	for path, value := range map[string]string{"kafka.brokers": a.brokers, "registry.url": a.registry, "database.url": a.database} {
		if value != "" {
			flags[path] = value
		}
	}
	for path, value := range more {
		if value != "" {
			flags[path] = value
		}
	}
	groups := map[string]any{}
	for _, g := range a.fleet.Groups {
		groups[g.Name] = g.Config
	}
	return config.Load(config.Source{
		File: a.configFile, Env: a.Env, Flags: flags, DataDir: a.dataDir, Groups: groups, Instances: a.instances,
	})
}

// logger writes to stderr: data is for stdout.
func (a *cli) logger() (*slog.Logger, error) {
	if a.quiet {
		return slog.New(slog.DiscardHandler), nil
	}
	log, err := telemetry.NewLog(a.Stderr, a.logFormat, a.logLevel)
	if err != nil {
		return nil, usage("%w", err)
	}
	return log, nil
}

func (a *cli) newVersionCmd() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version of this binary", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := buildVersion()
			return a.print(v, func(w *table) {
				w.row("VERSION", "COMMIT", "GO")
				w.row(v.Version, v.Commit, v.Go)
			})
		},
	}
}

func (a *cli) newConfigCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Show and check the configuration", Args: cobra.NoArgs, RunE: help}
	cmd.AddCommand(
		&cobra.Command{
			Use: "view", Short: "Show the effective values and where each came from; never a secret", Args: cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error {
				l, err := a.load(nil)
				if err != nil {
					return err
				}
				values := l.Values()
				return a.print(values, func(w *table) {
					w.row("VALUE", "IS", "FROM")
					for _, v := range values {
						w.row(v.Path, v.Value, v.Origin)
					}
				})
			},
		},
		a.newConfigCheckCmd(),
	)
	return cmd
}

func help(cmd *cobra.Command, _ []string) error { return cmd.Help() }

// plural makes a noun work in singular and plural.
func plural(cmd *cobra.Command, other string) *cobra.Command {
	cmd.Aliases = append(cmd.Aliases, other)
	return cmd
}

func atLeast(n int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, words []string) error {
		if len(words) < n {
			return fmt.Errorf("want %s", what)
		}
		return nil
	}
}
