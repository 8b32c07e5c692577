package producertest

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/wire"
	"github.com/eventspine/spine/pkg/wire/avrobin"
)

// told is what facts say, by event id: the bytes of each.
type told map[string]string

// ids are the type and id of each fact, for messages.
func (t told) ids() []string { return slices.Sorted(maps.Keys(t)) }

// stamped gives facts the identity that translate gives them, and writes them.
func (k *kit) stamped(d delivery, news []event.New) (told, error) {
	all := told{}
	for i, n := range news {
		if n.Fact == nil {
			return nil, fmt.Errorf("fact %d is nil", i)
		}
		if name := n.Fact.EventType(); !slices.Contains(d.object.Emits, name) {
			return nil, fmt.Errorf("emits %s, which its object does not declare", name)
		}
		e, fact, err := wire.Stamp(n, wire.Cause{
			Source: d.Instance.String(), Origin: d.Origin, IDTime: k.IDTime, RecordedAt: time.Unix(1_800_000_000, 0), Correlation: "root:" + d.Instance.String(),
		})
		if err != nil {
			return nil, err
		}
		content, err := encoded(fact)
		if err != nil {
			return nil, err
		}
		id := e.Type + " " + e.ID
		if _, twice := all[id]; twice {
			return nil, fmt.Errorf("two facts of one delivery have one id: %s of %s: give them a Discriminator", e.Type, n.Entity)
		}
		all[id] = string(content) + e.Key + e.OccurredAt.String()
	}
	return all, nil
}

// encoded is a fact by its schema, through the generated codec, and read back.
func encoded(fact event.Fact) ([]byte, error) {
	encoder, ok := fact.(interface{ EncodeAvro(*avrobin.Writer) })
	if !ok {
		return nil, fmt.Errorf("%T is no generated fact", fact)
	}
	w := avrobin.NewWriter()
	encoder.EncodeAvro(w)
	content, err := w.Finish()
	if err != nil {
		return nil, fmt.Errorf("writing %s: %w", fact.EventType(), err)
	}
	return bytes.Clone(content), nil
}

// typed says whether an error is one of a type that somebody declared for it.
func typed(err error) bool {
	var crash panicError
	if errors.As(err, &crash) {
		return false
	}
	for _, e := range unwrapped(err) {
		t := reflect.TypeOf(e)
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		// A package of a module has a domain, or a module's name, before its first
		// slash; the standard library's errors quote what they could not read.
		if root, _, _ := strings.Cut(t.PkgPath(), "/"); strings.Contains(root, ".") {
			return true
		}
	}
	return false
}

func unwrapped(err error) []error {
	all := []error{err}
	switch e := err.(type) { //nolint:errorlint // this is the walk itself
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			all = append(all, unwrapped(inner)...)
		}
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			all = append(all, unwrapped(inner)...)
		}
	}
	return all
}

// facts sees that what is told can be published.
func facts(k *kit, r *report) {
	for _, d := range k.sound {
		if _, err := k.stamped(d, d.news); err != nil {
			r.add("%s: %v", d.name, err)
			continue
		}
		for _, n := range d.news {
			key := n.Key
			if key == "" {
				key = event.Key(d.Instance.String(), n.Entity)
			}
			if want := event.Key(d.Instance.String(), d.Key); d.keyed && key != want {
				r.add("%s: %s has the key %s, its delivery came under %s: the order between them is lost", d.name, n.Fact.EventType(), key, want)
			}
		}
	}
}

// determinism sees that a delivery means the same whenever and however often it comes.
func determinism(k *kit, r *report) {
	// Backwards: what an adapter remembers shows.
	for _, d := range slices.Backward(k.sound) {
		want, err := k.stamped(d, d.news)
		if err != nil {
			continue // the law of facts tells it
		}
		body := bytes.Clone(d.Body)
		for what, change := range map[string]func(*delivery){
			"comes twice":                   func(*delivery) {},
			"comes later, with another id":  func(d *delivery) { d.ID, d.ReceivedAt = "again", d.ReceivedAt.Add(26*time.Hour) },
			"comes with headers of its own": func(d *delivery) { d.Header = with(d.Header, "X-Request-Id", "7") },
		} {
			again := d
			change(&again)
			news, err := first(again.object, again.Delivery)
			if err != nil {
				r.add("%s: %s, and is refused then: %v", d.name, what, err)
				continue
			}
			if got, err := k.stamped(again, news); err != nil || !maps.Equal(got, want) {
				r.add("%s: %s, and tells something else then: %s", d.name, what, difference(want, got))
			}
		}
		if !bytes.Equal(body, d.Body) {
			r.add("%s: the adapter writes into the body", d.name)
		}
	}
}

func with(h http.Header, name, value string) http.Header {
	h = h.Clone()
	h.Set(name, value)
	return h
}

// difference says by which facts two tellings differ.
func difference(want, got told) string {
	for _, id := range want.ids() {
		content, found := got[id]
		if !found {
			return fmt.Sprintf("%s is missing, there is %v", id, got.ids())
		}
		if content != want[id] {
			return id + " has another content"
		}
	}
	for _, id := range got.ids() {
		if _, found := want[id]; !found {
			return id + " is new"
		}
	}
	return "nothing"
}
