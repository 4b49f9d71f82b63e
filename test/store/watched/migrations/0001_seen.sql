-- +goose Up
CREATE TABLE {seen} (
    order_id TEXT   NOT NULL,
    event    TEXT   NOT NULL,
    customer TEXT   NOT NULL,
    times    BIGINT NOT NULL,
    nth      BIGINT NOT NULL,
    PRIMARY KEY (order_id, event)
);

-- +goose Down
DROP TABLE {seen};
