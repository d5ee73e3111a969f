//! The log lines of audit rows.

use futures::poll;
use imgsrv_catalog::{postgres, sqlite};
use imgsrv_domain::{
    audit::{Actor, AuditAction, AuditEntry, AuditFilter, Event},
    page::PageRequest,
    ports::Catalog,
};
use imgsrv_testkit::{Log, ManualClock, services::Postgres};
use std::{pin::pin, sync::Arc, time::Duration};

/// Longer than any commit takes.
const DEADLINE: Duration = Duration::from_secs(20);

/// Drops commits after some polls, and compares what was committed with what was logged.
async fn compare(catalog: &dyn Catalog, log: &Log, name: &str) {
    let mut committed = 0;
    for polls in 0..40 {
        let subject = format!("{name}-{polls}");
        let mut tx = catalog.begin().await.expect("a transaction");
        let event = Event::new(AuditAction::ImageCreated, &subject);
        tx.append_audit(&AuditEntry { at: tx.now(), actor: Actor::Operator, event }).await.expect("a row");
        {
            let mut commit = pin!(tx.commit());
            for _ in 0..polls {
                if poll!(&mut commit).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        // The commit ends at no certain time; another write waits for it on SQLite.
        let filter = AuditFilter { subject: Some(subject.clone()), ..AuditFilter::default() };
        let row = async {
            loop {
                if !catalog.list_audit(&filter, &PageRequest::FIRST).await.expect("rows").items.is_empty() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(Duration::from_millis(100), row).await.is_err() {
            continue;
        }
        committed += 1;
        let line = async {
            while !log.has(&format!("subject=\"{subject}\"")) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let logged = tokio::time::timeout(DEADLINE, line).await;
        assert!(logged.is_ok(), "{subject} was committed after {polls} polls, but not logged");
    }
    assert!(committed > 0, "no commit succeeded");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_is_logged_even_if_the_caller_is_gone_when_it_is_committed() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(log.writer()).finish();
    tracing::subscriber::set_global_default(subscriber).expect("the only subscriber");
    let dir = tempfile::tempdir().expect("a scratch folder");
    let clock = Arc::new(ManualClock::default());
    compare(&sqlite::open(&dir.path().join("catalog.db"), clock).await.expect("a catalog"), &log, "sqlite").await;
    let settings = postgres::PgSettings { url: Postgres::shared().await.database().await, max_connections: 4 };
    compare(&postgres::open(&settings).await.expect("a catalog"), &log, "postgres").await;
}
