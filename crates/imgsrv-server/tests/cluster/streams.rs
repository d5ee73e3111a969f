//! Simple Streams on several nodes: a change on one node is in the next response of every node.

use crate::{
    harness::{Cluster, Nodes, writer},
    publisher::{Publisher, Sent, text},
};
use imgsrv_testkit::{digest, qcow2};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};

const MOVES: usize = 30;

/// The release of each alias, according to a node's documents.
async fn releases(url: &str) -> BTreeMap<String, String> {
    let response = reqwest::get(format!("{url}/streams/v1/images.json")).await.expect("a response");
    let document: Value = response.json().await.expect("products");
    let products = document["products"].as_object().expect("products").values();
    let names = products.flat_map(|product| {
        let release = text(product, "release").to_owned();
        text(product, "aliases").split(',').map(move |alias| (alias.to_owned(), release.clone())).collect::<Vec<_>>()
    });
    names.collect()
}

/// Publishes a qcow2 with metadata that the server generates.
async fn publish(publisher: &Publisher, version: &str, disk: &[u8]) {
    publisher.upload(disk, disk.len(), 1).await;
    let post = async |path: &str, body: Value| {
        let (status, response) = publisher.send(Method::POST, path, Sent::Json(&body)).await;
        assert!(status.is_success() || status == StatusCode::CONFLICT, "{path}: {response}");
        response
    };
    post("/v1/images", json!({"name": "debian"})).await;
    post("/v1/images/debian/versions", json!({"version": version})).await;
    let url = format!("/v1/images/debian/versions/{version}");
    let artifact = json!({
        "operating_system": "debian", "architecture": "amd64", "format": "qcow2",
        "primary_blob_digest": digest(disk), "primary_blob_size_bytes": disk.len(), "primary_media_type": "a/b",
    });
    let artifact = post(&format!("{url}/artifacts"), artifact).await;
    post(&format!("{url}/artifacts/{}/incus-metadata", text(&artifact, "id")), json!({"release": version})).await;
    let job = post(&format!("{url}/publish"), Value::Null).await;
    publisher.reaches(&format!("/v1/publish-jobs/{}", text(&job, "job_id")), "succeeded").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moved_alias_is_in_the_next_response_of_every_node() {
    let cluster = Cluster::start().await;
    let nodes = vec![cluster.node("a", &[]), cluster.node("b", &[])];
    let token = writer(&nodes[0]).await;
    let urls: Vec<String> = nodes.iter().map(|node| node.url.clone()).collect();
    let publisher = Publisher::new(Arc::new(Nodes::new(nodes)), token);
    for version in ["1", "2"] {
        publish(&publisher, version, &qcow2(version.parse().expect("a number"))).await;
        for url in &urls {
            assert_eq!(
                releases(url).await.get(&format!("debian/{version}")).map(String::as_str),
                Some(version),
                "{url}"
            );
        }
    }
    for at in 0..MOVES {
        let version = if at % 2 == 0 { "1" } else { "2" };
        let moved = json!({"version": version});
        let (status, response) =
            publisher.send(Method::PUT, "/v1/images/debian/aliases/latest", Sent::Json(&moved)).await;
        assert_eq!(status, StatusCode::OK, "{response}");
        for url in &urls {
            assert_eq!(releases(url).await.get("debian/latest").map(String::as_str), Some(version), "{url}, move {at}");
        }
    }
}
