package producertest

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/eventspine/spine/pkg/producer"
)

// signatures tries the check of the webhook on the calls of the Day.
func signatures(k *kit, r *report) {
	if len(k.Webhooks) == 0 {
		return
	}
	if len(k.calls) == 0 {
		r.add("the adapter has a webhook and no Day: nothing signs a call")
		return
	}
	tried := map[string]bool{}
	for i, c := range k.calls {
		m := matrix{kit: k, report: r, call: c, name: fmt.Sprintf("call %d of the day %s", i+1, c.Note)}
		accepted := c.Expect >= 200 && c.Expect < 300
		switch err := m.verify(m.request()); {
		case accepted && err != nil:
			r.add("%s: a call that is signed is refused: %v", m.name, err)
			continue
		case !accepted:
			if c.Expect == http.StatusUnauthorized {
				m.refused("", m.request())
			}
			continue
		}
		if kind := c.Instance + k.delivered(c).Kind; !tried[kind] {
			tried[kind] = true
			m.secrets()
			m.headers()
			if !k.options.Token {
				m.bodies()
			}
		}
	}
	if len(tried) == 0 {
		r.add("no call of the day is signed")
	}
}

// matrix is a signed call and all that must not pass for it.
type matrix struct {
	*kit
	*report
	call call
	name string
}

func (m matrix) request() producer.Request {
	now := time.Now()
	if !m.options.Start.IsZero() {
		now = m.options.Start.Add(m.call.After)
	}
	return producer.Request{
		Instance: m.call.shop.Instance, Secrets: [][]byte{m.call.shop.Secret}, Header: maps.Clone(m.call.Header), Body: m.call.Body, Now: now,
	}
}

func (m matrix) verify(r producer.Request) error {
	return calm(func() error { return m.Webhooks[0].Verify(r) })
}

// refused sees that a request is no proof of its origin. "" = as the Day signed it.
func (m matrix) refused(mutation string, r producer.Request) {
	switch err := m.verify(r); {
	case err == nil:
		m.add("%s: accepted, %s", m.name, or(mutation, "though it is signed wrong"))
	case !errors.Is(err, producer.ErrSignature):
		m.add("%s, %s: %v is not producer.ErrSignature", m.name, mutation, err)
	case bytes.Contains([]byte(err.Error()), m.call.shop.Secret):
		m.add("%s, %s: the error tells the secret", m.name, mutation)
	}
}

func or(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

func (m matrix) secrets() {
	other := []byte("another secret")
	r := m.request()
	r.Secrets = [][]byte{other, m.call.shop.Secret}
	if err := m.verify(r); err != nil {
		m.add("%s: signed with the previous secret, and refused: %v", m.name, err)
	}
	for what, secrets := range map[string][][]byte{
		"with another secret": {other}, "without a secret": nil, "with an empty secret": {{}}, "with half the secret": {m.call.shop.Secret[:4]},
	} {
		r := m.request()
		r.Secrets = secrets
		m.refused(what, r)
	}
}

// proofs are the headers without which a call is refused and that carry a signature.
func (m matrix) proofs() (names []string) {
	for _, name := range slices.Sorted(maps.Keys(m.call.Header)) {
		r := m.request()
		r.Header.Del(name)
		if producer.Credential(name) && m.verify(r) != nil {
			names = append(names, name)
		}
	}
	return names
}

func (m matrix) headers() {
	r := m.request()
	r.Header = nil
	m.refused("without headers", r)
	proofs := m.proofs()
	if len(proofs) == 0 {
		m.add("%s: accepted without any header that carries a signature", m.name)
	}
	for _, name := range proofs {
		value := m.call.Header.Get(name)
		for what, other := range mutations(value) {
			r := m.request()
			r.Header.Set(name, other)
			m.refused(name+" "+what, r)
		}
		r := m.request()
		r.Header.Del(name)
		m.refused("without "+name, r)
		r = m.request()
		r.Header[http.CanonicalHeaderKey(name)] = []string{value, value}
		m.refused(name+" stands there twice", r)
	}
}

// mutations are texts that are not the signature, by what was done to it.
func mutations(v string) map[string]string {
	all := map[string]string{
		"is empty": "", "lacks its last byte": v[:len(v)-1], "lacks its first byte": v[1:], "is cut in half": v[:len(v)/2],
		"has one byte more": v + "A", "stands there twice in one": v + v, "is zeros": strings.Repeat("0", len(v)),
	}
	for i := range v {
		other := byte('A')
		if v[i]|0x20 == 'a' {
			other = 'Q'
		}
		all[fmt.Sprintf("differs in byte %d", i)] = v[:i] + string(other) + v[i+1:]
	}
	if raw, err := base64.StdEncoding.DecodeString(v); err == nil {
		all["is in hexadecimal"] = hex.EncodeToString(raw)
		all["lacks its padding"] = strings.TrimRight(v, "=")
		all["is in the URL alphabet"] = base64.URLEncoding.EncodeToString(raw)
		all["has a line break"] = v[:len(v)/2] + "\n" + v[len(v)/2:]
	}
	if raw, err := hex.DecodeString(v); err == nil {
		all["is in base64"] = base64.StdEncoding.EncodeToString(raw)
		all["is in capitals"] = strings.ToUpper(v)
	}
	maps.DeleteFunc(all, func(_, other string) bool { return other == v })
	return all
}

// spread is how many places of a body are changed.
const spread = 64

func (m matrix) bodies() {
	body := m.call.Body
	try := func(what string, other []byte) {
		if !bytes.Equal(other, body) {
			r := m.request()
			r.Body = other
			m.refused("the body "+what, r)
		}
	}
	try("is empty", nil)
	try("has one byte more", append(slices.Clone(body), ' '))
	if len(body) == 0 {
		return
	}
	try("lacks its last byte", body[:len(body)-1])
	for i := 0; i < len(body); i += max(1, len(body)/spread) {
		other := slices.Clone(body)
		other[i] ^= 1
		try(fmt.Sprintf("differs in byte %d", i), other)
	}
	var tree any
	if json.Unmarshal(body, &tree) == nil {
		if again, err := json.MarshalIndent(tree, "", " "); err == nil {
			try("was read and written again", again)
		}
	}
}
