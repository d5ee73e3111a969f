//! Turning text of a request into value objects, noting every field that is wrong.

use crate::response::problem::{Code, Problem};
use imgsrv_api::FieldError;
use std::{fmt::Display, str::FromStr};

/// The most fields that one problem tells of.
const MAX_ERRORS: usize = 100;

/// Collects what is wrong with a request's fields.
#[derive(Default)]
pub(crate) struct Fields(Vec<FieldError>);

impl Fields {
    /// Parses a field.
    pub(crate) fn parse<T: FromStr>(&mut self, field: impl Into<String>, raw: &str) -> Option<T>
    where
        T::Err: Display,
    {
        let parsed = raw.parse();
        self.keep(field, parsed)
    }

    /// Parses a field that may be absent; the outer `None` says that it is wrong.
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
        self.keep(field, converted)
    }

    /// Notes why a value is wrong, if it is.
    pub(crate) fn keep<T, E: Display>(&mut self, field: impl Into<String>, value: Result<T, E>) -> Option<T> {
        match value {
            Ok(value) => return Some(value),
            Err(why) if self.0.len() < MAX_ERRORS => {
                self.0.push(FieldError { field: field.into(), reason: why.to_string() });
            }
            Err(_) => {}
        }
        None
    }

    /// `built`, or a problem that names every wrong field.
    pub(crate) fn finish<T>(self, built: Option<T>) -> Result<T, Problem> {
        match built {
            Some(built) if self.0.is_empty() => Ok(built),
            _ => Err(Problem::new(Code::InvalidRequest).fields(self.0)),
        }
    }
}
