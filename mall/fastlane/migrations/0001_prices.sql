-- +goose Up
CREATE TABLE {prices} (
    product  TEXT   NOT NULL,
    version  BIGINT NOT NULL,
    store    TEXT   NOT NULL,
    sku      TEXT   NOT NULL,
    price    BIGINT NOT NULL,
    currency TEXT   NOT NULL,
    since    BIGINT NOT NULL,
    PRIMARY KEY (product, version)
);

CREATE INDEX {prices_by_sku} ON {prices} (sku, store);

-- +goose Down
DROP TABLE {prices};
