package schema_test

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/eventspine/spine/pkg/schema"
)

// registry is the real one where SPINE_TEST_REGISTRY names it, else one in this
// process that takes everything.
func registry(t *testing.T) *sr.Client {
	t.Helper()
	url := os.Getenv("SPINE_TEST_REGISTRY")
	if url == "" {
		fake := srfake.New()
		t.Cleanup(fake.Close)
		url = fake.URL()
	}
	cl, err := sr.NewClient(sr.URLs(url))
	if err != nil {
		t.Fatal(err)
	}
	return cl
}

// facts is a set of one fact with a noun of its own, so that tests share a registry.
func facts(t *testing.T, noun string, fields ...string) *schema.Set {
	t.Helper()
	all := append([]string{`{"name":"id","type":"string","doc":"Id of the thing.","pii":"none"}`}, fields...)
	text := `{"type":"record","name":"` + strings.ToUpper(noun[:1]) + noun[1:] + `MadeV1","namespace":"spine.` + noun + `","doc":"It was made.","owner":"a team","fields":[` + strings.Join(all, ",") + `]}`
	set, err := schema.Load(fstest.MapFS{noun + "/made.v1.avsc": {Data: []byte(text)}})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func noun(t *testing.T) string {
	t.Helper()
	return "t" + strings.ToLower(rand.Text()[:12])
}

const (
	amount4 = `{"name":"amount","type":{"type":"bytes","logicalType":"decimal","precision":19,"scale":4},"default":"\u0000","doc":"Amount of the thing.","pii":"none"}`
	amount2 = `{"name":"amount","type":{"type":"bytes","logicalType":"decimal","precision":19,"scale":2},"default":"\u0000","doc":"Amount of the thing.","pii":"none"}`
)

func TestRegister(t *testing.T) {
	t.Parallel()
	cl, name := registry(t), noun(t)
	states := func(set *schema.Set) (string, int, error) {
		done, err := schema.Register(t.Context(), cl, set)
		if len(done) != 1 {
			t.Fatalf("%v, %v", done, err)
		}
		if done[0].State != schema.StateRefused && (done[0].ID == 0 || done[0].Level != "FULL_TRANSITIVE") {
			t.Errorf("%+v", done[0])
		}
		return done[0].State, done[0].Version, err
	}
	want := func(what string, set *schema.Set, state string, version int) {
		t.Helper()
		if got, v, err := states(set); got != state || v != version || err != nil {
			t.Errorf("%s: %s version %d, %v; want %s %d", what, got, v, err, state, version)
		}
	}
	first, second := facts(t, name), facts(t, name, amount4)
	if got := listed(t, cl, first)[0].State; got != schema.StateMissing {
		t.Errorf("listed as %s", got)
	}
	want("the first time", first, schema.StateCreated, 1)
	want("again", first, schema.StateUnchanged, 1)
	if got := listed(t, cl, second)[0].State; got != schema.StateBehind {
		t.Errorf("listed as %s", got)
	}
	want("a field with default", second, schema.StateCreated, 2)
	want("the older binary", first, schema.StateUnchanged, 1)

	// What the registry would take, our checker doesn't.
	state, _, err := states(facts(t, name, amount2))
	var refused *schema.IncompatibleError
	if state != schema.StateRefused || !errors.As(err, &refused) || refused.Findings[0].Rule != "L03" || refused.Findings[0].Path != "amount" {
		t.Errorf("another scale: %s, %v", state, err)
	}
	if got := listed(t, cl, second)[0]; got.State != schema.StateUnchanged || got.Version != 2 || got.Level != "FULL_TRANSITIVE" {
		t.Errorf("listed: %+v", got)
	}
}

// Apicurio answers with the text that came first, where others say the same with more
// or fewer namespaces.
func TestRegister_otherWords(t *testing.T) {
	t.Parallel()
	cl, name := registry(t), noun(t)
	nested := func(space string) string {
		return `{"name":"a","type":{"type":"record","name":"Pair","namespace":"spine.common","doc":"A pair.","fields":[` +
			`{"name":"one","type":{"type":"record","name":"Part",` + space + `"doc":"A part.","fields":[{"name":"n","type":"long","doc":"A number.","pii":"none"}]},"doc":"One part.","pii":"none"},` +
			`{"name":"other","type":["null","Part"],"default":null,"doc":"Another part.","pii":"none"}]},"doc":"A pair of parts.","pii":"none"}`
	}
	first, second := facts(t, name, nested("")), facts(t, name, nested(`"namespace":"spine.common",`))
	for _, set := range []*schema.Set{first, second, first} {
		done, err := schema.Register(t.Context(), cl, set)
		if err != nil || done[0].Version != 1 {
			t.Errorf("registered %+v, %v; want version 1", done, err)
		}
	}
}

func listed(t *testing.T, cl *sr.Client, set *schema.Set) []schema.Registered {
	t.Helper()
	all, err := schema.List(t.Context(), cl, set)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// A refused fact doesn't keep the others back, and a foreign subject is shown.
func TestRegister_others(t *testing.T) {
	t.Parallel()
	cl, a, b := registry(t), "a"+noun(t), "b"+noun(t)
	if _, err := schema.Register(t.Context(), cl, facts(t, a, amount4)); err != nil {
		t.Fatal(err)
	}
	files := fstest.MapFS{}
	for _, set := range []*schema.Set{facts(t, a, amount2), facts(t, b)} {
		f := set.Facts()[0]
		files[f.File] = &fstest.MapFile{Data: []byte(f.Text)}
	}
	both, err := schema.Load(files)
	if err != nil {
		t.Fatal(err)
	}
	done, err := schema.Register(t.Context(), cl, both)
	var refused *schema.IncompatibleError
	if !errors.As(err, &refused) {
		t.Fatalf("%v, want a refusal", err)
	}
	got := map[string]string{}
	for _, r := range done {
		got[r.Fact] = r.State
	}
	if diff := cmp.Diff(map[string]string{a + ".made.v1": schema.StateRefused, b + ".made.v1": schema.StateCreated}, got); diff != "" {
		t.Error(diff)
	}
	foreign := ""
	for _, r := range listed(t, cl, facts(t, a)) {
		if r.Fact == "" && strings.HasPrefix(r.Subject, "spine."+b+".") {
			foreign = r.State
		}
	}
	if foreign != schema.StateForeign {
		t.Errorf("the other subject is listed as %q", foreign)
	}
}

// A level that doesn't stick is an error, and so is a registry that is away.
func TestRegister_errors(t *testing.T) {
	t.Parallel()
	fake := srfake.New()
	t.Cleanup(fake.Close)
	fake.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut || !strings.HasPrefix(r.URL.Path, "/config") {
			return false
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"compatibility": "FULL_TRANSITIVE"})
		return true
	})
	cl, err := sr.NewClient(sr.URLs(fake.URL()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := schema.Register(t.Context(), cl, facts(t, noun(t))); err == nil || !strings.Contains(err.Error(), "compatibility level") {
		t.Errorf("a level that is only promised: %v", err)
	}
	fake.Close()
	if _, err := schema.Register(t.Context(), cl, facts(t, noun(t))); err == nil {
		t.Error("a registry that is away is no error")
	}
}
