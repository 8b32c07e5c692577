package filter_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/eventspine/spine/pkg/app/cli"
	"github.com/eventspine/spine/pkg/app/filter"
	"github.com/eventspine/spine/pkg/app/show"
	"github.com/eventspine/spine/pkg/catalog"
)

func shown() show.Event {
	return show.Event{
		Topic: "commerce.order.events", Partition: 3, Offset: 17, Timestamp: "2026-03-14T11:20:01.000000Z", Key: "shopify/uk:5001",
		Event:   &show.Envelope{ID: "e1", Type: "order.placed.v2", Source: "shopify/uk", Subject: "order/5001", Time: "2026-03-14T11:20:00.000000Z"},
		Headers: map[string]string{"ce_type": "order.placed.v2"},
		Data:    json.RawMessage(`{"currency":"GBP","customer":"***","lines":[{"sku":"MUG","quantity":"2.0000"}],"totals":{"grand_total":"236.2500"},"count":3}`),
	}
}

func facts() (catalog.Catalog, error) {
	return catalog.Catalog{Facts: []catalog.Fact{{Fact: "order.placed.v2", Fields: []catalog.Field{
		{Path: "customer", PII: "contact"}, {Path: "customer.email", PII: "contact"}, {Path: "lines[].sku", PII: "none"}, {Path: "lines[].note", PII: "identity"},
	}}}}, nil
}

func TestMatch(t *testing.T) {
	t.Parallel()
	dead := &filter.Dead{Class: "permanent", Fingerprint: "f", Reason: "no such customer", Attempts: 3, Redriven: 1}
	for condition, want := range map[string]bool{
		`event.type == "order.placed.v2"`:                                                      true,
		`event.source.startsWith("shopify/") && partition == 3 && offset > 16`:                 true,
		`event.time < timestamp("2026-03-14T11:20:00.5Z") && timestamp > event.time`:           true,
		`key.endsWith(":5001") && topic.matches("^commerce")`:                                  true,
		`data.currency == "GBP"`:                                                               true,
		`double(data.totals.grand_total) > 200`:                                                true,
		`data.count == 3 && data.count > 2`:                                                    true,
		`data.lines.exists(l, l.sku == "MUG")`:                                                 true,
		`data.lines[0].sku == "CUP"`:                                                           false,
		`headers["ce_type"] == event.type && !("x" in headers)`:                                true,
		`class == "permanent" && attempts >= 3 && redriven < 5 && reason.contains("customer")`: true,
		`fingerprint == "g"`:                                                                   false,
	} {
		f, err := filter.Compile(condition, filter.Options{Dead: true, Facts: facts})
		if err != nil {
			t.Errorf("%s: %v", condition, err)
			continue
		}
		if got := f.Match(t.Context(), shown(), dead); got != want || f.Report() != "" {
			t.Errorf("%s: %t, want %t; %s", condition, got, want, f.Report())
		}
	}
}

// What a condition names and a record doesn't have is no match, and is counted.
func TestMatch_atRunTime(t *testing.T) {
	t.Parallel()
	for _, condition := range []string{
		`data.nothing == 1`, `headers["x"] == "y"`, `data.totals.grand_total > 5`, `data.currency`,
		`[0,1,2,3,4,5,6,7,8,9].all(a, [0,1,2,3,4,5,6,7,8,9].all(b, [0,1,2,3,4,5,6,7,8,9].all(c, [0,1,2,3,4,5,6,7,8,9].all(d, [0,1,2,3,4,5,6,7,8,9].all(e, a+b+c+d+e >= 0)))))`,
	} {
		f, err := filter.Compile(condition, filter.Options{Facts: facts})
		if err != nil {
			t.Errorf("%s: %v", condition, err)
			continue
		}
		if f.Match(t.Context(), shown(), nil) || f.Match(t.Context(), show.Event{}, nil) || !strings.Contains(f.Report(), "on 2 records") {
			t.Errorf("%s: %s", condition, f.Report())
		}
	}
}

func TestCompile_refused(t *testing.T) {
	t.Parallel()
	for condition, c := range map[string]struct {
		code int
		says []string
	}{
		`evnt.type == "x"`:              {cli.ExitUsage, []string{"line 1, column 1", "did you mean event?"}},
		`true && event.typ == "x"`:      {cli.ExitUsage, []string{"line 1, column 14", "did you mean type?"}},
		"key == 'a' &&\n  ofset == 1":   {cli.ExitUsage, []string{"line 2, column 3", "did you mean offset?"}},
		`class == "permanent"`:          {cli.ExitUsage, []string{"line 1, column 1"}},
		`key ==`:                        {cli.ExitUsage, []string{"line 1, column "}},
		`key`:                           {cli.ExitUsage, []string{"string, want true or false"}},
		`partition == "3"`:              {cli.ExitUsage, []string{"line 1, column 11"}},
		`data.customer.email == "a@b"`:  {cli.ExitRefused, []string{"data.customer.email", "contact", "order.placed.v2", "--unmask"}},
		`data["customer"] != null`:      {cli.ExitRefused, []string{"--unmask"}},
		`data.lines[0].note.size() > 1`: {cli.ExitRefused, []string{"data.lines.note", "identity"}},
	} {
		_, err := filter.Compile(condition, filter.Options{Facts: facts})
		exit, ok := cli.As[*cli.ExitError](err)
		if !ok || exit.Code != c.code {
			t.Errorf("%s: %v, want exit code %d", condition, err, c.code)
			continue
		}
		for _, text := range c.says {
			if !strings.Contains(err.Error(), text) {
				t.Errorf("%s: %v, want %q in it", condition, err, text)
			}
		}
	}
	if _, err := filter.Compile(`data.customer.email == "a@b"`, filter.Options{Facts: facts, Unmask: true}); err != nil {
		t.Errorf("with --unmask: %v", err)
	}
}
