//! Links: URLs with which anybody can download one file of a published version until they end.

use crate::{
    audit,
    auth::{
        caller::{Authentication, Caller, Credential, RequestContext, Writer},
        denied::Denied,
        token,
    },
    content::{
        delivery::{Delivery, Download},
        published::PublishedVersion,
    },
    context::Context,
    error::{Gone, Missing, Result, UseCaseError},
    work::retry::retrying,
};
use imgsrv_domain::{
    access::{Action, ImageScope, Narrowing, View},
    audit::{Actor, AuditAction, Event},
    auth::{Principal, StoredToken},
    files,
    ids::{ArtifactId, AttachmentId},
    lifecycle::LifecycleState,
    link::{Capability, InvalidLink, Link, LinkKey, LinkMaker, LinkedFile, RuleMark, whole_seconds},
    names::{ImageName, VersionName},
    ports::{Admittable, Catalog, CatalogError, LinkTarget, Timed},
    retention::Span,
    time::Timestamp,
};
use std::time::Duration;

/// The use cases of links.
#[derive(Clone)]
pub struct Links(pub(crate) Delivery);

/// A link that was just made. Its `Debug` does not show the capability.
#[derive(Debug, Clone)]
pub struct NewLink {
    /// What gives access.
    pub capability: Capability,
    /// The name of the file.
    pub file_name: String,
    /// When it ends.
    pub expires_at: Timestamp,
}

impl Links {
    fn context(&self) -> &Context {
        &self.0.0.context
    }

    /// Makes a link to an artifact of a published version, or to one of its attachments, for those who may write to the
    /// image. It ends with the API token that makes it, or when the rule that admits the caller no longer does, and as soon
    /// as the caller may no longer read the image.
    #[tracing::instrument(name = "link.create", level = "debug", skip_all, err(level = "debug"),
        fields(image.name = %image, version.name = %version, artifact.id = %artifact))]
    pub async fn create(
        &self,
        who: &Writer,
        image: &ImageName,
        version: &VersionName,
        artifact: ArtifactId,
        attachment: Option<AttachmentId>,
        ttl: Duration,
    ) -> Result<NewLink> {
        let context = self.context();
        let actor = who.on(context, image).await?;
        let found = self.0.0.by_version(image, version, View::All).await?;
        let found = found.ok_or_else(|| Missing::Version(image.clone(), version.clone()))?;
        let file_name = require_downloadable(&found, artifact, attachment, context.clock.now())?;
        let file = attachment.map_or(LinkedFile::Artifact(artifact), LinkedFile::Attachment);
        let target = context.catalog.get_link_target(file).await?;
        let generation = target.ok_or_else(|| Missing::Version(image.clone(), version.clone()))?.generation;
        let Timed { value: key, now } = link_key(&*context.catalog).await?;
        let (maker, lasts_until) = maker(who)?;
        let left = lasts_until.map(|until| Duration::from_secs(until.since(now).as_secs()));
        let ttl = left.map_or(ttl, |left| ttl.min(left));
        let link = Link { file, maker, generation, expires_at: whole_seconds(now.plus(ttl)) };
        let event = Event::new(AuditAction::LinkCreated, format!("{image}/{version}/{file_name}"));
        let event = event.with(format!("valid for {}", Span(ttl)));
        retrying(|| async { audit::commit(context.catalog.begin().await?, actor, event.clone()).await }).await?;
        Ok(NewLink { capability: key.sign(&link), file_name, expires_at: link.expiry() })
    }

    /// Revokes all links to the files of an image.
    #[tracing::instrument(name = "links.revoke", level = "debug", skip_all, fields(image.name = %image), err(level = "debug"))]
    pub async fn revoke(&self, who: &Writer, image: &ImageName) -> Result<()> {
        let context = self.context();
        let actor = who.on(context, image).await?;
        retrying(|| async {
            let mut tx = context.catalog.begin().await?;
            let found = tx.lock_image(image).await?.ok_or_else(|| Missing::Image(image.clone()))?;
            tx.revoke_links(found.id).await?;
            audit::record(&mut *tx, actor, Event::new(AuditAction::LinksRevoked, image)).await?;
            // The documents of private remotes have new links.
            tx.bump_catalog_revision(found.id).await?;
            Ok(context.revision.commit(tx).await?)
        })
        .await
    }

    /// The file of that name that a capability gives access to.
    #[tracing::instrument(name = "link.open", level = "debug", skip_all, err(level = "debug"))]
    pub async fn open(&self, capability: &str, name: &str, context: RequestContext) -> Result<Download> {
        let catalog = &*self.context().catalog;
        let capability: Capability = capability.parse().map_err(|_| InvalidLink::NotAuthentic)?;
        let key = catalog.get_link_key().await?.ok_or(InvalidLink::NotAuthentic)?;
        let link = key.value.verify(&capability).ok_or(InvalidLink::NotAuthentic)?;
        if link.has_expired(key.now) {
            return Err(InvalidLink::Ended.into());
        }
        let (target, maker) =
            futures::try_join!(catalog.get_link_target(link.file), maker_of(catalog, &link, context))?;
        let target = target.filter(|target| target.generation == link.generation).ok_or(InvalidLink::Ended)?;
        let maker = maker.ok_or(InvalidLink::Ended)?;
        let LinkTarget { image, version, artifact, .. } = target;
        let attachment = match link.file {
            LinkedFile::Artifact(_) => None,
            LinkedFile::Attachment(id) => Some(id),
        };
        let found = self.0.0.by_version(&image, &version, maker.view(&image).min(View::Published)).await?;
        let found = found.ok_or(InvalidLink::Ended)?;
        let file_name = linked_file_name(&found, artifact, attachment).ok_or(InvalidLink::Ended)?;
        if file_name != name {
            return Err(InvalidLink::NotAuthentic.into());
        }
        let mut download = self.0.file(&maker, &image, &version, artifact, attachment).await?;
        (download.file_name, download.public) = (file_name, false);
        Ok(download)
    }
}

/// The name of the file, if it can be downloaded.
fn require_downloadable(
    found: &PublishedVersion,
    artifact: ArtifactId,
    attachment: Option<AttachmentId>,
    now: Timestamp,
) -> Result<String> {
    let version = &found.manifest.version;
    let missing = || match attachment {
        None => Missing::Artifact(version.image.clone(), version.name.clone(), artifact),
        Some(id) => Missing::Attachment(artifact, id),
    };
    let file_name = linked_file_name(found, artifact, attachment).ok_or_else(missing)?;
    if version.state.published_at().is_none() {
        return Err(UseCaseError::NotDownloadable(version.path()));
    }
    if version.lifecycle.is_revoked() || version.lifecycle.state(now) == LifecycleState::Tombstone {
        return Err(Gone::of(version, now).into());
    }
    Ok(file_name)
}

/// The name of an artifact's file, or of that of one of its attachments.
fn linked_file_name(
    found: &PublishedVersion,
    artifact: ArtifactId,
    attachment: Option<AttachmentId>,
) -> Option<String> {
    let manifest = &found.manifest;
    let entry = manifest.entries.iter().find(|entry| entry.artifact.id == artifact)?;
    let own = entry.artifact.file_name(&manifest.image.name, &manifest.version.name);
    let Some(id) = attachment else { return Some(own) };
    let attachment = entry.attachments.iter().find(|attachment| attachment.id == id)?;
    Some(files::attachment_file(&own, &attachment.name))
}

/// Whose link a caller makes, and until when it can last.
fn maker(who: &Writer) -> Result<(LinkMaker, Option<Timestamp>), Denied> {
    let Authentication { credential, expires_at } = who.authentication();
    match credential {
        Credential::ApiToken { id, .. } => Ok((LinkMaker::Token(*id), Some(*expires_at))),
        Credential::Oidc { admitted_by, .. } => {
            Ok((LinkMaker::Admitted(who.id(), RuleMark::of(&admitted_by.rule)), None))
        }
        Credential::Link => Err(Denied::Forbidden(Action::ContentWrite)),
    }
}

/// A principal with the rights that a rule admits it with. A link is for a file of an image that the claims of its maker
/// reached, and another image has other files: which values the claims had does not matter any more.
fn admitted(found: Admittable) -> Principal {
    let Admittable { mut principal, by_hand, role, images, .. } = found;
    principal.grants = by_hand;
    principal.grants.add(role, ImageScope::with_any_claims(&images));
    principal
}

/// The maker of a link, with what it may do now; `None` if its credential has ended or its principal is not active.
async fn maker_of(catalog: &dyn Catalog, link: &Link, context: RequestContext) -> Result<Option<Caller>, CatalogError> {
    let authentication = Authentication { credential: Credential::Link, expires_at: link.expiry() };
    let found = match link.maker {
        LinkMaker::Admitted(id, rule) => {
            let found = catalog.list_admittable(id).await?.into_iter().find(|found| RuleMark::of(&found.rule) == rule);
            found.map(|found| (admitted(found), Narrowing::NONE))
        }
        LinkMaker::Token(id) => {
            let found = catalog.get_token_by_id(id).await?;
            let found = found.filter(|Timed { value, now }| value.token.is_live(*now));
            found.map(|Timed { value: StoredToken { token, principal, .. }, .. }| (principal, token.narrowing))
        }
    };
    let found = found.filter(|(principal, _)| principal.is_active());
    Ok(found.map(|(principal, narrowing)| Caller::authenticated(principal, None, narrowing, authentication, context)))
}

/// The key of links, which is made with the first link, and the time on the catalog's clock.
pub(crate) async fn link_key(catalog: &dyn Catalog) -> Result<Timed<LinkKey>, CatalogError> {
    if let Some(key) = catalog.get_link_key().await? {
        return Ok(key);
    }
    let secret = token::random()?;
    retrying(|| async {
        let mut tx = catalog.begin().await?;
        let (value, now) = (tx.ensure_link_key(&secret).await?, tx.now());
        tx.commit().await?;
        Ok::<_, CatalogError>(Timed { value, now })
    })
    .await
}

/// Replaces the key of links, which ends all of them at once, for an operator with direct access to the catalog; returns
/// the number of the new key.
pub async fn rotate_link_key(catalog: &dyn Catalog) -> Result<u32> {
    let secret = token::random()?;
    retrying(|| async {
        let mut tx = catalog.begin().await?;
        let LinkKey { id, .. } = tx.replace_link_key(&secret).await?;
        let event = Event::new(AuditAction::LinkKeyRotated, id);
        audit::commit(tx, &Actor::Operator, event).await?;
        Ok(id)
    })
    .await
}
