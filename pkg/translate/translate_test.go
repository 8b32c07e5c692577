package translate_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/producer"
	"github.com/eventspine/spine/pkg/translate"
	"github.com/eventspine/spine/pkg/wire"
)

func TestSnapshot_facts(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		t.Helper()
		k.want(t, k.snap("1x"), "facts")
		k.want(t, k.snap("2y!"), "facts")
		if got := k.types(); got != "placed edited cancelled" {
			t.Fatalf("facts: %s", got)
		}
		at := func(s int) time.Time { return time.Date(2026, 3, 14, 11, 20, s, 0, time.UTC) }
		version := at(1).UnixMicro()
		want := event.Event{
			ID:   event.NewID(time.Date(2026, 3, 14, 11, 20, 0, 0, time.UTC), "shop/uk", "order.placed", "5001", ""), // floored to IDTime
			Type: "order.placed.v2", Source: "shop/uk", Entity: "5001", Key: "shop/uk:5001", Origin: event.OriginWebhook,
			OccurredAt: at(1), RecordedAt: time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC), Sequence: fmt.Sprintf("%020d", version), CorrelationID: "order:shop/uk:5001",
		}
		if diff := cmp.Diff(want, k.published[0]); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
		wantMeta := event.Meta{
			EventID: want.ID, OccurredAt: want.OccurredAt, RecordedAt: want.RecordedAt, SourceSystem: "shop", SourceInstance: "uk", SourceObject: "order",
			SourceID: "5001", SourceVersion: &version, CorrelationID: want.CorrelationID, Origin: event.OriginWebhook,
		}
		if diff := cmp.Diff(wantMeta, k.facts[0].GetMeta()); diff != "" {
			t.Errorf("meta: -want +got\n%s", diff)
		}
		if c := k.causes[0]; c.Request != "req-1" || c.Traceparent != "00-trace" || c.Causation != "" {
			t.Errorf("cause %+v", c)
		}
		if len(k.published[2].Sequence) != 20 || k.published[2].Sequence <= k.published[0].Sequence {
			t.Errorf("sequences %s, %s", k.published[0].Sequence, k.published[2].Sequence)
		}
	})
}

// The stories of the protocol's model about snapshots.
func TestSnapshot_stories(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		t.Helper()
		a, b, c := k.snap("1x"), k.snap("3y"), k.snap("2z")
		k.want(t, a, "facts")
		k.want(t, b, "facts")
		k.want(t, c, "stale") // an old one after a newer one
		d := k.snap("3w")     // the same updated_at, later: version-tie
		k.want(t, d, "facts")
		early := k.snap("3u") // arrived before d, was dead and is redriven
		early.Offset = b.Offset
		k.want(t, early, "stale")
		k.want(t, k.snap("4w"), "no_fact") // unchanged newer: raises the version
		k.want(t, k.snap("3v"), "stale")   // identical-keeps-version
		if got := k.types(); got != "placed edited edited" {
			t.Errorf("facts: %s", got)
		}
		if k.published[1].ID == k.published[2].ID { // id-by-source-version
			t.Error("two edits at one source version have one id")
		}
	})
}

func TestSnapshot_sameUpdatedAt(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		t.Helper()
		// In both orders the one that arrived later stands, whichever is handled first.
		first, second := k.snap("1x"), k.snap("1y")
		k.want(t, first, "facts")
		k.want(t, second, "facts")
		if got := k.types(); got != "placed edited" {
			t.Errorf("in order: %s", got)
		}
		other := func(d wire.Delivery) wire.Delivery {
			d.Key, d.Body = "shop/uk:6", []byte(strings.Replace(string(d.Body), "5001", "6", 1))
			return d
		}
		first, second = other(k.snap("1x")), other(k.snap("1y"))
		k.want(t, second, "facts")
		k.want(t, first, "stale")
		if got := k.types(); got != "placed edited placed" {
			t.Errorf("in the other order: %s", got)
		}
		// The vendor's finer clock goes before the order of arrival.
		clocked := func(text, clock string) wire.Delivery {
			d := k.snap(text)
			d.Header.Set(clockHeader, "2026-03-14T11:20:05."+clock+"Z")
			return d
		}
		k.want(t, clocked("5a", "200"), "facts")
		k.want(t, clocked("5b", "100"), "stale")
		k.want(t, clocked("5c", "300"), "facts")
		k.want(t, k.snap("5d"), "facts")         // without it: as late as it arrived
		k.want(t, clocked("5e", "250"), "stale") // which forgets no clock
		k.want(t, clocked("5e", "400"), "facts")
	})
}

func TestSnapshot_identicalBytes(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		t.Helper()
		between := k.snap("1z")
		x, again := k.snap("1x"), k.snap("1x")
		between.Offset = x.Offset // arrives between the two, is handled last
		x.Offset--
		k.want(t, x, "facts")
		k.want(t, again, "duplicate")
		k.want(t, between, "stale") // the duplicate raised the version
		k.want(t, again, "duplicate")
		if got := k.types(); got != "placed" {
			t.Errorf("facts: %s", got)
		}
	})
}

func TestSnapshot_terminal(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		t.Helper()
		k.want(t, k.snap("1x"), "facts")
		k.want(t, k.snap("2x!"), "facts")
		k.want(t, k.snap("2x"), "stale")    // terminal-reverses
		k.want(t, k.snap("2y!"), "facts")   // cancelled still: what else changed counts
		k.want(t, k.snap("3y!"), "no_fact") // and is not cancelled twice
		k.want(t, k.snap("4y"), "no_fact")  // a later version may take it back
		if got := k.types(); got != "placed cancelled edited" {
			t.Errorf("facts: %s", got)
		}
	})
}

// A state that is never left at an equal version is the later one, whatever the finer
// clock or the order of arrival say: paid and cancelled within one second.
func TestSnapshot_terminalComesSecond(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		t.Helper()
		clocked := func(text, clock string) wire.Delivery {
			d := k.snap(text)
			d.Header.Set(clockHeader, "2026-03-14T11:20:05."+clock+"Z")
			return d
		}
		k.want(t, k.snap("1x"), "facts")
		k.want(t, clocked("5y", "880"), "facts")
		k.want(t, clocked("5y!", "289"), "facts")
		k.want(t, clocked("5x", "900"), "stale")
		k.want(t, k.snap("5x"), "stale")
		k.want(t, clocked("5z!", "288"), "stale")
		if got := k.types(); got != "placed edited cancelled" {
			t.Errorf("facts: %s", got)
		}
	})
}

// wider is order after it gained fields.
type wider struct {
	order
	Channel string   `json:"channel" spine:"required"`
	Tags    []string `json:"tags" spine:"required"`
}

func TestSnapshot_structGainedAField(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		t.Helper()
		k.want(t, k.snap("1x"), "facts")
		var seen *wider
		k.group = group(t, adapter(func(a *producer.Adapter) {
			a.Objects[0] = producer.Snapshot("order", "orders/updated", func(o wider) string { return o.ID },
				func(d producer.Delivery, o wider) producer.Version { return version(d, o.order) },
				func(d producer.Delivery, before *wider, after wider) ([]event.New, error) {
					seen = before
					return orderFacts(d, &before.order, after.order)
				}, placed{}, edited{}, cancelled{})
		}))
		d := k.snap("2y")
		if _, err := k.handle(t, d); !rejected(err, "orders/updated: channel: want a value, it is required, got nothing") {
			t.Errorf("an incoming body without the new field: %v", err)
		}
		d.Body = []byte(strings.Replace(string(d.Body), "{", `{"channel":"web","tags":[],`, 1))
		k.want(t, d, "facts")
		if seen == nil || seen.Text != "x" || seen.Channel != "" || k.types() != "placed edited" {
			t.Errorf("before %+v, facts %s", seen, k.types())
		}
	})
}

func rejected(err error, reason string) bool {
	var reject *consumer.RejectError
	return errors.As(err, &reject) && strings.Contains(reject.Reason, reason)
}

func TestRejected(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		t.Helper()
		k.want(t, k.snap("1x"), "facts")
		for want, d := range map[string]wire.Delivery{
			"orders/create: body: want an object, got something else":       k.delivery("orders/create", `hello`),
			"orders/create: updated_at: want a value":                       k.delivery("orders/create", `{"id":"5001"}`),
			"orders/create: id: want a string, got a number":                k.delivery("orders/create", `{"id":5001}`),
			"orders/create: id: want one value, the key stands there twice": k.delivery("orders/create", `{"id":"1","id":"2"}`),
			"want at most 64 levels of nesting":                             k.delivery("orders/create", `{"x":`+strings.Repeat("[", 10000)+strings.Repeat("]", 10000)+`}`),
			"want valid UTF-8":                                              k.delivery("orders/create", "{\"id\":\"\xff\"}"),
			"orders/create: the id of the object: want one":                 k.delivery("orders/create", `{"id":"","updated_at":"2026-03-14T11:20:01Z"}`),
			"orders/create: the version of the object: want a time":         k.delivery("orders/create", `{"id":"5001","updated_at":"1903-03-14T11:20:01Z"}`),
			"orders/updated: text: want something right":                    k.snap("9wrong"),
			"orders/updated: the adapter panics: runtime error: index out of range [5] with length 1 at translate/kit_test.go:": k.snap("9panic"),
			"orders/updated: the adapter panics: string at translate/kit_test.go:":                                              k.snap("9panic with a value"),
			"orders/updated: the adapter emits translate_test.told":                                                             k.snap("9undeclared"),
			"payments/create: order: want a value":                                                                              k.delivery("payments/create", `{"id":"1"}`),
		} {
			if got, err := k.handle(t, d); !rejected(err, want) || strings.Contains(err.Error(), "customer@") {
				t.Errorf("%.60s: became %q, %v", d.Body, got, err)
			}
		}
		for want, source := range map[string]string{"no adapter for the system crm": "crm/uk", "source: want <system>/<instance>": "x"} {
			d := k.snap("9y")
			if d.Source = source; true {
				if got, err := k.handle(t, d); !rejected(err, want) {
					t.Errorf("%s: became %q, %v", source, got, err)
				}
			}
		}
		// Nothing of all that has touched the state: the flow goes on.
		k.want(t, k.snap("2x"), "no_fact")
		if got := k.types(); got != "placed" {
			t.Errorf("facts: %s", got)
		}
	})
}

func TestReport(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		t.Helper()
		d := k.delivery("payments/create", `{"id":"77","order":"5001","at":"2026-03-14T11:30:00.5Z"}`)
		k.want(t, d, "facts")
		again := k.delivery("payments/create", string(d.Body)) // another delivery of it: the same id
		k.want(t, again, "facts")
		if len(k.published) != 2 || k.published[0].ID != k.published[1].ID {
			t.Fatalf("published %+v", k.published)
		}
		e := k.published[0]
		if e.Key != "shop/uk:5001" || e.CorrelationID != "order:shop/uk:5001" || e.Sequence != "" || e.Entity != "77" || k.facts[0].GetMeta().SourceVersion != nil {
			t.Errorf("event %+v", e)
		}
	})
}

func TestUnknown(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		t.Helper()
		k.want(t, k.delivery("themes/publish", `not even JSON`), "no_fact")
		k.want(t, k.delivery("", `{}`), "no_fact")
		k.want(t, k.delivery("bad \x00\xff kind", `{}`), "no_fact")
		// An instance that is not in the configuration: the adapter is told so.
		var in event.Instance
		k.group = group(t, adapter(func(a *producer.Adapter) {
			a.APIVersion = producer.Header("X-Version")
			a.Objects[1] = producer.Report("payments/create", func(d producer.Delivery, p payment) ([]event.New, error) {
				in = d.Instance
				return payFacts(d, p)
			}, paid{})
		}))
		d := k.delivery("payments/create", `{"id":"1","order":"2","at":"2026-03-14T11:30:00Z"}`)
		d.Source, d.Header = "shop/fr", http.Header{"X-Version": {"2026-07"}}
		k.want(t, d, "facts")
		if !in.UnknownConfig || in.String() != "shop/fr" {
			t.Errorf("instance %+v", in)
		}
		if v := k.facts[0].GetMeta().SourceAPIVersion; v == nil || *v != "2026-07" {
			t.Errorf("API version %v", v)
		}
		d = k.delivery("payments/create", string(d.Body))
		k.want(t, d, "facts")
		if in.BaseCurrency != "GBP" {
			t.Errorf("instance %+v", in)
		}
	})
}

func splitting(a *producer.Adapter) {
	a.Webhooks[0].Split = func(d producer.Delivery) ([]producer.Delivery, error) {
		if d.Kind != "batch" {
			return nil, nil
		}
		if string(d.Body) == "broken" {
			return nil, errors.New("body: want a batch")
		}
		var parts []producer.Delivery
		for _, line := range strings.Split(string(d.Body), "\n") {
			kind, body, _ := strings.Cut(line, " ")
			parts = append(parts, producer.Delivery{Kind: kind, Body: []byte(body)})
		}
		return parts, nil
	}
}

func TestSplit(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		t.Helper()
		k.group = group(t, adapter(splitting))
		batch := k.delivery("batch", `orders/create {"id":"1","updated_at":"2026-03-14T11:20:01Z"}
orders/create {"id":
payments/create {"id":"77","order":"1","at":"2026-03-14T11:30:00Z"}
themes/publish {"id":"9"}`)
		batch.Key = "shop/uk"
		k.want(t, batch, "split")
		first := k.forwarded
		var got []string
		for _, d := range first {
			got = append(got, d.Kind+" "+d.Key)
			if d.ReceivedAt != batch.ReceivedAt || d.Request != "req-1" || d.Traceparent != batch.Traceparent || d.Source != batch.Source || d.Origin != batch.Origin {
				t.Errorf("part %+v", d)
			}
		}
		want := []string{"orders/create shop/uk:1", "orders/create shop/uk", "payments/create shop/uk:1", "themes/publish shop/uk:9"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("-want +got\n%s", diff)
		}
		k.forwarded = nil
		k.want(t, batch, "split") // again after a crash: the same ids
		if diff := cmp.Diff(first, k.forwarded); diff != "" {
			t.Errorf("-first time +again\n%s", diff)
		}
		ids := map[string]bool{}
		for _, d := range first {
			ids[d.ID] = true
		}
		if len(ids) != 4 {
			t.Errorf("ids %v", ids)
		}
		k.want(t, first[0], "facts")
		if _, err := k.handle(t, first[1]); !rejected(err, "orders/create: id: want a string, got the end of the document") {
			t.Errorf("the broken part: %v", err)
		}
		k.want(t, first[2], "facts")
		k.want(t, first[3], "no_fact")
		d := k.delivery("batch", "broken")
		if _, err := k.handle(t, d); !rejected(err, "batch: body: want a batch") {
			t.Errorf("broken batch: %v", err)
		}
		k.want(t, k.snap("1x"), "facts") // not a batch
	})
}

func TestRekey(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		t.Helper()
		d := k.snap("1x")
		d.Key = "shop/uk" // the look at intake found nothing
		k.want(t, d, "rekeyed")
		first := k.forwarded[0]
		k.want(t, d, "rekeyed")
		if diff := cmp.Diff(first, k.forwarded[1]); diff != "" {
			t.Errorf("-first time +again\n%s", diff)
		}
		if first.Key != "shop/uk:5001" || first.ID == d.ID || string(first.Body) != string(d.Body) {
			t.Errorf("forwarded %+v", first)
		}
		k.want(t, first, "facts")
		first.Key = "shop/uk:1"
		if _, err := k.handle(t, first); !rejected(err, "two keys") {
			t.Errorf("a delivery in circles: %v", err)
		}
	})
}

// An attempt that was undone leaves nothing, and the next one publishes the same.
func TestCrash(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		t.Helper()
		d := k.snap("1x!")
		tx, undone, err := k.begin(t.Context(), d)
		if err != nil {
			t.Fatal(err)
		}
		if err := tx.Rollback(); err != nil {
			t.Fatal(err)
		}
		k.want(t, d, "facts")
		if diff := cmp.Diff(undone.events, k.published); diff != "" || len(k.published) != 2 {
			t.Errorf("-undone +published\n%s", diff)
		}
	})
}

// Two transactions meet at the first snapshot of an object: the second waits, and
// sees what the first has stored.
func TestFirstRowIsLocked(t *testing.T) {
	t.Parallel()
	k := newKit(t, "postgres")
	a, b := k.snap("1x"), k.snap("2y")
	tx, first, err := k.begin(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	second := make(chan error, 1)
	go func() {
		_, err := k.handle(t, b)
		second <- err
	}()
	deadline, tick := time.NewTimer(20*time.Second), time.NewTicker(5*time.Millisecond)
	defer deadline.Stop()
	defer tick.Stop()
	for waiting := 0; waiting == 0; {
		select {
		case err := <-second:
			t.Fatalf("the second one did not wait: %v", err)
		case <-deadline.C:
			t.Fatal("the second one never waits for the lock")
		case <-tick.C:
		}
		row := tx.QueryRowContext(t.Context(), "SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))")
		if err := row.Scan(&waiting); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := <-second; err != nil {
		t.Fatal(err)
	}
	if len(first.events) != 1 || k.types() != "edited" {
		t.Errorf("first %+v, second %s", first.events, k.types())
	}
}

// Whatever arrives, is repeated and is handled out of order: one order.placed, no
// cancellation twice in a row, sequences never fall, and the state is the newest.
func TestSnapshot_property(t *testing.T) {
	t.Parallel()
	fresh := newKit(t, "sqlite")
	rapid.Check(t, func(r *rapid.T) {
		k := &kit{group: fresh.group, db: fresh.db}
		if _, err := k.db.ExecContext(t.Context(), "DELETE FROM translate_objects; DELETE FROM translate_outcomes"); err != nil {
			r.Fatal(err)
		}
		var known []wire.Delivery
		var newest wire.Delivery
		for range rapid.IntRange(1, 12).Draw(r, "steps") {
			var d wire.Delivery
			if len(known) > 0 && rapid.Bool().Draw(r, "again") {
				d = rapid.SampledFrom(known).Draw(r, "which")
			} else {
				d = k.snap(fmt.Sprintf("%d%s", rapid.IntRange(1, 3).Draw(r, "version"), rapid.SampledFrom([]string{"x", "y", "z"}).Draw(r, "text")))
				known = append(known, d)
			}
			if _, err := k.handle(t, d); err != nil {
				r.Fatal(err)
			}
			if newest.Body == nil || versionOf(d) > versionOf(newest) {
				newest = d
			}
			var body []byte
			if err := k.db.QueryRowContext(t.Context(), "SELECT body FROM translate_objects").Scan(&body); err != nil {
				r.Fatal(err)
			}
			if string(body) != string(newest.Body) {
				r.Fatalf("the state is %s, the newest is %s", body, newest.Body)
			}
		}
		ids := map[string]bool{}
		for n, e := range k.published {
			if (n == 0) != (e.Type == "order.placed.v2") {
				r.Fatalf("facts: %s", k.types())
			}
			if n > 0 && e.Sequence < k.published[n-1].Sequence {
				r.Fatalf("sequence falls: %s after %s", e.Sequence, k.published[n-1].Sequence)
			}
			ids[e.ID] = true
		}
	})
}

// versionOf orders the snapshots of snap.
func versionOf(d wire.Delivery) string {
	var o order
	if err := producer.DecodeJSON(d.Body, &o); err != nil {
		return ""
	}
	return fmt.Sprintf("%s %06d", o.UpdatedAt.Format(time.RFC3339), d.Offset)
}

func TestCheck(t *testing.T) {
	t.Parallel()
	lost := func(fact string) (wire.Target, bool) { return wire.Target{}, fact != "payment.received.v1" }
	for want, err := range map[string]error{
		"adapter shop: no topic takes payment.received.v1": translate.Check([]producer.Adapter{adapter()}, lost),
		"adapter shop: want one adapter per system":        translate.Check([]producer.Adapter{adapter(), adapter()}, route),
		"adapter shop: kind payments/create":               translate.Check([]producer.Adapter{adapter(func(a *producer.Adapter) { a.Objects = append(a.Objects, a.Objects[1]) })}, route),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	if err := translate.Check([]producer.Adapter{adapter()}, route); err != nil {
		t.Error(err)
	}
	if _, err := translate.Group(translate.Options{Adapters: []producer.Adapter{adapter()}, Route: lost}); err == nil {
		t.Error("a group with mistakes starts")
	}
}

// The views show timestamps on both stores.
func TestViews(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		t.Helper()
		k.want(t, k.snap("1x!"), "facts")
		var version, received string
		var terminal bool
		if err := k.db.QueryRowContext(t.Context(), "SELECT source_version, terminal FROM translate_objects_view").Scan(&version, &terminal); err != nil {
			t.Fatal(err)
		}
		if err := k.db.QueryRowContext(t.Context(), "SELECT received_at FROM translate_outcomes_view").Scan(&received); err != nil {
			t.Fatal(err)
		}
		if version != "2026-03-14T11:20:01.000000Z" || received != "2026-03-14T12:00:00.000000Z" || !terminal {
			t.Errorf("views show %s, %v, %s", version, terminal, received)
		}
	})
}

// What a delivery tells when it is translated again is noted as if it had told it at
// once; nothing is told twice.
func TestRetell(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		t.Helper()
		first, later := k.snap("1x"), k.snap("2y")
		k.want(t, first, "facts")
		k.want(t, later, "facts")
		silent := k.snap("2y")
		k.want(t, silent, "duplicate")
		const fresh = "019cec13-177b-835c-af42-62fc597f21c7"
		since := time.Now().Add(time.Hour) // after all that came
		for _, c := range []struct {
			name, id string
			r        translate.Retold
			want     bool
		}{
			{"a new fact", fresh, translate.Retold{Delivery: silent.ID, AsOf: since}, true},
			{"the same again", fresh, translate.Retold{Delivery: silent.ID, AsOf: since}, false},
			{"one that came live since", k.published[0].ID, translate.Retold{Delivery: silent.ID, AsOf: time.Now()}, false},
			{"new content", k.published[0].ID, translate.Retold{Delivery: first.ID, Anew: true, AsOf: since}, true},
		} {
			c.r.Event = c.id
			text, err := c.r.Text()
			if err != nil {
				t.Fatal(err)
			}
			tx, err := k.db.BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			got, err := translate.Retell(t.Context(), tx, text)
			if err != nil || got != c.want {
				t.Errorf("%s: %t, %v, want %t", c.name, got, err, c.want)
			}
			if err := tx.Commit(); err != nil {
				t.Fatal(err)
			}
		}
		for id, want := range map[string]string{first.ID: k.published[0].ID, later.ID: k.published[1].ID, silent.ID: fresh} {
			var outcome, ids string
			var n int
			row := k.db.QueryRowContext(t.Context(), "SELECT outcome, facts, event_ids FROM translate_outcomes WHERE delivery_id = $1", id)
			if err := row.Scan(&outcome, &n, &ids); err != nil || outcome != "facts" || n != 1 || ids != want {
				t.Errorf("%s has %d facts %q, %v, want %s", outcome, n, ids, err, want)
			}
		}
		if _, err := translate.Retell(t.Context(), k.db, "{"); err == nil {
			t.Error("what is no note is taken for one")
		}
	})
}
