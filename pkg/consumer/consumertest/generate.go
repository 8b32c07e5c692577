package consumertest

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/wire"
)

const (
	generatedEach = 3   // facts per type
	attempts      = 200 // to generate one that its schema takes
)

// history is what the group is given: the caller's events that it reads, then
// generated ones.
func history(tb testing.TB, g consumer.Group, o Options) (list []given) {
	tb.Helper()
	readers := map[string]func() any{}
	for _, h := range g.On {
		readers[h.Type] = h.New
		for _, up := range h.Upcasts {
			if _, own := readers[up.From]; !own {
				readers[up.From] = up.New
			}
		}
	}
	var instance event.Instance
	if o.Events != nil {
		for _, e := range o.Events(o.Seed) {
			if _, read := readers[e.Type]; !read {
				continue
			}
			payload, err := encoded(e.Fact)
			if err != nil {
				tb.Fatal(err)
			}
			instance = e.Instance
			list = append(list, given{Event: e.Event, payload: payload, believable: true})
		}
	}
	f := &filler{random: rand.New(rand.NewPCG(o.Seed, 7))}
	for _, h := range g.On {
		versions := []func() any{h.New}
		for _, up := range h.Upcasts { // older majors, too
			versions = append(versions, up.New)
		}
		for _, version := range versions {
			for n := range generatedEach {
				list = append(list, f.event(tb, version(), instance, n))
			}
		}
	}
	return aged(tb, o.Schemas, list, readers)
}

// filler makes values.
type filler struct{ random *rand.Rand }

// event makes a fact that its schema takes, whatever it means.
func (f *filler) event(tb testing.TB, into any, in event.Instance, n int) given {
	tb.Helper()
	if in.System == "" {
		in = event.Instance{System: "till", Name: "uk", BaseCurrency: "GBP"}
	}
	var failure error
	for range attempts {
		v := reflect.New(reflect.TypeOf(into).Elem())
		f.fill(v.Elem(), "")
		fact, ok := v.Elem().Interface().(event.Fact)
		if !ok {
			tb.Fatalf("%T is no fact", into)
		}
		e, stamped, err := wire.Stamp(event.New{Fact: fact, Entity: fmt.Sprintf("generated-%d", n), At: f.time()}, wire.Cause{
			Source: in.String(), Origin: event.OriginWebhook, RecordedAt: f.time(), Correlation: "root:" + in.String(),
		})
		if err != nil {
			tb.Fatal(err)
		}
		payload, err := encoded(stamped)
		if err == nil {
			e.Instance = in
			return given{Event: e, payload: payload}
		}
		failure = err
	}
	tb.Fatalf("generating a fact: %v", failure)
	return given{}
}

func (f *filler) time() time.Time {
	return time.UnixMicro(1_767_225_600_000_000 + f.random.Int64N(31_536_000_000_000)).UTC()
}

// words are texts that are unpleasant and valid.
func words() []string {
	return []string{"", "GBP", "EUR", "5001", "O'Brien; --", "Zażółć 🦔", "a.b/c|d", strings.Repeat("x", 300)}
}

func (f *filler) fill(v reflect.Value, name string) {
	switch value := v.Addr().Interface().(type) {
	case *event.Meta:
		return // Stamp sets it
	case *time.Time:
		*value = f.time()
		return
	case *event.Date:
		*value = event.DateOf(f.time(), time.UTC)
		return
	case interface{ UnmarshalText(text []byte) error }: // a decimal
		_ = value.UnmarshalText(fmt.Appendf(nil, "%d.%02d", f.random.IntN(100), f.random.IntN(100))) // what does not take it stays zero
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				f.fill(v.Field(i), v.Type().Field(i).Name)
			}
		}
	case reflect.Pointer:
		if f.random.IntN(2) == 0 {
			v.Set(reflect.New(v.Type().Elem()))
			f.fill(v.Elem(), name)
		}
	case reflect.Slice:
		for range f.random.IntN(3) {
			element := reflect.New(v.Type().Elem()).Elem()
			f.fill(element, name)
			v.Set(reflect.Append(v, element))
		}
	default:
		f.scalar(v, name)
	}
}

func (f *filler) scalar(v reflect.Value, name string) {
	switch v.Kind() {
	case reflect.String:
		text := words()[f.random.IntN(len(words()))]
		switch {
		case v.Type() != reflect.TypeFor[string](): // an enum: each has this symbol
			text = "UNKNOWN"
		case strings.HasSuffix(name, "Currency"):
			text = []string{"GBP", "EUR", "JPY"}[f.random.IntN(3)]
		}
		v.SetString(text)
	case reflect.Bool:
		v.SetBool(f.random.IntN(2) == 0)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(f.random.Int64N(100))
	case reflect.Float32, reflect.Float64:
		v.SetFloat(float64(f.random.IntN(400)) / 4)
	}
}
