-- +goose Up
-- What a robot is to do is list and upd, and lost where it fetches what another carries; steer is what it was told and has not done.
CREATE TABLE {robots} (
    robot   TEXT   NOT NULL PRIMARY KEY,
    carries BIGINT NOT NULL,
    home_x  BIGINT NOT NULL,
    home_y  BIGINT NOT NULL,
    state   TEXT   NOT NULL,
    battery BIGINT NOT NULL,
    x       BIGINT NOT NULL,
    y       BIGINT NOT NULL,
    list    TEXT   NOT NULL,
    lost    TEXT   NOT NULL,
    upd     BIGINT NOT NULL,
    steer   TEXT   NOT NULL
);

CREATE TABLE {lists} (
    list  TEXT NOT NULL PRIMARY KEY,
    ord   TEXT NOT NULL,
    state TEXT NOT NULL,
    robot TEXT NOT NULL
);

CREATE TABLE {places} (
    store TEXT   NOT NULL PRIMARY KEY,
    x     BIGINT NOT NULL,
    y     BIGINT NOT NULL
);

-- +goose Down
DROP TABLE {places};
DROP TABLE {lists};
DROP TABLE {robots};
