-- +goose Up
CREATE TABLE cost_orders (number BIGINT NOT NULL, key TEXT NOT NULL);

-- +goose Down
DROP TABLE cost_orders;
