package declared

import (
	"context"
	"fmt"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/eventspine/spine/pkg/app/cli"
	"github.com/eventspine/spine/pkg/schema"
	"github.com/eventspine/spine/pkg/schema/gen"
	"github.com/eventspine/spine/pkg/schema/lint"
)

func (a commands) newSchemaCmd() *cobra.Command {
	cmd := cli.Plural(&cobra.Command{Use: "schema", Short: "Schemas: check, generate, freeze, register", Args: cobra.NoArgs, RunE: cli.Help}, "schemas")
	var dir string
	cmd.PersistentFlags().StringVar(&dir, "dir", "schemas", "folder of the .avsc files")
	cmd.AddCommand(
		a.newFindingsCmd("lint", "Check the files against the rules L01 to L18", func() ([]schema.Finding, error) {
			return lint.Check(a.Fleet.Roots(dir)...)
		}, &dir),
		a.newFindingsCmd("compat", "Check the files against all frozen revisions, in both directions", func() ([]schema.Finding, error) {
			return schema.CheckReleased(a.Fleet.Roots(dir)...)
		}, &dir),
		a.newSchemaGenCmd(&dir), a.newSchemaReleaseCmd(&dir), a.newSchemaRegisterCmd(), a.newSchemaListCmd(),
		a.newSchemaShowCmd(), a.newSchemaDiffCmd(),
	)
	return cmd
}

// newFindingsCmd is a command that prints findings and exits 100 if there are any.
func (a commands) newFindingsCmd(use, short string, find func() ([]schema.Finding, error), dir *string) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := folder(*dir); err != nil {
				return err
			}
			findings, err := find()
			if err != nil {
				return err
			}
			if findings == nil {
				findings = []schema.Finding{}
			}
			err = a.Print(findings, func(w *cli.Table) {
				for _, f := range findings {
					w.Line("%s/%s", *dir, f)
				}
			})
			if err == nil && len(findings) > 0 {
				return &cli.ExitError{Code: cli.ExitFindings}
			}
			return err
		},
	}
}

func folder(dir string) error {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return cli.Usage("--dir %s: no such folder; run it where the module is, or name the folder", dir)
	}
	return nil
}

func (a commands) newSchemaGenCmd(dir *string) *cobra.Command {
	var check bool
	cmd := &cobra.Command{
		Use: "gen", Short: "Write the Go types beside the .avsc files", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := folder(*dir); err != nil {
				return err
			}
			roots := a.Fleet.Roots(*dir)
			set, err := schema.Load(roots...)
			if err != nil {
				return &cli.ExitError{Code: cli.ExitUsage, Err: err}
			}
			write := gen.Generate
			if check {
				write = gen.Check
			}
			changed, err := write(set, *dir, len(roots)-1)
			if err != nil {
				return err
			}
			if changed == nil {
				changed = []string{}
			}
			err = a.Print(changed, func(w *cli.Table) {
				for _, file := range changed {
					w.Line("%s/%s", *dir, file)
				}
			})
			if err == nil && check && len(changed) > 0 {
				return &cli.ExitError{Code: cli.ExitFindings, Err: fmt.Errorf("%d generated files are out of date: run spine schema gen", len(changed))}
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&check, "check", false, "write nothing; exit 100 where a file would change")
	return cmd
}

func (a commands) newSchemaReleaseCmd(dir *string) *cobra.Command {
	return &cobra.Command{
		Use: "release", Short: "Freeze the current revisions: from then on they never change", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := folder(*dir); err != nil {
				return err
			}
			roots := a.Fleet.Roots(*dir)
			done, err := schema.Release(*dir, roots[:len(roots)-1]...)
			if err != nil {
				return findings(err)
			}
			return a.Print(done, func(w *cli.Table) {
				w.Row("FACT", "REVISION", "FILE", "STATE")
				for _, r := range done {
					state := "unchanged"
					if r.Created {
						state = "frozen now"
					}
					w.Row(r.Fact, "r"+strconv.Itoa(r.Revision), r.File, state)
				}
			})
		},
	}
}

func (a commands) newSchemaListCmd() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the facts of this binary", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			set, topics, err := a.Fleet.Contracts()
			if err != nil {
				return err
			}
			type item struct {
				Fact       string `json:"fact"`
				Subject    string `json:"subject"`
				Topic      string `json:"topic"`
				Owner      string `json:"owner"`
				Revisions  int    `json:"revisions"`
				Deprecated string `json:"deprecated,omitempty"`
			}
			items := []item{}
			for _, f := range set.Facts() {
				target, _ := topics.Route(f.Type.String())
				items = append(items, item{f.Type.String(), f.FullName, target.Topic, f.Owner, len(set.Released(f.Type.String())), f.Deprecated})
			}
			return a.Print(items, func(w *cli.Table) {
				w.Row("FACT", "TOPIC", "OWNER", "REVISIONS", "SUBJECT")
				for _, i := range items {
					name := i.Fact
					if i.Deprecated != "" {
						name += " (deprecated)"
					}
					w.Row(name, i.Topic, i.Owner, i.Revisions, i.Subject)
				}
			})
		},
	}
}

func (a commands) newSchemaShowCmd() *cobra.Command {
	return &cobra.Command{
		Use: "show FACT", Short: "Show a fact: fields, types, what they mean, personal data", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, words []string) error {
			c, err := a.catalog()
			if err != nil {
				return err
			}
			fact, ok := c.Fact(words[0])
			if !ok {
				return cli.Usage("no fact %s; see spine schema list", words[0])
			}
			if a.People() {
				return fact.WriteText(a.Stdout)
			}
			return a.Print(fact, nil)
		},
	}
}

func (a commands) newSchemaRegisterCmd() *cobra.Command {
	return &cobra.Command{
		Use: "register", Short: "Register the facts of this binary at the registry, FULL_TRANSITIVE", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			set, _, err := a.Fleet.Contracts()
			if err != nil {
				return err
			}
			l, err := a.Load(nil)
			if err != nil {
				return err
			}
			client, err := cli.RegistryClient(l)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), cli.Timeout)
			defer cancel()
			done, err := schema.Register(ctx, client, set)
			if done == nil && err != nil {
				return err
			}
			if shown := a.Print(done, func(w *cli.Table) {
				w.Row("FACT", "SUBJECT", "ID", "VERSION", "STATE")
				for _, r := range done {
					w.Row(r.Fact, r.Subject, r.ID, r.Version, r.State)
				}
			}); shown != nil {
				return shown
			}
			return findings(err)
		},
	}
}

// findings gives an incompatible schema its exit code.
func findings(err error) error {
	if _, ok := cli.As[*schema.IncompatibleError](err); ok {
		return &cli.ExitError{Code: cli.ExitFindings, Err: err}
	}
	return err
}
