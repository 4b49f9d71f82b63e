-- +goose Up
-- What needs a second person. by_asked lists what waits first.
CREATE TABLE {approvals} (
    approval TEXT   NOT NULL PRIMARY KEY,
    what     TEXT   NOT NULL,
    subject  TEXT   NOT NULL,
    amount   BIGINT NOT NULL,
    currency TEXT   NOT NULL,
    reason   TEXT   NOT NULL,
    status   TEXT   NOT NULL,
    waits    BIGINT NOT NULL,
    asker    TEXT   NOT NULL,
    asked    BIGINT NOT NULL,
    decider  TEXT   NOT NULL,
    detail   TEXT   NOT NULL
);
CREATE INDEX {approvals_by_asked} ON {approvals} (waits, asked);

-- +goose Down
DROP TABLE {approvals};
