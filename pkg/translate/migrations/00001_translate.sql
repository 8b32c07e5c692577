-- Times are in microseconds since 1970-01-01 UTC. The views are for people; their
-- timestamps are the civil calendar computed from the number of the day, in years that
-- begin in March, because SQLite and PostgreSQL share no function for it.

-- +goose Up
-- The last snapshot of each object and its version. body is NULL only within the
-- transaction of the first one: the row is there to be locked.
CREATE TABLE translate_objects (
    instance       TEXT   NOT NULL,
    object         TEXT   NOT NULL,
    id             TEXT   NOT NULL,
    body           BYTEA,
    source_version BIGINT NOT NULL, -- the vendor's time of change
    clock          BIGINT NOT NULL, -- the vendor's finer clock, 0 = none
    raw_offset     BIGINT NOT NULL, -- of the delivery in its partition of raw.<system>
    terminal       BIGINT NOT NULL CHECK (terminal IN (0, 1)),
    PRIMARY KEY (instance, object, id)
);

-- What became of each delivery that was translated; the dead ones stand with the dead
-- letters.
CREATE TABLE translate_outcomes (
    delivery_id TEXT   NOT NULL PRIMARY KEY,
    instance    TEXT   NOT NULL,
    kind        TEXT   NOT NULL,
    outcome     TEXT   NOT NULL CHECK (outcome IN ('facts', 'no_fact', 'stale', 'duplicate', 'split', 'rekeyed')),
    facts       BIGINT NOT NULL,
    event_ids   TEXT   NOT NULL, -- of these facts, with spaces between
    received_at BIGINT NOT NULL
);

CREATE VIEW translate_objects_view AS
SELECT instance, object, id,
    (SELECT CAST(y AS TEXT) || '-' || SUBSTR(CAST(100 + m AS TEXT), 2) || '-' || SUBSTR(CAST(100 + d AS TEXT), 2) || 'T' ||
    SUBSTR(CAST(100 + s / 3600000000 AS TEXT), 2) || ':' || SUBSTR(CAST(100 + s / 60000000 % 60 AS TEXT), 2) || ':' ||
    SUBSTR(CAST(100 + s / 1000000 % 60 AS TEXT), 2) || '.' || SUBSTR(CAST(1000000 + s % 1000000 AS TEXT), 2) || 'Z'
    FROM (SELECT s, 100 * c + yy + mm / 10 AS y, mm + 3 - 12 * (mm / 10) AS m, doy - (153 * mm + 2) / 5 + 1 AS d
    FROM (SELECT s, c, yy, doy, (5 * doy + 2) / 153 AS mm
    FROM (SELECT s, c, yy, r - 1461 * yy / 4 AS doy
    FROM (SELECT s, c, r, (4 * r + 3) / 1461 AS yy
    FROM (SELECT s, c, z - 146097 * c / 4 AS r
    FROM (SELECT s, z, (4 * z + 3) / 146097 AS c
    FROM (SELECT source_version % 86400000000 AS s, source_version / 86400000000 + 719468 AS z) t1) t2) t3) t4) t5) t6) t7) AS source_version,
    raw_offset, terminal = 1 AS terminal
FROM translate_objects;

CREATE VIEW translate_outcomes_view AS
SELECT delivery_id, instance, kind, outcome, facts, event_ids,
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
FROM translate_outcomes;

-- +goose Down
DROP VIEW translate_outcomes_view;
DROP VIEW translate_objects_view;
DROP TABLE translate_outcomes;
DROP TABLE translate_objects;
