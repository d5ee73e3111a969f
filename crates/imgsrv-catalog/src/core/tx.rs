//! Units of work; any error dooms one.

use crate::core::{
    audit,
    connection::{Connection, Dialects, Statement},
    record::{Corrupt, Record},
    stored::values,
    value::Value,
};
use async_trait::async_trait;
use imgsrv_domain::{
    audit::AuditEntry,
    ports::{CatalogError, CatalogTx},
    time::Timestamp,
};
use tracing::{Instrument, instrument::WithSubscriber};
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

    /// Locks the row that `sql` finds until the end of the transaction, where rows are locked.
    pub(crate) async fn lock(&mut self, sql: &'static str, values: Vec<Value>) -> Result<(), CatalogError> {
        if C::LOCKS_ROWS { self.list::<Uuid>(sql, values).await.map(drop) } else { Ok(()) }
    }

    pub(crate) async fn list<T: Record>(
        &mut self,
        sql: impl Statement,
        values: Vec<Value>,
    ) -> Result<Vec<T>, CatalogError> {
        let listed = self.connection.list(sql, values).await;
        self.doom(listed)
    }

    /// The error of a read that fails because a row cannot be decoded.
    pub(crate) fn corrupt(&mut self, corrupt: Corrupt) -> CatalogError {
        self.doomed = true;
        self.connection.corrupt(corrupt)
    }

    pub(crate) async fn list_decodable<T: Record>(
        &mut self,
        sql: impl Statement,
        values: Vec<Value>,
    ) -> Result<Vec<T>, CatalogError> {
        let listed = self.connection.list_decodable(sql, values).await;
        self.doom(listed)
    }

    pub(crate) async fn find<T: Record>(
        &mut self,
        sql: impl Statement,
        values: Vec<Value>,
    ) -> Result<Option<T>, CatalogError> {
        let found = self.connection.find(sql, values).await;
        self.doom(found)
    }

    pub(crate) async fn get<T: Record>(&mut self, sql: impl Statement, values: Vec<Value>) -> Result<T, CatalogError> {
        let found = self.connection.get(sql, values).await;
        self.doom(found)
    }

    pub(crate) async fn execute(&mut self, sql: &'static str, values: Vec<Value>) -> Result<u64, CatalogError> {
        let changed = self.connection.execute(sql, values).await;
        self.doom(changed)
    }

    /// The same for a statement that differs between databases.
    pub(crate) async fn execute_on(&mut self, sql: Dialects, values: Vec<Value>) -> Result<u64, CatalogError> {
        self.execute(sql.text(C::LOCKS_ROWS), values).await
    }

    pub(crate) async fn execute_fenced(&mut self, sql: &'static str, values: Vec<Value>) -> Result<(), CatalogError> {
        let changed = self.connection.execute_fenced(sql, values).await;
        self.doom(changed)
    }
}

#[async_trait]
impl<C: Connection + 'static> CatalogTx for SqlTx<C> {
    async fn bind_store(&mut self, store: Uuid) -> Result<Uuid, CatalogError> {
        self.execute(BIND, values![store]).await?;
        self.get(BOUND, values![]).await
    }

    fn now(&self) -> Timestamp {
        self.now
    }

    async fn commit(self: Box<Self>) -> Result<(), CatalogError> {
        if self.doomed {
            return Err(CatalogError::Backend("commit of a failed transaction".into()));
        }
        let Self { connection, audited, .. } = *self;
        if audited.is_empty() {
            return connection.commit().await;
        }
        // In a task, so that the rows are also logged when the caller is dropped meanwhile.
        let committing = async move {
            connection.commit().await?;
            audited.iter().for_each(audit::log);
            Ok(())
        };
        match tokio::spawn(committing.in_current_span().with_current_subscriber()).await {
            Ok(committed) => committed,
            Err(ended) => Err(CatalogError::Unavailable(Box::new(ended))),
        }
    }
}
