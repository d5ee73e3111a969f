//! The statements of reads that need no transaction of their own.

use crate::repos::{aliases::select as aliases, principals, versions::select as versions};

pub(super) const IDENTITY: &str = "SELECT id, store FROM catalog_identity";

macro_rules! images {
    ($rest:literal) => {
        concat!("SELECT id, name, display_name, description, created_at, updated_at, revision FROM images ", $rest)
    };
}
pub(super) const IMAGE: &str = images!("WHERE name = $1");
pub(super) const PUBLISHED_IMAGE: &str = images!("WHERE name = $1 AND has_published");
pub(super) const IMAGES: &str = images!("WHERE name > $1 ORDER BY name LIMIT $2");
pub(super) const PUBLISHED_IMAGES: &str = images!("WHERE has_published AND name > $1 ORDER BY name LIMIT $2");

pub(super) const VERSIONS: &str =
    versions!("WHERE v.image_id = $1 AND (v.listed_at, v.id) < ($2, $3) ORDER BY v.listed_at DESC, v.id DESC LIMIT $4");
pub(super) const VERSIONS_BY_STATE: &str = versions!(
    "WHERE v.image_id = $1 AND (v.listed_at, v.id) < ($2, $3) AND v.state = $5
    ORDER BY v.listed_at DESC, v.id DESC LIMIT $4"
);

pub(super) const ALIASES: &str = aliases!("WHERE a.image_id = $1 AND a.name > $2 ORDER BY a.name LIMIT $3");
pub(super) const ALIAS: &str = aliases!("JOIN images i ON i.id = a.image_id WHERE i.name = $1 AND a.name = $2");

pub(super) const PUBLISHED_BLOB: &str = "SELECT digest, size_bytes, storage_name, created_at FROM blobs
    WHERE digest = $1 AND state = 'trusted' AND (
        EXISTS (SELECT 1 FROM artifacts a JOIN versions v ON v.id = a.version_id
            WHERE a.primary_blob_digest = $1 AND v.state = 'published')
        OR EXISTS (SELECT 1 FROM attachments t JOIN versions v ON v.id = t.version_id
            WHERE t.blob_digest = $1 AND v.state = 'published'))";

macro_rules! files {
    ($columns:literal, $join:literal) => {
        concat!(
            "SELECT a.id, a.version_id, a.operating_system, a.architecture, a.variant, a.format, a.primary_blob_digest,
            a.primary_blob_size_bytes, a.primary_media_type, a.created_at, b.digest, b.size_bytes, b.storage_name,
            v.published_at, ",
            $columns,
            " FROM images i JOIN versions v ON v.image_id = i.id JOIN artifacts a ON a.version_id = v.id ",
            $join,
            " WHERE i.name = $1 AND v.name = $2 AND v.state = 'published' AND a.id = $3 AND b.state = 'trusted'"
        )
    };
}
pub(super) const ARTIFACT_FILE: &str = files!(
    "a.primary_media_type AS media_type, NULL AS attachment_name",
    "JOIN blobs b ON b.digest = a.primary_blob_digest"
);
pub(super) const ATTACHMENT_FILE: &str = files!(
    "t.media_type AS media_type, t.name AS attachment_name",
    "JOIN attachments t ON t.artifact_id = a.id AND t.id = $4 JOIN blobs b ON b.digest = t.blob_digest"
);

// Under an alias the version's own name for the file is looked up as well.
pub(super) const RELEASED_FILE: &str =
    "SELECT a.id, a.version_id, a.operating_system, a.architecture, a.variant, a.format,
    a.primary_blob_digest, a.primary_blob_size_bytes, a.primary_media_type, a.created_at, b.digest, b.size_bytes,
    b.storage_name, r.published_at, coalesce(t.media_type, a.primary_media_type) AS media_type,
    t.name AS attachment_name, r.version_name, f.name AS file_name FROM (
        SELECT v.id, v.name AS version_name, v.published_at, CAST(NULL AS text) AS versioned
        FROM images i JOIN versions v ON v.image_id = i.id WHERE i.name = $1 AND v.name = $2 AND v.state = 'published'
        UNION ALL SELECT v.id, v.name, v.published_at, i.name || '-' || v.name || '-' || $4
        FROM images i JOIN aliases n ON n.image_id = i.id JOIN versions v ON v.id = n.version_id
        WHERE i.name = $1 AND n.name = $2
    ) r JOIN version_files f ON f.version_id = r.id AND f.name IN ($3, r.versioned)
    JOIN artifacts a ON a.id = f.artifact_id LEFT JOIN attachments t ON t.id = f.attachment_id
    JOIN blobs b ON b.digest = coalesce(t.blob_digest, a.primary_blob_digest) AND b.state = 'trusted'
    ORDER BY CASE f.name WHEN $3 THEN 0 ELSE 1 END LIMIT 1";

pub(super) const CREDENTIAL: &str = concat!(
    "SELECT t.id, t.principal_id, t.lookup_key, t.name, t.created_at, t.expires_at, t.last_used_at, t.revoked_at,
    t.secret_hash, ",
    principals::columns!(),
    " FROM api_tokens t JOIN principals p ON p.id = t.principal_id WHERE t.lookup_key = $1"
);
pub(super) const ADMISSION: &str = concat!(
    "SELECT ",
    principals::columns!(),
    ", g.granted_at, g.ended_at FROM oidc_identities i JOIN principals p ON p.id = i.principal_id
    LEFT JOIN provisioning_grants g ON g.principal_id = p.id AND g.rule_id = $3 AND g.role = $4
    WHERE i.issuer = $1 AND i.subject = $2"
);
pub(super) const PRINCIPALS: &str = principals::select!("WHERE p.id > $1 ORDER BY p.id LIMIT $2");
pub(super) const TOKENS: &str =
    "SELECT id, principal_id, lookup_key, name, created_at, expires_at, last_used_at, revoked_at
    FROM api_tokens WHERE principal_id = $1 AND id > $2 ORDER BY id LIMIT $3";

pub(super) const NEXT_INGEST: &str =
    "SELECT min(due_at) FROM upload_sessions WHERE state IN ('completed', 'ingesting')";
pub(super) const NEXT_PUBLISH: &str = "SELECT min(due_at) FROM publish_jobs WHERE state IN ('queued', 'running')";
pub(super) const COUNTERS: &str = "SELECT name, CAST(sum(value) AS BIGINT) AS value FROM counters GROUP BY name";
pub(super) const WAITS: &str = "SELECT 'ingest' AS work, state,
        min(CASE state WHEN 'completed' THEN wanted_since ELSE updated_at END) AS since
    FROM upload_sessions WHERE state IN ('completed', 'ingesting') GROUP BY state
    UNION ALL SELECT s.name, s.state, min(CASE s.state WHEN 'queued' THEN j.wanted_since ELSE s.started_at END)
    FROM publish_jobs j JOIN publish_steps s ON s.job_id = j.id
    WHERE j.state IN ('queued', 'running') AND s.state IN ('queued', 'running') GROUP BY s.name, s.state";

pub(crate) const STATEMENTS: &[&str] = &[
    NEXT_INGEST,
    NEXT_PUBLISH,
    COUNTERS,
    WAITS,
    IDENTITY,
    IMAGE,
    PUBLISHED_IMAGE,
    IMAGES,
    PUBLISHED_IMAGES,
    VERSIONS,
    VERSIONS_BY_STATE,
    ALIASES,
    ALIAS,
    PUBLISHED_BLOB,
    ARTIFACT_FILE,
    ATTACHMENT_FILE,
    RELEASED_FILE,
    CREDENTIAL,
    ADMISSION,
    PRINCIPALS,
    TOKENS,
];
