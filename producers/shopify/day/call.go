package day

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"time"

	"github.com/eventspine/spine/pkg/producer"
)

// The notes of calls that are special. A call without a note is plain.
const (
	noteDuplicate = "duplicate delivery"
	noteSecond    = "same facts by a second delivery"
	noteUnchanged = "update without a visible change"
	noteStale     = "older snapshot after a newer one"
	noteEarly     = "before its order"
	noteNoFact    = "no fact: no money moved"
	noteTopic     = "unknown topic"
	noteCancelled = "cancelled on first sight"
	noteBurst     = "burst"
	noteSignature = "bad signature"
	noteShop      = "another shop's domain"
	noteMalformed = "malformed body"
	noteTypes     = "wrong types"
	noteTotals    = "totals do not add up"
)

// message is a webhook on its way.
type message struct {
	topic  string
	body   any           // marshalled when it is sent: a []byte goes as it is
	delay  time.Duration // on the way
	note   string
	event  string // id of the merchant's action; "" = one of its own
	secret []byte // nil = the shop's
	domain string // "" = the shop's
	expect int    // 0 = 200
	once   bool   // never sent twice
}

// send signs a message as it is now and lets it arrive after its delay.
func (p *play) send(st *stage, at time.Duration, m message) {
	body, isRaw := m.body.([]byte)
	if !isRaw {
		var err error
		if body, err = json.Marshal(m.body); err != nil {
			return // structs of strings and numbers are always JSON
		}
	}
	if m.event == "" {
		m.event = p.uuid()
	}
	if m.secret == nil {
		m.secret = st.Secret
	}
	if m.domain == "" {
		m.domain = st.Instance.ShopDomain
	}
	if m.expect == 0 {
		m.expect = http.StatusOK
	}
	triggered := clock(at + time.Duration(p.rand.Int64N(int64(time.Millisecond))))
	h := http.Header{}
	h.Set("X-Shopify-Webhook-Id", p.uuid())
	for name, value := range map[string]string{
		"X-Shopify-Topic": m.topic, "X-Shopify-Shop-Domain": m.domain, "X-Shopify-Event-Id": m.event, "X-Shopify-API-Version": "2026-01",
		"X-Shopify-Triggered-At": triggered.Format(time.RFC3339Nano), "X-Shopify-Hmac-Sha256": producer.SignHMACSHA256(m.secret, body, producer.Base64),
		"Content-Type": "application/json", "User-Agent": "Shopify-Captain-Hook",
	} {
		h.Set(name, value)
	}
	call := producer.Call{Instance: st.Instance.String(), Header: h, Body: body, Expect: m.expect, Note: m.note}
	p.push(step{at: at + m.delay, call: call})
	if m.expect == http.StatusOK && !m.once && p.chance(3) {
		call.Header, call.Note = maps.Clone(h), noteDuplicate
		p.push(step{at: at + m.delay + p.between(time.Second, 90*time.Second), call: call})
	}
}

func (p *play) uuid() string {
	hi, lo := p.rand.Uint64(), p.rand.Uint64()
	return fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", hi>>32, hi>>16&0xffff, hi&0xfff, lo>>52, lo&0xffffffffffff)
}

// noise is what comes beside the orders: what is refused, what cannot be read, and
// what nobody asked for.
func (p *play) noise(st *stage, at time.Duration) {
	s := p.sell(st, at, false)
	s.FinancialStatus = "paid"
	create := message{topic: "orders/create", body: &s.wireOrder, note: noteSignature, expect: http.StatusUnauthorized}

	wrong := create
	wrong.secret = []byte("not the shop's secret")
	p.send(st, at, wrong)

	other := create
	other.domain, other.note = "another-shop.myshopify.com", noteShop
	if st.Instance.ShopDomain != "" {
		p.send(st, at+time.Second, other)
	}

	p.send(st, at+2*time.Second, message{topic: "orders/create", body: []byte(`{"id": 5001, "name": "#1`), note: noteMalformed, once: true})
	types := fmt.Sprintf(`{"id": %d, "name": "#%d", "line_items": "three", "updated_at": "yesterday"}`, p.id(), s.OrderNumber)
	p.send(st, at+3*time.Second, message{topic: "orders/updated", body: []byte(types), note: noteTypes, once: true})
	p.send(st, at+4*time.Second, message{topic: "products/update", body: map[string]any{"id": variantID(0), "title": catalogue()[0].title}, note: noteTopic})

	off := p.sell(st, at, false)
	off.TotalPriceSet = off.set(off.total.plus(off.of(1)))
	p.send(st, at+5*time.Second, message{topic: "orders/create", body: &off.wireOrder, note: noteTotals, once: true})
}
