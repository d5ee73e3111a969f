//! Counting the SQL statements of this process.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span,
};

/// Records the statements that catalogs of this process execute.
#[derive(Clone, Default)]
pub struct Statements(Arc<Mutex<Vec<String>>>);

impl Statements {
    /// Starts to record, as the process's tracing subscriber; a process can do so once.
    pub fn record() -> Self {
        let recorded = Self::default();
        tracing::subscriber::set_global_default(recorded.clone()).expect("the only subscriber");
        recorded
    }

    /// The statements since the last call, without those that begin or end transactions or set a new connection up. A
    /// transaction that was dropped is rolled back in the background, at no certain time.
    pub fn take(&self) -> Vec<String> {
        let left_out = ["PRAGMA", "SET ", "DO $$", "BEGIN", "COMMIT", "ROLLBACK"];
        let taken = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        taken.into_iter().filter(|sql| !left_out.iter().any(|word| sql.starts_with(word))).collect()
    }
}

impl Subscriber for Statements {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "sqlx::query"
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(Level::DEBUG.into())
    }

    fn event(&self, event: &Event<'_>) {
        let mut sql = Sql::default();
        event.record(&mut sql);
        let text = if sql.whole.trim().is_empty() { sql.summary } else { sql.whole };
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// The statement of an event of sqlx: the beginning, and all of it if that is longer.
#[derive(Default)]
struct Sql {
    summary: String,
    whole: String,
}

impl Visit for Sql {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "summary" => value.clone_into(&mut self.summary),
            "db.statement" => value.clone_into(&mut self.whole),
            _ => {}
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}
