-- +goose Up
-- What every account holds, in minor units of its currency. Those of a currency sum to zero.
CREATE TABLE {accounts} (
    currency TEXT   NOT NULL,
    account  TEXT   NOT NULL,
    balance  BIGINT NOT NULL,
    PRIMARY KEY (currency, account)
);

-- +goose Down
DROP TABLE {accounts};
