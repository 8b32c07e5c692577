package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A module outside this one, with an adapter, a group, a fact and a topic of its own,
// generates its code, builds its binary and runs a signed webhook through it. It needs
// no network: what it uses, this repository uses.
func TestOutsideModule(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("builds a binary")
	}
	dir := t.TempDir()
	outsideModule(t, dir)
	run := func(name string, args ...string) (stdout, stderr string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		var out, errs strings.Builder
		cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &errs
		cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off", "GOWORK=off", "GO111MODULE=on", "SPINE_CONFIG=")
		if err := cmd.Run(); err != nil {
			t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out.String(), errs.String())
		}
		return out.String(), errs.String()
	}
	run("go", "run", "./cmd/contracts", "schema", "lint")
	if made, _ := run("go", "run", "./cmd/contracts", "schema", "gen", "--dir", "schemas"); !strings.Contains(made, "schemas/parcel/collected_v1_gen.go") {
		t.Errorf("schema gen made %q", made)
	}
	run("go", "build", "-o", "harbour", ".")
	harbour := filepath.Join(dir, "harbour")
	run(harbour, "schema", "gen", "--check")
	run(harbour, "schema", "release")
	run(harbour, "schema", "compat")
	if listed, _ := run(harbour, "schema", "list"); !regexp.MustCompile(`(?m)^parcel.collected.v1 +logistics.parcel.events `).MatchString(listed) {
		t.Errorf("schema list:\n%s", listed)
	}
	out, _ := run(harbour, "demo", "--orders", "5", "-o", "json")
	checkHarbour(t, out)
	table, _ := run(harbour, "demo", "--orders", "2")
	if !regexp.MustCompile(`PARCELS THAT LEFT\nCURRENCY +PARCELS +UNITS\nEUR +2 +99800\n`).MatchString(table) {
		t.Errorf("the group's report is missing:\n%s", table)
	}
}

// checkHarbour reads what the demo of the module says of itself.
func checkHarbour(t *testing.T, out string) {
	t.Helper()
	type group struct{ Handled, Dead int }
	type result struct {
		Deliveries struct{ Sent, Accepted, Refused int }
		Facts      map[string]int
		Groups     map[string]group
		Books      map[string]int
	}
	var got result
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	want := result{
		Facts: map[string]int{"parcel.collected.v1": 5}, Groups: map[string]group{"dock": {Handled: 5}},
		Books: map[string]int{"lost": 0, "doubled": 0, "phantom": 0, "out_of_order": 0},
	}
	want.Deliveries.Sent, want.Deliveries.Accepted, want.Deliveries.Refused = 7, 6, 1
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("demo (-want +got):\n%s", diff)
	}
}

// outsideModule copies the module and makes its go.mod: what this repository requires,
// and this repository itself, from where it stands.
func outsideModule(t *testing.T, dir string) {
	t.Helper()
	if err := os.CopyFS(dir, os.DirFS("testdata/module")); err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs(repository)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		if name == "go.mod" {
			mod := regexp.MustCompile(`(?m)^module .*$`).ReplaceAllString(string(text), "module example.com/harbour")
			text = []byte(mod + "\nrequire github.com/eventspine/spine v0.0.0\n\nreplace github.com/eventspine/spine => " + root + "\n")
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
