//! Conflicts between a publication and what the server has.

use std::fmt;

/// How what the server has differs from a publication.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PublishConflict {
    /// What was to be published, as `image version`.
    pub what: String,
    /// The state of the version that exists; `taken` if its name is that of an alias, or the other way round.
    pub state: String,
    /// The differences, as sentences for people.
    pub differences: Vec<String>,
}

impl fmt::Display for PublishConflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let differences = self.differences.join("; ");
        match self.state.as_str() {
            "taken" => write!(f, "{} cannot be: {differences}", self.what),
            "draft" => write!(f, "{} is a draft with other content: {differences}", self.what),
            state => write!(f, "{} is {state} with other content: {differences}", self.what),
        }
    }
}

impl std::error::Error for PublishConflict {}
