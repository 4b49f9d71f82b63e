-- +goose Up
-- hour is the beginning of the hour in microseconds.
CREATE TABLE {sales} (
    hour     BIGINT NOT NULL,
    currency TEXT   NOT NULL,
    orders   BIGINT NOT NULL,
    revenue  BIGINT NOT NULL,
    PRIMARY KEY (hour, currency)
);

CREATE TABLE {outcomes} (
    hour    BIGINT NOT NULL,
    outcome TEXT   NOT NULL,
    orders  BIGINT NOT NULL,
    PRIMARY KEY (hour, outcome)
);

CREATE TABLE {products} (
    product  TEXT   NOT NULL,
    currency TEXT   NOT NULL,
    orders   BIGINT NOT NULL,
    quantity BIGINT NOT NULL,
    amount   BIGINT NOT NULL,
    PRIMARY KEY (product, currency)
);

-- +goose Down
DROP TABLE {products};
DROP TABLE {outcomes};
DROP TABLE {sales};
