-- +goose Up
CREATE TABLE {bb_log} (
	position <order>,
	kind     BIGINT NOT NULL,
	id       TEXT   NOT NULL,
	ref      TEXT   NOT NULL,
	stream   TEXT   NOT NULL,
	version  BIGINT NOT NULL,
	sequence BIGINT NOT NULL,
	type     TEXT   NOT NULL,
	data     <bytes> NOT NULL,
	meta     <bytes> NOT NULL,
	time     BIGINT NOT NULL,
	target   TEXT   NOT NULL
);
CREATE UNIQUE INDEX {bb_log_id} ON {bb_log} (id);
CREATE UNIQUE INDEX {bb_log_version} ON {bb_log} (stream, version) WHERE version > 0;

-- The last position that was given out, and the one up to which commands,
-- replies and calls were pruned.
CREATE TABLE {bb_head} (
	one      BIGINT PRIMARY KEY CHECK (one = 1),
	position BIGINT NOT NULL,
	pruned   BIGINT NOT NULL
);
INSERT INTO {bb_head} (one, position, pruned) VALUES (1, 0, 0);

-- Rows stand in the order of their insertion, so that the oldest are found
-- without an index over time.
CREATE TABLE {bb_answer} (
	entry       <serial>,
	id          TEXT   NOT NULL,
	fingerprint TEXT   NOT NULL,
	outcome     BIGINT NOT NULL,
	data        <bytes> NOT NULL,
	time        BIGINT NOT NULL
);
CREATE UNIQUE INDEX {bb_answer_id} ON {bb_answer} (id);

CREATE TABLE {bb_inbox} (
	entry        <serial>,
	subscription TEXT   NOT NULL,
	source       TEXT   NOT NULL,
	id           TEXT   NOT NULL,
	hash         TEXT   NOT NULL,
	time         BIGINT NOT NULL
);
CREATE UNIQUE INDEX {bb_inbox_id} ON {bb_inbox} (subscription, source, id);

CREATE TABLE {bb_saga} (
	name       TEXT   NOT NULL,
	id         TEXT   NOT NULL,
	definition BIGINT NOT NULL,
	state      TEXT   NOT NULL,
	data       <bytes> NOT NULL,
	due        BIGINT NOT NULL,
	started    BIGINT NOT NULL,
	updated    BIGINT NOT NULL,
	PRIMARY KEY (name, id)
);
CREATE INDEX {bb_saga_due} ON {bb_saga} (due) WHERE due > 0;

-- A generation is never used twice, not even after a timer was cancelled.
CREATE TABLE {bb_timer} (
	generation <lasting>,
	name       TEXT   NOT NULL,
	due        BIGINT NOT NULL,
	stream     TEXT   NOT NULL,
	type       TEXT   NOT NULL,
	data       <bytes> NOT NULL,
	meta       <bytes> NOT NULL
);
CREATE UNIQUE INDEX {bb_timer_name} ON {bb_timer} (name);
CREATE INDEX {bb_timer_due} ON {bb_timer} (due);

CREATE TABLE {bb_call} (
	entry       <lasting>,
	id          TEXT   NOT NULL,
	name        TEXT   NOT NULL,
	request     <bytes> NOT NULL,
	stream      TEXT   NOT NULL,
	meta        <bytes> NOT NULL,
	deadline    BIGINT NOT NULL,
	due         BIGINT NOT NULL,
	attempts    BIGINT NOT NULL,
	epoch       BIGINT NOT NULL,
	lease_until BIGINT NOT NULL,
	cause       TEXT   NOT NULL,
	created     BIGINT NOT NULL
);
CREATE UNIQUE INDEX {bb_call_id} ON {bb_call} (id);
CREATE INDEX {bb_call_stream} ON {bb_call} (stream, entry);
CREATE INDEX {bb_call_due} ON {bb_call} (name, due);

CREATE TABLE {bb_parked} (
	seq          <lasting>,
	subscription TEXT   NOT NULL,
	key          TEXT   NOT NULL,
	slice        BIGINT NOT NULL,
	source       TEXT   NOT NULL,
	id           TEXT   NOT NULL,
	record       <bytes> NOT NULL,
	cause        TEXT   NOT NULL,
	attempts     BIGINT NOT NULL,
	due          BIGINT NOT NULL,
	state        TEXT   NOT NULL,
	time         BIGINT NOT NULL
);
CREATE INDEX {bb_parked_key} ON {bb_parked} (subscription, key, seq);
CREATE INDEX {bb_parked_due} ON {bb_parked} (subscription, due) WHERE state = 'retrying';

CREATE TABLE {bb_blocked} (
	subscription TEXT   NOT NULL,
	key          TEXT   NOT NULL,
	slice        BIGINT NOT NULL,
	PRIMARY KEY (subscription, key)
) <clustered>;

CREATE TABLE {bb_subscription} (
	name   TEXT   PRIMARY KEY,
	slices BIGINT NOT NULL,
	hash   TEXT   NOT NULL
);

CREATE TABLE {bb_checkpoint} (
	subscription TEXT   NOT NULL,
	source       TEXT   NOT NULL,
	slice        BIGINT NOT NULL,
	position     BIGINT NOT NULL,
	epoch        BIGINT NOT NULL,
	owner        TEXT   NOT NULL,
	lease_until  BIGINT NOT NULL,
	PRIMARY KEY (subscription, source, slice)
) <clustered>;

CREATE TABLE {bb_amendment} (
	subscription TEXT   NOT NULL,
	source       TEXT   NOT NULL,
	id           TEXT   NOT NULL,
	discard      BIGINT NOT NULL,
	data         <bytes> NOT NULL,
	actor        TEXT   NOT NULL,
	why          TEXT   NOT NULL,
	time         BIGINT NOT NULL,
	PRIMARY KEY (subscription, source, id)
);

CREATE TABLE {bb_request} (
	id           <lasting>,
	subject      TEXT   NOT NULL,
	action       TEXT   NOT NULL,
	subscription TEXT   NOT NULL,
	key          TEXT   NOT NULL,
	seq          BIGINT NOT NULL,
	data         <bytes> NOT NULL,
	actor        TEXT   NOT NULL,
	why          TEXT   NOT NULL,
	time         BIGINT NOT NULL,
	done         BIGINT NOT NULL
);
CREATE INDEX {bb_request_open} ON {bb_request} (id) WHERE done = 0;

CREATE TABLE {bb_value} (
	name  TEXT PRIMARY KEY,
	value <bytes> NOT NULL
);

CREATE TABLE {bb_snapshot} (
	stream  TEXT   NOT NULL,
	layout  TEXT   NOT NULL,
	version BIGINT NOT NULL,
	data    <bytes> NOT NULL,
	PRIMARY KEY (stream, layout)
);

-- +goose Down
DROP TABLE {bb_snapshot};
DROP TABLE {bb_value};
DROP TABLE {bb_request};
DROP TABLE {bb_amendment};
DROP TABLE {bb_checkpoint};
DROP TABLE {bb_subscription};
DROP TABLE {bb_blocked};
DROP TABLE {bb_parked};
DROP TABLE {bb_call};
DROP TABLE {bb_timer};
DROP TABLE {bb_saga};
DROP TABLE {bb_inbox};
DROP TABLE {bb_answer};
DROP TABLE {bb_head};
DROP TABLE {bb_log};
