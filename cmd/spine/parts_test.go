package main_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// parts is the script that SPINE_PARTS_SCRIPT names: kill, pause, resume and start
// of a part by its name.
type parts struct{ script string }

func partsOf(t *testing.T) parts {
	t.Helper()
	script := os.Getenv("SPINE_PARTS_SCRIPT")
	if script == "" {
		t.Fatal("SPINE_PARTS_SCRIPT names no script that starts and kills the parts")
	}
	file, err := filepath.Abs(script)
	if err != nil {
		t.Fatal(err)
	}
	return parts{file}
}

// do runs the script. What a part prints goes to its own log.
func (p parts) do(words ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, p.script, words...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w\n%s", p.script, strings.Join(words, " "), err, out)
	}
	return nil
}

// rise starts a part, however long it takes: a machine that is busy is no finding.
func (p parts) rise(part string) (err error) {
	for range 5 {
		if err = p.do("up", part); err == nil {
			return nil
		}
	}
	return err
}
