// Package consumertest is the conformance kit of groups: it gives a fresh group every
// fact that it reads, in every version and frozen revision of its schema, first without faults and then with one kind of fault at a time,
// and compares what the group leaves behind. It needs no Kafka: a small engine of its
// own does what dispatch does, on the store that dispatch uses. Only tests import it.
//
// Compared are the group's tables (rows as a multiset), the facts that it publishes
// (ids and contents), the effects that it asks for (name, key, arguments), and what
// becomes of each event. The outside is the kit: an effect's Do is never called.
//
// A group that fails is told with the shortest history and the single fault that show
// it, and with what differs.
package consumertest

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/once/database/databasetest"
)

// Event is an event as it stands in a topic: the envelope that a handler sees, and a
// stamped fact, which may be of an older major.
type Event struct {
	event.Event
	Fact event.Fact
}

// Options say what a group can't say of itself.
type Options struct {
	Seed uint64
	// Events are a believable history, the same for the same seed: every event is
	// handled. Generated facts, valid and senseless, follow it.
	Events func(seed uint64) []Event
	// Schemas are the fleet's, with their frozen revisions below released: writers of
	// older revisions take turns with those of today's. nil = all write as today.
	Schemas fs.FS
	// Volatile names what differs between two equal runs, such as the time of a call:
	// "table.column", "fact.Field.Field" or "effect.Field".
	Volatile []string
	// Unordered names, in the same form, what depends on the order between keys, such
	// as a running number.
	Unordered []string
	// Outside answers what the outside saw since it was asked the last time, and
	// forgets it. nil = nothing is to be seen there.
	Outside func() []string
}

// Run tries the group on SQLite, and on the PostgreSQL server of SPINE_TEST_POSTGRES
// if there is one; a subtest per fault. g makes the group as a starting process does,
// its configuration read and validated.
func Run(t *testing.T, g func() consumer.Group, o Options) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		run(t, g, o, sqlite(t, g))
	})
	if os.Getenv(databasetest.Postgres) != "" {
		t.Run("postgres", func(t *testing.T) {
			t.Parallel()
			run(t, g, o, databasetest.PostgresURL)
		})
	}
}

func run(t *testing.T, g func() consumer.Group, o Options, url func(testing.TB) string) {
	t.Helper()
	k := &kit{make: g, options: o, url: url, events: history(t, g(), o)}
	for _, finding := range k.refer(t) {
		t.Error(finding)
	}
	if finding := k.try(t, again()); finding != "" {
		t.Fatal(finding) // no fault is to blame for it
	}
	for _, f := range faults() {
		t.Run(f.name, func(t *testing.T) {
			if o.Outside == nil { // which has one memory for all
				t.Parallel()
			}
			if finding := k.try(t, f); finding != "" {
				t.Error(finding)
			}
		})
	}
}

// Findings is what Run would report on SQLite, one text each.
func Findings(tb testing.TB, g func() consumer.Group, o Options) []string {
	tb.Helper()
	k := &kit{make: g, options: o, url: sqlite(tb, g), events: history(tb, g(), o)}
	found := k.refer(tb)
	if finding := k.try(tb, again()); finding != "" {
		return append(found, finding)
	}
	for _, f := range faults() {
		if finding := k.try(tb, f); finding != "" {
			found = append(found, finding)
		}
	}
	return found
}

// kit is a group with its history.
type kit struct {
	make      func() consumer.Group
	options   Options
	url       func(testing.TB) string
	events    []given
	reference result
	known     sync.Map // results without faults, by the ids of their events
}

// refer makes the run that all others are compared with, and finds what is wrong with
// the group even without faults.
func (k *kit) refer(tb testing.TB) (found []string) {
	tb.Helper()
	r := k.run(tb, k.events, fault{}, nobody)
	found = r.ledger(tb)
	k.reference = r.result(tb)
	handled := map[string]bool{}
	for _, e := range k.events {
		became := r.outcomes[e.ID]
		switch {
		case became == handledWell:
			handled[e.Type] = true
		case e.believable, r.panicked[e.ID]:
			found = append(found, fmt.Sprintf("%s %s: %s, without any fault", e.title(), e.Key, became))
		}
	}
	for _, typ := range r.types() {
		if !handled[typ] {
			found = append(found, fmt.Sprintf("no event of %s was handled: add one to Options.Events", typ))
		}
	}
	return found
}

// try runs the history with a fault at each event. It answers the story of what went
// wrong, "" for nothing.
func (k *kit) try(tb testing.TB, f fault) string {
	tb.Helper()
	with := k.run(tb, k.events, f, everybody).result(tb)
	if diff := difference(k.reference.of(f), with.of(f)); len(diff) > 0 {
		return k.story(tb, f, diff)
	}
	return ""
}

func nobody(int) bool    { return false }
func everybody(int) bool { return true }

// sqlite makes fresh SQLite databases: copies of one in which all tables stand.
func sqlite(tb testing.TB, g func() consumer.Group) func(testing.TB) string {
	tb.Helper()
	template := filepath.Join(tb.TempDir(), "template.db")
	db := open(tb, g(), "sqlite:"+template)
	if err := db.Close(); err != nil {
		tb.Fatal(err)
	}
	content, err := os.ReadFile(template)
	if err != nil {
		tb.Fatal(err)
	}
	return func(tb testing.TB) string {
		tb.Helper()
		name := filepath.Join(tb.TempDir(), "group.db")
		if err := os.WriteFile(name, content, 0o600); err != nil {
			tb.Fatal(err)
		}
		return "sqlite:" + name
	}
}
