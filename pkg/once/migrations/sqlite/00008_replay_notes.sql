-- +goose Up

-- What the group is told before the record leaves, in that transaction; '' = nothing.
ALTER TABLE spine_replay_records ADD COLUMN note TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE spine_replay_records DROP COLUMN note;
