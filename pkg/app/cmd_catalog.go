package app

import (
	"github.com/spf13/cobra"

	"github.com/eventspine/spine/pkg/catalog"
)

// catalog joins what this binary declares.
func (a *cli) catalog() (catalog.Catalog, error) {
	facts, topics, err := a.fleet.contracts()
	if err != nil {
		return catalog.Catalog{}, err
	}
	return catalog.New(catalog.Fleet{Schemas: facts, Topics: topics, Adapters: a.fleet.Adapters, Groups: a.fleet.Groups}), nil
}

func (a *cli) newCatalogCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "catalog", Short: "Who emits, who reads, fields, owners, personal data, gaps", Args: cobra.NoArgs, RunE: help}
	cmd.AddCommand(
		&cobra.Command{
			Use: "list", Short: "List facts with emitters and readers, and what does not fit together", Args: cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error {
				c, err := a.catalog()
				if err != nil {
					return err
				}
				if a.people() {
					return c.WriteTable(a.Stdout)
				}
				return a.print(c, nil)
			},
		},
		&cobra.Command{
			Use: "show FACT|SYSTEM|GROUP", Short: "Show all about one of them", Args: cobra.ExactArgs(1),
			RunE: func(_ *cobra.Command, words []string) error { return a.showCatalog(words[0]) },
		},
	)
	return cmd
}

func (a *cli) showCatalog(name string) error {
	c, err := a.catalog()
	if err != nil {
		return err
	}
	if f, ok := c.Fact(name); ok {
		if a.people() {
			return f.WriteText(a.Stdout)
		}
		return a.print(f, nil)
	}
	if s, ok := c.System(name); ok {
		if a.people() {
			return s.WriteText(a.Stdout)
		}
		return a.print(s, nil)
	}
	if g, ok := c.Group(name); ok {
		if a.people() {
			return g.WriteText(a.Stdout)
		}
		return a.print(g, nil)
	}
	return usage("no fact, system or group %s; see spine catalog list", name)
}

// people says that the output is for people.
func (a *cli) people() bool { return a.output == "table" || a.output == "wide" }
