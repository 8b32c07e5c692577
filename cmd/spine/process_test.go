package main_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// process is a role, or several, as a process that can be killed at any moment.
type process struct {
	name  string
	args  []string
	ops   string // address of health
	cmd   *exec.Cmd
	ended chan struct{} // is closed when it has ended
	log   *os.File      // stderr of all its lives
}

// start begins a life. The process dies with the test at the latest.
func (p *process) start(t *testing.T, dir string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if p.log == nil {
		log, err := os.Create(filepath.Join(dir, p.name+".log"))
		if err != nil {
			t.Fatal(err)
		}
		p.log = log
		t.Cleanup(func() {
			p.kill()
			_ = log.Close()
			if t.Failed() {
				t.Logf("the last words of %s:\n%s", p.name, p.lastWords())
			}
		})
	}
	if err := p.spawn(exe, dir); err != nil {
		t.Fatal(err)
	}
}

// spawn begins a life of a binary.
func (p *process) spawn(exe, dir string) error {
	p.cmd = exec.Command(exe, p.args...)
	p.cmd.Args[0] = "spine" // called so, the test binary is spine
	p.cmd.Dir, p.cmd.Stderr = dir, p.log
	p.cmd.Env = append(os.Environ(), "SPINE_CONFIG=") // the command line says it all
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", p.name, err)
	}
	cmd, ended := p.cmd, make(chan struct{})
	p.ended = ended
	go func() {
		defer close(ended)
		_ = cmd.Wait() // ProcessState says it all
	}()
	return nil
}

// kill ends the process as a power cut does. It answers false if it had ended by itself.
func (p *process) kill() bool {
	if p.cmd == nil {
		return true
	}
	_ = p.cmd.Process.Kill() // an error is a process that has ended: Wait tells
	<-p.ended
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	p.cmd = nil
	return ok && status.Signaled()
}

// stop asks the process to end, as an operator does.
func (p *process) stop(t *testing.T) {
	t.Helper()
	if p.cmd == nil {
		return
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatalf("stopping %s: %v", p.name, err)
	}
	select {
	case <-p.ended:
		if code := p.cmd.ProcessState.ExitCode(); code != 0 {
			t.Errorf("%s was asked to end: exit code %d, want 0", p.name, code)
		}
		p.cmd = nil
	case <-time.After(25 * time.Second):
		t.Errorf("%s was asked to end, and did not within 25 s", p.name)
	}
}

func (p *process) lastWords() string {
	text, err := os.ReadFile(p.log.Name())
	if err != nil {
		return err.Error()
	}
	if lines := bytes.Split(bytes.TrimSpace(text), []byte("\n")); len(lines) > 30 {
		return fmt.Sprintf("(%d lines before)\n%s", len(lines)-30, bytes.Join(lines[len(lines)-30:], []byte("\n")))
	}
	return string(text)
}
