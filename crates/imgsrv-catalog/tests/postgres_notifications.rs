//! What the queue notifies other nodes of.

use imgsrv_catalog::postgres::{PgSettings, open};
use imgsrv_domain::{
    ids::UploadId,
    ports::{Catalog, Renewal, Setback, WorkQueue},
    work::{WorkKind, WorkName, WorkerId},
};
use imgsrv_testkit::services::Postgres;
use sqlx::{Connection, Executor, PgConnection, postgres::PgListener};
use std::time::Duration;
use uuid::Uuid;

const TERM: Duration = Duration::from_secs(30);

/// What was notified since the last call.
async fn notified(listener: &mut PgListener, shell: &mut PgConnection) -> Vec<String> {
    shell.execute("NOTIFY imgsrv_work, 'end'").await.expect("it is sent");
    let mut payloads = Vec::new();
    loop {
        let payload = listener.recv().await.expect("a notification").payload().to_owned();
        if payload == "end" {
            return payloads;
        }
        payloads.push(payload);
    }
}

#[tokio::test]
async fn a_commit_notifies_once_of_each_kind_of_work_that_it_makes_due() {
    let url = Postgres::shared().await.database().await;
    let catalog = open(&PgSettings { url: url.clone(), max_connections: 2 }).await.expect("a catalog");
    let mut listener = PgListener::connect(&url).await.expect("a listener");
    listener.listen("imgsrv_work").await.expect("it listens");
    let mut shell = PgConnection::connect(&url).await.expect("a connection");

    let mut tx = catalog.begin().await.expect("a transaction");
    for number in 0..100 {
        let id = UploadId::new(Uuid::from_u128(number));
        tx.enqueue_work(WorkName::ingest(id)).await.expect("enqueued");
        tx.enqueue_work(WorkName::clear(id)).await.expect("enqueued");
    }
    assert_eq!(notified(&mut listener, &mut shell).await, [""; 0], "nothing is committed");
    tx.commit().await.expect("committed");
    let mut kinds = notified(&mut listener, &mut shell).await;
    kinds.sort();
    assert_eq!(kinds, ["clear", "ingest"]);

    // Leases, renewals and ends make nothing due; a release does.
    let owner = WorkerId::new("node".to_owned());
    let acquire = async || {
        catalog
            .acquire_work(WorkKind::Ingest, None, &owner, TERM, TERM)
            .await
            .expect("acquired")
            .expect("an item")
            .lease
    };
    let (first, second, third, fourth) = (acquire().await, acquire().await, acquire().await, acquire().await);
    assert_eq!(catalog.renew_work(&first, TERM).await.expect("renewed"), Renewal::Renewed);
    let mut tx = catalog.begin().await.expect("a transaction");
    assert!(tx.finish_work(&first).await.expect("finished"));
    let setback = Setback { delay: TERM, error: "why".to_owned(), silent: false };
    assert!(tx.postpone_work(&second, &setback).await.expect("postponed"));
    assert!(tx.park_work(&third, "why").await.expect("parked"));
    tx.commit().await.expect("committed");
    assert_eq!(notified(&mut listener, &mut shell).await, [""; 0]);
    let mut tx = catalog.begin().await.expect("a transaction");
    assert!(tx.release_work(&fourth).await.expect("released"));
    tx.commit().await.expect("committed");
    assert_eq!(notified(&mut listener, &mut shell).await, ["ingest"]);
}
