package intake_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"go.opentelemetry.io/otel/attribute"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/intake"
	"github.com/eventspine/spine/pkg/producer"
	"github.com/eventspine/spine/pkg/wire"
)

func TestAccepted(t *testing.T) {
	t.Parallel()
	b, at := &broker{}, time.Date(2026, 3, 14, 11, 20, 0, 123456789, time.UTC)
	i := start(t, b, func(o *intake.Options) { o.Now = func() time.Time { return at } })
	body := "{\"id\": 820982911946154508,\n \"x\": \"\xff\"}" // kept byte for byte, readable or not
	r := request(t, body)
	r.Header.Set("X-Shop-Id", "w-1")
	r.Header.Set("Authorization", "Bearer secret")
	r.Header.Set("Cookie", "a=b")
	r.Header.Set("X-Other", "not on the list")
	r.Header.Set("X-Correlation-Id", "req-7")
	trace := "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	r.Header.Set("Traceparent", trace)
	response := serve(i, r)
	var answer map[string]any
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusOK || answer["received"] != true || response.Header.Get("X-Correlation-Id") != "req-7" || response.Header.Get("Content-Type") != "application/json" {
		t.Errorf("status %d, header %v, body %v", response.StatusCode, response.Header, answer)
	}
	id, err := uuid.Parse(fmt.Sprint(answer["delivery"]))
	if err != nil || id.Version() != 7 {
		t.Errorf("delivery %v: want a UUIDv7", answer["delivery"])
	}
	want := []wire.Delivery{{
		ID: id.String(), Source: "shop/uk", Kind: "orders/create", Key: "shop/uk:820982911946154508", Origin: event.OriginWebhook,
		Header: http.Header{"X-Shop-Topic": {"orders/create"}, "X-Shop-Id": {"w-1"}}, Body: []byte(body),
		ReceivedAt: at.Truncate(time.Microsecond), Request: "req-7", Traceparent: trace,
	}}
	if diff := cmp.Diff(want, b.deliveries()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestStatuses(t *testing.T) {
	t.Parallel()
	const limit = 64
	exact := `{"id":"` + strings.Repeat("x", limit-9) + `"}`
	for name, c := range map[string]struct {
		method, path, body string
		change             func(*http.Request)
		status             int
		code               string
	}{
		"exactly the cap":       {body: exact, status: 200},
		"above the cap":         {body: exact + " ", status: 413, code: "too_large"},
		"above, length hidden":  {body: exact + " ", change: func(r *http.Request) { r.ContentLength = -1 }, status: 413, code: "too_large"},
		"no such system":        {path: "/webhooks/shopp/uk", status: 404, code: "not_found"},
		"no such instance":      {path: "/webhooks/shop/fr", status: 404, code: "not_found"},
		"system that is polled": {path: "/webhooks/polled/x", status: 404, code: "not_found"},
		"no instance":           {path: "/webhooks/shop", status: 404, code: "not_found"},
		"more path":             {path: "/webhooks/shop/uk/", status: 404, code: "not_found"},
		"path to clean":         {path: "/webhooks/x/../shop/uk", status: 404, code: "not_found"},
		"escaped slash":         {path: "/webhooks/shop%2fuk", status: 404, code: "not_found"},
		"root":                  {path: "/", status: 404, code: "not_found"},
		"GET":                   {method: "GET", status: 405, code: "method_not_allowed"},
		"PUT":                   {method: "PUT", status: 405, code: "method_not_allowed"},
		"form":                  {change: func(r *http.Request) { r.Header.Set("Content-Type", "application/x-www-form-urlencoded") }, status: 415, code: "media_type"},
		"no media type":         {change: func(r *http.Request) { r.Header.Del("Content-Type") }, status: 415, code: "media_type"},
		"gzip":                  {change: func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") }, status: 415, code: "media_type"},
		"charset":               {change: func(r *http.Request) { r.Header.Set("Content-Type", "Application/JSON; charset=UTF-8") }, status: 200},
		"not JSON":              {body: "hello", status: 200},
		"empty":                 {body: "", status: 200},
		"bad signature":         {change: func(r *http.Request) { r.Header.Set(sig, "AAAA") }, status: 401, code: "signature_invalid"},
		"broken off":            {change: func(r *http.Request) { r.Body = io.NopCloser(broken{}) }, status: 400, code: "unreadable"},
		"too slow":              {change: func(r *http.Request) { r.Body = io.NopCloser(slow{}) }, status: 408, code: "unreadable"},
	} {
		b := &broker{}
		i := start(t, b, func(o *intake.Options) { o.MaxBody = limit })
		r := request(t, c.body)
		if c.method != "" {
			r.Method = c.method
		}
		if c.path != "" {
			u, err := r.URL.Parse(c.path)
			if err != nil {
				t.Fatal(err)
			}
			r.URL.Path, r.URL.RawPath = u.Path, u.RawPath
			if name == "path to clean" { // Parse has cleaned it
				r.URL.Path = c.path
			}
		}
		if c.change != nil {
			c.change(r)
		}
		response := serve(i, r)
		if response.StatusCode != c.status {
			t.Errorf("%s: status %d, want %d", name, response.StatusCode, c.status)
		}
		if c.code != "" {
			errorBody(t, name, response, c.code)
		}
		if got := len(b.deliveries()); (got == 1) != (c.status == 200) {
			t.Errorf("%s: %d deliveries are kept", name, got)
		}
		if allow := response.Header.Get("Allow"); (allow == "POST") != (c.status == 405) {
			t.Errorf("%s: Allow %q", name, allow)
		}
	}
}

type slow struct{}

func (slow) Read([]byte) (int, error) { return 0, os.ErrDeadlineExceeded }

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// errorBody checks the one form that errors have.
func errorBody(t *testing.T, name string, response *http.Response, code string) {
	t.Helper()
	var got map[string]map[string]string
	if err := json.NewDecoder(response.Body).Decode(&got); err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	e := got["error"]
	if len(got) != 1 || len(e) != 3 || e["code"] != code || e["message"] == "" || e["correlation_id"] == "" || e["correlation_id"] != response.Header.Get("X-Correlation-Id") {
		t.Errorf("%s: body %v", name, got)
	}
}

func TestSignatures(t *testing.T) {
	t.Parallel()
	body := `{"id":1,"total":"186.90"}`
	good := producer.SignHMACSHA256(current, []byte(body), producer.Base64)
	for name, c := range map[string]struct {
		set    func(*http.Request)
		body   string
		status int
	}{
		"current": {func(r *http.Request) { r.Header.Set(sig, good) }, body, 200},
		"previous": {func(r *http.Request) {
			r.Header.Set(sig, producer.SignHMACSHA256(previous, []byte(body), producer.Base64))
		}, body, 200},
		"another shop's": {func(r *http.Request) {
			r.Header.Set(sig, producer.SignHMACSHA256([]byte("another"), []byte(body), producer.Base64))
		}, body, 401},
		"missing":   {func(r *http.Request) { r.Header.Del(sig) }, body, 401},
		"wrong":     {func(r *http.Request) { r.Header.Set(sig, "A"+good[1:]) }, body, 401},
		"truncated": {func(r *http.Request) { r.Header.Set(sig, good[:40]) }, body, 401},
		"encoded again": {func(r *http.Request) {
			r.Header.Set(sig, strings.NewReplacer("+", "-", "/", "_", "=", "").Replace(good))
		}, body, 401},
		"in hex":           {func(r *http.Request) { r.Header.Set(sig, producer.SignHMACSHA256(current, []byte(body), producer.Hex)) }, body, 401},
		"twice":            {func(r *http.Request) { r.Header.Add(sig, good) }, body, 401},
		"one byte changed": {func(r *http.Request) { r.Header.Set(sig, good) }, strings.Replace(body, "186", "187", 1), 401},
	} {
		b := &broker{}
		i := start(t, b)
		r := request(t, c.body)
		c.set(r)
		response := serve(i, r)
		if response.StatusCode != c.status || (len(b.deliveries()) == 1) != (c.status == 200) {
			t.Errorf("%s: status %d, %d kept", name, response.StatusCode, len(b.deliveries()))
		}
		if n, _ := i.Depth(); n != 0 {
			t.Errorf("%s: %d in the spool", name, n)
		}
		if c.status == 401 {
			errorBody(t, name, response, "signature_invalid")
		}
	}
}

func TestCorrelation(t *testing.T) {
	t.Parallel()
	b := &broker{}
	i := start(t, b)
	for _, c := range []struct {
		ids  []string
		kept bool
	}{
		{[]string{"req-1.a:b_C"}, true},
		{[]string{strings.Repeat("a", 128)}, true},
		{nil, false},
		{[]string{""}, false},
		{[]string{strings.Repeat("a", 129)}, false},
		{[]string{"a b"}, false},
		{[]string{"a\"b"}, false},
		{[]string{"é"}, false},
		{[]string{"a", "b"}, false},
	} {
		r := request(t, `{"id":1}`)
		r.Header["X-Correlation-Id"] = c.ids
		got := serve(i, r).Header.Get("X-Correlation-Id")
		if _, err := uuid.Parse(got); c.kept && got != c.ids[0] || !c.kept && err != nil {
			t.Errorf("%q: answered %q", c.ids, got)
		}
		all := b.deliveries()
		if stored := all[len(all)-1].Request; stored != got {
			t.Errorf("%q: answered %q, stored %q", c.ids, got, stored)
		}
	}
}

func TestTraceparent(t *testing.T) {
	t.Parallel()
	b := &broker{}
	i := start(t, b)
	seen, law := map[string]bool{}, regexp.MustCompile(`^00-[0-9a-f]{32}-[0-9a-f]{16}-01$`)
	zero := strings.Repeat("0", 32)
	for _, bad := range []string{
		"", "x", "00-" + zero + "-00f067aa0ba902b7-01", "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
		"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
	} {
		r := request(t, `{"id":1}`)
		r.Header.Set("Traceparent", bad)
		serve(i, r)
		all := b.deliveries()
		got := all[len(all)-1].Traceparent
		if got == bad || !law.MatchString(got) || seen[got] {
			t.Errorf("%q: trace %q", bad, got)
		}
		seen[got] = true
	}
}

func TestKey(t *testing.T) {
	t.Parallel()
	panics := func(string, http.Header, []byte) string { panic("adapter") }
	for name, c := range map[string]struct {
		body, want string
		change     func(*producer.Webhook)
	}{
		"entity":     {`{"id":5}`, "shop/uk:5", nil},
		"batch":      {`[{"id":5}]`, "shop/uk", nil},
		"unreadable": {`{"id":`, "shop/uk", nil},
		"no key":     {`{"id":5}`, "shop/uk", func(w *producer.Webhook) { w.Key = nil }},
		"panic":      {`{"id":5}`, "shop/uk", func(w *producer.Webhook) { w.Key = panics }},
		"too long": {`{"id":5}`, "shop/uk", func(w *producer.Webhook) {
			w.Key = func(string, http.Header, []byte) string { return strings.Repeat("k", 201) }
		}},
		"not printable": {`{"id":5}`, "shop/uk", func(w *producer.Webhook) {
			w.Key = func(string, http.Header, []byte) string { return "a\nb" }
		}},
	} {
		b := &broker{}
		i := start(t, b, func(o *intake.Options) {
			if c.change != nil {
				o.Adapters = []producer.Adapter{shop(c.change)}
			}
		})
		post(t, i, c.body)
		if got := b.deliveries()[0].Key; got != c.want {
			t.Errorf("%s: key %q, want %q", name, got, c.want)
		}
	}
}

// Trouble of our own is a 503, never the sender's fault.
func TestVerify_trouble(t *testing.T) {
	t.Parallel()
	for name, verify := range map[string]producer.Verify{
		"error": func(producer.Request) error { return errors.New("no keys") },
		"panic": func(producer.Request) error { panic("adapter") },
	} {
		b := &broker{}
		i := start(t, b, func(o *intake.Options) {
			o.Adapters = []producer.Adapter{shop(func(w *producer.Webhook) { w.Verify = verify })}
		})
		response := serve(i, request(t, `{"id":1}`))
		if response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "" || len(b.deliveries()) != 0 {
			t.Errorf("%s: status %d, header %v", name, response.StatusCode, response.Header)
		}
		errorBody(t, name, response, "unavailable")
	}
}

func TestAnswer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		answer producer.Answer
		status int
		body   string
	}{
		{producer.Answer{Status: 204}, 204, ""},
		{producer.Answer{Body: "[accepted]"}, 200, "[accepted]"},
		{producer.Answer{Status: 202, Body: "ok"}, 202, "ok"},
	} {
		i := start(t, &broker{}, func(o *intake.Options) {
			o.Adapters = []producer.Adapter{shop(func(w *producer.Webhook) { w.Answer = c.answer })}
		})
		response := serve(i, request(t, `{"id":1}`))
		body, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != c.status || string(body) != c.body {
			t.Errorf("%+v: %d %q %v", c.answer, response.StatusCode, body, err)
		}
	}
}

func TestNew_refusals(t *testing.T) {
	t.Parallel()
	uk := event.Instance{System: "shop", Name: "uk"}
	for want, change := range map[string]func(*intake.Options){
		"want a secret":     func(o *intake.Options) { o.Instances = []intake.Instance{{Instance: uk}} },
		"a secret is empty": func(o *intake.Options) { o.Instances = []intake.Instance{{Instance: uk, Secrets: [][]byte{{}}}} },
		"may carry a credential": func(o *intake.Options) {
			o.Adapters = []producer.Adapter{shop(func(w *producer.Webhook) { w.Keep = []string{sig} })}
		},
		"want a way to publish": func(o *intake.Options) { o.Publish = nil },
		"want at most 3014656":  func(o *intake.Options) { o.MaxBody = 3 << 20 },
		"opening the spool":     func(o *intake.Options) { o.SpoolPath = filepath.Join("receive_test.go", "no folder", "spool.db") },
	} {
		o := intake.Options{
			Adapters: []producer.Adapter{shop()}, Instances: instances(), Publish: (&broker{}).Publish, SpoolPath: filepath.Join(t.TempDir(), "spool.db"),
		}
		change(&o)
		if i, err := intake.New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v, %v", want, i, err)
		}
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	reader := sdk.NewManualReader()
	b := &broker{}
	i := start(t, b, func(o *intake.Options) { o.Meter = sdk.NewMeterProvider(sdk.WithReader(reader)).Meter("test") })
	post(t, i, `{"id":1}`)
	bad := request(t, `{"id":1}`)
	bad.Header.Del(sig)
	serve(i, bad)
	unknown := request(t, `{"id":1}`)
	unknown.URL.Path = "/webhooks/made/up"
	serve(i, unknown)
	b.set(away)
	post(t, i, `{"id":1}`)
	post(t, i, `{"id":1}`)
	var got metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &got); err != nil {
		t.Fatal(err)
	}
	counts := map[string]int64{}
	for _, m := range got.ScopeMetrics[0].Metrics {
		switch data := m.Data.(type) {
		case metricdata.Sum[int64]:
			for _, p := range data.DataPoints {
				value := func(key attribute.Key) string { v, _ := p.Attributes.Value(key); return v.AsString() }
				counts[m.Name+" "+value("system")+"/"+value("instance")+" "+value("outcome")] = p.Value
			}
		case metricdata.Gauge[int64]:
			counts[m.Name] = data.DataPoints[0].Value
		case metricdata.Histogram[float64]:
			counts[m.Name] = int64(data.DataPoints[0].Count)
		}
	}
	_, size := i.Depth()
	want := map[string]int64{
		"spine_deliveries_total shop/uk accepted": 1, "spine_deliveries_total shop/uk signature_invalid": 1,
		"spine_deliveries_total / not_found": 1, "spine_deliveries_total shop/uk spooled": 2,
		"spine_spool_records": 2, "spine_spool_bytes": size, "spine_accept_duration_seconds": 3,
	}
	if diff := cmp.Diff(want, counts); diff != "" || size == 0 {
		t.Errorf("-want +got\n%s", diff)
	}
}
