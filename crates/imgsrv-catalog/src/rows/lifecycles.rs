//! The columns of a lifecycle.

use crate::core::{Corrupt, Record, Row, Value, values};
use imgsrv_domain::{
    ids::VersionId,
    lifecycle::{Deprecation, Hold, Lifecycle, LifecycleRecord, Notice, Removal, Replacement, Words},
};

/// The replacement that was given last.
macro_rules! replacement {
    ($part:literal) => {
        concat!("coalesce(l.removal_", $part, ", l.revocation_", $part, ", l.deprecation_", $part, ")")
    };
}
pub(crate) use replacement;

/// The columns of the lifecycle of `versions v`, from `version_lifecycles l`.
macro_rules! columns {
    () => {
        concat!(
            "l.deprecated_at, l.deprecation_reason, l.deprecation_image, l.deprecation_ref, l.end_of_life, l.revoked_at,
            l.revocation_reason, l.revocation_image, l.revocation_ref, l.removed_at, l.removal_reason, l.removal_image,
            l.removal_ref, l.available_until, l.tombstone_at, l.hold_reason, l.hold_until, l.hold_lifts_at,
            l.changed_at AS lifecycle_changed_at, l.revision AS lifecycle_revision, ",
            $crate::rows::lifecycles::replacement!("ref"),
            " IS NOT NULL AND EXISTS (SELECT 1 FROM images ri JOIN versions rv ON rv.id = coalesce(
                (SELECT id FROM versions WHERE image_id = ri.id AND name = ",
            $crate::rows::lifecycles::replacement!("ref"),
            "), (SELECT version_id FROM aliases WHERE image_id = ri.id AND name = ",
            $crate::rows::lifecycles::replacement!("ref"),
            ")) JOIN version_lifecycles rl ON rl.version_id = rv.id WHERE ri.name = ",
            $crate::rows::lifecycles::replacement!("image"),
            " AND rv.id <> v.id AND rl.state IN ('active', 'deprecated') AND (ri.visibility = 'public'
                OR ri.id = v.image_id)) AS has_successor"
        )
    };
}
pub(crate) use columns;

/// The values of the statement that stores the lifecycle of a version.
pub(crate) fn values(version: VersionId, lifecycle: &Lifecycle) -> Vec<Value> {
    let LifecycleRecord { deprecation, revocation, removal, hold, changed_at, revision, .. } = &**lifecycle;
    let deprecated = deprecation.as_ref();
    let (removed, held) = (removal.as_ref(), hold.as_ref());
    [
        values![version, revision, *lifecycle.stored_state().as_str()],
        notice_values(deprecated.map(|deprecation| &deprecation.notice)),
        values![deprecated.and_then(|deprecation| deprecation.end_of_life)],
        notice_values(revocation.as_ref()),
        notice_values(removed.map(|removal| &removal.notice)),
        values![
            removed.map(|removal| removal.available_until),
            removed.and_then(|removal| removal.tombstone_at),
            held.map(|hold| hold.reason.clone()),
            held.and_then(|hold| hold.until),
            held.and_then(|hold| hold.lifts_at),
            changed_at
        ],
    ]
    .concat()
}

fn notice_values(notice: Option<&Notice>) -> Vec<Value> {
    let words = notice.map(|notice| &notice.words);
    let replacement = words.and_then(|words| words.replacement.as_ref());
    values![
        notice.map(|notice| notice.at),
        words.and_then(|words| words.reason.clone()),
        replacement.map(|replacement| replacement.image.clone()),
        replacement.map(|replacement| replacement.reference.clone())
    ]
}

/// The notice in the columns of that name; `None` if `at` is empty.
fn notice(row: &Row<'_>, at: &str, name: &str) -> Result<Option<Notice>, Corrupt> {
    let Some(at) = row.optional(at)? else { return Ok(None) };
    let (image, reference) = (format!("{name}_image"), format!("{name}_ref"));
    let replacement = match (row.optional(&image)?, row.optional(&reference)?) {
        (Some(image), Some(reference)) => Some(Replacement { image, reference }),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => {
            return Err(row.corrupt(format_args!("{image} and {reference} disagree")));
        }
    };
    Ok(Some(Notice { at, words: Words { reason: row.optional(&format!("{name}_reason"))?, replacement } }))
}

impl Record for Lifecycle {
    const WHAT: &'static str = "lifecycle";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        let deprecation = match notice(row, "deprecated_at", "deprecation")? {
            Some(notice) => Some(Deprecation { notice, end_of_life: row.optional("end_of_life")? }),
            None => None,
        };
        let removal = match notice(row, "removed_at", "removal")? {
            Some(notice) => Some(Removal {
                notice,
                available_until: row.get("available_until")?,
                tombstone_at: row.optional("tombstone_at")?,
            }),
            None => None,
        };
        let hold = match row.optional("hold_reason")? {
            Some(reason) => {
                Some(Hold { reason, until: row.optional("hold_until")?, lifts_at: row.optional("hold_lifts_at")? })
            }
            None => None,
        };
        Ok(Self::restored(LifecycleRecord {
            deprecation,
            revocation: notice(row, "revoked_at", "revocation")?,
            removal,
            hold,
            changed_at: row.get("lifecycle_changed_at")?,
            revision: row.get("lifecycle_revision")?,
            has_successor: row.get("has_successor")?,
        }))
    }
}
