-- How often a service has resumed a job by itself since it last got on, so that a job that kills its driver is let go.
CREATE TABLE orphan (
    job_id INTEGER PRIMARY KEY REFERENCES job (id) ON DELETE CASCADE,
    resume_count INTEGER NOT NULL,
    commit_count INTEGER NOT NULL
) STRICT;

-- What a service looks at every few seconds.
CREATE INDEX job_unended ON job (id) WHERE status NOT IN ('Completed', 'Failed', 'Canceled');
