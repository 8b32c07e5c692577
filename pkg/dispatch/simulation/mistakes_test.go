//go:build !synctests

package simulation_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// mistake is one line in the wrong place.
type mistake struct {
	name     string
	file     string // from the root of the repository
	old, new string
}

// mistakes are planted one at a time into a copy of the code: what the simulation is
// worth is which of them it catches.
func mistakes() []mistake {
	const (
		owner   = "pkg/once/owner.go"
		inbox   = "pkg/once/inbox/inbox.go"
		tracker = "pkg/dispatch/offsets/offsets.go"
		session = "pkg/dispatch/partition/session.go"
		work    = "pkg/dispatch/partition/work.go"
		relay   = "pkg/dispatch/leaving/relay.go"
	)
	return []mistake{
		{"no mark in the inbox", inbox, "	return fresh, database.Each(", "	for _, e := range entries {\n		fresh[e.EventID] = struct{}{}\n	}\n	return fresh, database.Each("},
		{"the epoch is never compared", owner, "epoch != t.o.epoch", "false"},
		{"next_offset is the highest that is done", tracker, "	t.open[i].done = true\n", "	t.open[i].done = true\n	for j := range t.open[:i] {\n		t.open[j].done = true\n	}\n"},
		{"the memory of held keys begins empty", session, "held: owner.Held(),", "held: map[string]struct{}{},"},
		{"successors stay behind", work, "Spill(ctx, row, successors, copies)", "Spill(ctx, row, nil, copies)"},
		{"a held key is handled", work, "if t.mode == once.Live && w.held {", "if false {"},
		{"the start is Kafka's offset", session, "	s.track.Next = s.stored\n", "	if told, ok := g.Members.Committed(l.Partition); ok {\n		s.stored = told\n	}\n	s.track.Next = s.stored\n"},
		{"an outgoing row is removed, then published", relay, "	slow := time.AfterFunc(", "	for _, row := range rows {\n		if err := r.s.Owner.Remove(ctx, []int64{row.ID}); err != nil {\n			return 0, err\n		}\n	}\n	slow := time.AfterFunc("},
	}
}

// Every mistake is caught. It takes minutes, so it is asked for.
func TestMistakes(t *testing.T) {
	t.Parallel()
	if os.Getenv("SPINE_SIM_MISTAKES") == "" {
		t.Skip("SPINE_SIM_MISTAKES is not set")
	}
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mistakes() {
		t.Run(m.name, func(t *testing.T) {
			out, err := simulate(t.Context(), "-failfast", "-overlay="+plant(t, root, m))
			switch {
			case err == nil:
				t.Error("not caught")
			case !strings.Contains(out, "breaks promises"):
				t.Errorf("no promise is broken, but:\n%.3000s", out)
			}
		})
	}
}

// plant writes an overlay in which one file has the mistake.
func plant(t *testing.T, root string, m mistake) string {
	t.Helper()
	name := filepath.Join(root, m.file)
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), m.old); n != 1 {
		t.Fatalf("%s has %d places for this mistake, want 1: the code has changed, change the mistake", m.file, n)
	}
	dir := t.TempDir()
	wrong := filepath.Join(dir, filepath.Base(name))
	if err := os.WriteFile(wrong, []byte(strings.Replace(string(text), m.old, m.new, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {name: wrong}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "overlay.json")
}
