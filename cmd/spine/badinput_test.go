package main_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/app/tap"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/producer"
	"github.com/eventspine/spine/pkg/wire"
)

// badShop is a Spine for bad input: on embedded parts, because what it does to topics
// is not for sharing.
func badShop(t *testing.T) *place {
	t.Helper()
	shops, _ := demoShops("")
	p := newPlace(t, shops)
	p.maxBody = "256KiB"
	p.configure(t)
	p.live(t, p.devArgs()...)
	return p
}

// TestBadInput sends what nobody should send. Nothing of it stops anything else, and
// at the end the books balance.
func TestBadInput(t *testing.T) {
	t.Parallel()
	p := badShop(t)
	good := make(chan producer.Call)
	go func() { // orders of a day, to see that others flow on
		defer close(good)
		for _, c := range manyOrders(t, p.shops[0]) {
			select {
			case good <- c:
			case <-t.Context().Done():
				return
			}
		}
	}()
	t.Run("signatures", func(t *testing.T) { badSignatures(t, p, <-good) })
	t.Run("requests", func(t *testing.T) { badRequests(t, p, <-good) })
	t.Run("bodies", func(t *testing.T) { badBodies(t, p, <-good) })
	t.Run("an unknown topic", func(t *testing.T) { unknownTopic(t, p) })
	t.Run("foreign records", func(t *testing.T) { foreignRecords(t, p, good) })
	t.Run("the books", func(t *testing.T) {
		if out, errs, code := p.command(t.Context(), "audit"); code != 0 {
			t.Errorf("spine audit: exit code %d\n%s%s", code, out, errs)
		}
	})
}

// manyOrders are orders of a day, each told once.
func manyOrders(t *testing.T, shop producer.Shop) (all []producer.Call) {
	t.Helper()
	seen := map[string]bool{}
	for c := range dayOf(shop, 100) {
		if c.Header.Get("X-Shopify-Topic") == "orders/create" && c.Note == "" && !seen[orderID(c)] {
			seen[orderID(c)] = true
			all = append(all, c)
		}
	}
	return all
}

func orderID(c producer.Call) string { return producer.JSONField("id")(nil, c.Body) }

// deliveries counts what stands in raw.shopify.
func deliveries(t *testing.T, p *place) int {
	t.Helper()
	return len(recordsOf(t, p, "raw.shopify"))
}

func recordsOf(t *testing.T, p *place, topic string) (all []*kgo.Record) {
	t.Helper()
	err := tap.Read(t.Context(), tap.Options{Client: p.client(), Topics: []string{topic}, Window: tap.All()}, func(r *kgo.Record) error {
		all = append(all, r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func badSignatures(t *testing.T, p *place, good producer.Call) {
	t.Helper()
	const name = "X-Shopify-Hmac-Sha256"
	signature := good.Header.Get(name)
	raw, err := base64.StdEncoding.DecodeString(signature)
	if err != nil {
		t.Fatal(err)
	}
	with := func(value string) producer.Call {
		c := good
		c.Header = good.Header.Clone()
		c.Header.Del(name)
		if value != "" {
			c.Header.Set(name, value)
		}
		return c
	}
	changed, longer, other, twice := good, good, with(signature), with(signature)
	changed.Body = bytes.Replace(good.Body, []byte(`"id"`), []byte(`"ID"`), 1)
	longer.Body = append(slices.Clone(good.Body), '\n')
	other.Header.Set("X-Shopify-Shop-Domain", "another-shop.myshopify.com")
	twice.Header.Add(name, signature)
	cases := map[string]producer.Call{
		"missing": with(""), "empty": with(" "), "wrong": with(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))),
		"of another secret": with(producer.SignHMACSHA256([]byte("another secret"), good.Body, producer.Base64)),
		"truncated":         with(base64.StdEncoding.EncodeToString(raw[:31])), "truncated text": with(signature[:20]),
		"in hex": with(hex.EncodeToString(raw)), "for URLs": with(base64.URLEncoding.EncodeToString(append([]byte{0xff, 0xff}, raw...))),
		"without padding": with(base64.RawStdEncoding.EncodeToString(raw)), "a byte of the body": changed, "a byte more": longer,
		"another shop": other, "two of them": twice,
	}
	before, counted := deliveries(t, p), p.metric(t, "spine_deliveries_total", `outcome="signature_invalid"`)
	for what, c := range cases {
		a := p.call(t, c)
		if a.status != http.StatusUnauthorized {
			t.Errorf("%s: answered %d %s, want 401", what, a.status, a.body)
		}
		wantError(t, what, a, "signature_invalid")
		if strings.Contains(a.body, signature) {
			t.Errorf("%s: the answer gives the signature away: %s", what, a.body)
		}
	}
	if n := p.metric(t, "spine_deliveries_total", `outcome="signature_invalid"`); n != counted+float64(len(cases)) {
		t.Errorf("counted %v, want %d more than %v", n, len(cases), counted)
	}
	if n := deliveries(t, p); n != before {
		t.Errorf("%d deliveries were kept, want none", n-before)
	}
	accept(t, p, good) // and the right one passes
}

// wantError checks the body of an error.
func wantError(t *testing.T, what string, a answer, code string) {
	t.Helper()
	var said struct {
		Error struct {
			Code          string `json:"code"`
			Message       string `json:"message"`
			CorrelationID string `json:"correlation_id"`
		} `json:"error"`
	}
	if err := json.Unmarshal([]byte(a.body), &said); err != nil || said.Error.Code != code || said.Error.Message == "" ||
		said.Error.CorrelationID == "" || said.Error.CorrelationID != a.header.Get("X-Correlation-Id") {
		t.Errorf("%s: answered %s (%v), want the error %s with a message and the correlation id", what, a.body, err, code)
	}
}

func badRequests(t *testing.T, p *place, good producer.Call) {
	t.Helper()
	header := func(name, value string) http.Header {
		h := good.Header.Clone()
		h.Set(name, value)
		return h
	}
	big := signed(p.shops[0], "orders/create", bytes.Repeat([]byte(" "), 256<<10+1))
	path, before := "/webhooks/"+good.Instance, deliveries(t, p)
	for what, c := range map[string]struct {
		method, path string
		header       http.Header
		body         []byte
		status       int
		code         string
	}{
		"unknown system":   {"POST", "/webhooks/magento/uk", good.Header, good.Body, 404, "not_found"},
		"unknown instance": {"POST", "/webhooks/shopify/fr", good.Header, good.Body, 404, "not_found"},
		"no instance":      {"POST", "/webhooks/shopify", good.Header, good.Body, 404, "not_found"},
		"a path within":    {"POST", path + "/more", good.Header, good.Body, 404, "not_found"},
		"a detour":         {"POST", "/webhooks/shopify/fr/..%2fuk", good.Header, good.Body, 404, "not_found"},
		"another method":   {"PUT", path, good.Header, good.Body, 405, "method_not_allowed"},
		"a look":           {"GET", path, good.Header, nil, 405, "method_not_allowed"},
		"over the cap":     {"POST", path, big.Header, big.Body, 413, "too_large"},
		"another type":     {"POST", path, header("Content-Type", "text/xml"), good.Body, 415, "media_type"},
		"no type":          {"POST", path, header("Content-Type", ""), good.Body, 415, "media_type"},
		"compressed":       {"POST", path, header("Content-Encoding", "gzip"), good.Body, 415, "media_type"},
	} {
		a := p.send(t, c.method, c.path, c.header.Clone(), c.body)
		if a.status != c.status {
			t.Errorf("%s: answered %d %s, want %d", what, a.status, a.body, c.status)
		}
		wantError(t, what, a, c.code)
		if c.status == 405 && a.header.Get("Allow") != "POST" {
			t.Errorf("%s: Allow: %q, want POST", what, a.header.Get("Allow"))
		}
	}
	if n := deliveries(t, p); n != before {
		t.Errorf("%d deliveries were kept, want none", n-before)
	}
	capped := signed(p.shops[0], "orders/create", append(slices.Clone(good.Body), bytes.Repeat([]byte(" "), 256<<10-len(good.Body))...))
	accept(t, p, capped) // exactly the cap
}

func badBodies(t *testing.T, p *place, good producer.Call) {
	t.Helper()
	id := orderID(good)
	replace := func(old, with string) string {
		if !bytes.Contains(good.Body, []byte(old)) {
			t.Fatalf("the order has no %s", old)
		}
		return strings.Replace(string(good.Body), old, with, 1)
	}
	field := func(name string) string { // as it stands in the body
		var all map[string]json.RawMessage
		if err := json.Unmarshal(good.Body, &all); err != nil || all[name] == nil {
			t.Fatalf("%s: %v", name, err)
		}
		return `"` + name + `":` + string(all[name])
	}
	cases := map[string]struct {
		body string
		want []string // of the reason: which field, and what is expected
	}{
		"empty":           {"", []string{"want"}},
		"no JSON":         {"<order/>", []string{"want"}},
		"cut":             {string(good.Body[:len(good.Body)/2]), []string{"want"}},
		"two documents":   {string(good.Body) + string(good.Body), []string{"want"}},
		"an array":        {"[]", []string{"want an object"}},
		"wrong type":      {replace(field("line_items"), `"line_items":"three"`), []string{"line_items", "want an array"}},
		"wrong type deep": {replace(`"quantity":`, `"quantity":"two","q":`), []string{"line_items[0].quantity", "want"}},
		"missing field":   {replace(`"created_at":`, `"created":`), []string{"created_at", "want"}},
		"missing money":   {replace(`"total_price_set":`, `"total":`), []string{"total_price_set", "want"}},
		"null":            {replace(field("created_at"), `"created_at":null`), []string{"created_at", "want"}},
		"nested arrays":   {`{"id":` + id + `,"line_items":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + `}`, []string{"line_items", "want"}},
		"nested unknown":  {replace(`{`, `{"x":`+strings.Repeat("[", 10_000)+strings.Repeat("]", 10_000)+`,`), []string{"want"}},
		"duplicate keys":  {replace(`"created_at":`, `"created_at":"2026-03-13T00:00:00Z","created_at":`), []string{"created_at", "want"}},
		"a huge number":   {replace(`"quantity":`, `"quantity":`+strings.Repeat("9", 400)+`,"q":`), []string{"line_items[0].quantity", "want"}},
		"a huge exponent": {replace(`"quantity":`, `"quantity":1e999999999,"q":`), []string{"line_items[0].quantity", "want"}},
		"a huge amount":   {replace(`"total_price_set":{"shop_money":{"amount":"`, `"total_price_set":{"shop_money":{"amount":"`+strings.Repeat("9", 60)), []string{"total_price_set.shop_money", "want"}},
		"invalid UTF-8":   {replace(`"name":"#`, "\"name\":\"\xff\xfe#"), []string{"body", "want valid UTF-8", "offset"}},
		"no time":         {replace(field("updated_at"), `"updated_at":"yesterday"`), []string{"updated_at", "want"}},
	}
	known := len(recordsOf(t, p, "dlq.translate"))
	want := map[string]string{} // delivery id → case
	for what, c := range cases {
		a := p.call(t, signed(p.shops[0], "orders/create", []byte(c.body)))
		var said struct{ Delivery string }
		if err := json.Unmarshal([]byte(a.body), &said); err != nil || a.status != http.StatusOK || said.Delivery == "" {
			t.Errorf("%s: answered %d %s (%v), want 200: it is durable", what, a.status, a.body, err)
		}
		want[said.Delivery] = what
	}
	accept(t, p, good) // the same order, as it should be: nothing waits
	letters := recordsOf(t, p, "dlq.translate")
	if len(letters)-known != len(cases) {
		t.Errorf("%d dead letters, want %d", len(letters)-known, len(cases))
	}
	for _, r := range letters {
		d, err := wire.DecodeDelivery(r)
		what, ours := want[d.ID]
		if !ours {
			continue
		}
		delete(want, d.ID)
		reason := headerOf(r, "spine_dlq_reason")
		if err != nil || string(d.Body) != cases[what].body || d.Kind != "orders/create" || d.Header.Get("X-Shopify-Shop-Domain") != p.shops[0].Instance.ShopDomain {
			t.Errorf("%s: the dead letter differs from the delivery: %v, %d bytes, %s, %v", what, err, len(d.Body), d.Kind, d.Header)
		}
		if headerOf(r, "spine_dlq_group") != "translate" || headerOf(r, "spine_dlq_topic") != "raw.shopify" || !containsAll(reason, cases[what].want) {
			t.Errorf("%s: dead because %q, want a reason that names %q", what, reason, cases[what].want)
		}
	}
	for _, what := range want {
		t.Errorf("%s: no dead letter", what)
	}
	placedOnce(t, p, id)
	if g := groupsOf(t, p)["translate"]; g.Waiting != 0 || g.HeldKeys != 0 {
		t.Errorf("translate holds keys: %+v", g)
	}
}

func headerOf(r *kgo.Record, name string) string {
	for _, h := range r.Headers {
		if h.Key == name {
			return string(h.Value)
		}
	}
	return ""
}

func groupsOf(t *testing.T, p *place) map[string]position {
	t.Helper()
	all, err := p.positions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// placedOnce: the order is in the stream, and every group has handled it.
func placedOnce(t *testing.T, p *place, id string) {
	t.Helper()
	key, db := p.shops[0].Instance.String()+":"+id, p.store(t)
	for _, table := range []string{"inventory_orders", "invoicing_orders", "notifications_orders", "analytics_orders"} {
		if rows := rowsOf(t, db.SQL(), `SELECT order_key FROM `+table+` WHERE order_key = $1`, key); len(rows) != 1 {
			t.Errorf("%s has order %s %d times, want once", table, key, len(rows))
		}
	}
}

func unknownTopic(t *testing.T, p *place) {
	t.Helper()
	before := noFacts(t, p)
	accept(t, p, signed(p.shops[0], "products/update", []byte(`{"id":1,"title":"Lamp"}`)))
	accept(t, p, signed(p.shops[0], "orders/teleported", []byte(`not even JSON`)))
	if n := noFacts(t, p); n != before+2 {
		t.Errorf("spine audit counts %d deliveries without a fact, want %d", n, before+2)
	}
}

func noFacts(t *testing.T, p *place) int {
	t.Helper()
	var books struct {
		Balanced   bool `json:"balanced"`
		Deliveries []struct {
			Instance string `json:"instance"`
			NoFact   int    `json:"no_fact"`
		} `json:"deliveries"`
	}
	if err := json.Unmarshal([]byte(p.must(t, "audit", "-o", "json")), &books); err != nil || !books.Balanced {
		t.Fatalf("spine audit -o json: %+v (%v)", books, err)
	}
	for _, d := range books.Deliveries {
		if d.Instance == p.shops[0].Instance.Name {
			return d.NoFact
		}
	}
	return 0
}

// foreignRecords puts into the topic of orders what no Spine has written.
func foreignRecords(t *testing.T, p *place, orders <-chan producer.Call) {
	t.Helper()
	sample := <-orders
	accept(t, p, sample)
	var ours *kgo.Record // a record of ours, to spoil copies of
	for _, r := range recordsOf(t, p, "commerce.order.events") {
		if string(r.Key) == keyOf(p, sample) && headerOf(r, "ce_type") == "order.placed.v2" {
			ours = r
		}
	}
	if ours == nil {
		t.Fatal("the order is not in the stream")
	}
	all := []string{"analytics", "inventory", "invoicing", "notifications"}
	spoil := func(change func(*kgo.Record)) *kgo.Record {
		r := &kgo.Record{Topic: ours.Topic, Value: slices.Clone(ours.Value), Headers: slices.Clone(ours.Headers)}
		setHeader(r, "ce_id", event.NewID(time.Now(), "test", "x", fmt.Sprint(len(r.Value)), time.Now().String()))
		change(r)
		return r
	}
	asPayment := spoil(func(r *kgo.Record) {
		setHeader(r, "ce_type", "payment.received.v1")
		setHeader(r, "ce_subject", "payment/1")
	})
	archived := spoil(func(r *kgo.Record) {
		setHeader(r, "ce_type", "order.archived.v1")
		r.Value = nil
	})
	cases := []foreign{
		{what: "no headers", record: &kgo.Record{Value: []byte("hello")}, groups: all, want: []string{"ce_type", "missing"}},
		{what: "no fact name", record: spoil(func(r *kgo.Record) { setHeader(r, "ce_type", "OrderPlaced") }), groups: all, want: []string{"ce_type", "want"}},
		{what: "no magic byte", record: spoil(func(r *kgo.Record) { r.Value = []byte(`{"json":true}`) }), groups: all, held: true, want: []string{"frame_invalid", "want magic byte"}},
		{what: "no value", record: spoil(func(r *kgo.Record) { r.Value = nil }), groups: all, held: true, want: []string{"frame_invalid"}},
		{what: "unknown schema id", record: spoil(func(r *kgo.Record) { copy(r.Value, []byte{0, 0, 9, 9, 9}) }), groups: all, held: true, want: []string{"schema_unknown"}},
		{what: "another schema", record: asPayment, groups: []string{"invoicing"}, held: true, want: []string{"type_mismatch", "not spine.payment.PaymentReceivedV1"}},
		{what: "cut", record: spoil(func(r *kgo.Record) { r.Value = r.Value[:len(r.Value)-1] }), groups: all, held: true, want: []string{"payload_invalid"}},
		{what: "a byte too many", record: spoil(func(r *kgo.Record) { r.Value = append(r.Value, 0) }), groups: all, held: true, want: []string{"payload_invalid"}},
		{what: "wrong version of CloudEvents", record: spoil(func(r *kgo.Record) { setHeader(r, "ce_specversion", "0.3") }), groups: all, held: true, want: []string{"ce_specversion", "want 1.0"}},
		{what: "no time", record: spoil(func(r *kgo.Record) { setHeader(r, "ce_time", "noon") }), groups: all, held: true, want: []string{"ce_time", "want RFC 3339"}},
		{what: "another id", record: spoil(func(*kgo.Record) {}), groups: all, held: true, want: []string{"identity_mismatch", "ce_id", "meta"}},
		{what: "a fact that nobody handles", record: archived},
	}
	cl, err := kgo.NewClient(append(p.client(), kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)))...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for i := range cases {
		c := &cases[i]
		c.next, c.other = <-orders, <-orders
		c.record.Topic, c.record.Key = "commerce.order.events", []byte(keyOf(p, c.next))
		if err := cl.ProduceSync(t.Context(), c.record).FirstErr(); err != nil {
			t.Fatal(err)
		}
		for _, call := range []producer.Call{c.next, c.other} {
			if a := p.call(t, call); a.status != http.StatusOK {
				t.Fatalf("an order is answered %d %s", a.status, a.body)
			}
		}
	}
	p.settle(t, time.Minute)
	letters := map[string][]*kgo.Record{}
	for _, g := range all {
		letters[g] = recordsOf(t, p, "dlq."+g)
	}
	for _, c := range cases {
		t.Run(c.what, func(t *testing.T) {
			placedOnce(t, p, orderID(c.other)) // other keys go on
			for _, g := range all {
				c.check(t, p, g, letters[g])
			}
		})
	}
}

func keyOf(p *place, c producer.Call) string { return p.shops[0].Instance.String() + ":" + orderID(c) }

func setHeader(r *kgo.Record, name, value string) {
	for i := range r.Headers {
		if r.Headers[i].Key == name {
			r.Headers[i].Value = []byte(value)
			return
		}
	}
	r.Headers = append(r.Headers, kgo.RecordHeader{Key: name, Value: []byte(value)})
}

// foreign is a record that is not ours, written under the key of an order that comes
// after it, and what is to become of both.
type foreign struct {
	what        string
	record      *kgo.Record
	groups      []string // get a dead letter
	held        bool     // and hold the key
	want        []string // of the reason
	next, other producer.Call
}

// check looks at what one group made of the record and of the order behind it.
func (f foreign) check(t *testing.T, p *place, group string, letters []*kgo.Record) {
	t.Helper()
	dead, waiting := 0, 0
	if slices.Contains(f.groups, group) {
		if dead = 1; f.held {
			waiting = 1
		}
	}
	db := p.store(t)
	rows, err := db.Store(group).Rows(t.Context(), once.RowFilter{Key: f.record.Key})
	if err != nil {
		t.Fatal(err)
	}
	got := map[once.WaitState]int{once.Dead: 0, once.Wait: 0}
	for _, r := range rows {
		got[r.State]++
		if r.Holds != f.held {
			t.Errorf("%s: a row holds its key: %v, want %v", group, r.Holds, f.held)
		}
	}
	if diff := cmp.Diff(map[once.WaitState]int{once.Dead: dead, once.Wait: waiting}, got); diff != "" {
		t.Errorf("%s: rows of the key (-want +got):\n%s", group, diff)
	}
	handled := rowsOf(t, db.SQL(), `SELECT order_key FROM `+group+`_orders WHERE order_key = $1`, string(f.record.Key))
	if len(handled) != 1-waiting {
		t.Errorf("%s has the order of the same key %d times, want %d", group, len(handled), 1-waiting)
	}
	letters = slices.DeleteFunc(slices.Clone(letters), func(r *kgo.Record) bool { return !bytes.Equal(r.Key, f.record.Key) })
	if len(letters) != dead {
		t.Fatalf("%s has %d dead letters of the record, want %d", group, len(letters), dead)
	}
	for _, r := range letters {
		f.letter(t, group, r)
	}
}

// letter checks a dead letter: the record as it was, a reason, and the way back.
func (f foreign) letter(t *testing.T, group string, r *kgo.Record) {
	t.Helper()
	same := func(a, b kgo.RecordHeader) bool { return a.Key == b.Key && bytes.Equal(a.Value, b.Value) }
	n := len(f.record.Headers)
	if !bytes.Equal(r.Value, f.record.Value) || len(r.Headers) < n || !slices.EqualFunc(f.record.Headers, r.Headers[:n], same) {
		t.Errorf("%s: the dead letter differs from the record", group)
	}
	if reason := headerOf(r, "spine_dlq_reason"); !containsAll(reason, f.want) {
		t.Errorf("%s: dead because %q, want a reason with %q", group, reason, f.want)
	}
	got := []string{headerOf(r, "spine_dlq_group"), headerOf(r, "spine_dlq_topic"), headerOf(r, "spine_dlq_partition"), headerOf(r, "spine_dlq_offset")}
	want := []string{group, f.record.Topic, fmt.Sprint(f.record.Partition), fmt.Sprint(f.record.Offset)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: the way back (-want +got):\n%s", group, diff)
	}
}

// TestBadConfiguration: an unknown key or a bad value ends every command that reads
// the configuration, before it does anything.
func TestBadConfiguration(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		text string
		want []string
	}{
		"unknown key":  {"kafka:\n  brokes: [127.0.0.1:9092]\n", []string{"spine.yaml:2:3", "kafka.brokes", "did you mean brokers?"}},
		"deep":         {"instances:\n  shopify/uk:\n    secret: env:S\n    time_zoen: Europe/London\n", []string{"spine.yaml:4:5", "did you mean time_zone?"}},
		"of a group":   {"groups:\n  inventory:\n    stok: stock.csv\n", []string{"spine.yaml:3:5", "did you mean stock?"}},
		"bad value":    {"instances:\n  shopify/uk: {secret: env:S, time_zone: Europe/Lodnon}\n", []string{"spine.yaml:2:", "Europe/Lodnon", "IANA"}},
		"wrong type":   {"intake:\n  max_body: big\n", []string{"spine.yaml:2:13", "max_body"}},
		"a secret":     {"instances:\n  shopify/uk:\n    secret: hunter2\n", []string{"spine.yaml:3:13", "env:NAME"}},
		"not YAML":     {"kafka: [\n", []string{"spine.yaml:"}},
		"no adapter":   {"instances:\n  magneto/uk: {secret: env:S}\n", []string{"magneto/uk"}},
		"unknown pool": {"groups:\n  inventory:\n    pools: {main: {warehouses: [], oversel: true}}\n", []string{"spine.yaml:3:", "did you mean oversell?"}},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, nil)
			writeFile(t, filepath.Join(p.dir, "spine.yaml"), c.text)
			for _, words := range [][]string{{"run"}, {"config", "check"}} {
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				_, errs, code := p.command(ctx, words...)
				if code != 2 || !containsAll(errs, c.want) {
					t.Errorf("spine %s: exit code %d, %s; want 2 and %q", strings.Join(words, " "), code, errs, c.want)
				}
				if strings.Contains(errs, "hunter2") {
					t.Errorf("the secret is shown: %s", errs)
				}
			}
			if _, err := os.Stat(p.data()); err == nil {
				t.Error("a data folder was made")
			}
		})
	}
}
