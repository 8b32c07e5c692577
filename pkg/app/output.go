package app

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"
	"text/tabwriter"

	"github.com/goccy/go-yaml"
	"github.com/mattn/go-isatty"
)

// table is what people read: columns, aligned.
type table struct {
	w *tabwriter.Writer
}

func (t *table) row(cells ...any) {
	for i, cell := range cells {
		if i > 0 {
			fmt.Fprint(t.w, "\t")
		}
		text := fmt.Sprint(cell)
		if text == "" {
			text = "-"
		}
		fmt.Fprint(t.w, text)
	}
	fmt.Fprintln(t.w)
}

// line is a line outside the columns.
func (t *table) line(format string, args ...any) {
	t.w.Flush() //nolint:errcheck // a closed pipe shows at the next write
	fmt.Fprintf(t.w, format+"\n", args...)
	t.w.Flush() //nolint:errcheck // as above
}

func (a *cli) wide() bool { return a.output == "wide" }

// print shows v: as JSON or YAML by its json tags, or as the table that fill makes.
func (a *cli) print(v any, fill func(*table)) error {
	switch a.output {
	case "table", "wide":
		t := &table{tabwriter.NewWriter(a.Stdout, 0, 8, 2, ' ', 0)}
		fill(t)
		return t.w.Flush()
	case "json":
		return writeJSON(a.Stdout, v)
	case "yaml":
		raw, err := json.Marshal(v)
		if err != nil {
			return err
		}
		text, err := yaml.JSONToYAML(raw)
		if err != nil {
			return err
		}
		_, err = a.Stdout.Write(text)
		return err
	default:
		return usage("--output %s: want table, wide, json or yaml", a.output)
	}
}

// writeJSON writes one object on one line.
func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// terminal says whether w is a terminal that a person looks at.
func terminal(w any) bool {
	f, ok := w.(interface{ Fd() uintptr })
	return ok && isatty.IsTerminal(f.Fd())
}

// version is what spine version prints.
type version struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Go      string `json:"go"`
}

func buildVersion() version {
	v := version{Version: "devel", Go: strings.TrimPrefix(runtime.Version(), "go")}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if info.Main.Version != "" && info.Main.Version != "(devel)" {
		v.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			v.Commit = s.Value
		}
	}
	return v
}
