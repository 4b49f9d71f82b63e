-- +goose Up
CREATE TABLE {customers} (
    customer TEXT   NOT NULL PRIMARY KEY,
    enabled  BIGINT NOT NULL
);

CREATE TABLE {shops} (
    store         TEXT   NOT NULL PRIMARY KEY,
    name          TEXT   NOT NULL,
    participating BIGINT NOT NULL
);

CREATE TABLE {products} (
    product       TEXT   NOT NULL PRIMARY KEY,
    store         TEXT   NOT NULL,
    sku           TEXT   NOT NULL,
    name          TEXT   NOT NULL,
    price         BIGINT NOT NULL,
    currency      TEXT   NOT NULL,
    price_version BIGINT NOT NULL,
    removed       BIGINT NOT NULL
);

-- +goose Down
DROP TABLE {products};
DROP TABLE {shops};
DROP TABLE {customers};
