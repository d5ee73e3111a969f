//! Reading a consistent state of the catalog, kind by kind.

use crate::{
    backup::kinds,
    core::{Connection, Corrupt, Dialects, Record, Row, Statement, Value, values},
};
use async_trait::async_trait;
use imgsrv_domain::{
    ports::{CatalogError, CatalogSnapshot},
    time::Timestamp,
    transition::Revision,
};
use std::collections::HashMap;
use uuid::Uuid;

const HEADER: &str = "SELECT i.id, r.revision FROM catalog_identity i, catalog_revision r";
// Between statements, lines are compressed and written to a disk that may be slow.
const PATIENT: Dialects =
    Dialects { sqlite: "SELECT 1", postgres: "SET LOCAL idle_in_transaction_session_timeout = '10min'" };
pub(crate) const STATEMENTS: &[&str] = &[HEADER];

/// A consistent state of the catalog.
pub(crate) struct Snapshot<C> {
    connection: C,
    header: Header,
    taken_at: Timestamp,
    /// The keys after which reading continues.
    after: HashMap<&'static str, Option<Vec<Value>>>,
}

struct Header {
    catalog: Uuid,
    revision: Revision,
}

impl Record for Header {
    const WHAT: &'static str = "catalog identity";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        Ok(Self { catalog: row.get("id")?, revision: row.get("revision")? })
    }
}

impl<C: Connection> Snapshot<C> {
    /// The state that `connection` reads, as of `taken_at`.
    pub(crate) async fn open(mut connection: C, taken_at: Timestamp) -> Result<Self, CatalogError> {
        connection.execute(PATIENT.text(C::LOCKS_ROWS), values![]).await?;
        let header = connection.get(HEADER, values![]).await?;
        Ok(Self { connection, header, taken_at, after: HashMap::new() })
    }
}

#[async_trait]
impl<C: Connection + 'static> CatalogSnapshot for Snapshot<C> {
    fn catalog(&self) -> Uuid {
        self.header.catalog
    }

    fn revision(&self) -> Revision {
        self.header.revision
    }

    fn taken_at(&self) -> Timestamp {
        self.taken_at
    }

    async fn read(&mut self, kind: &'static str) -> Result<Vec<String>, CatalogError> {
        let after = self.after.entry(kind).or_default();
        let records = kinds::read(&mut self.connection, kind, after).await?;
        records.iter().map(|record| serde_json::to_string(record).map_err(CatalogError::backend)).collect()
    }
}
