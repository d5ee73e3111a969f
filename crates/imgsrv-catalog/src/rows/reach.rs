//! Which images a statement shows: those that a reach covers.

use crate::core::{Stored, Value, values};
use imgsrv_domain::{
    access::{ImageScope, Reach, Sender, View},
    digest::Digest,
};
use sqlx::types::Json;

/// Whether the name of `images i` matches a pattern of both lists.
macro_rules! covered {
    (sqlite, $one:literal, $other:literal) => {
        concat!(
            "(EXISTS (SELECT 1 FROM json_each(",
            $one,
            ") p WHERE i.name GLOB p.value) AND EXISTS (SELECT 1 FROM json_each(",
            $other,
            ") p WHERE i.name GLOB p.value))"
        )
    };
    // The only character of patterns that LIKE gives a meaning to is `_`.
    (postgres, $one:literal, $other:literal) => {
        concat!(
            "(EXISTS (SELECT 1 FROM jsonb_array_elements_text(",
            $one,
            ") p (value) WHERE i.name LIKE replace(replace(p.value, '_', '\\_'), '*', '%'))
            AND EXISTS (SELECT 1 FROM jsonb_array_elements_text(",
            $other,
            ") p (value) WHERE i.name LIKE replace(replace(p.value, '_', '\\_'), '*', '%')))"
        )
    };
}
pub(crate) use covered;

/// Whether published versions of `images i` are shown to a reach whose scopes of readers are in these placeholders.
macro_rules! readable {
    ($dialect:ident, $one:literal, $other:literal) => {
        concat!("(i.visibility = 'public' OR ", $crate::rows::reach::covered!($dialect, $one, $other), ")")
    };
}
pub(crate) use readable;

/// Whether `images i` is shown to a reach whose scopes of readers and writers are in these placeholders.
macro_rules! visible {
    ($dialect:ident, $one:literal, $other:literal, $third:literal, $fourth:literal) => {
        concat!(
            "((i.has_published AND ",
            $crate::rows::reach::readable!($dialect, $one, $other),
            ") OR ",
            $crate::rows::reach::covered!($dialect, $third, $fourth),
            ")"
        )
    };
}
pub(crate) use visible;

/// The patterns of two scopes, as two lists.
pub(crate) fn patterns(scopes: &[ImageScope; 2]) -> Vec<Value> {
    let [one, other] =
        scopes.each_ref().map(|scope| Json(scope.encode().split_ascii_whitespace().collect::<serde_json::Value>()));
    values![one, other]
}

/// The scopes of readers and of writers of a reach, as four lists.
pub(crate) fn scopes(reach: &Reach) -> Vec<Value> {
    [patterns(&reach.read), patterns(&reach.write)].concat()
}

/// A name for what a reach shows that is not published, for the cursors of lists. What is private does not count: a cursor
/// stays valid when roles of readers change, and shows nothing by itself.
pub(crate) fn name(reach: &Reach) -> String {
    if reach.write.contains(&ImageScope::none()) {
        return "published".to_owned();
    }
    let [one, other] = reach.write.each_ref().map(Stored::encode);
    format!("{one}:{other}")
}

/// The visibility that images must have for a view; empty if they may have any.
pub(crate) const fn required(see: View) -> &'static str {
    match see {
        View::Public => "public",
        View::Published | View::All => "",
    }
}

/// Versions that serve a digest: neither revoked nor drained, of `images i` with `$shown`; their lifecycles are `l`.
macro_rules! serving {
    ($digest:literal, $now:literal, $shown:expr) => {
        concat!(
            "FROM (SELECT version_id FROM artifacts WHERE primary_blob_digest = ",
            $digest,
            " UNION ALL SELECT version_id FROM attachments WHERE blob_digest = ",
            $digest,
            ") holding JOIN version_lifecycles l ON l.version_id = holding.version_id JOIN images i ON i.id = l.image_id
            WHERE l.revoked_at IS NULL AND l.tombstone_at IS NULL
            AND (l.available_until IS NULL OR l.available_until > ",
            $now,
            ") AND ",
            $shown
        )
    };
}
pub(crate) use serving;

/// Whether a version serves a digest; see [`serving`].
macro_rules! is_served {
    ($digest:literal, $now:literal, $shown:expr) => {
        concat!("EXISTS (SELECT 1 ", $crate::rows::reach::serving!($digest, $now, $shown), ")")
    };
}
pub(crate) use is_served;

/// Whether every pattern of the scope `$inner` is within one of `$outer`, as [`ImageScope::contains`] decides.
macro_rules! within {
    (sqlite, $inner:literal, $outer:literal) => {
        concat!(
            "NOT EXISTS (SELECT 1 FROM json_each('[\"' || replace(",
            $inner,
            ", ' ', '\",\"') || '\"]') n WHERE NOT EXISTS (SELECT 1 FROM json_each('[\"' || replace(",
            $outer,
            ", ' ', '\",\"') || '\"]') o WHERE n.value GLOB o.value))"
        )
    };
    (postgres, $inner:literal, $outer:literal) => {
        concat!(
            "NOT EXISTS (SELECT 1 FROM unnest(string_to_array(",
            $inner,
            ", ' ')) n (value) WHERE NOT EXISTS (SELECT 1 FROM unnest(string_to_array(",
            $outer,
            ", ' ')) o (value) WHERE n.value LIKE replace(replace(o.value, '_', '\\_'), '*', '%')))"
        )
    };
}
pub(crate) use within;

/// The rows of `blob_senders` for the digest `$1` that the principal `$2` may use with a credential for the images `$3`.
macro_rules! sent {
    ($dialect:ident) => {
        concat!(
            "FROM blob_senders WHERE digest = $1 AND principal_id = $2 AND ",
            $crate::rows::reach::within!($dialect, "image_scope", "$3")
        )
    };
}
pub(crate) use sent;

/// Whether a reach shows an image that serves the digest `$1`, or the sender `$2` with the images `$3` may use it. The
/// scopes of readers are `$4` and `$5`.
macro_rules! is_readable {
    ($dialect:ident, $now:literal) => {
        concat!(
            "(EXISTS (SELECT 1 ",
            $crate::rows::reach::sent!($dialect),
            ") OR ",
            $crate::rows::reach::is_served!("$1", $now, $crate::rows::reach::readable!($dialect, "$4", "$5")),
            ")"
        )
    };
}
pub(crate) use is_readable;

/// The values of [`is_readable`].
pub(crate) fn readable_values(digest: &Digest, reach: &Reach, sender: Option<&Sender>) -> Vec<Value> {
    let (principal, images) = (sender.map(|sender| sender.principal), sender.map(|sender| sender.images.clone()));
    [values![digest, principal, images], patterns(&reach.read)].concat()
}
