-- +goose Up
-- One row for each event that a customer is told about. It stands for the entries numbered n - entries + 1 to n.
CREATE TABLE {feed} (
    customer TEXT   NOT NULL,
    n        BIGINT NOT NULL,
    entries  BIGINT NOT NULL,
    order_id TEXT   NOT NULL,
    event    TEXT   NOT NULL,
    PRIMARY KEY (customer, n)
);

-- +goose Down
DROP TABLE {feed};
