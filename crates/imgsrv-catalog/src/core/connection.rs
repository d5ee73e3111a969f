//! Connections, as the shared statements use them.

use crate::core::{
    record::{Attempt, Corrupt, Record},
    undecodable::UndecodableRows,
    value::Value,
};
use imgsrv_domain::ports::{CatalogError, Conflict};

/// A statement, with numbered placeholders (`$1`).
pub(crate) trait Statement: Copy + Send {
    /// Its text for a database that locks rows, or for one that does not.
    fn text(self, locks_rows: bool) -> &'static str;
}

impl Statement for &'static str {
    fn text(self, _: bool) -> &'static str {
        self
    }
}

/// A statement that differs between databases: PostgreSQL locks rows and has the catalog's clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dialects {
    pub(crate) sqlite: &'static str,
    pub(crate) postgres: &'static str,
}

impl Statement for Dialects {
    fn text(self, locks_rows: bool) -> &'static str {
        if locks_rows { self.postgres } else { self.sqlite }
    }
}

/// A statement that locks the rows that it finds.
macro_rules! locking {
    ($sql:expr, $lock:literal) => {
        $crate::core::Dialects { sqlite: $sql, postgres: concat!($sql, $lock) }
    };
}
pub(crate) use locking;

/// A statement that returns the time on the database's clock, or NULL where that has none, between two pieces of SQL.
macro_rules! timed {
    ($before:expr, $after:expr) => {
        $crate::core::Dialects {
            sqlite: concat!($before, "NULL AS now", $after),
            postgres: concat!($before, "catalog_now() AS now", $after),
        }
    };
}
pub(crate) use timed;

/// A connection to a database, inside or outside of a transaction.
pub(crate) trait Connection: Send {
    /// Whether transactions are concurrent, so that a row that is read to be changed must be locked.
    const LOCKS_ROWS: bool;

    /// The undecodable rows that were read.
    fn undecodable(&self) -> &UndecodableRows;

    /// The records that a query finds; an error if any of them cannot be decoded.
    fn list<T: Record>(
        &mut self,
        sql: impl Statement,
        values: Vec<Value>,
    ) -> impl Future<Output = Result<Vec<T>, CatalogError>> + Send;

    /// Runs a statement and returns how many rows it changed.
    fn execute(
        &mut self,
        sql: &'static str,
        values: Vec<Value>,
    ) -> impl Future<Output = Result<u64, CatalogError>> + Send;

    /// Commits the transaction.
    fn commit(self) -> impl Future<Output = Result<(), CatalogError>> + Send;

    /// The error of a read that fails because a row cannot be decoded.
    fn corrupt(&self, corrupt: Corrupt) -> CatalogError {
        self.undecodable().count(&corrupt);
        corrupt.into()
    }

    /// The records that a query finds, without those that cannot be decoded.
    fn list_decodable<T: Record>(
        &mut self,
        sql: impl Statement,
        values: Vec<Value>,
    ) -> impl Future<Output = Result<Vec<T>, CatalogError>> + Send {
        async move {
            let found: Vec<Attempt<T>> = self.list(sql, values).await?;
            let undecodable = self.undecodable();
            Ok(found
                .into_iter()
                .filter_map(|Attempt(read)| read.map_err(|why| undecodable.leave_out(&why)).ok())
                .collect())
        }
    }

    /// The record that a query finds.
    fn find<T: Record>(
        &mut self,
        sql: impl Statement,
        values: Vec<Value>,
    ) -> impl Future<Output = Result<Option<T>, CatalogError>> + Send {
        async move { Ok(self.list(sql, values).await?.into_iter().next()) }
    }

    /// The record of a query that always finds one.
    fn get<T: Record>(
        &mut self,
        sql: impl Statement,
        values: Vec<Value>,
    ) -> impl Future<Output = Result<T, CatalogError>> + Send {
        async move {
            let found = self.find(sql, values).await?;
            found.ok_or_else(|| CatalogError::Backend(Box::new(sqlx::Error::RowNotFound)))
        }
    }

    /// Runs a statement that must change one row, else the record's revision was stale.
    fn execute_fenced(
        &mut self,
        sql: &'static str,
        values: Vec<Value>,
    ) -> impl Future<Output = Result<(), CatalogError>> + Send {
        async move {
            match self.execute(sql, values).await? {
                0 => Err(CatalogError::Conflict(Conflict::StaleRevision)),
                _ => Ok(()),
            }
        }
    }
}
