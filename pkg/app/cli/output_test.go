package cli_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eventspine/spine/pkg/app/cli"
	"github.com/eventspine/spine/pkg/app/config"
)

func printed(t *testing.T, format string, v any, fill func(*cli.Table)) string {
	t.Helper()
	var out strings.Builder
	a := &cli.CLI{Output: format, Process: cli.Process{Stdout: &out}}
	if err := a.Print(v, fill); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestPrint_table(t *testing.T) {
	t.Parallel()
	got := printed(t, "table", nil, func(w *cli.Table) {
		w.Row("NAME", "DAY", "LAG", "SUM", "NOTE")
		w.Row("inventory", "2026-03-14", 5, "-1.5000", "")
		w.Row("größe", "2026-03-15", 12345, "200.2500", "all is well")
		w.Line("a line %d", 1)
		w.Row("x", 1)
		w.Row("longer", 200)
	})
	want := `NAME       DAY           LAG       SUM  NOTE
inventory  2026-03-14      5   -1.5000  -
größe      2026-03-15  12345  200.2500  all is well
a line 1
x         1
longer  200
`
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestPrint_forProgrammes(t *testing.T) {
	t.Parallel()
	v := struct {
		Name string   `json:"name"`
		List []string `json:"list"`
		Big  string   `json:"big"`
	}{"a<b>&c", []string{}, "9007199254740993"}
	if got, want := printed(t, "json", v, nil), `{"name":"a<b>&c","list":[],"big":"9007199254740993"}`+"\n"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := printed(t, "yaml", v, nil), "name: a<b>&c\nlist: []\nbig: \"9007199254740993\"\n"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	a := &cli.CLI{Output: "xml"}
	if code := (&cli.CLI{Process: cli.Process{Stderr: &strings.Builder{}}}).ExitCode(a.Print(v, nil)); code != cli.ExitUsage {
		t.Errorf("-o xml: exit %d", code)
	}
}

func TestExitCode(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err  error
		code int
		says string
	}{
		"nothing":       {nil, 0, ""},
		"a failure":     {errors.New("sick"), 1, "spine: sick\n"},
		"wrong words":   {cli.Usage("no %s", "x"), 2, "spine: no x\n"},
		"configuration": {fmt.Errorf("reading: %w", config.ErrInvalid), 2, "spine: reading: invalid configuration\n"},
		"drift":         {&cli.ExitError{Code: cli.ExitDrift}, 3, ""},
		"a guard":       {fmt.Errorf("applying: %w", cli.Refused("no")), 4, "spine: applying: no\n"},
		"findings":      {&cli.ExitError{Code: cli.ExitFindings, Err: errors.New("3 files")}, 100, "spine: 3 files\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var said strings.Builder
			a := &cli.CLI{Process: cli.Process{Stderr: &said}}
			if code := a.ExitCode(c.err); code != c.code || said.String() != c.says {
				t.Errorf("exit %d, %q; want %d, %q", code, said.String(), c.code, c.says)
			}
		})
	}
}

// Where nobody can be asked, what needs a confirmation is refused.
func TestConfirm(t *testing.T) {
	t.Parallel()
	a := &cli.CLI{Process: cli.Process{Stdin: strings.NewReader("y\n"), Stderr: &strings.Builder{}}}
	if err := a.Confirm(true, "do it"); err != nil {
		t.Error(err)
	}
	exit, ok := cli.As[*cli.ExitError](a.Confirm(false, "do it"))
	if !ok || exit.Code != cli.ExitRefused {
		t.Errorf("got %v, want a refusal", exit)
	}
}
