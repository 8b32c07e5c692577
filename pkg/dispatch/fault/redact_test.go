package fault_test

import (
	"testing"

	"github.com/eventspine/spine/pkg/dispatch/fault"
)

func TestRedacted(t *testing.T) {
	t.Parallel()
	personal := []string{"Jane", "Jane Doe", "1 Long Lane", "x", "", "+44 20 7946 0000", "Ann", "***"}
	for text, want := range map[string]string{
		"order 5001 has no lines":                    "order 5001 has no lines",
		"Jane Doe, Jane: no such customer":           "***, ***: no such customer",
		`mail to "jane.doe@example.co.uk" bounced`:   `mail to "***" bounced`,
		"<o'neil+x@bücher.example> and a@b.c":        "<***> and ***",
		"Ann cannot, Annabel can, (Ann)":             "*** cannot, Annabel can, (***)",
		"call +44 20 7946 0000 at 1 Long Lane":       "call *** at ***",
		"x marks the spot; user@localhost is no one": "x marks the spot; user@localhost is no one",
		"\xffJane\xff": "\xff***\xff",
	} {
		if got := fault.Redacted(text, personal); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}
