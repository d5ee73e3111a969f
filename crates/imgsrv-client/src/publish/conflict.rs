//! Conflicts between a publication and what the server has.

/// How what the server has differs from a publication.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {}: {}", predicate(.state), .differences.join("; "))]
#[non_exhaustive]
pub struct PublishConflict {
    /// What was to be published, as `image version`.
    pub what: String,
    /// The state of the version that exists; `taken` if its name is that of an alias, or the other way round.
    pub state: String,
    /// The differences, as sentences for people.
    pub differences: Vec<String>,
}

/// What a publication meets instead of what it wants.
fn predicate(state: &str) -> String {
    match state {
        "taken" => "cannot be published".to_owned(),
        "revoked" => "was revoked".to_owned(),
        "removed" => "was removed".to_owned(),
        "draft" => "is a draft with other content".to_owned(),
        state => format!("is {state} with other content"),
    }
}
