//! The mapping from domain objects to wire types.

use crate::public_url::Urls;
use imgsrv_api as api;
use imgsrv_app::{Authenticated, Credential, IntakeStatus, IssuedToken, VersionFiles};
use imgsrv_domain::{
    access::{ImageScope, Narrowing, Permitted, Rights},
    audit::AuditRecord,
    auth::{Action, ApiToken, Principal, Role},
    digest::ByteSize,
    image::{Alias, Image},
    inspection::{Inspection, Warning},
    lifecycle::{LifecycleState, Replacement},
    manifest::{Artifact, Attachment, Manifest, ManifestEntry, ManifestFile},
    names::{ImageName, UrlSegment},
    oidc::ProvisioningRule,
    parts::Part,
    ports::{JobReport, JobWork},
    time::Timestamp,
    upload::{UploadSession, UploadState},
    version::Version,
};
use jiff::fmt::rfc2822::DateTimePrinter;

/// RFC 3339 in UTC.
pub(crate) fn time(time: Timestamp) -> String {
    jiff::Timestamp::from_microsecond(time.micros()).unwrap_or_default().to_string()
}

/// An HTTP date (RFC 9110, section 5.6.7).
pub(crate) fn http_date(time: Timestamp) -> String {
    let time = jiff::Timestamp::from_microsecond(time.micros()).unwrap_or_default();
    DateTimePrinter::new().timestamp_to_rfc9110_string(&time).unwrap_or_default()
}

pub(crate) fn upload(session: &UploadSession) -> api::UploadSession {
    api::UploadSession {
        id: session.id.to_string(),
        principal_id: session.created_by.principal.to_string(),
        expected_digest: session.digest().map(|digest| digest.to_string()).unwrap_or_default(),
        expected_size_bytes: session.size().signed(),
        state: session.state.name().to_owned(),
        expires_at: time(session.expires_at),
        media_type_hint: session.media_type_hint.as_ref().map(ToString::to_string),
        filename_hint: session.filename_hint.as_ref().map(ToString::to_string),
        created_at: time(session.created_at),
        updated_at: time(session.updated_at),
        failure_reason: match &session.state {
            UploadState::Failed { reason, .. } => Some(reason.clone()),
            _ => None,
        },
    }
}

pub(crate) fn intake(status: &IntakeStatus, urls: &Urls) -> api::IntakeStatus {
    let wanted = &status.intake.wanted;
    let version = || urls.path(&format!("/v1/images/{}/versions/{}", wanted.image, wanted.version.in_url()));
    api::IntakeStatus {
        id: status.session.id.to_string(),
        state: status.state.to_owned(),
        offset: status.session.offset().signed(),
        size_bytes: status.session.size().signed(),
        job_url: status.intake.state.job().map(|job| urls.path(&format!("/v1/publish-jobs/{job}"))),
        version_url: status.intake.state.job().map(|_| version()),
        failure_reason: status.reason.clone(),
    }
}

pub(crate) fn part(part: &Part) -> api::PartSummary {
    api::PartSummary { part_number: part.number.get(), etag: part.attempt.to_string(), size_bytes: part.size.signed() }
}

pub(crate) fn image(image: &Image) -> api::Image {
    api::Image {
        id: image.id.to_string(),
        name: image.name.to_string(),
        display_name: image.display_name.as_ref().map(ToString::to_string),
        description: image.description.as_ref().map(ToString::to_string),
        visibility: image.visibility.to_string(),
        created_at: time(image.created_at),
        updated_at: time(image.updated_at),
    }
}

pub(crate) fn version(version: &Version, urls: &Urls) -> api::Version {
    api::Version {
        id: version.id.to_string(),
        image_id: version.image_id.to_string(),
        version: version.name.to_string(),
        state: version.state.name().to_owned(),
        published_at: version.state.published_at().map(time),
        lifecycle: is_notable(version).then(|| lifecycle(version, urls)),
        last_fetched_on: None,
        created_at: time(version.created_at),
        updated_at: time(version.updated_at),
    }
}

/// Whether a version is not active, or held.
fn is_notable(version: &Version) -> bool {
    version.lifecycle.stored_state() != LifecycleState::Active || version.lifecycle.hold.is_some()
}

pub(crate) fn lifecycle(version: &Version, urls: &Urls) -> api::Lifecycle {
    let lifecycle = &version.lifecycle;
    let end_of_life = lifecycle.deprecation.as_ref().and_then(|deprecation| deprecation.end_of_life);
    api::Lifecycle {
        state: lifecycle.stored_state().to_string(),
        reason: lifecycle.reason().map(ToString::to_string),
        replacement: lifecycle.successor().map(|successor| replacement(successor, &version.image, urls)),
        end_of_life: end_of_life.map(|day| day.to_string()),
        changed_at: time(lifecycle.changed_at),
        revoked_at: lifecycle.revocation.as_ref().map(|revocation| time(revocation.at)),
        available_until: lifecycle.removal.as_ref().map(|removal| time(removal.available_until)),
        hold: lifecycle.hold.as_ref().map(|hold| api::Hold {
            reason: hold.reason.to_string(),
            until: hold.until.map(time),
            lifts_at: hold.lifts_at.map(time),
        }),
    }
}

/// A replacement of a version of `image`.
pub(crate) fn replacement(replacement: &Replacement, image: &ImageName, urls: &Urls) -> api::Replacement {
    let url = format!("/v1/images/{}/refs/{}", replacement.image, replacement.reference.in_url());
    api::Replacement { name: replacement.relative_to(image), url: urls.path(&url) }
}

/// An artifact in a manifest, which knows whether it is quarantined.
pub(crate) fn entry(entry: &ManifestEntry, manifest: &Manifest) -> api::Artifact {
    let quarantined = manifest.quarantined.contains(&entry.artifact.primary.digest);
    api::Artifact { quarantined, ..artifact(&entry.artifact, entry.inspection.as_ref()) }
}

pub(crate) fn artifact(artifact: &Artifact, inspection: Option<&Inspection>) -> api::Artifact {
    api::Artifact {
        id: artifact.id.to_string(),
        version_id: artifact.version_id.to_string(),
        variant: artifact.variant.to_string(),
        operating_system: artifact.operating_system.to_string(),
        architecture: artifact.architecture.to_string(),
        format: artifact.format.to_string(),
        primary_blob_digest: artifact.primary.digest.to_string(),
        primary_blob_size_bytes: artifact.primary.size.signed(),
        primary_media_type: artifact.media_type.to_string(),
        created_at: time(artifact.created_at),
        updated_at: time(artifact.created_at),
        inspection: inspection.map(self::inspection),
        quarantined: false,
    }
}

fn inspection(inspection: &Inspection) -> api::Inspection {
    api::Inspection {
        detected_format: inspection.detected.map(|format| format.to_string()),
        virtual_size_bytes: inspection.virtual_size.map(ByteSize::signed),
        cluster_size_bytes: inspection.cluster_size.map(ByteSize::signed),
        compression: inspection.compression.map(|compression| compression.to_string()),
    }
}

fn warning(warning: &Warning) -> api::Warning {
    api::Warning {
        step: warning.step.to_string(),
        artifact_id: warning.artifact.to_string(),
        reason: warning.reason.clone(),
    }
}

/// The files of a version by the names under which they are listed, each with its URL below `folder`, that of the version.
pub(crate) fn release(release: &VersionFiles, folder: &str) -> api::ReleaseListing {
    let file = |(name, file): (String, &ManifestFile)| api::ReleaseFile {
        size_bytes: file.claim.size.signed(),
        digest: file.claim.digest.to_string(),
        media_type: file.media_type.to_string(),
        quarantined: release.manifest.quarantined.contains(&file.claim.digest),
        url: format!("{folder}/{}", UrlSegment(&file.name)),
        name,
    };
    api::ReleaseListing {
        image: release.manifest.image.name.to_string(),
        version: release.manifest.version.name.to_string(),
        files: release.by_name().into_iter().map(file).collect(),
    }
}

pub(crate) fn attachment(attachment: &Attachment) -> api::Attachment {
    api::Attachment {
        id: attachment.id.to_string(),
        artifact_id: attachment.artifact_id.to_string(),
        name: attachment.name.to_string(),
        media_type: attachment.media_type.to_string(),
        blob_digest: attachment.blob.digest.to_string(),
        blob_size_bytes: attachment.blob.size.signed(),
        created_at: time(attachment.created_at),
        updated_at: time(attachment.created_at),
        quarantined: false,
    }
}

pub(crate) fn manifest(manifest: &Manifest, urls: &Urls) -> api::Manifest {
    let attachment = |attachment: &Attachment| {
        let quarantined = manifest.quarantined.contains(&attachment.blob.digest);
        api::Attachment { quarantined, ..self::attachment(attachment) }
    };
    let entry = |entry: &ManifestEntry| api::ManifestEntry {
        artifact_id: entry.artifact.id.to_string(),
        artifact: self::entry(entry, manifest),
        attachments: entry.attachments.iter().map(attachment).collect(),
    };
    api::Manifest {
        image: image(&manifest.image),
        version: version(&manifest.version, urls),
        artifacts: manifest.entries.iter().map(entry).collect(),
        warnings: manifest.warnings.iter().map(warning).collect(),
    }
}

pub(crate) fn alias(alias: &Alias) -> api::Alias {
    api::Alias {
        id: alias.id.to_string(),
        image_id: alias.image_id.to_string(),
        alias: alias.name.to_string(),
        version_id: alias.version_id.to_string(),
        version: alias.version.to_string(),
        created_at: time(alias.created_at),
        updated_at: time(alias.updated_at),
    }
}

/// Reason why a job is parked or waits for another attempt. The error of an attempt may name hosts and files of the server,
/// which are for its log alone: only what failed is shown.
fn setback(work: &JobWork) -> Option<String> {
    let error = work.error.as_deref()?;
    Some(match error.split_once(':') {
        Some((what, _)) if !work.is_parked => format!("{what}: the server log contains the error of the last attempt"),
        _ => error.to_owned(),
    })
}

pub(crate) fn job(report: &JobReport) -> api::PublishJob {
    let JobReport { job, work, warnings } = report;
    let failed = job.failed_step();
    let step = |(sequence, step): (u16, &imgsrv_domain::publish::Step)| api::PublishStep {
        name: step.name.to_string(),
        state: step.state.name().to_owned(),
        sequence,
        // Every step is blocking: a job fails when one does.
        blocking: true,
        attempt_count: step.attempts.into(),
        started_at: step.state.started_at().map(time),
        finished_at: step.state.finished_at().map(time),
        reason: step.state.reason().map(str::to_owned),
    };
    api::PublishJob {
        id: job.id.to_string(),
        version_id: job.version_id.to_string(),
        image_name: job.image.to_string(),
        version: job.version.to_string(),
        state: job.state.to_string(),
        failed_step: failed.map(|step| step.name.to_string()),
        reason: failed.and_then(|step| step.state.reason()).map(str::to_owned).or_else(|| setback(work)),
        attempt_count: job.attempts().into(),
        next_attempt_at: work.next_attempt_at.map(time),
        parked: work.is_parked,
        started_at: job.started_at.map(time),
        finished_at: job.finished_at().map(time),
        created_at: time(job.created_at),
        updated_at: time(job.updated_at),
        steps: (1..).zip(&job.steps).map(step).collect(),
        warnings: warnings.iter().map(warning).collect(),
    }
}

pub(crate) fn role(role: Role) -> api::Role {
    let (display_name, description) = match role {
        Role::Auditor => {
            ("Auditor", "Can read the audit log, and see the nodes, the storage and what refers to stored content.")
        }
        Role::AuthManager => (
            "Authentication manager",
            "Can manage principals, roles, API tokens and provisioning rules, and read the audit log.",
        ),
        Role::ContentAdmin => (
            "Content administrator",
            "A content writer that can also deprecate, revoke, remove, purge, restore and hold published versions.",
        ),
        Role::ContentReader => ("Content reader", "Can read published content that is not public."),
        Role::ContentWriter => ("Content writer", "Can upload, create and publish drafts, and move aliases."),
        Role::Operator => {
            ("Operator", "Can collect garbage, and see the nodes, the storage and what refers to stored content.")
        }
    };
    api::Role {
        id: role.to_string(),
        display_name: display_name.to_owned(),
        description: description.to_owned(),
        actions: role.actions().iter().map(ToString::to_string).collect(),
    }
}

pub(crate) fn principal(principal: &Principal) -> api::Principal {
    let entries = principal.attributes.entries();
    let attributes = entries.iter().map(|(key, value)| (key.clone(), value.to_string())).collect();
    api::Principal {
        id: principal.id.to_string(),
        kind: principal.kind.to_string(),
        display_name: principal.display_name.to_string(),
        attributes: (!entries.is_empty()).then_some(attributes),
        role_ids: principal.grants.roles().map(|role| role.to_string()).collect(),
        roles: principal
            .grants
            .iter()
            .map(|(role, on)| api::RoleGrant { id: role.to_string(), images: images(on) })
            .collect(),
        deactivated_at: principal.deactivated_at.map(time),
    }
}

/// The patterns of a scope; `None` when it is every image.
fn images(scope: &ImageScope) -> Option<Vec<String>> {
    scope.patterns().map(|patterns| patterns.iter().map(ToString::to_string).collect())
}

/// The roles to which a credential is limited.
fn role_ids(narrowing: &Narrowing) -> Option<Vec<String>> {
    narrowing.roles.as_ref().map(|roles| roles.iter().map(ToString::to_string).collect())
}

pub(crate) fn token(token: &ApiToken) -> api::ApiToken {
    api::ApiToken {
        id: token.id.to_string(),
        principal_id: token.principal.to_string(),
        name: token.name.to_string(),
        expires_at: time(token.expires_at),
        role_ids: role_ids(&token.narrowing),
        images: images(&token.narrowing.images),
        last_used_at: token.last_used_at.map(time),
        revoked_at: token.revoked_at.map(time),
    }
}

pub(crate) fn issued(issued: IssuedToken) -> api::IssuedApiToken {
    api::IssuedApiToken {
        id: issued.token.id.to_string(),
        principal_id: issued.token.principal.to_string(),
        name: issued.token.name.to_string(),
        expires_at: time(issued.token.expires_at),
        role_ids: role_ids(&issued.token.narrowing),
        images: images(&issued.token.narrowing.images),
        plaintext: issued.plaintext,
    }
}

pub(crate) fn rule(rule: &ProvisioningRule) -> api::ProvisioningRule {
    let terms = &rule.terms;
    api::ProvisioningRule {
        id: rule.id.to_string(),
        display_name: terms.display_name.to_string(),
        issuer_url: terms.issuer.to_string(),
        audience: terms.audience.to_string(),
        forwarded_claims: terms.forwarded_claims.names().map(ToString::to_string).collect(),
        condition: terms.condition.as_str().to_owned(),
        images: terms.images.patterns().map(|patterns| patterns.iter().map(ToString::to_string).collect()),
        assign_role_ids: vec![terms.role.to_string()],
        enabled: terms.enabled,
    }
}

pub(crate) fn whoami(who: &Authenticated) -> api::Whoami {
    let Authenticated { principal: own, authentication, rights } = who;
    let expires_at = time(authentication.expires_at);
    let authentication = match &authentication.credential {
        Credential::ApiToken { id, name } => api::Authentication {
            method: "api_token".to_owned(),
            api_token_id: Some(id.to_string()),
            api_token_name: Some(name.to_string()),
            expires_at,
            ..api::Authentication::default()
        },
        Credential::Oidc { identity, admitted_by } => api::Authentication {
            method: "oidc".to_owned(),
            issuer: Some(identity.issuer.to_string()),
            subject: Some(identity.subject.to_string()),
            rule_id: Some(admitted_by.rule.to_string()),
            expires_at,
            ..api::Authentication::default()
        },
        Credential::Link => {
            api::Authentication { method: "link".to_owned(), expires_at, ..api::Authentication::default() }
        }
    };
    let authentication = api::Authentication {
        role_ids: role_ids(&rights.narrowing),
        images: images(&rights.narrowing.images),
        ..authentication
    };
    let permissions: Vec<_> = Action::ALL.iter().filter_map(|action| permission(rights, *action)).collect();
    let actions = permissions.iter().map(|permission| permission.action.clone()).collect();
    let mut own = own.clone();
    if let Some(claimed) = &rights.claimed {
        own.grants.add(claimed.role(), claimed.scope());
    }
    api::Whoami { principal: principal(&own), actions, permissions, authentication }
}

/// Where an action is allowed, if anywhere.
fn permission(rights: &Rights, action: Action) -> Option<api::Permission> {
    let Permitted { images: own, within } = rights.permitted(action)?;
    Some(api::Permission { action: action.to_string(), images: images(&own), within_images: images(&within) })
}

pub(crate) fn audit(record: &AuditRecord) -> api::AuditEntry {
    let entry = &record.entry;
    api::AuditEntry {
        id: record.id,
        at: time(entry.at),
        actor: api::AuditActor {
            kind: entry.actor.kind().to_string(),
            id: entry.actor.id(),
            name: entry.actor.name().map(str::to_owned),
        },
        request_id: entry.actor.request_id().map(str::to_owned),
        address: entry.actor.address().map(str::to_owned),
        action: entry.event.action.to_string(),
        subject: entry.event.subject.clone(),
        detail: entry.event.detail.clone(),
    }
}
