//! Things to store.

use super::Fresh;
use crate::uuid;
use imgsrv_domain::{
    access::{ImageScope, Narrowing, Sender, Visibility},
    audit::{Actor, AuditAction, AuditEntry, Event},
    auth::{ApiToken, Attributes, Principal, PrincipalKind, Role},
    digest::{BlobClaim, ByteSize, Digest},
    ids::{AliasId, ArtifactId, AttachmentId, ImageId, JobId, PrincipalId, TokenId, UploadId, VersionId},
    image::{Alias, Image},
    inspection::{
        ClusterCompression, Contents, DetectedFormat, ImageKind, IncusLayout, IncusProperties, IncusRow, Inspection,
        Warning,
    },
    manifest::{Artifact, Attachment},
    packages::PackageList,
    ports::{BlobName, CatalogTx, TrustedBlob},
    publish::{PublishJob, StepName},
    time::Timestamp,
    transition::Revision,
    upload::{NewUpload, UploadSession},
    version::Version,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

pub(super) fn claim(byte: u8) -> BlobClaim {
    BlobClaim { digest: Digest::new([byte; 32]), size: ByteSize::try_from(100_i64).unwrap() }
}

pub(super) fn image(name: &str, now: Timestamp) -> Image {
    Image {
        id: ImageId::new(uuid()),
        name: name.parse().unwrap(),
        display_name: Some("An image".parse().unwrap()),
        visibility: Visibility::Public,
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
        grants: roles.iter().copied().collect(),
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
        narrowing: Narrowing {
            roles: Some(BTreeSet::from([Role::ContentReader, Role::ContentWriter])),
            images: scope(&["debian-*", "tools"]),
        },
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

/// The images that the patterns name.
pub(super) fn scope(patterns: &[&str]) -> ImageScope {
    ImageScope::matching(patterns.iter().map(|pattern| pattern.parse().unwrap())).unwrap()
}

/// Inserts an image.
pub(super) async fn new_image(tx: &mut dyn CatalogTx, name: &str) -> Image {
    let image = image(name, tx.now());
    tx.insert_image(&image).await.unwrap();
    image
}

/// Inserts a draft of `image`.
pub(super) async fn new_draft(tx: &mut dyn CatalogTx, image: &Image, name: &str) -> Version {
    let version = draft(image, name, tx.now());
    tx.insert_version(&version).await.unwrap();
    version
}

/// Inserts the image `debian` with the draft `1`.
pub(super) async fn debian(tx: &mut dyn CatalogTx) -> (Image, Version) {
    let image = new_image(tx, "debian").await;
    let version = new_draft(tx, &image, "1").await;
    (image, version)
}

/// Inserts an artifact of `claim(1)`, without files.
pub(super) async fn new_artifact(tx: &mut dyn CatalogTx, version: &Version) -> Artifact {
    let artifact = artifact(version, "amd64", claim(1));
    tx.insert_artifact(&artifact, &[], None).await.unwrap();
    artifact
}

/// Inserts a principal.
pub(super) async fn new_principal(tx: &mut dyn CatalogTx, roles: &[Role]) -> Principal {
    let principal = principal(tx.now(), roles);
    tx.insert_principal(&principal).await.unwrap();
    principal
}

/// Inserts a token whose hashed secret is `[7; 32]`.
pub(super) async fn new_token(tx: &mut dyn CatalogTx, owner: &Principal, key: &str, ttl: Duration) -> ApiToken {
    let token = token(owner, key, tx.now().plus(ttl));
    tx.insert_token(&token, &[7; 32]).await.unwrap();
    token
}

/// Inserts a trusted blob.
pub(super) async fn new_blob(tx: &mut dyn CatalogTx, claim: BlobClaim) -> TrustedBlob {
    let blob = blob(claim, tx.now());
    tx.insert_blob(&blob).await.unwrap();
    blob
}

/// Inserts a publish job.
pub(super) async fn new_job(tx: &mut dyn CatalogTx, version: &Version) -> PublishJob {
    let job = PublishJob::enqueue(JobId::new(uuid()), version, tx.now());
    tx.insert_job(&job).await.unwrap();
    job
}

/// Opens a session for `claim` by a principal of its own.
pub(super) async fn session(tx: &mut dyn CatalogTx, claim: BlobClaim, ttl: Duration) -> UploadSession {
    let by = Sender { principal: new_principal(tx, &[]).await.id, images: scope(&["debian-*", "tools"]) };
    let (media_type, filename) = ("a/b".parse().unwrap(), "disk.qcow2".parse().unwrap());
    let new = NewUpload { claim, media_type_hint: Some(media_type), filename_hint: Some(filename) };
    let (session, _) = UploadSession::open(UploadId::new(uuid()), by, new, tx.now(), ttl);
    tx.insert_upload(&session, None).await.unwrap();
    session
}

/// A published version `1` of `name` with one artifact, an attachment and the alias `latest`.
pub(super) async fn published(fresh: &Fresh, name: &str) -> Version {
    let mut tx = fresh.begin().await;
    let image = new_image(&mut *tx, name).await;
    let version = publish(&mut *tx, &image, "1").await;
    tx.insert_alias(&alias(&version, "latest", tx.now())).await.unwrap();
    tx.commit().await.unwrap();
    version
}

/// Publishes a new version of `image` in `tx`.
pub(super) async fn publish(tx: &mut dyn CatalogTx, image: &Image, name: &str) -> Version {
    let now = tx.now();
    let version = new_draft(tx, image, name).await;
    let artifact = artifact(&version, "amd64", claim(1));
    tx.insert_artifact(&artifact, &files_of(&version, &artifact), Some("amd64:default:qcow2")).await.unwrap();
    let sbom = attachment(&artifact, "sbom", claim(2));
    tx.insert_attachment(version.id, &sbom, &["sbom".to_owned()]).await.unwrap();
    for claim in [claim(1), claim(2)] {
        if tx.get_blob(&claim.digest).await.unwrap().is_none() {
            new_blob(tx, claim).await;
        }
    }
    new_job(tx, &version).await;
    tx.update_version(&version.freeze(now).unwrap().0).await.unwrap();
    let frozen = tx.lock_version(&image.name, &name.parse().unwrap()).await.unwrap().unwrap();
    tx.insert_inspection(frozen.id, artifact.id, &inspection()).await.unwrap();
    tx.insert_package_list(claim(2).digest, &packages()).await.unwrap();
    tx.insert_warnings(frozen.id, &[warning(&artifact, StepName::ValidateCatalog)]).await.unwrap();
    let (fingerprint, properties) = (claim(9).digest, properties());
    let expires_at = Some(Timestamp::from_micros(2_000_000_000_000_000));
    // The second version is a unified image.
    let split = IncusLayout::Split(sbom.id);
    let layout = if name == "2" { IncusLayout::Unified(ImageKind::VirtualMachine) } else { split };
    let row = IncusRow { artifact: artifact.id, layout, fingerprint, properties, expires_at };
    tx.insert_stream_row(frozen.id, &row).await.unwrap();
    tx.bump_catalog_revision(image.id).await.unwrap();
    tx.publish_stream_rows(frozen.id).await.unwrap();
    tx.update_version(&frozen.publish(now).unwrap().0).await.unwrap();
    tx.lock_version(&image.name, &name.parse().unwrap()).await.unwrap().unwrap()
}

/// The packages that the attachment of published versions lists.
pub(super) fn packages() -> PackageList {
    "bash\t5.2.15-2+b7\nlinux-image\t6.1.0-30\t6.1.0-31\nunknown\n".parse().unwrap()
}

pub(super) fn properties() -> IncusProperties {
    let all = [("os", "Debian \"12\""), ("requirements.secureboot", "false")];
    IncusProperties::of(&all.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
}

pub(super) fn inspection() -> Inspection {
    Inspection {
        detected: Some(DetectedFormat { contents: Some(Contents::Qcow2), ..DetectedFormat::default() }),
        virtual_size: ByteSize::try_from(1_i64 << 40).ok(),
        cluster_size: ByteSize::try_from(65_536_i64).ok(),
        compression: Some(ClusterCompression::Zstd),
    }
}

pub(super) fn warning(artifact: &Artifact, step: StepName) -> Warning {
    Warning { step, artifact: artifact.id, reason: "it is \"odd\"".to_owned() }
}
