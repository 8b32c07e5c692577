package declared

import (
	"github.com/spf13/cobra"

	"github.com/eventspine/spine/pkg/app/cli"
	"github.com/eventspine/spine/pkg/catalog"
)

// catalog joins what this binary declares.
func (a commands) catalog() (catalog.Catalog, error) {
	facts, topics, err := a.Fleet.Contracts()
	if err != nil {
		return catalog.Catalog{}, err
	}
	return catalog.New(catalog.Fleet{Schemas: facts, Topics: topics, Adapters: a.Fleet.Adapters, Groups: a.Fleet.Groups}), nil
}

func (a commands) newCatalogCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "catalog", Short: "Who emits, who reads, fields, owners, personal data, gaps", Args: cobra.NoArgs, RunE: cli.Help}
	cmd.AddCommand(
		&cobra.Command{
			Use: "list", Short: "List facts with emitters and readers, and what does not fit together", Args: cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error {
				c, err := a.catalog()
				if err != nil {
					return err
				}
				if a.People() {
					return c.WriteTable(a.Stdout)
				}
				return a.Print(c, nil)
			},
		},
		&cobra.Command{
			Use: "show FACT|SYSTEM|GROUP", Short: "Show all about one of them", Args: cobra.ExactArgs(1),
			RunE: func(_ *cobra.Command, words []string) error { return a.showCatalog(words[0]) },
		},
	)
	return cmd
}

func (a commands) showCatalog(name string) error {
	c, err := a.catalog()
	if err != nil {
		return err
	}
	if f, ok := c.Fact(name); ok {
		if a.People() {
			return f.WriteText(a.Stdout)
		}
		return a.Print(f, nil)
	}
	if s, ok := c.System(name); ok {
		if a.People() {
			return s.WriteText(a.Stdout)
		}
		return a.Print(s, nil)
	}
	if g, ok := c.Group(name); ok {
		if a.People() {
			return g.WriteText(a.Stdout)
		}
		return a.Print(g, nil)
	}
	return cli.Usage("no fact, system or group %s; see spine catalog list", name)
}
