-- +goose Up

-- Partitions that a person set to another offset: what was passed over is not lost, and
-- what came again is not out of order.
CREATE TABLE spine_resets (
    id              BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    group_name      TEXT    NOT NULL,
    topic           TEXT    NOT NULL,
    kafka_partition INTEGER NOT NULL,
    from_offset     BIGINT  NOT NULL,
    to_offset       BIGINT  NOT NULL,
    reset_at        BIGINT  NOT NULL,
    reset_by        TEXT    NOT NULL
);
CREATE INDEX spine_resets_group ON spine_resets (group_name, id);

CREATE VIEW spine_resets_v AS
SELECT id, group_name, topic, kafka_partition, from_offset, to_offset,
    to_char(to_timestamp(reset_at / 1000000) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS') || '.' || lpad((reset_at % 1000000)::text, 6, '0') || 'Z' AS reset_at, reset_by
FROM spine_resets;

-- +goose Down
DROP VIEW spine_resets_v;
DROP TABLE spine_resets;
