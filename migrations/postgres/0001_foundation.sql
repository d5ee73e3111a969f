-- Images, versions and their manifests, aliases; blobs and uploads; publish jobs; principals and tokens; audit.
--
-- Digests are `sha256:` and hexadecimal. Whatever is ordered is ordered by bytes (COLLATE "C"). Messages of raised
-- exceptions start with `imgsrv:`; the adapter maps what follows to a conflict, as it maps the names of constraints.
--
-- The guarantees given to consumers hold against any DML, TRUNCATE included. Transactions run at READ COMMITTED: a
-- trigger that relies on another row locks it first, so that the row cannot change before the transaction ends.

-- The catalog's clock: leases, expiry and publication times come from here, whatever the nodes' clocks say.
CREATE FUNCTION catalog_now() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE AS 'SELECT now()';

-- Refuses what the catalog's guarantees forbid.
CREATE FUNCTION forbid() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'imgsrv:forbidden';
END $$;

CREATE TABLE catalog_revision (
    "only" bigint PRIMARY KEY CHECK ("only" = 1),
    revision bigint NOT NULL
);
INSERT INTO catalog_revision ("only", revision) VALUES (1, 1);

-- Images ---------------------------------------------------------------------------------------------------

CREATE TABLE images (
    id uuid PRIMARY KEY,
    name text COLLATE "C" NOT NULL CONSTRAINT images_name UNIQUE,
    display_name text,
    description text,
    has_published boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    revision bigint NOT NULL
);
CREATE INDEX images_published ON images (name) WHERE has_published;

CREATE TABLE versions (
    id uuid PRIMARY KEY,
    image_id uuid NOT NULL CONSTRAINT versions_image REFERENCES images (id),
    name text COLLATE "C" NOT NULL,
    state text NOT NULL CHECK (state IN ('draft', 'publishing', 'published')),
    published_at timestamptz,
    listed_at timestamptz NOT NULL GENERATED ALWAYS AS (coalesce(published_at, created_at)) STORED,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    revision bigint NOT NULL,
    CHECK ((state = 'published') = (published_at IS NOT NULL)),
    CONSTRAINT versions_name UNIQUE (image_id, name),
    CONSTRAINT versions_state UNIQUE (id, image_id, state)
);
CREATE INDEX versions_listed ON versions (image_id, listed_at, id);
CREATE INDEX versions_listed_by_state ON versions (image_id, state, listed_at, id);

-- One row for every version and alias of an image, kept by triggers, so that no name is used twice.
CREATE TABLE image_refs (
    image_id uuid NOT NULL,
    name text COLLATE "C" NOT NULL,
    CONSTRAINT image_refs_name PRIMARY KEY (image_id, name)
);

CREATE TABLE aliases (
    id uuid PRIMARY KEY,
    image_id uuid NOT NULL,
    name text COLLATE "C" NOT NULL,
    version_id uuid NOT NULL,
    version_state text NOT NULL DEFAULT 'published' CHECK (version_state = 'published'),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    revision bigint NOT NULL,
    CONSTRAINT aliases_name UNIQUE (image_id, name),
    CONSTRAINT aliases_version FOREIGN KEY (version_id, image_id, version_state)
        REFERENCES versions (id, image_id, state)
);
CREATE INDEX aliases_by_version ON aliases (version_id);

CREATE FUNCTION images_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.has_published THEN
            RAISE EXCEPTION 'imgsrv:forbidden';
        END IF;
        RETURN NEW;
    ELSIF TG_OP = 'UPDATE' THEN
        IF NEW.id <> OLD.id OR NEW.name <> OLD.name OR (NEW.has_published IS DISTINCT FROM OLD.has_published
            AND NEW.has_published IS DISTINCT FROM
                EXISTS (SELECT 1 FROM versions WHERE image_id = OLD.id AND state = 'published')) THEN
            RAISE EXCEPTION 'imgsrv:forbidden';
        END IF;
        RETURN NEW;
    END IF;
    IF EXISTS (SELECT 1 FROM versions WHERE image_id = OLD.id) THEN
        RAISE EXCEPTION 'imgsrv:image-in-use';
    END IF;
    RETURN OLD;
END $$;
CREATE TRIGGER images_insert BEFORE INSERT ON images FOR EACH ROW EXECUTE FUNCTION images_guard();
CREATE TRIGGER images_update BEFORE UPDATE ON images FOR EACH ROW EXECUTE FUNCTION images_guard();
CREATE TRIGGER images_delete BEFORE DELETE ON images FOR EACH ROW EXECUTE FUNCTION images_guard();

-- Keeps image_refs for versions and aliases.
CREATE FUNCTION keep_ref() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO image_refs (image_id, name) VALUES (NEW.image_id, NEW.name);
    ELSE
        DELETE FROM image_refs WHERE image_id = OLD.image_id AND name = OLD.name;
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION versions_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.state <> 'draft' THEN
            RAISE EXCEPTION 'imgsrv:forbidden';
        END IF;
        RETURN NEW;
    ELSIF TG_OP = 'UPDATE' THEN
        IF OLD.state = 'published' OR NEW.id <> OLD.id OR NEW.image_id <> OLD.image_id OR NEW.name <> OLD.name
            OR NEW.created_at <> OLD.created_at OR (OLD.state = 'draft' AND NEW.state = 'published') THEN
            RAISE EXCEPTION 'imgsrv:forbidden';
        END IF;
        RETURN NEW;
    END IF;
    IF OLD.state <> 'draft' THEN
        RAISE EXCEPTION 'imgsrv:forbidden';
    END IF;
    RETURN OLD;
END $$;
CREATE TRIGGER versions_insert BEFORE INSERT ON versions FOR EACH ROW EXECUTE FUNCTION versions_guard();
CREATE TRIGGER versions_inserted AFTER INSERT ON versions FOR EACH ROW EXECUTE FUNCTION keep_ref();
CREATE TRIGGER versions_update BEFORE UPDATE ON versions FOR EACH ROW EXECUTE FUNCTION versions_guard();
CREATE TRIGGER versions_delete BEFORE DELETE ON versions FOR EACH ROW EXECUTE FUNCTION versions_guard();
CREATE TRIGGER versions_deleted AFTER DELETE ON versions FOR EACH ROW EXECUTE FUNCTION keep_ref();

CREATE FUNCTION mark_published() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE images SET has_published = true WHERE id = NEW.image_id AND NOT has_published;
    RETURN NULL;
END $$;
CREATE TRIGGER versions_published AFTER UPDATE ON versions FOR EACH ROW WHEN (NEW.state = 'published')
    EXECUTE FUNCTION mark_published();

CREATE FUNCTION aliases_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND (NEW.id <> OLD.id OR NEW.image_id <> OLD.image_id OR NEW.name <> OLD.name
        OR NEW.created_at <> OLD.created_at) THEN
        RAISE EXCEPTION 'imgsrv:forbidden';
    END IF;
    -- Without a lock: what is published stays so, and the foreign key holds it.
    IF NOT EXISTS (SELECT 1 FROM versions WHERE id = NEW.version_id AND image_id = NEW.image_id
        AND state = 'published') THEN
        RAISE EXCEPTION 'imgsrv:forbidden';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER aliases_insert BEFORE INSERT ON aliases FOR EACH ROW EXECUTE FUNCTION aliases_guard();
CREATE TRIGGER aliases_inserted AFTER INSERT ON aliases FOR EACH ROW EXECUTE FUNCTION keep_ref();
CREATE TRIGGER aliases_update BEFORE UPDATE ON aliases FOR EACH ROW EXECUTE FUNCTION aliases_guard();
CREATE TRIGGER aliases_deleted AFTER DELETE ON aliases FOR EACH ROW EXECUTE FUNCTION keep_ref();

CREATE FUNCTION image_refs_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM versions WHERE image_id = OLD.image_id AND name = OLD.name)
        OR EXISTS (SELECT 1 FROM aliases WHERE image_id = OLD.image_id AND name = OLD.name) THEN
        RAISE EXCEPTION 'imgsrv:forbidden';
    END IF;
    RETURN OLD;
END $$;
CREATE TRIGGER image_refs_update BEFORE UPDATE ON image_refs FOR EACH ROW EXECUTE FUNCTION forbid();
CREATE TRIGGER image_refs_delete BEFORE DELETE ON image_refs FOR EACH ROW EXECUTE FUNCTION image_refs_guard();

-- Manifests ------------------------------------------------------------------------------------------------

CREATE TABLE artifacts (
    id uuid PRIMARY KEY,
    version_id uuid NOT NULL REFERENCES versions (id),
    operating_system text COLLATE "C" NOT NULL,
    architecture text COLLATE "C" NOT NULL,
    variant text COLLATE "C" NOT NULL,
    format text COLLATE "C" NOT NULL,
    primary_blob_digest text COLLATE "C" NOT NULL,
    primary_blob_size_bytes bigint NOT NULL CHECK (primary_blob_size_bytes >= 0),
    primary_media_type text NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT artifacts_key UNIQUE (version_id, operating_system, architecture, variant, format)
);
CREATE INDEX artifacts_by_digest ON artifacts (primary_blob_digest, version_id);

CREATE TABLE attachments (
    id uuid PRIMARY KEY,
    version_id uuid NOT NULL REFERENCES versions (id),
    artifact_id uuid NOT NULL REFERENCES artifacts (id),
    name text COLLATE "C" NOT NULL,
    media_type text NOT NULL,
    blob_digest text COLLATE "C" NOT NULL,
    blob_size_bytes bigint NOT NULL CHECK (blob_size_bytes >= 0),
    created_at timestamptz NOT NULL,
    CONSTRAINT attachments_name UNIQUE (artifact_id, name)
);
CREATE INDEX attachments_by_version ON attachments (version_id);
CREATE INDEX attachments_by_digest ON attachments (blob_digest, version_id);

-- Every file name that a version's artifacts and attachments make.
CREATE TABLE version_files (
    version_id uuid NOT NULL REFERENCES versions (id),
    name text COLLATE "C" NOT NULL,
    artifact_id uuid NOT NULL REFERENCES artifacts (id),
    attachment_id uuid REFERENCES attachments (id),
    CONSTRAINT version_files_name PRIMARY KEY (version_id, name)
);
CREATE INDEX version_files_by_artifact ON version_files (artifact_id);

-- Artifacts, attachments and files come and go with a draft, and only with a draft. Its row is locked, so that a
-- publish running beside this waits, or has been waited for.
CREATE FUNCTION manifest_guard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    version uuid := CASE TG_OP WHEN 'DELETE' THEN OLD.version_id ELSE NEW.version_id END;
BEGIN
    PERFORM 1 FROM versions WHERE id = version AND state = 'draft' FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'imgsrv:forbidden';
    END IF;
    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    IF TG_TABLE_NAME = 'attachments' THEN
        PERFORM 1 FROM artifacts WHERE id = NEW.artifact_id AND version_id = NEW.version_id;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'imgsrv:forbidden';
        END IF;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER artifacts_insert BEFORE INSERT ON artifacts FOR EACH ROW EXECUTE FUNCTION manifest_guard();
CREATE TRIGGER artifacts_update BEFORE UPDATE ON artifacts FOR EACH ROW EXECUTE FUNCTION forbid();
CREATE TRIGGER artifacts_delete BEFORE DELETE ON artifacts FOR EACH ROW EXECUTE FUNCTION manifest_guard();
CREATE TRIGGER attachments_insert BEFORE INSERT ON attachments FOR EACH ROW EXECUTE FUNCTION manifest_guard();
CREATE TRIGGER attachments_update BEFORE UPDATE ON attachments FOR EACH ROW EXECUTE FUNCTION forbid();
CREATE TRIGGER attachments_delete BEFORE DELETE ON attachments FOR EACH ROW EXECUTE FUNCTION manifest_guard();
CREATE TRIGGER version_files_insert BEFORE INSERT ON version_files FOR EACH ROW EXECUTE FUNCTION manifest_guard();
CREATE TRIGGER version_files_update BEFORE UPDATE ON version_files FOR EACH ROW EXECUTE FUNCTION forbid();
CREATE TRIGGER version_files_delete BEFORE DELETE ON version_files FOR EACH ROW EXECUTE FUNCTION manifest_guard();

-- Blobs ----------------------------------------------------------------------------------------------------

CREATE TABLE blobs (
    digest text COLLATE "C" NOT NULL CONSTRAINT blobs_digest PRIMARY KEY,
    size_bytes bigint NOT NULL CHECK (size_bytes >= 0),
    storage_name text COLLATE "C" NOT NULL CONSTRAINT blobs_storage_name UNIQUE,
    state text NOT NULL CHECK (state IN ('trusted', 'quarantined')),
    created_at timestamptz NOT NULL
);

-- A blob's identity never changes; only a quarantined one may get other bytes, of the same digest and size.
CREATE FUNCTION blobs_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.state <> 'trusted' THEN
            RAISE EXCEPTION 'imgsrv:forbidden';
        END IF;
        RETURN NEW;
    ELSIF TG_OP = 'UPDATE' THEN
        IF NEW.digest <> OLD.digest OR NEW.size_bytes <> OLD.size_bytes
            OR (OLD.state = 'trusted' AND NEW.storage_name <> OLD.storage_name) THEN
            RAISE EXCEPTION 'imgsrv:forbidden';
        END IF;
        RETURN NEW;
    END IF;
    -- An older snapshot would not show who has named it meanwhile.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'imgsrv:forbidden';
    END IF;
    IF EXISTS (SELECT 1 FROM artifacts WHERE primary_blob_digest = OLD.digest)
        OR EXISTS (SELECT 1 FROM attachments WHERE blob_digest = OLD.digest) THEN
        RAISE EXCEPTION 'imgsrv:forbidden';
    END IF;
    RETURN OLD;
END $$;
CREATE TRIGGER blobs_insert BEFORE INSERT ON blobs FOR EACH ROW EXECUTE FUNCTION blobs_guard();
CREATE TRIGGER blobs_update BEFORE UPDATE ON blobs FOR EACH ROW EXECUTE FUNCTION blobs_guard();
CREATE TRIGGER blobs_delete BEFORE DELETE ON blobs FOR EACH ROW EXECUTE FUNCTION blobs_guard();

-- Naming a digest holds its blob, if there is one, against a deletion running beside this: whoever deletes waits for
-- this transaction, and then finds the name.
CREATE FUNCTION hold_blob() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_TABLE_NAME = 'artifacts' THEN
        PERFORM 1 FROM blobs WHERE digest = NEW.primary_blob_digest FOR KEY SHARE;
    ELSE
        PERFORM 1 FROM blobs WHERE digest = NEW.blob_digest FOR KEY SHARE;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER artifacts_hold_blob AFTER INSERT ON artifacts FOR EACH ROW EXECUTE FUNCTION hold_blob();
CREATE TRIGGER attachments_hold_blob AFTER INSERT ON attachments FOR EACH ROW EXECUTE FUNCTION hold_blob();

-- Uploads --------------------------------------------------------------------------------------------------

-- Principals come first here: sessions refer to them.
CREATE TABLE principals (
    id uuid CONSTRAINT principals_id PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('user', 'service')),
    display_name text NOT NULL,
    attributes jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    revision bigint NOT NULL
);

-- Work that waits is due from `due_at` on; work that a worker holds may be taken over from `due_at` on.
CREATE TABLE upload_sessions (
    id uuid PRIMARY KEY,
    created_by uuid NOT NULL REFERENCES principals (id),
    expected_digest text COLLATE "C" NOT NULL,
    expected_size_bytes bigint NOT NULL CHECK (expected_size_bytes >= 0),
    media_type_hint text,
    filename_hint text,
    state text NOT NULL CHECK (state IN
        ('created', 'uploading', 'completed', 'ingesting', 'ready', 'failed', 'aborted')),
    failure_reason text,
    expires_at timestamptz NOT NULL,
    received_bytes bigint NOT NULL CHECK (received_bytes BETWEEN 0 AND expected_size_bytes),
    attempts bigint NOT NULL,
    appender_attempt uuid,
    appender_number bigint,
    frontier_number bigint,
    hashed_bytes bigint,
    hashed_state bytea,
    wanted_since timestamptz,
    failing_since timestamptz,
    due_at timestamptz,
    lease_attempts bigint,
    lease_owner text,
    cleared boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    revision bigint NOT NULL
);
CREATE INDEX upload_sessions_due ON upload_sessions (due_at) WHERE state IN ('completed', 'ingesting');
CREATE INDEX upload_sessions_expiring ON upload_sessions (expires_at) WHERE state IN ('created', 'uploading');
CREATE INDEX upload_sessions_uncleared ON upload_sessions (updated_at)
    WHERE state IN ('ready', 'failed', 'aborted') AND NOT cleared;

CREATE TABLE upload_parts (
    session_id uuid NOT NULL REFERENCES upload_sessions (id),
    number bigint NOT NULL CHECK (number BETWEEN 1 AND 10000),
    attempt uuid NOT NULL UNIQUE,
    sequence bigint NOT NULL,
    size_bytes bigint NOT NULL CHECK (size_bytes >= 0),
    place text NOT NULL,
    hash_bytes bigint,
    hash_state bytea,
    PRIMARY KEY (session_id, number)
);

-- Publish jobs ---------------------------------------------------------------------------------------------

CREATE TABLE publish_jobs (
    id uuid PRIMARY KEY,
    version_id uuid NOT NULL,
    image_name text NOT NULL,
    version_name text NOT NULL,
    state text NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'abandoned')),
    wanted_since timestamptz,
    failing_since timestamptz,
    due_at timestamptz,
    lease_attempts bigint,
    lease_owner text,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    started_at timestamptz,
    finished_at timestamptz,
    revision bigint NOT NULL
);
CREATE UNIQUE INDEX publish_jobs_live ON publish_jobs (version_id) WHERE state <> 'abandoned';
CREATE INDEX publish_jobs_due ON publish_jobs (due_at) WHERE state IN ('queued', 'running');

CREATE TABLE publish_steps (
    job_id uuid NOT NULL REFERENCES publish_jobs (id),
    sequence bigint NOT NULL,
    name text NOT NULL,
    state text NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'skipped')),
    reason text,
    attempts bigint NOT NULL,
    started_at timestamptz,
    finished_at timestamptz,
    PRIMARY KEY (job_id, sequence),
    UNIQUE (job_id, name)
);

-- Roles and tokens -----------------------------------------------------------------------------------------

CREATE TABLE principal_roles (
    principal_id uuid NOT NULL REFERENCES principals (id),
    role text COLLATE "C" NOT NULL,
    PRIMARY KEY (principal_id, role)
);
CREATE INDEX principal_roles_by_role ON principal_roles (role, principal_id);

CREATE TABLE api_tokens (
    id uuid PRIMARY KEY,
    principal_id uuid NOT NULL REFERENCES principals (id),
    lookup_key text COLLATE "C" NOT NULL CONSTRAINT api_tokens_lookup_key UNIQUE,
    secret_hash bytea NOT NULL CHECK (length(secret_hash) = 32),
    name text NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    last_used_at timestamptz,
    revoked_at timestamptz
);
CREATE INDEX api_tokens_by_principal ON api_tokens (principal_id, id);

-- Audit ----------------------------------------------------------------------------------------------------

CREATE TABLE audit_log (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL,
    actor_kind text NOT NULL CHECK (actor_kind IN ('principal', 'worker', 'operator')),
    actor text,
    request_id text,
    address text,
    action text NOT NULL,
    subject text NOT NULL,
    detail text
);
CREATE TRIGGER audit_log_update BEFORE UPDATE ON audit_log FOR EACH ROW EXECUTE FUNCTION forbid();
CREATE TRIGGER audit_log_delete BEFORE DELETE ON audit_log FOR EACH ROW EXECUTE FUNCTION forbid();

-- TRUNCATE passes row triggers by --------------------------------------------------------------------------

CREATE TRIGGER images_truncate BEFORE TRUNCATE ON images EXECUTE FUNCTION forbid();
CREATE TRIGGER versions_truncate BEFORE TRUNCATE ON versions EXECUTE FUNCTION forbid();
CREATE TRIGGER image_refs_truncate BEFORE TRUNCATE ON image_refs EXECUTE FUNCTION forbid();
CREATE TRIGGER aliases_truncate BEFORE TRUNCATE ON aliases EXECUTE FUNCTION forbid();
CREATE TRIGGER artifacts_truncate BEFORE TRUNCATE ON artifacts EXECUTE FUNCTION forbid();
CREATE TRIGGER attachments_truncate BEFORE TRUNCATE ON attachments EXECUTE FUNCTION forbid();
CREATE TRIGGER version_files_truncate BEFORE TRUNCATE ON version_files EXECUTE FUNCTION forbid();
CREATE TRIGGER blobs_truncate BEFORE TRUNCATE ON blobs EXECUTE FUNCTION forbid();
CREATE TRIGGER audit_log_truncate BEFORE TRUNCATE ON audit_log EXECUTE FUNCTION forbid();
