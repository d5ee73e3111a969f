//! Which images a statement shows: those that a reach covers.

use crate::core::{Stored, Value, values};
use imgsrv_domain::access::{ImageScope, Reach, View};
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
        concat!("(i.visibility = 'public' OR ", $crate::queries::reach::covered!($dialect, $one, $other), ")")
    };
}
pub(crate) use readable;

/// Whether `images i` is shown to a reach whose scopes of readers and writers are in these placeholders.
macro_rules! visible {
    ($dialect:ident, $one:literal, $other:literal, $third:literal, $fourth:literal) => {
        concat!(
            "((i.has_published AND ",
            $crate::queries::reach::readable!($dialect, $one, $other),
            ") OR ",
            $crate::queries::reach::covered!($dialect, $third, $fourth),
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

/// A name for a reach, for the cursors of lists.
pub(crate) fn name(reach: &Reach) -> String {
    let [read, other_read, write, other_write] =
        [&reach.read[0], &reach.read[1], &reach.write[0], &reach.write[1]].map(Stored::encode);
    format!("{read}:{other_read}:{write}:{other_write}")
}

/// The visibility that images must have for a view; empty if they may have any.
pub(crate) const fn required(see: View) -> &'static str {
    match see {
        View::Public => "public",
        View::Published | View::All => "",
    }
}
