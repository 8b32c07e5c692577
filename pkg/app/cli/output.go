package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/mattn/go-isatty"
)

// Table is what people read: columns, numbers to the right.
type Table struct {
	w    io.Writer
	rows [][]string // not yet written: their columns are aligned together
	err  error
}

// Row adds a row; an empty cell shows as a dash.
func (t *Table) Row(cells ...any) {
	row := make([]string, len(cells))
	for i, cell := range cells {
		if row[i] = fmt.Sprint(cell); row[i] == "" {
			row[i] = "-"
		}
	}
	t.rows = append(t.rows, row)
}

// Line is a line outside the columns; it ends them.
func (t *Table) Line(format string, args ...any) {
	t.flush()
	t.write(fmt.Sprintf(format, args...) + "\n")
}

func (t *Table) write(text string) {
	if t.err == nil {
		_, t.err = io.WriteString(t.w, text)
	}
}

// flush writes the rows. A column whose cells below the header are all numbers stands
// to the right, its header with it.
func (t *Table) flush() {
	var widths []int
	var numbers []bool
	for n, row := range t.rows {
		for i, cell := range row {
			if i == len(widths) {
				widths, numbers = append(widths, 0), append(numbers, len(t.rows) > 1)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
			numbers[i] = numbers[i] && (n == 0 || isNumber(cell))
		}
	}
	for _, row := range t.rows {
		var b strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			switch {
			case numbers[i]:
				b.WriteString(pad + cell)
			case i == len(row)-1:
				b.WriteString(cell)
			default:
				b.WriteString(cell + pad)
			}
			if i < len(row)-1 {
				b.WriteString("  ")
			}
		}
		t.write(b.String() + "\n")
	}
	t.rows = nil
}

// isNumber says that a cell is a count, an amount or a missing one.
func isNumber(cell string) bool {
	return cell == "-" || strings.Trim(strings.TrimPrefix(cell, "-"), "0123456789.") == ""
}

// Wide says that people asked for more columns.
func (a *CLI) Wide() bool { return a.Output == "wide" }

// Print shows v: as JSON or YAML by its json tags, or as the table that fill makes.
func (a *CLI) Print(v any, fill func(*Table)) error {
	switch a.Output {
	case "table", "wide":
		t := &Table{w: a.Stdout}
		fill(t)
		t.flush()
		return t.err
	case "json":
		return WriteJSON(a.Stdout, v)
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
		return a.CheckOutput()
	}
}

// CheckOutput refuses a format that Print does not know, before anything is done.
func (a *CLI) CheckOutput() error {
	if !slices.Contains([]string{"table", "wide", "json", "yaml"}, a.Output) {
		return Usage("--output %s: want table, wide, json or yaml", a.Output)
	}
	return nil
}

// WriteJSON writes one object on one line.
func WriteJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// Terminal says whether w is a terminal that a person looks at.
func Terminal(w any) bool {
	f, ok := w.(interface{ Fd() uintptr })
	return ok && isatty.IsTerminal(f.Fd())
}

// Warn tells people what to think of before they rely on an output.
func (a *CLI) Warn(all []string) {
	for _, warning := range all {
		fmt.Fprintf(a.Stderr, "spine: WARNING: %s\n", warning)
	}
}
