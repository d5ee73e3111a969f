//! The log line of an audit row: one for every change, and a warning for a problem.

use imgsrv_domain::audit::{AuditAction, AuditEntry};

/// Logs a row that is durable. The span of the request, within which this is called, names the request.
pub(crate) fn log(entry: &AuditEntry) {
    let (actor, action) = (&entry.actor, entry.event.action);
    // The action as an event: `version published`.
    let event = action.as_str().replace(['.', '_'], " ");
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                target: "imgsrv::audit",
                action = %action,
                subject = entry.event.subject,
                detail = entry.event.detail,
                actor.kind = %actor.kind(),
                actor.id = actor.id(),
                actor.name = actor.name(),
                client.address = actor.address(),
                "{event}"
            )
        };
    }
    match action {
        AuditAction::UploadFailed
        | AuditAction::JobFailed
        | AuditAction::BlobQuarantined
        | AuditAction::BlobRestored
        | AuditAction::TokenExposed => line!(warn),
        _ => line!(info),
    }
}
