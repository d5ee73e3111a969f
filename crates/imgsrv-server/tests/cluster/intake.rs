//! Intakes on several nodes: an upload continues on another node after the first stalls or is killed.

use crate::harness::{Cluster, until, writer};
use imgsrv_testkit::{Process, digest, qcow2};
use reqwest::{Body, Client, Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::mpsc;

const MIB: usize = 1 << 20;

struct Tus {
    http: Client,
    token: String,
}

impl Tus {
    async fn json(&self, method: Method, node: &str, path: &str, body: Option<&Value>) -> Value {
        let mut request = self.http.request(method, format!("{node}{path}")).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(body);
        }
        request.send().await.expect("a response").json().await.expect("JSON")
    }

    async fn patch(&self, node: &str, id: &str, offset: usize, body: impl Into<Body>) -> reqwest::Result<StatusCode> {
        let request = self.http.patch(format!("{node}/api/uploads/tus/{id}")).bearer_auth(&self.token);
        let request = request.header("tus-resumable", "1.0.0").header("upload-offset", offset);
        let request = request.header("content-type", "application/offset+octet-stream").body(body);
        Ok(request.send().await?.status())
    }

    async fn offset(&self, node: &str, id: &str) -> usize {
        let request = self.http.head(format!("{node}/api/uploads/tus/{id}")).bearer_auth(&self.token);
        let response = request.header("tus-resumable", "1.0.0").send().await.expect("a response");
        response.headers()["upload-offset"].to_str().expect("a number").parse().expect("a number")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_continues_on_another_node_when_one_stalls_or_is_killed() {
    let cluster = Cluster::start().await;
    let mut nodes: Vec<Process> = vec![cluster.node("a", &[]), cluster.node("b", &[])];
    let tus = Tus { token: writer(&nodes[0]).await, http: Client::new() };
    let (a, b) = (nodes[0].url.clone(), nodes[1].url.clone());
    let mut bytes = qcow2(9);
    bytes.extend((bytes.len()..40 * MIB).map(|at| (at / 4096 + at).to_le_bytes()[0]));
    let wanted = json!({
        "image": "debian", "version": "1", "operating_system": "linux", "architecture": "amd64",
        "size_bytes": bytes.len(), "aliases": ["latest"],
    });
    let made = tus.json(Method::POST, &a, "/api/images", Some(&wanted)).await;
    let id = made["upload_session_id"].as_str().expect("an id").to_owned();

    // One node receives 20 MiB, records a part of 16 MiB, and then gets nothing more; the upload continues on the other.
    let (sender, receiver) = mpsc::unbounded_channel::<std::io::Result<Vec<u8>>>();
    sender.send(Ok(bytes[..20 * MIB].to_vec())).expect("it is open");
    let unfold = futures::stream::unfold(receiver, |mut receiver| async move {
        let next = receiver.recv().await?;
        Some((next, receiver))
    });
    let stalled = tus.patch(&a, &id, 0, Body::wrap_stream(unfold));
    let continuing = async {
        until("a part is recorded", async || tus.offset(&b, &id).await >= 16 * MIB).await;
        let at = tus.offset(&b, &id).await;
        assert_eq!(
            tus.patch(&b, &id, at, bytes[at..32 * MIB].to_vec()).await.expect("a response"),
            StatusCode::NO_CONTENT
        );
        // What still arrives at the first node is not recorded.
        sender.send(Ok(vec![0; 13 * MIB])).expect("it is open");
        drop(sender);
    };
    let (first, ()) = tokio::join!(stalled, continuing);
    assert_eq!(first.expect("a response"), StatusCode::CONFLICT);
    assert_eq!(tus.offset(&a, &id).await, 32 * MIB);

    nodes[1].kill();
    let sent = tus.patch(&a, &id, 32 * MIB, bytes[32 * MIB..].to_vec()).await;
    assert_eq!(sent.expect("a response"), StatusCode::NO_CONTENT);
    until("it is published", async || {
        let status = tus.json(Method::GET, &a, &format!("/api/uploads/{id}"), None).await;
        assert_ne!(status["state"], "failed", "{status}");
        status["state"] == "published"
    })
    .await;
    let manifest = tus.json(Method::GET, &a, "/v1/images/debian/refs/latest", None).await;
    let artifact = &manifest["artifacts"][0]["artifact"];
    assert_eq!(artifact["primary_blob_digest"], digest(&bytes));
    let blob = reqwest::get(format!("{a}/v1/blobs/{}", digest(&bytes))).await.expect("a response");
    assert_eq!(digest(&blob.bytes().await.expect("bytes")), digest(&bytes));
}
