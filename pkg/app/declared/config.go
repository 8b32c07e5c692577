// Package declared holds the commands about what is declared: topics, schemas, the
// catalog, the configuration and this binary.
package declared

import (
	"github.com/spf13/cobra"

	"github.com/eventspine/spine/pkg/app/cli"
)

// commands are those of this package, on one command line.
type commands struct{ *cli.CLI }

// Commands are the commands of this package.
func Commands(c *cli.CLI) []*cobra.Command {
	a := commands{c}
	return []*cobra.Command{a.newTopicsCmd(), a.newSchemaCmd(), a.newCatalogCmd(), a.newConfigCmd(), a.newVersionCmd()}
}

func (a commands) newVersionCmd() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version of this binary", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := cli.BuildVersion()
			return a.Print(v, func(w *cli.Table) {
				w.Row("VERSION", "COMMIT", "GO")
				w.Row(v.Version, v.Commit, v.Go)
			})
		},
	}
}

func (a commands) newConfigCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Show and check the configuration", Args: cobra.NoArgs, RunE: cli.Help}
	cmd.AddCommand(
		&cobra.Command{
			Use: "view", Short: "Show the effective values and where each came from; never a secret", Args: cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error {
				l, err := a.Load(nil)
				if err != nil {
					return err
				}
				values := l.Values()
				return a.Print(values, func(w *cli.Table) {
					w.Row("VALUE", "IS", "FROM")
					for _, v := range values {
						w.Row(v.Path, v.Value, v.Origin)
					}
				})
			},
		},
		a.newConfigCheckCmd(),
	)
	return cmd
}
