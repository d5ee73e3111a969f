//! Parsing of the fields of a request into value objects, with every invalid field reported in one problem.

use crate::response::problem::{Code, Problem};
use imgsrv_api::FieldError;
use imgsrv_domain::{
    access::{ImagePattern, ImageScope, InvalidImageScope},
    digest::BlobClaim,
};
use std::{fmt::Display, str::FromStr};

/// The most fields that one problem reports.
const MAX_ERRORS: usize = 100;
/// The most characters that a problem repeats of a value.
const MAX_SHOWN: usize = 64;

/// A value of a request as a problem repeats it: in quotes, escaped and shortened, because it may be hostile.
pub(crate) fn quoted(raw: &str) -> String {
    let mut shown: String = raw.chars().take(MAX_SHOWN).collect();
    if shown.len() < raw.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}

/// Parses a request's fields and collects the invalid ones.
#[derive(Default)]
pub(crate) struct Fields(Vec<FieldError>);

impl Fields {
    /// Parses a field.
    pub(crate) fn parse<T: FromStr<Err: Display>>(&mut self, field: impl Into<String>, raw: &str) -> Option<T> {
        self.check(field, raw.parse().map_err(|why| format!("{} {why}", quoted(raw))))
    }

    /// Parses a field that may be absent; the outer `None` means that it is invalid.
    pub(crate) fn optional<T: FromStr<Err: Display>>(&mut self, field: &str, raw: Option<&str>) -> Option<Option<T>> {
        raw.map_or(Some(None), |raw| self.parse(field, raw).map(Some))
    }

    /// Converts a number.
    pub(crate) fn convert<T: TryFrom<i64, Error: Display>>(&mut self, field: impl Into<String>, raw: i64) -> Option<T> {
        self.check(field, T::try_from(raw).map_err(|why| format!("{raw} {why}")))
    }

    /// Parses the digest and the size of a blob, in the fields `{name}_digest` and `{name}_size_bytes`.
    pub(crate) fn claim(&mut self, name: &str, digest: &str, size: i64) -> Option<BlobClaim> {
        let digest = self.parse(format!("{name}_digest"), digest);
        let size = self.convert(format!("{name}_size_bytes"), size);
        Some(BlobClaim { digest: digest?, size: size? })
    }

    /// The value of a field, or a record of why it is invalid.
    pub(crate) fn check<T, E: Display>(&mut self, field: impl Into<String>, value: Result<T, E>) -> Option<T> {
        value.map_err(|reason| self.reject(field, reason)).ok()
    }

    /// Records that a field is invalid.
    pub(crate) fn reject(&mut self, field: impl Into<String>, reason: impl Display) {
        if self.0.len() < MAX_ERRORS {
            self.0.push(FieldError { field: field.into(), reason: reason.to_string() });
        }
    }

    /// The result of `build`, or a problem that names every invalid field.
    pub(crate) fn finish<T>(self, build: impl FnOnce() -> Option<T>) -> Result<T, Problem> {
        match build() {
            Some(built) if self.0.is_empty() => Ok(built),
            _ => Err(Problem::new(Code::InvalidRequest).fields(self.0)),
        }
    }
}

/// The images that the patterns of the field `images` name; `None` inside when the field is absent.
pub(crate) fn images(fields: &mut Fields, patterns: Option<Vec<String>>) -> Option<Option<ImageScope>> {
    patterns_of(fields, patterns, |patterns: Vec<ImagePattern>| ImageScope::matching(patterns))
}

/// What `matching` makes of the patterns of the field `images`; `None` inside when the field is absent.
pub(crate) fn patterns_of<P: FromStr<Err: Display>, T>(
    fields: &mut Fields,
    patterns: Option<Vec<String>>,
    matching: impl FnOnce(Vec<P>) -> Result<T, InvalidImageScope>,
) -> Option<Option<T>> {
    let Some(patterns) = patterns else { return Some(None) };
    let named = patterns.iter().enumerate().filter_map(|(at, pattern)| fields.parse(format!("images[{at}]"), pattern));
    let valid: Vec<P> = named.collect();
    if valid.len() < patterns.len() {
        return None;
    }
    fields.check("images", matching(valid)).map(Some)
}
