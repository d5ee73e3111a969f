//! What to do after an error.

use super::{connection, missing};
use imgsrv_client::{
    Error, TokenError,
    api::{Problem, ProblemCode},
};
use imgsrv_domain::auth::Role;

/// What to do next, if there is something to do.
pub(super) fn advice(error: &Error) -> Option<String> {
    let advice = match error {
        Error::Unreachable(_) => return connection::describe(error).map(|described| described.advice),
        Error::Stalled(_) | Error::Incomplete(_) => "Check the network, then run the same command again: it resumes.",
        Error::NoToken => "Run imgsrv login, or set IMGSRV_TOKEN.",
        Error::Token(TokenError::NotInGitHub) => "Give the job `permissions: id-token: write`.",
        Error::Token(TokenError::Command(_) | TokenError::CommandFailed(_) | TokenError::Malformed) => {
            "Run the token command by itself: it must print a token, and nothing else."
        }
        Error::File { action: "written", .. } => "Check that the folder exists and can be written, or choose another.",
        Error::FileChanged(_) => "Wait until nothing writes to the file, then run the same command again.",
        Error::DigestMismatch { .. } => {
            "Run the same command again. If it fails again, tell the operator: the stored data may be damaged."
        }
        Error::NotPublished(job) => {
            return Some(format!(
                "Fix the cause, then run the same command again; imgsrv jobs show {} shows the steps.",
                job.id
            ));
        }
        Error::Conflict(conflict) if conflict.state == "taken" => "Choose another name.",
        Error::Conflict(conflict) if conflict.state == "publishing" => {
            "If its job has failed, add --replace to abandon the job and publish this content instead."
        }
        Error::Conflict(conflict) if conflict.state == "draft" => {
            "Add --replace to replace the content of the draft; imgsrv versions show shows it."
        }
        Error::Conflict(conflict) if ["revoked", "removed"].contains(&&*conflict.state) => {
            "Publish under a new version name, or restore the version with imgsrv versions restore."
        }
        Error::Conflict(_) => "Published versions never change. Publish under a new version name.",
        Error::UnexpectedResponse { status: 301..=399, .. } => {
            "The URL redirects. Use the URL of the server itself, with https:// if it uses TLS."
        }
        Error::UnexpectedResponse { status: 502..=504, .. } => {
            "The proxy in front of the server cannot reach it. Retry later."
        }
        Error::InvalidResponse(_) | Error::UnexpectedResponse { .. } => {
            "This does not look like an imgsrv server. Check the URL, its port and its path."
        }
        error if error.code() == Some(ProblemCode::Forbidden) => {
            return error.problem().map(|problem| of_permission(&problem.detail));
        }
        error if error.code() == Some(ProblemCode::NotFound) => {
            return error.problem().and_then(|problem| missing::advice(&problem.detail));
        }
        Error::ImageNotPrivate { image, .. } => {
            return Some(format!("imgsrv images set {image} --private makes it private."));
        }
        error if error.code() == Some(ProblemCode::ImageInUse) => {
            return error.problem().map(|problem| of_image(&problem.detail));
        }
        error if error.code() == Some(ProblemCode::AliasesInUse) => return error.problem().map(of_aliases),
        error => return of_problem(error.code()?).map(str::to_owned),
    };
    Some(advice.to_owned())
}

/// Which role grants the permission that a refusal names.
fn of_permission(detail: &str) -> String {
    const SHOWS: &str = "imgsrv whoami shows what the token may do: a token can be limited further than its principal.";
    let grants = |role: &&&Role| role.actions().iter().any(|action| detail.contains(action.as_str()));
    // The least of them.
    match Role::ALL.iter().filter(|role| grants(&role)).min_by_key(|role| role.actions().len()) {
        Some(role) => {
            let image = detail.split_once(" on image ").and_then(|(_, rest)| rest.split_once(','));
            let on = image.map(|(image, _)| format!(" --image {image}, and again for its other images"));
            let on = on.unwrap_or_default();
            let grant = format!("To grant it, a manager runs: imgsrv auth roles grant NAME {role}{on}");
            format!("The role {role} has this permission. {grant}\n{SHOWS}")
        }
        None => SHOWS.to_owned(),
    }
}

/// How to move the aliases that a refusal names.
fn of_aliases(problem: &Problem) -> String {
    let aliases: Vec<&str> = problem.errors.iter().filter_map(|error| error.field.strip_prefix("aliases.")).collect();
    let each = |to: &str| aliases.iter().map(|alias| format!("--alias {alias}={to}")).collect::<Vec<_>>().join(" ");
    let them = if aliases.len() == 1 { "it" } else { "them" };
    format!("Add {} to move {them}, or {} to delete {them}.", each("VERSION"), each(""))
}

/// What an image has that a refusal names.
fn of_image(detail: &str) -> String {
    let image = detail.strip_prefix("image ").and_then(|rest| rest.split_whitespace().next()).unwrap_or("IMAGE");
    format!(
        "imgsrv versions list {image} --all shows its versions. Only drafts can be deleted; a version that was published \
         stays on record, also when it is removed."
    )
}

fn of_problem(code: ProblemCode) -> Option<&'static str> {
    Some(match code {
        ProblemCode::Unauthenticated | ProblemCode::InvalidBearer => {
            "The token is wrong, expired or revoked. Run imgsrv login, or set IMGSRV_TOKEN."
        }
        ProblemCode::TokenNotAdmitted => {
            "No provisioning rule of the server admits this token. A manager sees the rules with imgsrv auth rules list."
        }
        ProblemCode::StorageFull => {
            "The operator must free storage. Then run the same command again: accepted parts are kept."
        }
        ProblemCode::BlobQuarantined => {
            "Publish the same files again, which replaces the damaged content, or tell the operator."
        }
        ProblemCode::StorageReadOnly => "The operator must make the storage writable. Then run the same command again.",
        ProblemCode::UploadTooLarge => "The operator limits uploads with --max-upload-bytes.",
        ProblemCode::TooManyUploads => "Wait until other uploads have ended, then run the same command again.",
        ProblemCode::HttpsRequired => "Use https:// in the URL of the server.",
        ProblemCode::CredentialInClear => {
            "Use https:// in the URL. A manager revokes the token: imgsrv auth tokens revoke."
        }
        ProblemCode::DigestBlocked => {
            "imgsrv blocked-digests delete unblocks a digest; it needs the role content-admin on every image."
        }
        ProblemCode::VersionHeld => {
            "imgsrv versions release ends the hold after a cooldown; the operator's imgsrv admin release-hold at once."
        }
        ProblemCode::VersionRemoved => {
            "The version is gone permanently, and its name is never used again. Use another version name."
        }
        ProblemCode::VersionNotActive => "Choose an active version; imgsrv versions list shows the states.",
        ProblemCode::RevisionChanged => "Run the same command again; it shows what is decided now.",
        ProblemCode::VersionNotDraft => {
            "Published versions never change and cannot be deleted. imgsrv versions remove retires one."
        }
        ProblemCode::VersionNotPublished => "Publish the version first.",
        ProblemCode::JobState => "imgsrv jobs show shows the state of the job.",
        _ => return None,
    })
}
