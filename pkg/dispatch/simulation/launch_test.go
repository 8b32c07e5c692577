//go:build !synctests

package simulation_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	_ "github.com/eventspine/spine/pkg/dispatch" // what is simulated: a change of it makes a cached result void
)

// TestSimulation runs the simulation where the Kafka client's locks let virtual time
// pass.
func TestSimulation(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files { // what is read counts for the cache, too
		if _, err := os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	out, err := simulate(t.Context())
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// simulate runs the tests of this package with the build tag that they need.
func simulate(ctx context.Context, flags ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Minute)
	defer cancel()
	args := append([]string{"test", "-count=1", "-timeout=25m", "-tags=synctests", "-run=^(TestSimulation|TestSchedule_roundTrip)$"}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, ".")...)
	cmd.Env = append(os.Environ(), "GOFLAGS=")
	out, err := cmd.CombinedOutput()
	return string(out), err
}
