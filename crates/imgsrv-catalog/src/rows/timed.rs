//! Rows with the time at which they were read.

use crate::rows::time::SqlTime;

/// A row, and the time on the database's clock; absent where the database has no clock.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct TimedRow<T> {
    #[sqlx(flatten)]
    pub(crate) row: T,
    pub(crate) now: Option<SqlTime>,
}
