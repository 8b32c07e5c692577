package declared

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/eventspine/spine/pkg/app/cli"
	"github.com/eventspine/spine/pkg/schema"
)

// schemaDiff is what schema diff shows: a contract.
type schemaDiff struct {
	A          string           `json:"a"`
	B          string           `json:"b"`
	Fields     []schema.Change  `json:"fields"`
	Compatible bool             `json:"compatible"` // in both directions: B may replace A inside a major
	Findings   []schema.Finding `json:"findings"`
}

func (a commands) newSchemaDiffCmd() *cobra.Command {
	return &cobra.Command{
		Use: "diff A B", Short: "Show what differs between two schemas, and whether B may replace A", Args: cobra.ExactArgs(2),
		Long: `Show which fields were added, removed or changed from A to B, and whether B may replace A inside a major: readers of
either read what the other wrote. A and B are facts of this binary, frozen revisions of them, or files whose schema stands
alone, as frozen ones do. Findings exit 100.`,
		Example: `  spine schema diff order.placed.v1 order.placed.v2
  spine schema diff order.placed.v2.r1 order.placed.v2
  spine schema diff order.placed.v2 proposal.avsc -o json`,
		RunE: func(_ *cobra.Command, words []string) error {
			set, _, err := a.Fleet.Contracts()
			if err != nil {
				return err
			}
			before, err := schemaText(set, words[0])
			if err != nil {
				return err
			}
			after, err := schemaText(set, words[1])
			if err != nil {
				return err
			}
			return a.diff(schemaDiff{A: words[0], B: words[1], Findings: []schema.Finding{}}, before, after)
		},
	}
}

func (a commands) diff(d schemaDiff, before, after string) (err error) {
	if d.Fields, err = schema.Diff(before, after); err != nil {
		return &cli.ExitError{Code: cli.ExitUsage, Err: err}
	}
	found, err := schema.Compatible(before, after, schema.Full)
	if err != nil {
		return &cli.ExitError{Code: cli.ExitUsage, Err: err}
	}
	for _, f := range found { // compared are texts in compact form: places in them say nothing
		f.File, f.Line, f.Column = d.B, 0, 0
		d.Findings = append(d.Findings, f)
	}
	d.Compatible = len(found) == 0
	err = a.Print(d, func(w *cli.Table) {
		w.Row("FIELD", "CHANGE", d.A, d.B)
		for _, c := range d.Fields {
			w.Row(c.Path, c.Change, c.Before, c.After)
		}
		w.Line("")
		for _, f := range d.Findings {
			path := f.Path
			if path == "" {
				path = "the schema"
			}
			w.Line("%s %s: %s (%s); %s", f.Rule, path, f.Message, f.Breaks, f.Remedy)
		}
		if d.Compatible {
			w.Line("compatible: %s may replace %s", d.B, d.A)
		} else {
			w.Line("NOT compatible: %s can't replace %s", d.B, d.A)
		}
	})
	if err == nil && !d.Compatible {
		return &cli.ExitError{Code: cli.ExitFindings}
	}
	return err
}

var revisionName = regexp.MustCompile(`^(.+)\.r([1-9][0-9]*)$`)

// schemaText finds the schema that a word of the command line names.
func schemaText(set *schema.Set, word string) (string, error) {
	if f, ok := set.Fact(word); ok {
		return f.Text, nil
	}
	if m := revisionName.FindStringSubmatch(word); m != nil {
		for _, r := range set.Released(m[1]) {
			if strconv.Itoa(r.Number) == m[2] {
				return r.Text, nil
			}
		}
	}
	if filepath.Ext(word) != ".avsc" {
		return "", cli.Usage("%s: no such fact, revision (order.placed.v2.r1) or .avsc file; see spine schema list", word)
	}
	text, err := os.ReadFile(word)
	if err != nil {
		return "", cli.Usage("%s: %w", word, err)
	}
	return string(text), nil
}
