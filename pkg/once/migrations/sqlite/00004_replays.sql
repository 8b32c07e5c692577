-- +goose Up

-- What a person asks the owners of a group's partitions to handle again. facts: names
-- with commas between them, '' = all. rate: records a second and partition, 0 = any.
CREATE TABLE spine_replays (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    group_name TEXT    NOT NULL,
    kind       TEXT    NOT NULL CHECK (kind IN ('facts', 'publish')),
    facts      TEXT    NOT NULL,
    backfill   BOOLEAN NOT NULL,
    effects    BOOLEAN NOT NULL,
    rate       INTEGER NOT NULL,
    asked_at   BIGINT  NOT NULL
);

-- A replay of one partition. next_offset is its cursor; the counts are of what is
-- below it. done_at: 0 = open.
CREATE TABLE spine_replay_parts (
    replay       BIGINT NOT NULL,
    ownership    BIGINT NOT NULL,
    from_offset  BIGINT NOT NULL,
    until_offset BIGINT NOT NULL,
    next_offset  BIGINT NOT NULL,
    handled      BIGINT NOT NULL,
    duplicate    BIGINT NOT NULL,
    standing     BIGINT NOT NULL,
    backfill     BIGINT NOT NULL,
    other        BIGINT NOT NULL,
    failed       BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL,
    done_at      BIGINT NOT NULL,
    result       TEXT   NOT NULL CHECK (result IN ('', 'done', 'dropped')),
    reason       TEXT   NOT NULL,
    PRIMARY KEY (replay, ownership)
);
CREATE INDEX spine_replay_parts_open ON spine_replay_parts (ownership, replay) WHERE done_at = 0;

-- Records that the owner of an input partition is to publish, in order of id.
CREATE TABLE spine_replay_records (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    replay          BIGINT  NOT NULL,
    ownership       BIGINT  NOT NULL,
    topic           TEXT    NOT NULL,
    kafka_partition INTEGER NOT NULL,
    record_key      BLOB,
    headers         BLOB   NOT NULL,
    record_value    BLOB
);
CREATE INDEX spine_replay_records_order ON spine_replay_records (replay, ownership, id);

-- The row failed in a replay without effects: it is handled without them.
ALTER TABLE spine_waiting ADD COLUMN silent BOOLEAN NOT NULL DEFAULT FALSE;

CREATE VIEW spine_replays_v AS
SELECT r.id, r.group_name, r.kind, r.facts, r.backfill AS with_backfill, r.effects, o.topic, o.kafka_partition,
    p.from_offset, p.until_offset, p.next_offset, p.handled, p.duplicate, p.standing, p.backfill, p.other, p.failed,
    p.result, p.reason, strftime('%Y-%m-%dT%H:%M:%S', r.asked_at / 1000000, 'unixepoch') || printf('.%06dZ', r.asked_at % 1000000) AS asked_at,
    CASE WHEN p.done_at > 0 THEN strftime('%Y-%m-%dT%H:%M:%S', p.done_at / 1000000, 'unixepoch') || printf('.%06dZ', p.done_at % 1000000) END AS done_at
FROM spine_replays r JOIN spine_replay_parts p ON p.replay = r.id LEFT JOIN spine_ownership o ON o.id = p.ownership;

-- +goose Down
DROP VIEW spine_replays_v;
ALTER TABLE spine_waiting DROP COLUMN silent;
DROP TABLE spine_replay_records;
DROP TABLE spine_replay_parts;
DROP TABLE spine_replays;
