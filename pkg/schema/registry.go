package schema

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/twmb/franz-go/pkg/sr"
)

// States of a fact at a registry.
const (
	StateCreated   = "created"   // Register made a new version
	StateUnchanged = "unchanged" // the text stood there already
	StateRefused   = "refused"   // the text breaks an earlier version
	StateMissing   = "missing"   // List: no such subject
	StateBehind    = "behind"    // List: the text of this set isn't registered
	StateForeign   = "foreign"   // List: a subject that this set doesn't know
)

// Registered is a fact at a registry.
type Registered struct {
	Fact    string   `json:"fact"` // "" = a subject that is no fact of the set
	Subject string   `json:"subject"`
	ID      int      `json:"id"`      // 0 = the text is not registered
	Version int      `json:"version"` // of the text; 0 = not registered
	Level   string   `json:"level"`   // compatibility level of the subject
	State   string   `json:"state"`
	Reasons []string `json:"reasons"` // why it is refused
}

// Register brings every fact of the set to the registry: subject = full name,
// level FULL_TRANSITIVE, set and read back. Each text is judged first by our own
// checker against all versions that stand there, because registries don't look at
// decimals, times and defaults. It can be repeated, and what was refused doesn't
// keep others from being registered: then the error is an IncompatibleError. Other
// errors mean that the registry didn't answer as it should; done says how far it came.
func Register(ctx context.Context, cl *sr.Client, set *Set) (done []Registered, err error) {
	done = []Registered{}
	var refused []Finding
	for _, f := range set.facts {
		r, found, err := register(ctx, cl, f)
		if err != nil {
			return done, fmt.Errorf("registering %s: %w", f.Type, err)
		}
		done = append(done, r)
		refused = append(refused, found...)
	}
	if len(refused) > 0 {
		return done, &IncompatibleError{Findings: refused}
	}
	return done, nil
}

func register(ctx context.Context, cl *sr.Client, f Fact) (Registered, []Finding, error) {
	r := Registered{Fact: f.Type.String(), Subject: f.FullName, State: StateUnchanged, Reasons: []string{}}
	versions, err := history(ctx, cl, f.FullName)
	if err != nil {
		return r, nil, err
	}
	if len(versions) > 0 { // before anything is added; a new subject takes no level yet
		if r.Level, err = setLevel(ctx, cl, f.FullName); err != nil {
			return r, nil, err
		}
	}
	at := slices.IndexFunc(versions, func(v sr.SubjectSchema) bool { return same(v.Schema.Schema, f.Text) })
	if at < 0 {
		found, err := create(ctx, cl, f, versions)
		if err != nil || len(found) > 0 {
			r.State, r.Reasons = StateRefused, reasons(found)
			return r, found, err
		}
		r.State = StateCreated
		if versions, err = history(ctx, cl, f.FullName); err != nil {
			return r, nil, err
		}
		if at = slices.IndexFunc(versions, func(v sr.SubjectSchema) bool { return same(v.Schema.Schema, f.Text) }); at < 0 {
			return r, nil, errors.New("the registry doesn't show what it took")
		}
		if r.Level, err = setLevel(ctx, cl, f.FullName); err != nil {
			return r, nil, err
		}
	}
	r.ID, r.Version = versions[at].ID, versions[at].Version
	return r, nil, nil
}

// create registers a new version unless it breaks an earlier one.
func create(ctx context.Context, cl *sr.Client, f Fact, versions []sr.SubjectSchema) ([]Finding, error) {
	olds := make([]string, len(versions))
	for i, v := range versions {
		olds[i] = v.Schema.Schema
	}
	found, err := CompatibleAt(sr.CompatFullTransitive.String(), olds, f.Text)
	for i := range found {
		found[i].File, found[i].Line, found[i].Column = f.File, 1, 1
	}
	if err != nil || len(found) > 0 {
		return found, err
	}
	_, err = cl.RegisterSchema(ctx, f.FullName, sr.Schema{Schema: f.Text}, -1, -1)
	var refusal *sr.ResponseError
	if errors.As(err, &refusal) && refusal.StatusCode == http.StatusConflict {
		return []Finding{{File: f.File, Line: 1, Column: 1, Rule: "R04", Message: "the registry refuses it: " + refusal.Message, Remedy: newMajor}}, nil
	}
	return nil, err
}

// history is all versions of a subject, oldest first; none if there is no subject.
func history(ctx context.Context, cl *sr.Client, subject string) ([]sr.SubjectSchema, error) {
	numbers, err := cl.SubjectVersions(ctx, subject)
	if notFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	slices.Sort(numbers)
	versions := make([]sr.SubjectSchema, len(numbers))
	for i, n := range numbers {
		if versions[i], err = cl.SchemaByVersion(ctx, subject, n); err != nil {
			return nil, err
		}
	}
	return versions, nil
}

func notFound(err error) bool {
	var answer *sr.ResponseError
	return errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound
}

// setLevel sets the level of the subject and reads it back: some registries have
// NONE as default, and a level that didn't stick guards nothing.
func setLevel(ctx context.Context, cl *sr.Client, subject string) (string, error) {
	for _, r := range cl.SetCompatibility(ctx, sr.SetCompatibility{Level: sr.CompatFullTransitive}, subject) {
		if r.Err != nil {
			return "", fmt.Errorf("setting the compatibility level: %w", r.Err)
		}
	}
	level, err := levelOf(ctx, cl, subject)
	if err == nil && level != sr.CompatFullTransitive.String() {
		err = fmt.Errorf("the compatibility level is %s after it was set to %s", level, sr.CompatFullTransitive)
	}
	return level, err
}

// levelOf is the level of the subject itself, "" where it has none of its own.
func levelOf(ctx context.Context, cl *sr.Client, subject string) (string, error) {
	r := cl.Compatibility(ctx, subject)[0] // one answer for each subject
	if notFound(r.Err) {
		return "", nil
	}
	if r.Err != nil {
		return "", fmt.Errorf("reading the compatibility level: %w", r.Err)
	}
	return r.Level.String(), nil
}

// List compares the registry with the set: every fact with the version that its
// text has there, then every other subject.
func List(ctx context.Context, cl *sr.Client, set *Set) ([]Registered, error) {
	subjects, err := cl.Subjects(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing subjects: %w", err)
	}
	out := []Registered{}
	known := map[string]bool{}
	for _, f := range set.facts {
		known[f.FullName] = true
		r := Registered{Fact: f.Type.String(), Subject: f.FullName, State: StateMissing, Reasons: []string{}}
		versions, err := history(ctx, cl, f.FullName)
		if err != nil {
			return nil, fmt.Errorf("listing %s: %w", f.FullName, err)
		}
		if len(versions) > 0 {
			r.State = StateBehind
			if r.Level, err = levelOf(ctx, cl, f.FullName); err != nil {
				return nil, fmt.Errorf("listing %s: %w", f.FullName, err)
			}
		}
		for _, v := range versions {
			if same(v.Schema.Schema, f.Text) {
				r.State, r.ID, r.Version = StateUnchanged, v.ID, v.Version
			}
		}
		out = append(out, r)
	}
	slices.Sort(subjects)
	for _, s := range subjects {
		if !known[s] {
			out = append(out, Registered{Subject: s, State: StateForeign, Reasons: []string{}})
		}
	}
	return out, nil
}

func reasons(found []Finding) []string {
	out := make([]string, len(found))
	for i, f := range found {
		out[i] = f.String()
	}
	return out
}
