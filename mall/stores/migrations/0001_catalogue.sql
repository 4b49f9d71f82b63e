-- +goose Up
CREATE TABLE {stores} (
    store         TEXT   NOT NULL PRIMARY KEY,
    name          TEXT   NOT NULL,
    location      TEXT   NOT NULL,
    participating BIGINT NOT NULL
);

CREATE TABLE {products} (
    product       TEXT   NOT NULL PRIMARY KEY,
    store         TEXT   NOT NULL,
    sku           TEXT   NOT NULL,
    barcode       TEXT   NOT NULL,
    name          TEXT   NOT NULL,
    description   TEXT   NOT NULL,
    price         BIGINT NOT NULL,
    currency      TEXT   NOT NULL,
    price_version BIGINT NOT NULL,
    removed       BIGINT NOT NULL
);

CREATE INDEX {products_by_sku} ON {products} (sku);
CREATE INDEX {products_by_name} ON {products} (name);

CREATE TABLE {prices} (
    product  TEXT   NOT NULL,
    version  BIGINT NOT NULL,
    price    BIGINT NOT NULL,
    currency TEXT   NOT NULL,
    since    BIGINT NOT NULL,
    PRIMARY KEY (product, version)
);

-- +goose Down
DROP TABLE {prices};
DROP TABLE {products};
DROP TABLE {stores};
