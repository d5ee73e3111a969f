//! Manifests: the artifacts of a version, their attachments, and the names of their files.

use crate::{
    core::{Connection, Corrupt, Dialects, Record, Row, SqlTx, Statement, values},
    repos::blobs,
    rows::reach::{self, is_served, readable, within},
};
use async_trait::async_trait;
use imgsrv_domain::{
    access::{ImageScope, Reach, Sender},
    digest::Digest,
    ids::{ArtifactId, AttachmentId, PrincipalId, VersionId},
    inspection::{Inspection, Warning},
    manifest::{Artifact, Attachment, ManifestEntry, Untrusted},
    ports::{CatalogError, ManifestEntries, ManifestRepo, UnreadableDigest},
    time::{Day, Timestamp},
};
use std::collections::HashMap;

// The kinds sort in the order in which they are wanted.
const ENTRIES: &str = "SELECT 'artifact' AS kind, a.id AS artifact_id, a.version_id, a.operating_system,
        a.architecture, a.variant, a.format, a.primary_blob_digest AS digest, a.primary_blob_size_bytes AS size_bytes,
        a.primary_media_type AS media_type, a.created_at, n.artifact_id AS inspected, n.detected_format,
        n.virtual_size_bytes, n.cluster_size_bytes, n.compression, CAST(NULL AS uuid) AS attachment_id, NULL AS name,
        NULL AS step, NULL AS reason, CAST(NULL AS bigint) AS sequence
    FROM artifacts a LEFT JOIN inspections n ON n.artifact_id = a.id WHERE a.version_id = $1
    UNION ALL SELECT 'attachment', artifact_id, version_id, NULL, NULL, NULL, NULL, blob_digest, blob_size_bytes,
        media_type, created_at, NULL, NULL, NULL, NULL, NULL, id, name, NULL, NULL, NULL
    FROM attachments WHERE version_id = $1
    UNION ALL SELECT 'warning', artifact_id, version_id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
        NULL, NULL, NULL, NULL, NULL, step, reason, sequence FROM publish_warnings WHERE version_id = $1
    ORDER BY kind, operating_system, architecture, variant, format, name, step, sequence";
/// The digests of the version `$1` that are no blobs of the declared size in `$blobs`, or are blocked in its image.
macro_rules! untrusted {
    ($blobs:literal) => {
        concat!(
            "SELECT named.digest, named.size_bytes AS declared, blobs.size_bytes AS trusted FROM (
        SELECT primary_blob_digest AS digest, primary_blob_size_bytes AS size_bytes FROM artifacts WHERE version_id = $1
        UNION SELECT blob_digest, blob_size_bytes FROM attachments WHERE version_id = $1
    ) named LEFT JOIN ",
            $blobs,
            " ON blobs.digest = named.digest AND blobs.state = 'trusted'
    WHERE blobs.digest IS NULL OR blobs.size_bytes <> named.size_bytes
        OR EXISTS (SELECT 1 FROM blocked_digests k JOIN images i ON i.name = k.image_name
            JOIN versions v ON v.image_id = i.id WHERE k.digest = named.digest AND v.id = $1)
    ORDER BY named.digest, named.size_bytes LIMIT 100"
        )
    };
}
const LIST_UNTRUSTED: &str = untrusted!("blobs");
// Blobs are locked in the order of their digests, and read after the lock.
const LOCK_UNTRUSTED: Dialects = Dialects {
    sqlite: LIST_UNTRUSTED,
    postgres: concat!(
        "WITH locked AS MATERIALIZED (SELECT digest, size_bytes, state FROM blobs WHERE digest IN (
            SELECT primary_blob_digest FROM artifacts WHERE version_id = $1
            UNION SELECT blob_digest FROM attachments WHERE version_id = $1) ORDER BY digest FOR KEY SHARE) ",
        untrusted!("locked blobs")
    ),
};
const RECORD_CITATION: &str = "INSERT INTO citations (version_id, digest, principal_id, image_scope)
    VALUES ($1, $2, $3, $4) ON CONFLICT (version_id, digest, principal_id, image_scope) DO NOTHING";
macro_rules! unreadable {
    ($dialect:ident) => {
        concat!(
            "SELECT named.digest, named.size_bytes AS declared, c.principal_id AS cited_by, c.image_scope FROM (
                    SELECT primary_blob_digest AS digest, primary_blob_size_bytes AS size_bytes FROM artifacts
                        WHERE version_id = $1
                    UNION SELECT blob_digest, blob_size_bytes FROM attachments WHERE version_id = $1) named
                LEFT JOIN citations c ON c.version_id = $1 AND c.digest = named.digest
                    AND NOT (c.principal_id = $2 AND c.image_scope = $3)
                WHERE NOT EXISTS (SELECT 1 FROM blob_senders s WHERE s.digest = named.digest
                    AND ((s.principal_id = $2 AND ",
            within!($dialect, "s.image_scope", "$3"),
            ") OR EXISTS (SELECT 1 FROM citations b WHERE b.version_id = $1 AND b.digest = named.digest
                        AND b.principal_id = s.principal_id AND ",
            within!($dialect, "s.image_scope", "b.image_scope"),
            "))) AND NOT ",
            is_served!("named.digest", "$6", readable!($dialect, "$4", "$5")),
            " ORDER BY named.digest, named.size_bytes, cited_by, c.image_scope"
        )
    };
}
const LIST_UNREADABLE: Dialects = Dialects { sqlite: unreadable!(sqlite), postgres: unreadable!(postgres) };
/// When the blob `$1` was last collected.
pub(crate) const LAST_COLLECTED: &str =
    "SELECT at FROM audit_log WHERE subject = $1 AND action = 'blob.collected' ORDER BY at DESC, id DESC LIMIT 1";
const GET_ARTIFACT: &str = "SELECT id AS artifact_id, version_id, operating_system, architecture, variant, format,
    primary_blob_digest AS digest, primary_blob_size_bytes AS size_bytes, primary_media_type AS media_type, created_at
    FROM artifacts WHERE id = $1";
const COUNT_ARTIFACTS: &str = "SELECT count(*) FROM artifacts WHERE version_id = $1";
const INSERT_ARTIFACT: &str = "INSERT INTO artifacts (id, version_id, operating_system, architecture,
    variant, format, primary_blob_digest, primary_blob_size_bytes, primary_media_type, created_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
const INSERT_PRODUCT: &str = "INSERT INTO version_products (version_id, product, artifact_id)
    VALUES ($1, $2, $3)";
/// Two names; an absent one is skipped.
const INSERT_FILES: &str = "INSERT INTO version_files (version_id, name, artifact_id, attachment_id)
    SELECT $1, column1, $2, $3 FROM (VALUES (CAST($4 AS text)), ($5)) AS file WHERE column1 IS NOT NULL";
const GET_ATTACHMENT: &str = "SELECT id AS attachment_id, artifact_id, name, media_type, blob_digest AS digest,
    blob_size_bytes AS size_bytes, created_at FROM attachments WHERE id = $1";
const COUNT_ATTACHMENTS: &str = "SELECT count(*) FROM attachments WHERE artifact_id = $1";
const INSERT_ATTACHMENT: &str = "INSERT INTO attachments (id, version_id, artifact_id, name, media_type,
    blob_digest, blob_size_bytes, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
pub(crate) const DELETE_ARTIFACT: &[&str] = &[
    "DELETE FROM version_products WHERE artifact_id = $1",
    "DELETE FROM version_files WHERE artifact_id = $1",
    "DELETE FROM attachments WHERE artifact_id = $1",
    "DELETE FROM artifacts WHERE id = $1",
];
pub(crate) const DELETE_ATTACHMENT: &[&str] = &[
    "DELETE FROM version_files WHERE attachment_id = $1 AND artifact_id =
        (SELECT artifact_id FROM attachments WHERE id = $1)",
    "DELETE FROM attachments WHERE id = $1",
];
/// Delete the manifest of a version.
pub(crate) const DELETE_OF_VERSION: &[&str] = &[
    "DELETE FROM version_products WHERE version_id = $1",
    "DELETE FROM version_files WHERE version_id = $1",
    "DELETE FROM attachments WHERE version_id = $1",
    "DELETE FROM artifacts WHERE version_id = $1",
];
pub(crate) const STATEMENTS: &[&str] = &[
    ENTRIES,
    LIST_UNTRUSTED,
    LAST_COLLECTED,
    RECORD_CITATION,
    GET_ARTIFACT,
    COUNT_ARTIFACTS,
    INSERT_ARTIFACT,
    INSERT_PRODUCT,
    INSERT_FILES,
    GET_ATTACHMENT,
    COUNT_ATTACHMENTS,
    INSERT_ATTACHMENT,
    RELEASE_OF_ARTIFACT.sqlite,
    RELEASE_OF_ATTACHMENT.sqlite,
];
pub(crate) const SQLITE: &[&str] = &[LIST_UNREADABLE.sqlite];
pub(crate) const POSTGRES: &[&str] =
    &[LOCK_UNTRUSTED.postgres, RELEASE_OF_ARTIFACT.postgres, RELEASE_OF_ATTACHMENT.postgres, LIST_UNREADABLE.postgres];
const RELEASE_OF_ARTIFACT: Dialects = blobs::release!(
    "SELECT primary_blob_digest FROM artifacts WHERE id = $1
    UNION SELECT blob_digest FROM attachments WHERE artifact_id = $1"
);
const RELEASE_OF_ATTACHMENT: Dialects = blobs::release!("SELECT blob_digest FROM attachments WHERE id = $1");

/// The entries and warnings of a version.
pub(crate) async fn entries<C: Connection>(
    connection: &mut C,
    version: VersionId,
) -> Result<ManifestEntries, CatalogError> {
    let rows = connection.list(ENTRIES, values![version]).await?;
    manifest_entries(rows).map_err(|corrupt| connection.corrupt(corrupt))
}

impl<C: Connection> SqlTx<C> {
    async fn untrusted(&mut self, sql: impl Statement, version: VersionId) -> Result<Vec<Untrusted>, CatalogError> {
        let mut untrusted: Vec<Untrusted> = self.list(sql, values![version]).await?;
        for missing in untrusted.iter_mut().filter(|untrusted| untrusted.trusted.is_none()) {
            let collected_at: Option<Timestamp> = self.find(LAST_COLLECTED, values![missing.digest]).await?;
            missing.collected_on = collected_at.map(Day::of);
        }
        Ok(untrusted)
    }

    async fn insert_files(
        &mut self,
        version: VersionId,
        artifact: ArtifactId,
        attachment: Option<AttachmentId>,
        files: &[String],
    ) -> Result<(), CatalogError> {
        for names in files.chunks(2) {
            let name = |at| names.get(at).map(String::as_str);
            self.execute(INSERT_FILES, values![version, artifact, attachment, name(0), name(1)]).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl<C: Connection> ManifestRepo for SqlTx<C> {
    async fn list_manifest_entries(&mut self, version: VersionId) -> Result<Vec<ManifestEntry>, CatalogError> {
        let rows = self.list(ENTRIES, values![version]).await?;
        manifest_entries(rows).map(|read| read.entries).map_err(|corrupt| self.corrupt(corrupt))
    }

    async fn list_untrusted_digests(&mut self, version: VersionId) -> Result<Vec<Untrusted>, CatalogError> {
        self.untrusted(LIST_UNTRUSTED, version).await
    }

    async fn lock_untrusted_digests(&mut self, version: VersionId) -> Result<Vec<Untrusted>, CatalogError> {
        self.untrusted(LOCK_UNTRUSTED, version).await
    }

    async fn record_citation(&mut self, version: VersionId, digest: &Digest, by: &Sender) -> Result<(), CatalogError> {
        self.execute(RECORD_CITATION, values![version, digest, by.principal, by.images]).await.map(drop)
    }

    async fn list_unreadable_digests(
        &mut self,
        version: VersionId,
        reach: &Reach,
        sender: &Sender,
    ) -> Result<Vec<UnreadableDigest>, CatalogError> {
        let own = values![version, sender.principal, sender.images];
        let values = [own, reach::patterns(&reach.read), values![self.time()]].concat();
        self.list(LIST_UNREADABLE, values).await
    }

    async fn get_artifact(&mut self, id: ArtifactId) -> Result<Option<Artifact>, CatalogError> {
        self.find(GET_ARTIFACT, values![id]).await
    }

    async fn count_artifacts(&mut self, version: VersionId) -> Result<u32, CatalogError> {
        self.get(COUNT_ARTIFACTS, values![version]).await
    }

    async fn insert_artifact(
        &mut self,
        artifact: &Artifact,
        files: &[String],
        product: Option<&str>,
    ) -> Result<(), CatalogError> {
        let Artifact { id, version_id, variant, operating_system, architecture, format, primary, .. } = artifact;
        let mut values = values![id, version_id, operating_system, architecture, variant, format];
        values.extend(values![primary.digest, primary.size, artifact.media_type, artifact.created_at]);
        self.execute(INSERT_ARTIFACT, values).await?;
        self.insert_files(*version_id, *id, None, files).await?;
        if let Some(product) = product {
            self.execute(INSERT_PRODUCT, values![version_id, product, id]).await?;
        }
        Ok(())
    }

    async fn delete_artifact(&mut self, id: ArtifactId) -> Result<(), CatalogError> {
        self.execute_on(RELEASE_OF_ARTIFACT, values![id, self.time()]).await?;
        for statement in DELETE_ARTIFACT {
            self.execute(statement, values![id]).await?;
        }
        Ok(())
    }

    async fn get_attachment(&mut self, id: AttachmentId) -> Result<Option<Attachment>, CatalogError> {
        self.find(GET_ATTACHMENT, values![id]).await
    }

    async fn count_attachments(&mut self, artifact: ArtifactId) -> Result<u32, CatalogError> {
        self.get(COUNT_ATTACHMENTS, values![artifact]).await
    }

    async fn insert_attachment(
        &mut self,
        version: VersionId,
        attachment: &Attachment,
        files: &[String],
    ) -> Result<(), CatalogError> {
        let Attachment { id, artifact_id, name, media_type, blob, created_at } = attachment;
        let values = values![id, version, artifact_id, name, media_type, blob.digest, blob.size, created_at];
        self.execute(INSERT_ATTACHMENT, values).await?;
        self.insert_files(version, *artifact_id, Some(*id), files).await
    }

    async fn delete_attachment(&mut self, id: AttachmentId) -> Result<(), CatalogError> {
        self.execute_on(RELEASE_OF_ATTACHMENT, values![id, self.time()]).await?;
        for statement in DELETE_ATTACHMENT {
            self.execute(statement, values![id]).await?;
        }
        Ok(())
    }
}

impl Record for Artifact {
    const WHAT: &'static str = "artifact";
    const ID: &'static str = "artifact_id";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        Ok(Self {
            id: row.get("artifact_id")?,
            version_id: row.get("version_id")?,
            variant: row.get("variant")?,
            operating_system: row.get("operating_system")?,
            architecture: row.get("architecture")?,
            format: row.get("format")?,
            primary: row.claim("digest", "size_bytes")?,
            media_type: row.get("media_type")?,
            created_at: row.get("created_at")?,
        })
    }
}

impl Record for Attachment {
    const WHAT: &'static str = "attachment";
    const ID: &'static str = "attachment_id";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        Ok(Self {
            id: row.get("attachment_id")?,
            artifact_id: row.get("artifact_id")?,
            name: row.get("name")?,
            media_type: row.get("media_type")?,
            blob: row.claim("digest", "size_bytes")?,
            created_at: row.get("created_at")?,
        })
    }
}

impl Record for Inspection {
    const WHAT: &'static str = "inspection";
    const ID: &'static str = "artifact_id";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        Ok(Self {
            detected: row.optional("detected_format")?,
            virtual_size: row.optional("virtual_size_bytes")?,
            cluster_size: row.optional("cluster_size_bytes")?,
            compression: row.optional("compression")?,
        })
    }
}

impl Record for Warning {
    const WHAT: &'static str = "warning";
    const ID: &'static str = "artifact_id";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        Ok(Self { step: row.get("step")?, artifact: row.get("artifact_id")?, reason: row.get("reason")? })
    }
}

/// A digest of a manifest, with the size of the trusted blob if there is one.
impl Record for Untrusted {
    const WHAT: &'static str = "manifest";
    const ID: &'static str = "digest";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        Ok(Self {
            digest: row.get("digest")?,
            declared: row.get("declared")?,
            trusted: row.optional("trusted")?,
            collected_on: None,
        })
    }
}

impl Record for UnreadableDigest {
    const WHAT: &'static str = "manifest";
    const ID: &'static str = "digest";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        let (principal, images): (Option<PrincipalId>, Option<ImageScope>) =
            (row.optional("cited_by")?, row.optional("image_scope")?);
        let cited_by = principal.zip(images).map(|(principal, images)| Sender { principal, images });
        Ok(Self { digest: row.get("digest")?, declared: row.get("declared")?, cited_by })
    }
}

/// A row of a manifest.
enum EntryRow {
    Artifact(Artifact, Option<Inspection>),
    Attachment(Attachment),
    Warning(Warning),
}

impl Record for EntryRow {
    const WHAT: &'static str = "manifest entry";
    const ID: &'static str = "artifact_id";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        Ok(match row.get::<String>("kind")?.as_str() {
            "artifact" => {
                let inspected: Option<ArtifactId> = row.optional("inspected")?;
                Self::Artifact(row.record()?, inspected.map(|_| row.record()).transpose()?)
            }
            "attachment" => Self::Attachment(row.record()?),
            _ => Self::Warning(row.record()?),
        })
    }
}

/// The entries and warnings of a version, from rows in which artifacts come before their attachments.
fn manifest_entries(rows: Vec<EntryRow>) -> Result<ManifestEntries, Corrupt> {
    let mut entries: Vec<ManifestEntry> = Vec::new();
    let mut positions: HashMap<ArtifactId, usize> = HashMap::new();
    let mut warnings = Vec::new();
    for row in rows {
        match row {
            EntryRow::Artifact(artifact, inspection) => {
                positions.insert(artifact.id, entries.len());
                entries.push(ManifestEntry { artifact, attachments: Vec::new(), inspection });
            }
            EntryRow::Attachment(attachment) => {
                let entry = positions.get(&attachment.artifact_id).and_then(|at| entries.get_mut(*at));
                let entry = entry.ok_or_else(|| Corrupt::new(Attachment::WHAT, "its artifact is missing"))?;
                entry.attachments.push(attachment);
            }
            EntryRow::Warning(warning) => warnings.push(warning),
        }
    }
    warnings.sort_by_key(|warning| warning.step);
    Ok(ManifestEntries { entries, warnings })
}
