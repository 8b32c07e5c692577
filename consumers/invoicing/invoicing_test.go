package invoicing

import (
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/eventspine/spine/consumers/internal/grouptest"
	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/money"
	creditnote "github.com/eventspine/spine/schemas/credit-note"
	"github.com/eventspine/spine/schemas/invoice"
	"github.com/eventspine/spine/schemas/refund"
)

var later = time.Date(2026, 3, 20, 9, 0, 0, 0, time.UTC)

func handle(t *testing.T, k *grouptest.Kit, e event.Event, fact event.Fact) grouptest.Out {
	t.Helper()
	out, err := k.Handle(t.Context(), e, fact)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func want[T any](t *testing.T, got, want T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// said is what left the group, in short.
func said(out grouptest.Out) []string {
	all := []string{}
	for _, f := range out.Facts {
		switch f := f.(type) {
		case invoice.CreatedV1:
			all = append(all, fmt.Sprintf("invoice %s %s net %s tax %s gross %s due %s", f.InvoiceNumber, f.IssueDate, f.Totals.Net, f.Totals.Tax, f.Totals.Gross, f.DueDate))
		case creditnote.IssuedV1:
			all = append(all, fmt.Sprintf("credit %s %s %s net %s tax %s gross %s", f.Number, f.IssueDate, f.Cause, f.Totals.Net, f.Totals.Tax, f.Totals.Gross))
			var net, tax money.Decimal
			for _, l := range f.Lines {
				net, tax = net.Add(l.NetAmount), tax.Add(l.TaxAmount)
			}
			if !net.Equal(f.Totals.Net) || !tax.Equal(f.Totals.Tax) {
				all = append(all, fmt.Sprintf("but its lines say net %s tax %s", net, tax))
			}
		}
	}
	return all
}

func balances(t *testing.T, k *grouptest.Kit) []string {
	t.Helper()
	return k.Query(t, `SELECT number, gross, credited, paid, refunded, open FROM invoicing_balances ORDER BY number`)
}

func TestPlaced_invoice(t *testing.T) {
	t.Parallel()
	grouptest.Each(t, Group, func(k *grouptest.Kit) {
		t := k.T
		o := k09()
		pe, p := o.Payment("p1", "65.73", o.At.Add(time.Minute))
		handle(t, k, pe, p) // before its order
		out := handle(t, k, o.PlacedEvent(), o.Placed())
		want(t, said(out), []string{"invoice UK01-INV-000001 2026-03-16 net 56.22 tax 9.51 gross 65.73 due 2026-04-15"})
		f, ok := out.Facts[0].(invoice.CreatedV1)
		if !ok {
			t.Fatalf("got %T", out.Facts[0])
		}
		want(t, f.Totals.AmountPaid.String()+" "+f.Totals.AmountDue.String(), "65.73 0")
		want(t, len(f.Lines), 3)
		want(t, f.Lines[0].TaxCode+" "+f.Lines[0].TaxRate.String(), "VAT 0.2")
		want(t, out.Events[0].Key, "spine/invoicing:shopify/uk:5001")
		want(t, said(handle(t, k, o.PlacedEvent(), o.Placed())), []string{})
		want(t, balances(t, k), []string{"UK01-INV-000001|65.7300|0.0000|65.7300|0.0000|0.0000"})
		want(t, k.Query(t, `SELECT unit_price, tax_rate, net FROM invoicing_invoice_lines_view WHERE line_no = 1`), []string{"24.500000|0.200000|42.5500"})
		want(t, k.Query(t, `SELECT fact, order_key, effect FROM invoicing_effects ORDER BY fact`),
			[]string{"order.placed.v2|shopify/uk:5001|INVOICED", "payment.received.v1|shopify/uk:5001|PAID"})
	})
}

// K15: one unit, then the other; the last takes what the first left.
func TestRefunds_perUnit(t *testing.T) {
	t.Parallel()
	grouptest.Each(t, Group, func(k *grouptest.Kit) {
		t := k.T
		o := k09()
		handle(t, k, o.PlacedEvent(), o.Placed())
		e, r := o.Refund("r1", "25.54", later, grouptest.Refunded{ID: "l1", Quantity: "1", Net: "21.28", Tax: "4.26", Restock: refund.IssuedV1RestockReturn})
		want(t, said(handle(t, k, e, r)), []string{"credit UK01-CN-000001 2026-03-20 REFUND net 21.28 tax 4.26 gross 25.54"})
		want(t, said(handle(t, k, e, r)), []string{})
		e, r = o.Refund("r2", "25.52", later.Add(time.Hour), grouptest.Refunded{ID: "l1", Quantity: "1", Net: "21.27", Tax: "4.25"})
		out := handle(t, k, e, r)
		want(t, said(out), []string{"credit UK01-CN-000002 2026-03-20 REFUND net 21.27 tax 4.25 gross 25.52"})
		if f, ok := out.Facts[0].(creditnote.IssuedV1); !ok || f.Lines[0].Quantity.String() != "1" || f.Lines[0].OriginLineID != "1" {
			t.Errorf("got %+v", out.Facts[0])
		}
		want(t, out.Events[0].Entity, "shopify/uk:5001/refund:r2")
		e, c := o.Cancelled(later.Add(2 * time.Hour))
		want(t, said(handle(t, k, e, c)), []string{"credit UK01-CN-000003 2026-03-20 CANCELLED_ORDER net 13.67 tax 1 gross 14.67"})
		want(t, balances(t, k), []string{"UK01-INV-000001|65.7300|65.7300|0.0000|51.0600|51.0600"})
	})
}

// A cancellation with a refund credits once, whichever comes first.
func TestCancellationWithRefund(t *testing.T) {
	t.Parallel()
	for _, refundFirst := range []bool{false, true} {
		k := grouptest.SQLite(t, Group())
		o := k09()
		handle(t, k, o.PlacedEvent(), o.Placed())
		ce, c := o.Cancelled(later)
		re, r := o.Refund("r1", "65.73", later, grouptest.Refunded{ID: "l1", Quantity: "2", Net: "42.55", Tax: "8.51"}, grouptest.Refunded{ID: "l2", Quantity: "1", Net: "8.67"})
		if refundFirst {
			want(t, said(handle(t, k, re, r)), []string{"credit UK01-CN-000001 2026-03-20 REFUND net 56.22 tax 9.51 gross 65.73"})
			want(t, said(handle(t, k, ce, c)), []string{})
		} else {
			want(t, said(handle(t, k, ce, c)), []string{"credit UK01-CN-000001 2026-03-20 CANCELLED_ORDER net 56.22 tax 9.51 gross 65.73"})
			want(t, said(handle(t, k, re, r)), []string{})
		}
		want(t, balances(t, k), []string{"UK01-INV-000001|65.7300|65.7300|0.0000|65.7300|65.7300"})
	}
}

func TestWithdrawals_beforeTheOrder(t *testing.T) {
	t.Parallel()
	grouptest.Each(t, Group, func(k *grouptest.Kit) {
		t := k.T
		o := k09()
		re, r := o.Refund("r1", "5", later)
		want(t, said(handle(t, k, re, r)), []string{})
		ce, c := o.Cancelled(later.Add(time.Hour))
		want(t, said(handle(t, k, ce, c)), []string{})
		want(t, said(handle(t, k, o.PlacedEvent(), o.Placed())), []string{
			"invoice UK01-INV-000001 2026-03-16 net 56.22 tax 9.51 gross 65.73 due 2026-04-15",
			"credit UK01-CN-000001 2026-03-20 REFUND net 4.28 tax 0.72 gross 5",
			"credit UK01-CN-000002 2026-03-20 CANCELLED_ORDER net 51.94 tax 8.79 gross 60.73",
		})
	})
}

func TestRefund_inAnotherCurrencyIsKept(t *testing.T) {
	t.Parallel()
	k := grouptest.SQLite(t, Group())
	o := k09()
	handle(t, k, o.PlacedEvent(), o.Placed())
	e, r := o.Refund("r1", "5", later)
	r.Currency = "EUR"
	want(t, said(handle(t, k, e, r)), []string{})
	want(t, k.Query(t, `SELECT effect FROM invoicing_effects WHERE fact = 'refund.issued.v1'`), []string{"KEPT"})
}

func TestTestOrders_areLeftOut(t *testing.T) {
	t.Parallel()
	grouptest.Each(t, Group, func(k *grouptest.Kit) {
		t := k.T
		o := k09()
		e := o.PlacedEvent()
		e.Test = true
		want(t, said(handle(t, k, e, o.Placed())), []string{})
		re, r := o.Refund("r1", "5", later) // doesn't know that it is a test
		want(t, said(handle(t, k, re, r)), []string{})
		pe, p := o.Payment("p1", "5", later)
		p.IsTest = true
		handle(t, k, pe, p)
		want(t, k.Query(t, `SELECT effect FROM invoicing_effects ORDER BY fact`), []string{"TEST", "TEST", "KEPT"})
	})
}

func TestRejections(t *testing.T) {
	t.Parallel()
	k := grouptest.SQLite(t, Group())
	o := k09()
	nonsense := o.Placed()
	nonsense.Currency = "XXQ"
	negative := o.Placed()
	negative.Totals.GrandTotal = d("-1")
	huge := o.Placed()
	huge.Totals.GrandTotal = d("999999999999999.9999")
	twice := o.Placed()
	twice.Lines[1].LineID = "l1"
	ce, c := o.Cancelled(later)
	c.Scope, c.Lines = "UNKNOWN", nil
	re, r := o.Refund("r1", "-5", later)
	for name, in := range map[string]struct {
		e event.Event
		f event.Fact
	}{
		"currency": {o.PlacedEvent(), nonsense}, "negative": {o.PlacedEvent(), negative}, "overflow": {o.PlacedEvent(), huge},
		"line twice": {o.PlacedEvent(), twice}, "scope": {ce, c}, "negative refund": {re, r},
	} {
		_, err := k.Handle(t.Context(), in.e, in.f)
		var rejected *consumer.RejectError
		if !errors.As(err, &rejected) {
			t.Errorf("%s: got %v, want a rejection", name, err)
		}
	}
}

// A rollback gives its number back.
func TestNumbers_haveNoGaps(t *testing.T) {
	t.Parallel()
	grouptest.Each(t, Group, func(k *grouptest.Kit) {
		t := k.T
		crash := errors.New("crash")
		for i := range 6 {
			o := k09()
			o.ID = fmt.Sprint(i)
			err := k.InTx(t.Context(), func(tx *sql.Tx) error {
				if _, err := k.HandleIn(t.Context(), tx, o.PlacedEvent(), o.Placed()); err != nil {
					return err
				}
				if i%2 == 0 {
					return crash
				}
				return nil
			})
			if err != nil && !errors.Is(err, crash) {
				t.Fatal(err)
			}
		}
		o := k09()
		o.ID, o.Instance.LegalEntity = "other", ""
		handle(t, k, o.PlacedEvent(), o.Placed())
		want(t, k.Query(t, `SELECT number FROM invoicing_invoices ORDER BY number`),
			[]string{"UK01-INV-000001", "UK01-INV-000002", "UK01-INV-000003", "shopify-uk-INV-000001"})
	})
}

// Two transactions draw from one series: the second waits, and takes the number of the
// first if that rolls back.
func TestNumbers_concurrently(t *testing.T) {
	t.Parallel()
	for _, commit := range []bool{true, false} {
		k := grouptest.Postgres(t, Group())
		ctx := t.Context()
		o1, o2, o0 := k09(), k09(), k09()
		o1.ID, o2.ID, o0.ID = "1", "2", "0"
		handle(t, k, o0.PlacedEvent(), o0.Placed())
		tx, err := k.DB.BeginTx(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.HandleIn(ctx, tx, o1.PlacedEvent(), o1.Placed()); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() {
			_, err := k.Handle(ctx, o2.PlacedEvent(), o2.Placed())
			done <- err
		}()
		k.AwaitBlocked(t)
		numbers := []string{"shopify/uk:0|1", "shopify/uk:1|2", "shopify/uk:2|3"}
		if commit {
			err = tx.Commit()
		} else {
			err = tx.Rollback()
			numbers = []string{"shopify/uk:0|1", "shopify/uk:2|2"}
		}
		if err := errors.Join(err, <-done); err != nil {
			t.Fatal(err)
		}
		want(t, k.Query(t, `SELECT order_key, sequence FROM invoicing_invoices ORDER BY sequence`), numbers)
	}
}

// Whatever the order in which the facts of an order come, as much is credited, net and
// tax, and every credit note is about something.
func TestInterleavings_endEqual(t *testing.T) {
	t.Parallel()
	k := grouptest.SQLite(t, Group())
	rapid.Check(t, func(r *rapid.T) {
		o := k09()
		o.Lines = append(o.Lines, grouptest.Line{ID: "l3", SKU: "C", Quantity: "3", Price: "3.35", Discount: "0.05", Rate: "0.20"})
		placed := o.Placed()
		shift := d(rapid.SampledFrom([]string{"0", "-0.01", "0.02", "-3", "7.77"}).Draw(r, "difference"))
		placed.Totals.GrandTotal = placed.Totals.GrandTotal.Add(shift)
		type input struct {
			e event.Event
			f event.Fact
		}
		inputs := []input{{o.PlacedEvent(), placed}}
		for i := range rapid.IntRange(1, 5).Draw(r, "withdrawals") {
			at := later.Add(time.Duration(rapid.IntRange(1, 3).Draw(r, "hour"))*time.Hour + time.Duration(i)*time.Second)
			line := rapid.SampledFrom([]string{"l1", "l2", "l3", "unknown"}).Draw(r, "line")
			n := fmt.Sprint(rapid.IntRange(0, 3).Draw(r, "quantity"))
			cents := func(label string, most int64) money.Decimal {
				return money.FromUnits(rapid.Int64Range(0, most).Draw(r, label), 2)
			}
			switch rapid.IntRange(0, 5).Draw(r, "kind") {
			case 0:
				e, f := o.Cancelled(at)
				inputs = append(inputs, input{e, f})
			case 1, 2:
				e, f := o.Cancelled(at, grouptest.Line{ID: line, Quantity: n})
				inputs = append(inputs, input{e, f})
			default:
				how := rapid.SampledFrom([]refund.IssuedV1Restock{refund.IssuedV1RestockCancel, refund.IssuedV1RestockReturn, refund.IssuedV1RestockNo}).Draw(r, "restock")
				e, f := o.Refund(fmt.Sprint("r", i), cents("amount", 9000).String(), at,
					grouptest.Refunded{ID: line, Quantity: n, Net: cents("net", 4000).String(), Tax: cents("tax", 900).String(), Restock: how})
				f.ShippingAmount = cents("shipping", 600)
				inputs = append(inputs, input{e, f})
			}
		}
		var first []string
		for range 3 {
			k.Reset(t)
			var noted amounts
			for _, i := range rapid.Permutation(indexes(len(inputs))).Draw(r, "arrival") {
				in := inputs[i]
				out, err := k.Handle(t.Context(), in.e, in.f)
				if err != nil {
					r.Fatal(err)
				}
				for _, f := range out.Facts {
					n, ok := f.(creditnote.IssuedV1)
					if !ok {
						continue
					}
					noted = noted.plus(amounts{n.Totals.Gross, n.Totals.Tax})
					if n.Totals.Gross.Sign() <= 0 || n.Totals.Tax.Sign() < 0 || n.Totals.Net.Sign() < 0 {
						r.Fatalf("credit note of net %s tax %s", n.Totals.Net, n.Totals.Tax)
					}
					if lines := said(grouptest.Out{Facts: []event.Fact{f}}); len(lines) > 1 {
						r.Fatal(strings.Join(lines, "; "))
					}
				}
			}
			state := k.Query(t, `SELECT net, tax, rounding, gross, credited_gross, credited_tax FROM invoicing_invoices`)
			if first == nil {
				first = state
			}
			if diff := cmp.Diff(first, state); diff != "" {
				r.Fatalf("another arrival ends in another state: %s", diff)
			}
			gross, _ := noted.Gross.Units(4)
			tax, _ := noted.Tax.Units(4)
			if !strings.HasSuffix(state[0], fmt.Sprintf("|%d|%d", gross, tax)) {
				r.Fatalf("credit notes add up to %s and tax %s, the invoice says %s", noted.Gross, noted.Tax, state[0])
			}
		}
	})
}

func indexes(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}
