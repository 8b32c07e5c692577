package wire_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/wire"
	"github.com/eventspine/spine/schemas/order"
)

// Pitfall: ids of a weak hash, or of parts that run into each other, make one event
// of two: 200,000 facts of one millisecond, and neighbours that only differ in where
// one part ends.
func TestStamp_idsAreDistinct(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 14, 11, 20, 0, 0, time.UTC)
	seen := make(map[string]string, 200_000)
	note := func(entity, discriminator string) {
		t.Helper()
		e, _, err := wire.Stamp(event.New{Fact: order.CancelledV1{}, Entity: entity, Discriminator: discriminator, At: at}, wire.Cause{Source: "shopify/uk"})
		if err != nil {
			t.Fatal(err)
		}
		what := fmt.Sprintf("entity %q, discriminator %q", entity, discriminator)
		if other, taken := seen[e.ID]; taken {
			t.Errorf("%s has the id of %s", what, other)
		}
		seen[e.ID] = what
	}
	for i := range 100_000 {
		note(fmt.Sprint(i), "ALL")
		note("1", fmt.Sprint(i))
	}
	for _, parts := range [][2]string{
		{"5001|a", "b"}, {"5001", "a|b"}, {`5001\`, "a|b"}, {`5001\|a`, "b"}, {`5001\`, "|a|b"}, {"5001||a", "b"}, {"5001|", "|a|b"},
	} {
		note(parts[0], parts[1])
	}
	if len(seen) < 200_000 {
		t.Errorf("%d ids of 200,000", len(seen))
	}
}
