//! Parsing of the fields of a request into value objects, with every invalid field reported in one problem.

use crate::response::problem::{Code, Problem};
use imgsrv_api::FieldError;
use std::{fmt::Display, str::FromStr};

/// The most fields that one problem reports.
const MAX_ERRORS: usize = 100;

/// Parses a request's fields and collects the invalid ones.
#[derive(Default)]
pub(crate) struct Fields(Vec<FieldError>);

impl Fields {
    /// Parses a field.
    pub(crate) fn parse<T: FromStr>(&mut self, field: impl Into<String>, raw: &str) -> Option<T>
    where
        T::Err: Display,
    {
        let parsed = raw.parse();
        self.check(field, parsed)
    }

    /// Parses a field that may be absent; the outer `None` means that it is invalid.
    pub(crate) fn optional<T: FromStr>(&mut self, field: &str, raw: Option<&str>) -> Option<Option<T>>
    where
        T::Err: Display,
    {
        match raw {
            Some(raw) => self.parse(field, raw).map(Some),
            None => Some(None),
        }
    }

    /// Converts a number.
    pub(crate) fn convert<T: TryFrom<i64>>(&mut self, field: impl Into<String>, raw: i64) -> Option<T>
    where
        T::Error: Display,
    {
        let converted = T::try_from(raw);
        self.check(field, converted)
    }

    /// The value of a field, or a record of why it is invalid.
    pub(crate) fn check<T, E: Display>(&mut self, field: impl Into<String>, value: Result<T, E>) -> Option<T> {
        match value {
            Ok(value) => Some(value),
            Err(reason) => {
                self.reject(field, reason);
                None
            }
        }
    }

    /// Records that a field is invalid.
    pub(crate) fn reject(&mut self, field: impl Into<String>, reason: impl Display) {
        if self.0.len() < MAX_ERRORS {
            self.0.push(FieldError { field: field.into(), reason: reason.to_string() });
        }
    }

    /// `built`, or a problem that names every invalid field.
    pub(crate) fn finish<T>(self, built: Option<T>) -> Result<T, Problem> {
        match built {
            Some(built) if self.0.is_empty() => Ok(built),
            _ => Err(Problem::new(Code::InvalidRequest).fields(self.0)),
        }
    }
}
