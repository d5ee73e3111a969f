//! What to do after an error.

use super::connection;
use imgsrv_client::{Error, TokenError, api::ProblemCode};

/// What to do next, if there is something to do.
pub(super) fn advice(error: &Error) -> Option<String> {
    let advice = match error {
        Error::Unreachable(_) => return connection::describe(error).map(|described| described.advice),
        Error::Stalled(_) | Error::Incomplete(_) => "Check the network, then run the same command again: it resumes.",
        Error::NoToken => "Run imgsrv login, or set IMGSRV_TOKEN.",
        Error::Token(TokenError::NotInGitHub) => "Give the job `permissions: id-token: write`.",
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
        error => return of_problem(error.code()?).map(str::to_owned),
    };
    Some(advice.to_owned())
}

fn of_problem(code: ProblemCode) -> Option<&'static str> {
    Some(match code {
        ProblemCode::Unauthenticated | ProblemCode::InvalidBearer => {
            "The token is wrong, expired or revoked. Run imgsrv login, or set IMGSRV_TOKEN."
        }
        ProblemCode::Forbidden | ProblemCode::TokenNotAdmitted => {
            "imgsrv whoami shows what the token may do. Publishing needs the role content-writer, retiring versions \
             content-admin, and imgsrv auth auth-manager; a manager grants them with imgsrv auth roles grant."
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
        ProblemCode::HttpsRequired => "This port uses HTTPS. Use https:// in the URL of the server.",
        ProblemCode::CredentialInClear => {
            "The token was sent unencrypted to an HTTPS port. Revoke it, and use https:// in the URL."
        }
        ProblemCode::AliasesInUse => {
            "Move or delete them in the same step: --alias latest=VERSION, or --alias latest=."
        }
        ProblemCode::VersionHeld => {
            "imgsrv versions release ends the hold after a cooldown; the operator's imgsrv admin release-hold at once."
        }
        ProblemCode::RevisionChanged => "Run the same command again; it shows what is decided now.",
        ProblemCode::VersionNotPublished => "Publish the version first.",
        ProblemCode::JobState => "imgsrv jobs show shows the state of the job.",
        ProblemCode::NotFound => "Check the names; imgsrv images list and imgsrv versions list show what exists.",
        ProblemCode::ImageInUse => {
            "imgsrv versions list --all shows its versions. Published versions cannot be deleted."
        }
        _ => return None,
    })
}
