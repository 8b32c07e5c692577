package spine_test

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var (
	span  = regexp.MustCompile("`([^`]+)`")
	entry = regexp.MustCompile(`^\| *(\d+) *\|`)
	link  = regexp.MustCompile(`\]\(([^)\s]+)\)`)
)

// Every test that docs/pitfalls.md names exists, and every relative link leads
// somewhere.
func TestDocs(t *testing.T) {
	t.Parallel()
	root := os.DirFS(".")
	found, entries := pitfalls(t, root, "docs/pitfalls.md")
	if entries < 100 {
		t.Errorf("docs/pitfalls.md: %d entries are read, its form has changed", entries)
	}
	pages := []string{"README.md", "CONTRIBUTING.md"}
	for _, pattern := range []string{"docs/*.md", "docs/*/*.md"} {
		more, err := fs.Glob(root, pattern)
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, more...)
	}
	for _, page := range pages {
		found = append(found, links(t, root, page)...)
	}
	for _, f := range found {
		t.Error(f)
	}
}

func TestDocs_canFail(t *testing.T) {
	t.Parallel()
	root := os.DirFS(filepath.Join("testdata", "docs"))
	found, entries := pitfalls(t, root, "pitfalls.md")
	found = append(found, links(t, root, "pitfalls.md")...)
	want := []string{
		"pitfalls.md:6: no folder pkg/none",
		"pitfalls.md:7: pkg/one has no TestTwo",
		"pitfalls.md:8: pkg/one has no story \"untold\" of TestOne",
		"pitfalls.md:9: entry 7 follows entry 4",
		"pitfalls.md:10: entry 8 is \"tested\" and names no test",
		"pitfalls.md:11: entry 9 is \"maybe\": want tested, cannot, can happen, in part or not yet",
		"pitfalls.md:12: TestOne stands behind no folder",
		"pitfalls.md:14: no such file: ../gone.md",
	}
	if diff := cmp.Diff(want, found); diff != "" || entries != 10 {
		t.Errorf("%d entries, want 10 (-want +got):\n%s", entries, diff)
	}
}

// pitfalls checks the tables of a page: number, what goes wrong, whether it can
// happen here, what catches it.
func pitfalls(t *testing.T, root fs.FS, page string) (found []string, entries int) {
	t.Helper()
	for i, line := range lines(t, root, page) {
		number := entry.FindStringSubmatch(line)
		if number == nil {
			continue
		}
		at := fmt.Sprintf("%s:%d: ", page, i+1)
		cells := strings.Split(strings.Trim(line, "| "), "|")
		for len(cells) < 4 {
			cells = append(cells, "")
		}
		entries++
		if number[1] != fmt.Sprint(entries) {
			var last int
			if _, err := fmt.Sscan(number[1], &last); err != nil {
				t.Fatal(err)
			}
			found = append(found, fmt.Sprintf("%sentry %d follows entry %d", at, last, entries-1))
			entries = last
		}
		names, missing := named(t, root, cells[3])
		for _, m := range missing {
			found = append(found, at+m)
		}
		state := strings.TrimSpace(cells[2])
		switch word, _, _ := strings.Cut(strings.SplitN(state, ":", 2)[0], ","); {
		case !regexp.MustCompile(`^(tested|cannot|can happen|in part|not yet)\b`).MatchString(word):
			found = append(found, fmt.Sprintf("%sentry %s is %q: want tested, cannot, can happen, in part or not yet", at, number[1], state))
		case names == 0 && (strings.HasPrefix(word, "tested") || strings.HasPrefix(word, "in part")):
			found = append(found, fmt.Sprintf("%sentry %s is %q and names no test", at, number[1], state))
		}
	}
	return found, entries
}

// named counts the tests that a cell names and tells which of them don't exist: a
// folder, behind it the names of its tests, behind a slash the story of a suite.
func named(t *testing.T, root fs.FS, cell string) (names int, missing []string) {
	t.Helper()
	folder := ""
	for _, s := range span.FindAllStringSubmatch(cell, -1) {
		name, story, told := strings.Cut(s[1], "/")
		if !regexp.MustCompile(`^(Test|Fuzz|Benchmark)[A-Z]`).MatchString(name) {
			folder = s[1]
			if _, err := fs.Stat(root, folder); err != nil {
				missing = append(missing, "no folder "+folder)
			}
			continue
		}
		names++
		switch {
		case folder == "":
			missing = append(missing, name+" stands behind no folder")
		case !holds(t, root, path.Join(folder, "*_test.go"), "func "+name+"("):
			if _, err := fs.Stat(root, folder); err == nil {
				missing = append(missing, folder+" has no "+name)
			}
		case told && !holds(t, root, path.Join(folder, "*.go"), `"`+story+`"`) && !holds(t, root, path.Join(folder, "*", "*.go"), `"`+story+`"`):
			missing = append(missing, fmt.Sprintf("%s has no story %q of %s", folder, story, name))
		}
	}
	return names, missing
}

// holds says whether one of the files contains a text.
func holds(t *testing.T, root fs.FS, pattern, text string) bool {
	t.Helper()
	files, err := fs.Glob(root, pattern)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		content, err := fs.ReadFile(root, file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(content), text) {
			return true
		}
	}
	return false
}

// links finds the relative links of a page that lead nowhere.
func links(t *testing.T, root fs.FS, page string) (found []string) {
	t.Helper()
	code := false
	for i, line := range lines(t, root, page) {
		if strings.HasPrefix(line, "```") {
			code = !code
		}
		if code {
			continue
		}
		for _, l := range link.FindAllStringSubmatch(line, -1) {
			target, _, _ := strings.Cut(l[1], "#")
			if target == "" || strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			if _, err := fs.Stat(root, path.Join(path.Dir(page), target)); err != nil {
				found = append(found, fmt.Sprintf("%s:%d: no such file: %s", page, i+1, target))
			}
		}
	}
	return found
}

func lines(t *testing.T, root fs.FS, page string) []string {
	t.Helper()
	content, err := fs.ReadFile(root, page)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(content), "\n")
}
