package consumertest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// budget bounds the runs that the search for a short history takes.
const budget = 120

// search looks for the shortest history that still shows a fault.
type search struct {
	testing.TB
	*kit
	fault fault
	left  int
}

// differs runs a history with and without the fault.
func (s *search) differs(events []given, strikes func(int) bool) []string {
	s.Helper()
	if s.left--; s.left < 0 || len(events) == 0 {
		return nil
	}
	want := s.plain(s.TB, events)
	got := s.run(s.TB, events, s.fault, strikes).result(s.TB)
	return difference(want.of(s.fault), got.of(s.fault))
}

// plain is what a history leaves behind without faults.
func (k *kit) plain(tb testing.TB, events []given) result {
	tb.Helper()
	var ids strings.Builder
	for _, e := range events {
		ids.WriteString(e.ID + " ")
	}
	if known, found := k.known.Load(ids.String()); found {
		if r, ok := known.(result); ok {
			return r
		}
	}
	r := k.run(tb, events, fault{}, nobody).result(tb)
	k.known.Store(ids.String(), r)
	return r
}

// story tells a fault with as few events as show it. diff is what it does to the
// whole history.
func (k *kit) story(tb testing.TB, f fault, diff []string) string {
	tb.Helper()
	s := &search{TB: tb, kit: k, fault: f, left: budget}
	events := s.shorten(k.events)
	strikes, at := everybody, -1
	if shown := s.differs(events, everybody); len(shown) > 0 {
		diff = shown
		for i := range events {
			only := func(n int) bool { return n == i }
			if f.strike == nil {
				break
			}
			if shown := s.differs(events, only); len(shown) > 0 {
				diff, strikes, at = shown, only, i
				break
			}
		}
	}
	return tell(f, events, at, strikes, diff)
}

// shorten takes events away as long as the fault still shows: single events first,
// then halves, quarters and so on.
func (s *search) shorten(events []given) []given {
	s.Helper()
	for i := range events[:min(len(events), budget/4)] {
		if one := events[i : i+1]; len(s.differs(one, everybody)) > 0 {
			return one
		}
	}
	for size := len(events) / 2; size > 0; size /= 2 {
		for to := len(events); to > 0; to -= size {
			rest := slices.Concat(events[:max(0, to-size)], events[to:])
			if len(s.differs(rest, everybody)) > 0 {
				events = rest
			}
		}
	}
	return events
}

// shown bounds the lines of a story.
const shown = 12

func tell(f fault, events []given, at int, strikes func(int) bool, diff []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: the group leaves something else behind\n", f.name)
	for i, e := range events {
		if i == shown {
			fmt.Fprintf(&b, "  … %d events more\n", len(events)-shown)
			break
		}
		what := "is handled"
		if strikes(i) {
			what = f.happen
		}
		fmt.Fprintf(&b, "  %d. %s %s (%s) %s\n", i+1, e.title(), e.Key, e.ID, what)
	}
	if at < 0 && f.strike != nil && len(events) > 1 {
		b.WriteString("  (no single one of these faults shows it)\n")
	}
	b.WriteString("  without the fault (-) and with it (+):\n")
	for i, line := range diff {
		if i == shown {
			fmt.Fprintf(&b, "  … %d lines more\n", len(diff)-shown)
			break
		}
		b.WriteString("  " + contrast(line, diff) + "\n")
	}
	return b.String()
}

// title names the fact, and the revision of its schema if it isn't today's.
func (e given) title() string {
	if e.revision.name == "" {
		return e.Type
	}
	return e.Type + ", written as " + e.revision.name + ","
}

// long is the length of a line that is shown as a whole.
const long = 240

// contrast shortens a line to its beginning and to where it parts from the line of the
// other side that is most like it.
func contrast(line string, diff []string) string {
	if len(line) <= long {
		return line
	}
	same := 1
	for _, other := range diff {
		n := 1
		for other[0] != line[0] && n < min(len(line), len(other)) && line[n] == other[n] {
			n++
		}
		same = max(same, n)
	}
	from, to := max(0, same-long/4), min(len(line), same+long/2)
	if from <= long/2 {
		return strings.ToValidUTF8(line[:max(to, long)], "") + " …"
	}
	return strings.ToValidUTF8(line[:long/2]+" … "+line[from:to], "") + " …"
}
