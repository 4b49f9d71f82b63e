-- +goose Up
CREATE TABLE {told} (
    order_id TEXT   NOT NULL PRIMARY KEY,
    times    BIGINT NOT NULL
);

-- +goose Down
DROP TABLE {told};
