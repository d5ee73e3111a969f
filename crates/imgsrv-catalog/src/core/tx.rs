//! Units of work; any error dooms one.

use crate::{
    core::{
        audit,
        connection::{self, Connection, Dialects, Reads},
        value::{Value, values},
    },
    rows::Corrupt,
};
use async_trait::async_trait;
use imgsrv_domain::{
    audit::AuditEntry,
    ports::{CatalogError, CatalogTx},
    time::Timestamp,
};
use uuid::Uuid;

const BIND: &str = "UPDATE catalog_identity SET store = $1 WHERE store IS NULL";
const BOUND: &str = "SELECT store FROM catalog_identity";
pub(crate) const STATEMENTS: &[&str] = &[BIND, BOUND];

/// One unit of work.
pub(crate) struct SqlTx<C> {
    connection: C,
    now: Timestamp,
    doomed: bool,
    /// Audit rows that are logged once this has committed.
    audited: Vec<AuditEntry>,
}

impl<C: Connection> SqlTx<C> {
    pub(crate) const fn new(connection: C, now: Timestamp) -> Self {
        Self { connection, now, doomed: false, audited: Vec::new() }
    }

    pub(crate) const fn connection(&mut self) -> &mut C {
        &mut self.connection
    }

    /// Returns `result`; an error dooms the transaction. SQLite would commit the statements before the error, and
    /// PostgreSQL responds to a commit after an error with a rollback that looks like success.
    pub(crate) fn doom<T>(&mut self, result: Result<T, CatalogError>) -> Result<T, CatalogError> {
        self.doomed |= result.is_err();
        result
    }

    pub(crate) fn note_audited(&mut self, entry: &AuditEntry) {
        self.audited.push(entry.clone());
    }

    pub(crate) const fn time(&self) -> Timestamp {
        self.now
    }

    /// The record that `sql` finds.
    pub(crate) async fn find<R, T>(&mut self, sql: &'static str, values: Vec<Value>) -> Result<Option<T>, CatalogError>
    where
        C::Row: Reads<R>,
        T: TryFrom<R, Error = Corrupt>,
    {
        let found = connection::find::<R, T, C>(&mut self.connection, sql, values).await;
        self.doom(found)
    }

    /// The record that `sql` finds, locked.
    pub(crate) async fn find_locked<R, T>(
        &mut self,
        sql: Dialects,
        values: Vec<Value>,
    ) -> Result<Option<T>, CatalogError>
    where
        C::Row: Reads<R>,
        T: TryFrom<R, Error = Corrupt>,
    {
        self.find(sql.on::<C>(), values).await
    }

    /// Locks the row that `sql` finds until the end of the transaction, where rows are locked.
    pub(crate) async fn lock(&mut self, sql: &'static str, values: Vec<Value>) -> Result<(), CatalogError> {
        if !C::LOCKS_ROWS {
            return Ok(());
        }
        let locked = self.connection.rows(sql, values).await.map(drop);
        self.doom(locked)
    }

    /// The records that `sql` finds.
    pub(crate) async fn list<R, T>(&mut self, sql: &'static str, values: Vec<Value>) -> Result<Vec<T>, CatalogError>
    where
        C::Row: Reads<R>,
        T: TryFrom<R, Error = Corrupt>,
    {
        let listed = connection::list::<R, T, C>(&mut self.connection, sql, values).await;
        self.doom(listed)
    }

    /// The first bare row.
    pub(crate) async fn row<T>(&mut self, sql: &'static str, values: Vec<Value>) -> Result<Option<T>, CatalogError>
    where
        C::Row: Reads<T>,
    {
        let row = connection::row(&mut self.connection, sql, values).await;
        self.doom(row)
    }

    /// Bare rows.
    pub(crate) async fn rows<T>(&mut self, sql: &'static str, values: Vec<Value>) -> Result<Vec<T>, CatalogError>
    where
        C::Row: Reads<T>,
    {
        let rows = connection::rows(&mut self.connection, sql, values).await;
        self.doom(rows)
    }

    pub(crate) async fn scalar<T>(&mut self, sql: &'static str, values: Vec<Value>) -> Result<T, CatalogError>
    where
        C::Row: Reads<(T,)>,
    {
        let value = connection::scalar(&mut self.connection, sql, values).await;
        self.doom(value)
    }

    pub(crate) async fn execute(&mut self, sql: &'static str, values: Vec<Value>) -> Result<u64, CatalogError> {
        let changed = self.connection.execute(sql, values).await;
        self.doom(changed)
    }

    pub(crate) async fn execute_fenced(&mut self, sql: &'static str, values: Vec<Value>) -> Result<(), CatalogError> {
        let current = connection::execute_fenced(&mut self.connection, sql, values).await;
        self.doom(current)
    }
}

#[async_trait]
impl<C: Connection> CatalogTx for SqlTx<C> {
    async fn bind_store(&mut self, store: Uuid) -> Result<Uuid, CatalogError> {
        self.execute(BIND, values![store]).await?;
        self.scalar(BOUND, values![]).await
    }

    fn now(&self) -> Timestamp {
        self.now
    }

    async fn commit(self: Box<Self>) -> Result<(), CatalogError> {
        if self.doomed {
            return Err(CatalogError::Backend("commit of a failed transaction".into()));
        }
        self.connection.commit().await?;
        self.audited.iter().for_each(audit::log);
        Ok(())
    }
}
