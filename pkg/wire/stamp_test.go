package wire_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/wire"
	"github.com/eventspine/spine/schemas/order"
)

// Ids come from the fact's own time, floored to what all paths know; a group's fact
// takes its cause's. They never change.
func TestStamp_id(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 14, 11, 20, 0, 123_000_000, time.UTC)
	source := wire.Cause{Source: "shopify/uk", IDTime: time.Millisecond}
	seconds := wire.Cause{Source: "shopify/uk", IDTime: time.Second}
	for name, c := range map[string]struct {
		n     event.New
		cause wire.Cause
		want  string
	}{
		"known answer":       {event.New{Fact: order.PlacedV2{}, Entity: "5001", At: at}, source, "019cec13-177b-835c-af42-62fc597f21c7"},
		"older major":        {event.New{Fact: order.PlacedV1{}, Entity: "5001", At: at}, source, "019cec13-177b-835c-af42-62fc597f21c7"},
		"finer than IDTime":  {event.New{Fact: order.PlacedV2{}, Entity: "5001", At: at.Add(999 * time.Microsecond)}, source, "019cec13-177b-835c-af42-62fc597f21c7"},
		"with discriminator": {event.New{Fact: order.CancelledV1{}, Entity: "5001", Discriminator: "ALL", At: time.Date(2026, 3, 15, 8, 0, 0, 0, time.UTC)}, source, "019cf082-5800-884c-8b30-9cc3a78dd996"},
		"whole seconds":      {event.New{Fact: order.PlacedV2{}, Entity: "5001", At: at}, seconds, event.NewID(at.Truncate(time.Second), "shopify/uk", "order.placed", "5001", "")},
		"born":               {event.New{Fact: order.PlacedV2{}, Entity: "5001", At: at.Add(time.Hour), Born: at}, source, "019cec13-177b-835c-af42-62fc597f21c7"},
		"before 1970":        {event.New{Fact: order.PlacedV2{}, Entity: "1", At: time.Unix(-1, 999_000_000)}, seconds, event.NewID(time.Unix(-1, 0), "shopify/uk", "order.placed", "1", "")},
		"a group's": {
			event.New{Fact: order.PlacedV2{}, Entity: "5001", At: at.Add(time.Hour)},
			wire.Cause{Source: "spine/x", IDAt: at},
			event.NewID(at, "spine/x", "order.placed", "5001", ""),
		},
	} {
		e, fact, err := wire.Stamp(c.n, c.cause)
		if err != nil || e.ID != c.want || fact.GetMeta().EventID != c.want {
			t.Errorf("%s: %s, %v; want %s", name, e.ID, err, c.want)
		}
		if back, err := wire.IDTimeOf(e.ID); err != nil || event.NewID(back, e.Source, event.NameOf(e.Type), c.n.Entity, c.n.Discriminator) != e.ID {
			t.Errorf("%s: id time %s, %v", name, back, err)
		}
	}
}

func TestStamp_meta(t *testing.T) {
	t.Parallel()
	version, api, cause := int64(7), "2026-07", "019cec13-177b-835c-af42-62fc597f21c7"
	e, fact, err := wire.Stamp(event.New{Fact: order.PlacedV2{}, Entity: "5001", At: placedAt.Add(500), Test: true}, wire.Cause{
		Source: "shopify/uk", Origin: event.OriginWebhook, RecordedAt: placedAt.Add(time.Second), Correlation: "order:shopify/uk:5001",
		Causation: cause, SourceVersion: &version, SourceAPIVersion: &api, Sequence: "17",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := event.Meta{
		EventID: e.ID, OccurredAt: placedAt, RecordedAt: placedAt.Add(time.Second), SourceSystem: "shopify", SourceInstance: "uk",
		SourceObject: "order", SourceID: "5001", SourceVersion: &version, SourceAPIVersion: &api, CorrelationID: "order:shopify/uk:5001",
		CausationID: &cause, Origin: event.OriginWebhook, Test: true,
	}
	if diff := cmp.Diff(want, fact.GetMeta()); diff != "" {
		t.Errorf("meta (-want +got):\n%s", diff)
	}
	if e.Key != "shopify/uk:5001" || !e.Test || e.Sequence != "17" || e.CausationID != cause || !e.OccurredAt.Equal(placedAt) {
		t.Errorf("envelope %+v", e)
	}
	for name, n := range map[string]event.New{
		"no entity": {Fact: order.PlacedV2{}, At: placedAt}, "no time": {Fact: order.PlacedV2{}, Entity: "1"}, "no fact": {Entity: "1", At: placedAt},
	} {
		if _, _, err := wire.Stamp(n, wire.Cause{Source: "shopify/uk"}); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	if _, err := wire.IDTimeOf("5001"); err == nil {
		t.Error("any text has an id time")
	}
}
