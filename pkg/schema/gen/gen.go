// Package gen writes the Go types of facts beside their schemas: plain structs, the
// methods by which the engine finds their identity, and encoders and decoders on the
// bounded primitives of pkg/wire/avrobin.
//
//	schemas/<noun>/<verb>.v<N>.avsc   <verb>_v<N>_gen.go: type <Verb>V<N>
//	schemas/common/<record>.avsc      <record>_gen.go
//
// A record or enum declared inside a fact is named <fact type><name>: PlacedV2Line.
// The record spine.common.EventMeta is event.Meta.
package gen

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/renameio/v2"
	"golang.org/x/mod/modfile"

	"github.com/eventspine/spine/pkg/schema"
)

// suffix is how the name of a generated file ends.
const suffix = "_gen.go"

// sharedImport is the package of the records that Spine itself shares.
const sharedImport = "github.com/eventspine/spine/schemas/common"

// Generate writes the Go files of the facts and shared records whose schemas stand
// below dir, and removes generated files that no schema asks for any more. root is
// the index of dir among the roots that the set was loaded from. It answers the
// files that changed, as paths below dir.
func Generate(set *schema.Set, dir string, root int) ([]string, error) {
	return compare(set, dir, root, func(name string, text []byte) error {
		if text == nil {
			return os.Remove(name)
		}
		return renameio.WriteFile(name, text, 0o644)
	})
}

// Check answers the files that Generate would change.
func Check(set *schema.Set, dir string, root int) ([]string, error) {
	return compare(set, dir, root, func(string, []byte) error { return nil })
}

// compare calls change for each file that differs from what the set asks for; the
// text is nil for a file that should not be there.
func compare(set *schema.Set, dir string, root int, change func(name string, text []byte) error) ([]string, error) {
	imports, err := sharedPackage(set, dir, root)
	if err != nil {
		return nil, err
	}
	files, err := Files(set, root, imports)
	if err != nil {
		return nil, err
	}
	err = fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(name, suffix) && files[name] == nil {
			files[name] = nil
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading generated files: %w", err)
	}
	var changed []string
	for _, name := range slices.Sorted(maps.Keys(files)) {
		full := filepath.Join(dir, filepath.FromSlash(name))
		have, err := os.ReadFile(full)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return changed, fmt.Errorf("reading generated file: %w", err)
		}
		if files[name] != nil && bytes.Equal(have, files[name]) {
			continue
		}
		if err := change(full, files[name]); err != nil {
			return changed, fmt.Errorf("writing %s: %w", name, err)
		}
		changed = append(changed, name)
	}
	return changed, nil
}

// Files are the generated files by their path below the root, such as
// order/placed_v2_gen.go. shared is the import path of package common.
func Files(set *schema.Set, root int, shared string) (map[string][]byte, error) {
	g := generator{names: map[string]goName{}, shared: shared}
	for _, s := range set.Shared() {
		g.names[s.FullName] = goName{pkg: "common", name: s.Name}
	}
	files, nouns := map[string][]byte{}, map[string]string{}
	var errs []error
	add := func(source string, text []byte, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("generating Go for %s: %w", source, err))
		}
		dir, base := path.Split(strings.TrimSuffix(source, ".avsc"))
		files[dir+strings.NewReplacer(".", "_", "-", "_").Replace(base)+suffix] = text
	}
	for _, s := range set.Shared() {
		if s.Root == root {
			text, err := g.sharedRecord(s)
			add(s.File, text, err)
			nouns["common"] = "records that facts share"
		}
	}
	for _, f := range set.Facts() {
		if f.Root == root {
			text, err := g.fact(f)
			add(f.File, text, err)
			nouns[f.Type.Noun] = "facts about: " + strings.ReplaceAll(f.Type.Noun, "-", " ")
		}
	}
	for noun, what := range nouns {
		pkg := strings.ReplaceAll(noun, "-", "")
		text := fmt.Sprintf("%s\n\n// Package %s holds the %s.\n// The types are generated from the schemas beside them.\npackage %s\n", header, pkg, what, pkg)
		files[noun+"/doc"+suffix] = []byte(text)
	}
	return files, errors.Join(errs...)
}

// sharedPackage is the import path of package common for the types below dir: its
// own, where dir has shared records, else Spine's.
func sharedPackage(set *schema.Set, dir string, root int) (string, error) {
	own := slices.ContainsFunc(set.Shared(), func(s schema.Shared) bool { return s.Root == root })
	if !own {
		return sharedImport, nil
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("finding the module of %s: %w", dir, err)
	}
	for top := abs; ; top = filepath.Dir(top) {
		text, err := os.ReadFile(filepath.Join(top, "go.mod"))
		if err == nil {
			rel, err := filepath.Rel(top, abs)
			if err != nil {
				return "", fmt.Errorf("finding the module of %s: %w", dir, err)
			}
			return path.Join(modfile.ModulePath(text), filepath.ToSlash(rel), "common"), nil
		}
		if top == filepath.Dir(top) {
			return "", fmt.Errorf("finding the module of %s: no go.mod above it", dir)
		}
	}
}
