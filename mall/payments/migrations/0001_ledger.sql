-- +goose Up
CREATE TABLE {ledger} (
    currency   TEXT   NOT NULL PRIMARY KEY,
    authorized BIGINT NOT NULL,
    voided     BIGINT NOT NULL,
    captured   BIGINT NOT NULL,
    refunded   BIGINT NOT NULL
);

-- +goose Down
DROP TABLE {ledger};
