-- What publishing finds out about a version, the rows of its Simple Streams projection, and which images changed when.

-- What the artifacts of a version are called in streams: `{architecture as Incus names it}:{variant}:{format}`.
CREATE TABLE version_products (
    version_id BLOB NOT NULL REFERENCES versions (id),
    product TEXT NOT NULL,
    artifact_id BLOB NOT NULL REFERENCES artifacts (id),
    PRIMARY KEY (version_id, product)
) STRICT, WITHOUT ROWID;
CREATE INDEX version_products_by_artifact ON version_products (artifact_id);

CREATE TRIGGER version_products_insert BEFORE INSERT ON version_products BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden') WHERE NOT EXISTS (
        SELECT 1 FROM versions WHERE id = NEW.version_id AND state = 'draft');
    SELECT RAISE(ABORT, 'imgsrv:product-key') FROM version_products
        WHERE version_id = NEW.version_id AND product = NEW.product;
END;
CREATE TRIGGER version_products_update BEFORE UPDATE ON version_products BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden');
END;
CREATE TRIGGER version_products_delete BEFORE DELETE ON version_products BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden') FROM versions WHERE id = OLD.version_id AND state <> 'draft';
END;

-- Published versions that streams are to list and that no `incus_index` has seen: those of before, and those that a
-- node of the version before publishes beside this one.
CREATE TABLE incus_backlog (
    version_id BLOB PRIMARY KEY NOT NULL REFERENCES versions (id)
) STRICT, WITHOUT ROWID;
INSERT INTO incus_backlog (version_id)
    SELECT DISTINCT attachments.version_id FROM attachments JOIN versions ON versions.id = attachments.version_id
    WHERE attachments.name = 'incus.tar.xz' AND versions.state = 'published';

CREATE TRIGGER incus_backlog_insert BEFORE INSERT ON incus_backlog BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden') WHERE NOT EXISTS (
        SELECT 1 FROM versions WHERE id = NEW.version_id AND state = 'publishing');
END;
CREATE TRIGGER incus_backlog_update BEFORE UPDATE ON incus_backlog BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden');
END;

CREATE TRIGGER versions_backlog BEFORE UPDATE ON versions
    WHEN NEW.state = 'published' AND OLD.state = 'publishing' BEGIN
    INSERT INTO incus_backlog (version_id)
        SELECT NEW.id WHERE EXISTS (SELECT 1 FROM attachments WHERE version_id = NEW.id AND name = 'incus.tar.xz')
        AND NOT EXISTS (SELECT 1 FROM publish_jobs JOIN publish_steps ON publish_steps.job_id = publish_jobs.id
            WHERE publish_jobs.version_id = NEW.id AND publish_jobs.state <> 'abandoned'
            AND publish_steps.name = 'incus_index' AND publish_steps.state = 'succeeded');
END;

-- Jobs that are not done pass the new step as well, and look into disks before it.
UPDATE publish_steps SET sequence = 3, state = CASE state WHEN 'running' THEN 'queued' ELSE state END
    WHERE name = 'finalize_publish' AND state <> 'succeeded' AND job_id IN
    (SELECT id FROM publish_jobs WHERE state IN ('queued', 'running', 'failed'));
INSERT INTO publish_steps (job_id, sequence, name, state, attempts)
    SELECT job_id, 2, 'incus_index', 'queued', 0 FROM publish_steps
    WHERE name = 'finalize_publish' AND sequence = 3;
UPDATE publish_steps SET state = 'queued', finished_at = NULL WHERE name = 'validate_catalog' AND state = 'succeeded'
    AND job_id IN (SELECT job_id FROM publish_steps WHERE name = 'finalize_publish' AND sequence = 3);

-- What the bytes of an artifact are, as far as they tell. It comes and goes while its version is being published.
CREATE TABLE inspections (
    artifact_id BLOB PRIMARY KEY NOT NULL REFERENCES artifacts (id),
    version_id BLOB NOT NULL REFERENCES versions (id),
    detected_format TEXT,
    virtual_size_bytes INTEGER CHECK (virtual_size_bytes >= 0),
    cluster_size_bytes INTEGER CHECK (cluster_size_bytes > 0),
    compression TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX inspections_by_version ON inspections (version_id);

CREATE TRIGGER inspections_insert BEFORE INSERT ON inspections BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden') WHERE NOT EXISTS (
        SELECT 1 FROM artifacts JOIN versions ON versions.id = artifacts.version_id
        WHERE artifacts.id = NEW.artifact_id AND versions.id = NEW.version_id AND versions.state = 'publishing');
    SELECT RAISE(ABORT, 'imgsrv:forbidden') FROM inspections WHERE artifact_id = NEW.artifact_id;
END;
CREATE TRIGGER inspections_update BEFORE UPDATE ON inspections BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden');
END;
CREATE TRIGGER inspections_delete BEFORE DELETE ON inspections BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden') FROM versions WHERE id = OLD.version_id AND state <> 'publishing';
END;

-- What steps of publishing found wrong without failing.
CREATE TABLE publish_warnings (
    version_id BLOB NOT NULL REFERENCES versions (id),
    step TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    artifact_id BLOB NOT NULL REFERENCES artifacts (id),
    reason TEXT NOT NULL,
    PRIMARY KEY (version_id, step, sequence)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER publish_warnings_insert BEFORE INSERT ON publish_warnings BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden') WHERE NOT EXISTS (
        SELECT 1 FROM artifacts JOIN versions ON versions.id = artifacts.version_id
        LEFT JOIN incus_backlog ON incus_backlog.version_id = versions.id
        WHERE artifacts.id = NEW.artifact_id AND versions.id = NEW.version_id
        AND (versions.state = 'publishing' OR incus_backlog.version_id IS NOT NULL));
    SELECT RAISE(ABORT, 'imgsrv:forbidden') FROM publish_warnings
        WHERE version_id = NEW.version_id AND step = NEW.step AND sequence = NEW.sequence;
END;
CREATE TRIGGER publish_warnings_update BEFORE UPDATE ON publish_warnings BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden');
END;
CREATE TRIGGER publish_warnings_delete BEFORE DELETE ON publish_warnings BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden') FROM versions WHERE id = OLD.version_id AND state <> 'publishing';
END;

-- The SHA-256 of metadata followed by a root; until it is known, how far it and that of the root alone have been
-- computed.
CREATE TABLE incus_pairs (
    metadata_digest TEXT NOT NULL,
    root_digest TEXT NOT NULL,
    hashed_bytes INTEGER,
    hashed_state BLOB,
    root_bytes INTEGER,
    root_state BLOB,
    fingerprint TEXT,
    PRIMARY KEY (metadata_digest, root_digest)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER incus_pairs_update BEFORE UPDATE ON incus_pairs BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden') WHERE OLD.fingerprint IS NOT NULL
        OR NEW.metadata_digest <> OLD.metadata_digest OR NEW.root_digest <> OLD.root_digest;
END;

-- The artifacts that Simple Streams list, from the catalog revision on in which their version was published.
CREATE TABLE incus_rows (
    artifact_id BLOB PRIMARY KEY NOT NULL REFERENCES artifacts (id),
    version_id BLOB NOT NULL REFERENCES versions (id),
    attachment_id BLOB NOT NULL REFERENCES attachments (id),
    fingerprint TEXT NOT NULL,
    catalog_revision INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX incus_rows_by_version ON incus_rows (version_id);
CREATE INDEX incus_rows_by_revision ON incus_rows (catalog_revision);

CREATE TRIGGER incus_rows_insert BEFORE INSERT ON incus_rows BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden') WHERE NEW.catalog_revision IS NOT NULL OR NOT EXISTS (
        SELECT 1 FROM attachments JOIN versions ON versions.id = attachments.version_id
        LEFT JOIN incus_backlog ON incus_backlog.version_id = versions.id
        WHERE attachments.id = NEW.attachment_id AND attachments.artifact_id = NEW.artifact_id
        AND versions.id = NEW.version_id
        AND (versions.state = 'publishing' OR incus_backlog.version_id IS NOT NULL));
    SELECT RAISE(ABORT, 'imgsrv:forbidden') FROM incus_rows WHERE artifact_id = NEW.artifact_id;
END;
CREATE TRIGGER incus_rows_update BEFORE UPDATE ON incus_rows BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden') WHERE OLD.catalog_revision IS NOT NULL OR NEW.catalog_revision IS NULL
        OR NEW.artifact_id <> OLD.artifact_id OR NEW.version_id <> OLD.version_id
        OR NEW.attachment_id <> OLD.attachment_id OR NEW.fingerprint <> OLD.fingerprint;
END;
CREATE TRIGGER incus_rows_delete BEFORE DELETE ON incus_rows BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden') FROM versions WHERE id = OLD.version_id AND state <> 'publishing';
END;
CREATE TRIGGER incus_rows_count AFTER UPDATE ON incus_rows WHEN OLD.catalog_revision IS NULL BEGIN
    INSERT INTO counters (name, slot, value) VALUES ('incus_rows', 0, 1)
        ON CONFLICT (name, slot) DO UPDATE SET value = value + 1;
END;

-- In which catalog revision what consumers see of an image last changed: its texts, its aliases, its versions.
CREATE TABLE image_changes (
    image_id BLOB PRIMARY KEY NOT NULL,
    catalog_revision INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX image_changes_by_revision ON image_changes (catalog_revision);
INSERT INTO image_changes (image_id, catalog_revision)
    SELECT images.id, catalog_revision.revision FROM images, catalog_revision WHERE images.has_published;
