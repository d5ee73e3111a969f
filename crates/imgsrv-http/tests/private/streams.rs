//! Simple Streams list public images only, and their entity tags do not change with private ones.

use crate::support::Team;
use imgsrv_testkit::{TestServer, qcow2};
use serde_json::json;

const DOCUMENTS: [&str; 2] = ["/streams/v1/index.json", "/streams/v1/images.json"];

/// An image that Incus boots.
async fn bootable(server: &TestServer, team: &Team, name: &str, visibility: &str, salt: u64) {
    let bytes = qcow2(salt);
    team.done(server, "POST", "/v1/images", Some(json!({"name": name, "visibility": visibility}))).await;
    team.upload(server, &bytes).await;
    let artifact = team.cite(server, name, "1", &bytes).await;
    let url = format!("/v1/images/{name}/versions/1/artifacts/{artifact}/incus-metadata");
    team.done(server, "POST", &url, Some(json!({}))).await;
    team.publish(server, name, "1").await;
}

#[tokio::test]
async fn private_events_change_nothing_that_streams_show() {
    for server in [TestServer::start().await, TestServer::start_on_postgres().await] {
        let team = Team::with(&server, "content-admin", "alpha-*").await;
        bootable(&server, &team, "alpha-open", "public", 1).await;
        let mut before = Vec::new();
        for document in DOCUMENTS {
            before.push(server.get(document).await);
        }
        bootable(&server, &team, "alpha-vm", "private", 2).await;
        team.done(&server, "PUT", "/v1/images/alpha-vm/aliases/latest", Some(json!({"version": "1"}))).await;
        team.done(&server, "PATCH", "/v1/images/alpha-vm", Some(json!({"display_name": "Secret"}))).await;
        for (document, before) in DOCUMENTS.iter().zip(&before) {
            // For every caller.
            for who in [None, Some(&*team.token)] {
                let after = server.call(who, "GET", document, None).await;
                assert_eq!((after.header("etag"), &after.body), (before.header("etag"), &before.body), "{document}");
            }
        }
        let images = DOCUMENTS[1];
        let lists = async || String::from_utf8_lossy(&server.get(images).await.body).contains("alpha-vm");
        assert!(!lists().await);
        for (visibility, expected) in [("public", true), ("private", false)] {
            let body = Some(json!({"visibility": visibility}));
            team.done(&server, "PATCH", "/v1/images/alpha-vm", body).await;
            assert_eq!(lists().await, expected, "{visibility}");
        }
        assert_eq!(server.get(images).await.header("etag"), before[1].header("etag"), "as before");
    }
}
