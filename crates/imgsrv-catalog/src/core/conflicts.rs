//! The conflicts that broken constraints are reported as.

use imgsrv_domain::ports::Conflict;

/// Messages of the guarding triggers, names of constraints in PostgreSQL, and columns as SQLite lists them.
const CONFLICTS: &[(&str, Conflict)] = &[
    ("imgsrv:image-name", Conflict::ImageName),
    ("imgsrv:image-in-use", Conflict::ImageInUse),
    ("imgsrv:ref-name", Conflict::RefName),
    ("imgsrv:artifact-key", Conflict::ArtifactKey),
    ("imgsrv:attachment-name", Conflict::AttachmentName),
    ("imgsrv:file-name", Conflict::FileName),
    ("imgsrv:product-key", Conflict::ProductKey),
    ("imgsrv:blob-digest", Conflict::BlobDigest),
    ("imgsrv:digest-blocked", Conflict::DigestBlocked),
    ("imgsrv:forbidden", Conflict::Forbidden),
    ("images_name", Conflict::ImageName),
    ("image_refs_name", Conflict::RefName),
    ("versions_name", Conflict::RefName),
    ("aliases_name", Conflict::RefName),
    ("artifacts_key", Conflict::ArtifactKey),
    ("attachments_name", Conflict::AttachmentName),
    ("version_files_name", Conflict::FileName),
    ("version_products_key", Conflict::ProductKey),
    ("blobs_digest", Conflict::BlobDigest),
    ("publish_jobs_live", Conflict::LiveJob),
    ("principals_id", Conflict::PrincipalId),
    ("api_tokens_lookup_key", Conflict::TokenKey),
    ("oidc_identities_key", Conflict::Identity),
    ("provisioning_rules_id", Conflict::RuleId),
    ("upload_sessions_key", Conflict::IdempotencyKey),
    ("images.name", Conflict::ImageName),
    ("image_refs.image_id, image_refs.name", Conflict::RefName),
    ("blobs.digest", Conflict::BlobDigest),
    ("publish_jobs.version_id", Conflict::LiveJob),
    ("principals.id", Conflict::PrincipalId),
    ("api_tokens.lookup_key", Conflict::TokenKey),
    ("oidc_identities.issuer, oidc_identities.subject", Conflict::Identity),
    ("upload_sessions.created_by, upload_sessions.idempotency_key", Conflict::IdempotencyKey),
    ("provisioning_rules.id", Conflict::RuleId),
];

/// The conflict of a trigger's message, a constraint's name or SQLite's list of columns.
pub(crate) fn conflict(what: &str) -> Option<Conflict> {
    CONFLICTS.iter().find(|(name, _)| *name == what).map(|(_, conflict)| *conflict)
}
