//! Retention: the policies of images, what they decide, and carrying that out.

use crate::{
    audit,
    auth::caller::ContentAdmin,
    content::fetches::{FetchDays, Fetched},
    context::Context,
    error::{Missing, Result, UseCaseError},
    work::retry::retrying,
};
use imgsrv_domain::{
    audit::{Actor, AuditAction, Event},
    digest::BlobClaim,
    ids::{ImageId, VersionId},
    lifecycle::Words,
    names::{ImageName, VersionName},
    ports::{CatalogError, CatalogTx, RetentionState},
    retention::{Because, Decision, RetentionAction, RetentionPolicy},
    text::LongText,
    time::Day,
    transition::Revision,
    version::Version,
};
use std::{collections::BTreeMap, fmt::Write, sync::Arc};

/// How many versions one transaction changes.
const BATCH: usize = 100;
/// How many fetches one transaction stores.
const FETCHES: usize = 500;
/// The public reason of versions that a policy retires.
const REASON: &str = "the retention policy of the image does not keep this version";

/// The use cases of retention.
#[derive(Clone)]
pub struct Retention(pub(crate) Arc<Context>);

/// What a policy decides for every active and deprecated version of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionPreview {
    /// Identifies the decisions and the state of the image that they are based on.
    pub revision: String,
    /// The decisions, in descending order of publication.
    pub decisions: Vec<(VersionName, Decision)>,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RetentionApplied {
    /// The versions that were deprecated or removed, and why.
    pub done: Vec<(VersionName, Decision)>,
    /// How many of the decisions were not carried out, because the image changed meanwhile.
    pub remaining: usize,
}

/// A policy's decisions, and what they are based on.
pub(super) struct Plan {
    image: ImageId,
    changed_in: Revision,
    pub(super) policy: RetentionPolicy,
    decisions: Vec<(VersionId, VersionName, Decision)>,
}

impl Retention {
    /// The policy of an image. The default policy is not one.
    #[tracing::instrument(name = "retention.get", level = "debug", skip_all, err(level = "debug"),
        fields(image.name = %image))]
    pub async fn get(&self, who: &ContentAdmin, image: &ImageName) -> Result<RetentionPolicy> {
        who.on(&self.0, image).await?;
        let found = self.0.catalog.get_retention(image).await?.ok_or_else(|| Missing::Image(image.clone()))?;
        Ok(found.ok_or_else(|| Missing::Retention(image.clone()))?)
    }

    /// Sets the policy of an image.
    #[tracing::instrument(name = "retention.set", level = "debug", skip_all, err(level = "debug"),
        fields(image.name = %image))]
    pub async fn set(&self, who: &ContentAdmin, image: &ImageName, policy: &RetentionPolicy) -> Result<()> {
        self.change(who, image, Some(policy)).await
    }

    /// Deletes the policy of an image.
    #[tracing::instrument(name = "retention.delete", level = "debug", skip_all, err(level = "debug"),
        fields(image.name = %image))]
    pub async fn delete(&self, who: &ContentAdmin, image: &ImageName) -> Result<()> {
        self.change(who, image, None).await
    }

    /// Sets or deletes the policy of an image. The image counts as changed, so that decisions of another policy are not
    /// applied.
    async fn change(&self, who: &ContentAdmin, image: &ImageName, wanted: Option<&RetentionPolicy>) -> Result<()> {
        let actor = who.on(&self.0, image).await?;
        retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            let id = tx.lock_image(image).await?.ok_or_else(|| Missing::Image(image.clone()))?.id;
            let action = match (wanted, tx.get_retention(id).await?) {
                (Some(wanted), Some(current)) if *wanted == current => return Ok(()),
                (Some(wanted), _) => {
                    tx.put_retention(id, wanted).await?;
                    AuditAction::RetentionSet
                }
                (None, Some(_)) => {
                    tx.delete_retention(id).await?;
                    AuditAction::RetentionDeleted
                }
                (None, None) => return Err(Missing::Retention(image.clone()).into()),
            };
            audit::record(&mut *tx, actor, Event::new(action, image)).await?;
            tx.bump_catalog_revision(id).await?;
            Ok(self.0.revision.commit(tx).await?)
        })
        .await
    }

    /// What `policy`, or else the policy of the image, would do now. Writes nothing.
    #[tracing::instrument(name = "retention.preview", level = "debug", skip_all, err(level = "debug"),
        fields(image.name = %image))]
    pub async fn preview(
        &self,
        who: &ContentAdmin,
        image: &ImageName,
        policy: Option<&RetentionPolicy>,
    ) -> Result<RetentionPreview> {
        who.on(&self.0, image).await?;
        let plan = self.plan(image, policy).await?;
        let revision = plan.revision();
        Ok(RetentionPreview {
            revision,
            decisions: plan.decisions.into_iter().map(|(_, name, it)| (name, it)).collect(),
        })
    }

    /// Carries out what the policy of the image decides, if that is what a preview of `revision` showed.
    #[tracing::instrument(name = "retention.apply", level = "debug", skip_all, err(level = "debug"),
        fields(image.name = %image))]
    pub async fn apply(&self, who: &ContentAdmin, image: &ImageName, revision: &str) -> Result<RetentionApplied> {
        let actor = who.on(&self.0, image).await?;
        let plan = self.plan(image, None).await?;
        if plan.revision() != revision {
            return Err(UseCaseError::RetentionChanged);
        }
        self.carry_out(actor, image, plan, usize::MAX).await
    }

    /// What `policy`, or else the policy of the image or the default, decides now.
    pub(super) async fn plan(&self, image: &ImageName, policy: Option<&RetentionPolicy>) -> Result<Plan> {
        let state = self.0.catalog.get_retention_state(image).await?.ok_or_else(|| Missing::Image(image.clone()))?;
        let RetentionState { image: id, changed_in, policy: own, candidates, now } = state;
        let policy = policy.copied().or(own).or(self.0.settings.default_retention);
        let policy = policy.ok_or_else(|| Missing::Retention(image.clone()))?;
        let (ids, candidates): (Vec<_>, Vec<_>) = candidates.into_iter().unzip();
        let decisions = policy.decide(&candidates, now);
        let names = candidates.into_iter().map(|candidate| candidate.version);
        let decisions = ids.into_iter().zip(names).zip(decisions).map(|((id, name), it)| (id, name, it)).collect();
        Ok(Plan { image: id, changed_in, policy, decisions })
    }

    /// Carries out at most `limit` decisions, in one transaction for each batch. Stops if somebody else changes the image
    /// meanwhile.
    pub(super) async fn carry_out(
        &self,
        actor: &Actor,
        image: &ImageName,
        plan: Plan,
        limit: usize,
    ) -> Result<RetentionApplied> {
        let changes = plan.decisions.into_iter().filter(|(_, _, decision)| decision.action != RetentionAction::Keep);
        // The oldest first, so that what remains after a limit is the least overdue.
        let changes: Vec<_> = changes.rev().take(limit).collect();
        let (mut changed_in, mut applied) = (plan.changed_in, RetentionApplied::default());
        let mut considered = 0;
        for batch in changes.chunks(BATCH) {
            let batch_done = retrying(|| self.apply_batch(actor, image, plan.image, changed_in, batch)).await?;
            let Some((done, now_changed_in)) = batch_done else {
                if considered == 0 {
                    return Err(UseCaseError::RetentionChanged);
                }
                break;
            };
            changed_in = now_changed_in;
            considered += batch.len();
            applied.done.extend(done);
        }
        applied.remaining = changes.len() - considered;
        Ok(applied)
    }

    /// Carries out decisions and returns those that were, with the revision of the image after them; `None` if its
    /// revision before was not `changed_in`. What has become needed meanwhile is left as it is.
    async fn apply_batch(
        &self,
        actor: &Actor,
        name: &ImageName,
        image: ImageId,
        changed_in: Revision,
        batch: &[(VersionId, VersionName, Decision)],
    ) -> Result<Option<(Vec<(VersionName, Decision)>, Revision)>> {
        let mut tx = self.0.catalog.begin().await?;
        // In the order of locks. With the image locked, its lifecycles are current.
        let found = tx.lock_image(name).await?;
        if found.is_none_or(|found| found.id != image) || tx.get_image_change(image).await? != changed_in {
            return Ok(None);
        }
        let mut changed = Vec::new();
        for (id, name, decision) in batch {
            if let Some((version, action)) = self.retire(&mut *tx, *id, decision.action).await? {
                let event = Event::new(action, version.path()).with(detail(&decision.because));
                changed.push((version, event, (name.clone(), decision.clone())));
            }
        }
        if changed.is_empty() {
            return Ok(Some((Vec::new(), changed_in)));
        }
        for (_, event, _) in &changed {
            audit::record(&mut *tx, actor, event.clone()).await?;
        }
        tx.bump_catalog_revision(image).await?;
        for (version, ..) in &changed {
            tx.update_lifecycle(version).await?;
        }
        let changed_in = tx.get_image_change(image).await?;
        self.0.revision.commit(tx).await?;
        Ok(Some((changed.into_iter().map(|(.., done)| done).collect(), changed_in)))
    }

    /// Locks a version and returns it with the lifecycle that `action` leads to; `None` if something needs the version, or
    /// its lifecycle does not allow the action any more.
    async fn retire(
        &self,
        tx: &mut dyn CatalogTx,
        id: VersionId,
        action: RetentionAction,
    ) -> Result<Option<(Version, AuditAction)>> {
        let Some(version) = tx.lock_version_by_id(id).await? else { return Ok(None) };
        let now = tx.now();
        if !version.is_offered() || version.lifecycle.hold_in_force(now).is_some() || tx.is_needed(&version).await? {
            return Ok(None);
        }
        let reason: LongText = REASON.parse().map_err(CatalogError::backend)?;
        let (words, lifecycle) = (Words { reason: Some(reason), replacement: None }, version.lifecycle.clone());
        let changed = match action {
            RetentionAction::Keep => return Ok(None),
            // The words of an earlier deprecation stay.
            RetentionAction::Deprecate if lifecycle.deprecation.is_some() => return Ok(None),
            RetentionAction::Deprecate => lifecycle.deprecate(words, None, now),
            RetentionAction::Remove => lifecycle.remove(words, None, self.0.settings.removal_drain, now),
        };
        let refused = |refusal| UseCaseError::Lifecycle { version: version.path(), refusal };
        let (lifecycle, action) = changed.map_err(refused)?;
        Ok(action.map(|action| (version.with_lifecycle(lifecycle), action)))
    }
}

impl Retention {
    /// Stores which versions were fetched, once a day each.
    #[tracing::instrument(name = "retention.flush_fetches", level = "debug", skip_all, err(level = "debug"))]
    pub async fn flush_fetches(&self) -> Result<(), CatalogError> {
        let taken = self.0.fetches.take();
        let stored = self.store_fetches(&taken).await;
        self.0.fetches.give_back(taken, stored.is_ok());
        stored
    }

    async fn store_fetches(&self, taken: &FetchDays) -> Result<(), CatalogError> {
        let taken: Vec<(Fetched, Day)> = taken.iter().map(|(fetched, day)| (*fetched, *day)).collect();
        for batch in taken.chunks(FETCHES) {
            retrying(|| async {
                let mut tx = self.0.catalog.begin().await?;
                let mut days: BTreeMap<VersionId, Day> = BTreeMap::new();
                for (fetched, day) in batch {
                    let versions = match fetched {
                        Fetched::Version(version) => vec![*version],
                        Fetched::Digest(digest) => tx.list_versions_of_digest(digest).await?,
                    };
                    for version in versions {
                        let last = days.entry(version).or_insert(*day);
                        *last = (*last).max(*day);
                    }
                }
                tx.record_fetches(&days.into_iter().collect::<Vec<_>>()).await?;
                tx.commit().await
            })
            .await?;
        }
        Ok(())
    }
}

impl Plan {
    /// Differs whenever the image or its policy has changed, or something else is decided.
    fn revision(&self) -> String {
        let Self { image, changed_in, policy, decisions } = self;
        let mut text = format!("{image} {} {policy:?}", changed_in.get());
        for (id, _, Decision { action, .. }) in decisions.iter().filter(|(_, _, it)| it.action != RetentionAction::Keep)
        {
            // Writing to a string cannot fail.
            let _ = write!(text, "\n{id} {action}");
        }
        let mut revision = BlobClaim::of(text.as_bytes()).digest.hex();
        revision.truncate(32);
        revision
    }
}

/// The reason of a change, for the audit log.
fn detail(because: &[Because]) -> String {
    let because: Vec<String> = because.iter().map(ToString::to_string).collect();
    format!("retention: {}", because.join(", "))
}
