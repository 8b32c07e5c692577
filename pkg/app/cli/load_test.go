package cli_test

import (
	"os"
	"testing"

	"github.com/eventspine/spine/pkg/app/cli"
	"github.com/eventspine/spine/pkg/consumer"
)

// own is what a group is told; it counts how often it is read.
type own struct {
	Limit int `yaml:"limit"`
	read  int
}

func (o *own) Validate() error { o.read++; return nil }

// Groups look at their configuration while they work: it is not read anew under them.
func TestLoad_notUnderRunningGroups(t *testing.T) {
	t.Parallel()
	group := &own{}
	a := &cli.CLI{ConfigFile: os.DevNull, DataDir: t.TempDir(), Fleet: cli.Fleet{Groups: []consumer.Group{{Name: "g", Config: group}}}}
	first, err := a.Load(nil)
	if err != nil || group.read != 1 {
		t.Fatalf("read %d times, %v", group.read, err)
	}
	a.Running = first
	if again, err := a.Load(nil); err != nil || again != first || group.read != 1 {
		t.Errorf("read %d times, %v", group.read, err)
	}
}
