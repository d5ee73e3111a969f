//! Things to store.

use super::Fresh;
use imgsrv_domain::{
    audit::{Actor, AuditAction, AuditEntry, Event},
    auth::{ApiToken, Attributes, Principal, PrincipalKind, Role},
    digest::{BlobClaim, ByteSize, Digest},
    ids::{AliasId, ArtifactId, AttachmentId, ImageId, JobId, PrincipalId, TokenId, UploadId, VersionId},
    image::{Alias, Image},
    inspection::{ClusterCompression, DetectedFormat, IncusRow, Inspection, Warning},
    manifest::{Artifact, Attachment},
    ports::{BlobName, CatalogTx, TrustedBlob},
    publish::{PublishJob, StepName},
    time::Timestamp,
    transition::Revision,
    upload::{NewUpload, UploadSession},
    version::Version,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use uuid::Uuid;

static COUNT: AtomicU64 = AtomicU64::new(1);

/// A UUID that sorts after all before it.
pub(super) fn uuid() -> Uuid {
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    Uuid::from_u128(0x0198_0000_0000_7000_8000_0000_0000_0000 | u128::from(count))
}

pub(super) fn claim(byte: u8) -> BlobClaim {
    BlobClaim { digest: Digest::new([byte; 32]), size: ByteSize::try_from(100_i64).unwrap() }
}

pub(super) fn image(name: &str, now: Timestamp) -> Image {
    Image {
        id: ImageId::new(uuid()),
        name: name.parse().unwrap(),
        display_name: Some("An image".parse().unwrap()),
        description: None,
        created_at: now,
        updated_at: now,
        revision: Revision::FIRST,
    }
}

pub(super) fn draft(image: &Image, name: &str, now: Timestamp) -> Version {
    Version::draft(VersionId::new(uuid()), image.id, image.name.clone(), name.parse().unwrap(), now).0
}

pub(super) fn artifact(version: &Version, architecture: &str, claim: BlobClaim) -> Artifact {
    Artifact {
        id: ArtifactId::new(uuid()),
        version_id: version.id,
        variant: "default".parse().unwrap(),
        operating_system: "debian".parse().unwrap(),
        architecture: architecture.parse().unwrap(),
        format: "qcow2".parse().unwrap(),
        primary: claim,
        media_type: "application/x-qemu-disk".parse().unwrap(),
        created_at: version.created_at,
    }
}

pub(super) fn files_of(version: &Version, artifact: &Artifact) -> Vec<String> {
    vec![artifact.file_name(&version.image, &version.name)]
}

pub(super) fn attachment(artifact: &Artifact, name: &str, claim: BlobClaim) -> Attachment {
    Attachment {
        id: AttachmentId::new(uuid()),
        artifact_id: artifact.id,
        name: name.parse().unwrap(),
        media_type: "text/plain".parse().unwrap(),
        blob: claim,
        created_at: artifact.created_at,
    }
}

pub(super) fn alias(version: &Version, name: &str, now: Timestamp) -> Alias {
    Alias {
        id: AliasId::new(uuid()),
        image_id: version.image_id,
        name: name.parse().unwrap(),
        version_id: version.id,
        version: version.name.clone(),
        created_at: now,
        updated_at: now,
        revision: Revision::FIRST,
    }
}

pub(super) fn principal(now: Timestamp, roles: &[Role]) -> Principal {
    let attributes = BTreeMap::from([("team".to_owned(), "images \"and\" more".parse().unwrap())]);
    Principal {
        id: PrincipalId::new(uuid()),
        kind: PrincipalKind::Service,
        display_name: "ci".parse().unwrap(),
        attributes: Attributes::new(attributes).unwrap(),
        roles: roles.iter().copied().collect::<BTreeSet<_>>(),
        deactivated_at: None,
        created_at: now,
        updated_at: now,
        revision: Revision::FIRST,
    }
}

pub(super) fn token(principal: &Principal, key: &str, expires_at: Timestamp) -> ApiToken {
    ApiToken {
        id: TokenId::new(uuid()),
        principal: principal.id,
        key: key.parse().unwrap(),
        name: "laptop".parse().unwrap(),
        created_at: principal.created_at,
        expires_at,
        last_used_at: None,
        revoked_at: None,
    }
}

pub(super) fn blob(claim: BlobClaim, now: Timestamp) -> TrustedBlob {
    TrustedBlob { claim, name: BlobName::of(&claim.digest, UploadId::new(uuid())), created_at: now }
}

pub(super) fn audit(now: Timestamp) -> AuditEntry {
    AuditEntry { at: now, actor: Actor::Operator, event: Event::new(AuditAction::TokenIssued, "x").with("y") }
}

/// Opens a session for `claim` by a principal of its own.
pub(super) async fn session(tx: &mut dyn CatalogTx, claim: BlobClaim, ttl: Duration) -> UploadSession {
    let now = tx.now();
    let by = principal(now, &[]);
    tx.insert_principal(&by).await.unwrap();
    let new = NewUpload {
        claim,
        media_type_hint: Some("a/b".parse().unwrap()),
        filename_hint: Some("disk.qcow2".parse().unwrap()),
    };
    let (session, _) = UploadSession::open(UploadId::new(uuid()), by.id, new, now, ttl);
    tx.insert_upload(&session).await.unwrap();
    session
}

/// A published version `1` of `name` with one artifact, an attachment and the alias `latest`.
pub(super) async fn published(fresh: &Fresh, name: &str) -> Version {
    let mut tx = fresh.catalog.begin().await.unwrap();
    let now = tx.now();
    let image = image(name, now);
    tx.insert_image(&image).await.unwrap();
    let version = publish(&mut *tx, &image, "1").await;
    tx.insert_alias(&alias(&version, "latest", now)).await.unwrap();
    tx.commit().await.unwrap();
    version
}

/// Publishes a new version of `image` in `tx`.
pub(super) async fn publish(tx: &mut dyn CatalogTx, image: &Image, name: &str) -> Version {
    let now = tx.now();
    let version = draft(image, name, now);
    tx.insert_version(&version).await.unwrap();
    let artifact = artifact(&version, "amd64", claim(1));
    tx.insert_artifact(&artifact, &files_of(&version, &artifact), Some("amd64:default:qcow2")).await.unwrap();
    let sbom = attachment(&artifact, "sbom", claim(2));
    tx.insert_attachment(version.id, &sbom, &["sbom".to_owned()]).await.unwrap();
    for claim in [claim(1), claim(2)] {
        if tx.get_blob(&claim.digest).await.unwrap().is_none() {
            tx.insert_blob(&blob(claim, now)).await.unwrap();
        }
    }
    tx.insert_job(&PublishJob::enqueue(JobId::new(uuid()), &version, now)).await.unwrap();
    tx.update_version(&version.freeze(now).unwrap().0).await.unwrap();
    let frozen = tx.lock_version(&image.name, &name.parse().unwrap()).await.unwrap().unwrap();
    tx.insert_inspection(frozen.id, artifact.id, &inspection()).await.unwrap();
    tx.insert_warnings(frozen.id, &[warning(&artifact, StepName::ValidateCatalog)]).await.unwrap();
    let row = IncusRow { artifact: artifact.id, attachment: sbom.id, fingerprint: claim(9).digest };
    tx.insert_stream_row(frozen.id, &row).await.unwrap();
    tx.bump_catalog_revision(image.id).await.unwrap();
    tx.publish_stream_rows(frozen.id).await.unwrap();
    tx.update_version(&frozen.publish(now).unwrap().0).await.unwrap();
    tx.lock_version(&image.name, &name.parse().unwrap()).await.unwrap().unwrap()
}

pub(super) fn inspection() -> Inspection {
    Inspection {
        detected: Some(DetectedFormat::Qcow2),
        virtual_size: ByteSize::try_from(1_i64 << 40).ok(),
        cluster_size: ByteSize::try_from(65_536_i64).ok(),
        compression: Some(ClusterCompression::Zstd),
    }
}

pub(super) fn warning(artifact: &Artifact, step: StepName) -> Warning {
    Warning { step, artifact: artifact.id, reason: "it is \"odd\"".to_owned() }
}

/// The conflict that a refused write broke.
macro_rules! conflict {
    ($result:expr) => {
        match $result {
            Err(imgsrv_domain::ports::CatalogError::Conflict(conflict)) => conflict,
            other => panic!("no conflict: {other:?}"),
        }
    };
}
pub(super) use conflict;
