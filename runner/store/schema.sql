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
    revision INTEGER NOT NULL, -- from clock at the last visible change
    CHECK ((silent_status IS NOT NULL) = (status = 'NotResponding'))
) STRICT;

-- What a reader looks for when it records silence: jobs in progress with an old beat.
CREATE INDEX job_beating ON job (heartbeat_time)
    WHERE status NOT IN ('NotStarted', 'Completed', 'Failed', 'Canceled', 'NotResponding');

-- What a service looks at every few seconds.
CREATE INDEX job_unended ON job (id) WHERE status NOT IN ('Completed', 'Failed', 'Canceled');

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
