package books_test

import (
	"testing"
	"time"

	"github.com/eventspine/spine/pkg/app/books"
)

func minute(n int) time.Time { return time.Date(2026, 3, 14, 11, n, 0, 0, time.UTC) }

// What a person passed over is no loss, and what came again is in no wrong order; all
// else that looks like it is.
func TestBalance_resets(t *testing.T) {
	t.Parallel()
	forward := books.Reset{Partition: "orders/0", From: 1, To: 2, At: minute(1)}
	back := books.Reset{Partition: "orders/0", From: 2, To: 0, At: minute(2)}
	unhandled := func(s *books.Stock) {
		delete(s.Groups[0].Handled, "o2")
		delete(s.Groups[0].Ledger[placed], "o2")
		delete(s.Events, "i2")
	}
	lateAt := func(at time.Time) func(s *books.Stock) {
		return func(s *books.Stock) { // o1 is handled, and its invoice published, after o2
			s.Groups[0].Handled["o1"] = books.Handled{Place: place("orders", 0), At: at}
			s.Events["i1"].First, s.Events["i2"].First = s.Events["i2"].First, s.Events["i1"].First
		}
	}
	for name, c := range map[string]struct {
		plant   func(s *books.Stock)
		resets  []books.Reset
		skipped int
		want    books.Totals
	}{
		"passed over":                         {unhandled, []books.Reset{forward}, 1, books.Totals{}},
		"another partition was":               {unhandled, []books.Reset{{Partition: "orders/1", From: 1, To: 2}}, 0, books.Totals{Lost: 1}},
		"passed over, and back again":         {unhandled, []books.Reset{forward, back}, 0, books.Totals{Lost: 1}},
		"back, and passed over":               {unhandled, []books.Reset{back, forward}, 1, books.Totals{}},
		"handled late, after it was set back": {lateAt(minute(3)), []books.Reset{back}, 0, books.Totals{}},
		"handled late, before":                {lateAt(minute(1)), []books.Reset{back}, 0, books.Totals{OutOfOrder: 2}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := balanced()
			c.plant(&s)
			s.Groups[0].Resets = c.resets
			got := books.Balance(s)
			if got.Totals != c.want || got.Rows[0].Skipped != c.skipped {
				t.Errorf("%+v, %d skipped; want %+v, %d\n%v", got.Totals, got.Rows[0].Skipped, c.want, c.skipped, got.Findings)
			}
		})
	}
}

// Deliveries that translate was set past are no loss either.
func TestBalance_skippedDeliveries(t *testing.T) {
	t.Parallel()
	s := balanced()
	delete(s.Translate.Handled, "d2")
	s.Translate.Resets = []books.Reset{{Partition: "raw/0", From: 1, To: 2}}
	if got := books.Balance(s); !got.Balanced || got.Deliveries[0].Skipped != 1 {
		t.Errorf("%+v %v", got.Deliveries, got.Findings)
	}
}
