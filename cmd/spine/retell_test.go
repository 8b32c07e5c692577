package main_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/producer"
	"github.com/eventspine/spine/producers"
	"github.com/eventspine/spine/schemas/order"
)

// broken is the fleet's adapters with two mistakes: cancellations are forgotten, and
// orders are said to come from elsewhere.
func broken() []producer.Adapter {
	all := producers.All()
	for i := range all {
		for j := range all[i].Objects {
			facts := all[i].Objects[j].Facts
			all[i].Objects[j].Facts = func(d producer.Delivery, before, after any) ([]event.New, error) {
				list, err := facts(d, before, after)
				list = slices.DeleteFunc(list, func(n event.New) bool { return n.Fact.EventType() == "order.cancelled.v1" })
				for k := range list {
					if placed, ok := list[k].Fact.(order.PlacedV2); ok {
						placed.SalesChannel = "elsewhere"
						list[k].Fact = placed
					}
				}
				return list, err
			}
		}
	}
	return all
}

// retold is what spine replay --system prints.
type retold struct {
	Executed bool
	New      []struct{ ID, Fact string }
	Changed  []struct {
		ID, Fact    string
		Accepted    bool
		Differences []struct {
			Field          string
			Published, Now string
		}
	}
	Published, Known, Open int
}

func (p *place) retell(t *testing.T, code int, words ...string) (r retold) {
	t.Helper()
	out, errs, got := p.command(t.Context(), append([]string{"replay", "--system", "shopify", "--since", "1h", "-o", "json"}, words...)...)
	if err := json.Unmarshal([]byte(out), &r); err != nil || got != code {
		t.Fatalf("spine replay %v: exit code %d, want %d (%v)\n%s%s", words, got, code, err, out, errs)
	}
	return r
}

// counts are the facts in the stream and how many of them a group has handled.
func (p *place) handledBy(ctx context.Context, group, fact string) (n int, balanced bool, err error) {
	out, _, _ := p.command(ctx, "audit", "-o", "json")
	var books struct {
		Balanced bool
		Rows     []struct {
			Group, Fact string
			Handled     int
		}
	}
	if err := json.Unmarshal([]byte(out), &books); err != nil {
		return 0, false, err
	}
	for _, row := range books.Rows {
		if row.Group == group && row.Fact == fact {
			n = row.Handled
		}
	}
	return n, books.Balanced, nil
}

// An adapter forgot facts and got others wrong. Mended, it tells them of the kept
// deliveries: what is new reaches every group once, what has changed only where a
// person names it, and the books balance.
func TestRetell(t *testing.T) {
	t.Parallel()
	p := newPlace(t, nil)
	adapter := producers.All()[0]
	for _, in := range adapter.Day.Instances {
		p.shops = append(p.shops, producer.Shop{Instance: in, Secret: []byte("shpss_test_" + in.Name)})
	}
	p.configure(t)
	p.adapters = broken()
	first := p.live(t, p.devArgs()...)
	cancelled, n := 0, 0
	for c := range adapter.Day.Calls(5, 120, p.shops) {
		if a := p.call(t, c); a.status != c.Expect {
			t.Fatalf("call %d: status %d, want %d: %s", n, a.status, c.Expect, a.body)
		}
		n++
	}
	eventually(t, patience(), "all is translated", func(ctx context.Context) error {
		if n, balanced, err := p.handledBy(ctx, "analytics", "order.placed.v2"); err != nil || n < 100 || !balanced {
			return errors.Join(err, fmt.Errorf("analytics has %d orders, the books balance: %t", n, balanced))
		}
		return p.settled(ctx)
	})
	first.stop()
	p.adapters = nil
	p.live(t, p.devArgs()...)

	preview := p.retell(t, 4)
	if cancelled = len(preview.New); cancelled == 0 || len(preview.Changed) == 0 || preview.Executed {
		t.Fatalf("%d are new, %d have changed, executed %t", cancelled, len(preview.Changed), preview.Executed)
	}
	for _, f := range preview.New {
		if f.Fact != "order.cancelled.v1" {
			t.Errorf("%s %s is new", f.Fact, f.ID)
		}
	}
	for _, f := range preview.Changed {
		if f.Fact != "order.placed.v2" || len(f.Differences) != 1 || f.Differences[0].Field != "sales_channel" || f.Differences[0].Published != "elsewhere" {
			t.Errorf("changed: %+v", f)
		}
	}
	if got := p.retell(t, 4, "--execute"); got.Published != cancelled || got.Open != 0 {
		t.Errorf("%d are published and %d open, want %d", got.Published, got.Open, cancelled)
	}
	one := preview.Changed[0].ID
	got := p.retell(t, 4, "--execute", "--accept-changed", one)
	if got.Published != 1 || len(got.New) != 0 || len(got.Changed) != len(preview.Changed) {
		t.Errorf("%d are published, %d new, %d changed", got.Published, len(got.New), len(got.Changed))
	}
	if got := p.retell(t, 4); len(got.New) != 0 || len(got.Changed) != len(preview.Changed)-1 {
		t.Errorf("after it %d are new and %d changed, want the named one to be the same", len(got.New), len(got.Changed))
	}
	p.retell(t, 0, "--facts", "order.cancelled.v1")
	for _, group := range []string{"analytics", "inventory", "invoicing", "notifications"} {
		eventually(t, patience(), group+" has caught up", func(ctx context.Context) error {
			n, balanced, err := p.handledBy(ctx, group, "order.cancelled.v1")
			if diff := cmp.Diff(cancelled, n); diff != "" || !balanced {
				return errors.Join(err, fmt.Errorf("balanced %t, cancellations (-want +got):\n%s", balanced, diff))
			}
			return err
		})
	}
}

// settled says that translate has nothing before it.
func (p *place) settled(ctx context.Context) error {
	out, _, _ := p.command(ctx, "audit", "-o", "json")
	var books struct{ Deliveries []struct{ Pending int } }
	if err := json.Unmarshal([]byte(out), &books); err != nil {
		return err
	}
	for _, d := range books.Deliveries {
		if d.Pending > 0 {
			return fmt.Errorf("%d deliveries are pending", d.Pending)
		}
	}
	return nil
}
