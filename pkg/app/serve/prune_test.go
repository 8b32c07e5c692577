package serve

import (
	"context"
	"log/slog"
	"maps"
	"testing"
	"testing/fstest"
	"time"

	"github.com/eventspine/spine/pkg/bus"
	"github.com/eventspine/spine/pkg/devstack/devtest"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/once/room"
	"github.com/eventspine/spine/pkg/topic"
)

func file(name, retention string) *fstest.MapFile {
	return &fstest.MapFile{Data: []byte("name: " + name + "\nclass: transactional\naggregate: order\nowner: commerce\ndoc: a topic of a test\n" +
		"key: {form: <order>, doc: the order it is about}\npartitions: 1\nretention: " + retention + "\nfacts: [" + name[len("a."):len(name)-len(".events")] + ".placed.v1]\n")}
}

// A group remembers as long as the slowest of its topics can redeliver, and for good
// where one of them keeps everything.
func TestWindow(t *testing.T) {
	t.Parallel()
	topics, err := topic.Load(fstest.MapFS{
		"a.order.events.yaml":   file("a.order.events", "28d"),
		"a.parcel.events.yaml":  file("a.parcel.events", "7d"),
		"a.archive.events.yaml": file("a.archive.events", "forever"),
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &server{Options: Options{Topics: topics}}
	const day = 24 * time.Hour
	for _, c := range []struct {
		topics []string
		want   time.Duration
	}{
		{[]string{"a.parcel.events"}, 8 * day},
		{[]string{"a.parcel.events", "a.order.events"}, 29 * day},
		{[]string{"a.order.events", "a.archive.events"}, 0},
		{[]string{"raw.shopify"}, 29 * day},
		{[]string{"unknown.topic"}, 0},
	} {
		if got := s.window(c.topics); got != c.want {
			t.Errorf("%v: %v, want %v", c.topics, got, c.want)
		}
	}
}

// handleOne makes an inbox row.
func handleOne(t *testing.T, store *once.Store) {
	t.Helper()
	owner, err := store.Own(t.Context(), "orders", 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	item := once.Item{Mode: once.Live, EventID: "e1", Record: once.Record{Topic: "orders", Key: []byte("k"), Timestamp: time.Unix(1, 0)}}
	if _, err := owner.Do(t.Context(), item, func(context.Context, once.Tx) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if err := owner.Advance(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
}

// On a broker that lets records expire the inbox forgets, on the embedded one never.
func TestPruneOnce(t *testing.T) {
	t.Parallel()
	parts := devtest.Parts(t)
	db, err := once.Open(t.Context(), once.Options{URL: parts.DatabaseURL})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	handleOne(t, db.Store("billing"))
	s := &server{Options: Options{Kafka: bus.Config{Brokers: parts.Brokers}, Log: slog.New(slog.DiscardHandler)}}
	got := map[string]int{}
	round := func(now time.Time) error {
		return s.pruneOnce(t.Context(), forgettable(db, "billing", time.Hour, 0), now, func(o old, rows int) { got[o.table] += rows })
	}
	if err := round(time.Now()); err != nil || len(got) != 0 {
		t.Errorf("what was just handled: pruned %v, %v", got, err)
	}
	want := map[string]int{}
	if parts.Real {
		want["inbox"] = 1
	}
	if err := round(time.Now().Add(2 * time.Hour)); err != nil || !maps.Equal(got, want) {
		t.Errorf("what was handled before: pruned %v, %v, want %v", got, err, want)
	}
}

// Effects that are done and what was given up are forgotten, too; what a person has
// to decide is not.
func TestForgettable(t *testing.T) {
	t.Parallel()
	db, err := once.Open(t.Context(), once.Options{URL: devtest.Parts(t).DatabaseURL})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for i, state := range []string{"done", "dropped", "unknown", "pending", "intent"} {
		if _, err := db.SQL().ExecContext(t.Context(), `INSERT INTO spine_effects (group_name, ownership, name, effect_key, state, attempts,
			next_at, created_at, changed_at, error) VALUES ('billing', 1, 'mail', $1, $1, 1, 0, 1, 1, '')`, state); err != nil {
			t.Fatal(err)
		}
		if _, err := db.SQL().ExecContext(t.Context(), `INSERT INTO spine_dropped (group_name, event_id, ownership, kafka_offset, dropped_at)
			VALUES ('billing', 'e', 1, $1, $1)`, i); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string]int{}
	if kept := forgettable(db, "billing", 0, 0); len(kept) != 0 {
		t.Errorf("%d tables are pruned where topics keep everything and dead rows stay", len(kept))
	}
	for _, old := range forgettable(db, "billing", time.Hour, time.Hour) {
		for n := 1; n > 0; got[old.table] += n { // step by step
			if n, err = old.prune(t.Context(), time.UnixMicro(3), 1); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got["effects"] != 2 || got["dropped"] != 3 || got["inbox"] != 0 {
		t.Errorf("pruned %v, want 2 effects and 3 marks", got)
	}
	if c, err := db.Store("billing").Counts(t.Context()); err != nil || c.EffectsUnknown != 1 || c.EffectsOpen != 2 || c.EffectsDone != 0 {
		t.Errorf("left: %+v, %v", c, err)
	}
}

// What is dead is dropped through its owner, whatever the broker keeps, when nobody has
// looked after it for as long as the group is told to keep it.
func TestPruneOnce_dead(t *testing.T) {
	t.Parallel()
	parts := devtest.Parts(t)
	db, err := once.Open(t.Context(), once.Options{URL: parts.DatabaseURL})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	owner, err := db.Store("billing").Own(t.Context(), "orders", 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	row := once.Row{State: once.Dead, EventID: "e1", LastFailed: now, Record: once.Record{Topic: "orders", Timestamp: now}}
	if err := owner.Spill(t.Context(), row, nil, nil); err != nil {
		t.Fatal(err)
	}
	s := &server{Options: Options{Kafka: bus.Config{Brokers: parts.Brokers}, Log: slog.New(slog.DiscardHandler)}}
	for _, c := range []struct {
		after time.Duration
		want  int
	}{{time.Hour, 0}, {3 * time.Hour, 1}, {3 * time.Hour, 0}} {
		got := 0
		err := s.pruneOnce(t.Context(), forgettable(db, "billing", 0, 2*time.Hour), now.Add(c.after), func(_ old, rows int) { got += rows })
		if err != nil || got != c.want {
			t.Errorf("after %v: dropped %d, %v, want %d", c.after, got, err, c.want)
		}
	}
	if _, err := owner.Serve(t.Context(), func(int64) bool { return false }); err != nil {
		t.Fatal(err)
	}
	if left, err := db.Store("billing").Rows(t.Context(), once.RowFilter{}); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	if gone, err := room.Dropped(t.Context(), db.DB, "billing"); err != nil || len(gone) != 1 || gone[0] != "e1" {
		t.Errorf("given up: %v, %v", gone, err)
	}
}
