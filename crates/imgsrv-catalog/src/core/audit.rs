//! The log line of an audit row: one for every change.

use imgsrv_domain::audit::AuditEntry;

/// Logs a row that is durable.
pub(crate) fn log(entry: &AuditEntry) {
    let actor = &entry.actor;
    // The action as an event: `version published`.
    let event = entry.event.action.as_str().replace(['.', '_'], " ");
    tracing::info!(
        target: "imgsrv::audit",
        action = %entry.event.action,
        subject = entry.event.subject,
        detail = entry.event.detail,
        actor.kind = %actor.kind(),
        actor.id = actor.id(),
        request.id = actor.request_id(),
        client.address = actor.address(),
        "{event}"
    );
}
