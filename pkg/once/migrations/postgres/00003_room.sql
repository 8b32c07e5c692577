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
    to_char(to_timestamp(d.dropped_at / 1000000) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS') || '.' || lpad((d.dropped_at % 1000000)::text, 6, '0') || 'Z' AS dropped_at
FROM spine_dropped d LEFT JOIN spine_ownership o ON o.id = d.ownership;

-- An effect whose outcome nobody knows may be given up, too.
ALTER TABLE spine_effects DROP CONSTRAINT spine_effects_state_check;
ALTER TABLE spine_effects ADD CONSTRAINT spine_effects_state_check
    CHECK (state IN ('pending', 'intent', 'unknown', 'done', 'dropped'));
CREATE INDEX spine_effects_ended ON spine_effects (group_name, changed_at) WHERE state IN ('done', 'dropped');

-- A request is about a row of spine_waiting, or about one of spine_effects.
ALTER TABLE spine_requests ADD COLUMN target TEXT NOT NULL DEFAULT 'row';
DROP INDEX spine_requests_open;
CREATE UNIQUE INDEX spine_requests_open ON spine_requests (ownership, target, row_id, kind) WHERE done_at = 0;

-- +goose Down
DELETE FROM spine_requests WHERE target <> 'row';
DROP INDEX spine_requests_open;
CREATE UNIQUE INDEX spine_requests_open ON spine_requests (ownership, row_id, kind) WHERE done_at = 0;
ALTER TABLE spine_requests DROP COLUMN target;
DROP INDEX spine_effects_ended;
UPDATE spine_effects SET state = 'done' WHERE state = 'dropped';
ALTER TABLE spine_effects DROP CONSTRAINT spine_effects_state_check;
ALTER TABLE spine_effects ADD CONSTRAINT spine_effects_state_check
    CHECK (state IN ('pending', 'intent', 'unknown', 'done'));
DROP VIEW spine_dropped_v;
DROP TABLE spine_dropped;
DROP INDEX spine_waiting_room;
