//! Columns that depend on the state of a record.

pub(crate) mod lifecycles;
pub(crate) mod reach;
pub(crate) mod uploads;
