//! Every round trip to a database is traced once, within the span of its transaction or query.

use imgsrv_catalog::{postgres::PgSettings, sqlite};
use imgsrv_domain::{
    ids::ImageId,
    image::Image,
    ports::{Catalog, OperationsQueries, View},
    transition::Revision,
};
use imgsrv_testkit::{ManualClock, services::Postgres};
use std::{
    fmt::Debug,
    sync::{Arc, Mutex},
};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    Layer, Registry,
    layer::{Context, SubscriberExt},
    registry::LookupSpan,
};

/// What was traced: the span and the kind of each statement, and the statements that the driver logged.
#[derive(Clone, Default)]
struct Trace {
    traced: Arc<Mutex<Vec<String>>>,
    logged: Arc<Mutex<Vec<String>>>,
}

#[derive(Default)]
struct Fields {
    kind: String,
    sql: String,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "kind" => value.clone_into(&mut self.kind),
            "sql" | "summary" => value.clone_into(&mut self.sql),
            _ => {}
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}

impl<S: Subscriber + for<'s> LookupSpan<'s>> Layer<S> for Trace {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        match event.metadata().target() {
            "imgsrv_catalog::statement" => {
                assert!(!fields.sql.is_empty(), "a statement without its text");
                let span = context.event_span(event).expect("a span").name();
                self.traced.lock().expect("not poisoned").push(format!("{span}: {}", fields.kind));
            }
            "sqlx::query" => self.logged.lock().expect("not poisoned").push(fields.sql),
            _ => {}
        }
    }
}

impl Trace {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.traced.lock().expect("not poisoned"))
    }
}

/// Held by the one test that has a subscriber: while subscribers come and go, `tracing` may skip events of others.
static SUBSCRIBER: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The statements of one transaction, of one that is dropped, of one query, and of reads of one consistent state.
async fn statements_are_traced_once(catalog: &dyn Catalog, trace: &Trace) {
    let image = Image {
        id: ImageId::new(uuid::Uuid::from_u128(1)),
        name: "debian".parse().expect("a name"),
        display_name: None,
        description: None,
        visibility: imgsrv_domain::access::Visibility::Public,
        created_at: catalog.catalog_time().await.expect("the catalog answers"),
        updated_at: catalog.catalog_time().await.expect("the catalog answers"),
        revision: Revision::FIRST,
    };
    trace.take();
    let mut tx = catalog.begin().await.expect("the catalog answers");
    tx.insert_image(&image).await.expect("the catalog answers");
    assert!(tx.get_image(&image.name).await.expect("the catalog answers").is_some());
    tx.commit().await.expect("the catalog answers");
    let transaction = ["begin", "execute", "query", "commit"].map(|kind| format!("catalog.transaction: {kind}"));
    assert_eq!(trace.take(), transaction);

    drop(catalog.begin().await.expect("the catalog answers"));
    assert_eq!(trace.take(), ["begin", "rollback"].map(|kind| format!("catalog.transaction: {kind}")));

    assert!(catalog.get_image(&image.name, View::All).await.expect("the catalog answers").is_some());
    assert_eq!(trace.take(), ["catalog.query: query"]);
    assert!(
        catalog
            .resolve_ref(&image.name, &"latest".parse().expect("a name"), View::All)
            .await
            .expect("the catalog answers")
            .is_none()
    );
    assert_eq!(trace.take(), ["catalog.query: query"]);

    catalog.statistics().await.expect("the catalog answers");
    let snapshot =
        ["begin", "query", "query", "query", "query", "rollback"].map(|kind| format!("catalog.query: {kind}"));
    assert_eq!(trace.take(), snapshot);
}

#[tokio::test]
async fn statements_are_traced_once_on_sqlite() {
    let _only = SUBSCRIBER.lock().await;
    let dir = tempfile::tempdir().expect("a scratch folder");
    let clock = Arc::new(ManualClock::default());
    let catalog = sqlite::open(&dir.path().join("catalog.db"), clock).await.expect("the catalog answers");
    let trace = Trace::default();
    let _guard = tracing::subscriber::set_default(Registry::default().with(trace.clone()));
    statements_are_traced_once(&catalog, &trace).await;
}

#[tokio::test]
async fn statements_are_traced_once_on_postgres() {
    let _only = SUBSCRIBER.lock().await;
    let url = Postgres::shared().await.database().await;
    let catalog =
        imgsrv_catalog::postgres::open(&PgSettings { url, max_connections: 1 }).await.expect("the catalog answers");
    let trace = Trace::default();
    let _guard = tracing::subscriber::set_default(Registry::default().with(trace.clone()));
    catalog.catalog_time().await.expect("the catalog answers");
    assert_eq!(trace.take(), ["catalog.query: query"]);
    let before = trace.logged.lock().expect("not poisoned").len();
    statements_are_traced_once(&catalog, &trace).await;
    // The only connection is free again once the last transaction was rolled back.
    catalog.identity().await.expect("the catalog answers");
    // The driver logs the same statements.
    let logged = trace.logged.lock().expect("not poisoned")[before..].to_vec();
    assert_eq!(logged.len(), 2 + 4 + 2 + 1 + 1 + 6 + 1, "{logged:?}");
}
