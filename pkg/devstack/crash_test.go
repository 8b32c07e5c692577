package devstack_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/eventspine/spine/pkg/devstack"
)

// childDir is the data folder of the process that TestMain becomes when it is set.
const childDir = "SPINE_DEVSTACK_CHILD_DIR"

type addresses struct{ Kafka, Registry string }

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// child runs the parts until its stdin ends, or until it is killed.
func child(dir string) error {
	s, err := devstack.Start(context.Background(), devstack.Options{Dir: dir})
	if err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(addresses{s.Brokers()[0], s.RegistryURL()}); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return errors.Join(err, s.Close())
}

func spawn(t *testing.T, dir string) (*exec.Cmd, addresses) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		t.Fatalf("the child said nothing: %v", err)
	}
	var a addresses
	if err := json.Unmarshal(line, &a); err != nil {
		t.Fatal(err)
	}
	return cmd, a
}

// TestKillKeepsWhatWasAcknowledged kills the process that runs the parts, three
// times over one folder, and looks for every record and id that was acknowledged.
func TestKillKeepsWhatWasAcknowledged(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	var want []string
	ids := map[string]int{}
	for round := range 3 {
		cmd, at := spawn(t, dir)
		if round == 0 {
			refusedWhileHeld(t, dir, cmd.Process.Pid)
		}
		c, err := kgo.NewClient(kgo.SeedBrokers(at.Kafka), kgo.RecordPartitioner(kgo.ManualPartitioner()))
		if err != nil {
			t.Fatal(err)
		}
		if round == 0 {
			if err := createTopic(t, c, nil, "kept"); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 20 {
			v := fmt.Sprintf("%d-%d", round, i)
			produce(t, c, "kept", v)
			want = append(want, v)
		}
		r, err := sr.NewClient(sr.URLs(at.Registry))
		if err != nil {
			t.Fatal(err)
		}
		subject := fmt.Sprintf("t.Round%d", round)
		ids[subject] = mustCreate(t, r, subject, schema(fmt.Sprintf("Round%d", round))).ID
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		var exit *exec.ExitError
		if err := cmd.Wait(); !errors.As(err, &exit) {
			t.Fatalf("the child ended by itself: %v", err)
		}
		c.Close()
	}
	s := start(t, devstack.Options{Dir: dir}) // the kernel gave the lock back
	if diff := cmp.Diff(want, consume(t, s, "kept", len(want))); diff != "" {
		t.Errorf("records after the kills (-acknowledged +read):\n%s", diff)
	}
	r := registry(t, s)
	got := map[string]int{}
	for subject := range ids {
		v, err := r.SchemaByVersion(t.Context(), subject, -1)
		if err != nil {
			t.Fatal(err)
		}
		got[subject] = v.ID
	}
	if diff := cmp.Diff(ids, got); diff != "" {
		t.Errorf("schema ids after the kills (-acknowledged +read):\n%s", diff)
	}
}

func refusedWhileHeld(t *testing.T, dir string, pid int) {
	t.Helper()
	_, err := devstack.Start(t.Context(), devstack.Options{Dir: dir})
	var held *devstack.HeldError
	if !errors.As(err, &held) || held.PID != pid {
		t.Errorf("start over a held folder: %v; want a HeldError that names process %d", err, pid)
	}
}
