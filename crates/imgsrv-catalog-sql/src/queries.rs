//! Reads that need no transaction of their own.

use crate::{
    AdmissionRow, AliasRow, AuditRow, BlobRow, Connection, Corrupt, CredentialRow, ImageRow, IntakeRow, PartRow,
    PrincipalRow, PublishedFileRow, ReleasedFileRow, RuleRow, SqlCatalog, SqlDatabase, SqlTime, TokenRow, UploadRow,
    VersionRow, WaitRow,
    connection::{find, list, row, rows, scalar},
    cursor::{CursorKey, ListName},
    repos::{
        aliases::select as aliases, audit, blobs, intakes, jobs, manifests, principals, rules, uploads,
        versions::select as versions,
    },
    statistics, streams,
    value::values,
};
use async_trait::async_trait;
use imgsrv_domain::{
    audit::{ActorKind, AuditAction, AuditFilter, AuditRecord},
    auth::{ApiToken, Credential, Principal, TokenKey},
    digest::Digest,
    ids::{ArtifactId, AttachmentId, JobId, PrincipalId, UploadId, VersionId},
    image::{Alias, Image},
    intake::Intake,
    manifest::Manifest,
    names::{AliasName, FileName, ImageName, PartNumber, RefName, RuleId, VersionName},
    oidc::{IssuerUrl, OidcIdentity, ProvisioningRule},
    page::{Page, PageRequest},
    parts::Part,
    ports::{
        Admission, CatalogError, CatalogIdentity, CatalogQueries, JobReport, LeasedWork, PublishedFile, ReleasedFile,
        Statistics, StreamChanges, TrustedBlob, VersionFilter, Visibility,
    },
    publish::JobState,
    time::Timestamp,
    transition::Revision,
    upload::UploadSession,
    version::Version,
};
use std::time::Duration;
use uuid::Uuid;

const IDENTITY: &str = "SELECT id, store FROM catalog_identity";

macro_rules! images {
    ($rest:literal) => {
        concat!("SELECT id, name, display_name, description, created_at, updated_at, revision FROM images ", $rest)
    };
}
const IMAGE: &str = images!("WHERE name = $1");
const PUBLISHED_IMAGE: &str = images!("WHERE name = $1 AND has_published");
const IMAGES: &str = images!("WHERE name > $1 ORDER BY name LIMIT $2");
const PUBLISHED_IMAGES: &str = images!("WHERE has_published AND name > $1 ORDER BY name LIMIT $2");

const VERSIONS: &str =
    versions!("WHERE v.image_id = $1 AND (v.listed_at, v.id) < ($2, $3) ORDER BY v.listed_at DESC, v.id DESC LIMIT $4");
const VERSIONS_BY_STATE: &str = versions!(
    "WHERE v.image_id = $1 AND (v.listed_at, v.id) < ($2, $3) AND v.state = $5
    ORDER BY v.listed_at DESC, v.id DESC LIMIT $4"
);
const VERSION: &str = versions!("WHERE v.image_id = $1 AND v.name = $2");
const ALIASED_VERSION: &str =
    versions!("JOIN aliases a ON a.version_id = v.id WHERE a.image_id = $1 AND a.name = $2 AND v.state = 'published'");

const UNLISTED: &str = versions!(
    "JOIN incus_backlog b ON b.version_id = v.id WHERE b.version_id > $1 AND v.state = 'published' ORDER BY b.version_id LIMIT 1"
);

const ALIASES: &str = aliases!("WHERE a.image_id = $1 AND a.name > $2 ORDER BY a.name LIMIT $3");
const ALIAS: &str = aliases!("JOIN images i ON i.id = a.image_id WHERE i.name = $1 AND a.name = $2");

const PUBLISHED_BLOB: &str = "SELECT digest, size_bytes, storage_name, created_at FROM blobs
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
const ARTIFACT_FILE: &str = files!(
    "a.primary_media_type AS media_type, NULL AS attachment_name",
    "JOIN blobs b ON b.digest = a.primary_blob_digest"
);
const ATTACHMENT_FILE: &str = files!(
    "t.media_type AS media_type, t.name AS attachment_name",
    "JOIN attachments t ON t.artifact_id = a.id AND t.id = $4 JOIN blobs b ON b.digest = t.blob_digest"
);

// Under an alias the version's own name for the file is looked up as well.
const RELEASED_FILE: &str = "SELECT a.id, a.version_id, a.operating_system, a.architecture, a.variant, a.format,
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

const CREDENTIAL: &str = concat!(
    "SELECT t.id, t.principal_id, t.lookup_key, t.name, t.created_at, t.expires_at, t.last_used_at, t.revoked_at,
    t.secret_hash, ",
    principals::columns!(),
    " FROM api_tokens t JOIN principals p ON p.id = t.principal_id WHERE t.lookup_key = $1"
);
const ADMISSION: &str = concat!(
    "SELECT ",
    principals::columns!(),
    ", g.granted_at, g.ended_at FROM oidc_identities i JOIN principals p ON p.id = i.principal_id
    LEFT JOIN provisioning_grants g ON g.principal_id = p.id AND g.rule_id = $3 AND g.role = $4
    WHERE i.issuer = $1 AND i.subject = $2"
);
const PRINCIPALS: &str = principals::select!("WHERE p.id > $1 ORDER BY p.id LIMIT $2");
const TOKENS: &str = "SELECT id, principal_id, lookup_key, name, created_at, expires_at, last_used_at, revoked_at
    FROM api_tokens WHERE principal_id = $1 AND id > $2 ORDER BY id LIMIT $3";

const NEXT_INGEST: &str = "SELECT min(due_at) FROM upload_sessions WHERE state IN ('completed', 'ingesting')";
const NEXT_PUBLISH: &str = "SELECT min(due_at) FROM publish_jobs WHERE state IN ('queued', 'running')";
const COUNTERS: &str = "SELECT name, CAST(sum(value) AS BIGINT) AS value FROM counters GROUP BY name";
const WAITS: &str = "SELECT 'ingest' AS work, state,
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
    VERSION,
    ALIASED_VERSION,
    ALIASES,
    ALIAS,
    PUBLISHED_BLOB,
    ARTIFACT_FILE,
    ATTACHMENT_FILE,
    RELEASED_FILE,
    UNLISTED,
    CREDENTIAL,
    ADMISSION,
    PRINCIPALS,
    TOKENS,
];

const LAST: Uuid = Uuid::max();

/// One row more than the page takes, to see whether there is a next one.
const fn fetch(page: &PageRequest) -> i64 {
    page.limit.get() as i64 + 1
}

fn paged<T, K: CursorKey>(mut items: Vec<T>, page: &PageRequest, name: &ListName, key: impl Fn(&T) -> K) -> Page<T> {
    let limit = usize::from(page.limit.get());
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(|last| name.cursor(&key(last)));
    Page { items, next }
}

async fn image<C: Connection>(
    connection: &mut C,
    name: &ImageName,
    see: Visibility,
) -> Result<Option<Image>, CatalogError> {
    let sql = match see {
        Visibility::Published => PUBLISHED_IMAGE,
        Visibility::All => IMAGE,
    };
    find::<ImageRow, _, _>(connection, sql, values![name.as_str()]).await
}

async fn manifest<C: Connection>(snapshot: &mut C, image: Image, version: Version) -> Result<Manifest, CatalogError> {
    let entries = manifests::entries(snapshot, version.id).await?;
    let warnings = manifests::warnings(snapshot, version.id).await?;
    Ok(Manifest { image, version, entries, warnings })
}

#[async_trait]
impl<D: SqlDatabase> CatalogQueries for SqlCatalog<D> {
    async fn check(&self) -> Result<(), CatalogError> {
        streams::revision(&mut self.database.reader().await?).await.map(drop)
    }

    async fn identity(&self) -> Result<CatalogIdentity, CatalogError> {
        let found = row(&mut self.database.reader().await?, IDENTITY, values![]).await?;
        let (catalog, store) = found.ok_or_else(|| Corrupt::new("catalog identity", "it is gone"))?;
        Ok(CatalogIdentity { catalog, store })
    }

    async fn get_image(&self, name: &ImageName, see: Visibility) -> Result<Option<Image>, CatalogError> {
        image(&mut self.database.reader().await?, name, see).await
    }

    async fn list_images(&self, see: Visibility, page: &PageRequest) -> Result<Page<Image>, CatalogError> {
        let (sql, list_name) = match see {
            Visibility::Published => (PUBLISHED_IMAGES, ListName("images:published".to_owned())),
            Visibility::All => (IMAGES, ListName("images:all".to_owned())),
        };
        let after: String = list_name.key(page.after.as_ref(), String::new())?;
        let values = values![after, fetch(page)];
        let images: Vec<Image> = list::<ImageRow, _, _>(&mut self.database.reader().await?, sql, values).await?;
        Ok(paged(images, page, &list_name, |image| image.name.to_string()))
    }

    async fn list_versions(
        &self,
        name: &ImageName,
        see: Visibility,
        filter: VersionFilter,
        page: &PageRequest,
    ) -> Result<Option<Page<Version>>, CatalogError> {
        let state = match (see, filter) {
            (Visibility::Published, _) | (Visibility::All, VersionFilter::Published) => Some("published"),
            (Visibility::All, VersionFilter::Draft) => Some("draft"),
            (Visibility::All, VersionFilter::Publishing) => Some("publishing"),
            (Visibility::All, VersionFilter::All) => None,
        };
        let list_name = ListName(format!("versions:{name}:{}", state.unwrap_or("all")));
        let (before, id): (i64, Uuid) = list_name.key(page.after.as_ref(), (i64::MAX, LAST))?;
        let mut snapshot = self.database.snapshot().await?;
        let Some(image) = image(&mut snapshot, name, see).await? else { return Ok(None) };
        let mut values = values![image.id.uuid(), Timestamp::from_micros(before), id, fetch(page)];
        let sql = match state {
            Some(state) => {
                values.push(state.into());
                VERSIONS_BY_STATE
            }
            None => VERSIONS,
        };
        let versions: Vec<Version> = list::<VersionRow, _, _>(&mut snapshot, sql, values).await?;
        let key = |version: &Version| {
            let listed_at = version.state.published_at().unwrap_or(version.created_at);
            (listed_at.micros(), version.id.uuid())
        };
        Ok(Some(paged(versions, page, &list_name, key)))
    }

    async fn get_manifest(
        &self,
        name: &ImageName,
        version: &VersionName,
        see: Visibility,
    ) -> Result<Option<Manifest>, CatalogError> {
        let mut snapshot = self.database.snapshot().await?;
        let Some(image) = image(&mut snapshot, name, see).await? else { return Ok(None) };
        let values = values![image.id.uuid(), version.as_str()];
        let version: Option<Version> = find::<VersionRow, _, _>(&mut snapshot, VERSION, values).await?;
        let visible = |version: &Version| see == Visibility::All || version.state.published_at().is_some();
        let Some(version) = version.filter(visible) else { return Ok(None) };
        Ok(Some(manifest(&mut snapshot, image, version).await?))
    }

    async fn get_ref(&self, name: &ImageName, reference: &RefName) -> Result<Option<Manifest>, CatalogError> {
        let mut snapshot = self.database.snapshot().await?;
        let Some(image) = image(&mut snapshot, name, Visibility::Published).await? else { return Ok(None) };
        let mut found = None;
        for sql in [VERSION, ALIASED_VERSION] {
            let values = values![image.id.uuid(), reference.as_str()];
            found = find::<VersionRow, Version, _>(&mut snapshot, sql, values)
                .await?
                .filter(|version| version.state.published_at().is_some());
            if found.is_some() {
                break;
            }
        }
        let Some(version) = found else { return Ok(None) };
        Ok(Some(manifest(&mut snapshot, image, version).await?))
    }

    async fn list_aliases(
        &self,
        name: &ImageName,
        see: Visibility,
        page: &PageRequest,
    ) -> Result<Option<Page<Alias>>, CatalogError> {
        let list_name = ListName(format!("aliases:{name}"));
        let after: String = list_name.key(page.after.as_ref(), String::new())?;
        let mut snapshot = self.database.snapshot().await?;
        let Some(image) = image(&mut snapshot, name, see).await? else { return Ok(None) };
        let values = values![image.id.uuid(), after, fetch(page)];
        let aliases: Vec<Alias> = list::<AliasRow, _, _>(&mut snapshot, ALIASES, values).await?;
        Ok(Some(paged(aliases, page, &list_name, |alias| alias.name.to_string())))
    }

    async fn get_alias(&self, image: &ImageName, name: &AliasName) -> Result<Option<Alias>, CatalogError> {
        let values = values![image.as_str(), name.as_str()];
        find::<AliasRow, _, _>(&mut self.database.reader().await?, ALIAS, values).await
    }

    async fn get_blob(&self, digest: &Digest, see: Visibility) -> Result<Option<TrustedBlob>, CatalogError> {
        let sql = match see {
            Visibility::Published => PUBLISHED_BLOB,
            Visibility::All => blobs::FIND,
        };
        find::<BlobRow, _, _>(&mut self.database.reader().await?, sql, values![digest.to_string()]).await
    }

    async fn get_published_file(
        &self,
        image: &ImageName,
        version: &VersionName,
        artifact: ArtifactId,
        attachment: Option<AttachmentId>,
    ) -> Result<Option<PublishedFile>, CatalogError> {
        let mut values = values![image.as_str(), version.as_str(), artifact.uuid()];
        let sql = match attachment {
            Some(attachment) => {
                values.push(attachment.uuid().into());
                ATTACHMENT_FILE
            }
            None => ARTIFACT_FILE,
        };
        find::<PublishedFileRow, _, _>(&mut self.database.reader().await?, sql, values).await
    }

    async fn get_released_file(
        &self,
        image: &ImageName,
        reference: &RefName,
        name: &FileName,
    ) -> Result<Option<ReleasedFile>, CatalogError> {
        let rest = name.as_str().strip_prefix(image.as_str()).and_then(|rest| rest.strip_prefix('-'));
        let values = values![image.as_str(), reference.as_str(), name.as_str(), rest];
        find::<ReleasedFileRow, _, _>(&mut self.database.reader().await?, RELEASED_FILE, values).await
    }

    async fn catalog_revision(&self) -> Result<Revision, CatalogError> {
        streams::revision(&mut self.database.reader().await?).await
    }

    async fn get_unlisted(&self, after: Option<VersionId>) -> Result<Option<Version>, CatalogError> {
        let after = after.map_or(Uuid::nil(), VersionId::uuid);
        find::<VersionRow, _, _>(&mut self.database.reader().await?, UNLISTED, values![after]).await
    }

    async fn get_stream_changes(&self, since: Option<Revision>) -> Result<StreamChanges, CatalogError> {
        streams::changes(&mut self.database.snapshot().await?, since).await
    }

    async fn get_upload(&self, id: UploadId) -> Result<Option<UploadSession>, CatalogError> {
        find::<UploadRow, _, _>(&mut self.database.reader().await?, uploads::FIND, values![id.uuid()]).await
    }

    async fn list_open_uploads(
        &self,
        by: PrincipalId,
        digest: Option<&Digest>,
        page: &PageRequest,
    ) -> Result<Page<UploadSession>, CatalogError> {
        let digest = digest.map(ToString::to_string);
        let list_name = ListName(format!("uploads:{by}:{}", digest.as_deref().unwrap_or("all")));
        let before: Uuid = list_name.key(page.after.as_ref(), LAST)?;
        let values = values![by.uuid(), before, digest, fetch(page)];
        let open: Vec<UploadSession> =
            list::<UploadRow, _, _>(&mut self.database.reader().await?, uploads::LIST_OPEN, values).await?;
        Ok(paged(open, page, &list_name, |session| session.id.uuid()))
    }

    async fn get_parts(&self, id: UploadId, after: Option<PartNumber>, limit: u16) -> Result<Vec<Part>, CatalogError> {
        let values = values![id.uuid(), after.map_or(0, PartNumber::get), limit];
        list::<PartRow, _, _>(&mut self.database.reader().await?, uploads::LIST_PARTS, values).await
    }

    async fn get_intake(&self, id: UploadId) -> Result<Option<Intake>, CatalogError> {
        find::<IntakeRow, _, _>(&mut self.database.reader().await?, intakes::FIND, values![id.uuid()]).await
    }

    async fn get_job(&self, id: JobId) -> Result<Option<JobReport>, CatalogError> {
        let mut snapshot = self.database.snapshot().await?;
        let Some(job) = jobs::find_with_steps(&mut snapshot, jobs::FIND, values![id.uuid()]).await? else {
            return Ok(None);
        };
        // What is known of the version is what its live job found out.
        let warnings = match job.state {
            JobState::Abandoned => Vec::new(),
            JobState::Queued(_) | JobState::Running(_) | JobState::Succeeded | JobState::Failed => {
                manifests::warnings(&mut snapshot, job.version_id).await?
            }
        };
        Ok(Some(JobReport { job, warnings }))
    }

    async fn get_credential(&self, key: &TokenKey) -> Result<Option<Credential>, CatalogError> {
        find::<CredentialRow, _, _>(&mut self.database.reader().await?, CREDENTIAL, values![key.as_str()]).await
    }

    async fn list_principals(&self, page: &PageRequest) -> Result<Page<Principal>, CatalogError> {
        let list_name = ListName("principals".to_owned());
        let after: Uuid = list_name.key(page.after.as_ref(), Uuid::nil())?;
        let values = values![after, fetch(page)];
        let principals: Vec<Principal> =
            list::<PrincipalRow, _, _>(&mut self.database.reader().await?, PRINCIPALS, values).await?;
        Ok(paged(principals, page, &list_name, |principal| principal.id.uuid()))
    }

    async fn get_principal(&self, id: PrincipalId) -> Result<Option<Principal>, CatalogError> {
        find::<PrincipalRow, _, _>(&mut self.database.reader().await?, principals::FIND, values![id.uuid()]).await
    }

    async fn list_tokens(&self, principal: PrincipalId, page: &PageRequest) -> Result<Page<ApiToken>, CatalogError> {
        let list_name = ListName(format!("tokens:{principal}"));
        let after: Uuid = list_name.key(page.after.as_ref(), Uuid::nil())?;
        let values = values![principal.uuid(), after, fetch(page)];
        let tokens: Vec<ApiToken> = list::<TokenRow, _, _>(&mut self.database.reader().await?, TOKENS, values).await?;
        Ok(paged(tokens, page, &list_name, |token| token.id.uuid()))
    }

    async fn list_rules(&self, page: &PageRequest) -> Result<Page<ProvisioningRule>, CatalogError> {
        let list_name = ListName("provisioning-rules".to_owned());
        let after: String = list_name.key(page.after.as_ref(), String::new())?;
        let values = values![after, fetch(page)];
        let rules: Vec<ProvisioningRule> =
            list::<RuleRow, _, _>(&mut self.database.reader().await?, rules::LIST, values).await?;
        Ok(paged(rules, page, &list_name, |rule| rule.id.to_string()))
    }

    async fn get_rule(&self, id: &RuleId) -> Result<Option<ProvisioningRule>, CatalogError> {
        find::<RuleRow, _, _>(&mut self.database.reader().await?, rules::FIND, values![id.as_str()]).await
    }

    async fn get_rules_of(&self, issuer: &IssuerUrl) -> Result<Vec<ProvisioningRule>, CatalogError> {
        list::<RuleRow, _, _>(&mut self.database.reader().await?, rules::LIST_OF, values![issuer.as_str()]).await
    }

    async fn get_admission(&self, identity: &OidcIdentity, rule: &RuleId) -> Result<Option<Admission>, CatalogError> {
        let role = ProvisioningRule::ROLE.as_str();
        let values = values![identity.issuer.as_str(), identity.subject.as_str(), rule.as_str(), role];
        find::<AdmissionRow, _, _>(&mut self.database.reader().await?, ADMISSION, values).await
    }

    async fn list_reconcilable(
        &self,
        rule: &RuleId,
        page: &PageRequest,
    ) -> Result<Option<Page<Principal>>, CatalogError> {
        let list_name = ListName(format!("reconcilable:{rule}"));
        let after: Uuid = list_name.key(page.after.as_ref(), Uuid::nil())?;
        let mut snapshot = self.database.snapshot().await?;
        if !scalar::<bool, _>(&mut snapshot, rules::IS_KNOWN, values![rule.as_str()]).await? {
            return Ok(None);
        }
        let values = values![rule.as_str(), after, fetch(page)];
        let found: Vec<Principal> = list::<PrincipalRow, _, _>(&mut snapshot, rules::RECONCILABLE, values).await?;
        Ok(Some(paged(found, page, &list_name, |principal| principal.id.uuid())))
    }

    async fn list_audit(&self, filter: &AuditFilter, page: &PageRequest) -> Result<Page<AuditRecord>, CatalogError> {
        let list_name = ListName(format!("audit:{filter:?}"));
        let until = filter.until.map_or((i64::MAX, i64::MAX), |until| (until.micros(), 0));
        let (before, id) = list_name.key(page.after.as_ref(), until)?;
        let AuditFilter { action, actor_kind, actor, subject, request_id, since, .. } = filter;
        // By what leaves the fewest rows, most likely.
        let sql = match (request_id, subject, actor, action) {
            (Some(_), ..) => audit::LIST_BY_REQUEST,
            (_, Some(_), ..) => audit::LIST_BY_SUBJECT,
            (_, _, Some(_), _) => audit::LIST_BY_ACTOR,
            (_, _, _, Some(_)) => audit::LIST_BY_ACTION,
            (None, None, None, None) => audit::LIST,
        };
        let values = values![
            since.unwrap_or(Timestamp::from_micros(0)),
            Timestamp::from_micros(before),
            id,
            fetch(page),
            action.map(AuditAction::as_str),
            actor.as_deref(),
            subject.as_deref(),
            request_id.as_deref(),
            actor_kind.map(ActorKind::as_str),
        ];
        let found: Vec<AuditRecord> = list::<AuditRow, _, _>(&mut self.database.reader().await?, sql, values).await?;
        Ok(paged(found, page, &list_name, |record| (record.entry.at.micros(), record.id)))
    }

    async fn next_due(&self, work: LeasedWork) -> Result<Option<Duration>, CatalogError> {
        let sql = match work {
            LeasedWork::Ingest => NEXT_INGEST,
            LeasedWork::Publish => NEXT_PUBLISH,
        };
        let due: Option<SqlTime> = scalar(&mut self.database.reader().await?, sql, values![]).await?;
        let Some(due) = due else { return Ok(None) };
        Ok(Some(Timestamp::from(due).since(self.database.now().await?)))
    }

    async fn statistics(&self) -> Result<Statistics, CatalogError> {
        let now = self.database.now().await?;
        let mut snapshot = self.database.snapshot().await?;
        let counters: Vec<(String, i64)> = rows(&mut snapshot, COUNTERS, values![]).await?;
        let waits: Vec<WaitRow> = rows(&mut snapshot, WAITS, values![]).await?;
        Ok(statistics(counters, waits, now))
    }

    async fn free_bytes(&self) -> Result<Option<u64>, CatalogError> {
        self.database.free_bytes().await
    }

    async fn catalog_time(&self) -> Result<Timestamp, CatalogError> {
        self.database.now().await
    }
}
