-- Fills an empty catalog with {versions} published versions, for `sqlite3`. Triggers are off, so this writes what they would.
.bail on
.dbconfig enable_trigger off
PRAGMA synchronous = off;
PRAGMA cache_size = -400000;
PRAGMA temp_store = memory;
BEGIN;
CREATE TEMP TABLE filled AS
    WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < {versions}),
    placed AS (SELECT n, CASE WHEN n < {large} * 5000 THEN n / 5000
        ELSE {large} + (n - {large} * 5000) % ({images} - {large}) END AS image FROM numbers)
    SELECT n, CAST(printf('1%015d', image) AS BLOB) AS image_id, printf('image-%05d', image) AS image_name,
        CAST(printf('2%015d', n) AS BLOB) AS version_id, 'v' || n AS version_name,
        CAST(printf('3%015d', n) AS BLOB) AS artifact_id, CAST(printf('4%015d', n) AS BLOB) AS attachment_id,
        printf('0a%062x', n) AS root, printf('0b%062x', n) AS metadata, 1000 + n AS size, n % 10 = 1 AS is_listed,
        (1700000000 + n * 60) * 1000000 AS at, CASE WHEN n % 10 = 3 THEN 'deprecated' WHEN n % 50 = 7 THEN 'revoked'
        WHEN n % 50 = 9 THEN 'tombstone' ELSE 'active' END AS state FROM placed;
INSERT INTO images (id, name, display_name, has_published, created_at, updated_at, revision)
    SELECT image_id, image_name, 'Image ' || image_name, max(state IN ('active', 'deprecated')), min(at), min(at), 1
    FROM filled GROUP BY image_id, image_name;
INSERT OR IGNORE INTO image_trigrams (trigram, image_name)
    WITH RECURSIVE pieces (name, text, start) AS (
        SELECT name, lower(name || ' ' || coalesce(display_name, '')), 1 FROM images
        UNION ALL SELECT name, text, start + 1 FROM pieces WHERE start + 3 <= length(text))
    SELECT substr(text, start, 3), name FROM pieces;
INSERT INTO versions (id, image_id, name, state, published_at, created_at, updated_at, revision)
    SELECT version_id, image_id, version_name, 'published', at, at, at, 3 FROM filled;
INSERT INTO image_refs (image_id, name) SELECT image_id, version_name FROM filled ORDER BY 1, 2;
INSERT INTO version_lifecycles (version_id, image_id, published_at, state, deprecated_at, deprecation_reason, revoked_at,
        revocation_reason, removed_at, available_until, tombstone_at, changed_at, revision, catalog_revision)
    SELECT version_id, image_id, at, state, CASE state WHEN 'deprecated' THEN at END,
        CASE state WHEN 'deprecated' THEN 'superseded' END, CASE state WHEN 'revoked' THEN at END,
        CASE state WHEN 'revoked' THEN 'a defect' END, CASE state WHEN 'tombstone' THEN at END,
        CASE state WHEN 'tombstone' THEN at END, CASE state WHEN 'tombstone' THEN at END, at,
        CASE state WHEN 'active' THEN 1 WHEN 'tombstone' THEN 3 ELSE 2 END, CASE WHEN state <> 'active' THEN n + 2 END
    FROM filled;
INSERT INTO artifacts (id, version_id, operating_system, architecture, variant, format, primary_blob_digest,
        primary_blob_size_bytes, primary_media_type, created_at)
    SELECT artifact_id, version_id, 'debian', 'amd64', 'default', 'qcow2', 'sha256:' || root, size,
        'application/x-qemu-disk', at FROM filled;
INSERT INTO attachments (id, version_id, artifact_id, name, media_type, blob_digest, blob_size_bytes, created_at)
    SELECT attachment_id, version_id, artifact_id, 'incus.tar.xz', 'application/x-xz', 'sha256:' || metadata, 600, at
    FROM filled WHERE is_listed;
INSERT INTO version_files (version_id, name, artifact_id, attachment_id)
    SELECT version_id, image_name || '-' || version_name || '-amd64.qcow2', artifact_id, NULL FROM filled
    UNION ALL SELECT version_id, image_name || '-' || version_name || '-amd64.qcow2.incus.tar.xz', artifact_id, attachment_id
    FROM filled WHERE is_listed;
INSERT INTO version_products (version_id, product, artifact_id)
    SELECT version_id, 'amd64:default:qcow2', artifact_id FROM filled;
INSERT INTO blobs (digest, size_bytes, storage_name, state, created_at, unreferenced_since, verified_at)
    SELECT 'sha256:' || root, size, 'cas/sha256/0a/00/' || root || printf('-00000005-0000-0000-0000-%012x', n), 'trusted',
        at, CASE state WHEN 'tombstone' THEN at END, at FROM filled
    UNION ALL SELECT 'sha256:' || metadata, 600, 'cas/sha256/0b/00/' || metadata
        || printf('-00000006-0000-0000-0000-%012x', n), 'trusted', at, NULL, at FROM filled WHERE is_listed;
INSERT INTO blobs (digest, size_bytes, storage_name, state, created_at, unreferenced_since, verified_at)
    WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {unreferenced})
    SELECT 'sha256:0d' || hex, 4096, 'cas/sha256/0d/00/0d' || hex || '-00000007-0000-0000-0000-' || substr(hex, -12), 'trusted',
        at, at, at FROM (SELECT (1600000000 + n * 60) * 1000000 AS at, printf('%062x', n) AS hex FROM numbers
        WHERE n <= {unreferenced});
INSERT INTO incus_rows (artifact_id, version_id, attachment_id, fingerprint, properties, catalog_revision)
    SELECT artifact_id, version_id, attachment_id, 'sha256:' || printf('0c%062x', n), '{}', n + 2 FROM filled WHERE is_listed;
INSERT INTO aliases (id, image_id, name, version_id, created_at, updated_at, revision)
    SELECT CAST(printf('7%015d', max(n)) AS BLOB), image_id, 'latest', CAST(printf('2%015d', max(n)) AS BLOB), max(at),
        max(at), 1 FROM filled WHERE state = 'active' GROUP BY image_id;
INSERT INTO image_refs (image_id, name) SELECT image_id, name FROM aliases;
INSERT INTO image_changes (image_id, catalog_revision) SELECT image_id, max(n) + 2 FROM filled GROUP BY image_id;
INSERT INTO audit_log (at, actor_kind, actor, action, subject)
    SELECT at, 'worker', 'fill', 'version.published', image_name || '/' || version_name FROM filled;
INSERT INTO counters (name, slot, value)
    SELECT 'versions:published', 0, count(*) FROM versions
    UNION ALL SELECT 'lifecycles:' || state, 0, count(*) FROM version_lifecycles GROUP BY state
    UNION ALL SELECT 'blobs', 0, count(*) FROM blobs UNION ALL SELECT 'blob_bytes', 0, sum(size_bytes) FROM blobs
    UNION ALL SELECT 'unreferenced_bytes', 0, sum(size_bytes) FROM blobs WHERE unreferenced_since IS NOT NULL
    UNION ALL SELECT 'incus_rows', 0, count(*) FROM incus_rows WHERE true
    ON CONFLICT (name, slot) DO UPDATE SET value = value + excluded.value;
UPDATE catalog_revision SET revision = {versions} + 2;
COMMIT;
DROP TABLE filled;
PRAGMA wal_checkpoint(TRUNCATE);
