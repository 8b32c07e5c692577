package producertest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/money"
	"github.com/eventspine/spine/pkg/producer"
	"github.com/eventspine/spine/pkg/producer/producertest"
	"github.com/eventspine/spine/schemas/common"
	"github.com/eventspine/spine/schemas/order"
	"github.com/eventspine/spine/schemas/payment"
	"github.com/eventspine/spine/schemas/refund"
)

// sale is what a till says of a sale, all of it each time.
type sale struct {
	ID        string        `json:"id" spine:"required"`
	PaidAt    time.Time     `json:"paid_at" spine:"required"`
	UpdatedAt time.Time     `json:"updated_at" spine:"required"`
	Amount    money.Decimal `json:"amount" spine:"required"`
	VoidedAt  *time.Time    `json:"voided_at"`
	Clerk     *clerk        `json:"clerk"`
}

type clerk struct {
	Name string `json:"name"`
}

// returned is one refund at a till.
type returned struct {
	ID     string        `json:"id" spine:"required"`
	SaleID string        `json:"sale_id" spine:"required"`
	At     time.Time     `json:"at" spine:"required"`
	Amount money.Decimal `json:"amount" spine:"required"`
}

const signature = "X-Till-Signature"

func ref(d producer.Delivery, id string) common.Ref {
	return common.Ref{System: "till", Instance: d.Instance.Name, Object: "order", ID: id}
}

func bounded(d money.Decimal) error {
	if _, err := d.Units(4); err != nil || d.Sign() < 0 {
		return &producer.DecodeError{Path: "amount", Want: "an amount"}
	}
	return nil
}

func saleFacts(d producer.Delivery, before *sale, after sale) (list []event.New, err error) {
	if err := bounded(after.Amount); err != nil {
		return nil, err
	}
	if before == nil {
		order := ref(d, after.ID)
		list = append(list, event.New{Entity: after.ID, At: after.PaidAt, Fact: payment.ReceivedV1{
			PaymentID: after.ID, CaptureSeq: 1, OrderRef: &order, Amount: after.Amount, Currency: "GBP", ReceivedAt: after.PaidAt, Method: "cash", Processor: "till",
		}})
	}
	if after.VoidedAt != nil && (before == nil || before.VoidedAt == nil) {
		list = append(list, event.New{Entity: after.ID, Discriminator: "ALL", At: *after.VoidedAt, Fact: order.CancelledV1{
			OrderRef: ref(d, after.ID), OrderNumber: after.ID, CancelledAt: *after.VoidedAt, Scope: order.CancelledV1ScopeAll, Currency: "GBP",
			Reason: order.CancelledV1ReasonUnknown, StageAtCancel: order.CancelledV1StageUnknown,
		}})
	}
	return list, nil
}

func returnFacts(d producer.Delivery, r returned) ([]event.New, error) {
	if err := bounded(r.Amount); err != nil || r.ID == "" {
		return nil, errors.Join(err, &producer.DecodeError{Path: "id", Want: "an id"})
	}
	return []event.New{{Entity: r.ID, At: r.At, Key: event.Key(d.Instance.String(), r.SaleID), Fact: refund.IssuedV1{
		RefundID: r.ID, OrderRef: ref(d, r.SaleID), IssuedAt: r.At, Currency: "GBP", Amount: r.Amount,
	}}}, nil
}

func version(_ producer.Delivery, s sale) producer.Version {
	return producer.Version{Source: s.UpdatedAt, Terminal: s.VoidedAt != nil}
}

type saleFunc = func(producer.Delivery, *sale, sale) ([]event.New, error)

func sales(facts saleFunc, version func(producer.Delivery, sale) producer.Version) producer.Object {
	return producer.Snapshot("sale", "sale", func(s sale) string { return s.ID }, version, facts, payment.ReceivedV1{}, order.CancelledV1{})
}

// till is an adapter that keeps all laws.
func till() producer.Adapter {
	in := event.Instance{System: "till", Name: "uk"}
	return producer.Adapter{
		System: "till",
		Webhooks: []producer.Webhook{{
			Verify: producer.HMACSHA256(signature, producer.Hex), Kind: producer.Header("X-Kind"), Keep: []string{"X-Kind"},
			Key: func(kind string, h http.Header, body []byte) string {
				if kind == "return" {
					return producer.JSONField("sale_id")(h, body)
				}
				return producer.JSONField("id")(h, body)
			},
		}},
		Objects: []producer.Object{sales(saleFacts, version), producer.Report("return", returnFacts, refund.IssuedV1{})},
		Day:     producer.Day{Instances: []event.Instance{in}, Calls: calls},
	}
}

func calls(_ uint64, orders int, shops []producer.Shop) iter.Seq[producer.Call] {
	start := time.Date(2026, 3, 14, 9, 0, 0, 0, time.UTC)
	return func(yield func(producer.Call) bool) {
		send := func(after time.Duration, kind string, body any, secret []byte, expect int) bool {
			raw, err := json.Marshal(body)
			if err != nil {
				panic(err)
			}
			h := http.Header{}
			h.Set("X-Kind", kind)
			h.Set(signature, producer.SignHMACSHA256(secret, raw, producer.Hex))
			return yield(producer.Call{After: after, Instance: shops[0].Instance.String(), Header: h, Body: raw, Expect: expect})
		}
		for i := range min(orders, 6) {
			at := time.Duration(i) * time.Minute
			voided := start.Add(at + time.Hour)
			s := sale{ID: strconv.Itoa(5001 + i), PaidAt: start.Add(at), UpdatedAt: start.Add(at), Amount: money.FromUnits(1050, 2), Clerk: &clerk{"Ada"}}
			later, end := s, s
			later.UpdatedAt = s.UpdatedAt.Add(time.Minute)
			end.UpdatedAt, end.VoidedAt = voided, &voided
			back := returned{ID: "r" + s.ID, SaleID: s.ID, At: voided, Amount: s.Amount}
			if !send(at, "sale", s, shops[0].Secret, 200) || !send(at, "sale", end, shops[0].Secret, 200) || !send(at, "sale", later, shops[0].Secret, 200) ||
				!send(at, "return", back, shops[0].Secret, 200) || !send(at, "sale", s, []byte("wrong secret"), 401) {
				return
			}
		}
	}
}

func TestRun_ofAGoodAdapter(t *testing.T) {
	t.Parallel()
	producertest.Run(t, till(), producertest.Options{Samples: []producertest.Sample{{
		Name: "one", Kind: "return", Instance: event.Instance{System: "till", Name: "uk"}, Body: []byte(`{"id":"r1","sale_id":"1","at":"2026-03-14T11:20:00Z","amount":"1.00"}`),
	}}})
}

// Each mistake is found by the law that forbids it.
func TestFindings_ofBadAdapters(t *testing.T) {
	t.Parallel()
	verify := func(v producer.Verify) func(*producer.Adapter) {
		return func(a *producer.Adapter) { a.Webhooks[0].Verify = v }
	}
	sold := func(facts saleFunc) func(*producer.Adapter) {
		return func(a *producer.Adapter) { a.Objects[0] = sales(facts, version) }
	}
	// each changes the facts of a sale that keeps the laws.
	each := func(change func(d producer.Delivery, s sale, n *event.New)) func(*producer.Adapter) {
		return sold(func(d producer.Delivery, before *sale, after sale) ([]event.New, error) {
			list, err := saleFacts(d, before, after)
			for i := range list {
				change(d, after, &list[i])
			}
			return list, err
		})
	}
	good := producer.HMACSHA256(signature, producer.Hex)
	told := map[string]int{}
	for name, c := range map[string]struct {
		plant func(*producer.Adapter)
		want  string
	}{
		"accepts all":       {verify(func(producer.Request) error { return nil }), "signatures: call 1 of the day : accepted"},
		"compares no case":  {verify(func(r producer.Request) error { return good(lower(r)) }), "is in capitals"},
		"knows no rotation": {verify(func(r producer.Request) error { r.Secrets = r.Secrets[:min(1, len(r.Secrets))]; return good(r) }), "signed with the previous secret, and refused"},
		"takes the first":   {verify(func(r producer.Request) error { return good(single(r)) }), "stands there twice"},
		"signs a part":      {verify(signsHalf), "signed is refused"},
		"reads before":      {verify(func(r producer.Request) error { _ = r.Header[signature][0]; return good(r) }), "panics"},
		"has no error type": {verify(func(r producer.Request) error { return bare(good(r)) }), "is not producer.ErrSignature"},
		"remembers": {sold(func(d producer.Delivery, before *sale, after sale) ([]event.New, error) {
			told[after.ID]++
			if told[after.ID] > 1 {
				return nil, nil
			}
			return saleFacts(d, before, after)
		}), "determinism: "},
		"dates by arrival":    {each(func(d producer.Delivery, _ sale, n *event.New) { n.At = d.ReceivedAt }), "comes later, with another id"},
		"reads other headers": {each(func(d producer.Delivery, _ sale, n *event.New) { n.Discriminator += d.Header.Get("X-Request-Id") }), "comes with headers of its own"},
		"tells it again":      {sold(func(d producer.Delivery, _ *sale, after sale) ([]event.New, error) { return saleFacts(d, nil, after) }), "the identical snapshot"},
		"needs a transition": {sold(func(d producer.Delivery, before *sale, after sale) ([]event.New, error) {
			list, err := saleFacts(d, before, after)
			if before == nil {
				return list[:min(1, len(list))], err
			}
			return list, err
		}), "not as the first of its object"},
		"forgets the past": {sold(func(d producer.Delivery, before *sale, after sale) ([]event.New, error) {
			list, err := saleFacts(d, before, after)
			if err == nil && before == nil && after.VoidedAt != nil {
				list = list[1:]
			}
			return list, err
		}), "which happens once and was told before"},
		"flickers": {sold(func(d producer.Delivery, before *sale, after sale) ([]event.New, error) {
			list, err := saleFacts(d, before, after)
			if err != nil || before != nil {
				return list, err
			}
			if list[0].Discriminator = "again"; after.VoidedAt == nil && after.UpdatedAt.After(after.PaidAt) {
				list = list[1:]
			}
			return list, nil
		}), "as long as s shows it"},
		"dates by change": {each(func(_ producer.Delivery, s sale, n *event.New) { n.At = s.UpdatedAt }), "its id depends on which snapshot shows it first"},
		"versions by arrival": {func(a *producer.Adapter) {
			a.Objects[0] = sales(saleFacts, func(d producer.Delivery, _ sale) producer.Version { return producer.Version{Source: d.ReceivedAt} })
		}, "depends on when it arrives"},
		"has no version": {func(a *producer.Adapter) {
			a.Objects[0] = sales(saleFacts, func(producer.Delivery, sale) producer.Version { return producer.Version{} })
		}, "has no version"},
		"emits what it likes": {each(func(_ producer.Delivery, _ sale, n *event.New) { n.Fact = refund.IssuedV1{RefundID: "r"} }), "which its object does not declare"},
		"leaves its key":      {each(func(_ producer.Delivery, s sale, n *event.New) { n.Key = "till/uk:x" + s.ID }), "the order between them is lost"},
		"cannot be written": {each(func(_ producer.Delivery, _ sale, n *event.New) {
			if p, ok := n.Fact.(payment.ReceivedV1); ok {
				p.Amount = money.FromUnits(1, 9)
				n.Fact = p
			}
		}), "facts: "},
		"follows null": {each(func(_ producer.Delivery, s sale, _ *event.New) { _ = s.Clerk.Name }), "panics"},
		"tells nothing": {func(a *producer.Adapter) {
			a.Objects[1] = producer.Report("return", func(producer.Delivery, returned) ([]event.New, error) { return nil, nil }, refund.IssuedV1{})
		}, "nothing emits refund.issued.v1"},
		"quotes": {sold(func(d producer.Delivery, before *sale, after sale) ([]event.New, error) {
			if _, err := strconv.Atoi(after.ID); err != nil {
				return nil, &producer.DecodeError{Path: "id", Want: "a number, got " + after.ID}
			}
			return saleFacts(d, before, after)
		}), "the error quotes what it could not read"},
		"errs as the library does": {sold(func(d producer.Delivery, before *sale, after sale) ([]event.New, error) {
			if _, err := strconv.Atoi(after.ID); err != nil {
				return nil, fmt.Errorf("reading the id: %w", err)
			}
			return saleFacts(d, before, after)
		}), "want an error type"},
		"reads loosely": {func(a *producer.Adapter) {
			a.Objects[1].Decode = func(body []byte) (any, error) {
				r := returned{ID: "1", SaleID: "1", At: time.Unix(1, 0)}
				_ = json.Unmarshal(body, &r)
				return &r, nil
			}
		}, "malformed bodies: "},
		"has no Day":    {func(a *producer.Adapter) { a.Day = producer.Day{} }, "nothing signs a call"},
		"fails a check": {func(a *producer.Adapter) { a.System = "Till" }, "want the name of its folder"},
	} {
		t.Run(name, func(t *testing.T) {
			a := till()
			c.plant(&a)
			found := producertest.Findings(a, producertest.Options{})
			if !slices.ContainsFunc(found, func(f string) bool { return strings.Contains(f, c.want) }) {
				t.Errorf("want %q among\n%s", c.want, strings.Join(found, "\n"))
			}
		})
	}
}

// A source that proves itself by a token signs no body, and one that signs a time is
// verified at the time of its Day.
func TestOptions(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 3, 14, 9, 0, 0, 0, time.UTC)
	token := till()
	token.Webhooks[0].Verify = func(r producer.Request) error {
		if values := r.Header.Values("X-Till-Token"); len(values) != 1 || !slices.ContainsFunc(r.Secrets, func(s []byte) bool { return string(s) == values[0] }) {
			return producer.ErrSignature
		}
		return nil
	}
	token.Day.Calls = func(seed uint64, orders int, shops []producer.Shop) iter.Seq[producer.Call] {
		return func(yield func(producer.Call) bool) {
			for c := range calls(seed, orders, shops) {
				c.Header.Del(signature)
				if c.Expect == http.StatusOK {
					c.Header.Set("X-Till-Token", string(shops[0].Secret))
				}
				if !yield(c) {
					return
				}
			}
		}
	}
	timed := till()
	good := timed.Webhooks[0].Verify
	timed.Webhooks[0].Verify = func(r producer.Request) error {
		if r.Now.Before(start) || r.Now.After(start.Add(time.Hour)) {
			return producer.ErrSignature
		}
		return good(r)
	}
	for _, c := range []struct {
		adapter producer.Adapter
		options producertest.Options
		want    string // "" = nothing is found
	}{
		{token, producertest.Options{Token: true}, ""},
		{token, producertest.Options{}, "the body differs in byte 0"},
		{timed, producertest.Options{Start: start}, ""},
		{timed, producertest.Options{}, "signed is refused"},
	} {
		found := strings.Join(producertest.Findings(c.adapter, c.options), "\n")
		if c.want == "" && found != "" || !strings.Contains(found, c.want) {
			t.Errorf("want %q, found\n%s", c.want, found)
		}
	}
}

func lower(r producer.Request) producer.Request {
	r.Header = r.Header.Clone()
	for i, v := range r.Header[signature] {
		r.Header[signature][i] = strings.ToLower(v)
	}
	return r
}

func single(r producer.Request) producer.Request {
	h := http.Header{}
	h.Set(signature, r.Header.Get(signature))
	r.Header = h
	return r
}

func signsHalf(r producer.Request) error {
	r.Body = r.Body[:len(r.Body)/2]
	return producer.HMACSHA256(signature, producer.Hex)(r)
}

func bare(err error) error {
	if err != nil {
		return errors.New("no")
	}
	return nil
}
