package schema

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/google/renameio/v2"

	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/schema/avsc"
)

// sumsFile records the hashes of the frozen files, in the form of sha256sum.
const sumsFile = "SHA256SUMS"

// Revision is a frozen revision of a fact.
type Revision struct {
	Fact   string // order.placed.v2
	Number int    // from 1
	File   string // released/order/placed.v2.r1.avsc
	Text   string // compact, as registered
}

// Releasing is what Release did with one fact.
type Releasing struct {
	Fact     string `json:"fact"`
	Revision int    `json:"revision"` // the newest one
	File     string `json:"file"`
	Created  bool   `json:"created"` // false: the current file is the newest revision
}

// IncompatibleError is the refusal to freeze or register a revision.
type IncompatibleError struct {
	Findings []Finding
}

// Error names all reasons, one a line.
func (e *IncompatibleError) Error() string {
	lines := []string{"schemas that don't agree with earlier versions:"}
	for _, f := range e.Findings {
		lines = append(lines, f.String())
	}
	return strings.Join(lines, "\n")
}

var revisionLaw = regexp.MustCompile(`^(.+)\.r([1-9][0-9]*)\.avsc$`)

// Revisions reads the frozen revisions below a root, sorted by fact and number.
func Revisions(root fs.FS) ([]Revision, error) {
	var all []Revision
	err := fs.WalkDir(root, avsc.ReleasedDir, func(file string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && file == avsc.ReleasedDir {
			return fs.SkipAll // nothing was released yet
		}
		if err != nil || d.IsDir() || path.Ext(file) != ".avsc" {
			return err
		}
		r, err := readRevision(root, file)
		all = append(all, r)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading released schemas: %w", err)
	}
	slices.SortFunc(all, func(a, b Revision) int {
		if c := strings.Compare(a.Fact, b.Fact); c != 0 {
			return c
		}
		return a.Number - b.Number
	})
	return all, nil
}

func readRevision(root fs.FS, file string) (Revision, error) {
	dir, base := path.Split(file)
	m := revisionLaw.FindStringSubmatch(base)
	if m == nil {
		return Revision{}, fmt.Errorf("%s: want %s/<noun>/<verb>.v<N>.r<M>.avsc", file, avsc.ReleasedDir)
	}
	t, err := event.ParseType(path.Base(dir) + "." + m[1])
	if err != nil {
		return Revision{}, fmt.Errorf("%s: %w", file, err)
	}
	number, err := strconv.Atoi(m[2])
	if err != nil {
		return Revision{}, fmt.Errorf("%s: revision: %w", file, err)
	}
	text, err := fs.ReadFile(root, file)
	if err != nil {
		return Revision{}, err
	}
	node, err := avsc.Parse(file, text)
	if err != nil {
		return Revision{}, err
	}
	return Revision{Fact: t.String(), Number: number, File: file, Text: node.Compact()}, nil
}

// Released are the frozen revisions of a fact, oldest first.
func (s *Set) Released(fact string) []Revision {
	var out []Revision
	for _, r := range s.released {
		if r.Fact == fact {
			out = append(out, r)
		}
	}
	return out
}

// Release freezes the current revisions below dir that differ from their newest
// frozen one, and records their hashes. base are roots whose shared records dir
// uses. A revision that breaks a frozen one of its major is an IncompatibleError
// and nothing is written.
func Release(dir string, base ...fs.FS) ([]Releasing, error) {
	roots := append(slices.Clone(base), os.DirFS(dir))
	set, err := Load(roots...)
	if err != nil {
		return nil, err
	}
	found, err := CheckReleased(roots...)
	if err != nil {
		return nil, err
	}
	if len(found) > 0 {
		return nil, &IncompatibleError{Findings: found}
	}
	var out []Releasing
	for _, f := range set.facts {
		if f.Root != len(roots)-1 {
			continue
		}
		r, err := freeze(dir, f, set.Released(f.Type.String()))
		if err != nil {
			return out, fmt.Errorf("releasing %s: %w", f.Type, err)
		}
		out = append(out, r)
	}
	return out, nil
}

func freeze(dir string, f Fact, frozen []Revision) (Releasing, error) {
	r := Releasing{Fact: f.Type.String()}
	if n := len(frozen); n > 0 {
		r.Revision, r.File = frozen[n-1].Number, frozen[n-1].File
		if frozen[n-1].Text == f.Text {
			return r, nil
		}
	}
	r.Revision++
	name := f.Type.Noun + "/" + f.Type.Verb + ".v" + strconv.Itoa(f.Type.Major) + ".r" + strconv.Itoa(r.Revision) + ".avsc"
	r.File, r.Created = avsc.ReleasedDir+"/"+name, true
	node, err := avsc.Parse(f.File, []byte(f.Text))
	if err != nil {
		return r, err
	}
	text := []byte(node.Indented())
	target := filepath.Join(dir, filepath.FromSlash(r.File))
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil { //nolint:gosec // a source folder
		return r, err
	}
	if err := renameio.WriteFile(target, text, 0o644); err != nil {
		return r, err
	}
	return r, record(filepath.Join(dir, avsc.ReleasedDir, sumsFile), name, text)
}

// record adds a line to the sums, which stay sorted by file.
func record(file, name string, text []byte) error {
	old, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	lines := append(strings.Split(strings.TrimSpace(string(old)), "\n"), sum(text)+"  "+name)
	lines = slices.DeleteFunc(lines, func(l string) bool { return l == "" })
	slices.SortFunc(lines, func(a, b string) int { return strings.Compare(a[min(66, len(a)):], b[min(66, len(b)):]) })
	return renameio.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o644)
}

func sum(text []byte) string {
	h := sha256.Sum256(text)
	return hex.EncodeToString(h[:])
}

// readSums is file name below released → hash.
func readSums(root fs.FS) (map[string]string, error) {
	text, err := fs.ReadFile(root, avsc.ReleasedDir+"/"+sumsFile)
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]string{}, nil
	}
	if err != nil {
		return nil, err
	}
	sums := map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		hash, name, found := strings.Cut(lines.Text(), "  ")
		if found {
			sums[name] = hash
		}
	}
	return sums, lines.Err()
}

// CheckReleased is the law of immutability and the law of compatibility for the
// last root: frozen files have the bytes that were recorded, and each current
// file agrees with all frozen revisions of its major, in both directions
// (promise: immutable). The other roots supply shared records.
func CheckReleased(roots ...fs.FS) ([]Finding, error) {
	if len(roots) == 0 {
		return nil, nil
	}
	found, err := frozenBytes(roots[len(roots)-1])
	if err != nil {
		return nil, err
	}
	t, errs := avsc.ReadTree(roots)
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	frozen, err := Revisions(roots[len(roots)-1])
	if err != nil {
		return nil, err
	}
	current := map[string]*avsc.Type{}
	for _, src := range t.Facts {
		typ, err := TypeOfFile(src.File)
		if err != nil || src.Root != len(roots)-1 {
			continue // Load and Lint say what is wrong with the name
		}
		if current[typ.String()], err = avsc.Resolve(src.Node, t.Lookup); err != nil {
			return nil, err
		}
	}
	for _, r := range frozen {
		found = append(found, r.Against(current[r.Fact])...)
	}
	return SortFindings(found), nil
}

// Against compares the current type of the fact, nil = there is none, with the
// frozen revision, in both directions. Findings stand at the current file.
func (r Revision) Against(now *avsc.Type) []Finding {
	if now == nil {
		return []Finding{{File: r.File, Line: 1, Column: 1, Rule: "R03", Message: r.Fact + " was released and has no current file", Remedy: "bring the file back and mark it deprecated"}}
	}
	then, err := avsc.ParseType(r.File, r.Text)
	if err != nil {
		return []Finding{{File: r.File, Line: 1, Column: 1, Rule: "R01", Message: err.Error(), Remedy: "bring the frozen file back from the history of the repository"}}
	}
	found := compare(then, now, Full)
	for i := range found {
		found[i].Message = fmt.Sprintf("against %s: %s", path.Base(r.File), found[i].Message)
	}
	return found
}

func frozenBytes(root fs.FS) ([]Finding, error) {
	sums, err := readSums(root)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", sumsFile, err)
	}
	frozen, err := Revisions(root)
	if err != nil {
		return nil, err
	}
	var found []Finding
	add := func(file, rule, message, remedy string) {
		found = append(found, Finding{File: file, Line: 1, Column: 1, Rule: rule, Message: message, Remedy: remedy})
	}
	for _, r := range frozen {
		text, err := fs.ReadFile(root, r.File)
		if err != nil {
			return nil, err
		}
		name := strings.TrimPrefix(r.File, avsc.ReleasedDir+"/")
		want, recorded := sums[name]
		delete(sums, name)
		switch {
		case !recorded:
			add(r.File, "R02", "the frozen file isn't recorded in "+sumsFile, "remove the file and run spine schema release, which freezes and records")
		case want != sum(text):
			add(r.File, "R01", "the frozen file was changed", "bring it back from the history of the repository; change "+r.Fact+" in its current file, or make a new major")
		}
	}
	for name := range sums {
		add(avsc.ReleasedDir+"/"+name, "R01", "the frozen file is gone", "bring it back from the history of the repository")
	}
	return found, nil
}
