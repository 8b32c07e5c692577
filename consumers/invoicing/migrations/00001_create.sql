-- Money and quantities are in 10^-4 units, prices and rates in 10^-6 units, times in
-- microseconds since 1970-01-01 UTC, dates ISO text.
-- The views are for people. SQLite and PostgreSQL share no function that shows a
-- decimal or a timestamp, so both are spelled out: a timestamp is the civil calendar
-- computed from the number of the day, in years that begin in March.

-- +goose Up
CREATE TABLE invoicing_counters (
    legal_entity TEXT   NOT NULL,
    series       TEXT   NOT NULL CHECK (series IN ('INV', 'CN')),
    last_number  BIGINT NOT NULL,
    PRIMARY KEY (legal_entity, series)
);

CREATE TABLE invoicing_orders (
    order_key TEXT   NOT NULL PRIMARY KEY,
    event_id  TEXT   NOT NULL,
    fact      TEXT   NOT NULL,
    instance  TEXT   NOT NULL,
    outcome   TEXT   NOT NULL CHECK (outcome IN ('INVOICED', 'TEST')),
    placed_at BIGINT NOT NULL
);

CREATE TABLE invoicing_invoices (
    order_key      TEXT   NOT NULL PRIMARY KEY REFERENCES invoicing_orders (order_key),
    number         TEXT   NOT NULL UNIQUE,
    legal_entity   TEXT   NOT NULL,
    sequence       BIGINT NOT NULL,
    issue_date     TEXT   NOT NULL,
    due_date       TEXT   NOT NULL,
    currency       TEXT   NOT NULL,
    base_currency  TEXT   NOT NULL,
    fx_to_base     TEXT   NOT NULL,
    customer_ref   TEXT   NOT NULL,
    customer_name  TEXT   NOT NULL,
    tax_policy     TEXT   NOT NULL,
    tax_basis      TEXT   NOT NULL CHECK (tax_basis IN ('POLICY', 'SHOP')),
    net            BIGINT NOT NULL,
    tax            BIGINT NOT NULL,
    rounding       BIGINT NOT NULL,
    gross          BIGINT NOT NULL CHECK (gross = net + tax + rounding),
    credited_tax   BIGINT NOT NULL,
    credited_gross BIGINT NOT NULL CHECK (credited_gross BETWEEN 0 AND gross),
    UNIQUE (legal_entity, sequence)
);

CREATE TABLE invoicing_invoice_lines (
    order_key   TEXT   NOT NULL REFERENCES invoicing_invoices (order_key),
    line_no     BIGINT NOT NULL,
    origin_line TEXT,
    item_code   TEXT,
    description TEXT   NOT NULL,
    quantity    BIGINT NOT NULL,
    unit_price  BIGINT NOT NULL,
    discount    BIGINT NOT NULL,
    net         BIGINT NOT NULL,
    tax         BIGINT NOT NULL,
    tax_code    TEXT   NOT NULL,
    tax_rate    BIGINT NOT NULL,
    PRIMARY KEY (order_key, line_no)
);

-- No reference to invoicing_orders: a withdrawal or a payment may come before its order.
CREATE TABLE invoicing_withdrawals (
    order_key   TEXT    NOT NULL,
    withdrawal  TEXT    NOT NULL,
    event_id    TEXT    NOT NULL,
    fact        TEXT    NOT NULL,
    cause       TEXT    NOT NULL,
    whole_order BOOLEAN NOT NULL,
    currency    TEXT    NOT NULL,
    shipping    BIGINT  NOT NULL,
    other       BIGINT  NOT NULL,
    test        BOOLEAN NOT NULL,
    happened_at BIGINT  NOT NULL,
    PRIMARY KEY (order_key, withdrawal)
);

CREATE TABLE invoicing_withdrawal_lines (
    order_key  TEXT   NOT NULL,
    withdrawal TEXT   NOT NULL,
    line_id    TEXT   NOT NULL,
    how        TEXT   NOT NULL CHECK (how IN ('CANCELLATION', 'REFUND', 'RETURN')),
    quantity   BIGINT NOT NULL,
    amount     BIGINT NOT NULL,
    PRIMARY KEY (order_key, withdrawal, line_id, how),
    FOREIGN KEY (order_key, withdrawal) REFERENCES invoicing_withdrawals (order_key, withdrawal)
);

CREATE TABLE invoicing_credit_notes (
    order_key    TEXT   NOT NULL REFERENCES invoicing_invoices (order_key),
    withdrawal   TEXT   NOT NULL,
    number       TEXT   NOT NULL UNIQUE,
    legal_entity TEXT   NOT NULL,
    sequence     BIGINT NOT NULL,
    issue_date   TEXT   NOT NULL,
    cause        TEXT   NOT NULL,
    net          BIGINT NOT NULL,
    tax          BIGINT NOT NULL,
    gross        BIGINT NOT NULL CHECK (gross > 0 AND gross = net + tax),
    PRIMARY KEY (order_key, withdrawal),
    UNIQUE (legal_entity, sequence),
    FOREIGN KEY (order_key, withdrawal) REFERENCES invoicing_withdrawals (order_key, withdrawal)
);

CREATE TABLE invoicing_credit_note_lines (
    order_key    TEXT   NOT NULL,
    withdrawal   TEXT   NOT NULL,
    line_no      BIGINT NOT NULL,
    invoice_line TEXT   NOT NULL,
    description  TEXT   NOT NULL,
    quantity     BIGINT NOT NULL,
    net          BIGINT NOT NULL,
    tax          BIGINT NOT NULL,
    tax_code     TEXT   NOT NULL,
    PRIMARY KEY (order_key, withdrawal, line_no),
    FOREIGN KEY (order_key, withdrawal) REFERENCES invoicing_credit_notes (order_key, withdrawal)
);

CREATE TABLE invoicing_payments (
    order_key   TEXT    NOT NULL,
    payment_id  TEXT    NOT NULL,
    capture_seq BIGINT  NOT NULL,
    event_id    TEXT    NOT NULL,
    amount      BIGINT  NOT NULL,
    currency    TEXT    NOT NULL,
    test        BOOLEAN NOT NULL,
    received_at BIGINT  NOT NULL,
    PRIMARY KEY (order_key, payment_id, capture_seq)
);

CREATE VIEW invoicing_counters_view AS
SELECT legal_entity, series, last_number FROM invoicing_counters;

CREATE VIEW invoicing_orders_view AS
SELECT order_key, event_id, fact, instance, outcome,
    (SELECT CAST(y AS TEXT) || '-' || SUBSTR(CAST(100 + m AS TEXT), 2) || '-' || SUBSTR(CAST(100 + d AS TEXT), 2) || 'T' ||
    SUBSTR(CAST(100 + s / 3600000000 AS TEXT), 2) || ':' || SUBSTR(CAST(100 + s / 60000000 % 60 AS TEXT), 2) || ':' ||
    SUBSTR(CAST(100 + s / 1000000 % 60 AS TEXT), 2) || '.' || SUBSTR(CAST(1000000 + s % 1000000 AS TEXT), 2) || 'Z'
    FROM (SELECT s, 100 * c + yy + mm / 10 AS y, mm + 3 - 12 * (mm / 10) AS m, doy - (153 * mm + 2) / 5 + 1 AS d
    FROM (SELECT s, c, yy, doy, (5 * doy + 2) / 153 AS mm
    FROM (SELECT s, c, yy, r - 1461 * yy / 4 AS doy
    FROM (SELECT s, c, r, (4 * r + 3) / 1461 AS yy
    FROM (SELECT s, c, z - 146097 * c / 4 AS r
    FROM (SELECT s, z, (4 * z + 3) / 146097 AS c
    FROM (SELECT placed_at % 86400000000 AS s, placed_at / 86400000000 + 719468 AS z) t1) t2) t3) t4) t5) t6) t7) AS placed_at
FROM invoicing_orders;

CREATE VIEW invoicing_invoices_view AS
SELECT order_key, number, legal_entity, issue_date, due_date, currency, base_currency, fx_to_base, customer_name, tax_policy, tax_basis,
    CASE WHEN net < 0 THEN '-' ELSE '' END || CAST(ABS(net) / 10000 AS TEXT) || '.' || SUBSTR(CAST(10000 + ABS(net) % 10000 AS TEXT), 2) AS net,
    CASE WHEN tax < 0 THEN '-' ELSE '' END || CAST(ABS(tax) / 10000 AS TEXT) || '.' || SUBSTR(CAST(10000 + ABS(tax) % 10000 AS TEXT), 2) AS tax,
    CASE WHEN rounding < 0 THEN '-' ELSE '' END || CAST(ABS(rounding) / 10000 AS TEXT) || '.' || SUBSTR(CAST(10000 + ABS(rounding) % 10000 AS TEXT), 2) AS rounding,
    CASE WHEN gross < 0 THEN '-' ELSE '' END || CAST(ABS(gross) / 10000 AS TEXT) || '.' || SUBSTR(CAST(10000 + ABS(gross) % 10000 AS TEXT), 2) AS gross,
    CASE WHEN credited_tax < 0 THEN '-' ELSE '' END || CAST(ABS(credited_tax) / 10000 AS TEXT) || '.' || SUBSTR(CAST(10000 + ABS(credited_tax) % 10000 AS TEXT), 2) AS credited_tax,
    CASE WHEN credited_gross < 0 THEN '-' ELSE '' END || CAST(ABS(credited_gross) / 10000 AS TEXT) || '.' || SUBSTR(CAST(10000 + ABS(credited_gross) % 10000 AS TEXT), 2) AS credited_gross
FROM invoicing_invoices;

CREATE VIEW invoicing_invoice_lines_view AS
SELECT order_key, line_no, origin_line, item_code, description,
    CASE WHEN quantity < 0 THEN '-' ELSE '' END || CAST(ABS(quantity) / 10000 AS TEXT) || '.' || SUBSTR(CAST(10000 + ABS(quantity) % 10000 AS TEXT), 2) AS quantity,
    CASE WHEN unit_price < 0 THEN '-' ELSE '' END || CAST(ABS(unit_price) / 1000000 AS TEXT) || '.' || SUBSTR(CAST(1000000 + ABS(unit_price) % 1000000 AS TEXT), 2) AS unit_price,
    CASE WHEN discount < 0 THEN '-' ELSE '' END || CAST(ABS(discount) / 10000 AS TEXT) || '.' || SUBSTR(CAST(10000 + ABS(discount) % 10000 AS TEXT), 2) AS discount,
    CASE WHEN net < 0 THEN '-' ELSE '' END || CAST(ABS(net) / 10000 AS TEXT) || '.' || SUBSTR(CAST(10000 + ABS(net) % 10000 AS TEXT), 2) AS net,
    CASE WHEN tax < 0 THEN '-' ELSE '' END || CAST(ABS(tax) / 10000 AS TEXT) || '.' || SUBSTR(CAST(10000 + ABS(tax) % 10000 AS TEXT), 2) AS tax,
    tax_code,
    CASE WHEN tax_rate < 0 THEN '-' ELSE '' END || CAST(ABS(tax_rate) / 1000000 AS TEXT) || '.' || SUBSTR(CAST(1000000 + ABS(tax_rate) % 1000000 AS TEXT), 2) AS tax_rate
FROM invoicing_invoice_lines;

CREATE VIEW invoicing_withdrawals_view AS
SELECT order_key, withdrawal, event_id, fact, cause, whole_order, currency,
    CASE WHEN shipping < 0 THEN '-' ELSE '' END || CAST(ABS(shipping) / 10000 AS TEXT) || '.' || SUBSTR(CAST(10000 + ABS(shipping) % 10000 AS TEXT), 2) AS shipping,
    CASE WHEN other < 0 THEN '-' ELSE '' END || CAST(ABS(other) / 10000 AS TEXT) || '.' || SUBSTR(CAST(10000 + ABS(other) % 10000 AS TEXT), 2) AS other,
    test,
    (SELECT CAST(y AS TEXT) || '-' || SUBSTR(CAST(100 + m AS TEXT), 2) || '-' || SUBSTR(CAST(100 + d AS TEXT), 2) || 'T' ||
    SUBSTR(CAST(100 + s / 3600000000 AS TEXT), 2) || ':' || SUBSTR(CAST(100 + s / 60000000 % 60 AS TEXT), 2) || ':' ||
    SUBSTR(CAST(100 + s / 1000000 % 60 AS TEXT), 2) || '.' || SUBSTR(CAST(1000000 + s % 1000000 AS TEXT), 2) || 'Z'
    FROM (SELECT s, 100 * c + yy + mm / 10 AS y, mm + 3 - 12 * (mm / 10) AS m, doy - (153 * mm + 2) / 5 + 1 AS d
    FROM (SELECT s, c, yy, doy, (5 * doy + 2) / 153 AS mm
    FROM (SELECT s, c, yy, r - 1461 * yy / 4 AS doy
    FROM (SELECT s, c, r, (4 * r + 3) / 1461 AS yy
    FROM (SELECT s, c, z - 146097 * c / 4 AS r
    FROM (SELECT s, z, (4 * z + 3) / 146097 AS c
    FROM (SELECT happened_at % 86400000000 AS s, happened_at / 86400000000 + 719468 AS z) t1) t2) t3) t4) t5) t6) t7) AS happened_at
FROM invoicing_withdrawals;

CREATE VIEW invoicing_withdrawal_lines_view AS
SELECT order_key, withdrawal, line_id, how,
    CASE WHEN quantity < 0 THEN '-' ELSE '' END || CAST(ABS(quantity) / 10000 AS TEXT) || '.' || SUBSTR(CAST(10000 + ABS(quantity) % 10000 AS TEXT), 2) AS quantity,
    CASE WHEN amount < 0 THEN '-' ELSE '' END || CAST(ABS(amount) / 10000 AS TEXT) || '.' || SUBSTR(CAST(10000 + ABS(amount) % 10000 AS TEXT), 2) AS amount
FROM invoicing_withdrawal_lines;

CREATE VIEW invoicing_credit_notes_view AS
SELECT order_key, withdrawal, number, legal_entity, issue_date, cause,
    CASE WHEN net < 0 THEN '-' ELSE '' END || CAST(ABS(net) / 10000 AS TEXT) || '.' || SUBSTR(CAST(10000 + ABS(net) % 10000 AS TEXT), 2) AS net,
    CASE WHEN tax < 0 THEN '-' ELSE '' END || CAST(ABS(tax) / 10000 AS TEXT) || '.' || SUBSTR(CAST(10000 + ABS(tax) % 10000 AS TEXT), 2) AS tax,
    CASE WHEN gross < 0 THEN '-' ELSE '' END || CAST(ABS(gross) / 10000 AS TEXT) || '.' || SUBSTR(CAST(10000 + ABS(gross) % 10000 AS TEXT), 2) AS gross
FROM invoicing_credit_notes;

CREATE VIEW invoicing_credit_note_lines_view AS
SELECT order_key, withdrawal, line_no, invoice_line, description,
    CASE WHEN quantity < 0 THEN '-' ELSE '' END || CAST(ABS(quantity) / 10000 AS TEXT) || '.' || SUBSTR(CAST(10000 + ABS(quantity) % 10000 AS TEXT), 2) AS quantity,
    CASE WHEN net < 0 THEN '-' ELSE '' END || CAST(ABS(net) / 10000 AS TEXT) || '.' || SUBSTR(CAST(10000 + ABS(net) % 10000 AS TEXT), 2) AS net,
    CASE WHEN tax < 0 THEN '-' ELSE '' END || CAST(ABS(tax) / 10000 AS TEXT) || '.' || SUBSTR(CAST(10000 + ABS(tax) % 10000 AS TEXT), 2) AS tax,
    tax_code
FROM invoicing_credit_note_lines;

CREATE VIEW invoicing_payments_view AS
SELECT order_key, payment_id, capture_seq, event_id,
    CASE WHEN amount < 0 THEN '-' ELSE '' END || CAST(ABS(amount) / 10000 AS TEXT) || '.' || SUBSTR(CAST(10000 + ABS(amount) % 10000 AS TEXT), 2) AS amount,
    currency, test,
    (SELECT CAST(y AS TEXT) || '-' || SUBSTR(CAST(100 + m AS TEXT), 2) || '-' || SUBSTR(CAST(100 + d AS TEXT), 2) || 'T' ||
    SUBSTR(CAST(100 + s / 3600000000 AS TEXT), 2) || ':' || SUBSTR(CAST(100 + s / 60000000 % 60 AS TEXT), 2) || ':' ||
    SUBSTR(CAST(100 + s / 1000000 % 60 AS TEXT), 2) || '.' || SUBSTR(CAST(1000000 + s % 1000000 AS TEXT), 2) || 'Z'
    FROM (SELECT s, 100 * c + yy + mm / 10 AS y, mm + 3 - 12 * (mm / 10) AS m, doy - (153 * mm + 2) / 5 + 1 AS d
    FROM (SELECT s, c, yy, doy, (5 * doy + 2) / 153 AS mm
    FROM (SELECT s, c, yy, r - 1461 * yy / 4 AS doy
    FROM (SELECT s, c, r, (4 * r + 3) / 1461 AS yy
    FROM (SELECT s, c, z - 146097 * c / 4 AS r
    FROM (SELECT s, z, (4 * z + 3) / 146097 AS c
    FROM (SELECT received_at % 86400000000 AS s, received_at / 86400000000 + 719468 AS z) t1) t2) t3) t4) t5) t6) t7) AS received_at
FROM invoicing_payments;

-- open = gross - credited - paid + refunded, in the currency of the invoice.
CREATE VIEW invoicing_balances AS
SELECT order_key, number, currency,
    CASE WHEN gross < 0 THEN '-' ELSE '' END || CAST(ABS(gross) / 10000 AS TEXT) || '.' || SUBSTR(CAST(10000 + ABS(gross) % 10000 AS TEXT), 2) AS gross,
    CASE WHEN credited < 0 THEN '-' ELSE '' END || CAST(ABS(credited) / 10000 AS TEXT) || '.' || SUBSTR(CAST(10000 + ABS(credited) % 10000 AS TEXT), 2) AS credited,
    CASE WHEN paid < 0 THEN '-' ELSE '' END || CAST(ABS(paid) / 10000 AS TEXT) || '.' || SUBSTR(CAST(10000 + ABS(paid) % 10000 AS TEXT), 2) AS paid,
    CASE WHEN refunded < 0 THEN '-' ELSE '' END || CAST(ABS(refunded) / 10000 AS TEXT) || '.' || SUBSTR(CAST(10000 + ABS(refunded) % 10000 AS TEXT), 2) AS refunded,
    CASE WHEN gross - credited - paid + refunded < 0 THEN '-' ELSE '' END || CAST(ABS(gross - credited - paid + refunded) / 10000 AS TEXT) || '.' || SUBSTR(CAST(10000 + ABS(gross - credited - paid + refunded) % 10000 AS TEXT), 2) AS open
FROM (
    SELECT i.order_key, i.number, i.currency, i.gross, i.credited_gross AS credited,
        COALESCE((SELECT CAST(SUM(p.amount) AS BIGINT) FROM invoicing_payments p
            WHERE p.order_key = i.order_key AND p.currency = i.currency AND NOT p.test), 0) AS paid,
        COALESCE((SELECT CAST(SUM(w.shipping + w.other) AS BIGINT) FROM invoicing_withdrawals w
            WHERE w.order_key = i.order_key AND w.currency = i.currency AND NOT w.test), 0) +
        COALESCE((SELECT CAST(SUM(l.amount) AS BIGINT) FROM invoicing_withdrawal_lines l
            JOIN invoicing_withdrawals w ON w.order_key = l.order_key AND w.withdrawal = l.withdrawal
            WHERE w.order_key = i.order_key AND w.currency = i.currency AND NOT w.test), 0) AS refunded
    FROM invoicing_invoices i
) b;

CREATE VIEW invoicing_totals AS
SELECT legal_entity, currency, invoices,
    CASE WHEN gross < 0 THEN '-' ELSE '' END || CAST(ABS(gross) / 10000 AS TEXT) || '.' || SUBSTR(CAST(10000 + ABS(gross) % 10000 AS TEXT), 2) AS gross,
    CASE WHEN tax < 0 THEN '-' ELSE '' END || CAST(ABS(tax) / 10000 AS TEXT) || '.' || SUBSTR(CAST(10000 + ABS(tax) % 10000 AS TEXT), 2) AS tax,
    CASE WHEN rounding < 0 THEN '-' ELSE '' END || CAST(ABS(rounding) / 10000 AS TEXT) || '.' || SUBSTR(CAST(10000 + ABS(rounding) % 10000 AS TEXT), 2) AS rounding,
    credit_notes,
    CASE WHEN credited < 0 THEN '-' ELSE '' END || CAST(ABS(credited) / 10000 AS TEXT) || '.' || SUBSTR(CAST(10000 + ABS(credited) % 10000 AS TEXT), 2) AS credited
FROM (
    SELECT i.legal_entity, i.currency, COUNT(*) AS invoices, CAST(SUM(i.gross) AS BIGINT) AS gross, CAST(SUM(i.tax) AS BIGINT) AS tax,
        CAST(SUM(i.rounding) AS BIGINT) AS rounding, CAST(SUM(i.credited_gross) AS BIGINT) AS credited,
        CAST(SUM((SELECT COUNT(*) FROM invoicing_credit_notes n WHERE n.order_key = i.order_key)) AS BIGINT) AS credit_notes
    FROM invoicing_invoices i GROUP BY i.legal_entity, i.currency
) t;

-- One row per event that left its mark, whatever the mark was.
CREATE VIEW invoicing_effects AS
SELECT event_id, fact, order_key, outcome AS effect FROM invoicing_orders
UNION ALL
SELECT w.event_id, w.fact, w.order_key,
    CASE WHEN w.test THEN 'TEST' WHEN n.number IS NULL THEN 'KEPT' ELSE 'CREDITED' END AS effect
FROM invoicing_withdrawals w LEFT JOIN invoicing_credit_notes n ON n.order_key = w.order_key AND n.withdrawal = w.withdrawal
UNION ALL
SELECT event_id, 'payment.received.v1' AS fact, order_key, CASE WHEN test THEN 'TEST' ELSE 'PAID' END AS effect FROM invoicing_payments;

-- +goose Down
DROP VIEW invoicing_effects;
DROP VIEW invoicing_totals;
DROP VIEW invoicing_balances;
DROP VIEW invoicing_payments_view;
DROP VIEW invoicing_credit_note_lines_view;
DROP VIEW invoicing_credit_notes_view;
DROP VIEW invoicing_withdrawal_lines_view;
DROP VIEW invoicing_withdrawals_view;
DROP VIEW invoicing_invoice_lines_view;
DROP VIEW invoicing_invoices_view;
DROP VIEW invoicing_orders_view;
DROP VIEW invoicing_counters_view;
DROP TABLE invoicing_payments;
DROP TABLE invoicing_credit_note_lines;
DROP TABLE invoicing_credit_notes;
DROP TABLE invoicing_withdrawal_lines;
DROP TABLE invoicing_withdrawals;
DROP TABLE invoicing_invoice_lines;
DROP TABLE invoicing_invoices;
DROP TABLE invoicing_orders;
DROP TABLE invoicing_counters;
