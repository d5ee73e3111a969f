-- Images, versions and their manifests, aliases; blobs and uploads; publish jobs; principals and tokens; audit.
--
-- Times are microseconds since the Unix epoch, ids are 16-byte UUIDs, digests are `sha256:` and hexadecimal.
-- Messages of RAISE start with `imgsrv:`; the adapter maps what follows to a conflict.
--
-- The guarantees given to consumers hold against any DML, also with foreign keys switched off and against
-- INSERT OR REPLACE (which skips delete triggers): every guarded table refuses existing ids and keys
-- before an insert, and has no rowid, by which a row could be replaced unnoticed.

CREATE TABLE catalog_revision (
    only INTEGER PRIMARY KEY NOT NULL CHECK (only = 1),
    revision INTEGER NOT NULL
) STRICT;
INSERT INTO catalog_revision (only, revision) VALUES (1, 1);

-- Images ---------------------------------------------------------------------------------------------------

CREATE TABLE images (
    id BLOB PRIMARY KEY NOT NULL,
    name TEXT NOT NULL UNIQUE,
    display_name TEXT,
    description TEXT,
    has_published INTEGER NOT NULL DEFAULT 0 CHECK (has_published IN (0, 1)),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    revision INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX images_published ON images (name) WHERE has_published = 1;

CREATE TABLE versions (
    id BLOB PRIMARY KEY NOT NULL,
    image_id BLOB NOT NULL REFERENCES images (id),
    name TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('draft', 'publishing', 'published')),
    published_at INTEGER,
    listed_at INTEGER NOT NULL GENERATED ALWAYS AS (coalesce(published_at, created_at)) VIRTUAL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    CHECK ((state = 'published') = (published_at IS NOT NULL)),
    UNIQUE (image_id, name),
    UNIQUE (id, image_id, state)
) STRICT, WITHOUT ROWID;
CREATE INDEX versions_listed ON versions (image_id, listed_at, id);
CREATE INDEX versions_listed_by_state ON versions (image_id, state, listed_at, id);

-- One row for every version and alias of an image, kept by triggers, so that no name is used twice.
CREATE TABLE image_refs (
    image_id BLOB NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (image_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE aliases (
    id BLOB PRIMARY KEY NOT NULL,
    image_id BLOB NOT NULL,
    name TEXT NOT NULL,
    version_id BLOB NOT NULL,
    version_state TEXT NOT NULL DEFAULT 'published' CHECK (version_state = 'published'),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    UNIQUE (image_id, name),
    FOREIGN KEY (version_id, image_id, version_state) REFERENCES versions (id, image_id, state)
) STRICT, WITHOUT ROWID;
CREATE INDEX aliases_by_version ON aliases (version_id);

CREATE TRIGGER images_insert BEFORE INSERT ON images BEGIN
    SELECT RAISE(ABORT, 'imgsrv:image-name') FROM images WHERE id = NEW.id OR name = NEW.name;
    SELECT RAISE(ABORT, 'imgsrv:forbidden') WHERE NEW.has_published <> 0;
END;
CREATE TRIGGER images_update BEFORE UPDATE ON images BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden') WHERE NEW.id <> OLD.id OR NEW.name <> OLD.name
        OR NEW.has_published IS NOT EXISTS (SELECT 1 FROM versions WHERE image_id = OLD.id AND state = 'published');
END;
CREATE TRIGGER images_delete BEFORE DELETE ON images BEGIN
    SELECT RAISE(ABORT, 'imgsrv:image-in-use') FROM versions WHERE image_id = OLD.id;
END;

CREATE TRIGGER versions_insert BEFORE INSERT ON versions BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden') FROM versions WHERE id = NEW.id;
    SELECT RAISE(ABORT, 'imgsrv:ref-name') FROM image_refs WHERE image_id = NEW.image_id AND name = NEW.name;
    SELECT RAISE(ABORT, 'imgsrv:forbidden') WHERE NEW.state <> 'draft';
END;
CREATE TRIGGER versions_inserted AFTER INSERT ON versions BEGIN
    INSERT INTO image_refs (image_id, name) VALUES (NEW.image_id, NEW.name);
END;
CREATE TRIGGER versions_update BEFORE UPDATE ON versions BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden') WHERE OLD.state = 'published'
        OR NEW.id <> OLD.id OR NEW.image_id <> OLD.image_id OR NEW.name <> OLD.name
        OR NEW.created_at <> OLD.created_at
        OR (OLD.state = 'draft' AND NEW.state = 'published');
END;
CREATE TRIGGER versions_published AFTER UPDATE ON versions WHEN NEW.state = 'published' BEGIN
    UPDATE images SET has_published = 1 WHERE id = NEW.image_id AND has_published = 0;
END;
CREATE TRIGGER versions_delete BEFORE DELETE ON versions BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden') WHERE OLD.state <> 'draft';
END;
CREATE TRIGGER versions_deleted AFTER DELETE ON versions BEGIN
    DELETE FROM image_refs WHERE image_id = OLD.image_id AND name = OLD.name;
END;

CREATE TRIGGER aliases_insert BEFORE INSERT ON aliases BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden') FROM aliases WHERE id = NEW.id;
    SELECT RAISE(ABORT, 'imgsrv:ref-name') FROM image_refs WHERE image_id = NEW.image_id AND name = NEW.name;
    SELECT RAISE(ABORT, 'imgsrv:forbidden') WHERE NOT EXISTS (
        SELECT 1 FROM versions WHERE id = NEW.version_id AND image_id = NEW.image_id AND state = 'published');
END;
CREATE TRIGGER aliases_inserted AFTER INSERT ON aliases BEGIN
    INSERT INTO image_refs (image_id, name) VALUES (NEW.image_id, NEW.name);
END;
CREATE TRIGGER aliases_update BEFORE UPDATE ON aliases BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden') WHERE NEW.id <> OLD.id OR NEW.image_id <> OLD.image_id
        OR NEW.name <> OLD.name OR NEW.created_at <> OLD.created_at;
    SELECT RAISE(ABORT, 'imgsrv:forbidden') WHERE NOT EXISTS (
        SELECT 1 FROM versions WHERE id = NEW.version_id AND image_id = NEW.image_id AND state = 'published');
END;
CREATE TRIGGER aliases_deleted AFTER DELETE ON aliases BEGIN
    DELETE FROM image_refs WHERE image_id = OLD.image_id AND name = OLD.name;
END;

CREATE TRIGGER image_refs_insert BEFORE INSERT ON image_refs BEGIN
    SELECT RAISE(ABORT, 'imgsrv:ref-name') FROM image_refs WHERE image_id = NEW.image_id AND name = NEW.name;
END;
CREATE TRIGGER image_refs_update BEFORE UPDATE ON image_refs BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden');
END;
CREATE TRIGGER image_refs_delete BEFORE DELETE ON image_refs BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden') FROM versions WHERE image_id = OLD.image_id AND name = OLD.name;
    SELECT RAISE(ABORT, 'imgsrv:forbidden') FROM aliases WHERE image_id = OLD.image_id AND name = OLD.name;
END;

-- Manifests ------------------------------------------------------------------------------------------------

CREATE TABLE artifacts (
    id BLOB PRIMARY KEY NOT NULL,
    version_id BLOB NOT NULL REFERENCES versions (id),
    operating_system TEXT NOT NULL,
    architecture TEXT NOT NULL,
    variant TEXT NOT NULL,
    format TEXT NOT NULL,
    primary_blob_digest TEXT NOT NULL,
    primary_blob_size_bytes INTEGER NOT NULL CHECK (primary_blob_size_bytes >= 0),
    primary_media_type TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (version_id, operating_system, architecture, variant, format)
) STRICT, WITHOUT ROWID;
CREATE INDEX artifacts_by_digest ON artifacts (primary_blob_digest, version_id);

CREATE TABLE attachments (
    id BLOB PRIMARY KEY NOT NULL,
    version_id BLOB NOT NULL REFERENCES versions (id),
    artifact_id BLOB NOT NULL REFERENCES artifacts (id),
    name TEXT NOT NULL,
    media_type TEXT NOT NULL,
    blob_digest TEXT NOT NULL,
    blob_size_bytes INTEGER NOT NULL CHECK (blob_size_bytes >= 0),
    created_at INTEGER NOT NULL,
    UNIQUE (artifact_id, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX attachments_by_version ON attachments (version_id);
CREATE INDEX attachments_by_digest ON attachments (blob_digest, version_id);

-- Every file name that a version's artifacts and attachments make.
CREATE TABLE version_files (
    version_id BLOB NOT NULL REFERENCES versions (id),
    name TEXT NOT NULL,
    artifact_id BLOB NOT NULL REFERENCES artifacts (id),
    attachment_id BLOB REFERENCES attachments (id),
    PRIMARY KEY (version_id, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX version_files_by_artifact ON version_files (artifact_id);

CREATE TRIGGER artifacts_insert BEFORE INSERT ON artifacts BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden') WHERE NOT EXISTS (
        SELECT 1 FROM versions WHERE id = NEW.version_id AND state = 'draft');
    SELECT RAISE(ABORT, 'imgsrv:forbidden') FROM artifacts WHERE id = NEW.id;
    SELECT RAISE(ABORT, 'imgsrv:artifact-key') FROM artifacts WHERE version_id = NEW.version_id
        AND operating_system = NEW.operating_system AND architecture = NEW.architecture
        AND variant = NEW.variant AND format = NEW.format;
END;
CREATE TRIGGER artifacts_update BEFORE UPDATE ON artifacts BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden');
END;
CREATE TRIGGER artifacts_delete BEFORE DELETE ON artifacts BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden') FROM versions WHERE id = OLD.version_id AND state <> 'draft';
END;
CREATE TRIGGER attachments_insert BEFORE INSERT ON attachments BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden') WHERE NOT EXISTS (
        SELECT 1 FROM artifacts JOIN versions ON versions.id = artifacts.version_id
        WHERE artifacts.id = NEW.artifact_id AND versions.id = NEW.version_id AND versions.state = 'draft');
    SELECT RAISE(ABORT, 'imgsrv:forbidden') FROM attachments WHERE id = NEW.id;
    SELECT RAISE(ABORT, 'imgsrv:attachment-name') FROM attachments
        WHERE artifact_id = NEW.artifact_id AND name = NEW.name;
END;
CREATE TRIGGER attachments_update BEFORE UPDATE ON attachments BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden');
END;
CREATE TRIGGER attachments_delete BEFORE DELETE ON attachments BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden') FROM versions WHERE id = OLD.version_id AND state <> 'draft';
END;
CREATE TRIGGER version_files_insert BEFORE INSERT ON version_files BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden') WHERE NOT EXISTS (
        SELECT 1 FROM versions WHERE id = NEW.version_id AND state = 'draft');
    SELECT RAISE(ABORT, 'imgsrv:file-name') FROM version_files
        WHERE version_id = NEW.version_id AND name = NEW.name;
END;
CREATE TRIGGER version_files_update BEFORE UPDATE ON version_files BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden');
END;
CREATE TRIGGER version_files_delete BEFORE DELETE ON version_files BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden') FROM versions WHERE id = OLD.version_id AND state <> 'draft';
END;

-- Blobs ----------------------------------------------------------------------------------------------------

CREATE TABLE blobs (
    digest TEXT PRIMARY KEY NOT NULL,
    size_bytes INTEGER NOT NULL CHECK (size_bytes >= 0),
    storage_name TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL CHECK (state IN ('trusted', 'quarantined')),
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TRIGGER blobs_insert BEFORE INSERT ON blobs BEGIN
    SELECT RAISE(ABORT, 'imgsrv:blob-digest') FROM blobs
        WHERE digest = NEW.digest OR storage_name = NEW.storage_name;
    SELECT RAISE(ABORT, 'imgsrv:forbidden') WHERE NEW.state <> 'trusted';
END;
-- A blob's identity never changes; only a quarantined one may get other bytes, of the same digest and size.
CREATE TRIGGER blobs_update BEFORE UPDATE ON blobs BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden') WHERE NEW.digest <> OLD.digest OR NEW.size_bytes <> OLD.size_bytes
        OR (OLD.state = 'trusted' AND NEW.storage_name <> OLD.storage_name);
    SELECT RAISE(ABORT, 'imgsrv:forbidden') FROM blobs
        WHERE storage_name = NEW.storage_name AND digest <> OLD.digest;
END;
CREATE TRIGGER blobs_delete BEFORE DELETE ON blobs BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden') FROM artifacts WHERE primary_blob_digest = OLD.digest;
    SELECT RAISE(ABORT, 'imgsrv:forbidden') FROM attachments WHERE blob_digest = OLD.digest;
END;

-- Uploads --------------------------------------------------------------------------------------------------

-- Work that waits is due from `due_at` on; work that a worker holds may be taken over from `due_at` on.
CREATE TABLE upload_sessions (
    id BLOB PRIMARY KEY NOT NULL,
    created_by BLOB NOT NULL REFERENCES principals (id),
    expected_digest TEXT NOT NULL,
    expected_size_bytes INTEGER NOT NULL CHECK (expected_size_bytes >= 0),
    media_type_hint TEXT,
    filename_hint TEXT,
    state TEXT NOT NULL CHECK (state IN
        ('created', 'uploading', 'completed', 'ingesting', 'ready', 'failed', 'aborted')),
    failure_reason TEXT,
    expires_at INTEGER NOT NULL,
    received_bytes INTEGER NOT NULL CHECK (received_bytes BETWEEN 0 AND expected_size_bytes),
    attempts INTEGER NOT NULL,
    appender_attempt BLOB,
    appender_number INTEGER,
    frontier_number INTEGER,
    hashed_bytes INTEGER,
    hashed_state BLOB,
    wanted_since INTEGER,
    failing_since INTEGER,
    due_at INTEGER,
    lease_attempts INTEGER,
    lease_owner TEXT,
    cleared INTEGER NOT NULL DEFAULT 0 CHECK (cleared IN (0, 1)),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    revision INTEGER NOT NULL
) STRICT;
CREATE INDEX upload_sessions_due ON upload_sessions (due_at) WHERE state IN ('completed', 'ingesting');
CREATE INDEX upload_sessions_expiring ON upload_sessions (expires_at) WHERE state IN ('created', 'uploading');
CREATE INDEX upload_sessions_uncleared ON upload_sessions (updated_at)
    WHERE state IN ('ready', 'failed', 'aborted') AND cleared = 0;

CREATE TABLE upload_parts (
    session_id BLOB NOT NULL REFERENCES upload_sessions (id),
    number INTEGER NOT NULL CHECK (number BETWEEN 1 AND 10000),
    attempt BLOB NOT NULL UNIQUE,
    sequence INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL CHECK (size_bytes >= 0),
    place TEXT NOT NULL,
    hash_bytes INTEGER,
    hash_state BLOB,
    PRIMARY KEY (session_id, number)
) STRICT, WITHOUT ROWID;

-- Publish jobs ---------------------------------------------------------------------------------------------

CREATE TABLE publish_jobs (
    id BLOB PRIMARY KEY NOT NULL,
    version_id BLOB NOT NULL,
    image_name TEXT NOT NULL,
    version_name TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'abandoned')),
    wanted_since INTEGER,
    failing_since INTEGER,
    due_at INTEGER,
    lease_attempts INTEGER,
    lease_owner TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    started_at INTEGER,
    finished_at INTEGER,
    revision INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX publish_jobs_live ON publish_jobs (version_id) WHERE state <> 'abandoned';
CREATE INDEX publish_jobs_due ON publish_jobs (due_at) WHERE state IN ('queued', 'running');

CREATE TABLE publish_steps (
    job_id BLOB NOT NULL REFERENCES publish_jobs (id),
    sequence INTEGER NOT NULL,
    name TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'skipped')),
    reason TEXT,
    attempts INTEGER NOT NULL,
    started_at INTEGER,
    finished_at INTEGER,
    PRIMARY KEY (job_id, sequence),
    UNIQUE (job_id, name)
) STRICT, WITHOUT ROWID;

-- Principals and tokens ------------------------------------------------------------------------------------

CREATE TABLE principals (
    id BLOB PRIMARY KEY NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('user', 'service')),
    display_name TEXT NOT NULL,
    attributes TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    revision INTEGER NOT NULL
) STRICT;

CREATE TABLE principal_roles (
    principal_id BLOB NOT NULL REFERENCES principals (id),
    role TEXT NOT NULL,
    PRIMARY KEY (principal_id, role)
) STRICT, WITHOUT ROWID;
CREATE INDEX principal_roles_by_role ON principal_roles (role, principal_id);

CREATE TABLE api_tokens (
    id BLOB PRIMARY KEY NOT NULL,
    principal_id BLOB NOT NULL REFERENCES principals (id),
    lookup_key TEXT NOT NULL UNIQUE,
    secret_hash BLOB NOT NULL CHECK (length(secret_hash) = 32),
    name TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    last_used_at INTEGER,
    revoked_at INTEGER
) STRICT;
CREATE INDEX api_tokens_by_principal ON api_tokens (principal_id, id);

-- Audit ----------------------------------------------------------------------------------------------------

CREATE TABLE audit_log (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    at INTEGER NOT NULL,
    actor_kind TEXT NOT NULL CHECK (actor_kind IN ('principal', 'worker', 'operator')),
    actor TEXT,
    request_id TEXT,
    address TEXT,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT
) STRICT;

CREATE TRIGGER audit_log_insert BEFORE INSERT ON audit_log BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden') FROM audit_log WHERE id = NEW.id;
END;
CREATE TRIGGER audit_log_update BEFORE UPDATE ON audit_log BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden');
END;
CREATE TRIGGER audit_log_delete BEFORE DELETE ON audit_log BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden');
END;
