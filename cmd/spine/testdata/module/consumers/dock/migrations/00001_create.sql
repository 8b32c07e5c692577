-- +goose Up
CREATE TABLE dock_parcels (
    event_id TEXT   NOT NULL PRIMARY KEY,
    parcel   TEXT   NOT NULL,
    postage  BIGINT NOT NULL,
    currency TEXT   NOT NULL
);
