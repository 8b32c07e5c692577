package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/twmb/franz-go/pkg/kgo"
)

// The test binary is the spine binary, too, where it is called by that name.
func TestMain(m *testing.M) { testscript.Main(m, map[string]func(){"spine": spineOfTests}) }

// process is a running spine.
type process struct {
	t      testing.TB
	cmd    *exec.Cmd
	lines  chan string // of stdout
	stderr *locked
	ended  chan struct{} // is closed when it has ended
	err    error         // how it ended
}

// locked is a buffer that is read while it is written.
type locked struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// start runs spine in a folder. The environment of the tests does not reach it, so
// that a test's result does not depend on it.
func start(tb testing.TB, dir string, env []string, args ...string) *process {
	tb.Helper()
	exe, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	p := &process{t: tb, cmd: exec.Command(exe, args...), lines: make(chan string, 1000), stderr: &locked{}, ended: make(chan struct{})}
	p.cmd.Args[0], p.cmd.Dir, p.cmd.Env, p.cmd.Stderr = "spine", dir, append(env, "PATH="+os.Getenv("PATH"), "HOME="+dir), p.stderr
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	go p.wait(stdout)
	tb.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
	})
	return p
}

func (p *process) wait(stdout io.Reader) {
	defer close(p.ended)
	defer close(p.lines)
	r := bufio.NewReader(stdout)
	for {
		line, err := r.ReadString('\n')
		if line != "" {
			p.lines <- strings.TrimSuffix(line, "\n")
		}
		if err != nil {
			break
		}
	}
	p.err = p.cmd.Wait()
}

// line is the next line of stdout.
func (p *process) line(limit time.Duration) string {
	p.t.Helper()
	select {
	case line, ok := <-p.lines:
		if ok {
			return line
		}
		p.t.Fatalf("%s ended without another line: %v\n%s", p.cmd.Args, p.err, p.stderr)
	case <-time.After(limit):
		p.t.Fatalf("%s: no line within %s\n%s", p.cmd.Args, limit, p.stderr)
	}
	return ""
}

// end signals and waits for the exit code.
func (p *process) end(signal os.Signal) int {
	p.t.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil {
		p.t.Fatal(err)
	}
	return p.code(30 * time.Second)
}

// code waits for the exit code.
func (p *process) code(limit time.Duration) int {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(limit):
		p.t.Fatalf("%s did not end within %s\n%s", p.cmd.Args, limit, p.stderr)
	}
	var exit *exec.ExitError
	if p.err != nil && !errors.As(p.err, &exit) {
		p.t.Fatal(p.err)
	}
	return p.cmd.ProcessState.ExitCode()
}

// dev is a running spine dev, and what its line says.
type dev struct {
	*process
	Ready                                        bool
	Kafka, Registry, Intake, Ops, Database, Data string
	more                                         []string // environment of every spine beside it
}

// startDev starts spine dev on free ports in a folder.
func startDev(tb testing.TB, dir string, env ...string) dev {
	tb.Helper()
	d := devOf(tb, start(tb, dir, env, "dev", "--kafka", ":0", "--registry", ":0", "--intake", ":0", "--ops", "127.0.0.1:0"))
	d.more = env
	return d
}

// devOf waits until a dev says that it is ready.
func devOf(tb testing.TB, p *process) dev {
	tb.Helper()
	d := dev{process: p}
	line := d.line(60 * time.Second)
	if err := json.Unmarshal([]byte(line), &d); err != nil || !d.Ready {
		tb.Fatalf("the line of spine dev is %q: %v", line, err)
	}
	return d
}

// env makes commands use the parts of a dev, from whatever folder.
func (d dev) env() []string {
	database := d.Database
	if database == "" || strings.HasPrefix(database, "sqlite:") { // by a path that means another file in another folder
		database = "sqlite:" + filepath.Join(d.Data, "spine.db")
	}
	return append([]string{
		"SPINE_KAFKA_BROKERS=" + d.Kafka, "SPINE_REGISTRY_URL=" + d.Registry, "SPINE_DATABASE_URL=" + database,
		"SPINE_INTAKE_SPOOL=" + filepath.Join(d.Data, "spool.db"), "DATA=" + d.Data,
	}, d.more...)
}

// secret of the demo shops.
func (d dev) secret() []byte {
	d.t.Helper()
	raw, err := os.ReadFile(filepath.Join(d.Data, "demo-secret"))
	if err != nil {
		d.t.Fatal(err)
	}
	return bytes.TrimSpace(raw)
}

func TestDev(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := startDev(t, dir)
	second := start(t, dir, nil, "dev", "--kafka", ":0", "--registry", ":0", "--intake", ":0", "--ops", ":0")
	if code, said := second.code(30*time.Second), second.stderr.String(); code != 1 || !strings.Contains(said, "is held by process") {
		t.Errorf("a second dev on the folder: exit %d, %s", code, said)
	}
	reset := start(t, dir, nil, "dev", "--reset", "--yes")
	if code, said := reset.code(30*time.Second), reset.stderr.String(); code != 1 || !strings.Contains(said, "is held by process") {
		t.Errorf("a reset of a folder in use: exit %d, %s", code, said)
	}
	if code := d.end(syscall.SIGTERM); code != 0 {
		t.Errorf("exit %d after SIGTERM\n%s", code, d.stderr)
	}
	asked := start(t, dir, nil, "dev", "--reset")
	if code, said := asked.code(30*time.Second), asked.stderr.String(); code != 4 || !strings.Contains(said, "--yes") {
		t.Errorf("a reset that nobody can be asked about: exit %d, %s", code, said)
	}
	mark := filepath.Join(d.Data, "mark")
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	again := start(t, dir, nil, "dev", "--reset", "--yes", "--kafka", ":0", "--registry", ":0", "--intake", ":0", "--ops", ":0")
	again.line(60 * time.Second)
	if _, err := os.Stat(mark); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after --reset, what was in the folder: %v", err)
	}
	if code := again.end(syscall.SIGINT); code != 0 {
		t.Errorf("exit %d after SIGINT\n%s", code, again.stderr)
	}
}

// Books that do not balance: an event that claims to follow from what its group never
// handled. The audit names it, and exits 3.
func TestAudit_unbalanced(t *testing.T) {
	t.Parallel()
	d := startDev(t, t.TempDir())
	client, err := kgo.NewClient(kgo.SeedBrokers(d.Kafka))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	phantom := &kgo.Record{Topic: "notify.notification.events", Key: []byte("k"), Value: []byte("x")}
	for _, h := range [][2]string{
		{"ce_specversion", "1.0"},
		{"ce_id", "019cec13-177b-835c-af42-62fc597f21c7"},
		{"ce_type", "notification.sent.v1"},
		{"ce_source", "spine/notifications"},
		{"ce_time", "2026-03-14T11:20:00Z"},
		{"ce_subject", "notification/1"},
		{"ce_correlationid", "order:shopify/uk:1"},
		{"ce_causationid", "019cf082-5800-884c-8b30-9cc3a78dd996"},
		{"content-type", "application/avro"},
	} {
		phantom.Headers = append(phantom.Headers, kgo.RecordHeader{Key: h[0], Value: []byte(h[1])})
	}
	audit := func(args ...string) (int, string) {
		p := start(t, t.TempDir(), d.env(), append([]string{"audit"}, args...)...)
		code := p.code(30 * time.Second)
		var lines []string
		for line := range p.lines {
			lines = append(lines, line)
		}
		return code, strings.Join(lines, "\n") + p.stderr.String()
	}
	if code, said := audit(); code != 0 || !strings.Contains(said, "the books balance") {
		t.Errorf("nothing happened yet: exit %d\n%s", code, said)
	}
	if err := client.ProduceSync(t.Context(), phantom).FirstErr(); err != nil {
		t.Fatal(err)
	}
	const finding = "notification.sent.v1 019cec13-177b-835c-af42-62fc597f21c7 follows from 019cf082-5800-884c-8b30-9cc3a78dd996, which notifications has not handled"
	code, said := audit()
	if code != 3 || !strings.Contains(said, "THE BOOKS DO NOT BALANCE: lost 0, doubled 0, phantom 1, out of order 0") || !strings.Contains(said, finding) {
		t.Errorf("exit %d\n%s", code, said)
	}
	code, said = audit("-o", "json")
	if code != 3 || !strings.HasPrefix(said, `{"balanced":false,"rows":[`) || !strings.Contains(said, finding) {
		t.Errorf("exit %d\n%s", code, said)
	}
}

// long skips a test where time is short, as with a race detector in every process: a
// long way through the command line, whose packages have suites of their own.
func long(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("a long way through the command line: not with -short")
	}
}
