-- +goose Up

-- What a person asks the owner of a partition to do with a row of spine_waiting:
-- the only table that is written beside a running process. done_at: 0 = open.
CREATE TABLE spine_requests (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    group_name TEXT    NOT NULL,
    ownership  BIGINT  NOT NULL,
    kind       TEXT    NOT NULL CHECK (kind IN ('retry', 'redrive', 'drop')),
    row_id     BIGINT  NOT NULL,
    asked_at   BIGINT  NOT NULL,
    done_at    BIGINT  NOT NULL,
    result     TEXT    NOT NULL
);
CREATE UNIQUE INDEX spine_requests_open ON spine_requests (ownership, row_id, kind) WHERE done_at = 0;

-- How often a row was redriven: a redrive that never helps is to be noticed.
ALTER TABLE spine_waiting ADD COLUMN redriven INTEGER NOT NULL DEFAULT 0;

CREATE VIEW spine_requests_v AS
SELECT r.id, r.group_name, o.topic, o.kafka_partition, r.kind, r.row_id,
    strftime('%Y-%m-%dT%H:%M:%S', r.asked_at / 1000000, 'unixepoch') || printf('.%06dZ', r.asked_at % 1000000) AS asked_at,
    CASE WHEN r.done_at > 0 THEN strftime('%Y-%m-%dT%H:%M:%S', r.done_at / 1000000, 'unixepoch') || printf('.%06dZ', r.done_at % 1000000) END AS done_at,
    r.result
FROM spine_requests r LEFT JOIN spine_ownership o ON o.id = r.ownership;

-- +goose Down
DROP VIEW spine_requests_v;
ALTER TABLE spine_waiting DROP COLUMN redriven;
DROP TABLE spine_requests;
