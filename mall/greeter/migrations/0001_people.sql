-- +goose Up
-- name is sealed.
CREATE TABLE {people} (
    customer TEXT   NOT NULL PRIMARY KEY,
    name     TEXT   NOT NULL,
    orders   BIGINT NOT NULL
);

CREATE TABLE {pickups} (
    order_id TEXT   NOT NULL PRIMARY KEY,
    customer TEXT   NOT NULL,
    ready    BIGINT NOT NULL
);

CREATE INDEX {pickups_by_customer} ON {pickups} (customer);

-- +goose Down
DROP TABLE {pickups};
DROP TABLE {people};
