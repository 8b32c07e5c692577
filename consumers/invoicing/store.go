package invoicing

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/money"
	"github.com/eventspine/spine/schemas/common"
	creditnote "github.com/eventspine/spine/schemas/credit-note"
	"github.com/eventspine/spine/schemas/payment"
)

// columns collects values for SQL; the first that doesn't fit is the error.
type columns struct {
	values []any
	err    error
}

func (c *columns) add(vs ...any) { c.values = append(c.values, vs...) }

// decimal adds an amount at the given number of places.
func (c *columns) decimal(what string, d money.Decimal, places int) {
	n, err := units(what, d, places)
	if c.err == nil {
		c.err = err
	}
	c.values = append(c.values, n)
}

func (c *columns) exec(ctx context.Context, db consumer.DB, what, query string) error {
	if c.err != nil {
		return c.err
	}
	if _, err := db.ExecContext(ctx, query, c.values...); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// inserted tells whether an INSERT … ON CONFLICT DO NOTHING wrote its row.
func inserted(what string, res sql.Result, err error) (bool, error) {
	if err != nil {
		return false, fmt.Errorf("inserting the %s: %w", what, err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return false, fmt.Errorf("inserting the %s: %w", what, err)
	}
	return n == 1, nil
}

func insertOrder(ctx context.Context, db consumer.DB, key string, e event.Event, outcome string, at time.Time) (bool, error) {
	res, err := db.ExecContext(ctx, `INSERT INTO invoicing_orders (order_key, event_id, fact, instance, outcome, placed_at)
		VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (order_key) DO NOTHING`, key, e.ID, e.Type, e.Instance.String(), outcome, at.UnixMicro())
	return inserted("order", res, err)
}

// draw takes the next number of a series. The row stays locked until the transaction
// ends, and a rollback gives the number back: there are no gaps.
func draw(ctx context.Context, db consumer.DB, entity, series string) (number string, sequence int64, err error) {
	if _, err := db.ExecContext(ctx, `INSERT INTO invoicing_counters (legal_entity, series, last_number)
		VALUES ($1, $2, 0) ON CONFLICT (legal_entity, series) DO NOTHING`, entity, series); err != nil {
		return "", 0, fmt.Errorf("opening series %s of %s: %w", series, entity, err)
	}
	err = db.QueryRowContext(ctx, `UPDATE invoicing_counters SET last_number = last_number + 1
		WHERE legal_entity = $1 AND series = $2 RETURNING last_number`, entity, series).Scan(&sequence)
	if err != nil {
		return "", 0, fmt.Errorf("drawing a number of series %s of %s: %w", series, entity, err)
	}
	return fmt.Sprintf("%s-%s-%06d", entity, series, sequence), sequence, nil
}

// insertInvoice numbers and stores an invoice.
func insertInvoice(ctx context.Context, db consumer.DB, d *document) error {
	key := orderKey(d.Order)
	customer, err := json.Marshal(d.Customer)
	if err != nil {
		return fmt.Errorf("storing the customer: %w", err)
	}
	if d.Number, d.Sequence, err = draw(ctx, db, d.Entity, "INV"); err != nil {
		return err
	}
	net, tax := d.totals()
	var c columns
	c.add(key, d.Number, d.Entity, d.Sequence, d.Issued.String(), d.Due.String(), d.Currency, d.BaseCurrency, d.FxToBase.String(),
		string(customer), d.CustomerName, d.Policy.name, d.Basis)
	c.decimal("net", net, scale)
	c.decimal("tax", tax, scale)
	c.decimal("rounding", d.Rounding, scale)
	c.decimal("gross", d.Gross, scale)
	if err := c.exec(ctx, db, "inserting the invoice", `INSERT INTO invoicing_invoices (order_key, number, legal_entity, sequence, issue_date, due_date,
		currency, base_currency, fx_to_base, customer_ref, customer_name, tax_policy, tax_basis, net, tax, rounding, gross, credited_tax, credited_gross)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, 0, 0)`); err != nil {
		return err
	}
	for i, l := range d.Lines {
		var c columns
		c.add(key, i+1, l.Origin, l.Item, l.Description)
		c.decimal("quantity", l.Quantity, scale)
		c.decimal("unit_price", l.UnitPrice, priceScale)
		c.decimal("discount", l.Discount, scale)
		c.decimal("net", l.Net, scale)
		c.decimal("tax", l.Tax, scale)
		c.add(l.TaxCode)
		c.decimal("tax_rate", l.TaxRate, priceScale)
		if err := c.exec(ctx, db, "inserting a line of the invoice", `INSERT INTO invoicing_invoice_lines (order_key, line_no, origin_line, item_code,
			description, quantity, unit_price, discount, net, tax, tax_code, tax_rate)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`); err != nil {
			return err
		}
	}
	return nil
}

// loadInvoice reads what crediting needs of the invoice of an order.
func loadInvoice(ctx context.Context, db consumer.DB, ref common.Ref) (document, bool, error) {
	d := document{Order: ref}
	var issued, customer, fx string
	var gross, rounding, creditedTax, creditedGross int64
	err := db.QueryRowContext(ctx, `SELECT legal_entity, number, issue_date, currency, base_currency, fx_to_base, customer_ref, rounding, gross, credited_tax, credited_gross
		FROM invoicing_invoices WHERE order_key = $1`, orderKey(ref)).
		Scan(&d.Entity, &d.Number, &issued, &d.Currency, &d.BaseCurrency, &fx, &customer, &rounding, &gross, &creditedTax, &creditedGross)
	if errors.Is(err, sql.ErrNoRows) {
		return d, false, nil
	}
	if err != nil {
		return d, false, fmt.Errorf("reading the invoice: %w", err)
	}
	d.Rounding, d.Gross, d.Credited = decimal(rounding), decimal(gross), amounts{decimal(creditedGross), decimal(creditedTax)}
	var errs [4]error
	d.Issued, errs[0] = event.ParseDate(issued)
	d.FxToBase, errs[1] = money.Parse(fx)
	d.Places, errs[2] = money.Exponent(d.Currency)
	errs[3] = json.Unmarshal([]byte(customer), &d.Customer)
	if err := errors.Join(errs[:]...); err != nil {
		return d, false, fmt.Errorf("reading invoice %s: %w", d.Number, err)
	}
	d.Lines, err = loadLines(ctx, db, orderKey(ref))
	return d, true, err
}

func loadLines(ctx context.Context, db consumer.DB, key string) ([]docLine, error) {
	rows, err := db.QueryContext(ctx, `SELECT line_no, origin_line, description, quantity, net, tax, tax_code
		FROM invoicing_invoice_lines WHERE order_key = $1 ORDER BY line_no`, key)
	if err != nil {
		return nil, fmt.Errorf("reading the lines of the invoice: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var lines []docLine
	for rows.Next() {
		var l docLine
		var no, quantity, net, tax int64
		if err := rows.Scan(&no, &l.Origin, &l.Description, &quantity, &net, &tax, &l.TaxCode); err != nil {
			return nil, fmt.Errorf("reading a line of the invoice: %w", err)
		}
		l.ID, l.Quantity, l.Net, l.Tax = fmt.Sprint(no), decimal(quantity), decimal(net), decimal(tax)
		lines = append(lines, l)
	}
	return lines, rows.Err()
}

func insertWithdrawal(ctx context.Context, db consumer.DB, key string, e event.Event, w withdrawal) (bool, error) {
	var c columns
	c.add(key, w.Key, e.ID, e.Type, string(w.Cause), w.All, w.Currency)
	c.decimal("shipping", w.Shipping, scale)
	c.decimal("amount", w.Other, scale)
	c.add(e.Test, w.At.UnixMicro())
	if c.err != nil {
		return false, c.err
	}
	res, err := db.ExecContext(ctx, `INSERT INTO invoicing_withdrawals (order_key, withdrawal, event_id, fact, cause, whole_order, currency, shipping, other, test, happened_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (order_key, withdrawal) DO NOTHING`, c.values...)
	isNew, err := inserted("withdrawal", res, err)
	if err != nil || !isNew {
		return false, err
	}
	for _, l := range w.Lines {
		var c columns
		c.add(key, w.Key, l.LineID, string(l.How))
		c.decimal("quantity", l.Quantity, scale)
		c.decimal("amount", l.Amount, scale)
		if err := c.exec(ctx, db, "inserting a withdrawn line", `INSERT INTO invoicing_withdrawal_lines (order_key, withdrawal, line_id, how, quantity, amount)
			VALUES ($1, $2, $3, $4, $5, $6)`); err != nil {
			return false, err
		}
	}
	return true, nil
}

// withdrawals reads what takes back from an order, in the order in which it happened.
func withdrawals(ctx context.Context, db consumer.DB, key string) ([]withdrawal, error) {
	rows, err := db.QueryContext(ctx, `SELECT w.withdrawal, w.event_id, w.cause, w.whole_order, w.currency, w.shipping, w.other, w.happened_at,
			l.line_id, l.how, l.quantity, l.amount
		FROM invoicing_withdrawals w LEFT JOIN invoicing_withdrawal_lines l ON l.order_key = w.order_key AND l.withdrawal = w.withdrawal
		WHERE w.order_key = $1 AND NOT w.test ORDER BY w.happened_at, w.withdrawal, l.line_id, l.how`, key)
	if err != nil {
		return nil, fmt.Errorf("reading the withdrawals: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var ws []withdrawal
	for rows.Next() {
		var w withdrawal
		var cause string
		var shipping, other, at int64
		var lineID, by sql.NullString
		var quantity, amount sql.NullInt64
		if err := rows.Scan(&w.Key, &w.EventID, &cause, &w.All, &w.Currency, &shipping, &other, &at, &lineID, &by, &quantity, &amount); err != nil {
			return nil, fmt.Errorf("reading a withdrawal: %w", err)
		}
		w.Cause, w.Shipping, w.Other, w.At = creditnote.IssuedV1Cause(cause), decimal(shipping), decimal(other), time.UnixMicro(at).UTC()
		if n := len(ws); n == 0 || ws[n-1].Key != w.Key {
			ws = append(ws, w)
		}
		if lineID.Valid {
			ws[len(ws)-1].add(lineID.String, how(by.String), decimal(quantity.Int64), decimal(amount.Int64))
		}
	}
	return ws, rows.Err()
}

// insertNote numbers and stores a credit note, and adds it to what its invoice is
// credited. The table refuses more than the invoice.
func insertNote(ctx context.Context, db consumer.DB, d *document, w withdrawal, n *note) (err error) {
	key := orderKey(d.Order)
	if n.Number, n.Sequence, err = draw(ctx, db, d.Entity, "CN"); err != nil {
		return err
	}
	var c columns
	c.add(key, w.Key, n.Number, d.Entity, n.Sequence, n.Issued.String(), string(w.Cause))
	c.decimal("net", n.net(), scale)
	c.decimal("tax", n.Tax, scale)
	c.decimal("gross", n.Gross, scale)
	if err := c.exec(ctx, db, "inserting the credit note", `INSERT INTO invoicing_credit_notes (order_key, withdrawal, number, legal_entity, sequence, issue_date, cause, net, tax, gross)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`); err != nil {
		return err
	}
	for i, l := range n.Lines {
		var c columns
		c.add(key, w.Key, i+1, l.Line, l.Text)
		c.decimal("quantity", l.Quantity, scale)
		c.decimal("net", l.net(), scale)
		c.decimal("tax", l.Tax, scale)
		c.add(l.TaxCode)
		if err := c.exec(ctx, db, "inserting a line of the credit note", `INSERT INTO invoicing_credit_note_lines (order_key, withdrawal, line_no, invoice_line, description, quantity, net, tax, tax_code)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`); err != nil {
			return err
		}
	}
	d.Credited = d.Credited.plus(n.amounts)
	c = columns{}
	c.decimal("credited tax", d.Credited.Tax, scale)
	c.decimal("credited gross", d.Credited.Gross, scale)
	c.add(key)
	return c.exec(ctx, db, "crediting the invoice", `UPDATE invoicing_invoices SET credited_tax = $1, credited_gross = $2 WHERE order_key = $3`)
}

// creditedQuantities is how much of each line of an invoice is on its credit notes.
func creditedQuantities(ctx context.Context, db consumer.DB, key string) (map[string]money.Decimal, error) {
	rows, err := db.QueryContext(ctx, `SELECT invoice_line, quantity FROM invoicing_credit_note_lines WHERE order_key = $1`, key)
	if err != nil {
		return nil, fmt.Errorf("reading the credited quantities: %w", err)
	}
	defer func() { _ = rows.Close() }()
	done := map[string]money.Decimal{}
	for rows.Next() {
		var id string
		var quantity int64
		if err := rows.Scan(&id, &quantity); err != nil {
			return nil, fmt.Errorf("reading a credited quantity: %w", err)
		}
		done[id] = done[id].Add(decimal(quantity))
	}
	return done, rows.Err()
}

func insertPayment(ctx context.Context, db consumer.DB, key string, e event.Of[payment.ReceivedV1]) error {
	var c columns
	c.add(key, e.Data.PaymentID, e.Data.CaptureSeq, e.ID)
	c.decimal("amount", e.Data.Amount, scale)
	c.add(e.Data.Currency, e.Test || e.Data.IsTest, e.Data.ReceivedAt.UnixMicro())
	return c.exec(ctx, db, "inserting the payment", `INSERT INTO invoicing_payments (order_key, payment_id, capture_seq, event_id, amount, currency, test, received_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (order_key, payment_id, capture_seq) DO NOTHING`)
}

// paid is what was captured for an order so far.
func paid(ctx context.Context, db consumer.DB, key, currency string) (money.Decimal, error) {
	var n int64
	err := db.QueryRowContext(ctx, `SELECT COALESCE(CAST(SUM(amount) AS BIGINT), 0) FROM invoicing_payments
		WHERE order_key = $1 AND currency = $2 AND NOT test`, key, currency).Scan(&n)
	if err != nil {
		return money.Decimal{}, fmt.Errorf("reading the payments: %w", err)
	}
	return decimal(n), nil
}
