package schemas_test

import (
	"testing"

	"github.com/eventspine/spine/pkg/schema"
	"github.com/eventspine/spine/schemas"
)

// facts are the contracts of the straight path.
var facts = []string{
	"credit-note.issued.v1", "invoice.created.v1", "notification.sent.v1", "order.cancelled.v1", "order.edited.v1",
	"order.placed.v1", "order.placed.v2", "payment.received.v1", "refund.issued.v1",
	"stock.reservation-released.v1", "stock.reserved.v1", "stock.shortage-detected.v1",
}

func TestFacts(t *testing.T) {
	t.Parallel()
	set, err := schema.Load(schemas.Files)
	if err != nil {
		t.Fatal(err)
	}
	if got := len(set.Facts()); got != len(facts) {
		t.Errorf("%d facts, want %d", got, len(facts))
	}
	for _, name := range facts {
		f, found := set.Fact(name)
		if !found {
			t.Errorf("%s is missing", name)
			continue
		}
		if f.Owner == "" || f.Text == "" || f.Schema == nil {
			t.Errorf("%s: owner %q, text %d bytes", name, f.Owner, len(f.Text))
		}
	}
}

// The law of immutability and the law of compatibility.
func TestReleased(t *testing.T) {
	t.Parallel()
	found, err := schema.CheckReleased(schemas.Files)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		t.Errorf("schemas/%s", f)
	}
}

// What is registered was frozen before, or it could change unseen.
func TestCurrentIsReleased(t *testing.T) {
	t.Parallel()
	set, err := schema.Load(schemas.Files)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range set.Facts() {
		frozen := set.Released(f.Type.String())
		if len(frozen) == 0 || frozen[len(frozen)-1].Text != f.Text {
			t.Errorf("schemas/%s differs from its newest frozen revision: run spine schema release", f.File)
		}
	}
}
