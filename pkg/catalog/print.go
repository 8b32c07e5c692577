package catalog

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// printer writes aligned columns and keeps the first error.
type printer struct {
	tab *tabwriter.Writer
	err error
}

func newPrinter(w io.Writer) *printer {
	return &printer{tab: tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
}

func (p *printer) row(cells ...string) {
	for i, c := range cells {
		if c == "" {
			cells[i] = "-"
		}
	}
	p.line(strings.Join(cells, "\t"))
}

func (p *printer) line(text string) {
	if p.err == nil {
		_, p.err = fmt.Fprintln(p.tab, text)
	}
}

func (p *printer) end() error {
	if p.err != nil {
		return p.err
	}
	return p.tab.Flush()
}

func words(list []string) string { return strings.Join(list, " ") }

// WriteTable writes one line per fact, then the findings.
func (c Catalog) WriteTable(w io.Writer) error {
	p := newPrinter(w)
	p.row("FACT", "TOPIC", "OWNER", "EMITTED BY", "READ BY", "PERSONAL DATA")
	for _, f := range c.Facts {
		name := f.Fact
		if f.Deprecated != "" {
			name += " (deprecated)"
		}
		p.row(name, f.Topic, f.Owner, words(f.EmittedBy), words(f.ReadBy), words(f.Personal))
	}
	if err := p.end(); err != nil || len(c.Findings) == 0 {
		return err
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	return c.WriteFindings(w)
}

// WriteFindings writes one line per finding.
func (c Catalog) WriteFindings(w io.Writer) error {
	for _, f := range c.Findings {
		if _, err := fmt.Fprintf(w, "%s: %s: %s [%s]\n", f.Severity, f.Subject, f.Message, f.Rule); err != nil {
			return err
		}
	}
	return nil
}

// WriteText writes all about a fact.
func (f Fact) WriteText(w io.Writer) error {
	p := newPrinter(w)
	p.line(f.Fact)
	p.line(f.Doc)
	p.line("")
	if f.Deprecated != "" {
		p.row("deprecated", f.Deprecated)
	}
	p.row("topic", f.Topic)
	p.row("key", f.Key)
	p.row("owner", f.Owner)
	p.row("system of record", f.SystemOfRecord)
	p.row("retention", f.Retention)
	p.row("emitted by", words(f.EmittedBy))
	p.row("read by", words(f.ReadBy))
	p.row("personal data", words(f.Personal))
	if err := p.end(); err != nil {
		return err
	}
	p = newPrinter(w)
	p.line("")
	p.row("FIELD", "TYPE", "PERSONAL DATA", "MEANING")
	for _, field := range f.Fields {
		p.row(field.Path, field.Type, field.PII, field.Doc)
	}
	return p.end()
}

// WriteText writes all about a source system.
func (s System) WriteText(w io.Writer) error {
	p := newPrinter(w)
	p.line(s.System)
	p.row("deliveries", s.Topic)
	p.row("kinds", words(s.Kinds))
	p.row("emits", words(s.Emits))
	return p.end()
}

// WriteText writes all about a group.
func (g Group) WriteText(w io.Writer) error {
	p := newPrinter(w)
	p.line(g.Group)
	p.row("owner", g.Owner)
	p.row("first start", "from "+g.Start)
	p.row("reads", words(g.Reads))
	p.row("upcasts", words(g.Upcasts))
	p.row("emits", words(g.Emits))
	p.row("effects", words(g.Effects))
	p.row("topics", words(g.Topics))
	p.row("dead letters", g.DeadLetters)
	return p.end()
}
