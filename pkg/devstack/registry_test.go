package devstack_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/eventspine/spine/pkg/devstack"
)

// sameFields is a check that refuses every change, and says what it was asked.
func refuseAll(level, _ string, old []string) []string {
	reasons := []string{"level " + level}
	for range old {
		reasons = append(reasons, "an older version differs")
	}
	return reasons
}

func schema(name string, fields ...string) sr.Schema {
	defs := make([]string, len(fields))
	for i, f := range fields {
		defs[i] = `{"name":"` + f + `","type":"string","default":""}`
	}
	return sr.Schema{Schema: `{"type":"record","name":"` + name + `","fields":[` + strings.Join(defs, ",") + `]}`}
}

func mustCreate(t *testing.T, c *sr.Client, subject string, s sr.Schema) sr.SubjectSchema {
	t.Helper()
	got, err := c.CreateSchema(t.Context(), subject, s)
	if err != nil {
		t.Fatalf("registering in %s: %v", subject, err)
	}
	return got
}

func wantCode(t *testing.T, what string, err error, code int) {
	t.Helper()
	var re *sr.ResponseError
	if !errors.As(err, &re) || re.ErrorCode != code {
		t.Errorf("%s: %v; want error code %d", what, err, code)
	}
}

func TestRegistryIDs(t *testing.T) {
	t.Parallel()
	c := registry(t, start(t, devstack.Options{}))
	a1 := mustCreate(t, c, "a", schema("A", "x"))
	spaced := sr.Schema{Schema: " { \"fields\":[{\"default\":\"\",\"name\":\"x\",\"type\":\"string\"}], \"name\":\"A\",\n\"type\":\"record\"}"}
	again := mustCreate(t, c, "a", spaced)
	if again.ID != a1.ID || again.Version != 1 {
		t.Errorf("the same schema in other white space: id %d version %d; want id %d version 1", again.ID, again.Version, a1.ID)
	}
	a2 := mustCreate(t, c, "a", schema("A", "x", "y"))
	b := mustCreate(t, c, "b", schema("A", "x"))
	if a2.ID == a1.ID || a2.Version != 2 {
		t.Errorf("second version = %+v", a2)
	}
	if b.ID != a1.ID || b.Version != 1 {
		t.Errorf("the same schema in another subject: id %d, want %d", b.ID, a1.ID)
	}
	uses, err := c.SchemaUsagesByID(t.Context(), a1.ID)
	if err != nil || len(uses) != 2 {
		t.Errorf("usages of id %d: %v, %v; want 2", a1.ID, uses, err)
	}
	text, err := c.SchemaTextByVersion(t.Context(), "a", 1)
	if err != nil || text != schema("A", "x").Schema {
		t.Errorf("text = %s, %v; want what was registered first, byte for byte", text, err)
	}
	found, err := c.LookupSchema(t.Context(), "a", spaced)
	if err != nil || found.ID != a1.ID {
		t.Errorf("lookup = %+v, %v", found, err)
	}
	latest, err := c.SchemaByVersion(t.Context(), "a", -1)
	if err != nil || latest.Version != 2 {
		t.Errorf("latest = %+v, %v", latest, err)
	}
	subjects, err := c.Subjects(t.Context())
	if diff := cmp.Diff([]string{"a", "b"}, subjects); err != nil || diff != "" {
		t.Errorf("subjects: %v\n%s", err, diff)
	}
	_, err = c.LookupSchema(t.Context(), "nowhere", spaced)
	wantCode(t, "lookup in an unknown subject", err, 40401)
	_, err = c.LookupSchema(t.Context(), "a", schema("Z"))
	wantCode(t, "lookup of an unknown schema", err, 40403)
	_, err = c.SchemaByID(t.Context(), 99)
	wantCode(t, "unknown id", err, 40403)
	_, err = c.SchemaByVersion(t.Context(), "a", 9)
	wantCode(t, "unknown version", err, 40402)
}

func TestRegistryRefusesBadSchemas(t *testing.T) {
	t.Parallel()
	c := registry(t, start(t, devstack.Options{}))
	for name, s := range map[string]sr.Schema{
		"no JSON":    {Schema: "{"},
		"no Avro":    {Schema: `{"type":"record"}`},
		"empty":      {},
		"protobuf":   {Schema: "message A {}", Type: sr.TypeProtobuf},
		"references": {Schema: placed, References: []sr.SchemaReference{{Name: "t.X", Subject: "x", Version: 1}}},
	} {
		_, err := c.CreateSchema(t.Context(), "s", s)
		wantCode(t, name, err, 42201)
	}
	if got, err := c.Subjects(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("subjects after refusals = %v, %v; want none", got, err)
	}
}

func TestRegistryCompatibility(t *testing.T) {
	t.Parallel()
	var asked []int
	check := func(level, newText string, old []string) []string {
		asked = append(asked, len(old))
		return refuseAll(level, newText, old)
	}
	s := start(t, devstack.Options{Check: check})
	c := registry(t, s, sr.Verbose)
	mustCreate(t, c, "a", schema("A", "x"))
	for _, r := range c.SetCompatibility(t.Context(), sr.SetCompatibility{Level: sr.CompatNone}, "a") {
		if r.Err != nil || r.Level != sr.CompatNone {
			t.Fatalf("setting NONE: %+v", r)
		}
	}
	mustCreate(t, c, "a", schema("A", "x", "y")) // NONE asks nobody
	if len(asked) != 0 {
		t.Errorf("the check was asked %d times under NONE", len(asked))
	}
	for _, r := range c.ResetCompatibility(t.Context(), "a") {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	_, err := c.CreateSchema(t.Context(), "a", schema("A", "z"))
	var re *sr.ResponseError
	if !errors.As(err, &re) || re.StatusCode != http.StatusConflict || re.ErrorCode != 409 {
		t.Fatalf("incompatible: %v; want 409", err)
	}
	if strings.Count(re.Message, "an older version differs") != 2 || !strings.Contains(re.Message, "FULL_TRANSITIVE") {
		t.Errorf("message %q does not carry all reasons", re.Message)
	}
	res, err := c.CheckCompatibility(t.Context(), "a", -2, schema("A", "z"))
	if diff := cmp.Diff(sr.CheckCompatibilityResult{Messages: refuseAll("FULL_TRANSITIVE", "", make([]string, 2))}, res); err != nil || diff != "" {
		t.Errorf("check against all: %v\n%s", err, diff)
	}
	c.SetCompatibility(t.Context(), sr.SetCompatibility{Level: sr.CompatBackward}, "a")
	if _, err = c.CheckCompatibility(t.Context(), "a", -2, schema("A", "z")); err != nil {
		t.Error(err)
	}
	if _, err = c.CheckCompatibility(t.Context(), "a", 1, schema("A", "z")); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]int{2, 2, 1, 1}, asked); diff != "" {
		t.Errorf("number of older schemas that the check saw (-want +got):\n%s", diff)
	}
	res, err = c.CheckCompatibility(t.Context(), "new", -2, schema("A"))
	if err != nil || !res.Is {
		t.Errorf("a new subject: %+v, %v; want compatible", res, err)
	}
	quiet, err := registry(t, s).CheckCompatibility(t.Context(), "a", 1, schema("A", "z"))
	if err != nil || quiet.Is || len(quiet.Messages) != 0 {
		t.Errorf("without verbose: %+v, %v; want no messages", quiet, err)
	}
	if len(registryLevels(t, c, "a", "new")) != 1 {
		t.Error("a subject without a level of its own answers one")
	}
}

func registryLevels(t *testing.T, c *sr.Client, subjects ...string) []string {
	t.Helper()
	var levels []string
	for _, r := range c.Compatibility(t.Context(), subjects...) {
		if r.Err != nil {
			wantCode(t, "level of "+r.Subject, r.Err, 40408)
			continue
		}
		levels = append(levels, r.Level.String())
	}
	return levels
}

func TestRegistrySettingsSurvive(t *testing.T) {
	t.Parallel()
	o := devstack.Options{Dir: t.TempDir()}
	first, err := devstack.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	c := registry(t, first)
	mustCreate(t, c, "a", schema("A"))
	c.SetCompatibility(t.Context(), sr.SetCompatibility{Level: sr.CompatForward}, "a")
	c.SetMode(t.Context(), sr.ModeReadOnly, "a")
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	c = registry(t, start(t, o))
	if diff := cmp.Diff([]string{"FORWARD"}, registryLevels(t, c, "a")); diff != "" {
		t.Error(diff)
	}
	_, err = c.CreateSchema(t.Context(), "a", schema("A", "x"))
	wantCode(t, "writing to a READONLY subject", err, 42205)
	mustCreate(t, c, "a", schema("A")) // what is there may be asked for
	for _, m := range c.ResetMode(t.Context(), "a") {
		if m.Err != nil {
			t.Fatal(m.Err)
		}
	}
	mustCreate(t, c, "a", schema("A", "x"))
	for _, m := range c.SetMode(t.Context(), sr.ModeImport, "a") {
		wantCode(t, "IMPORT", m.Err, 42204)
	}
}

func TestRegistryDeletion(t *testing.T) {
	t.Parallel()
	c := registry(t, start(t, devstack.Options{}))
	one := mustCreate(t, c, "a", schema("A", "x"))
	mustCreate(t, c, "a", schema("A", "x", "y"))
	err := c.DeleteSchema(t.Context(), "a", 1, sr.HardDelete)
	wantCode(t, "deleting for good what lives", err, 40405)
	if err := c.DeleteSchema(t.Context(), "a", 1, sr.SoftDelete); err != nil {
		t.Fatal(err)
	}
	if got, err := c.SubjectVersions(t.Context(), "a"); err != nil || !cmp.Equal(got, []int{2}) {
		t.Errorf("versions = %v, %v; want 2", got, err)
	}
	if _, err := c.SchemaByID(t.Context(), one.ID); err != nil {
		t.Errorf("a softly deleted schema is not readable by id: %v", err)
	}
	again := mustCreate(t, c, "a", schema("A", "x"))
	if again.ID != one.ID || again.Version != 3 {
		t.Errorf("registered again: id %d version %d; want id %d version 3", again.ID, again.Version, one.ID)
	}
	if got, err := c.DeleteSubject(t.Context(), "a", sr.SoftDelete); err != nil || !cmp.Equal(got, []int{2, 3}) {
		t.Errorf("deleting the subject: %v, %v", got, err)
	}
	if got, err := c.Subjects(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("subjects = %v, %v; want none", got, err)
	}
	if got, err := c.DeleteSubject(t.Context(), "a", sr.HardDelete); err != nil || len(got) != 3 {
		t.Errorf("deleting the subject for good: %v, %v", got, err)
	}
	_, err = c.SchemaByID(t.Context(), one.ID)
	wantCode(t, "id after deletion for good", err, 40403)
	if next := mustCreate(t, c, "a", schema("A", "x")); next.ID <= again.ID {
		t.Errorf("id %d was used twice", next.ID)
	}
}

// TestRegistryOverHTTP looks at what other clients rely on: paths, status, bodies.
func TestRegistryOverHTTP(t *testing.T) {
	t.Parallel()
	s := start(t, devstack.Options{Check: refuseAll})
	mustCreate(t, registry(t, s), "t.Placed", schema("A", "x"))
	body, err := json.Marshal(schema("A", "z"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/", "", 200, `{}`},
		{"GET", "/schemas/types", "", 200, `["AVRO"]`},
		{"GET", "/config", "", 200, `{"compatibilityLevel":"FULL_TRANSITIVE"}`},
		{"GET", "/config/t.Placed?defaultToGlobal=true", "", 200, `{"compatibilityLevel":"FULL_TRANSITIVE"}`},
		{"PUT", "/config", `{"compatibility":"SOMETIMES"}`, 422, `{"error_code":42203,"message":"Compatibility level \"SOMETIMES\" is unknown"}`},
		{"PUT", "/config", `{"compatibility":"FULL"}`, 200, `{"compatibility":"FULL"}`},
		{"GET", "/mode", "", 200, `{"mode":"READWRITE"}`},
		{"GET", "/subjects/t.Placed/versions", "", 200, `[1]`},
		{"GET", "/subjects/t.Placed/versions/latest/schema", "", 200, schema("A", "x").Schema},
		{"GET", "/subjects/t.Placed/versions/zero", "", 422, `{"error_code":42202,"message":"Version \"zero\" is neither a positive number nor \"latest\""}`},
		{"GET", "/schemas/ids/1/versions", "", 200, `[{"subject":"t.Placed","version":1}]`},
		{"GET", "/schemas/ids/x", "", 404, `{"error_code":40403,"message":"Schema \"x\" not found: an id is a number"}`},
		{"POST", "/subjects/t.Placed/versions", string(body), 409, `{"error_code":409,"message":"Schema being registered is incompatible with an earlier schema for subject \"t.Placed\" (level FULL): level FULL; an older version differs"}`},
		{"POST", "/subjects/t.Placed/versions", `[]`, 400, `{"error_code":400,"message":"Body is not the expected JSON: json: cannot unmarshal array into Go value of type devstack.schemaBody"}`},
		{"POST", "/subjects/t.Placed/versions", `{"schema":"` + strings.Repeat("x", 1<<20) + `"}`, 413, `{"error_code":413,"message":"Body is longer than 1048576 bytes"}`},
		{"GET", "/exporters", "", 404, `{"error_code":404,"message":"GET /exporters: no such endpoint"}`},
		{"GET", "/subjects/a%2Fb/versions", "", 404, `{"error_code":40401,"message":"Subject \"a/b\" not found"}`},
	} {
		status, got := call(t, c.method, s.RegistryURL()+c.path, c.body)
		if status != c.status || got != c.want {
			t.Errorf("%s %s = %d %s\nwant %d %s", c.method, c.path, status, got, c.status, c.want)
		}
	}
}

func call(t *testing.T, method, url, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(got)
}

func TestRegistryFileThatIsNotOurs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "registry.json"), []byte("{torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := devstack.Start(context.Background(), devstack.Options{Dir: dir})
	if err == nil {
		_ = s.Close()
		t.Fatal("started over a registry file that it cannot read")
	}
	if !strings.Contains(err.Error(), "registry.json") {
		t.Errorf("error %q does not name the file", err)
	}
}
