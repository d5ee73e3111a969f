//! Downloads of private images are in the audit log.

use crate::support::Team;
use imgsrv_testkit::{TestServer, digest};
use serde_json::Value;
use std::time::Duration;

async fn downloads(server: &TestServer, auditor: &str) -> Vec<(String, String)> {
    let listed = server.call(Some(auditor), "GET", "/v1/audit?action=file.downloaded", None).await.json();
    let entries = listed["entries"].as_array().or_else(|| listed["events"].as_array()).expect("a list").clone();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    entries.iter().map(|entry| (text(&entry["actor"]["id"]), text(&entry["subject"]))).collect()
}

#[tokio::test]
async fn a_download_of_a_private_file_is_recorded_once_an_hour_for_each_principal() {
    for server in [TestServer::start().await, TestServer::start_on_postgres().await] {
        let auditor = server.token_with("auditor").await;
        let admin = Team::with(&server, "content-admin", "alpha-*").await;
        let reader = Team::with(&server, "content-reader", "alpha-*").await;
        let artifact = admin.image(&server, "alpha-vm", "private", b"alpha").await;
        admin.image(&server, "alpha-open", "public", b"open").await;
        let file = "/images/alpha-vm/latest/alpha-vm-amd64.qcow2";
        let by_id = format!("/v1/images/alpha-vm/versions/1/artifacts/{artifact}/download");
        for _ in 0..3 {
            reader.done(&server, "GET", &by_id, None).await;
            reader.done(&server, "GET", "/images/alpha-vm/1/alpha-vm-1-amd64.qcow2", None).await;
            reader.done(&server, "GET", "/images/alpha-open/1/alpha-open-1-amd64.qcow2", None).await;
            reader.done(&server, "HEAD", file, None).await;
        }
        let id = |team: &Team| team.principal.rsplit('/').next().expect("an id").to_owned();
        let of_reader = (id(&reader), "alpha-vm/1/alpha-vm-1-amd64.qcow2".to_owned());
        assert_eq!(downloads(&server, &auditor).await, std::slice::from_ref(&of_reader));
        admin.done(&server, "GET", &by_id, None).await;
        admin.done(&server, "GET", &format!("/v1/blobs/{}", digest(b"alpha")), None).await;
        let expected = [(id(&admin), digest(b"alpha")), (id(&admin), of_reader.1.clone()), of_reader];
        assert_eq!(downloads(&server, &auditor).await, expected);
    }
    let server = TestServer::start().await;
    let auditor = server.token_with("auditor").await;
    let admin = Team::with(&server, "content-admin", "alpha-*").await;
    admin.image(&server, "alpha-vm", "private", b"alpha").await;
    for _ in 0..2 {
        admin.done(&server, "GET", "/images/alpha-vm/1/alpha-vm-1-amd64.qcow2", None).await;
        server.clock.advance(Duration::from_hours(1));
    }
    assert_eq!(downloads(&server, &auditor).await.len(), 2, "another hour");
}
