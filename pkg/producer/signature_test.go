package producer_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/producer"
)

const sigHeader = "X-Signature-Test"

func TestHMACSHA256(t *testing.T) {
	t.Parallel()
	body, old, now := []byte(`{"id": 1}`), []byte("old secret"), []byte("new secret")
	sign := func(secret []byte) string { return producer.SignHMACSHA256(secret, body, producer.Base64) }
	good := sign(now)
	raw, err := base64.StdEncoding.DecodeString(good)
	if err != nil {
		t.Fatal(err)
	}
	// The last character of 32 bytes in base64 holds two unused bits.
	alphabet := "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	loose := good[:42] + string(alphabet[strings.IndexByte(alphabet, good[42])|1]) + "="
	for name, c := range map[string]struct {
		header  []string
		body    string
		secrets [][]byte
		ok      bool
	}{
		"current secret":      {[]string{good}, string(body), [][]byte{now, old}, true},
		"previous secret":     {[]string{sign(old)}, string(body), [][]byte{now, old}, true},
		"after the rotation":  {[]string{sign(old)}, string(body), [][]byte{now}, false},
		"another secret":      {[]string{sign([]byte("third"))}, string(body), [][]byte{now, old}, false},
		"no secret":           {[]string{good}, string(body), nil, false},
		"empty secret":        {[]string{sign(nil)}, string(body), [][]byte{{}}, false},
		"missing":             {nil, string(body), [][]byte{now}, false},
		"empty":               {[]string{""}, string(body), [][]byte{now}, false},
		"twice":               {[]string{good, good}, string(body), [][]byte{now}, false},
		"truncated text":      {[]string{good[:20]}, string(body), [][]byte{now}, false},
		"truncated mac":       {[]string{base64.StdEncoding.EncodeToString(raw[:31])}, string(body), [][]byte{now}, false},
		"longer mac":          {[]string{base64.StdEncoding.EncodeToString(append(raw[:32:32], 0))}, string(body), [][]byte{now}, false},
		"hex instead":         {[]string{hex.EncodeToString(raw)}, string(body), [][]byte{now}, false},
		"base64 of base64":    {[]string{base64.StdEncoding.EncodeToString([]byte(good))}, string(body), [][]byte{now}, false},
		"without padding":     {[]string{strings.TrimRight(good, "=")}, string(body), [][]byte{now}, false},
		"line break":          {[]string{good[:10] + "\n" + good[10:]}, string(body), [][]byte{now}, false},
		"unused bits set":     {[]string{loose}, string(body), [][]byte{now}, false},
		"space around":        {[]string{" " + good}, string(body), [][]byte{now}, false},
		"body of another day": {[]string{good}, `{"id": 2}`, [][]byte{now}, false},
		"body written again":  {[]string{good}, `{"id":1}`, [][]byte{now}, false},
	} {
		err := producer.HMACSHA256(sigHeader, producer.Base64)(producer.Request{
			Secrets: c.secrets, Header: http.Header{http.CanonicalHeaderKey(sigHeader): c.header}, Body: []byte(c.body),
		})
		if c.ok != (err == nil) || err != nil && !errors.Is(err, producer.ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHMACSHA256_hex(t *testing.T) {
	t.Parallel()
	body, secret := []byte("body"), [][]byte{[]byte("secret")}
	good := producer.SignHMACSHA256(secret[0], body, producer.Hex)
	for text, ok := range map[string]bool{good: true, strings.ToUpper(good): false, good[:62]: false, good + "00": false, "": false} {
		err := producer.HMACSHA256(sigHeader, producer.Hex)(producer.Request{
			Secrets: secret, Header: http.Header{http.CanonicalHeaderKey(sigHeader): {text}}, Body: body,
		})
		if ok != (err == nil) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// Every changed byte and every changed bit of the signature is refused.
func TestHMACSHA256_changes(t *testing.T) {
	t.Parallel()
	body, secret := []byte(`{"id":820982911946154508,"total_price":"186.90"}`), []byte("s")
	good := producer.SignHMACSHA256(secret, body, producer.Base64)
	check := func(sig string, body []byte) error {
		return producer.HMACSHA256(sigHeader, producer.Base64)(producer.Request{
			Secrets: [][]byte{secret}, Header: http.Header{http.CanonicalHeaderKey(sigHeader): {sig}}, Body: body,
		})
	}
	if err := check(good, body); err != nil {
		t.Fatal(err)
	}
	for i := range body {
		changed := append([]byte(nil), body...)
		changed[i] ^= 1
		if check(good, changed) == nil {
			t.Errorf("byte %d of the body changed: accepted", i)
		}
	}
	for i := range len(good) * 8 {
		changed := []byte(good)
		changed[i/8] ^= 1 << (i % 8)
		if check(string(changed), body) == nil {
			t.Errorf("bit %d of the signature changed: accepted", i)
		}
	}
}

// The vendor's own library accepts these signatures.
func TestHMACSHA256_shopifyVectors(t *testing.T) {
	t.Parallel()
	folder := fixtures(t, "shopify")
	raw, err := os.ReadFile(filepath.Join(folder, "signature_vectors.json"))
	if err != nil {
		t.Skipf("no signature vectors: %v", err)
	}
	var vectors []struct {
		BodyFile string `json:"body_file"`
		Secret   string
		Headers  map[string]string
		Variant  map[string]string `json:"events_headers_variant"`
		Valid    bool              `json:"expect_valid"`
	}
	if err := json.Unmarshal(raw, &vectors); err != nil || len(vectors) == 0 {
		t.Fatalf("reading the vectors: %v", err)
	}
	for _, v := range vectors {
		body, err := os.ReadFile(filepath.Join(folder, v.BodyFile))
		if err != nil {
			t.Fatal(err)
		}
		for header, from := range map[string]map[string]string{"X-Shopify-Hmac-Sha256": v.Headers, "Shopify-Hmac-Sha256": v.Variant} {
			h := http.Header{}
			for name, value := range from {
				h.Set(name, value)
			}
			r := producer.Request{Secrets: [][]byte{[]byte(v.Secret)}, Header: h, Body: body}
			if err := producer.HMACSHA256(header, producer.Base64)(r); (err == nil) != v.Valid {
				t.Errorf("%s of %s: %v, want valid=%v", header, v.BodyFile, err, v.Valid)
			}
			r.Body = append(body[:len(body):len(body)], ' ')
			if producer.HMACSHA256(header, producer.Base64)(r) == nil {
				t.Errorf("%s: a longer body is accepted", header)
			}
		}
	}
}

// fixtures is the folder of real payloads of a system, which lies beside the
// repository on machines that have them.
func fixtures(t *testing.T, system string) string {
	t.Helper()
	folder, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			return filepath.Join(folder, "..", "shared", "fixtures", system)
		}
		parent := filepath.Dir(folder)
		if parent == folder {
			t.Fatal("go.mod not found above the working folder")
		}
		folder = parent
	}
}

func TestAll_and_HeaderIs(t *testing.T) {
	t.Parallel()
	domain := func(i event.Instance) string { return i.ShopDomain }
	verify := producer.All(producer.HMACSHA256(sigHeader, producer.Base64), producer.HeaderIs("X-Shop", domain))
	body, secret := []byte("{}"), []byte("s")
	for name, c := range map[string]struct {
		setting, shop, sig string
		ok                 bool
	}{
		"the shop":       {"uk.myshopify.com", "uk.myshopify.com", producer.SignHMACSHA256(secret, body, producer.Base64), true},
		"letter case":    {"uk.myshopify.com", "UK.myshopify.com", producer.SignHMACSHA256(secret, body, producer.Base64), true},
		"not configured": {"", "us.myshopify.com", producer.SignHMACSHA256(secret, body, producer.Base64), true},
		"another shop":   {"uk.myshopify.com", "us.myshopify.com", producer.SignHMACSHA256(secret, body, producer.Base64), false},
		"no header":      {"uk.myshopify.com", "", producer.SignHMACSHA256(secret, body, producer.Base64), false},
		"bad signature":  {"uk.myshopify.com", "uk.myshopify.com", "", false},
	} {
		h := http.Header{}
		h.Set(sigHeader, c.sig)
		if c.shop != "" {
			h.Set("X-Shop", c.shop)
		}
		err := verify(producer.Request{Instance: event.Instance{ShopDomain: c.setting}, Secrets: [][]byte{secret}, Header: h, Body: body})
		if c.ok != (err == nil) || err != nil && !errors.Is(err, producer.ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHeader(t *testing.T) {
	t.Parallel()
	h := http.Header{"X-Topic": {"orders/create"}, "X-Two": {"a", "b"}}
	look := func(name string) string { return producer.Header(name)(h, nil) }
	if look("x-topic") != "orders/create" || look("X-Two") != "" || look("X-None") != "" {
		t.Errorf("got %q, %q, %q", look("x-topic"), look("X-Two"), look("X-None"))
	}
}

func TestCredential(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"Authorization", "proxy-authorization", "Cookie", "Set-Cookie", "X-Shopify-Hmac-Sha256", "X-WC-Webhook-Signature", "X-Api-Key", "X-Auth-Token"} {
		if !producer.Credential(name) {
			t.Errorf("%s is taken for harmless", name)
		}
	}
	for _, name := range []string{"X-Shopify-Topic", "X-Shopify-Webhook-Id", "X-Shopify-Triggered-At", "Content-Type"} {
		if producer.Credential(name) {
			t.Errorf("%s is taken for a credential", name)
		}
	}
}
