package main_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/eventspine/spine/consumers"
	"github.com/eventspine/spine/internal/probe"
	"github.com/eventspine/spine/pkg/app"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/intake"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/producer"
	"github.com/eventspine/spine/producers"
	"github.com/eventspine/spine/schemas"
	"github.com/eventspine/spine/topics"
)

// place is where a Spine of a test runs: its folder, its configuration, its parts.
type place struct {
	dir      string
	shops    []producer.Shop
	brokers  string             // host:port,…
	registry string             // URL
	database string             // URL
	kafka    string             // address of the embedded broker, where there is one
	intake   string             // address of the webhooks
	ops      string             // address of health and metrics
	groups   string             // YAML of groups; "" = defaults
	maxBody  string             // "" = default
	spools   []string           // files; none = the one in the data folder
	probed   bool               // the fleet has the probe among its groups
	adapters []producer.Adapter // nil = main's
}

// fleet is what runs at the place; each call makes new groups, as each process does.
func (p *place) fleet() app.Fleet {
	f := fleetOfMain()
	if p.probed {
		if g, err := probe.Group(); err == nil {
			f.Groups = append(f.Groups, g)
		}
	}
	return f
}

// fleetOfMain is what main runs; each call makes new groups, as each process does.
func fleetOfMain() app.Fleet {
	return app.Fleet{Adapters: producers.All(), Groups: consumers.All(), Schemas: []fs.FS{schemas.Files}, Topics: []fs.FS{topics.Files}}
}

// realParts says whether the parts of the environment are used: all three, or none.
func realParts() bool {
	for _, name := range []string{"SPINE_TEST_BROKERS", "SPINE_TEST_REGISTRY", "SPINE_TEST_POSTGRES"} {
		if os.Getenv(name) == "" {
			return false
		}
	}
	return true
}

// parallel runs a test beside others where it has parts of its own. Real parts are
// shared, and the groups have the same names in every Spine.
func parallel(t *testing.T) {
	t.Helper()
	if !realParts() {
		t.Parallel()
	}
}

// patience bounds waits. On shared parts, groups with a new database also work off what
// others left in the topics.
func patience() time.Duration {
	if realParts() {
		return 4 * time.Minute
	}
	return time.Minute
}

// newPlace chooses addresses that nobody uses. Parts are embedded ones, of spine dev.
func newPlace(t *testing.T, shops []producer.Shop) *place {
	t.Helper()
	at := freeAddresses(t, 4)
	p := &place{
		dir: t.TempDir(), shops: shops, brokers: at[0], kafka: at[0], registry: "http://" + at[1], intake: at[2], ops: at[3],
	}
	p.database = "sqlite:" + filepath.Join(p.dir, "data", "spine.db")
	return p
}

// freeAddresses are below the ports that the system gives to outgoing connections, so
// that a process can come back to its address.
func freeAddresses(t *testing.T, n int) []string {
	t.Helper()
	var all []string
	for range 1000 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(10_000)))
		if err != nil {
			continue
		}
		defer l.Close()
		if all = append(all, l.Addr().String()); len(all) == n {
			return all
		}
	}
	t.Fatal("finding free ports between 20000 and 30000")
	return nil
}

// configure writes the configuration and the secrets, and answers its file.
func (p *place) configure(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "intake: {listen: %s, max_body: %s}\nops: {listen: %s}\ninstances:\n", p.intake, cmp.Or(p.maxBody, "2MiB"), p.ops)
	for _, s := range p.shops {
		in := s.Instance
		secret := filepath.Join(p.dir, "secret-"+in.Name)
		writeFile(t, secret, string(s.Secret)+"\n")
		fmt.Fprintf(&b, "  %s:\n    secret: file:%s\n    base_currency: %s\n    time_zone: %s\n    legal_entity: %s\n    warehouses: [%s]\n",
			in, secret, in.BaseCurrency, in.TimeZone, in.LegalEntity, strings.Join(in.Warehouses, ", "))
		fmt.Fprintf(&b, "    shop_domain: %s\n    tax_policy: LINE_HALF_UP\n    calendar: %s\n    payment_days: %d\n", in.ShopDomain, in.Calendar, in.PaymentDays)
	}
	b.WriteString(p.groups)
	file := filepath.Join(p.dir, "spine.yaml")
	writeFile(t, file, b.String())
	return file
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// data is the data folder of the processes.
func (p *place) data() string { return filepath.Join(p.dir, "data") }

// args are flags that every command takes: which configuration, which parts.
func (p *place) args() []string {
	return []string{
		"--config", filepath.Join(p.dir, "spine.yaml"), "--data", p.data(), "--log-level", "warn",
		"--brokers", p.brokers, "--registry-url", p.registry, "--database-url", p.database,
	}
}

// devArgs are the command line of spine dev at the place.
func (p *place) devArgs() []string {
	return []string{
		"dev", "--config", filepath.Join(p.dir, "spine.yaml"), "--data", p.data(), "--log-level", "warn", "--kafka", p.kafka,
		"--registry", strings.TrimPrefix(p.registry, "http://"), "--intake", p.intake, "--ops", p.ops,
	}
}

// command runs a command line in this process.
func (p *place) command(ctx context.Context, words ...string) (stdout, stderr string, code int) {
	var out, errs bytes.Buffer
	code = app.Run(ctx, p.fleet(), app.Process{
		Args: append(words, p.args()...), Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Env: map[string]string{},
	})
	return out.String(), errs.String(), code
}

// must runs a command that has to work, and answers what it prints.
func (p *place) must(t *testing.T, words ...string) string {
	t.Helper()
	out, errs, code := p.command(t.Context(), words...)
	if code != 0 {
		t.Fatalf("spine %s: exit code %d\n%s%s", strings.Join(words, " "), code, out, errs)
	}
	return out
}

// readiness is what /readyz answers.
type readiness struct {
	Ready bool `json:"ready"`
	Parts map[string]struct {
		Ready  bool   `json:"ready"`
		Reason string `json:"reason"`
	} `json:"parts"`
}

// readyz asks the ops address.
func readyz(ctx context.Context, ops string) (readiness, error) {
	var r readiness
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+ops+"/readyz", nil)
	if err != nil {
		return r, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return r, err
	}
	defer resp.Body.Close()
	return r, json.NewDecoder(resp.Body).Decode(&r)
}

// eventually asks until the answer is nil; what is still missing when time is up is
// the failure.
func eventually(t *testing.T, within time.Duration, what string, ask func(context.Context) error) {
	t.Helper()
	if err := waitFor(t.Context(), within, ask); err != nil {
		t.Fatalf("%s: not within %s: %v", what, within, err)
	}
}

func waitFor(ctx context.Context, within time.Duration, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		if last == nil || ctx.Err() == nil { // what was missing tells more than that time is up
			last = err
		}
		select {
		case <-ctx.Done():
			return last
		case <-tick.C:
		}
	}
}

func ready(ops string) func(context.Context) error {
	return func(ctx context.Context) error {
		r, err := readyz(ctx, ops)
		if err == nil && !r.Ready {
			err = fmt.Errorf("not ready: %+v", r.Parts)
		}
		return err
	}
}

// position is what groups list says of a group.
type position struct {
	Group    string `json:"group"`
	Lag      int64  `json:"lag"`
	Waiting  int    `json:"waiting"`
	Dead     int    `json:"dead"`
	HeldKeys int    `json:"held_keys"`
	Outgoing int    `json:"outgoing"`
	Handled  int    `json:"handled"`
	Effects  struct {
		Open    int `json:"open"`
		Unknown int `json:"unknown"`
		Done    int `json:"done"`
	} `json:"effects"`
}

func (p *place) positions(ctx context.Context) (map[string]position, error) {
	out, errs, code := p.command(ctx, "groups", "list", "-o", "json")
	if code != 0 {
		return nil, fmt.Errorf("spine groups list: exit code %d: %s", code, errs)
	}
	var list []position
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		return nil, fmt.Errorf("spine groups list -o json: %w", err)
	}
	all := map[string]position{}
	for _, g := range list {
		all[g.Group] = g
	}
	return all, nil
}

// settle waits until nothing is on its way any more.
func (p *place) settle(t *testing.T, within time.Duration) {
	t.Helper()
	if err := p.quiet(t.Context(), within); err != nil {
		t.Fatalf("settling: not within %s: %v", within, err)
	}
}

// quiet is settle: what one group publishes is the input of another, so that nothing
// on its way has to be seen three times.
func (p *place) quiet(ctx context.Context, within time.Duration) error {
	times := 0
	return waitFor(ctx, within, func(ctx context.Context) error {
		spooled, err := p.spooled(ctx)
		if err != nil {
			return err
		}
		all, err := p.positions(ctx)
		if err != nil {
			return err
		}
		left := []string{}
		if len(spooled) > 0 {
			left = append(left, fmt.Sprintf("%d deliveries in the spool", len(spooled)))
		}
		for name, g := range all {
			waits := g.Waiting > 0 && g.Dead == 0 // what stands behind a dead head waits for a person
			if g.Lag > 0 || waits || g.Outgoing > 0 || g.Effects.Open > 0 {
				left = append(left, fmt.Sprintf("%s: lag %d, waiting %d, outgoing %d, open effects %d", name, g.Lag, g.Waiting, g.Outgoing, g.Effects.Open))
			}
		}
		if len(left) > 0 {
			times = 0
			return errors.New(strings.Join(left, "; "))
		}
		if times++; times < 3 {
			return errors.New("quiet, but not for long")
		}
		return nil
	})
}

// spooled are the deliveries that wait in the spools.
func (p *place) spooled(ctx context.Context) (ids []string, err error) {
	files := p.spools
	if files == nil {
		files = []string{filepath.Join(p.data(), "spool.db")}
	}
	for _, f := range files {
		some, err := intake.Spooled(ctx, f)
		if err != nil {
			return nil, err
		}
		ids = append(ids, some...)
	}
	return ids, nil
}

// store opens the database beside the running processes.
func (p *place) store(t *testing.T) *once.DB {
	t.Helper()
	db, err := once.Open(t.Context(), once.Options{URL: p.database, MaxConnections: 4, Existing: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("closing the database: %v", err)
		}
	})
	return db
}

func (p *place) client() []kgo.Opt {
	return []kgo.Opt{kgo.SeedBrokers(strings.Split(p.brokers, ",")...)}
}

func (p *place) registryClient(t *testing.T) *sr.Client {
	t.Helper()
	cl, err := sr.NewClient(sr.URLs(p.registry))
	if err != nil {
		t.Fatal(err)
	}
	return cl
}

// demoShops are the shops of the demo under names of their own.
func demoShops(suffix string) (shops []producer.Shop, skus []string) {
	for _, a := range producers.All() {
		skus = append(skus, a.Day.SKUs...)
		for _, in := range a.Day.Instances {
			in.Name += suffix
			shops = append(shops, producer.Shop{Instance: in, Secret: []byte("secret of " + in.Name)})
		}
	}
	return shops, skus
}

// owners are the instances that a test plays: what else stands in shared topics is
// not its business.
func (p *place) instances() map[string]event.Instance {
	all := map[string]event.Instance{}
	for _, s := range p.shops {
		all[s.Instance.String()] = s.Instance
	}
	return all
}
