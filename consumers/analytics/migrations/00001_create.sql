-- Money and quantities are in 10^-4 units, times in microseconds since 1970-01-01 UTC,
-- days ISO text.
-- The views are for people. SQLite and PostgreSQL share no function that shows a
-- decimal or a timestamp, so both are spelled out: a timestamp is the civil calendar
-- computed from the number of the day, in years that begin in March.

-- +goose Up
CREATE TABLE analytics_orders (
    order_key   TEXT    NOT NULL PRIMARY KEY,
    event_id    TEXT    NOT NULL,
    fact        TEXT    NOT NULL,
    instance    TEXT    NOT NULL,
    currency    TEXT    NOT NULL,
    order_day   TEXT    NOT NULL,
    test        BOOLEAN NOT NULL,
    placed_at   BIGINT  NOT NULL,
    recorded_at BIGINT  NOT NULL
);

CREATE TABLE analytics_order_parts (
    order_key TEXT   NOT NULL REFERENCES analytics_orders (order_key),
    part_no   BIGINT NOT NULL,
    line_id   TEXT   NOT NULL,
    kind      TEXT   NOT NULL CHECK (kind IN ('ARTICLE', 'TIP', 'SHIPPING', 'FEES', 'REST', 'OTHER')),
    sku       TEXT   NOT NULL,
    quantity  BIGINT NOT NULL,
    net       BIGINT NOT NULL,
    gross     BIGINT NOT NULL,
    PRIMARY KEY (order_key, part_no)
);

-- No reference to analytics_orders: a withdrawal may come before its order.
CREATE TABLE analytics_withdrawals (
    order_key   TEXT    NOT NULL,
    withdrawal  TEXT    NOT NULL,
    event_id    TEXT    NOT NULL,
    fact        TEXT    NOT NULL,
    kind        TEXT    NOT NULL CHECK (kind IN ('CANCELLATION', 'REFUND')),
    whole_order BOOLEAN NOT NULL,
    currency    TEXT    NOT NULL,
    shipping    BIGINT  NOT NULL,
    other       BIGINT  NOT NULL,
    booked_day  TEXT    NOT NULL,
    test        BOOLEAN NOT NULL,
    happened_at BIGINT  NOT NULL,
    recorded_at BIGINT  NOT NULL,
    PRIMARY KEY (order_key, withdrawal)
);

CREATE TABLE analytics_withdrawal_lines (
    order_key  TEXT   NOT NULL,
    withdrawal TEXT   NOT NULL,
    line_id    TEXT   NOT NULL,
    how        TEXT   NOT NULL CHECK (how IN ('CANCELLATION', 'REFUND', 'RETURN')),
    quantity   BIGINT NOT NULL,
    amount     BIGINT NOT NULL,
    PRIMARY KEY (order_key, withdrawal, line_id, how),
    FOREIGN KEY (order_key, withdrawal) REFERENCES analytics_withdrawals (order_key, withdrawal)
);

CREATE TABLE analytics_revenue (
    order_key   TEXT   NOT NULL,
    cause       TEXT   NOT NULL,
    part_no     BIGINT NOT NULL,
    movement    TEXT   NOT NULL CHECK (movement IN ('SALE', 'CANCELLATION', 'REFUND')),
    instance    TEXT   NOT NULL,
    currency    TEXT   NOT NULL,
    kind        TEXT   NOT NULL,
    sku         TEXT   NOT NULL,
    order_day   TEXT   NOT NULL,
    booked_day  TEXT   NOT NULL,
    amount      BIGINT NOT NULL,
    recorded_at BIGINT NOT NULL,
    PRIMARY KEY (order_key, cause, part_no),
    FOREIGN KEY (order_key, part_no) REFERENCES analytics_order_parts (order_key, part_no)
);

CREATE INDEX analytics_revenue_order_day ON analytics_revenue (order_day);
CREATE INDEX analytics_revenue_booked_day ON analytics_revenue (booked_day);

CREATE VIEW analytics_orders_view AS
SELECT order_key, event_id, fact, instance, currency, order_day, test,
    (SELECT CAST(y AS TEXT) || '-' || SUBSTR(CAST(100 + m AS TEXT), 2) || '-' || SUBSTR(CAST(100 + d AS TEXT), 2) || 'T' ||
    SUBSTR(CAST(100 + s / 3600000000 AS TEXT), 2) || ':' || SUBSTR(CAST(100 + s / 60000000 % 60 AS TEXT), 2) || ':' ||
    SUBSTR(CAST(100 + s / 1000000 % 60 AS TEXT), 2) || '.' || SUBSTR(CAST(1000000 + s % 1000000 AS TEXT), 2) || 'Z'
    FROM (SELECT s, 100 * c + yy + mm / 10 AS y, mm + 3 - 12 * (mm / 10) AS m, doy - (153 * mm + 2) / 5 + 1 AS d
    FROM (SELECT s, c, yy, doy, (5 * doy + 2) / 153 AS mm
    FROM (SELECT s, c, yy, r - 1461 * yy / 4 AS doy
    FROM (SELECT s, c, r, (4 * r + 3) / 1461 AS yy
    FROM (SELECT s, c, z - 146097 * c / 4 AS r
    FROM (SELECT s, z, (4 * z + 3) / 146097 AS c
    FROM (SELECT placed_at % 86400000000 AS s, placed_at / 86400000000 + 719468 AS z) t1) t2) t3) t4) t5) t6) t7) AS placed_at,
    (SELECT CAST(y AS TEXT) || '-' || SUBSTR(CAST(100 + m AS TEXT), 2) || '-' || SUBSTR(CAST(100 + d AS TEXT), 2) || 'T' ||
    SUBSTR(CAST(100 + s / 3600000000 AS TEXT), 2) || ':' || SUBSTR(CAST(100 + s / 60000000 % 60 AS TEXT), 2) || ':' ||
    SUBSTR(CAST(100 + s / 1000000 % 60 AS TEXT), 2) || '.' || SUBSTR(CAST(1000000 + s % 1000000 AS TEXT), 2) || 'Z'
    FROM (SELECT s, 100 * c + yy + mm / 10 AS y, mm + 3 - 12 * (mm / 10) AS m, doy - (153 * mm + 2) / 5 + 1 AS d
    FROM (SELECT s, c, yy, doy, (5 * doy + 2) / 153 AS mm
    FROM (SELECT s, c, yy, r - 1461 * yy / 4 AS doy
    FROM (SELECT s, c, r, (4 * r + 3) / 1461 AS yy
    FROM (SELECT s, c, z - 146097 * c / 4 AS r
    FROM (SELECT s, z, (4 * z + 3) / 146097 AS c
    FROM (SELECT recorded_at % 86400000000 AS s, recorded_at / 86400000000 + 719468 AS z) t1) t2) t3) t4) t5) t6) t7) AS recorded_at
FROM analytics_orders;

CREATE VIEW analytics_order_parts_view AS
SELECT order_key, part_no, line_id, kind, sku,
    CASE WHEN quantity < 0 THEN '-' ELSE '' END || CAST(ABS(quantity) / 10000 AS TEXT) || '.' || SUBSTR(CAST(10000 + ABS(quantity) % 10000 AS TEXT), 2) AS quantity,
    CASE WHEN net < 0 THEN '-' ELSE '' END || CAST(ABS(net) / 10000 AS TEXT) || '.' || SUBSTR(CAST(10000 + ABS(net) % 10000 AS TEXT), 2) AS net,
    CASE WHEN gross < 0 THEN '-' ELSE '' END || CAST(ABS(gross) / 10000 AS TEXT) || '.' || SUBSTR(CAST(10000 + ABS(gross) % 10000 AS TEXT), 2) AS gross
FROM analytics_order_parts;

CREATE VIEW analytics_withdrawals_view AS
SELECT order_key, withdrawal, event_id, fact, kind, whole_order, currency,
    CASE WHEN shipping < 0 THEN '-' ELSE '' END || CAST(ABS(shipping) / 10000 AS TEXT) || '.' || SUBSTR(CAST(10000 + ABS(shipping) % 10000 AS TEXT), 2) AS shipping,
    CASE WHEN other < 0 THEN '-' ELSE '' END || CAST(ABS(other) / 10000 AS TEXT) || '.' || SUBSTR(CAST(10000 + ABS(other) % 10000 AS TEXT), 2) AS other,
    booked_day, test,
    (SELECT CAST(y AS TEXT) || '-' || SUBSTR(CAST(100 + m AS TEXT), 2) || '-' || SUBSTR(CAST(100 + d AS TEXT), 2) || 'T' ||
    SUBSTR(CAST(100 + s / 3600000000 AS TEXT), 2) || ':' || SUBSTR(CAST(100 + s / 60000000 % 60 AS TEXT), 2) || ':' ||
    SUBSTR(CAST(100 + s / 1000000 % 60 AS TEXT), 2) || '.' || SUBSTR(CAST(1000000 + s % 1000000 AS TEXT), 2) || 'Z'
    FROM (SELECT s, 100 * c + yy + mm / 10 AS y, mm + 3 - 12 * (mm / 10) AS m, doy - (153 * mm + 2) / 5 + 1 AS d
    FROM (SELECT s, c, yy, doy, (5 * doy + 2) / 153 AS mm
    FROM (SELECT s, c, yy, r - 1461 * yy / 4 AS doy
    FROM (SELECT s, c, r, (4 * r + 3) / 1461 AS yy
    FROM (SELECT s, c, z - 146097 * c / 4 AS r
    FROM (SELECT s, z, (4 * z + 3) / 146097 AS c
    FROM (SELECT happened_at % 86400000000 AS s, happened_at / 86400000000 + 719468 AS z) t1) t2) t3) t4) t5) t6) t7) AS happened_at,
    (SELECT CAST(y AS TEXT) || '-' || SUBSTR(CAST(100 + m AS TEXT), 2) || '-' || SUBSTR(CAST(100 + d AS TEXT), 2) || 'T' ||
    SUBSTR(CAST(100 + s / 3600000000 AS TEXT), 2) || ':' || SUBSTR(CAST(100 + s / 60000000 % 60 AS TEXT), 2) || ':' ||
    SUBSTR(CAST(100 + s / 1000000 % 60 AS TEXT), 2) || '.' || SUBSTR(CAST(1000000 + s % 1000000 AS TEXT), 2) || 'Z'
    FROM (SELECT s, 100 * c + yy + mm / 10 AS y, mm + 3 - 12 * (mm / 10) AS m, doy - (153 * mm + 2) / 5 + 1 AS d
    FROM (SELECT s, c, yy, doy, (5 * doy + 2) / 153 AS mm
    FROM (SELECT s, c, yy, r - 1461 * yy / 4 AS doy
    FROM (SELECT s, c, r, (4 * r + 3) / 1461 AS yy
    FROM (SELECT s, c, z - 146097 * c / 4 AS r
    FROM (SELECT s, z, (4 * z + 3) / 146097 AS c
    FROM (SELECT recorded_at % 86400000000 AS s, recorded_at / 86400000000 + 719468 AS z) t1) t2) t3) t4) t5) t6) t7) AS recorded_at
FROM analytics_withdrawals;

CREATE VIEW analytics_withdrawal_lines_view AS
SELECT order_key, withdrawal, line_id, how,
    CASE WHEN quantity < 0 THEN '-' ELSE '' END || CAST(ABS(quantity) / 10000 AS TEXT) || '.' || SUBSTR(CAST(10000 + ABS(quantity) % 10000 AS TEXT), 2) AS quantity,
    CASE WHEN amount < 0 THEN '-' ELSE '' END || CAST(ABS(amount) / 10000 AS TEXT) || '.' || SUBSTR(CAST(10000 + ABS(amount) % 10000 AS TEXT), 2) AS amount
FROM analytics_withdrawal_lines;

CREATE VIEW analytics_revenue_view AS
SELECT order_key, cause, part_no, movement, instance, currency, kind, sku, order_day, booked_day,
    CASE WHEN amount < 0 THEN '-' ELSE '' END || CAST(ABS(amount) / 10000 AS TEXT) || '.' || SUBSTR(CAST(10000 + ABS(amount) % 10000 AS TEXT), 2) AS amount,
    (SELECT CAST(y AS TEXT) || '-' || SUBSTR(CAST(100 + m AS TEXT), 2) || '-' || SUBSTR(CAST(100 + d AS TEXT), 2) || 'T' ||
    SUBSTR(CAST(100 + s / 3600000000 AS TEXT), 2) || ':' || SUBSTR(CAST(100 + s / 60000000 % 60 AS TEXT), 2) || ':' ||
    SUBSTR(CAST(100 + s / 1000000 % 60 AS TEXT), 2) || '.' || SUBSTR(CAST(1000000 + s % 1000000 AS TEXT), 2) || 'Z'
    FROM (SELECT s, 100 * c + yy + mm / 10 AS y, mm + 3 - 12 * (mm / 10) AS m, doy - (153 * mm + 2) / 5 + 1 AS d
    FROM (SELECT s, c, yy, doy, (5 * doy + 2) / 153 AS mm
    FROM (SELECT s, c, yy, r - 1461 * yy / 4 AS doy
    FROM (SELECT s, c, r, (4 * r + 3) / 1461 AS yy
    FROM (SELECT s, c, z - 146097 * c / 4 AS r
    FROM (SELECT s, z, (4 * z + 3) / 146097 AS c
    FROM (SELECT recorded_at % 86400000000 AS s, recorded_at / 86400000000 + 719468 AS z) t1) t2) t3) t4) t5) t6) t7) AS recorded_at
FROM analytics_revenue;

CREATE VIEW analytics_revenue_by_order_day AS
SELECT day, instance, currency, sku, kind,
    CASE WHEN sold < 0 THEN '-' ELSE '' END || CAST(ABS(sold) / 10000 AS TEXT) || '.' || SUBSTR(CAST(10000 + ABS(sold) % 10000 AS TEXT), 2) AS sold,
    CASE WHEN taken_back < 0 THEN '-' ELSE '' END || CAST(ABS(taken_back) / 10000 AS TEXT) || '.' || SUBSTR(CAST(10000 + ABS(taken_back) % 10000 AS TEXT), 2) AS taken_back,
    CASE WHEN revenue < 0 THEN '-' ELSE '' END || CAST(ABS(revenue) / 10000 AS TEXT) || '.' || SUBSTR(CAST(10000 + ABS(revenue) % 10000 AS TEXT), 2) AS revenue
FROM (
    SELECT order_day AS day, instance, currency, sku, kind,
        CAST(SUM(CASE WHEN movement = 'SALE' THEN amount ELSE 0 END) AS BIGINT) AS sold,
        CAST(SUM(CASE WHEN movement = 'SALE' THEN 0 ELSE amount END) AS BIGINT) AS taken_back,
        CAST(SUM(amount) AS BIGINT) AS revenue
    FROM analytics_revenue GROUP BY order_day, instance, currency, sku, kind
) r;

CREATE VIEW analytics_revenue_by_booked_day AS
SELECT day, instance, currency, sku, kind,
    CASE WHEN sold < 0 THEN '-' ELSE '' END || CAST(ABS(sold) / 10000 AS TEXT) || '.' || SUBSTR(CAST(10000 + ABS(sold) % 10000 AS TEXT), 2) AS sold,
    CASE WHEN taken_back < 0 THEN '-' ELSE '' END || CAST(ABS(taken_back) / 10000 AS TEXT) || '.' || SUBSTR(CAST(10000 + ABS(taken_back) % 10000 AS TEXT), 2) AS taken_back,
    CASE WHEN revenue < 0 THEN '-' ELSE '' END || CAST(ABS(revenue) / 10000 AS TEXT) || '.' || SUBSTR(CAST(10000 + ABS(revenue) % 10000 AS TEXT), 2) AS revenue
FROM (
    SELECT booked_day AS day, instance, currency, sku, kind,
        CAST(SUM(CASE WHEN movement = 'SALE' THEN amount ELSE 0 END) AS BIGINT) AS sold,
        CAST(SUM(CASE WHEN movement = 'SALE' THEN 0 ELSE amount END) AS BIGINT) AS taken_back,
        CAST(SUM(amount) AS BIGINT) AS revenue
    FROM analytics_revenue GROUP BY booked_day, instance, currency, sku, kind
) r;

CREATE VIEW analytics_revenue_by_day AS
SELECT day, instance, currency, orders,
    CASE WHEN by_order_day < 0 THEN '-' ELSE '' END || CAST(ABS(by_order_day) / 10000 AS TEXT) || '.' || SUBSTR(CAST(10000 + ABS(by_order_day) % 10000 AS TEXT), 2) AS by_order_day,
    CASE WHEN by_booked_day < 0 THEN '-' ELSE '' END || CAST(ABS(by_booked_day) / 10000 AS TEXT) || '.' || SUBSTR(CAST(10000 + ABS(by_booked_day) % 10000 AS TEXT), 2) AS by_booked_day
FROM (
    SELECT day, instance, currency, CAST(SUM(orders) AS BIGINT) AS orders,
        CAST(SUM(ordered) AS BIGINT) AS by_order_day, CAST(SUM(booked) AS BIGINT) AS by_booked_day
    FROM (
        SELECT order_day AS day, instance, currency, 1 AS orders, 0 AS ordered, 0 AS booked FROM analytics_orders WHERE NOT test
        UNION ALL
        SELECT order_day, instance, currency, 0, amount, 0 FROM analytics_revenue
        UNION ALL
        SELECT booked_day, instance, currency, 0, 0, amount FROM analytics_revenue
    ) u GROUP BY day, instance, currency
) r;

-- One row per event that left its mark, whatever the mark was.
CREATE VIEW analytics_effects AS
SELECT event_id, fact, order_key, CASE WHEN test THEN 'TEST' ELSE 'COUNTED' END AS effect FROM analytics_orders
UNION ALL
SELECT w.event_id, w.fact, w.order_key,
    CASE WHEN w.test THEN 'TEST'
         WHEN EXISTS (SELECT 1 FROM analytics_revenue r WHERE r.order_key = w.order_key AND r.cause = w.withdrawal) THEN 'COUNTED'
         ELSE 'KEPT' END AS effect
FROM analytics_withdrawals w;

-- +goose Down
DROP VIEW analytics_effects;
DROP VIEW analytics_revenue_by_day;
DROP VIEW analytics_revenue_by_booked_day;
DROP VIEW analytics_revenue_by_order_day;
DROP VIEW analytics_revenue_view;
DROP VIEW analytics_withdrawal_lines_view;
DROP VIEW analytics_withdrawals_view;
DROP VIEW analytics_order_parts_view;
DROP VIEW analytics_orders_view;
DROP TABLE analytics_revenue;
DROP TABLE analytics_withdrawal_lines;
DROP TABLE analytics_withdrawals;
DROP TABLE analytics_order_parts;
DROP TABLE analytics_orders;
