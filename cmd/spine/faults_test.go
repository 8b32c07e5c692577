package main_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/eventspine/spine/pkg/bus"
	"github.com/eventspine/spine/pkg/producer"
	"github.com/eventspine/spine/producers"
)

// TestFaults runs Spine as it runs in production, two processes of each role on real
// parts, sends days to it while everything fails at random, and then holds what was
// acknowledged against what stands. SPINE_TEST_FAULTS chooses the form: short (a
// minute of faults) or long; SPINE_PARTS_SCRIPT names the script of the parts, which
// must be nobody else's.
//
//   - SPINE_TEST_SEED plays the same day with the same faults again.
//   - SPINE_TEST_FAULTS_DIR keeps everything in a folder: the faults as they happened
//     (faults.log), what was answered, the logs of all processes, what was found. A run
//     that was interrupted goes on where it was, with the same parts.
//   - SPINE_TEST_FAULTS_SCHEDULE is a file of faults to inflict instead, such as a faults.log.
//   - SPINE_TEST_FAULTS_FACTS and SPINE_TEST_FAULTS_COUNT are how many facts and faults
//     there must be at least, SPINE_TEST_FAULTS_EVERY the time between two.
//   - SPINE_TEST_FAULTS_RACE=1 runs processes that look for data races.
func TestFaults(t *testing.T) {
	form := os.Getenv("SPINE_TEST_FAULTS")
	if form == "" || !realParts() {
		t.Skip("kills real parts: SPINE_TEST_FAULTS=short|long chooses the form, SPINE_PARTS_SCRIPT the script of the parts")
	}
	p := newProgram(t, form)
	p.tell("%d facts and %d faults at least, a fault each %s: SPINE_TEST_SEED=%d, everything in %s", p.facts, p.faults, p.every, p.Seed, p.dir)
	p.build()
	p.prepare()
	p.play()
	p.judge()
	if err := p.outOfRange(); err != nil {
		p.found = append(p.found, "offsets out of range: "+err.Error())
	}
	p.stop()
	for _, f := range p.found {
		t.Error(f)
	}
}

// program is one run. What a run that goes on has to know stands in run.json.
type program struct {
	t        *testing.T
	dir      string
	log      io.Writer
	facts    int
	faults   int
	pace     time.Duration // between two calls; 0 = as fast as they are answered
	every    time.Duration
	patience time.Duration // with what is left when all has healed
	exe      string
	given    []fault // instead of drawn ones
	fleet    *fleet
	sender   *sender
	begun    time.Time
	found    []string
	behind   atomic.Int64 // records, all groups together

	Seed   uint64 `json:"seed"`
	Suffix string `json:"suffix"` // of the shops and the schema
	Orders int    `json:"orders"`
}

func newProgram(t *testing.T, form string) *program {
	t.Helper()
	p := &program{t: t, facts: 30_000, faults: 30, every: 1900 * time.Millisecond, dir: os.Getenv("SPINE_TEST_FAULTS_DIR")}
	p.patience = 15 * time.Minute
	switch form {
	case "long":
		p.facts, p.faults, p.every, p.patience = 1_000_000, 500, 5*time.Second, 2*time.Hour
	case "planted":
		p.facts, p.patience, p.pace = 1800, time.Minute, 10*time.Millisecond
	}
	p.facts, p.faults = number(t, "SPINE_TEST_FAULTS_FACTS", p.facts), number(t, "SPINE_TEST_FAULTS_COUNT", p.faults)
	var err error
	if text := os.Getenv("SPINE_TEST_FAULTS_EVERY"); text != "" {
		if p.every, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	if name := os.Getenv("SPINE_TEST_FAULTS_SCHEDULE"); name != "" {
		if p.given, err = readSchedule(name); err != nil {
			t.Fatal(err)
		}
		p.faults = len(p.given)
	}
	if p.dir == "" {
		if p.dir, err = os.MkdirTemp("", "spine-faults-"); err != nil { //nolint:usetesting // it stays where something is found
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if !t.Failed() { // else what happened is to be looked at
				_ = os.RemoveAll(p.dir)
			}
		})
	}
	if err := os.MkdirAll(p.dir, 0o750); err != nil {
		t.Fatal(err)
	}
	p.restore()
	log, err := os.OpenFile(filepath.Join(p.dir, "progress.log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	p.log = io.MultiWriter(log, os.Stdout)
	return p
}

// restore reads what an interrupted run was, or makes a new one.
func (p *program) restore() {
	p.t.Helper()
	text, err := os.ReadFile(filepath.Join(p.dir, "run.json"))
	if err == nil {
		if err := json.Unmarshal(text, p); err != nil {
			p.t.Fatalf("run.json: %v", err)
		}
		return
	}
	if !errors.Is(err, fs.ErrNotExist) {
		p.t.Fatal(err)
	}
	p.Seed = uint64(number(p.t, "SPINE_TEST_SEED", int(rand.Uint32())))
	p.Suffix = "-" + strconv.FormatUint(uint64(rand.Uint32()), 36)
	p.Orders = p.facts*10/factsOfTenOrders + 50
}

// factsOfTenOrders is how many facts follow from ten orders of a day, all groups
// together, a little less than it is.
const factsOfTenOrders = 52

func (p *program) tell(format string, args ...any) {
	fmt.Fprintf(p.log, time.Now().Format("15:04:05 ")+format+"\n", args...)
}

// build makes the binary that all processes run: spine, with handlers that fail now
// and then.
func (p *program) build(flags ...string) {
	p.t.Helper()
	p.exe = filepath.Join(p.dir, "spine")
	if os.Getenv("SPINE_TEST_FAULTS_RACE") != "" {
		flags = append(flags, "-race")
	}
	args := append(append([]string{"build", "-buildvcs=false", "-o", p.exe}, flags...), "./testdata/flaky")
	if out, err := exec.CommandContext(p.t.Context(), "go", args...).CombinedOutput(); err != nil {
		p.t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// prepare makes topics, schemas and a database schema, and starts the fleet.
func (p *program) prepare() {
	p.t.Helper()
	place := faultPlace(p.t, p.dir, p.Suffix)
	place.database = p.schema()
	p.fleet = newFleet(p.t, place, p.exe)
	p.clean()
	place.must(p.t, "topics", "apply", "--yes")
	place.must(p.t, "schema", "register")
	if err := p.fleet.start(); err != nil {
		p.t.Fatal(err)
	}
	eventually(p.t, 2*time.Minute, "starting", p.fleet.ready)
	j, err := openJournal(filepath.Join(p.dir, "answers.log"))
	if err != nil {
		p.t.Fatal(err)
	}
	p.sender = newSender(p.fleet.intakes(), j, p.pace)
}

// clean takes away what former runs left in Kafka, unless this one goes on.
func (p *program) clean() {
	p.t.Helper()
	name := filepath.Join(p.dir, "run.json")
	if _, err := os.Stat(name); err == nil {
		return
	}
	admin, err := bus.NewAdmin(bus.Config{Brokers: strings.Split(p.fleet.brokers, ",")})
	if err != nil {
		p.t.Fatal(err)
	}
	defer admin.Close()
	topics, err := admin.ListTopics(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := admin.DeleteTopics(p.t.Context(), topics.Names()...); err != nil && len(topics) > 0 {
		p.t.Fatal(err)
	}
	groups, err := admin.ListGroups(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := admin.DeleteGroups(p.t.Context(), groups.Groups()...); err != nil && len(groups) > 0 {
		p.t.Fatal(err)
	}
	eventually(p.t, time.Minute, "deleting topics", func(ctx context.Context) error {
		left, err := admin.ListTopics(ctx)
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("%v are still there", left.Names())
		}
		return err
	})
	text, err := json.Marshal(p)
	if err != nil {
		p.t.Fatal(err)
	}
	writeFile(p.t, name, string(text))
}

// schema is a database schema of this run's own. It stays: a run may go on.
func (p *program) schema() string {
	p.t.Helper()
	u, err := url.Parse(os.Getenv("SPINE_TEST_POSTGRES"))
	if err != nil {
		p.t.Fatal(err)
	}
	db, err := sql.Open("pgx", u.String())
	if err != nil {
		p.t.Fatal(err)
	}
	defer db.Close()
	name := "faults" + strings.ReplaceAll(p.Suffix, "-", "_")
	if _, err := db.ExecContext(p.t.Context(), "CREATE SCHEMA IF NOT EXISTS "+name); err != nil {
		p.t.Fatal(err)
	}
	q := u.Query()
	q.Set("search_path", name)
	u.RawQuery = q.Encode()
	return u.String()
}

// calls are what is sent, the same each time.
func (p *program) calls() iter.Seq[producer.Call] {
	return func(yield func(producer.Call) bool) {
		for _, a := range producers.All() {
			if a.Day.Calls == nil {
				continue
			}
			for c := range a.Day.Calls(p.Seed, p.Orders, p.fleet.shops) {
				if !yield(c) {
					return
				}
			}
		}
	}
}

// play sends and strikes until both are done, and lets everything heal.
func (p *program) play() {
	p.t.Helper()
	p.begun = time.Now()
	ctx, cancel := context.WithCancel(p.t.Context())
	defer cancel()
	faultLog, err := os.OpenFile(filepath.Join(p.dir, "faults.log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	defer faultLog.Close()
	s := newStriker(p.fleet, faultLog)
	if s.done, err = struckBefore(faultLog.Name()); err != nil {
		p.t.Fatal(err)
	}
	faults := schedule(p.Seed+uint64(len(p.sender.journal.answered)), p.fleet.names(), p.every) // another one where a run goes on
	if p.given != nil {
		faults = slices.Values(p.given)
	}
	struck := make(chan struct{})
	strikes, stop := context.WithCancel(ctx)
	defer stop()
	go func() { defer close(struck); s.run(strikes, p.begun, faults) }()
	sent := make(chan error, 1)
	go func() { sent <- p.sender.send(ctx, world(p.Seed, p.calls()), 32) }()
	watched := make(chan struct{})
	go func() { defer close(watched); p.watch(ctx, s) }()

	if err := <-sent; err != nil {
		p.t.Fatalf("sending: %v", err)
	}
	p.tell("all is sent: %d calls answered, %d tries, %d faults", p.sender.answered.Load(), p.sender.tries.Load(), s.count())
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for s.count() < p.faults { // the rest while the groups work off what is left
		if ctx.Err() != nil {
			break
		}
		<-tick.C
	}
	stop()
	<-struck
	s.all.Wait()
	if err := p.sender.journal.flush(); err != nil {
		p.t.Fatal(err)
	}
	p.tell("%d faults %v within %s; settling", s.count(), s.kinds, time.Since(p.begun).Round(time.Second))
	if s.count() < p.faults {
		p.found = append(p.found, fmt.Sprintf("%d faults happened, want %d", s.count(), p.faults))
	}
	eventually(p.t, 3*time.Minute, "coming back", p.fleet.ready)
	// Counting what is behind costs little; asking all groups for everything does not.
	until := time.Now().Add(p.patience)
	for p.behind.Load() > 0 && time.Now().Before(until) && ctx.Err() == nil {
		<-tick.C
	}
	if err := p.fleet.quiet(ctx, max(time.Until(until), 30*time.Second)); err != nil {
		p.found = append(p.found, fmt.Sprintf("settling: not within %s: %v", p.patience, err))
	}
	cancel()
	<-watched
	p.found = append(p.found, s.wrong...)
	p.tell("settled after %s", time.Since(p.begun).Round(time.Second))
}

// struckBefore counts the faults of a run that goes on.
func struckBefore(name string) (int, error) {
	text, err := os.ReadFile(name)
	return strings.Count(string(text), "\n"), err
}

// watch tells how it goes, sees who ends by himself, and holds the sender where the
// groups are far behind.
func (p *program) watch(ctx context.Context, s *striker) {
	admin, err := bus.NewAdmin(bus.Config{Brokers: strings.Split(p.fleet.brokers, ",")})
	if err != nil {
		p.tell("watching: %v", err)
		return
	}
	defer admin.Close()
	db, err := sql.Open("pgx", p.fleet.database)
	if err != nil {
		p.tell("watching: %v", err)
		return
	}
	defer db.Close()
	first, last, lastAt, compared := int64(-1), int64(0), p.begun, 0
	for n := 0; nap(ctx, 2*time.Second); n++ {
		_ = p.sender.journal.flush()
		facts, behind, err := p.position(ctx, admin, db)
		if err != nil {
			continue // a part is away
		}
		compared += s.compare(ctx, admin, db)
		if first < 0 {
			first, last = facts, facts
		}
		p.behind.Store(behind)
		p.sender.hold.Store(behind > maxBehind)
		if n%5 != 0 {
			continue
		}
		rate := float64(facts-last) / time.Since(lastAt).Seconds()
		last, lastAt = facts, time.Now()
		average := float64(facts-first) / time.Since(p.begun).Seconds()
		p.tell("%d facts (%.0f/s, %.0f/s on average), %d behind, %d calls answered, %d faults; about %s left", facts, rate, average, behind,
			p.sender.answered.Load(), s.count(), time.Duration(max(0, float64(int64(p.facts)-facts)/max(average, 1))*float64(time.Second)).Round(time.Second))
	}
	if compared == 0 {
		s.blame("Kafka's offsets and those of the stores were never compared")
	}
}

// maxBehind is how many records the groups may be behind, all together, before the
// sender waits: vendors do not, but disks are finite.
const maxBehind = 60_000

// position is how many facts there are, and how far the groups are behind.
func (p *program) position(ctx context.Context, admin *kadm.Client, db *sql.DB) (facts, behind int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, 4*time.Second)
	defer cancel()
	ends, err := admin.ListEndOffsets(ctx, append(factTopics(), "raw.shopify")...)
	if err != nil {
		return 0, 0, err
	}
	if err := ends.Error(); err != nil {
		return 0, 0, err
	}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Topic != "raw.shopify" {
			facts += o.Offset
		}
	})
	rows, err := db.QueryContext(ctx, `SELECT topic, kafka_partition, next_offset FROM spine_ownership`)
	if err != nil {
		return 0, 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var topic string
		var partition int32
		var next int64
		if err := rows.Scan(&topic, &partition, &next); err != nil {
			return 0, 0, err
		}
		if o, ok := ends.Lookup(topic, partition); ok {
			behind += max(0, o.Offset-next)
		}
	}
	return facts, behind, rows.Err()
}

// judge opens the ledger.
func (p *program) judge() {
	p.t.Helper()
	p.found = append(p.found, p.sender.unexpected...)
	l := openLedger(p.t, p.fleet.place, p.sender.journal.accepted)
	l.check(theWord(p.t, p.calls()))
	l.checkGroups()
	if len(l.facts) < p.facts {
		l.findf("%d facts, want %d", len(l.facts), p.facts)
	}
	p.tell("%s", l.tally())
	p.found = append(p.found, l.findings...)
}

// compare blames a group for which Kafka was told more than its store has, or had before
// the group was set back (promise: at least once). The stores are read later. It answers
// how many partitions it reached: a part may be away.
func (s *striker) compare(ctx context.Context, admin *kadm.Client, db *sql.DB) (compared int) {
	ctx, cancel := context.WithTimeout(ctx, 4*time.Second)
	defer cancel()
	told := admin.FetchManyOffsets(ctx, "translate", "inventory", "invoicing", "notifications", "analytics", "probe")
	rows, err := db.QueryContext(ctx, `SELECT o.group_name, o.topic, o.kafka_partition, GREATEST(o.next_offset, MAX(r.from_offset))
		FROM spine_ownership o LEFT JOIN spine_resets r
			ON r.group_name = o.group_name AND r.topic = o.topic AND r.kafka_partition = o.kafka_partition
		GROUP BY o.group_name, o.topic, o.kafka_partition, o.next_offset`)
	if err != nil {
		return 0
	}
	defer rows.Close()
	for rows.Next() {
		var group, topic string
		var partition int32
		var had int64
		if rows.Scan(&group, &topic, &partition, &had) != nil {
			return compared
		}
		at, ok := told[group].Fetched.Lookup(topic, partition)
		if !ok || at.Err != nil {
			continue
		}
		compared++
		if at.At > had {
			s.blame(fmt.Sprintf("Kafka has %d committed and the store %d of %s %s/%d", at.At, had, group, topic, partition))
		}
	}
	if rows.Err() != nil {
		return 0
	}
	return compared
}

// stop asks all processes to end, and keeps what was found.
func (p *program) stop() {
	p.t.Helper()
	for _, m := range p.fleet.members {
		if err := m.ask(40 * time.Second); err != nil {
			p.found = append(p.found, err.Error())
		}
	}
	writeFile(p.t, filepath.Join(p.dir, "found.txt"), strings.Join(p.found, "\n"))
	p.tell("%d findings", len(p.found))
}

// factTopics are the topics of facts.
func factTopics() []string {
	return []string{"commerce.order.events", "inventory.reservation.events", "finance.invoice.events", "notify.notification.events"}
}
