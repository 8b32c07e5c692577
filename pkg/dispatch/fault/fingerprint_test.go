package fault_test

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/eventspine/spine/pkg/dispatch/fault"
)

func TestFingerprint(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, a, b string
		same       bool
	}{
		{"numbers", "order 1001 has no lines", "order 77 has no lines", true},
		{"quoted names", `no SKU "MUG-1" in stock`, `no SKU "a \"big\" cup" in stock`, true},
		{"quoted the other way", "column 'a' is missing", "column 'b' is missing", true},
		{"uuids", "invoice 0b6e6f0e-3a51-4c1c-9f3e-0b3f3f5c2a11 exists", "invoice ffffffff-ffff-ffff-ffff-ffffffffffff exists", true},
		{"hashes", "bytes de4dbeef01 don't end", "bytes 00ff don't end", true},
		{"words", "no such customer", "no such order", false},
		{"words that look like hashes", "bad deed", "bad feed", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if same := fault.Fingerprint("permanent", c.a) == fault.Fingerprint("permanent", c.b); same != c.same {
				t.Errorf("%q and %q have the same fingerprint: %t, want %t", c.a, c.b, same, c.same)
			}
		})
	}
	if fault.Fingerprint("permanent", "x") == fault.Fingerprint("transient", "x") {
		t.Error("two classes have the same fingerprint")
	}
}

// The numbers in a reason never matter.
func TestFingerprint_numbers(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		reason := func(n int) string { return fmt.Sprintf("line %d of shopify/uk:%d is short by %d", n, n*7, n*n) }
		a, b := rapid.IntRange(0, 1<<30).Draw(t, "a"), rapid.IntRange(0, 1<<30).Draw(t, "b")
		if fault.Fingerprint("permanent", reason(a)) != fault.Fingerprint("permanent", reason(b)) {
			t.Fatalf("%q and %q differ", reason(a), reason(b))
		}
	})
}
