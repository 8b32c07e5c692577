-- +goose Up

-- Who owns a partition, and up to where it is done. epoch is random: a counter
-- would come back with a backup.
CREATE TABLE spine_ownership (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    group_name      TEXT    NOT NULL,
    topic           TEXT    NOT NULL,
    kafka_partition INTEGER NOT NULL,
    epoch           BIGINT  NOT NULL,
    start_offset    BIGINT  NOT NULL, -- where the group began: what is before is not its
    next_offset     BIGINT  NOT NULL,
    updated_at      BIGINT  NOT NULL,
    UNIQUE (group_name, topic, kafka_partition)
);

-- What a group has handled. No table refers to spine_ownership by a foreign key:
-- its check would lock the one row of the partition in every transaction.
CREATE TABLE spine_inbox (
    group_name   TEXT   NOT NULL,
    event_id     TEXT   NOT NULL,
    ownership    BIGINT NOT NULL,
    kafka_offset BIGINT NOT NULL,
    handled_at   BIGINT NOT NULL,
    PRIMARY KEY (group_name, event_id)
) WITHOUT ROWID;
CREATE INDEX spine_inbox_handled_at ON spine_inbox (group_name, handled_at);

-- Records that wait or are dead. key_hash: of the key that the row holds, NULL =
-- it holds none. next_at: the largest number = behind the first row of its key.
CREATE TABLE spine_waiting (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    ownership    BIGINT  NOT NULL,
    kafka_offset BIGINT  NOT NULL,
    state        TEXT    NOT NULL CHECK (state IN ('wait', 'dead')),
    event_id     TEXT    NOT NULL,
    key_hash     BIGINT,
    next_at      BIGINT  NOT NULL,
    attempts     INTEGER NOT NULL,
    first_failed BIGINT  NOT NULL,
    last_failed  BIGINT  NOT NULL,
    class        TEXT    NOT NULL,
    reason       TEXT    NOT NULL,
    bytes        BIGINT  NOT NULL,
    record_time  BIGINT  NOT NULL,
    record_key   BLOB,
    headers      BLOB    NOT NULL,
    record_value BLOB,
    UNIQUE (ownership, kafka_offset)
);
CREATE INDEX spine_waiting_due ON spine_waiting (ownership, state, next_at);
CREATE INDEX spine_waiting_key ON spine_waiting (ownership, key_hash, id);
CREATE INDEX spine_waiting_event ON spine_waiting (event_id);

-- Records on their way to Kafka, in order of id per input partition.
CREATE TABLE spine_outgoing (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    ownership       BIGINT  NOT NULL,
    kind            TEXT    NOT NULL CHECK (kind IN ('fact', 'dlq')),
    created_at      BIGINT  NOT NULL,
    topic           TEXT    NOT NULL,
    kafka_partition INTEGER NOT NULL,
    record_time     BIGINT  NOT NULL,
    record_key      BLOB,
    headers         BLOB    NOT NULL,
    record_value    BLOB
);
CREATE INDEX spine_outgoing_order ON spine_outgoing (ownership, id);

-- Calls to the outside. A row that is done stays: its key is not called again.
CREATE TABLE spine_effects (
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
CREATE INDEX spine_effects_due ON spine_effects (ownership, next_at) WHERE state IN ('pending', 'intent');

-- The same for people: times as text, partitions by name.
CREATE VIEW spine_ownership_v AS
SELECT id, group_name, topic, kafka_partition, start_offset, next_offset, strftime('%Y-%m-%dT%H:%M:%S', updated_at / 1000000, 'unixepoch') || printf('.%06dZ', updated_at % 1000000) AS updated_at
FROM spine_ownership;

CREATE VIEW spine_inbox_v AS
SELECT i.group_name, i.event_id, o.topic, o.kafka_partition, i.kafka_offset, strftime('%Y-%m-%dT%H:%M:%S', i.handled_at / 1000000, 'unixepoch') || printf('.%06dZ', i.handled_at % 1000000) AS handled_at
FROM spine_inbox i LEFT JOIN spine_ownership o ON o.id = i.ownership;

CREATE VIEW spine_waiting_v AS
SELECT w.id, o.group_name, o.topic, o.kafka_partition, w.kafka_offset, w.state, w.event_id,
    CASE WHEN w.key_hash IS NULL THEN 'no' ELSE 'yes' END AS holds_key,
    CAST(w.record_key AS TEXT) AS record_key, w.attempts,
    CASE WHEN w.next_at BETWEEN 1 AND 253402300799999999 THEN strftime('%Y-%m-%dT%H:%M:%S', w.next_at / 1000000, 'unixepoch') || printf('.%06dZ', w.next_at % 1000000) END AS next_at,
    CASE WHEN w.first_failed > 0 THEN strftime('%Y-%m-%dT%H:%M:%S', w.first_failed / 1000000, 'unixepoch') || printf('.%06dZ', w.first_failed % 1000000) END AS first_failed,
    CASE WHEN w.last_failed > 0 THEN strftime('%Y-%m-%dT%H:%M:%S', w.last_failed / 1000000, 'unixepoch') || printf('.%06dZ', w.last_failed % 1000000) END AS last_failed,
    w.class, w.reason, w.bytes
FROM spine_waiting w LEFT JOIN spine_ownership o ON o.id = w.ownership;

CREATE VIEW spine_outgoing_v AS
SELECT x.id, o.group_name, o.topic AS input_topic, o.kafka_partition AS input_partition, x.kind, x.topic,
    CAST(x.record_key AS TEXT) AS record_key, strftime('%Y-%m-%dT%H:%M:%S', x.created_at / 1000000, 'unixepoch') || printf('.%06dZ', x.created_at % 1000000) AS created_at
FROM spine_outgoing x LEFT JOIN spine_ownership o ON o.id = x.ownership;

CREATE VIEW spine_effects_v AS
SELECT e.id, e.group_name, o.topic, o.kafka_partition, e.name, e.effect_key, e.state, e.attempts,
    CASE WHEN e.next_at > 0 THEN strftime('%Y-%m-%dT%H:%M:%S', e.next_at / 1000000, 'unixepoch') || printf('.%06dZ', e.next_at % 1000000) END AS next_at,
    strftime('%Y-%m-%dT%H:%M:%S', e.created_at / 1000000, 'unixepoch') || printf('.%06dZ', e.created_at % 1000000) AS created_at, strftime('%Y-%m-%dT%H:%M:%S', e.changed_at / 1000000, 'unixepoch') || printf('.%06dZ', e.changed_at % 1000000) AS changed_at, e.error
FROM spine_effects e LEFT JOIN spine_ownership o ON o.id = e.ownership;

-- +goose Down
DROP VIEW spine_effects_v;
DROP VIEW spine_outgoing_v;
DROP VIEW spine_waiting_v;
DROP VIEW spine_inbox_v;
DROP VIEW spine_ownership_v;
DROP TABLE spine_effects;
DROP TABLE spine_outgoing;
DROP TABLE spine_waiting;
DROP TABLE spine_inbox;
DROP TABLE spine_ownership;
