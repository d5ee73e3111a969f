//! The transaction, and the dooming of it by any error.

use async_trait::async_trait;
use imgsrv_domain::{
    ports::{CatalogError, CatalogTx},
    time::Timestamp,
};
use sqlx::{Sqlite, SqliteConnection, Transaction};

pub(crate) struct SqliteTx {
    inner: Transaction<'static, Sqlite>,
    now: Timestamp,
    doomed: bool,
}

impl SqliteTx {
    pub(crate) const fn new(inner: Transaction<'static, Sqlite>, now: Timestamp) -> Self {
        Self { inner, now, doomed: false }
    }

    pub(crate) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.inner
    }

    /// Passes a result on; an error dooms the transaction, because SQLite would commit what came before it.
    pub(crate) fn doom<T>(&mut self, result: Result<T, CatalogError>) -> Result<T, CatalogError> {
        self.doomed |= result.is_err();
        result
    }

    pub(crate) const fn time(&self) -> Timestamp {
        self.now
    }
}

#[async_trait]
impl CatalogTx for SqliteTx {
    fn now(&self) -> Timestamp {
        self.now
    }

    async fn commit(self: Box<Self>) -> Result<(), CatalogError> {
        if self.doomed {
            return Err(CatalogError::Backend("commit of a failed transaction".into()));
        }
        self.inner.commit().await.map_err(crate::error::map)
    }
}

/// Calls a function of [`crate::connection`] on the transaction's connection, dooming it by an error.
macro_rules! run {
    ($tx:expr, $call:ident, $statement:expr) => {{
        let statement = $statement;
        let result = $crate::connection::$call($tx.connection(), statement).await;
        $tx.doom(result)
    }};
}
pub(crate) use run;
