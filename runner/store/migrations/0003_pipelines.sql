-- Steps of pipelines are jobs with a parent; what is reused, registered, published and grouped outlives its job.
ALTER TABLE job ADD COLUMN parent_id INTEGER REFERENCES job (id) ON DELETE CASCADE;
ALTER TABLE job ADD COLUMN step TEXT NOT NULL DEFAULT '';
ALTER TABLE job ADD COLUMN is_archived INTEGER NOT NULL DEFAULT 0;
ALTER TABLE job ADD COLUMN reused_from TEXT NOT NULL DEFAULT '';
ALTER TABLE job ADD COLUMN reuse_reason TEXT NOT NULL DEFAULT '';
CREATE INDEX job_by_parent ON job (parent_id, id) WHERE parent_id IS NOT NULL;
CREATE INDEX job_by_source ON job (reused_from) WHERE reused_from <> '';

DROP INDEX job_unended;
CREATE INDEX job_unended ON job (id)
    WHERE parent_id IS NULL AND status NOT IN ('Completed', 'Failed', 'Canceled');

CREATE TABLE output_record (
    job_id INTEGER NOT NULL REFERENCES job (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    type TEXT NOT NULL,
    path TEXT NOT NULL,
    content TEXT NOT NULL,
    PRIMARY KEY (job_id, name)
) STRICT;

CREATE TABLE reuse (
    job_id INTEGER PRIMARY KEY REFERENCES job (id) ON DELETE CASCADE,
    reuse_key TEXT NOT NULL,
    family TEXT NOT NULL,
    parts TEXT NOT NULL,
    is_source INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX reuse_by_key ON reuse (reuse_key, job_id) WHERE is_source = 1;
CREATE INDEX reuse_by_family ON reuse (family, job_id) WHERE is_source = 1;

CREATE TABLE content (
    path TEXT PRIMARY KEY,
    stamp TEXT NOT NULL,
    content TEXT NOT NULL
) STRICT;

CREATE TABLE asset (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('data', 'component')),
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    type TEXT NOT NULL,
    path TEXT NOT NULL DEFAULT '',
    document TEXT NOT NULL DEFAULT '{}',
    description TEXT NOT NULL DEFAULT '',
    tags TEXT NOT NULL DEFAULT '{}',
    job TEXT NOT NULL DEFAULT '',
    create_time REAL NOT NULL,
    UNIQUE (kind, name, version)
) STRICT;

CREATE TABLE published (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    description TEXT NOT NULL DEFAULT '',
    version TEXT NOT NULL DEFAULT '',
    status TEXT NOT NULL CHECK (status IN ('Active', 'Deprecated', 'Disabled')),
    document TEXT NOT NULL,
    job TEXT NOT NULL DEFAULT '',
    continue_on_step_failure INTEGER,
    create_time REAL NOT NULL
) STRICT;

CREATE TABLE experiment (
    name TEXT PRIMARY KEY,
    create_time REAL NOT NULL,
    archived_time REAL,
    tags TEXT NOT NULL DEFAULT '{}'
) STRICT;
