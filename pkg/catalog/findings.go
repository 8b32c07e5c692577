package catalog

import (
	"fmt"
	"slices"
	"strings"

	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/schema"
	"github.com/eventspine/spine/pkg/topic"
)

// Severity says how bad a finding is.
type Severity string

// The severities: an error breaks a promise or a start, a warning is a gap.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
)

// Finding is something that does not fit together.
type Finding struct {
	Rule     string   `json:"rule"` // stable name of the rule
	Severity Severity `json:"severity"`
	Subject  string   `json:"subject"` // fact, topic, system or group
	Message  string   `json:"message"` // what is wrong, and what to do
}

// finder collects findings.
type finder struct {
	fleet Fleet
	cat   Catalog
	found []Finding
}

func (x *finder) add(rule string, s Severity, subject, format string, args ...any) {
	x.found = append(x.found, Finding{rule, s, subject, fmt.Sprintf(format, args...)})
}

func (c Catalog) check(f Fleet) []Finding {
	x := &finder{fleet: f, cat: c, found: []Finding{}}
	x.facts()
	x.topics()
	x.emitters()
	x.readers()
	slices.SortStableFunc(x.found, func(a, b Finding) int {
		if n := strings.Compare(string(a.Severity), string(b.Severity)); n != 0 {
			return n // "error" before "warning"
		}
		return strings.Compare(a.Subject, b.Subject)
	})
	return x.found
}

// facts looks from the schemas.
func (x *finder) facts() {
	for _, f := range x.cat.Facts {
		if f.Topic == "" {
			x.add("fact-without-topic", Error, f.Fact, "no topic lists it: add it to facts in a file of topics/")
		}
		if f.Deprecated != "" {
			continue // nobody is expected to emit or read it
		}
		if len(f.EmittedBy) == 0 {
			x.add("fact-not-emitted", Warning, f.Fact, "no adapter and no group emits it")
		}
		if len(f.ReadBy) == 0 {
			x.add("fact-not-read", Warning, f.Fact, "no group reads it")
		}
		x.producers(f)
	}
}

// producers compares who emits a fact with who its schema names.
func (x *finder) producers(f Fact) {
	s, _ := x.fleet.Schemas.Fact(f.Fact)
	named := set(s.Producers)
	for _, p := range named {
		if len(f.EmittedBy) > 0 && !slices.Contains(f.EmittedBy, p) {
			x.add("producer-does-not-emit", Warning, f.Fact, "its schema names %s as producer, which does not emit it in this fleet", p)
		}
	}
	for _, e := range f.EmittedBy {
		if !slices.Contains(named, e) {
			x.add("producer-not-named", Warning, f.Fact, "%s emits it: add it to producers in %s", e, s.File)
		}
	}
}

// topics looks from the topics.
func (x *finder) topics() {
	for _, t := range x.fleet.Topics.Specs() {
		for _, name := range t.Facts {
			f, ok := x.fleet.Schemas.Fact(name)
			if !ok {
				x.add("topic-fact-without-schema", Error, t.Name, "it lists %s, which has no schema: add schemas/%s, or remove the line", name, file(name))
				continue
			}
			if f.Retention != "" && f.Retention != t.Retention.String() {
				x.add("retention-differs", Warning, name, "personal data may stay %s, %s keeps it %s: make them equal", f.Retention, t.Name, t.Retention)
			}
		}
	}
}

// file is where the schema of a fact belongs.
func file(fact string) string {
	t, err := event.ParseType(fact)
	if err != nil {
		return fact // the topic's own check has refused it before
	}
	return fmt.Sprintf("%s/%s.v%d.avsc", t.Noun, t.Verb, t.Major)
}

// emitters looks from what adapters and groups say they emit.
func (x *finder) emitters() {
	for _, a := range x.fleet.Adapters {
		by := map[string]string{}
		for _, o := range a.Objects {
			kinds := strings.Join(o.Kinds, " ")
			for _, fact := range o.Emits {
				if other, twice := by[fact]; twice {
					x.add("fact-emitted-twice", Error, a.System, "%s comes from %q and from %q: one kind of delivery emits each fact, else it gets two ids", fact, other, kinds)
				}
				by[fact] = kinds
				x.emits(a.System, fact)
			}
		}
	}
	for _, g := range x.cat.Groups {
		for _, fact := range g.Emits {
			x.emits(g.Group, fact)
		}
	}
}

func (x *finder) emits(who, fact string) {
	f, ok := x.fleet.Schemas.Fact(fact)
	switch {
	case !ok:
		x.add("emits-unknown-fact", Error, who, "it emits %s, which has no schema", fact)
	case f.Deprecated != "":
		x.add("emits-deprecated-fact", Error, who, "it emits %s, which is deprecated: %s", fact, f.Deprecated)
	case newest(x.fleet.Schemas, f.Type) > f.Type.Major:
		x.add("emits-old-major", Error, who, "it emits %s, but v%d stands: two majors of one fact are never published side by side", fact, newest(x.fleet.Schemas, f.Type))
	}
}

func newest(s *schema.Set, of event.Type) int {
	major := 0
	for _, f := range s.Facts() {
		if f.Type.Name() == of.Name() {
			major = max(major, f.Type.Major)
		}
	}
	return major
}

// readers looks from the groups.
func (x *finder) readers() {
	for _, g := range x.cat.Groups {
		for _, fact := range slices.Concat(g.Reads, g.Upcasts) {
			if _, ok := x.fleet.Schemas.Fact(fact); !ok && !derived(fact) {
				x.add("reads-unknown-fact", Error, g.Group, "it reads %s, which has no schema", fact)
			}
		}
		for _, name := range g.Topics {
			t, _ := x.fleet.Topics.Spec(name)
			x.inbox(g, t)
		}
	}
}

// derived facts stand in derived topics and have no schema: deliveries.
func derived(fact string) bool {
	return slices.Contains(topic.Raw("x").Facts, fact)
}

// inbox is the lint of the promise "once": a group remembers longer than a record
// can come again.
func (x *finder) inbox(g Group, t topic.Spec) {
	window := t.Window()
	if x.fleet.Inbox == 0 || window != 0 && x.fleet.Inbox >= window {
		return
	}
	can := "for good"
	if window != 0 {
		can = "for " + window.String()
	}
	x.add("inbox-too-short", Error, g.Group, "it remembers for %s what it handled, but a record of %s can come again %s: an effect could happen twice",
		x.fleet.Inbox, t.Name, can)
}
