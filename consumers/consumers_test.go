package consumers_test

import (
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/eventspine/spine/consumers"
	"github.com/eventspine/spine/consumers/internal/grouptest"
	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/event"
)

// A group is one folder and one line in the list, under one name.
func TestFoldersAreTheList(t *testing.T) {
	t.Parallel()
	var listed []string
	for _, g := range consumers.All() {
		listed = append(listed, g.Name)
	}
	if !slices.IsSorted(listed) {
		t.Errorf("the list in consumers/consumers.go is %v: sort it by name", listed)
	}
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var folders []string
	for _, e := range entries {
		if e.IsDir() && e.Name() != "internal" {
			folders = append(folders, e.Name())
		}
	}
	for _, name := range folders {
		if !slices.Contains(listed, name) {
			t.Errorf("consumers/%[1]s is not in the list: add the line %[1]s.Group() to All in consumers/consumers.go, and name the group %[1]q", name)
		}
	}
	for _, name := range listed {
		if !slices.Contains(folders, name) {
			t.Errorf("group %[1]q has no folder: move its package to consumers/%[1]s, or give it the name of its folder", name)
		}
	}
}

// What every group owes to those who run it.
func TestGroups_keepTheirWord(t *testing.T) {
	t.Parallel()
	object := regexp.MustCompile(`(?m)^CREATE (?:TABLE|VIEW|INDEX) (\w+)`)
	for _, g := range consumers.All() {
		t.Run(g.Name, func(t *testing.T) {
			t.Parallel()
			if g.Owner == "" {
				t.Error("names no owner: set Group.Owner to the team to ask")
			}
			seen := map[string]bool{}
			for _, h := range g.On {
				if _, err := event.ParseType(h.Type); err != nil || seen[h.Type] {
					t.Errorf("handles %s twice, or it is no fact: keep one handler per fact", h.Type)
				}
				seen[h.Type] = true
			}
			files, err := fs.Glob(g.Tables, "*.sql")
			if err != nil || len(files) == 0 {
				t.Fatalf("has no migrations: %v", err)
			}
			for _, f := range files {
				sql, err := fs.ReadFile(g.Tables, f)
				if err != nil {
					t.Fatal(err)
				}
				names := object.FindAllStringSubmatch(string(sql), -1)
				for _, m := range names {
					if !strings.HasPrefix(m[1], g.Name+"_") {
						t.Errorf("%s: %s: start the name with %s_, so that groups can share a database", f, m[1], g.Name)
					}
				}
			}
			grouptest.Each(t, func() consumer.Group { return g }, func(k *grouptest.Kit) {
				t := k.T
				t.Helper()
				// The view that the books are kept by.
				if rows := k.Query(t, `SELECT event_id, fact, order_key, effect FROM `+g.Name+`_effects`); len(rows) != 0 {
					t.Errorf("%s_effects is not empty at the start", g.Name)
				}
				for _, h := range g.On {
					if rows := k.Query(t, g.Ledger[h.Type]); len(rows) != 0 {
						t.Errorf("the ledger of %s is not empty at the start", h.Type)
					}
					for _, old := range h.Upcasts {
						k.Query(t, g.Ledger[old.From])
					}
				}
				for _, r := range g.Reports {
					k.Query(t, r.Query)
				}
				for _, table := range k.Tables(t) {
					if table == g.Name+"_goose" {
						continue
					}
					k.Query(t, `SELECT * FROM `+table+`_view`) // each table has a view for people
				}
				k.Down(t)
				if left := k.Tables(t); len(left) != 1 {
					t.Errorf("the migrations leave %v behind when taken down", left)
				}
			})
		})
	}
}
