//! Counting the SQL statements of this process.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span,
};

/// Records the statements that catalogs of this process execute.
#[derive(Clone, Default)]
pub struct Statements(Arc<Mutex<Vec<(String, Duration)>>>);

impl Statements {
    /// Starts to record, as the process's tracing subscriber; a process can do so once.
    pub fn record() -> Self {
        let recorded = Self::default();
        tracing::subscriber::set_global_default(recorded.clone()).expect("the only subscriber");
        recorded
    }

    /// The statements since the last call, without those that begin or end transactions.
    pub fn take(&self) -> Vec<String> {
        self.take_timed().into_iter().map(|(sql, _)| sql).collect()
    }

    /// The same, with how long each of them took.
    pub fn take_timed(&self) -> Vec<(String, Duration)> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Subscriber for Statements {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "imgsrv_catalog::statement"
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(Level::DEBUG.into())
    }

    fn event(&self, event: &Event<'_>) {
        let mut statement = Statement::default();
        event.record(&mut statement);
        if statement.is_counted {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push((statement.sql, statement.duration));
        }
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// The statement of an event of the catalog.
#[derive(Default)]
struct Statement {
    is_counted: bool,
    sql: String,
    duration: Duration,
}

impl Visit for Statement {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "kind" => self.is_counted = matches!(value, "query" | "execute"),
            "sql" => self.sql = value.split_whitespace().collect::<Vec<_>>().join(" "),
            _ => {}
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "duration_us" {
            self.duration = Duration::from_micros(value);
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}
