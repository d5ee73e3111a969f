//! The steps in which the lifecycle of an imported version is stored: the catalog accepts a lifecycle only in the steps in
//! which it came to be, each with the next revision.

use crate::backup::json::{self, Fields};
use serde_json::Value as Json;

/// Counts a change that left nothing behind.
pub(crate) const KEEP: &str = "UPDATE version_lifecycles SET revision = revision + 1 WHERE version_id = $1";
/// The most changes of a lifecycle.
const MAX_REVISION: i64 = 1_000_000;
/// The steps away from `active`: the state, the column with its time, and all its columns.
const STEPS: &[(&str, &str, &[&str])] = &[
    (
        "deprecated",
        "deprecated_at",
        &["deprecated_at", "deprecation_reason", "deprecation_image", "deprecation_ref", "end_of_life"],
    ),
    ("revoked", "revoked_at", &["revoked_at", "revocation_reason", "revocation_image", "revocation_ref"]),
    ("removed", "removed_at", &["removed_at", "removal_reason", "removal_image", "removal_ref", "available_until"]),
    ("tombstone", "tombstone_at", &["tombstone_at"]),
];
const HOLD: &[&str] = &["hold_reason", "hold_until", "hold_lifts_at"];

/// How a lifecycle is stored.
pub(crate) struct Steps {
    /// Changes that left nothing behind, before the others.
    pub(crate) kept: i64,
    /// The lifecycle after each of the other changes; the last one is the lifecycle itself.
    pub(crate) changes: Vec<Fields>,
}

/// The steps to a lifecycle.
pub(crate) fn steps(lifecycle: &Fields) -> Result<Steps, String> {
    let revision: i64 = json::required(lifecycle, "revision")?;
    if !(1..=MAX_REVISION).contains(&revision) {
        return Err(format!("revision {revision} is not from 1 to {MAX_REVISION}"));
    }
    let is_taken = |at: &str| lifecycle.get(at).is_some_and(|at| !at.is_null());
    let taken: Vec<usize> = (0..STEPS.len()).filter(|step| is_taken(STEPS[*step].1)).collect();
    let mut changes: Vec<Fields> = taken.iter().map(|step| up_to(lifecycle, *step)).collect();
    // The last step has everything. A lifecycle that changed without a step was held, or a step was undone.
    changes.pop();
    if revision > 1 {
        changes.push(lifecycle.clone());
    }
    let changed = i64::try_from(changes.len()).unwrap_or(i64::MAX);
    let kept = revision - 1 - changed;
    if kept < 0 || (revision == 1 && !taken.is_empty()) {
        return Err(format!("revision {revision} is too small for its state"));
    }
    for (number, change) in (2 + kept..).zip(&mut changes) {
        change.insert("revision".to_owned(), number.into());
    }
    Ok(Steps { kept, changes })
}

/// The lifecycle as it was after a step.
fn up_to(lifecycle: &Fields, last: usize) -> Fields {
    let mut then = lifecycle.clone();
    let later = STEPS[last + 1..].iter().flat_map(|(_, _, columns)| *columns);
    for column in later.chain(HOLD) {
        then.insert((*column).to_owned(), Json::Null);
    }
    then.insert("state".to_owned(), STEPS[last].0.into());
    then
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn lifecycle(revision: i64, taken: &[&str]) -> Fields {
        let mut fields = Fields::new();
        for column in STEPS.iter().flat_map(|(_, _, columns)| *columns).chain(HOLD) {
            fields.insert((*column).to_owned(), Json::Null);
        }
        for at in taken {
            fields.insert((*at).to_owned(), json!(1));
        }
        fields.insert("state".to_owned(), "final".into());
        fields.insert("revision".to_owned(), revision.into());
        fields
    }

    #[test]
    fn each_step_has_the_next_revision_and_nothing_of_later_steps() {
        let Ok(Steps { kept, changes }) =
            steps(&lifecycle(7, &["revoked_at", "removed_at", "tombstone_at", "hold_until"]))
        else {
            panic!("it has steps")
        };
        let revisions: Vec<_> = changes.iter().map(|change| change["revision"].as_i64().unwrap()).collect();
        let states: Vec<_> = changes.iter().map(|change| change["state"].as_str().unwrap()).collect();
        assert_eq!((kept, revisions), (3, vec![5, 6, 7]));
        assert_eq!(states, ["revoked", "removed", "final"]);
        assert!(changes[1]["tombstone_at"].is_null() && changes[1]["hold_until"].is_null());
        assert!(!changes[2]["tombstone_at"].is_null() && !changes[2]["hold_until"].is_null());
    }

    #[test]
    fn a_revision_that_the_state_cannot_have_is_refused() {
        assert!(steps(&lifecycle(1, &["revoked_at"])).is_err());
        assert!(steps(&lifecycle(2, &["revoked_at", "removed_at"])).is_err());
        assert!(steps(&lifecycle(i64::MAX, &[])).is_err());
        assert!(steps(&lifecycle(1, &[])).is_ok_and(|steps| steps.changes.is_empty() && steps.kept == 0));
        assert!(steps(&lifecycle(3, &[])).is_ok_and(|steps| steps.changes.len() == 1 && steps.kept == 1));
    }
}
