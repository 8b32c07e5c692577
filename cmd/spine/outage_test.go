package main_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eventspine/spine/pkg/devstack"
	"github.com/eventspine/spine/pkg/devstack/devtest"
	"github.com/eventspine/spine/pkg/producer"
)

// outage is a Spine whose parts go away and come back: an embedded broker and registry
// of its own, behind doors that can be shut.
type outage struct {
	*place
	t      *testing.T
	stack  *devstack.Stack
	orders []producer.Call
	sent   int
}

// newOutage starts the parts, with topics and schemas, and no role yet.
func newOutage(t *testing.T) *outage {
	t.Helper()
	shops, _ := demoShops("")
	o := &outage{place: newPlace(t, shops), t: t}
	o.configure(t)
	o.open()
	t.Cleanup(func() { o.shut() })
	o.must(t, "topics", "apply", "--yes", "--replication-factor", "1")
	o.must(t, "schema", "register")
	o.orders = manyOrders(t, shops[0])
	return o
}

// open starts broker and registry on their folder and addresses.
func (o *outage) open() {
	o.t.Helper()
	stack, err := devstack.Start(o.t.Context(), devstack.Options{
		Dir: filepath.Join(o.dir, "parts"), KafkaAddr: o.kafka, RegistryAddr: strings.TrimPrefix(o.registry, "http://"),
	})
	if err != nil {
		o.t.Fatal(err)
	}
	o.stack = stack
}

func (o *outage) shut() {
	o.t.Helper()
	if err := o.stack.Close(); err != nil {
		o.t.Error(err)
	}
}

// take sends orders, all of which have to be accepted.
func (o *outage) take(n int) {
	o.t.Helper()
	for range n {
		if a := o.call(o.t, o.orders[o.sent]); a.status != http.StatusOK {
			o.t.Fatalf("order %d is answered %d %s, want 200", o.sent, a.status, a.body)
		}
		o.sent++
	}
}

// saysAway waits until /readyz names parts as not ready, with a reason.
func (o *outage) saysAway(parts ...string) {
	o.t.Helper()
	eventually(o.t, 30*time.Second, "readiness says what is away", func(ctx context.Context) error {
		r, err := readyz(ctx, o.ops)
		if err != nil {
			return err
		}
		for _, name := range parts {
			if part, known := r.Parts[name]; r.Ready || !known || part.Ready || part.Reason == "" {
				return fmt.Errorf("%s is not said to be away: %+v", name, r)
			}
		}
		return nil
	})
}

// heals waits until all is ready and done: every order handled by every group, no dead
// letter, balanced books.
func (o *outage) heals() {
	o.t.Helper()
	eventually(o.t, time.Minute, "getting ready again", ready(o.ops))
	o.settle(o.t, time.Minute)
	for _, c := range o.orders[:o.sent] {
		placedOnce(o.t, o.place, orderID(c))
	}
	for name, g := range groupsOf(o.t, o.place) {
		if g.Dead > 0 || g.Waiting > 0 || g.HeldKeys > 0 {
			o.t.Errorf("%s has dead letters or waits because a part was away: %+v", name, g)
		}
		if letters := recordsOf(o.t, o.place, "dlq."+name); len(letters) > 0 {
			o.t.Errorf("%d dead letters of %s, such as: %s", len(letters), name, headerOf(letters[0], "spine_dlq_reason"))
		}
	}
	o.must(o.t, "audit")
}

// A registry that is away when the roles start: deliveries are taken, and translated
// when it is back. (The groups have been there before: new ones would begin with what
// comes when they are ready.)
func TestOutage_registry(t *testing.T) {
	t.Parallel()
	o := newOutage(t)
	d := newDoor(t, strings.TrimPrefix(o.registry, "http://"))
	o.registry = "http://" + d.address
	args := append([]string{"run"}, o.args()...)
	o.live(t, args...).stop()
	d.shut()
	again := o.run(t, args...)
	o.saysAway("registry")
	o.take(5)
	eventually(t, 30*time.Second, "translate meets the registry", func(ctx context.Context) error {
		select {
		case <-again.ended:
			t.Fatalf("spine run ended with exit code %d because the registry is away", again.code)
		default:
		}
		r, err := readyz(ctx, o.ops)
		if err == nil && !strings.Contains(r.Parts["group translate"].Reason, "registry") {
			err = fmt.Errorf("translate says %q", r.Parts["group translate"].Reason)
		}
		return err
	})
	d.open()
	o.heals()
	o.take(2)
	o.heals()
}

// A broker that goes away while the roles run: the spool takes what comes, and gives it
// back.
func TestOutage_broker(t *testing.T) {
	t.Parallel()
	o := newOutage(t)
	o.live(t, append([]string{"run"}, o.args()...)...)
	o.take(3)
	o.settle(t, time.Minute)
	for range 2 {
		o.shut()
		o.take(4)
		o.saysAway("kafka")
		if n := o.metric(t, "spine_deliveries_total", `outcome="spooled"`); n == 0 {
			t.Error("nothing went to the spool")
		}
		o.open()
		o.heals()
	}
}

// A database that goes away while the roles run.
func TestOutage_database(t *testing.T) {
	parallel(t)
	if os.Getenv("SPINE_TEST_POSTGRES") == "" {
		t.Skip("needs PostgreSQL: set SPINE_TEST_POSTGRES; SQLite is a file and does not go away")
	}
	o := newOutage(t)
	direct, err := url.Parse(devtest.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	d := newDoor(t, direct.Host)
	behind := *direct
	behind.Host = d.address
	o.database = behind.String()
	o.live(t, append([]string{"run"}, o.args()...)...)
	o.take(3)
	o.settle(t, time.Minute)
	for range 2 {
		d.shut()
		o.take(4)
		o.saysAway("group translate")
		d.open()
		o.heals()
	}
}

// Who is asked to end while he still waits for his database ends in peace.
func TestOutage_databaseAtTheStart(t *testing.T) {
	parallel(t)
	o := newOutage(t)
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	called := make(chan net.Conn, 100)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			called <- c // and never answers
		}
	}()
	o.database = fmt.Sprintf("postgres://spine@%s/spine?sslmode=disable", l.Addr())
	p := &process{name: "waiting", args: append([]string{"run", "group", "analytics"}, o.args()...)}
	p.start(t, o.dir)
	select {
	case c := <-called:
		t.Cleanup(func() { _ = c.Close() })
	case <-time.After(patience()):
		t.Fatal("it doesn't look for its database")
	}
	p.stop(t)
}

// door is a way to a part that can be shut: connections break, new ones are refused.
type door struct {
	t       *testing.T
	address string
	target  string

	mu    sync.Mutex
	l     net.Listener // nil = shut
	conns map[net.Conn]struct{}
}

func newDoor(t *testing.T, target string) *door {
	t.Helper()
	d := &door{t: t, address: freeAddresses(t, 1)[0], target: target, conns: map[net.Conn]struct{}{}}
	d.open()
	t.Cleanup(d.shut)
	return d
}

func (d *door) open() {
	d.t.Helper()
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", d.address) // also when the test is about to end
	if err != nil {
		d.t.Fatal(err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.l = l
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go d.pass(c)
		}
	}()
}

func (d *door) shut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.l == nil {
		return
	}
	if err := d.l.Close(); err != nil {
		d.t.Error(err)
	}
	d.l = nil
	for c := range d.conns {
		_ = c.Close() // both sides: the copies end
	}
}

// pass copies both ways until one side ends.
func (d *door) pass(c net.Conn) {
	to, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(context.Background(), "tcp", d.target)
	if err != nil {
		_ = c.Close()
		return
	}
	if !d.enter(c, to) {
		return
	}
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{c, to}, {to, c}} {
		both.Go(func() {
			if _, err := io.Copy(way[0], way[1]); err != nil && !errors.Is(err, net.ErrClosed) {
				_ = way[1].Close()
			}
			_ = way[0].Close()
		})
	}
	both.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.conns, c)
	delete(d.conns, to)
}

// enter remembers connections, unless the door was shut meanwhile.
func (d *door) enter(conns ...net.Conn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range conns {
		if d.l == nil {
			_ = c.Close()
			continue
		}
		d.conns[c] = struct{}{}
	}
	return d.l != nil
}
