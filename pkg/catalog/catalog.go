// Package catalog joins what a fleet declares: the facts and their fields, the
// topics they live in, the adapters and groups that emit them, and the groups that
// read them. It is computed, never written down: what it says is what runs. What
// does not fit together is a finding.
package catalog

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/producer"
	"github.com/eventspine/spine/pkg/schema"
	"github.com/eventspine/spine/pkg/topic"
)

// Fleet is what is joined.
type Fleet struct {
	Schemas  *schema.Set
	Topics   *topic.Set
	Adapters []producer.Adapter
	Groups   []consumer.Group
	Inbox    time.Duration // how long groups remember what they handled; 0 = for good
}

// Catalog is the join. All lists are sorted by name. Its JSON is a contract.
type Catalog struct {
	Facts    []Fact    `json:"facts"`
	Systems  []System  `json:"systems"`
	Groups   []Group   `json:"groups"`
	Findings []Finding `json:"findings"`
}

// Fact is one fact version and everything around it.
type Fact struct {
	Fact           string   `json:"fact"`
	Topic          string   `json:"topic"` // "" = none
	Key            string   `json:"key"`   // record key, in terms of the payload
	Owner          string   `json:"owner"`
	SystemOfRecord string   `json:"system_of_record"`
	Doc            string   `json:"doc"`
	Retention      string   `json:"retention"`
	Deprecated     string   `json:"deprecated"` // what replaces it; "" = current
	EmittedBy      []string `json:"emitted_by"` // systems, and groups as spine/<group>
	ReadBy         []string `json:"read_by"`    // groups, through an upcast too
	Personal       []string `json:"personal"`   // kinds of personal data in it
	Fields         []Field  `json:"fields"`
}

// Field is one field of a payload: lines[].sku.
type Field struct {
	Path string `json:"path"`
	Type string `json:"type"` // Avro or logical type; a trailing ? = may be null
	PII  string `json:"pii"`  // none, contact, identity, location, financial, credential
	Doc  string `json:"doc"`
}

// System is one source system.
type System struct {
	System string   `json:"system"`
	Topic  string   `json:"topic"` // of its deliveries
	Kinds  []string `json:"kinds"` // of deliveries that it understands
	Emits  []string `json:"emits"`
}

// Group is one independent reaction.
type Group struct {
	Group       string   `json:"group"`
	Owner       string   `json:"owner"`
	Start       string   `json:"start"` // now or beginning: where its first start begins
	Backfill    bool     `json:"backfill"`
	Reads       []string `json:"reads"`
	Upcasts     []string `json:"upcasts"` // older majors that it reads as newer ones
	Emits       []string `json:"emits"`
	Effects     []string `json:"effects"`
	Topics      []string `json:"topics"`
	DeadLetters string   `json:"dead_letters"` // topic
}

// New joins a fleet. It does no I/O.
func New(f Fleet) Catalog {
	c := Catalog{Facts: []Fact{}, Systems: []System{}, Groups: []Group{}}
	for _, a := range f.Adapters {
		c.Systems = append(c.Systems, system(a))
	}
	for _, g := range f.Groups {
		c.Groups = append(c.Groups, group(g, f.Topics))
	}
	slices.SortFunc(c.Systems, func(a, b System) int { return strings.Compare(a.System, b.System) })
	slices.SortFunc(c.Groups, func(a, b Group) int { return strings.Compare(a.Group, b.Group) })
	emitters, readers := c.links()
	for _, s := range f.Schemas.Facts() {
		name := s.Type.String()
		target, _ := f.Topics.Route(name)
		fields := fieldsOf(s.Schema)
		c.Facts = append(c.Facts, Fact{
			Fact: name, Topic: target.Topic, Key: s.Key, Owner: s.Owner, SystemOfRecord: s.SystemOfRecord, Doc: s.Doc,
			Retention: s.Retention, Deprecated: s.Deprecated, EmittedBy: set(emitters[name]), ReadBy: set(readers[name]),
			Personal: personal(fields), Fields: fields,
		})
	}
	c.Findings = c.check(f)
	return c
}

func system(a producer.Adapter) System {
	s := System{System: a.System, Topic: topic.RawName(a.System)}
	for _, o := range a.Objects {
		s.Kinds = append(s.Kinds, o.Kinds...)
		s.Emits = append(s.Emits, o.Emits...)
	}
	s.Kinds, s.Emits = set(s.Kinds), set(s.Emits)
	return s
}

func group(g consumer.Group, topics *topic.Set) Group {
	out := Group{Group: g.Name, Owner: g.Owner, Start: "now", Backfill: g.Backfill, DeadLetters: topic.DeadLettersName(g.Name)}
	if g.Start == consumer.FromBeginning {
		out.Start = "beginning"
	}
	for _, h := range g.On {
		out.Reads = append(out.Reads, h.Type)
		for _, u := range h.Upcasts {
			out.Upcasts = append(out.Upcasts, u.From)
		}
	}
	for _, fact := range slices.Concat(out.Reads, out.Upcasts) {
		if t, ok := topics.Route(fact); ok {
			out.Topics = append(out.Topics, t.Topic)
		}
	}
	for _, e := range g.Emits {
		out.Emits = append(out.Emits, e.EventType())
	}
	for _, e := range g.Effects {
		out.Effects = append(out.Effects, e.Name)
	}
	out.Reads, out.Upcasts, out.Emits = set(out.Reads), set(out.Upcasts), set(out.Emits)
	out.Effects, out.Topics = set(out.Effects), set(out.Topics)
	return out
}

// links are who emits and who reads, by fact.
func (c Catalog) links() (emitters, readers map[string][]string) {
	emitters, readers = map[string][]string{}, map[string][]string{}
	for _, s := range c.Systems {
		for _, f := range s.Emits {
			emitters[f] = append(emitters[f], s.System)
		}
	}
	for _, g := range c.Groups {
		for _, f := range g.Emits {
			emitters[f] = append(emitters[f], source(g.Group))
		}
		for _, f := range slices.Concat(g.Reads, g.Upcasts) {
			readers[f] = append(readers[f], g.Group)
		}
	}
	return emitters, readers
}

// source is what a group is called where facts come from.
func source(group string) string { return "spine/" + group }

// set sorts and removes doubles; it is never nil.
func set(words []string) []string {
	return append([]string{}, slices.Compact(slices.Sorted(slices.Values(words)))...)
}

func personal(fields []Field) []string {
	kinds := map[string]bool{}
	for _, f := range fields {
		if f.PII != "none" && f.PII != "" {
			kinds[f.PII] = true
		}
	}
	return append([]string{}, slices.Sorted(maps.Keys(kinds))...)
}

// Fact finds a fact by its name; without a version it is the newest.
func (c Catalog) Fact(name string) (Fact, bool) {
	found, ok := Fact{}, false
	for _, f := range c.Facts { // by name, then version
		if f.Fact == name || event.NameOf(f.Fact) == name {
			found, ok = f, true
		}
	}
	return found, ok
}

// System finds a source system.
func (c Catalog) System(name string) (System, bool) {
	for _, s := range c.Systems {
		if s.System == name {
			return s, true
		}
	}
	return System{}, false
}

// Group finds a group.
func (c Catalog) Group(name string) (Group, bool) {
	for _, g := range c.Groups {
		if g.Group == name {
			return g, true
		}
	}
	return Group{}, false
}
