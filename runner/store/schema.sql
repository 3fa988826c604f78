-- The store as it is now; migrations/ leads here step by step, and a test holds the two together.
-- Times are seconds since 1970. JSON columns are written and read as whole values.

CREATE TABLE job (
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- order of creation, never used twice: the key of a page
    name TEXT NOT NULL UNIQUE,
    request_id TEXT UNIQUE, -- of the call that created it; asking again with it returns this job
    type TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN (
        'NotStarted', 'Starting', 'Provisioning', 'Preparing', 'Queued', 'Running', 'Finalizing',
        'CancelRequested', 'Completed', 'Failed', 'Canceled', 'NotResponding'
    )),
    silent_status TEXT CHECK (silent_status IN (
        'Starting', 'Provisioning', 'Preparing', 'Queued', 'Running', 'Finalizing', 'CancelRequested'
    )), -- while NotResponding: where the driver's next beat takes it back to
    run_number INTEGER NOT NULL DEFAULT 1,
    display_name TEXT NOT NULL DEFAULT '',
    description TEXT NOT NULL DEFAULT '',
    experiment_name TEXT NOT NULL DEFAULT '',
    tags TEXT NOT NULL DEFAULT '{}', -- JSON
    properties TEXT NOT NULL DEFAULT '{}', -- JSON
    document TEXT NOT NULL DEFAULT '{}', -- JSON: the job as its user wrote it
    create_time REAL NOT NULL,
    start_time REAL,
    end_time REAL,
    heartbeat_time REAL,
    host TEXT NOT NULL DEFAULT '',
    driver_pid INTEGER NOT NULL DEFAULT 0,
    created_by TEXT NOT NULL DEFAULT '',
    message TEXT NOT NULL DEFAULT '',
    progress TEXT NOT NULL DEFAULT '{}', -- JSON
    outputs TEXT NOT NULL DEFAULT '[]', -- JSON
    error TEXT, -- JSON
    revision INTEGER NOT NULL, -- from clock at the last visible change, of a pipeline also of its steps
    parent_id INTEGER REFERENCES job (id) ON DELETE CASCADE, -- the pipeline that this job is a step of
    step TEXT NOT NULL DEFAULT '', -- its key in that pipeline
    is_archived INTEGER NOT NULL DEFAULT 0,
    reused_from TEXT NOT NULL DEFAULT '', -- the job whose results stand in for those of this one
    reuse_reason TEXT NOT NULL DEFAULT '',
    CHECK ((silent_status IS NOT NULL) = (status = 'NotResponding'))
) STRICT;

-- What a reader looks for when it records silence: jobs in progress with an old beat.
CREATE INDEX job_beating ON job (heartbeat_time)
    WHERE status NOT IN ('NotStarted', 'Completed', 'Failed', 'Canceled', 'NotResponding');

-- What a service looks at every few seconds. Steps are looked after by their pipeline.
CREATE INDEX job_unended ON job (id)
    WHERE parent_id IS NULL AND status NOT IN ('Completed', 'Failed', 'Canceled');

CREATE INDEX job_by_parent ON job (parent_id, id) WHERE parent_id IS NOT NULL;

-- What must stay because another job shows it as its own.
CREATE INDEX job_by_source ON job (reused_from) WHERE reused_from <> '';

CREATE TABLE event (
    id INTEGER PRIMARY KEY,
    job_id INTEGER NOT NULL REFERENCES job (id) ON DELETE CASCADE,
    run_number INTEGER NOT NULL,
    time REAL NOT NULL,
    status TEXT NOT NULL CHECK (status IN (
        'NotStarted', 'Starting', 'Provisioning', 'Preparing', 'Queued', 'Running', 'Finalizing',
        'CancelRequested', 'Completed', 'Failed', 'Canceled', 'NotResponding'
    )),
    message TEXT NOT NULL DEFAULT ''
) STRICT;

CREATE INDEX event_by_job ON event (job_id, id);

-- How often a service has resumed a job by itself since it last got on, so that a job that kills its driver is let go.
CREATE TABLE orphan (
    job_id INTEGER PRIMARY KEY REFERENCES job (id) ON DELETE CASCADE,
    resume_count INTEGER NOT NULL,
    commit_count INTEGER NOT NULL
) STRICT;

-- The outputs of completed jobs as they were then: what a hit of reuse must still find.
CREATE TABLE output_record (
    job_id INTEGER NOT NULL REFERENCES job (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    type TEXT NOT NULL,
    path TEXT NOT NULL,
    content TEXT NOT NULL, -- JSON
    PRIMARY KEY (job_id, name)
) STRICT;

-- What decides whether the results of a step may be used again.
CREATE TABLE reuse (
    job_id INTEGER PRIMARY KEY REFERENCES job (id) ON DELETE CASCADE,
    reuse_key TEXT NOT NULL,
    family TEXT NOT NULL,
    parts TEXT NOT NULL, -- JSON: digest by name
    is_source INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX reuse_by_key ON reuse (reuse_key, job_id) WHERE is_source = 1;
CREATE INDEX reuse_by_family ON reuse (family, job_id) WHERE is_source = 1;

-- Digests of trees that were read, so that an unchanged one is not read again.
CREATE TABLE content (
    path TEXT PRIMARY KEY,
    stamp TEXT NOT NULL,
    content TEXT NOT NULL -- JSON
) STRICT;

-- Registered data and components. Of one name, the latest is the one with the highest id.
CREATE TABLE asset (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('data', 'component')),
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    type TEXT NOT NULL,
    path TEXT NOT NULL DEFAULT '',
    document TEXT NOT NULL DEFAULT '{}', -- JSON
    description TEXT NOT NULL DEFAULT '',
    tags TEXT NOT NULL DEFAULT '{}', -- JSON
    job TEXT NOT NULL DEFAULT '', -- that made it
    create_time REAL NOT NULL,
    UNIQUE (kind, name, version)
) STRICT;

CREATE TABLE published (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    description TEXT NOT NULL DEFAULT '',
    version TEXT NOT NULL DEFAULT '',
    status TEXT NOT NULL CHECK (status IN ('Active', 'Deprecated', 'Disabled')),
    document TEXT NOT NULL, -- JSON
    job TEXT NOT NULL DEFAULT '', -- that it was made from
    continue_on_step_failure INTEGER,
    create_time REAL NOT NULL
) STRICT;

CREATE TABLE experiment (
    name TEXT PRIMARY KEY,
    create_time REAL NOT NULL,
    archived_time REAL,
    tags TEXT NOT NULL DEFAULT '{}' -- JSON
) STRICT;

-- One row: the number of the last visible change to any job.
CREATE TABLE clock (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    revision INTEGER NOT NULL
) STRICT;

-- Which migrations this database has had; PRAGMA user_version repeats the highest number for a cheap look.
CREATE TABLE migration (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    apply_time REAL NOT NULL
) STRICT;
