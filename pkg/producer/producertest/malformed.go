package producertest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/eventspine/spine/pkg/producer"
)

// canary stands where something else belongs, and must show in no error.
const canary = "canary.of.ada@example.com"

// malformed feeds each object what its deliveries are not.
func malformed(k *kit, r *report) {
	for _, o := range k.Objects {
		s, found := k.richest(o)
		if !found {
			continue // the law of samples tells it
		}
		b := breaking{kit: k, report: r, delivery: s}
		b.documents()
		b.truncated()
		b.fields()
	}
}

// richest is the longest delivery of an object that tells facts.
func (k *kit) richest(o producer.Object) (best delivery, found bool) {
	for _, d := range k.sound {
		if slices.Equal(d.object.Kinds, o.Kinds) && len(d.news) > 0 && len(d.Body) > len(best.Body) {
			best, found = d, true
		}
	}
	return best, found
}

// breaking is a sound delivery that is broken in many ways.
type breaking struct {
	*kit
	*report
	delivery
}

// refused sees that a body is no document of this kind.
func (b breaking) refused(what string, body []byte) {
	if err := b.try(what, body); err == nil {
		b.add("%s: accepted: %s", b.name, what)
	}
}

// try sees that a body is refused by type or told in facts that can be published.
func (b breaking) try(what string, body []byte) error {
	d := b.delivery
	d.Body = body
	if err := calm(func() error { b.look(d.Delivery); return nil }); err != nil {
		b.add("%s: looking at it %v: %s", b.name, err, what)
	}
	news, err := first(d.object, d.Delivery)
	switch {
	case err == nil:
		if _, err := b.stamped(d, news); err != nil {
			b.add("%s: accepted, but the fact can't be published: %s: %v", b.name, what, err)
		}
	case !typed(err):
		b.add("%s: %v is a bare %T, want an error type such as *producer.DecodeError: %s", b.name, err, err, what)
	case strings.Contains(err.Error(), canary):
		b.add("%s: the error quotes what it could not read: %s", b.name, what)
	}
	return err
}

// look calls what the receiver calls.
func (b breaking) look(d producer.Delivery) {
	if b.APIVersion != nil {
		b.APIVersion(d.Header, d.Body)
	}
	if len(b.Webhooks) == 0 {
		return
	}
	hook := b.Webhooks[0]
	for _, h := range []http.Header{d.Header, {}, nil} {
		hook.Kind(h, d.Body)
		if hook.Key != nil {
			hook.Key(d.Kind, h, d.Body)
		}
	}
}

func (b breaking) documents() {
	deep := strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000)
	for _, body := range []string{"", " \n", "null", "true", "5", `"x"`, "[]", "[{}]", "{", deep, string(b.Body) + "{}", "hello", "\x00", "\xff\xfe{}"} {
		b.refused(fmt.Sprintf("the body is %.20q…", body), []byte(body))
	}
	b.refused("invalid UTF-8 in a text", bytes.Replace(b.Body, []byte(`"`), []byte("\"\xff\":1,\""), 1))
	b.refused("10,000 levels of nesting in a field that nobody reads", bytes.Replace(b.Body, []byte("{"), []byte(`{"nobody reads this":`+deep+","), 1))
	b.refused("a key that stands there twice", bytes.Replace(b.Body, []byte("{"), []byte(`{"nobody reads this":1,"nobody reads this":1,`), 1))
	if native, err := b.object.Decode([]byte("{}")); err == nil {
		d := b.Delivery
		d.Body = []byte("{}")
		if news, err := b.object.Facts(d, nil, native); err == nil && len(news) > 0 {
			b.add("%s: an empty object tells %d facts", b.name, len(news))
		}
	}
}

// cuts bounds the truncations of one body.
const cuts = 500

func (b breaking) truncated() {
	body := bytes.TrimSpace(b.Body)
	for n := 0; n < len(body); n += 1 + len(body)/cuts {
		b.refused(fmt.Sprintf("cut after %d bytes", n), body[:n])
	}
	b.refused("its last byte is missing", body[:len(body)-1])
}

// gone stands for a field that is taken away.
type gone struct{}

// fields puts values of all types into each field in turn.
func (b breaking) fields() {
	d := json.NewDecoder(bytes.NewReader(b.Body))
	d.UseNumber()
	var tree any
	if err := d.Decode(&tree); err != nil {
		b.add("%s: reading a sound body: %v", b.name, err)
		return
	}
	each(tree, "", func(path string, set func(any)) {
		for _, value := range []any{
			nil, true, canary, "", json.Number("-1"), json.Number("1e400"), json.Number("0.00000000001"), []any{}, map[string]any{}, []any{nil}, gone{},
		} {
			set(value)
			if body, err := json.Marshal(tree); err == nil {
				_ = b.try(fmt.Sprintf("%s is %v", path, value), body) // refused or told: both are right
			}
		}
	})
}

// each visits every field, the first two elements of arrays, and puts back what set
// replaced.
func each(tree any, path string, visit func(path string, set func(any))) {
	switch node := tree.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(node)) {
			old := node[name]
			each(old, path+"."+name, visit)
			visit(path+"."+name, func(v any) {
				if _, remove := v.(gone); remove {
					delete(node, name)
				} else {
					node[name] = v
				}
			})
			node[name] = old
		}
	case []any:
		for i := range node[:min(2, len(node))] {
			old := node[i]
			each(old, fmt.Sprintf("%s[%d]", path, i), visit)
			visit(fmt.Sprintf("%s[%d]", path, i), func(v any) {
				if _, remove := v.(gone); !remove {
					node[i] = v
				}
			})
			node[i] = old
		}
	}
}
