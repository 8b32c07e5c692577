-- +goose Up
CREATE TABLE probe_effects (
    place    BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id TEXT NOT NULL, -- not unique: what is handled twice stands twice
    fact     TEXT NOT NULL
);

-- +goose Down
DROP TABLE probe_effects;
