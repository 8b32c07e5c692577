-- +goose Up

-- The waiting room is measured at each look: its sum is read from the index alone.
CREATE INDEX spine_waiting_room ON spine_waiting (ownership, bytes);

-- What a person gave up: neither handled nor lost.
CREATE TABLE spine_dropped (
    group_name   TEXT   NOT NULL,
    event_id     TEXT   NOT NULL,
    ownership    BIGINT NOT NULL,
    kafka_offset BIGINT NOT NULL,
    dropped_at   BIGINT NOT NULL,
    PRIMARY KEY (ownership, kafka_offset)
);
CREATE INDEX spine_dropped_at ON spine_dropped (group_name, dropped_at);

CREATE VIEW spine_dropped_v AS
SELECT d.group_name, d.event_id, o.topic, o.kafka_partition, d.kafka_offset,
    strftime('%Y-%m-%dT%H:%M:%S', d.dropped_at / 1000000, 'unixepoch') || printf('.%06dZ', d.dropped_at % 1000000) AS dropped_at
FROM spine_dropped d LEFT JOIN spine_ownership o ON o.id = d.ownership;

-- An effect whose outcome nobody knows may be given up, too. SQLite changes no CHECK:
-- the table is made anew.
DROP VIEW spine_effects_v;
DROP INDEX spine_effects_due;
CREATE TABLE spine_effects_new (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    group_name TEXT    NOT NULL,
    ownership  BIGINT  NOT NULL,
    name       TEXT    NOT NULL,
    effect_key TEXT    NOT NULL,
    args       BLOB,
    cause      BLOB,
    state      TEXT    NOT NULL CHECK (state IN ('pending', 'intent', 'unknown', 'done', 'dropped')),
    attempts   INTEGER NOT NULL,
    next_at    BIGINT  NOT NULL,
    created_at BIGINT  NOT NULL,
    changed_at BIGINT  NOT NULL,
    error      TEXT    NOT NULL,
    UNIQUE (group_name, name, effect_key)
);
INSERT INTO spine_effects_new SELECT * FROM spine_effects;
DROP TABLE spine_effects;
ALTER TABLE spine_effects_new RENAME TO spine_effects;
CREATE INDEX spine_effects_due ON spine_effects (ownership, next_at) WHERE state IN ('pending', 'intent');
CREATE INDEX spine_effects_ended ON spine_effects (group_name, changed_at) WHERE state IN ('done', 'dropped');
CREATE VIEW spine_effects_v AS
SELECT e.id, e.group_name, o.topic, o.kafka_partition, e.name, e.effect_key, e.state, e.attempts,
    CASE WHEN e.next_at > 0 THEN strftime('%Y-%m-%dT%H:%M:%S', e.next_at / 1000000, 'unixepoch') || printf('.%06dZ', e.next_at % 1000000) END AS next_at,
    strftime('%Y-%m-%dT%H:%M:%S', e.created_at / 1000000, 'unixepoch') || printf('.%06dZ', e.created_at % 1000000) AS created_at, strftime('%Y-%m-%dT%H:%M:%S', e.changed_at / 1000000, 'unixepoch') || printf('.%06dZ', e.changed_at % 1000000) AS changed_at, e.error
FROM spine_effects e LEFT JOIN spine_ownership o ON o.id = e.ownership;

-- A request is about a row of spine_waiting, or about one of spine_effects.
ALTER TABLE spine_requests ADD COLUMN target TEXT NOT NULL DEFAULT 'row';
DROP INDEX spine_requests_open;
CREATE UNIQUE INDEX spine_requests_open ON spine_requests (ownership, target, row_id, kind) WHERE done_at = 0;

-- +goose Down
DELETE FROM spine_requests WHERE target <> 'row';
DROP INDEX spine_requests_open;
CREATE UNIQUE INDEX spine_requests_open ON spine_requests (ownership, row_id, kind) WHERE done_at = 0;
ALTER TABLE spine_requests DROP COLUMN target;
DROP VIEW spine_effects_v;
DROP INDEX spine_effects_ended;
DROP INDEX spine_effects_due;
CREATE TABLE spine_effects_old (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    group_name TEXT    NOT NULL,
    ownership  BIGINT  NOT NULL,
    name       TEXT    NOT NULL,
    effect_key TEXT    NOT NULL,
    args       BLOB,
    cause      BLOB,
    state      TEXT    NOT NULL CHECK (state IN ('pending', 'intent', 'unknown', 'done')),
    attempts   INTEGER NOT NULL,
    next_at    BIGINT  NOT NULL,
    created_at BIGINT  NOT NULL,
    changed_at BIGINT  NOT NULL,
    error      TEXT    NOT NULL,
    UNIQUE (group_name, name, effect_key)
);
INSERT INTO spine_effects_old SELECT id, group_name, ownership, name, effect_key, args, cause,
    CASE state WHEN 'dropped' THEN 'done' ELSE state END, attempts, next_at, created_at, changed_at, error FROM spine_effects;
DROP TABLE spine_effects;
ALTER TABLE spine_effects_old RENAME TO spine_effects;
CREATE INDEX spine_effects_due ON spine_effects (ownership, next_at) WHERE state IN ('pending', 'intent');
CREATE VIEW spine_effects_v AS
SELECT e.id, e.group_name, o.topic, o.kafka_partition, e.name, e.effect_key, e.state, e.attempts,
    CASE WHEN e.next_at > 0 THEN strftime('%Y-%m-%dT%H:%M:%S', e.next_at / 1000000, 'unixepoch') || printf('.%06dZ', e.next_at % 1000000) END AS next_at,
    strftime('%Y-%m-%dT%H:%M:%S', e.created_at / 1000000, 'unixepoch') || printf('.%06dZ', e.created_at % 1000000) AS created_at, strftime('%Y-%m-%dT%H:%M:%S', e.changed_at / 1000000, 'unixepoch') || printf('.%06dZ', e.changed_at % 1000000) AS changed_at, e.error
FROM spine_effects e LEFT JOIN spine_ownership o ON o.id = e.ownership;
DROP VIEW spine_dropped_v;
DROP TABLE spine_dropped;
DROP INDEX spine_waiting_room;
