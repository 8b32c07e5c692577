package event_test

import (
	"testing"
	"time"

	"github.com/eventspine/spine/pkg/event"
)

// The known answers of the design: an id never changes.
func TestNewID_knownAnswers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ at, source, name, entity, discriminator, want string }{
		{"2026-03-14T11:20:00.123Z", "shopify/uk", "order.placed", "5001", "", "019cec13-177b-835c-af42-62fc597f21c7"},
		{"2026-03-15T08:00:00Z", "shopify/uk", "order.cancelled", "5001", "ALL", "019cf082-5800-884c-8b30-9cc3a78dd996"},
	} {
		at, err := time.Parse(time.RFC3339Nano, c.at)
		if err != nil {
			t.Fatal(err)
		}
		if got := event.NewID(at, c.source, c.name, c.entity, c.discriminator); got != c.want {
			t.Errorf("%s %s %s: id %s, want %s", c.source, c.name, c.entity, got, c.want)
		}
	}
}

func TestParseType(t *testing.T) {
	t.Parallel()
	got, err := event.ParseType("stock.reservation-released.v1")
	if err != nil || got != (event.Type{Noun: "stock", Verb: "reservation-released", Major: 1}) || got.String() != "stock.reservation-released.v1" {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, bad := range []string{"", "order.placed", "Order.placed.v1", "order.placed.v0", "order.placed.v1.x", "order_placed.v1"} {
		if _, err := event.ParseType(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestDate(t *testing.T) {
	t.Parallel()
	london, err := time.LoadLocation("Europe/London")
	if err != nil {
		t.Fatal(err)
	}
	// 23:30 UTC on the last day of March is the first of April in summer time.
	d := event.DateOf(time.Date(2026, 3, 31, 23, 30, 0, 0, time.UTC), london)
	if d.String() != "2026-04-01" || event.DateFromDays(d.Days()) != d || d.AddDays(-1).String() != "2026-03-31" {
		t.Errorf("got %s, %d days", d, d.Days())
	}
	if before := (event.Date{Year: 1969, Month: 12, Day: 31}); before.Days() != -1 || event.DateFromDays(-1) != before {
		t.Errorf("1969-12-31 is %d days", before.Days())
	}
}
