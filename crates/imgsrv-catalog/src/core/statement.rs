//! Tracing of the round trips to the database.

use std::time::Instant;
use tracing::{Level, Span};

/// The span of the statements of one query.
pub(crate) fn query_span() -> Span {
    tracing::debug_span!("catalog.query")
}

/// The span of the statements of one transaction.
pub(crate) fn transaction_span() -> Span {
    tracing::debug_span!("catalog.transaction")
}

/// The kind of a round trip.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Begin,
    Query,
    Execute,
    Commit,
    Rollback,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Begin => "begin",
            Self::Query => "query",
            Self::Execute => "execute",
            Self::Commit => "commit",
            Self::Rollback => "rollback",
        }
    }
}

/// One round trip to the database; when it ends, also by cancellation, it is an event of target
/// `imgsrv_catalog::statement` with the text of the statement, never its values. Connecting and the pool's checks of
/// idle connections are not traced.
pub(crate) struct Traced<'s> {
    span: &'s Span,
    kind: Kind,
    sql: &'static str,
    started: Instant,
}

impl<'s> Traced<'s> {
    /// Starts a round trip within `span`.
    pub(crate) fn start(span: &'s Span, kind: Kind, sql: &'static str) -> Self {
        Self { span, kind, sql, started: Instant::now() }
    }
}

impl Drop for Traced<'_> {
    fn drop(&mut self) {
        if !tracing::enabled!(target: "imgsrv_catalog::statement", Level::DEBUG) {
            return;
        }
        let duration_us = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.span.in_scope(|| {
            tracing::debug!(
                target: "imgsrv_catalog::statement",
                kind = self.kind.as_str(),
                sql = self.sql,
                duration_us,
                "statement executed"
            );
        });
    }
}
