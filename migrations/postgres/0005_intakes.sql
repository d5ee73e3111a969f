-- Uploads that come as a stream, perhaps of bytes whose digest only the last of them tells; and intakes, which say what
-- is to be published of such an upload.

-- `expected_digest` is empty while it is not known.
ALTER TABLE upload_sessions ADD COLUMN kind text NOT NULL DEFAULT 'parts' CHECK (kind IN ('parts', 'stream'));
ALTER TABLE upload_sessions ADD COLUMN digest_taken boolean NOT NULL DEFAULT false;
CREATE INDEX upload_sessions_open ON upload_sessions (created_by, id) WHERE state IN ('created', 'uploading');

CREATE TABLE intakes (
    id uuid PRIMARY KEY REFERENCES upload_sessions (id),
    created_by uuid NOT NULL REFERENCES principals (id),
    image_name text COLLATE "C" NOT NULL,
    version_name text COLLATE "C" NOT NULL,
    operating_system text COLLATE "C" NOT NULL,
    architecture text COLLATE "C" NOT NULL,
    variant text COLLATE "C" NOT NULL,
    format text COLLATE "C" NOT NULL,
    media_type text NOT NULL,
    aliases text NOT NULL,
    state text NOT NULL CHECK (state IN ('receiving', 'publishing', 'published', 'failed')),
    reason text CHECK ((state = 'failed') = (reason IS NOT NULL)),
    job_id uuid REFERENCES publish_jobs (id),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    revision bigint NOT NULL,
    CHECK (job_id IS NOT NULL OR state IN ('receiving', 'failed'))
);
CREATE INDEX intakes_live ON intakes (id) WHERE state IN ('receiving', 'publishing');
CREATE UNIQUE INDEX intakes_by_job ON intakes (job_id) WHERE job_id IS NOT NULL;

-- A blob that is quarantined or replaced changes the catalog revision, so that what was read before is read again.
CREATE FUNCTION bump_revision() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE catalog_revision SET revision = revision + 1;
    RETURN NULL;
END $$;
CREATE TRIGGER blobs_revision AFTER UPDATE ON blobs
    FOR EACH ROW WHEN (NEW.state <> OLD.state) EXECUTE FUNCTION bump_revision();
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION %I.bump_revision() SET search_path = %I, pg_temp', current_schema(), current_schema());
END $$;
