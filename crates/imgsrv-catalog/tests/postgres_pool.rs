//! The state of the pool after callers have abandoned their requests.

use imgsrv_catalog::postgres::{PgSettings, open};
use imgsrv_domain::ports::{Catalog, OperationsQueries};
use imgsrv_testkit::services::Postgres;
use sqlx::{Connection, PgConnection, query_scalar};
use std::time::Duration;

const LEFT_OPEN: &str =
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in %'";

#[tokio::test]
async fn a_transaction_abandoned_while_it_begins_is_not_left_open() {
    let url = Postgres::shared().await.database().await;
    let catalog = open(&PgSettings { url: url.clone(), max_connections: 2 }).await.expect("a catalog");
    // From giving up before anything was sent to giving up after it was answered.
    for micros in (0..3000).step_by(10) {
        drop(tokio::time::timeout(Duration::from_micros(micros), catalog.begin()).await);
    }
    for _ in 0..4 {
        catalog.identity().await.expect("a connection that answers");
    }
    let mut shell = PgConnection::connect(&url).await.expect("a connection");
    let mut left: i64 = 1;
    for _ in 0..100 {
        left = query_scalar(LEFT_OPEN).fetch_one(&mut shell).await.expect("an answer");
        if left == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(left, 0, "a transaction is left open");
}
