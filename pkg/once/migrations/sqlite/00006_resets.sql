-- +goose Up

-- Partitions that a person set to another offset: what was passed over is not lost, and
-- what came again is not out of order.
CREATE TABLE spine_resets (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
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
    strftime('%Y-%m-%dT%H:%M:%S', reset_at / 1000000, 'unixepoch') || printf('.%06dZ', reset_at % 1000000) AS reset_at, reset_by
FROM spine_resets;

-- +goose Down
DROP VIEW spine_resets_v;
DROP TABLE spine_resets;
