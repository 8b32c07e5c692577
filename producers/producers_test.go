package producers_test

import (
	"os"
	"testing"

	"github.com/eventspine/spine/producers"
)

// One folder, one line in the list, one name for both.
func TestAll_isEveryFolder(t *testing.T) {
	t.Parallel()
	listed := map[string]bool{}
	for _, a := range producers.All() {
		if listed[a.System] {
			t.Errorf("system %s stands in the list twice: remove one line of All in producers/producers.go", a.System)
		}
		listed[a.System] = true
	}
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !e.IsDir() || e.Name() == "testdata" {
			continue
		}
		if !listed[e.Name()] {
			t.Errorf("folder producers/%[1]s is not in the list: add the line %[1]s.Adapter() to All in producers/producers.go", e.Name())
		}
		delete(listed, e.Name())
	}
	for system := range listed {
		t.Errorf("system %[1]s has no folder: call the folder producers/%[1]s, or set Adapter.System to the folder's name", system)
	}
}
