// Package producertest is the conformance kit of adapters: what holds for each of
// them is tried on the deliveries of its Day and on samples, without Kafka, SQL or
// network. Only tests import it.
//
//   - Adapter.Check finds nothing.
//   - A signed call is accepted, with the previous secret too while a rotation lasts;
//     every mutation of it is refused with producer.ErrSignature.
//   - A delivery means the same whenever and however often it comes: the same facts
//     with the same ids.
//   - An identical snapshot tells nothing new, facts(nil, s) yields every fact that a
//     step to s yields and every one from before that s still shows, and no order of
//     arrival yields a fact of its own.
//   - Facts are declared by their object, carry the key of their delivery, and can be
//     written by their schemas.
//   - A malformed body is a typed error that quotes nothing of it, or facts that can be
//     written; never a panic.
package producertest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/producer"
)

// Options say what an adapter can't say of itself.
type Options struct {
	Seed    uint64    // of the Day
	Orders  int       // the length of the Day; 0 = 60
	Start   time.Time // of the Day: a call is verified at Start + Call.After; zero = now
	Samples []Sample  // sound deliveries beside those of the Day, such as payload files
	// Token says that the source signs nothing: it proves itself by a fixed token in a
	// header, so that a changed body can't be told.
	Token bool
}

// Sample is a delivery that the adapter must understand.
type Sample struct {
	Name     string // for messages: the file
	Kind     string
	Instance event.Instance
	Header   http.Header
	Body     []byte
}

// Run tries the adapter, a subtest per law.
func Run(t *testing.T, a producer.Adapter, o Options) {
	t.Helper()
	k, err := newKit(a, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range laws() {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			for _, finding := range l.findings(k) {
				t.Error(finding)
			}
		})
	}
}

// Findings is what Run would report, one line each with the law before it.
func Findings(a producer.Adapter, o Options) []string {
	k, err := newKit(a, o)
	if err != nil {
		return []string{err.Error()}
	}
	var all []string
	for _, l := range laws() {
		for _, finding := range l.findings(k) {
			all = append(all, l.name+": "+finding)
		}
	}
	return all
}

// law is something that holds for every adapter.
type law struct {
	name  string
	check func(*kit, *report)
}

func laws() []law {
	return []law{
		{"signatures", signatures},
		{"samples", samples},
		{"determinism", determinism},
		{"snapshots", snapshots},
		{"facts", facts},
		{"malformed bodies", malformed},
	}
}

// enough bounds the findings of a law: one mistake shows many times.
const enough = 10

func (l law) findings(k *kit) []string {
	r := &report{seen: map[string]bool{}}
	if err := calm(func() error { l.check(k, r); return nil }); err != nil {
		r.add("%v", err)
	}
	return r.found
}

// report collects findings.
type report struct {
	found []string
	seen  map[string]bool
}

func (r *report) add(format string, args ...any) {
	finding := fmt.Sprintf(format, args...)
	if len(r.found) < enough && !r.seen[finding] {
		r.seen[finding] = true
		r.found = append(r.found, finding)
	}
}

// panicError is a panic of the adapter.
type panicError struct{ what any }

func (p panicError) Error() string { return fmt.Sprintf("panics: %v", p.what) }

// calm calls fn and turns a panic into an error.
func calm(fn func() error) (err error) {
	defer func() {
		if what := recover(); what != nil {
			err = panicError{what}
		}
	}()
	return fn()
}

// kit is an adapter with what is known to be sound.
type kit struct {
	producer.Adapter
	options Options
	calls   []call
	sound   []delivery // understood as the first of their object, in the order of the Day
	refused []string   // samples that are not understood
	typed   []string   // deliveries of the Day that are refused without a typed error
}

// call is one of the Day with the shop that it is for.
type call struct {
	producer.Call
	shop producer.Shop
}

// delivery is one that is understood.
type delivery struct {
	producer.Delivery
	name   string
	object producer.Object
	news   []event.New // as the first of its object
	keyed  bool        // Key is what the webhook looked for
}

func newKit(a producer.Adapter, o Options) (*kit, error) {
	if err := a.Check(); err != nil {
		return nil, err
	}
	if o.Orders == 0 {
		o.Orders = 60
	}
	k := &kit{Adapter: a, options: o}
	if a.Day.Calls != nil {
		k.play()
	}
	for _, s := range o.Samples {
		d := producer.Delivery{
			ID: "sample", Kind: s.Kind, Origin: event.OriginWebhook, Instance: s.Instance, Header: s.Header, Body: s.Body, ReceivedAt: time.Unix(1_800_000_000, 0).UTC(),
		}
		if d.Header == nil {
			d.Header = http.Header{}
		}
		if known, err := k.understand(d, s.Name, false); err != nil || !known {
			k.refused = append(k.refused, fmt.Sprintf("%s, %s: is not understood: %v", s.Name, s.Kind, err))
		}
	}
	return k, nil
}

// play takes the calls of the Day that an intake accepts.
func (k *kit) play() {
	shops := map[string]producer.Shop{}
	var list []producer.Shop
	for _, in := range k.Day.Instances {
		shops[in.String()] = producer.Shop{Instance: in, Secret: []byte("secret of " + in.Name)}
		list = append(list, shops[in.String()])
	}
	n := 0
	for c := range k.Day.Calls(k.options.Seed, k.options.Orders, list) {
		n++
		c := call{c, shops[c.Instance]}
		k.calls = append(k.calls, c)
		if c.Expect < 200 || c.Expect > 299 || len(k.Webhooks) == 0 {
			continue
		}
		d := k.delivered(c)
		name := fmt.Sprintf("call %d of the day (%s %s)", n, d.Kind, c.Note)
		if _, err := k.understand(d, name, d.Key != ""); err != nil && !typed(err) {
			k.typed = append(k.typed, fmt.Sprintf("%s: %v is a bare %T: want an error type, such as *producer.DecodeError", name, err, err))
		}
	}
}

// delivered is a call as translate sees it.
func (k *kit) delivered(c call) producer.Delivery {
	hook := k.Webhooks[0]
	d := producer.Delivery{
		ID: "call", Kind: hook.Kind(c.Header, c.Body), Origin: event.OriginWebhook, Instance: c.shop.Instance, Body: c.Body,
		Header: http.Header{}, ReceivedAt: time.Unix(1_800_000_000, 0).UTC().Add(c.After),
	}
	for _, name := range hook.Keep {
		if values := c.Header.Values(name); len(values) > 0 {
			d.Header[http.CanonicalHeaderKey(name)] = values
		}
	}
	if hook.Key != nil {
		d.Key = hook.Key(d.Kind, d.Header, d.Body)
	}
	return d
}

// understand keeps a delivery, or its parts, if it is sound.
func (k *kit) understand(d producer.Delivery, name string, keyed bool) (known bool, err error) {
	parts := []producer.Delivery{d}
	if len(k.Webhooks) > 0 && k.Webhooks[0].Split != nil {
		err := calm(func() (err error) { parts, err = k.Webhooks[0].Split(d); return err })
		if err != nil {
			return false, err
		}
		keyed = false
	}
	for _, d := range parts {
		object, found := k.objectOf(d.Kind)
		if !found {
			continue
		}
		news, err := first(object, d)
		if err != nil {
			return true, err
		}
		known = true
		k.sound = append(k.sound, delivery{Delivery: d, name: name, object: object, news: news, keyed: keyed})
	}
	return known, nil
}

func (k *kit) objectOf(kind string) (producer.Object, bool) {
	i := slices.IndexFunc(k.Objects, func(o producer.Object) bool { return slices.Contains(o.Kinds, kind) })
	if i < 0 {
		return producer.Object{}, false
	}
	return k.Objects[i], true
}

// first is what a delivery means as the first of its object.
func first(o producer.Object, d producer.Delivery) (news []event.New, err error) {
	err = calm(func() error {
		native, err := o.Decode(d.Body)
		if err != nil {
			return err
		}
		if o.Snapshot && o.ID(native) == "" { // translate refuses it, so the adapter need not
			return &producer.DecodeError{Path: "id", Want: "one"}
		}
		news, err = o.Facts(d, nil, native)
		return err
	})
	return news, err
}

// samples says what nothing was tried on.
func samples(k *kit, r *report) {
	for _, finding := range slices.Concat(k.refused, k.typed) {
		r.add("%s", finding)
	}
	told := map[string]bool{}
	for _, d := range k.sound {
		for _, n := range d.news {
			if n.Fact != nil {
				told[n.Fact.EventType()] = true
			}
		}
	}
	for _, o := range k.Objects {
		for _, fact := range o.Emits {
			if !told[fact] {
				r.add("nothing emits %s: let the Day tell it, or add a sample of %s", fact, strings.Join(o.Kinds, ", "))
			}
		}
	}
}
