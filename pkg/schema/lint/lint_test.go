package lint_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eventspine/spine/pkg/schema/lint"
)

var update = flag.Bool("update", false, "write the golden files")

// Every rule has a bad folder, whose findings are golden, and a good one without
// findings.
func TestCheck_rules(t *testing.T) {
	t.Parallel()
	cases := []string{"L00", "ignore"}
	for _, r := range lint.Rules() {
		cases = append(cases, r.ID)
	}
	for _, name := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if good := check(t, name, "good"); good != "" {
				t.Errorf("findings in the good folder:\n%s", good)
			}
			bad := check(t, name, "bad")
			for line := range strings.Lines(bad) {
				if name != "ignore" && strings.Fields(line)[1] != name {
					t.Errorf("the bad folder breaks another rule: %s", line)
				}
			}
			golden := filepath.Join("testdata", name, "want.txt")
			if *update {
				if err := os.WriteFile(golden, []byte(bad), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), bad); diff != "" || bad == "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

func check(t *testing.T, rule, folder string) string {
	t.Helper()
	found, err := lint.Check(os.DirFS(filepath.Join("testdata", "shared")), os.DirFS(filepath.Join("testdata", rule, folder)))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range found {
		b.WriteString(f.String() + "\n")
	}
	return b.String()
}

// The schemas of this repository break no rule.
func TestCheck_repository(t *testing.T) {
	t.Parallel()
	found, err := lint.Check(os.DirFS(filepath.Join("..", "..", "..", "schemas")))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		t.Errorf("schemas/%s", f)
	}
}
