-- What publishing finds out about a version, the rows of its Simple Streams projection, and which images changed when.

-- What the artifacts of a version are called in streams: `{architecture as Incus names it}:{variant}:{format}`.
CREATE TABLE version_products (
    version_id uuid NOT NULL REFERENCES versions (id),
    product text COLLATE "C" NOT NULL,
    artifact_id uuid NOT NULL REFERENCES artifacts (id),
    CONSTRAINT version_products_key PRIMARY KEY (version_id, product)
);
CREATE INDEX version_products_by_artifact ON version_products (artifact_id);

CREATE TRIGGER version_products_insert BEFORE INSERT ON version_products
    FOR EACH ROW EXECUTE FUNCTION manifest_guard();
CREATE TRIGGER version_products_update BEFORE UPDATE ON version_products FOR EACH ROW EXECUTE FUNCTION forbid();
CREATE TRIGGER version_products_delete BEFORE DELETE ON version_products
    FOR EACH ROW EXECUTE FUNCTION manifest_guard();
CREATE TRIGGER version_products_truncate BEFORE TRUNCATE ON version_products EXECUTE FUNCTION forbid();

-- Published versions that streams are to list and that no `incus_index` has seen: those of before, and those that a
-- node of the version before publishes beside this one.
CREATE TABLE incus_backlog (
    version_id uuid PRIMARY KEY REFERENCES versions (id)
);
INSERT INTO incus_backlog (version_id)
    SELECT DISTINCT attachments.version_id FROM attachments JOIN versions ON versions.id = attachments.version_id
    WHERE attachments.name = 'incus.tar.xz' AND versions.state = 'published';

CREATE FUNCTION incus_backlog_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM versions WHERE id = NEW.version_id AND state = 'publishing';
    IF NOT FOUND THEN
        RAISE EXCEPTION 'imgsrv:forbidden';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER incus_backlog_insert BEFORE INSERT ON incus_backlog
    FOR EACH ROW EXECUTE FUNCTION incus_backlog_guard();
CREATE TRIGGER incus_backlog_update BEFORE UPDATE ON incus_backlog FOR EACH ROW EXECUTE FUNCTION forbid();

CREATE FUNCTION note_backlog() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO incus_backlog (version_id)
        SELECT NEW.id WHERE EXISTS (SELECT 1 FROM attachments WHERE version_id = NEW.id AND name = 'incus.tar.xz')
        AND NOT EXISTS (SELECT 1 FROM publish_jobs JOIN publish_steps ON publish_steps.job_id = publish_jobs.id
            WHERE publish_jobs.version_id = NEW.id AND publish_jobs.state <> 'abandoned'
            AND publish_steps.name = 'incus_index' AND publish_steps.state = 'succeeded');
    RETURN NEW;
END $$;
CREATE TRIGGER versions_backlog BEFORE UPDATE ON versions
    FOR EACH ROW WHEN (NEW.state = 'published' AND OLD.state = 'publishing') EXECUTE FUNCTION note_backlog();

-- Jobs that are not done pass the new step as well, and look into disks before it.
UPDATE publish_steps SET sequence = 3, state = CASE state WHEN 'running' THEN 'queued' ELSE state END
    WHERE name = 'finalize_publish' AND state <> 'succeeded' AND job_id IN
    (SELECT id FROM publish_jobs WHERE state IN ('queued', 'running', 'failed'));
INSERT INTO publish_steps (job_id, sequence, name, state, attempts)
    SELECT job_id, 2, 'incus_index', 'queued', 0 FROM publish_steps
    WHERE name = 'finalize_publish' AND sequence = 3;
UPDATE publish_steps SET state = 'queued', finished_at = NULL WHERE name = 'validate_catalog' AND state = 'succeeded'
    AND job_id IN (SELECT job_id FROM publish_steps WHERE name = 'finalize_publish' AND sequence = 3);

-- What steps find out comes and goes while a version is being published, and only then. Its row is locked, so that
-- whoever publishes or reopens it beside this waits, or has been waited for.
CREATE FUNCTION findings_guard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    version uuid := CASE TG_OP WHEN 'DELETE' THEN OLD.version_id ELSE NEW.version_id END;
BEGIN
    PERFORM 1 FROM versions WHERE id = version AND state = 'publishing' FOR NO KEY UPDATE;
    IF NOT FOUND AND TG_OP = 'INSERT' AND TG_TABLE_NAME <> 'inspections' THEN
        PERFORM 1 FROM incus_backlog WHERE version_id = version;
    END IF;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'imgsrv:forbidden';
    END IF;
    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    PERFORM 1 FROM artifacts WHERE id = NEW.artifact_id AND version_id = NEW.version_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'imgsrv:forbidden';
    END IF;
    IF TG_TABLE_NAME = 'incus_rows' THEN
        PERFORM 1 FROM attachments WHERE id = NEW.attachment_id AND artifact_id = NEW.artifact_id;
        IF NOT FOUND OR NEW.catalog_revision IS NOT NULL THEN
            RAISE EXCEPTION 'imgsrv:forbidden';
        END IF;
    END IF;
    RETURN NEW;
END $$;

-- What the bytes of an artifact are, as far as they tell. It comes and goes while its version is being published.
CREATE TABLE inspections (
    artifact_id uuid PRIMARY KEY REFERENCES artifacts (id),
    version_id uuid NOT NULL REFERENCES versions (id),
    detected_format text COLLATE "C",
    virtual_size_bytes bigint CHECK (virtual_size_bytes >= 0),
    cluster_size_bytes bigint CHECK (cluster_size_bytes > 0),
    compression text COLLATE "C"
);
CREATE INDEX inspections_by_version ON inspections (version_id);

CREATE TRIGGER inspections_insert BEFORE INSERT ON inspections FOR EACH ROW EXECUTE FUNCTION findings_guard();
CREATE TRIGGER inspections_update BEFORE UPDATE ON inspections FOR EACH ROW EXECUTE FUNCTION forbid();
CREATE TRIGGER inspections_delete BEFORE DELETE ON inspections FOR EACH ROW EXECUTE FUNCTION findings_guard();
CREATE TRIGGER inspections_truncate BEFORE TRUNCATE ON inspections EXECUTE FUNCTION forbid();

-- What steps of publishing found wrong without failing.
CREATE TABLE publish_warnings (
    version_id uuid NOT NULL REFERENCES versions (id),
    step text COLLATE "C" NOT NULL,
    sequence bigint NOT NULL,
    artifact_id uuid NOT NULL REFERENCES artifacts (id),
    reason text COLLATE "C" NOT NULL,
    PRIMARY KEY (version_id, step, sequence)
);

CREATE TRIGGER publish_warnings_insert BEFORE INSERT ON publish_warnings
    FOR EACH ROW EXECUTE FUNCTION findings_guard();
CREATE TRIGGER publish_warnings_update BEFORE UPDATE ON publish_warnings FOR EACH ROW EXECUTE FUNCTION forbid();
CREATE TRIGGER publish_warnings_delete BEFORE DELETE ON publish_warnings
    FOR EACH ROW EXECUTE FUNCTION findings_guard();
CREATE TRIGGER publish_warnings_truncate BEFORE TRUNCATE ON publish_warnings EXECUTE FUNCTION forbid();

-- The SHA-256 of metadata followed by a root; until it is known, how far it and that of the root alone have been
-- computed.
CREATE TABLE incus_pairs (
    metadata_digest text COLLATE "C" NOT NULL,
    root_digest text COLLATE "C" NOT NULL,
    hashed_bytes bigint,
    hashed_state bytea,
    root_bytes bigint,
    root_state bytea,
    fingerprint text COLLATE "C",
    PRIMARY KEY (metadata_digest, root_digest)
);

CREATE FUNCTION incus_pairs_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.fingerprint IS NOT NULL OR NEW.metadata_digest <> OLD.metadata_digest
        OR NEW.root_digest <> OLD.root_digest THEN
        RAISE EXCEPTION 'imgsrv:forbidden';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER incus_pairs_update BEFORE UPDATE ON incus_pairs FOR EACH ROW EXECUTE FUNCTION incus_pairs_guard();

-- The artifacts that Simple Streams list, from the catalog revision on in which their version was published.
CREATE TABLE incus_rows (
    artifact_id uuid PRIMARY KEY REFERENCES artifacts (id),
    version_id uuid NOT NULL REFERENCES versions (id),
    attachment_id uuid NOT NULL REFERENCES attachments (id),
    fingerprint text COLLATE "C" NOT NULL,
    catalog_revision bigint
);
CREATE INDEX incus_rows_by_version ON incus_rows (version_id);
CREATE INDEX incus_rows_by_revision ON incus_rows (catalog_revision);

CREATE FUNCTION incus_rows_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.catalog_revision IS NOT NULL OR NEW.catalog_revision IS NULL OR NEW.artifact_id <> OLD.artifact_id
        OR NEW.version_id <> OLD.version_id OR NEW.attachment_id <> OLD.attachment_id
        OR NEW.fingerprint <> OLD.fingerprint THEN
        RAISE EXCEPTION 'imgsrv:forbidden';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER incus_rows_insert BEFORE INSERT ON incus_rows FOR EACH ROW EXECUTE FUNCTION findings_guard();
CREATE TRIGGER incus_rows_update BEFORE UPDATE ON incus_rows FOR EACH ROW EXECUTE FUNCTION incus_rows_guard();
CREATE TRIGGER incus_rows_delete BEFORE DELETE ON incus_rows FOR EACH ROW EXECUTE FUNCTION findings_guard();
CREATE TRIGGER incus_rows_truncate BEFORE TRUNCATE ON incus_rows EXECUTE FUNCTION forbid();
CREATE FUNCTION count_incus_rows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM count_change('incus_rows', 1);
    RETURN NULL;
END $$;
CREATE TRIGGER incus_rows_count AFTER UPDATE ON incus_rows
    FOR EACH ROW WHEN (OLD.catalog_revision IS NULL) EXECUTE FUNCTION count_incus_rows();

-- In which catalog revision what consumers see of an image last changed: its texts, its aliases, its versions.
CREATE TABLE image_changes (
    image_id uuid PRIMARY KEY,
    catalog_revision bigint NOT NULL
);
CREATE INDEX image_changes_by_revision ON image_changes (catalog_revision);
INSERT INTO image_changes (image_id, catalog_revision)
    SELECT images.id, catalog_revision.revision FROM images, catalog_revision WHERE images.has_published;

-- As at the end of 0002.
DO $$
DECLARE
    guard text;
BEGIN
    FOREACH guard IN ARRAY ARRAY['incus_backlog_guard()', 'note_backlog()', 'findings_guard()',
        'incus_pairs_guard()', 'incus_rows_guard()', 'count_incus_rows()']
    LOOP
        EXECUTE format('ALTER FUNCTION %I.%s SET search_path = %I, pg_temp', current_schema(), guard, current_schema());
    END LOOP;
END $$;
