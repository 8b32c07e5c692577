-- Times are in microseconds since 1970-01-01 UTC.
-- The views are for people. SQLite and PostgreSQL share no function that shows a
-- timestamp, so it is spelled out: the civil calendar computed from the number of the
-- day, in years that begin in March.

-- +goose Up
CREATE TABLE notifications_orders (
    order_key    TEXT    NOT NULL PRIMARY KEY,
    instance     TEXT    NOT NULL,
    order_number TEXT    NOT NULL,
    email        TEXT    NOT NULL,
    name         TEXT    NOT NULL,
    articles     TEXT    NOT NULL,
    test         BOOLEAN NOT NULL,
    placed_at    BIGINT  NOT NULL
);

CREATE TABLE notifications_messages (
    message     TEXT   NOT NULL PRIMARY KEY,
    order_key   TEXT   NOT NULL,
    event_id    TEXT   NOT NULL,
    fact        TEXT   NOT NULL,
    template    TEXT   NOT NULL,
    status      TEXT   NOT NULL CHECK (status IN ('WAITING', 'REQUESTED', 'SENT', 'FAILED', 'NO_RECIPIENT', 'TEST', 'REPLAY', 'NOTHING')),
    reason      TEXT   NOT NULL,
    letter      TEXT   NOT NULL,
    happened_at BIGINT NOT NULL,
    sent_at     BIGINT
);

CREATE INDEX notifications_messages_by_order ON notifications_messages (order_key, status);

CREATE VIEW notifications_orders_view AS
SELECT order_key, instance, order_number, email, name, articles, test,
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
FROM notifications_orders;

CREATE VIEW notifications_messages_view AS
SELECT message, order_key, event_id, fact, template, status, reason,
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
    FROM (SELECT sent_at % 86400000000 AS s, sent_at / 86400000000 + 719468 AS z) t1) t2) t3) t4) t5) t6) t7) AS sent_at
FROM notifications_messages;

-- One row per event that left its mark, whatever the mark was.
CREATE VIEW notifications_effects AS
SELECT event_id, fact, order_key, status AS effect FROM notifications_messages;

-- +goose Down
DROP VIEW notifications_effects;
DROP VIEW notifications_messages_view;
DROP VIEW notifications_orders_view;
DROP TABLE notifications_messages;
DROP TABLE notifications_orders;
