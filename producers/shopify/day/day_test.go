package day_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/producer"
	"github.com/eventspine/spine/producers/shopify/day"
)

func shops() []producer.Shop {
	var shops []producer.Shop
	for _, in := range day.New().Instances {
		shops = append(shops, producer.Shop{Instance: in, Secret: []byte("secret of " + in.Name)})
	}
	return shops
}

// Every call is a request that a receiver answers as the call expects.
func TestCalls_areSigned(t *testing.T) {
	t.Parallel()
	verify := producer.HMACSHA256("X-Shopify-Hmac-Sha256", producer.Base64)
	byName := map[string]producer.Shop{}
	for _, s := range shops() {
		byName[s.Instance.String()] = s
	}
	last := time.Duration(0)
	for call := range day.New().Calls(7, 200, shops()) {
		shop := byName[call.Instance]
		err := verify(producer.Request{Instance: shop.Instance, Secrets: [][]byte{shop.Secret}, Header: call.Header, Body: call.Body})
		ours := call.Header.Get("X-Shopify-Shop-Domain") == shop.Instance.ShopDomain
		if accepted := err == nil && ours; accepted != (call.Expect == http.StatusOK) {
			t.Errorf("%s %s: expects %d; signature: %v, own domain: %v", call.Header.Get("X-Shopify-Topic"), call.Note, call.Expect, err, ours)
		}
		if err != nil && !errors.Is(err, producer.ErrSignature) {
			t.Errorf("signature: %v", err)
		}
		if call.After < last {
			t.Fatalf("%s after %s", call.After, last)
		}
		last = call.After
	}
}

// A day holds what a demo wants to show.
func TestCalls_showEverything(t *testing.T) {
	t.Parallel()
	topics, notes, created := map[string]int{}, map[string]int{}, 0
	for call := range day.New().Calls(2, 700, shops()) {
		topics[call.Header.Get("X-Shopify-Topic")]++
		notes[call.Note]++
		if call.Header.Get("X-Shopify-Topic") == "orders/create" && call.Expect == http.StatusOK && call.Note != "duplicate delivery" {
			created++
		}
	}
	for _, topic := range []string{
		"orders/create", "orders/updated", "orders/paid", "orders/cancelled", "orders/edited", "order_transactions/create", "refunds/create", "products/update",
	} {
		if topics[topic] == 0 {
			t.Errorf("no %s", topic)
		}
	}
	for _, note := range []string{
		"duplicate delivery", "same facts by a second delivery", "update without a visible change", "older snapshot after a newer one", "before its order",
		"no fact: no money moved", "unknown topic", "cancelled on first sight", "burst", "bad signature", "another shop's domain", "malformed body",
		"wrong types", "totals do not add up",
	} {
		if notes[note] == 0 {
			t.Errorf("no call is noted %q: %v", note, notes)
		}
	}
	if created < 690 || created > 710 {
		t.Errorf("%d orders created, want about 700", created)
	}
}

// The same seed gives the same bytes, another seed another day with other ids.
func TestCalls_areDeterministic(t *testing.T) {
	t.Parallel()
	play := func(seed uint64) (all []producer.Call) {
		for call := range day.New().Calls(seed, 60, shops()) {
			all = append(all, call)
		}
		return all
	}
	first := play(3)
	if diff := cmp.Diff(first, play(3)); diff != "" {
		t.Errorf("the same seed differs: %s", diff)
	}
	ids := map[string]bool{}
	for _, call := range first {
		ids[orderID(call.Body)] = true
	}
	for _, call := range play(4) {
		if id := orderID(call.Body); ids[id] && call.Header.Get("X-Shopify-Topic") == "orders/create" && json.Valid(call.Body) {
			t.Fatalf("order %s is in both days", id)
		}
	}
}

func orderID(body []byte) string {
	var o struct{ ID json.Number }
	if json.Unmarshal(body, &o) != nil {
		return ""
	}
	return o.ID.String()
}

// A reader may stop at any time, and shops that cannot trade are left out.
func TestCalls_edges(t *testing.T) {
	t.Parallel()
	n := 0
	for range day.New().Calls(1, 100, shops()) {
		if n++; n == 5 {
			break
		}
	}
	nowhere := []producer.Shop{{Instance: event.Instance{System: "shopify", Name: "x", BaseCurrency: "XXX"}}}
	for call := range day.New().Calls(1, 100, nowhere) {
		t.Fatalf("a shop without a currency sells: %s", call.Note)
	}
	for range day.New().Calls(1, 0, shops()) {
		t.Fatal("no orders make calls")
	}
	elsewhere := []producer.Shop{{Instance: event.Instance{System: "shopify", Name: "jp", BaseCurrency: "JPY", TimeZone: "Asia/Tokyo"}, Secret: []byte("s")}}
	n = 0
	for range day.New().Calls(1, 100, elsewhere) {
		n++
	}
	if n < 200 {
		t.Errorf("%d calls of another shop, want more", n)
	}
}

func ExampleNew() {
	for _, in := range day.New().Instances {
		fmt.Println(in, in.BaseCurrency, in.TimeZone)
	}
	// Output:
	// shopify/uk GBP Europe/London
	// shopify/us USD America/New_York
}
