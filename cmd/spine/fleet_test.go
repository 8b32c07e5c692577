package main_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// roles are what runs, each in two processes of its own. The probe has none.
func roles() [][]string {
	return [][]string{{"intake"}, {"translate"}, {"group", "inventory"}, {"group", "invoicing"}, {"group", "notifications"}, {"group", "probe", "analytics"}}
}

// member is one process of the fleet, with its own ways to the parts.
type member struct {
	process
	mu     sync.Mutex // one who kills, stops or starts it at a time
	dir    string
	exe    string
	intake string           // address of its webhooks, "" = no intake
	links  map[string]*link // by part: kafka1 …, registry, postgres
}

// fleet is Spine as it runs in production: two processes of each role on real parts.
type fleet struct {
	*place
	members []*member
	parts   parts
}

// newFleet writes the configuration of each process and lays its links. exe is the
// binary that is run; dir keeps all of it.
func newFleet(t *testing.T, p *place, exe string) *fleet {
	t.Helper()
	f := &fleet{place: p, parts: partsOf(t)}
	text, err := os.ReadFile(p.configure(t))
	if err != nil {
		t.Fatal(err)
	}
	net := newNetwork()
	for _, role := range roles() {
		for n := 1; n <= 2; n++ {
			m := &member{dir: p.dir, exe: exe, links: map[string]*link{}}
			m.name = role[len(role)-1] + "-" + strconv.Itoa(n)
			m.bury()
			f.lay(t, net, m)
			at := freeAddresses(t, 2)
			m.ops = at[0]
			spool := filepath.Join(p.dir, m.name+"-spool.db")
			if role[0] == "intake" {
				m.intake = at[1]
				p.spools = append(p.spools, spool)
			}
			file := filepath.Join(p.dir, m.name+".yaml")
			config := strings.Replace(string(text), "intake: {listen: "+p.intake, "intake: {spool: "+spool+", listen: "+at[1], 1)
			config = strings.Replace(config, "ops: {listen: "+p.ops+"}", "ops: {listen: "+at[0]+"}\ndatabase: {max_connections: 14}", 1)
			writeFile(t, file, config)
			m.args = append(append([]string{"run"}, role...), m.flags(t, p, file)...)
			log, err := os.OpenFile(filepath.Join(p.dir, m.name+".log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
			if err != nil {
				t.Fatal(err)
			}
			m.log = log
			f.members = append(f.members, m)
		}
	}
	t.Cleanup(f.close)
	return f
}

// lay lays the links of a process to every part.
func (f *fleet) lay(t *testing.T, net *network, m *member) {
	t.Helper()
	brokers := strings.Split(f.brokers, ",")
	ways, err := net.brokers(m.name, freeAddresses(t, len(brokers)), brokers)
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range ways {
		m.links["kafka"+strconv.Itoa(i+1)] = l
	}
	for part, at := range map[string]string{"registry": f.registry, "postgres": f.database} {
		u, err := url.Parse(at)
		if err != nil {
			t.Fatal(err)
		}
		if m.links[part], err = net.link(m.name+"-"+part, freeAddresses(t, 1)[0], u.Host); err != nil {
			t.Fatal(err)
		}
	}
}

// flags lead the process over its links.
func (m *member) flags(t *testing.T, p *place, file string) []string {
	t.Helper()
	var brokers []string
	for i := range strings.Split(p.brokers, ",") {
		brokers = append(brokers, m.links["kafka"+strconv.Itoa(i+1)].proxy.Listen)
	}
	behind := func(part, at string) string {
		u, err := url.Parse(at)
		if err != nil {
			t.Fatal(err)
		}
		u.Host = m.links[part].proxy.Listen
		return u.String()
	}
	return []string{
		"--config", file, "--data", p.data(), "--log-level", "warn", "--brokers", strings.Join(brokers, ","),
		"--registry-url", behind("registry", p.registry), "--database-url", behind("postgres", p.database),
	}
}

// start starts those that don't run.
func (f *fleet) start() error {
	for _, m := range f.members {
		if m.cmd != nil {
			continue
		}
		if err := m.rise(); err != nil {
			return err
		}
	}
	return nil
}

func (f *fleet) close() {
	for _, m := range f.members {
		m.kill()
		_ = m.log.Close()
		for _, l := range m.links {
			_ = l.close()
		}
	}
}

// ready says which process is not ready, and why.
func (f *fleet) ready(ctx context.Context) error {
	for _, m := range f.members {
		if err := ready(m.ops)(ctx); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	return nil
}

// intakes are the addresses that vendors send to.
func (f *fleet) intakes() (urls []string) {
	for _, m := range f.members {
		if m.intake != "" {
			urls = append(urls, "http://"+m.intake)
		}
	}
	return urls
}

func (f *fleet) member(name string) (*member, error) {
	for _, m := range f.members {
		if m.name == name {
			return m, nil
		}
	}
	return nil, fmt.Errorf("no process %s", name)
}

// rise begins a life, and writes down whose it is.
func (m *member) rise() error {
	if err := m.spawn(m.exe, m.dir); err != nil {
		return err
	}
	return os.WriteFile(m.pidFile(), []byte(strconv.Itoa(m.cmd.Process.Pid)), 0o600)
}

func (m *member) pidFile() string { return filepath.Join(m.dir, m.name+".pid") }

// bury ends what an interrupted run has left of this process.
func (m *member) bury() {
	text, err := os.ReadFile(m.pidFile())
	if err != nil {
		return
	}
	pid, err := strconv.Atoi(string(text))
	if err != nil {
		return
	}
	// The number may be somebody else's by now.
	line, err := os.ReadFile(filepath.Join("/proc", string(text), "cmdline"))
	if err != nil || !strings.Contains(string(line), filepath.Join(m.dir, m.name+".yaml")) {
		return
	}
	if old, err := os.FindProcess(pid); err == nil {
		_ = old.Kill()
	}
}

// strike kills the process. One that was dead already has died of itself.
func (m *member) strike() error {
	if m.cmd == nil {
		return nil
	}
	if !m.kill() {
		return fmt.Errorf("%s has ended by itself:\n%s", m.name, m.lastWords())
	}
	return nil
}

// ask asks the process to end, as a deploy does, and waits.
func (m *member) ask(within time.Duration) error {
	if m.cmd == nil {
		return nil
	}
	if err := m.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("asking %s to end: %w", m.name, err)
	}
	select {
	case <-m.ended:
	case <-time.After(within):
		m.kill()
		return fmt.Errorf("%s was asked to end, and did not within %s", m.name, within)
	}
	code := m.cmd.ProcessState.ExitCode()
	m.cmd = nil
	if code != 0 {
		return fmt.Errorf("%s was asked to end: exit code %d, want 0\n%s", m.name, code, m.lastWords())
	}
	return nil
}

// faultShops are two shops under names of their own.
func faultPlace(t *testing.T, dir, suffix string) *place {
	t.Helper()
	shops, skus := demoShops(suffix)
	p := &place{dir: dir, shops: shops, probed: true, intake: "127.0.0.1:1", ops: "127.0.0.1:2"} // each process has its own
	p.brokers, p.registry = os.Getenv("SPINE_TEST_BROKERS"), os.Getenv("SPINE_TEST_REGISTRY")
	// The handlers fail once for an event in each process, and hundreds of processes are
	// killed: a record must outlive more of them than the usual attempts.
	p.groups = "groups:\n"
	for _, group := range []string{"analytics", "invoicing", "notifications", "probe"} {
		p.groups += "  " + group + ": {attempts: 1000}\n"
	}
	p.groups += "  inventory:\n    attempts: 1000\n    stock: " + stockFile(t, dir, shops, skus) + "\n    pools:\n"
	for _, s := range shops {
		p.groups += "      " + s.Instance.Name + ": {warehouses: [" + s.Instance.Warehouses[0] + "]}\n"
	}
	return p
}

// names are those of the processes.
func (f *fleet) names() (all []string) {
	for _, m := range f.members {
		all = append(all, m.name)
	}
	return all
}
