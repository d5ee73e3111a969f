-- Uploads that come as a stream, perhaps of bytes whose digest only the last of them tells; and intakes, which say what
-- is to be published of such an upload.

-- `expected_digest` is empty while it is not known.
ALTER TABLE upload_sessions ADD COLUMN kind TEXT NOT NULL DEFAULT 'parts' CHECK (kind IN ('parts', 'stream'));
ALTER TABLE upload_sessions ADD COLUMN digest_taken INTEGER NOT NULL DEFAULT 0 CHECK (digest_taken IN (0, 1));
CREATE INDEX upload_sessions_open ON upload_sessions (created_by, id) WHERE state IN ('created', 'uploading');

CREATE TABLE intakes (
    id BLOB PRIMARY KEY NOT NULL REFERENCES upload_sessions (id),
    created_by BLOB NOT NULL REFERENCES principals (id),
    image_name TEXT NOT NULL,
    version_name TEXT NOT NULL,
    operating_system TEXT NOT NULL,
    architecture TEXT NOT NULL,
    variant TEXT NOT NULL,
    format TEXT NOT NULL,
    media_type TEXT NOT NULL,
    aliases TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('receiving', 'publishing', 'published', 'failed')),
    reason TEXT CHECK ((state = 'failed') = (reason IS NOT NULL)),
    job_id BLOB REFERENCES publish_jobs (id),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    CHECK (job_id IS NOT NULL OR state IN ('receiving', 'failed'))
) STRICT, WITHOUT ROWID;
CREATE INDEX intakes_live ON intakes (id) WHERE state IN ('receiving', 'publishing');
CREATE UNIQUE INDEX intakes_by_job ON intakes (job_id) WHERE job_id IS NOT NULL;

-- A blob that is quarantined or replaced changes the catalog revision, so that what was read before is read again.
CREATE TRIGGER blobs_revision AFTER UPDATE ON blobs WHEN NEW.state <> OLD.state BEGIN
    UPDATE catalog_revision SET revision = revision + 1;
END;
