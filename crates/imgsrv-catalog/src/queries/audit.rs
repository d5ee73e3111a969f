//! Reads of the audit log.

use crate::core::{Corrupt, List, Listed, Record, Row, SqlCatalog, SqlDatabase, values};
use async_trait::async_trait;
use imgsrv_domain::{
    audit::{Actor, ActorKind, AuditEntry, AuditFilter, AuditRecord, Event},
    page::{Page, PageRequest},
    ports::{AuditQueries, CatalogError},
    time::Timestamp,
};

/// Rows by one column with an index, newest first.
macro_rules! list {
    ($by:literal) => {
        concat!(
            "SELECT id, at, actor_kind, actor, actor_name, request_id, address, action, subject, detail FROM audit_log
            WHERE ",
            $by,
            " at >= $1 AND (at, id) < ($2, $3)
            AND (CAST($5 AS TEXT) IS NULL OR action = $5) AND (CAST($6 AS TEXT) IS NULL OR actor = $6)
            AND (CAST($7 AS TEXT) IS NULL OR subject = $7) AND (CAST($8 AS TEXT) IS NULL OR request_id = $8)
            AND (CAST($9 AS TEXT) IS NULL OR actor_kind = $9) ORDER BY at DESC, id DESC LIMIT $4"
        )
    };
}
const LIST: &str = list!("");
const LIST_BY_ACTION: &str = list!("action = $5 AND");
const LIST_BY_ACTOR: &str = list!("actor = $6 AND");
const LIST_BY_SUBJECT: &str = list!("subject = $7 AND");
const LIST_BY_REQUEST: &str = list!("request_id = $8 AND");
pub(crate) const STATEMENTS: &[&str] = &[LIST, LIST_BY_ACTION, LIST_BY_ACTOR, LIST_BY_SUBJECT, LIST_BY_REQUEST];

#[async_trait]
impl<D: SqlDatabase> AuditQueries for SqlCatalog<D> {
    async fn list_audit(&self, filter: &AuditFilter, page: &PageRequest) -> Result<Page<AuditRecord>, CatalogError> {
        let until = filter.until.map_or((i64::MAX, i64::MAX), |until| (until.micros(), 0));
        let list = List::open(format!("audit:{filter:?}"), page, until)?;
        let AuditFilter { action, actor_kind, actor, subject, request_id, since, .. } = filter;
        // By the column that is likely to leave the fewest rows.
        let sql = match (request_id, subject, actor, action) {
            (Some(_), ..) => LIST_BY_REQUEST,
            (_, Some(_), ..) => LIST_BY_SUBJECT,
            (_, _, Some(_), _) => LIST_BY_ACTOR,
            (_, _, _, Some(_)) => LIST_BY_ACTION,
            (None, None, None, None) => LIST,
        };
        let since = since.unwrap_or(Timestamp::from_micros(0));
        let values = |(before, id): &(i64, i64), limit: i64| {
            let before = Timestamp::from_micros(*before);
            values![since, before, id, limit, action, actor, subject, request_id, actor_kind]
        };
        list.read(&mut self.reader().await?, sql, values).await
    }
}

impl Listed for AuditRecord {
    type Key = (i64, i64);

    fn key(row: &Row<'_>) -> Result<(i64, i64), Corrupt> {
        Ok((row.get::<Timestamp>("at")?.micros(), row.get("id")?))
    }
}

impl Record for AuditRecord {
    const WHAT: &'static str = "audit row";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        let actor = match row.get("actor_kind")? {
            ActorKind::Principal => {
                let id = row.get::<String>("actor")?.parse().map_err(|why| row.corrupt(why))?;
                Actor::Principal {
                    id,
                    name: row.optional("actor_name")?,
                    request_id: row.optional("request_id")?,
                    address: row.optional("address")?,
                }
            }
            ActorKind::Worker => Actor::Worker(row.get("actor")?),
            ActorKind::Operator => Actor::Operator,
        };
        let event = Event { action: row.get("action")?, subject: row.get("subject")?, detail: row.optional("detail")? };
        Ok(Self { id: row.get("id")?, entry: AuditEntry { at: row.get("at")?, actor, event } })
    }
}
