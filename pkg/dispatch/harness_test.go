package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/eventspine/spine/pkg/bus"
	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/devstack/devtest"
	"github.com/eventspine/spine/pkg/dispatch"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/once/request"
	"github.com/eventspine/spine/pkg/wire"
	"github.com/eventspine/spine/schemas/common"
	"github.com/eventspine/spine/schemas/order"
	"github.com/eventspine/spine/schemas/stock"
)

// world is one group with its topics, store and registry.
type world struct {
	t        testing.TB
	set      devtest.Set
	db       *once.DB
	registry string
	group    string
	in, out  string // topics
	codec    *wire.Codec
	producer *bus.Producer
	script   script
}

// script says what the handler does with a label, by attempt.
type script struct {
	mu       sync.Mutex
	attempts map[string]int
	calls    []string // labels as they were handed to the handler
	do       func(ctx context.Context, label string, attempt int) error
}

func (s *script) call(ctx context.Context, label string) error {
	s.mu.Lock()
	if s.attempts == nil {
		s.attempts = map[string]int{}
	}
	s.attempts[label]++
	attempt := s.attempts[label]
	s.calls = append(s.calls, label)
	do := s.do
	s.mu.Unlock()
	if do == nil {
		return nil
	}
	return do(ctx, label, attempt)
}

func (s *script) set(do func(ctx context.Context, label string, attempt int) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.do = do
}

// answer has the labels that begin so end with an error, until they are mended.
func (s *script) answer(prefix string, with func() error) (mend func()) {
	var mended atomic.Bool
	s.set(func(_ context.Context, label string, _ int) error {
		if strings.HasPrefix(label, prefix) && !mended.Load() {
			return with()
		}
		return nil
	})
	return func() { mended.Store(true) }
}

// reject has the labels that begin so die, until they are mended.
func (s *script) reject(prefix string) (mend func()) {
	return s.answer(prefix, func() error { return consumer.Reject("no such thing") })
}

func (s *script) called() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

func newWorld(tb testing.TB, partitions int32) *world {
	tb.Helper()
	return newWorldOn(tb, devtest.Parts(tb), partitions)
}

// newLooseWorld is newWorld on a broker that may do what the embedded one forbids:
// transactions, deleting records, and short sessions.
func newLooseWorld(tb testing.TB, partitions int32) *world {
	tb.Helper()
	set := devtest.Parts(tb)
	if !set.Real {
		cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.GroupMinSessionTimeout(500*time.Millisecond), kfake.BrokerConfigs(map[string]string{
			"group.consumer.heartbeat.interval.ms": "200", "group.consumer.session.timeout.ms": "1000",
		}))
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(cluster.Close)
		set.Brokers = cluster.ListenAddrs()
	}
	return newWorldOn(tb, set, partitions)
}

// session is how soon the broker drops a silent member of a loose world.
func (w *world) session() time.Duration {
	if w.set.Real {
		return 6 * time.Second
	}
	return time.Second
}

func newWorldOn(tb testing.TB, set devtest.Set, partitions int32) *world {
	tb.Helper()
	w := &world{t: tb, set: set, registry: set.RegistryURL, group: devtest.Unique(tb, "g"), in: devtest.Unique(tb, "in"), out: devtest.Unique(tb, "out")}
	set.CreateTopics(tb, partitions, w.in)
	set.CreateTopics(tb, 1, w.out, "dlq."+w.group)
	client := w.registryClient(set.RegistryURL)
	for subject, text := range map[string]string{
		"spine.order.OrderCancelledV1":        order.CancelledV1{}.AvroSchema(),
		"spine.order.OrderPlacedV1":           order.PlacedV1{}.AvroSchema(),
		"spine.stock.StockShortageDetectedV1": stock.ShortageDetectedV1{}.AvroSchema(),
	} {
		if _, err := client.CreateSchema(tb.Context(), subject, sr.Schema{Schema: text, Type: sr.TypeAvro}); err != nil {
			tb.Fatalf("registering %s: %v", subject, err)
		}
	}
	w.codec = w.newCodec()
	var err error
	if w.db, err = once.Open(tb.Context(), once.Options{URL: set.DatabaseURL}); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = w.db.Close() })
	w.createLedger()
	if w.producer, err = bus.NewProducer(w.kafka()); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(w.producer.Close)
	return w
}

func (w *world) kafka() bus.Config { return bus.Config{Brokers: w.set.Brokers} }

func (w *world) registryClient(url string) *sr.Client {
	w.t.Helper()
	client, err := sr.NewClient(sr.URLs(url), sr.HTTPClient(&http.Client{Timeout: 5 * time.Second}))
	if err != nil {
		w.t.Fatal(err)
	}
	return client
}

func (w *world) newCodec() *wire.Codec {
	return wire.NewCodec(wire.NewRegistry(w.registryClient(w.registry)))
}

// createLedger makes the table in which handlers write down what they did, in order.
func (w *world) createLedger() {
	w.t.Helper()
	ddl := `CREATE TABLE IF NOT EXISTS ledger (seq INTEGER PRIMARY KEY AUTOINCREMENT, label TEXT, entity TEXT, event_id TEXT)`
	if w.db.Dialect() == once.PostgreSQL {
		ddl = `CREATE TABLE IF NOT EXISTS ledger (seq BIGSERIAL PRIMARY KEY, label TEXT, entity TEXT, event_id TEXT)`
	}
	if err := w.exec(ddl); err != nil {
		w.t.Fatal(err)
	}
}

// exec writes beside the runner: on SQLite through its one writer.
func (w *world) exec(query string, args ...any) error {
	_, err := w.db.SQL().ExecContext(w.t.Context(), query, args...)
	return err
}

type line struct{ label, entity, id string }

func (w *world) ledger() []line {
	w.t.Helper()
	rows, err := w.db.SQL().QueryContext(w.t.Context(), `SELECT label, entity, event_id FROM ledger ORDER BY seq`)
	if err != nil {
		w.t.Fatal(err)
	}
	defer rows.Close()
	var all []line
	for rows.Next() {
		var l line
		if err := rows.Scan(&l.label, &l.entity, &l.id); err != nil {
			w.t.Fatal(err)
		}
		all = append(all, l)
	}
	if err := rows.Err(); err != nil {
		w.t.Fatal(err)
	}
	return all
}

// labels are those of one entity in the ledger, in order; "" = all.
func (w *world) labels(entity string) []string {
	var labels []string
	for _, l := range w.ledger() {
		if entity == "" || l.entity == entity {
			labels = append(labels, l.label)
		}
	}
	return labels
}

// handle is the group's handler: it does what the script says, writes the ledger,
// and, by the first letter of the label, publishes or asks for an effect.
func (w *world) handle(ctx context.Context, tx consumer.Tx, e event.Of[order.CancelledV1]) error {
	label := e.Data.OrderNumber
	if _, err := tx.ExecContext(ctx, `INSERT INTO ledger (label, entity, event_id) VALUES ($1, $2, $3)`, label, e.Entity, e.ID); err != nil {
		return err
	}
	if strings.HasPrefix(label, "p") {
		if err := tx.Publish(event.New{Fact: shortage(label), Entity: e.Key, Key: e.Key, Discriminator: label, At: e.OccurredAt}); err != nil {
			return err
		}
	}
	if strings.HasPrefix(label, "e") {
		if err := tx.Effect("call", label, label); err != nil {
			return err
		}
	}
	return w.script.call(ctx, label) // last, so that a failure undoes all of the above
}

func shortage(label string) stock.ShortageDetectedV1 {
	return stock.ShortageDetectedV1{
		OrderRef:   common.Ref{System: "shopify", Instance: "uk", Object: "order", ID: "1"},
		Lines:      []stock.ShortageDetectedV1Line{{LineID: "1", SKU: label, Pool: "main"}},
		Extensions: map[string]string{},
	}
}

func (w *world) groupOf() consumer.Group {
	return consumer.Group{
		Name: w.group, Start: consumer.FromBeginning, On: []consumer.Handler{consumer.On(w.handle)},
		Emits: []event.Fact{stock.ShortageDetectedV1{}},
	}
}

func (w *world) options() dispatch.Options {
	return dispatch.Options{
		Group: w.groupOf(), Topics: []string{w.in}, DB: w.db, Kafka: w.kafka(), Codec: w.codec,
		Route: func(string) (wire.Target, bool) {
			return wire.Target{Topic: w.out, Aggregate: "order"}, true
		},
		Retry:          dispatch.Retry{Attempts: 3, Base: 5 * time.Millisecond, Max: 50 * time.Millisecond},
		CommitInterval: 50 * time.Millisecond, Look: 50 * time.Millisecond, ShutdownTimeout: 10 * time.Second,
		Protocol: os.Getenv("SPINE_TEST_PROTOCOL"), // for a run of all tests under the other one
		Log:      w.log(),
	}
}

// log is silent unless SPINE_TEST_LOG names a level: most tests are about failures.
func (w *world) log() *slog.Logger {
	var level slog.Level
	if level.UnmarshalText([]byte(os.Getenv("SPINE_TEST_LOG"))) != nil {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(testWriter{w.t}, &slog.HandlerOptions{Level: level}))
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	if w.t.Context().Err() == nil { // a log after the test is no log
		w.t.Log(strings.TrimSpace(string(b)))
	}
	return len(b), nil
}

// running is a member that runs.
type running struct {
	*dispatch.Runner
	stop func()
}

// run starts a member and waits until it is ready.
func (w *world) run(change ...func(*dispatch.Options)) *running {
	w.t.Helper()
	r := w.start(change...)
	w.until("the group is ready", func() bool { ok, _ := r.Ready(); return ok })
	return r
}

func (w *world) start(change ...func(*dispatch.Options)) *running {
	w.t.Helper()
	o := w.options()
	for _, c := range change {
		c(&o)
	}
	r, err := dispatch.New(o)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := r.Run(ctx); err != nil {
			w.t.Errorf("Run: %v", err)
		}
	}()
	stop := sync.OnceFunc(func() { cancel(); <-done })
	w.t.Cleanup(stop)
	return &running{r, stop}
}

func (w *world) until(what string, cond func() bool) {
	w.t.Helper()
	devtest.Eventually(w.t, 40*time.Second, what, cond)
}

// born makes ids: the same label of an entity is the same event.
var born = time.Date(2026, 3, 14, 11, 20, 0, 0, time.UTC)

// record makes the record of a fact about an entity.
func (w *world) record(entity, label string, change ...func(*event.New, *wire.Cause)) *kgo.Record {
	w.t.Helper()
	n := event.New{
		Fact: order.CancelledV1{
			OrderRef: common.Ref{System: "shopify", Instance: "uk", Object: "order", ID: entity}, OrderNumber: label,
			CancelledAt: born, Scope: order.CancelledV1ScopeAll, Reason: order.CancelledV1ReasonOther, Currency: "GBP",
			StageAtCancel: order.CancelledV1StageUnknown, Extensions: map[string]string{},
		},
		Entity: entity, Discriminator: label, At: born,
	}
	c := wire.Cause{Source: "shopify/uk", Origin: event.OriginWebhook, RecordedAt: born.Add(time.Second), Correlation: "order:shopify/uk:" + entity}
	for _, f := range change {
		f(&n, &c)
	}
	e, fact, err := wire.Stamp(n, c)
	if err != nil {
		w.t.Fatal(err)
	}
	rec, err := w.codec.Encode(w.t.Context(), w.in, e, fact)
	if err != nil {
		w.t.Fatal(err)
	}
	return rec
}

func (w *world) publish(records ...*kgo.Record) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	defer cancel()
	if err := w.producer.Publish(ctx, records...); err != nil {
		w.t.Fatal(err)
	}
}

// send publishes "entity:label" words.
func (w *world) send(words ...string) {
	w.t.Helper()
	var records []*kgo.Record
	for _, word := range words {
		entity, label, _ := strings.Cut(word, ":")
		records = append(records, w.record(entity, label))
	}
	w.publish(records...)
}

// read reads a topic from its beginning to its present end.
func (w *world) read(topic string) []*kgo.Record {
	w.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(w.set.Brokers...), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		w.t.Fatal(err)
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(w.t.Context(), topic)
	if err != nil {
		w.t.Fatal(err)
	}
	var left int64
	ends.Each(func(o kadm.ListedOffset) { left += o.Offset })
	var all []*kgo.Record
	for int64(len(all)) < left {
		f := client.PollFetches(w.t.Context())
		if errs := f.Errors(); len(errs) > 0 && !errors.Is(errs[0].Err, context.Canceled) {
			w.t.Fatal(errs[0].Err)
		}
		all = append(all, f.Records()...)
	}
	return all
}

// next is the group's offset of a partition, in the store and in Kafka.
func (w *world) next(partition int32) (store, kafka int64) {
	w.t.Helper()
	store, _, err := w.db.Store(w.group).NextOffset(w.t.Context(), w.in, partition)
	if err != nil {
		w.t.Fatal(err)
	}
	admin, err := bus.NewAdmin(w.kafka())
	if err != nil {
		w.t.Fatal(err)
	}
	defer admin.Close()
	offsets, err := admin.FetchOffsets(w.t.Context(), w.group)
	if err != nil {
		w.t.Fatal(err)
	}
	at, _ := offsets.Lookup(w.in, partition)
	return store, at.At
}

func (w *world) rows() []once.Row {
	w.t.Helper()
	rows, err := w.db.Store(w.group).Rows(w.t.Context(), once.RowFilter{})
	if err != nil {
		w.t.Fatal(err)
	}
	return rows
}

// standing shows the store's rows as "label state" in their order.
func (w *world) standing() []string {
	w.t.Helper()
	var all []string
	for _, r := range w.rows() {
		var fact order.CancelledV1
		label := "?"
		rec := &kgo.Record{Key: r.Record.Key, Value: r.Record.Value}
		for _, h := range r.Record.Headers {
			rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
		}
		if err := w.codec.Decode(w.t.Context(), rec, &fact); err == nil {
			label = fact.OrderNumber
		}
		all = append(all, label+" "+string(r.State))
	}
	return all
}

// redrive revives dead rows as a person beside the process does: by asking.
func (w *world) redrive() {
	w.t.Helper()
	for _, r := range w.rows() {
		if r.State != once.Dead {
			continue
		}
		_, err := request.Ask(w.t.Context(), w.db.DB, w.group, request.Redrive, r.ID)
		if err != nil && !errors.Is(err, request.ErrNoRow) { // handled since, as was asked before
			w.t.Fatal(err)
		}
	}
}

// ask asks the owner for something beside the process, and waits until it is done.
func (w *world) ask(kind request.Kind, row int64) {
	w.t.Helper()
	id, err := request.Ask(w.t.Context(), w.db.DB, w.group, kind, row)
	if err != nil {
		w.t.Fatal(err)
	}
	w.carriedOut(id)
}

func (w *world) carriedOut(id int64) {
	w.t.Helper()
	if became := w.answered(id); became != request.Done {
		w.t.Fatalf("request %d is %s", id, became)
	}
}

// answered waits until the owner has looked at a request, and says what became of it.
func (w *world) answered(id int64) (became request.Result) {
	w.t.Helper()
	w.until("the request is answered", func() bool {
		list, err := request.List(w.t.Context(), w.db.DB, w.group, id-1)
		if err == nil && len(list) > 0 {
			became = list[0].Result
		}
		return became != request.Open
	})
	return became
}

func (w *world) counts() once.Counts {
	w.t.Helper()
	c, err := w.db.Store(w.group).Counts(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func words(entity string, from, to int, prefix string) []string {
	var all []string
	for i := from; i < to; i++ {
		all = append(all, fmt.Sprintf("%s:%s%d", entity, prefix, i))
	}
	return all
}

type (
	cancelled = order.CancelledV1
	placedV1  = order.PlacedV1
	placedV2  = order.PlacedV2

	placedV1Item = order.PlacedV1Item
)

func deleteRecords(ctx context.Context, admin *kadm.Client, topic string, below int64) error {
	offsets := kadm.Offsets{}
	offsets.Add(kadm.Offset{Topic: topic, Partition: 0, At: below})
	done, err := admin.DeleteRecords(ctx, offsets)
	if err != nil {
		return err
	}
	return done.Error()
}
