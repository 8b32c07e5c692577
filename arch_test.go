package spine_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/eventspine/spine/internal/law"
)

// The laws of this repository. What a failure says is what to do.
func laws() []law.Law {
	return []law.Law{
		law.Imports(homes()),
		law.Listed("producers", "consumers"),
		law.TestKits(),
		law.NoInit(),
		law.NoMutableVariable(),
		law.NoContextInStruct(),
		law.Budgets(law.Limits{Function: 80, Complexity: 15, File: 500, Package: 1500, Methods: 5, Special: map[string]int{"producers/": 150}}),
		law.Documented(),
	}
}

// homes says what each package may import within the module. The longest prefix
// stands; a package without a home has no place in the layout.
func homes() map[string]law.Home {
	fleet := []string{"pkg/app", "producers", "consumers", "schemas", "topics"}
	return map[string]law.Home{
		"cmd":                       {May: fleet},
		"internal/law":              {},
		"internal/probe":            {May: []string{"pkg/consumer", "pkg/event", "schemas"}},
		"internal/cost":             {May: []string{"pkg", "schemas"}}, // measures, for docs/performance.md
		"pkg/app":                   {May: []string{"pkg"}},
		"pkg/event":                 {Pure: true},
		"pkg/money":                 {},
		"pkg/producer":              {May: []string{"pkg/event"}, Pure: true},
		"pkg/producer/producertest": {May: []string{"pkg/event", "pkg/producer", "pkg/wire"}},
		"pkg/consumer":              {May: []string{"pkg/event"}, Pure: true},
		"pkg/consumer/consumertest": {May: []string{"pkg/event", "pkg/consumer", "pkg/wire", "pkg/once"}},
		"pkg/wire":                  {May: []string{"pkg/event", "pkg/money", "pkg/wire"}},
		"pkg/bus":                   {},
		"pkg/once":                  {May: []string{"pkg/consumer", "pkg/once"}},
		"pkg/intake":                {May: []string{"pkg/event", "pkg/producer", "pkg/wire"}},
		"pkg/translate":             {May: []string{"pkg/event", "pkg/producer", "pkg/consumer", "pkg/wire"}},
		"pkg/translate/again":       {May: []string{"pkg/event", "pkg/producer", "pkg/consumer", "pkg/wire", "pkg/translate", "pkg/once"}},
		"pkg/dispatch":              {May: []string{"pkg/event", "pkg/consumer", "pkg/wire", "pkg/bus", "pkg/once", "pkg/dispatch"}},
		"pkg/schema":                {May: []string{"pkg/event", "pkg/schema"}},
		"pkg/topic":                 {May: []string{"pkg/event", "pkg/wire"}},
		"pkg/catalog":               {May: []string{"pkg/event", "pkg/producer", "pkg/consumer", "pkg/schema", "pkg/topic", "pkg/wire"}},
		"pkg/telemetry":             {},
		"pkg/devstack":              {May: []string{"pkg/devstack", "pkg/once"}},
		"schemas":                   {May: []string{"pkg/event", "pkg/money", "pkg/wire/avrobin", "schemas"}},
		"topics":                    {},
		"producers":                 {May: []string{"pkg/producer", "producers"}},
		"producers/*":               {May: []string{"pkg/producer", "pkg/event", "pkg/money", "schemas"}, Pure: true},
		"consumers":                 {May: []string{"pkg/consumer", "consumers"}},
		"consumers/*":               {May: []string{"pkg/consumer", "pkg/event", "pkg/money", "schemas"}, Pure: true},
		"consumers/internal":        {May: []string{"pkg/consumer", "pkg/event", "pkg/money", "pkg/wire", "schemas"}}, // runs handlers in tests of the groups
		"consumers/notifications":   {May: []string{"pkg/consumer", "pkg/event", "pkg/money", "schemas"}, Pure: true, Except: []string{"github.com/wneessen/go-mail"}},
		"consumers/invoicing":       {May: []string{"pkg/consumer", "pkg/event", "pkg/money", "schemas"}, Pure: true, Except: []string{"github.com/rickar/cal/v2"}},
	}
}

func TestLaws(t *testing.T) {
	t.Parallel()
	tree, err := law.Load(".", "github.com/eventspine/spine")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range laws() {
		t.Run(l.Name, func(t *testing.T) {
			t.Parallel()
			for _, finding := range l.Check(tree) {
				t.Error(finding)
			}
		})
	}
}

// Each law is broken by the example under testdata/arch/<law>, in every way that
// its want.txt names.
func TestLaws_canFail(t *testing.T) {
	t.Parallel()
	for _, l := range laws() {
		t.Run(l.Name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join("testdata", "arch", l.Name)
			tree, err := law.Load(dir, "github.com/eventspine/spine")
			if err != nil {
				t.Fatalf("the law %s needs a bad example: %v", l.Name, err)
			}
			found := strings.Join(l.Check(tree), "\n")
			want, err := os.ReadFile(filepath.Join(dir, "want.txt"))
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(string(want)) {
				if line = strings.TrimSpace(line); line != "" && !strings.Contains(found, line) {
					t.Errorf("%s doesn't find %q in its bad example; found:\n%s", l.Name, line, found)
				}
			}
		})
	}
}
