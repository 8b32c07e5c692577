package topic

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
)

// marks of the actions in a plan for people.
func mark(a Action) string {
	switch a {
	case Create:
		return "+"
	case Alter:
		return "~"
	case Blocked:
		return "!"
	case Extra:
		return "?"
	}
	return " "
}

// WriteText writes the plan for people.
func (p Plan) WriteText(w io.Writer) error {
	t := &textWriter{w: w}
	counts := map[Action]int{}
	for _, c := range p.Changes {
		counts[c.Action]++
		t.printf("%s %s  %s\n", mark(c.Action), c.Topic, c.Action)
		for _, d := range c.Diffs {
			switch {
			case c.Action == Create:
				t.printf("    %s = %s\n", d.Setting, d.Declared)
			case d.Declared == "":
				t.printf("    %s: %s -> default of the cluster (nobody declares it)\n", d.Setting, d.Actual)
			default:
				t.printf("    %s: %s -> %s\n", d.Setting, d.Actual, d.Declared)
			}
		}
		if c.Reason != "" {
			t.printf("    %s\n", c.Reason)
		}
		if c.Loses != "" {
			t.printf("    DELETES %s\n", c.Loses)
		}
	}
	t.printf("%d to create, %d to alter, %d blocked, %d not declared, %d unchanged\n",
		counts[Create], counts[Alter], counts[Blocked], counts[Extra], p.Unchanged)
	return t.err
}

// WriteTable writes one line per topic.
func WriteTable(w io.Writer, infos []Info) error {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	t := &textWriter{w: tab}
	t.printf("NAME\tCLASS\tOWNER\tPARTITIONS\tREPLICAS\tRETENTION\tRECORDS\tFACTS\n")
	for _, i := range infos {
		class, partitions, replicas, records := string(i.Class), "-", "-", "-"
		if !i.Declared {
			class = "not declared"
		}
		if i.Exists {
			partitions, replicas = strconv.Itoa(i.Partitions), strconv.Itoa(i.ReplicationFactor)
			records = strconv.FormatInt(i.Records, 10)
		}
		t.printf("%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", i.Name, class, dash(i.Owner), partitions, replicas,
			dash(readable(i.Config["retention.ms"])), records, dash(strings.Join(i.Facts, " ")))
	}
	if t.err != nil {
		return t.err
	}
	return tab.Flush()
}

// WriteText writes all that is known of one topic.
func (i Info) WriteText(w io.Writer) error {
	t := &textWriter{w: w}
	state := "does not exist yet: spine topics apply creates it"
	if i.Exists {
		state = fmt.Sprintf("%d partitions, %d replicas, %d records", i.Partitions, i.ReplicationFactor, i.Records)
	}
	if !i.Declared {
		state += "; not declared"
	}
	t.printf("%s  %s\n", i.Name, state)
	if i.Doc != "" {
		t.printf("%s\n", i.Doc)
	}
	t.printf("\nowner      %s\nclass      %s\nretention  %s\nkey        %s\n",
		dash(i.Owner), dash(string(i.Class)), dash(readable(i.Config["retention.ms"])), dash(i.Key.Form))
	if i.Key.Doc != "" {
		t.printf("           %s\n", i.Key.Doc)
	}
	for _, f := range i.Facts {
		t.printf("fact       %s\n", f)
	}
	if t.err != nil || !i.Exists {
		return t.err
	}
	t.printf("\n")
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	rows := &textWriter{w: tab, err: t.err}
	rows.printf("PARTITION\tLEADER\tREPLICAS\tIN SYNC\tSTART\tEND\n")
	for _, p := range i.Placement {
		rows.printf("%d\t%d\t%s\t%s\t%d\t%d\n", p.ID, p.Leader, numbers(p.Replicas), numbers(p.InSync), p.Start, p.End)
	}
	if rows.err != nil {
		return rows.err
	}
	return tab.Flush()
}

// readable is a retention.ms for people; what is no such number stays as it is.
func readable(ms string) string {
	n, err := strconv.ParseInt(ms, 10, 64)
	switch {
	case err != nil:
		return ms
	case n < 0:
		return "forever"
	case n%3_600_000 != 0:
		return ms + "ms"
	case n%86_400_000 != 0:
		return strconv.FormatInt(n/3_600_000, 10) + "h"
	}
	return strconv.FormatInt(n/86_400_000, 10) + "d"
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func numbers(ns []int32) string {
	words := make([]string, len(ns))
	for i, n := range ns {
		words[i] = strconv.Itoa(int(n))
	}
	return strings.Join(words, ",")
}

// textWriter keeps the first error of many writes.
type textWriter struct {
	w   io.Writer
	err error
}

func (t *textWriter) printf(format string, args ...any) {
	if t.err == nil {
		_, t.err = fmt.Fprintf(t.w, format, args...)
	}
}
