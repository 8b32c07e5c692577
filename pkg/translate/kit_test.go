package translate_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	_ "github.com/jackc/pgx/v5/stdlib" // driver pgx
	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // driver sqlite

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/producer"
	"github.com/eventspine/spine/pkg/translate"
	"github.com/eventspine/spine/pkg/wire"
)

// told is a fact of the tests; its type is a field.
type told[N name] struct {
	Meta event.Meta
	Text string
}

type name interface{ factName() string }

func (t told[N]) EventType() string                { var n N; return n.factName() }
func (t told[N]) GetMeta() event.Meta              { return t.Meta }
func (t told[N]) WithMeta(m event.Meta) event.Fact { t.Meta = m; return t }

type (
	placedName    struct{}
	editedName    struct{}
	cancelledName struct{}
	paidName      struct{}
)

func (placedName) factName() string    { return "order.placed.v2" }
func (editedName) factName() string    { return "order.edited.v1" }
func (cancelledName) factName() string { return "order.cancelled.v1" }
func (paidName) factName() string      { return "payment.received.v1" }

type (
	placed    = told[placedName]
	edited    = told[editedName]
	cancelled = told[cancelledName]
	paid      = told[paidName]
)

func route(fact string) (wire.Target, bool) {
	if strings.HasPrefix(fact, "order.") || strings.HasPrefix(fact, "payment.") {
		return wire.Target{Topic: "commerce.order.events", Aggregate: "order"}, true
	}
	return wire.Target{}, false
}

// order is the native form of the tests' system.
type order struct {
	ID        string    `json:"id" spine:"required"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at" spine:"required"`
	Status    string    `json:"status"`
	Text      string    `json:"text"`
}

type payment struct {
	ID    string    `json:"id" spine:"required"`
	Order string    `json:"order" spine:"required"`
	At    time.Time `json:"at" spine:"required"`
}

const clockHeader = "X-Clock"

func version(d producer.Delivery, o order) producer.Version {
	v := producer.Version{Source: o.UpdatedAt, Terminal: o.Status == "cancelled"}
	if clock, err := time.Parse(time.RFC3339Nano, d.Header.Get(clockHeader)); err == nil {
		v.Clock = clock
	}
	return v
}

func orderFacts(_ producer.Delivery, before *order, after order) ([]event.New, error) {
	var news []event.New
	switch after.Text {
	case "panic":
		make([]int, 1)[len(after.Text)]++
	case "panic with a value":
		panic("customer@example.com")
	case "wrong":
		return nil, &producer.DecodeError{Path: "text", Want: "something right"}
	case "undeclared":
		return []event.New{{Fact: paid{}, Entity: after.ID, At: after.UpdatedAt}}, nil
	}
	if before == nil {
		news = append(news, event.New{Fact: placed{Text: after.Text}, Entity: after.ID, At: after.UpdatedAt, Born: after.CreatedAt})
	} else if before.Text != after.Text {
		change := sha256.Sum256([]byte(before.Text + "|" + after.Text))
		news = append(news, event.New{
			Fact: edited{Text: after.Text}, Entity: after.ID, At: after.UpdatedAt,
			Discriminator: fmt.Sprint(after.UpdatedAt.UnixMicro()) + hex.EncodeToString(change[:4]),
		})
	}
	if after.Status == "cancelled" && (before == nil || before.Status != "cancelled") {
		news = append(news, event.New{Fact: cancelled{}, Entity: after.ID, Discriminator: "ALL", At: after.UpdatedAt})
	}
	return news, nil
}

func payFacts(d producer.Delivery, p payment) ([]event.New, error) {
	return []event.New{{Fact: paid{Text: p.ID}, Entity: p.ID, Key: event.Key(d.Instance.String(), p.Order), At: p.At}}, nil
}

func orders() producer.Object {
	return producer.Snapshot("order", "orders/create orders/updated", func(o order) string { return o.ID }, version, orderFacts, placed{}, edited{}, cancelled{})
}

func adapter(change ...func(*producer.Adapter)) producer.Adapter {
	a := producer.Adapter{
		System: "shop", IDTime: time.Second,
		Webhooks: []producer.Webhook{{
			Verify: producer.HMACSHA256("X-Sig", producer.Base64), Kind: producer.Header("X-Topic"),
			Key: func(kind string, h http.Header, body []byte) string {
				if kind == "payments/create" {
					return producer.JSONField("order")(h, body)
				}
				return producer.JSONField("id")(h, body)
			},
		}},
		Objects: []producer.Object{orders(), producer.Report("payments/create", payFacts, paid{})},
	}
	for _, c := range change {
		c(&a)
	}
	return a
}

var uk = event.Instance{System: "shop", Name: "uk", BaseCurrency: "GBP"} // never written

// kit runs the group the way the engine does: one transaction for each delivery,
// whose facts count only if it commits.
type kit struct {
	group     consumer.Group
	db        *sql.DB
	published []event.Event
	facts     []event.Stamped
	causes    []wire.Cause
	forwarded []wire.Delivery
	next      int64 // offset
}

func group(tb testing.TB, adapters ...producer.Adapter) consumer.Group {
	tb.Helper()
	g, err := translate.Group(translate.Options{Adapters: adapters, Instances: map[string]event.Instance{"shop/uk": uk}, Route: route})
	if err != nil {
		tb.Fatal(err)
	}
	return g
}

// each runs a test on a fresh store of each kind.
func each(t *testing.T, test func(t *testing.T, k *kit)) {
	t.Helper()
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, newKit(t, "sqlite"))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, newKit(t, "postgres"))
	})
}

func newKit(tb testing.TB, dialect string) *kit {
	tb.Helper()
	k := &kit{group: group(tb, adapter())}
	var of goose.Dialect
	if dialect == "postgres" {
		k.db, of = postgres(tb), goose.DialectPostgres
	} else {
		db, err := sql.Open("sqlite", "file:"+filepath.Join(tb.TempDir(), "t.db")+"?_txlock=immediate&_pragma=busy_timeout(10000)&_pragma=synchronous(OFF)")
		if err != nil {
			tb.Fatal(err)
		}
		k.db, of = db, goose.DialectSQLite3
	}
	tb.Cleanup(func() { _ = k.db.Close() })
	p, err := goose.NewProvider(of, k.db, k.group.Tables, goose.WithTableName("translate_goose"), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := p.Up(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return k
}

// postgres is a new schema of the server of SPINE_TEST_POSTGRES.
func postgres(tb testing.TB) *sql.DB {
	tb.Helper()
	server := os.Getenv("SPINE_TEST_POSTGRES")
	if server == "" {
		tb.Skip("needs PostgreSQL: set SPINE_TEST_POSTGRES")
	}
	admin, err := sql.Open("pgx", server)
	if err != nil {
		tb.Fatal(err)
	}
	schema := "t_" + strings.ToLower(rand.Text())
	if _, err := admin.ExecContext(tb.Context(), "CREATE SCHEMA "+schema); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if _, err := admin.ExecContext(context.WithoutCancel(tb.Context()), "DROP SCHEMA "+schema+" CASCADE"); err != nil {
			tb.Error(err)
		}
		_ = admin.Close()
	})
	u, err := url.Parse(server)
	if err != nil {
		tb.Fatal(err)
	}
	q := u.Query()
	q.Set("search_path", schema)
	u.RawQuery = q.Encode()
	db, err := sql.Open("pgx", u.String())
	if err != nil {
		tb.Fatal(err)
	}
	return db
}

// out takes what leaves with a transaction.
type out struct {
	events    []event.Event
	facts     []event.Stamped
	causes    []wire.Cause
	forwarded []wire.Delivery
}

func (o *out) Publish(event.New) error          { return fmt.Errorf("translate does not speak for itself") }
func (o *out) Effect(string, string, any) error { return fmt.Errorf("translate has no effects") }
func (o *out) Forward(d wire.Delivery) error    { o.forwarded = append(o.forwarded, d); return nil }
func (o *out) PublishAs(c wire.Cause, n event.New) (string, error) {
	e, fact, err := wire.Stamp(n, c)
	if err != nil {
		return "", err
	}
	o.events, o.facts, o.causes = append(o.events, e), append(o.facts, fact), append(o.causes, c)
	return e.ID, nil
}

// begin handles a delivery in a transaction that is left open.
func (k *kit) begin(ctx context.Context, d wire.Delivery) (*sql.Tx, *out, error) {
	tx, err := k.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, nil, err
	}
	o := &out{}
	h := k.group.On[0]
	into, ok := h.New().(*wire.Delivery)
	if !ok {
		return tx, nil, fmt.Errorf("the handler reads %T", h.New())
	}
	*into = d
	return tx, o, h.Call(ctx, consumer.Tx{DB: tx, Out: o}, event.Event{ID: d.ID, Type: h.Type}, into)
}

// handle handles a delivery; it answers what became of it.
func (k *kit) handle(t *testing.T, d wire.Delivery) (string, error) {
	t.Helper()
	tx, o, err := k.begin(t.Context(), d)
	if tx == nil {
		t.Fatal(err)
	}
	if err != nil {
		if undo := tx.Rollback(); undo != nil {
			t.Fatal(undo)
		}
		return "", err
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	k.take(o)
	var outcome string
	var n int
	row := k.db.QueryRowContext(t.Context(), "SELECT outcome, facts FROM translate_outcomes WHERE delivery_id = $1", d.ID)
	if err := row.Scan(&outcome, &n); err != nil {
		t.Fatal(err)
	}
	if (n > 0) != (outcome == "facts") || n < len(o.events) {
		t.Errorf("outcome %s of %d facts, %d published", outcome, n, len(o.events))
	}
	return outcome, nil
}

func (k *kit) take(o *out) {
	k.published = append(k.published, o.events...)
	k.facts, k.causes = append(k.facts, o.facts...), append(k.causes, o.causes...)
	k.forwarded = append(k.forwarded, o.forwarded...)
}

// want handles a delivery and checks what became of it.
func (k *kit) want(t *testing.T, d wire.Delivery, outcome string) {
	t.Helper()
	got, err := k.handle(t, d)
	if err != nil || got != outcome {
		t.Errorf("%s at offset %d: became %q, %v, want %s", d.Body, d.Offset, got, err, outcome)
	}
}

// types are the facts so far.
func (k *kit) types() string {
	var list []string
	for _, e := range k.published {
		list = append(list, strings.TrimSuffix(strings.TrimPrefix(e.Type, "order."), e.Type[len(e.Type)-3:]))
	}
	return strings.Join(list, " ")
}

// delivery arrives next.
func (k *kit) delivery(kind, body string) wire.Delivery {
	id, _ := uuid.NewV7()
	d := wire.Delivery{
		ID: id.String(), Source: "shop/uk", Kind: kind, Key: "shop/uk:5001", Origin: event.OriginWebhook, Header: http.Header{},
		Body: []byte(body), ReceivedAt: time.Date(2026, 3, 14, 12, 0, int(k.next), 0, time.UTC), Request: "req-1", Traceparent: "00-trace", Offset: k.next,
	}
	k.next++
	return d
}

// snap is a snapshot of order 5001 as the model of the protocol writes it: "2x" is
// source version 2 with text x, "2x!" the same cancelled.
func (k *kit) snap(text string) wire.Delivery {
	status := "open"
	if strings.HasSuffix(text, "!") {
		status, text = "cancelled", strings.TrimSuffix(text, "!")
	}
	return k.delivery("orders/updated", fmt.Sprintf(`{"id":"5001","created_at":"2026-03-14T11:20:00.123Z","updated_at":"2026-03-14T11:20:0%sZ","status":%q,"text":%q}`,
		text[:1], status, text[1:]))
}
