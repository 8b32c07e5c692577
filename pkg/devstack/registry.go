package devstack

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/google/renameio/v2"
	"github.com/hamba/avro/v2"
)

// apiError is an error of the registry's interface: HTTP status, Confluent's error
// code, and what to do.
type apiError struct {
	Status  int    `json:"-"`
	Code    int    `json:"error_code"`
	Message string `json:"message"`
}

// Error is the message.
func (e *apiError) Error() string { return e.Message }

func notFound(code int, format string, args ...any) *apiError {
	return &apiError{http.StatusNotFound, code, fmt.Sprintf(format, args...)}
}

func unprocessable(code int, format string, args ...any) *apiError {
	return &apiError{http.StatusUnprocessableEntity, code, fmt.Sprintf(format, args...)}
}

// version is one registered schema of a subject.
type version struct {
	Version int    `json:"version"`
	ID      int    `json:"id"`
	Schema  string `json:"schema"`
	Deleted bool   `json:"deleted,omitempty"` // softly: readers by id still find it
}

// state is all that the registry knows. A published state is never changed: a
// write makes a copy, saves it, and puts it in place.
type state struct {
	NextID   int                  `json:"next_id"` // an id is never used twice
	Subjects map[string][]version `json:"subjects"`
	Levels   map[string]string    `json:"levels"` // by subject; "" = global
	Modes    map[string]string    `json:"modes"`  // by subject; "" = global
}

func (s *state) clone() *state {
	c := &state{NextID: s.NextID, Subjects: make(map[string][]version, len(s.Subjects)), Levels: maps.Clone(s.Levels), Modes: maps.Clone(s.Modes)}
	for name, vs := range s.Subjects {
		c.Subjects[name] = slices.Clone(vs)
	}
	return c
}

// registry keeps subjects, versions and ids in one file that is replaced as a
// whole, so that a crash leaves the old state or the new one.
type registry struct {
	path  string // "" = memory
	check Check
	mu    sync.RWMutex // guards st
	st    *state
}

const (
	globalKey    = ""
	defaultLevel = "FULL_TRANSITIVE"
	defaultMode  = "READWRITE"
)

func openRegistry(path string, check Check) (*registry, error) {
	r := &registry{path: path, check: check, st: &state{
		NextID: 1, Subjects: map[string][]version{},
		Levels: map[string]string{globalKey: defaultLevel}, Modes: map[string]string{globalKey: defaultMode},
	}}
	if path == "" {
		return r, nil
	}
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the registry: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(r.st); err != nil {
		return nil, fmt.Errorf("reading the registry %s: %w", path, err)
	}
	return r, nil
}

// read runs fn on the present state.
func (r *registry) read(fn func(*state) error) error {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return fn(r.st)
}

// write runs fn on a copy, makes the copy durable and puts it in place. Answers
// leave after that: an id that a client has seen is an id that survives.
func (r *registry) write(fn func(*state) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := r.st.clone()
	if err := fn(next); err != nil {
		return err
	}
	if err := r.save(next); err != nil {
		return fmt.Errorf("saving the registry: %w", err)
	}
	r.st = next
	return nil
}

func (r *registry) save(s *state) error {
	if r.path == "" {
		return nil
	}
	raw, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return err
	}
	if err := renameio.WriteFile(r.path, raw, 0o600); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(r.path)) // renameio syncs the file, not its name
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// register adds a schema to a subject, or finds it there. The same schema has the
// same id in every subject.
func (r *registry) register(subject, text string) (version, error) {
	canon, err := canonical(text)
	if err != nil {
		return version{}, err
	}
	var found version
	err = r.read(func(s *state) error {
		v, err := s.lookup(subject, canon, false)
		found = v
		return err
	})
	if err == nil {
		return found, nil
	}
	err = r.write(func(s *state) error {
		if found, err = s.lookup(subject, canon, false); err == nil {
			return nil // another request was faster
		}
		if s.modeOf(subject) != defaultMode {
			return unprocessable(42205, "Subject %q is in mode %s", subject, s.modeOf(subject))
		}
		if reasons := r.against(s.levelOf(subject), text, s.live(subject)); len(reasons) > 0 {
			return &apiError{http.StatusConflict, http.StatusConflict, fmt.Sprintf(
				"Schema being registered is incompatible with an earlier schema for subject %q (level %s): %s",
				subject, s.levelOf(subject), strings.Join(reasons, "; "))}
		}
		found = s.add(subject, text, canon)
		return nil
	})
	return found, err
}

// against returns the reasons against text after the given versions, under a level.
func (r *registry) against(level, text string, old []version) []string {
	if r.check == nil || level == "NONE" || len(old) == 0 {
		return nil
	}
	if !strings.HasSuffix(level, "_TRANSITIVE") {
		old = old[len(old)-1:]
	}
	texts := make([]string, len(old))
	for i, v := range old {
		texts[i] = v.Schema
	}
	return r.check(level, text, texts)
}

// add appends a version; the caller has checked it.
func (s *state) add(subject, text, canon string) version {
	v := version{Version: 1, Schema: text}
	if vs := s.Subjects[subject]; len(vs) > 0 {
		v.Version = vs[len(vs)-1].Version + 1
	}
	for _, vs := range s.Subjects {
		for _, known := range vs {
			if c, err := canonical(known.Schema); err == nil && c == canon {
				v.ID = known.ID
			}
		}
	}
	if v.ID == 0 {
		v.ID = s.NextID
		s.NextID++
	}
	s.Subjects[subject] = append(s.Subjects[subject], v)
	return v
}

// live are the versions of a subject that are not deleted, oldest first.
func (s *state) live(subject string) []version {
	var out []version
	for _, v := range s.Subjects[subject] {
		if !v.Deleted {
			out = append(out, v)
		}
	}
	return out
}

// versions are the live ones, or with deleted all; an unknown subject is an error.
func (s *state) versions(subject string, deleted bool) ([]version, error) {
	vs := s.live(subject)
	if deleted {
		vs = s.Subjects[subject]
	}
	if len(vs) == 0 {
		return nil, notFound(40401, "Subject %q not found", subject)
	}
	return vs, nil
}

// version finds one by number, "latest" or "-1".
func (s *state) version(subject, number string, deleted bool) (version, error) {
	vs, err := s.versions(subject, deleted)
	if err != nil {
		return version{}, err
	}
	if number == "latest" || number == "-1" {
		return vs[len(vs)-1], nil
	}
	n, err := strconv.Atoi(number)
	if err != nil || n < 1 {
		return version{}, unprocessable(42202, "Version %q is neither a positive number nor \"latest\"", number)
	}
	for _, v := range vs {
		if v.Version == n {
			return v, nil
		}
	}
	return version{}, notFound(40402, "Version %d of subject %q not found", n, subject)
}

// lookup finds a schema in a subject, by its canonical text.
func (s *state) lookup(subject, canon string, deleted bool) (version, error) {
	vs, err := s.versions(subject, deleted)
	if err != nil {
		return version{}, err
	}
	for _, v := range vs {
		if c, err := canonical(v.Schema); err == nil && c == canon {
			return v, nil
		}
	}
	return version{}, notFound(40403, "Schema not found in subject %q", subject)
}

// usage is where a schema id stands.
type usage struct {
	Subject string `json:"subject"`
	Version int    `json:"version"`
}

// byID finds the text of an id and where it stands, soft deletions included:
// records that carry the id stay readable.
func (s *state) byID(id int) (string, []usage, error) {
	text := ""
	var uses []usage
	for _, subject := range slices.Sorted(maps.Keys(s.Subjects)) {
		for _, v := range s.Subjects[subject] {
			if v.ID != id {
				continue
			}
			text = v.Schema
			if !v.Deleted {
				uses = append(uses, usage{subject, v.Version})
			}
		}
	}
	if text == "" {
		return "", nil, notFound(40403, "Schema %d not found", id)
	}
	return text, uses, nil
}

// remove deletes the versions of a subject that pick selects: softly, or for good
// what was deleted softly before. It returns their numbers.
func (s *state) remove(subject string, permanent bool, pick func(version) bool) ([]int, error) {
	vs, ok := s.Subjects[subject]
	if !ok || !permanent && len(s.live(subject)) == 0 {
		return nil, notFound(40401, "Subject %q not found", subject)
	}
	var kept []version
	var gone []int
	for _, v := range vs {
		if !pick(v) || !permanent && v.Deleted {
			kept = append(kept, v)
			continue
		}
		if permanent && !v.Deleted {
			return nil, notFound(40405, "Subject %q version %d was not deleted first before being permanently deleted", subject, v.Version)
		}
		gone = append(gone, v.Version)
		if !permanent {
			v.Deleted = true
			kept = append(kept, v)
		}
	}
	if len(gone) == 0 {
		return nil, notFound(40402, "Version of subject %q not found", subject)
	}
	if len(kept) == 0 {
		delete(s.Subjects, subject)
		delete(s.Levels, subject)
		delete(s.Modes, subject)
		return gone, nil
	}
	s.Subjects[subject] = kept
	return gone, nil
}

func (s *state) levelOf(subject string) string {
	if l, ok := s.Levels[subject]; ok {
		return l
	}
	return s.Levels[globalKey]
}

func (s *state) modeOf(subject string) string {
	if m, ok := s.Modes[subject]; ok {
		return m
	}
	return s.Modes[globalKey]
}

// canonical is the form by which schemas are compared: the JSON without white
// space, keys sorted. An invalid Avro schema is an error 42201.
func canonical(text string) (string, error) {
	if _, err := avro.ParseWithCache(text, "", &avro.SchemaCache{}); err != nil {
		return "", unprocessable(42201, "Invalid Avro schema: %v", err)
	}
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		// hamba takes a bare type name, too: that is no JSON and nothing to normalise.
		return text, nil //nolint:nilerr // a valid schema by the check above
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return "", unprocessable(42201, "Invalid Avro schema: %v", err)
	}
	return string(raw), nil
}
