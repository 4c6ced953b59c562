-- A table is a document (JSON text) and the columns that queries need. Times are milliseconds since 1970-01-01 UTC.
-- BIGINT, TEXT and BOOLEAN mean the same in SQLite and PostgreSQL.

CREATE TABLE nodes (
    id         TEXT PRIMARY KEY,
    created_at BIGINT NOT NULL,
    document   TEXT   NOT NULL
);

-- Which nodes carry an identifier; the order is in the document.
CREATE TABLE identifiers (
    identifier TEXT NOT NULL,
    node       TEXT NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    PRIMARY KEY (identifier, node)
);
CREATE INDEX identifiers_node ON identifiers (node);

CREATE TABLE lookups (
    id          TEXT PRIMARY KEY,
    mac_address TEXT   NOT NULL UNIQUE,
    ip_address  TEXT,
    node        TEXT,
    proxy       TEXT,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL
);
CREATE INDEX lookups_ip ON lookups (ip_address);
CREATE INDEX lookups_node ON lookups (node);

CREATE TABLE obms (
    id      TEXT PRIMARY KEY,
    node    TEXT NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    service TEXT NOT NULL,
    config  TEXT NOT NULL,
    UNIQUE (node, service)
);

CREATE TABLE catalogs (
    id         TEXT PRIMARY KEY,
    node       TEXT   NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    source     TEXT   NOT NULL,
    data       TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX catalogs_node ON catalogs (node, source, created_at);

CREATE TABLE workflows (
    instance_id TEXT PRIMARY KEY,
    id          TEXT    NOT NULL UNIQUE,
    target      TEXT,
    parent_task TEXT,
    active      BOOLEAN NOT NULL,
    version     BIGINT  NOT NULL,
    due_at      BIGINT,
    created_at  BIGINT  NOT NULL,
    document    TEXT    NOT NULL
);
-- One active workflow per target, whoever races whom.
CREATE UNIQUE INDEX workflows_active_target ON workflows (target) WHERE active;
CREATE INDEX workflows_due ON workflows (due_at) WHERE active;
CREATE INDEX workflows_parent ON workflows (parent_task);
CREATE INDEX workflows_target ON workflows (target, created_at);

-- Graph and task definitions that users put; the built-in ones are in the program.
CREATE TABLE definitions (
    kind     TEXT NOT NULL,
    name     TEXT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (kind, name)
);

-- What a node is in the middle of: the boot it is in and who may log in.
CREATE TABLE sessions (
    node     TEXT PRIMARY KEY REFERENCES nodes (id) ON DELETE CASCADE,
    due_at   BIGINT,
    document TEXT NOT NULL
);
CREATE INDEX sessions_due ON sessions (due_at);

CREATE TABLE boots (
    id          TEXT PRIMARY KEY,
    mac_address TEXT   NOT NULL,
    number      BIGINT NOT NULL,
    document    TEXT   NOT NULL,
    UNIQUE (mac_address, number)
);

CREATE TABLE boot_events (
    boot        TEXT   NOT NULL REFERENCES boots (id) ON DELETE CASCADE,
    position    BIGINT NOT NULL,
    document    TEXT   NOT NULL,
    PRIMARY KEY (boot, position)
);
