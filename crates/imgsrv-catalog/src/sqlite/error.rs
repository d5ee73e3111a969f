//! The errors of SQLite as errors of the catalog.
//!
//! SQLite does not name constraints: a broken UNIQUE lists `table.column`s, a trigger's message has code 1811, and a
//! broken foreign key names nothing (result codes: <https://www.sqlite.org/rescode.html>).

use crate::core::conflict;
use imgsrv_domain::ports::{CatalogError, Conflict};
use sqlx::error::DatabaseError;

/// Whether SQLite failed to read or write a file, other than for lack of space.
pub(crate) fn is_io_error(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(code).is_some_and(|code| code & 0xff == 10)
}

fn code(error: &dyn DatabaseError) -> Option<i32> {
    error.code()?.parse().ok()
}

pub(crate) fn map(error: sqlx::Error) -> CatalogError {
    let database = match &error {
        sqlx::Error::Database(database) => database,
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::Io(_) => {
            return CatalogError::Unavailable(Box::new(error));
        }
        _ => return CatalogError::Backend(Box::new(error)),
    };
    let code = code(&**database);
    let message = database.message();
    // The low byte of an extended code is its primary code: 5 busy, 6 locked, 8 read-only, 10 I/O, 13 full, 14 cannot
    // open.
    match (code, code.map(|code| code & 0xff)) {
        (Some(1811), _) => {
            conflict(message).map_or_else(|| CatalogError::Backend(Box::new(error)), CatalogError::Conflict)
        }
        (Some(2067 | 1555), _) => {
            let columns = message.strip_prefix("UNIQUE constraint failed: ").unwrap_or(message);
            conflict(columns).map_or_else(|| CatalogError::Backend(Box::new(error)), CatalogError::Conflict)
        }
        (Some(787), _) => CatalogError::Conflict(Conflict::Forbidden),
        (_, Some(5 | 6)) => CatalogError::Retryable(Box::new(error)),
        (Some(1032), _) => CatalogError::Replaced(Box::new(error)),
        (_, Some(8)) => CatalogError::ReadOnly(Box::new(error)),
        (_, Some(13)) => CatalogError::Full(Box::new(error)),
        (_, Some(10 | 14)) => CatalogError::Unavailable(Box::new(error)),
        _ => CatalogError::Backend(Box::new(error)),
    }
}
