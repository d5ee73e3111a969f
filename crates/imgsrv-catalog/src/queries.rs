//! Reads that need no transaction of their own.

use crate::{
    AdmissionRow, AliasRow, AuditRow, BlobRow, Connection, Corrupt, CredentialRow, ImageRow, IntakeRow, PartRow,
    PrincipalRow, PublishedFileRow, ReleasedFileRow, RuleRow, SqlCatalog, SqlDatabase, SqlTime, TokenRow, UploadRow,
    VersionRow, WaitRow,
    core::{
        connection::{find, list, row, rows, scalar},
        cursor::{CursorKey, ListName},
        value::values,
    },
    repos::{audit, blobs, intakes, jobs, manifests::warnings, principals, rules, uploads},
    statistics,
};
use async_trait::async_trait;
use imgsrv_domain::{
    audit::{ActorKind, AuditAction, AuditFilter, AuditRecord},
    auth::{ApiToken, Credential, Principal, TokenKey},
    digest::Digest,
    ids::{ArtifactId, AttachmentId, JobId, PrincipalId, UploadId},
    image::{Alias, Image},
    intake::Intake,
    manifest::Manifest,
    names::{AliasName, FileName, ImageName, PartNumber, RefName, RuleId, VersionName},
    oidc::{IssuerUrl, OidcIdentity, ProvisioningRule},
    page::{Page, PageRequest},
    parts::Part,
    ports::{
        Admission, CatalogError, CatalogIdentity, CatalogQueries, JobReport, LeasedWork, ManifestEntries,
        ManifestQueries, PublishedFile, ReleasedFile, ResolvedVersion, Statistics, StreamChanges, TrustedBlob,
        VersionFilter, Visibility,
    },
    publish::JobState,
    time::Timestamp,
    transition::Revision,
    upload::UploadSession,
    version::Version,
};
use std::time::Duration;
use uuid::Uuid;

pub(crate) mod manifests;
mod sql;
pub(crate) mod streams;

pub(crate) use sql::STATEMENTS;
use sql::{
    ADMISSION, ALIAS, ALIASES, ARTIFACT_FILE, ATTACHMENT_FILE, COUNTERS, CREDENTIAL, IDENTITY, IMAGE, IMAGES,
    NEXT_INGEST, NEXT_PUBLISH, PRINCIPALS, PUBLISHED_BLOB, PUBLISHED_IMAGE, PUBLISHED_IMAGES, RELEASED_FILE, TOKENS,
    VERSIONS, VERSIONS_BY_STATE, WAITS,
};

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

async fn manifest<C: Connection>(
    connection: &mut C,
    found: Option<ResolvedVersion>,
) -> Result<Option<Manifest>, CatalogError> {
    let Some(ResolvedVersion { image, version, .. }) = found else { return Ok(None) };
    let ManifestEntries { entries, warnings } = manifests::entries(connection, version.id).await?;
    Ok(Some(Manifest { image, version, entries, warnings }))
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
        // What is published does not change between two statements.
        let mut reader = match see {
            Visibility::Published => self.database.reader().await?,
            Visibility::All => self.database.snapshot().await?,
        };
        let found = manifests::resolve(&mut reader, name, version, see).await?;
        manifest(&mut reader, found).await
    }

    async fn get_ref(&self, name: &ImageName, reference: &RefName) -> Result<Option<Manifest>, CatalogError> {
        let found = self.resolve_ref(name, reference).await?;
        manifest(&mut self.database.reader().await?, found).await
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
                warnings(&mut snapshot, job.version_id).await?
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
