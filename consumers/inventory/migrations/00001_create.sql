-- Quantities are in 10^-4 units, times in microseconds since 1970-01-01 UTC.
-- The views are for people. SQLite and PostgreSQL share no function that shows a
-- decimal or a timestamp, so both are spelled out: a timestamp is the civil calendar
-- computed from the number of the day, in years that begin in March.

-- +goose Up
CREATE TABLE inventory_levels (
    sku       TEXT   NOT NULL,
    warehouse TEXT   NOT NULL,
    on_hand   BIGINT NOT NULL,
    reserved  BIGINT NOT NULL CHECK (reserved >= 0),
    PRIMARY KEY (sku, warehouse)
);

CREATE TABLE inventory_orders (
    order_key TEXT   NOT NULL PRIMARY KEY,
    event_id  TEXT   NOT NULL,
    fact      TEXT   NOT NULL,
    instance  TEXT   NOT NULL,
    pool      TEXT   NOT NULL,
    outcome   TEXT   NOT NULL CHECK (outcome IN ('RESERVED', 'PARTIAL', 'SHORT', 'NOTHING', 'TEST')),
    placed_at BIGINT NOT NULL
);

CREATE TABLE inventory_lines (
    order_key TEXT   NOT NULL REFERENCES inventory_orders (order_key),
    line_id   TEXT   NOT NULL,
    sku       TEXT   NOT NULL,
    ordered   BIGINT NOT NULL,
    reserved  BIGINT NOT NULL CHECK (reserved IN (0, ordered)),
    released  BIGINT NOT NULL CHECK (released BETWEEN 0 AND reserved),
    PRIMARY KEY (order_key, line_id)
);

CREATE TABLE inventory_reservations (
    order_key  TEXT   NOT NULL,
    line_id    TEXT   NOT NULL,
    warehouse  TEXT   NOT NULL,
    preference BIGINT NOT NULL,
    reserved   BIGINT NOT NULL,
    released   BIGINT NOT NULL CHECK (released BETWEEN 0 AND reserved),
    PRIMARY KEY (order_key, line_id, warehouse),
    FOREIGN KEY (order_key, line_id) REFERENCES inventory_lines (order_key, line_id)
);

-- No reference to inventory_orders: a withdrawal may come before its order.
CREATE TABLE inventory_withdrawals (
    order_key   TEXT    NOT NULL,
    withdrawal  TEXT    NOT NULL,
    event_id    TEXT    NOT NULL,
    fact        TEXT    NOT NULL,
    reason      TEXT    NOT NULL,
    whole_order BOOLEAN NOT NULL,
    happened_at BIGINT  NOT NULL,
    PRIMARY KEY (order_key, withdrawal)
);

CREATE TABLE inventory_withdrawal_lines (
    order_key  TEXT   NOT NULL,
    withdrawal TEXT   NOT NULL,
    line_id    TEXT   NOT NULL,
    how        TEXT   NOT NULL CHECK (how IN ('CANCELLATION', 'CANCEL', 'RETURN')),
    quantity   BIGINT NOT NULL,
    PRIMARY KEY (order_key, withdrawal, line_id, how),
    FOREIGN KEY (order_key, withdrawal) REFERENCES inventory_withdrawals (order_key, withdrawal)
);

CREATE VIEW inventory_levels_view AS
SELECT sku, warehouse,
    CASE WHEN on_hand < 0 THEN '-' ELSE '' END || CAST(ABS(on_hand) / 10000 AS TEXT) || '.' || SUBSTR(CAST(10000 + ABS(on_hand) % 10000 AS TEXT), 2) AS on_hand,
    CASE WHEN reserved < 0 THEN '-' ELSE '' END || CAST(ABS(reserved) / 10000 AS TEXT) || '.' || SUBSTR(CAST(10000 + ABS(reserved) % 10000 AS TEXT), 2) AS reserved,
    CASE WHEN on_hand < reserved THEN '-' ELSE '' END || CAST(ABS(on_hand - reserved) / 10000 AS TEXT) || '.' || SUBSTR(CAST(10000 + ABS(on_hand - reserved) % 10000 AS TEXT), 2) AS available
FROM inventory_levels;

CREATE VIEW inventory_orders_view AS
SELECT order_key, event_id, fact, instance, pool, outcome,
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
FROM inventory_orders;

CREATE VIEW inventory_lines_view AS
SELECT order_key, line_id, sku,
    CASE WHEN ordered < 0 THEN '-' ELSE '' END || CAST(ABS(ordered) / 10000 AS TEXT) || '.' || SUBSTR(CAST(10000 + ABS(ordered) % 10000 AS TEXT), 2) AS ordered,
    CASE WHEN reserved < 0 THEN '-' ELSE '' END || CAST(ABS(reserved) / 10000 AS TEXT) || '.' || SUBSTR(CAST(10000 + ABS(reserved) % 10000 AS TEXT), 2) AS reserved,
    CASE WHEN released < 0 THEN '-' ELSE '' END || CAST(ABS(released) / 10000 AS TEXT) || '.' || SUBSTR(CAST(10000 + ABS(released) % 10000 AS TEXT), 2) AS released
FROM inventory_lines;

CREATE VIEW inventory_reservations_view AS
SELECT order_key, line_id, warehouse,
    CASE WHEN reserved < 0 THEN '-' ELSE '' END || CAST(ABS(reserved) / 10000 AS TEXT) || '.' || SUBSTR(CAST(10000 + ABS(reserved) % 10000 AS TEXT), 2) AS reserved,
    CASE WHEN released < 0 THEN '-' ELSE '' END || CAST(ABS(released) / 10000 AS TEXT) || '.' || SUBSTR(CAST(10000 + ABS(released) % 10000 AS TEXT), 2) AS released
FROM inventory_reservations;

CREATE VIEW inventory_withdrawals_view AS
SELECT order_key, withdrawal, event_id, fact, reason, whole_order,
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
FROM inventory_withdrawals;

CREATE VIEW inventory_withdrawal_lines_view AS
SELECT order_key, withdrawal, line_id, how,
    CASE WHEN quantity < 0 THEN '-' ELSE '' END || CAST(ABS(quantity) / 10000 AS TEXT) || '.' || SUBSTR(CAST(10000 + ABS(quantity) % 10000 AS TEXT), 2) AS quantity
FROM inventory_withdrawal_lines;

-- One row per event that left its mark, whatever the mark was.
CREATE VIEW inventory_effects AS
SELECT event_id, fact, order_key, outcome AS effect FROM inventory_orders
UNION ALL
SELECT event_id, fact, order_key, reason AS effect FROM inventory_withdrawals;

-- +goose Down
DROP VIEW inventory_effects;
DROP VIEW inventory_withdrawal_lines_view;
DROP VIEW inventory_withdrawals_view;
DROP VIEW inventory_reservations_view;
DROP VIEW inventory_lines_view;
DROP VIEW inventory_orders_view;
DROP VIEW inventory_levels_view;
DROP TABLE inventory_withdrawal_lines;
DROP TABLE inventory_withdrawals;
DROP TABLE inventory_reservations;
DROP TABLE inventory_lines;
DROP TABLE inventory_orders;
DROP TABLE inventory_levels;
