package schemas_test

import (
	"testing"

	"github.com/eventspine/spine/pkg/schema"
	"github.com/eventspine/spine/pkg/schema/gen"
	"github.com/eventspine/spine/schemas"
)

// The Go types say what the schemas say.
func TestGenerated(t *testing.T) {
	t.Parallel()
	set, err := schema.Load(schemas.Files)
	if err != nil {
		t.Fatal(err)
	}
	stale, err := gen.Check(set, ".", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range stale {
		t.Errorf("schemas/%s is not what its schema asks for: run go run ./cmd/spine schema gen", file)
	}
}
