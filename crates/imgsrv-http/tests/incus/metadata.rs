//! Generated Incus metadata.

use crate::support::{Artifact, add, describe, draft, images, machine, publish};
use axum::http::StatusCode;
use imgsrv_testkit::{TestServer, qcow2};
use serde_json::json;

#[tokio::test]
async fn metadata_is_generated_from_the_artifact_and_the_request() {
    let server = TestServer::start().await;
    draft(&server, "debian", "12").await;
    let artifact = add(&server, "debian", "12", &Artifact::qcow2(&qcow2(1))).await;
    let body = json!({"description": "Debian: \"stable\"", "os": "Debian", "release": "bookworm",
        "expires_at": "2028-06-30T00:00:00Z", "properties": {"requirements.secureboot": "false"}});
    let made = server.write("POST", &format!("{artifact}/incus-metadata"), Some(body)).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let attachment = made.json();
    assert_eq!((&attachment["name"], &attachment["media_type"]), (&json!("incus.tar.xz"), &json!("application/x-xz")));
    assert_eq!(publish(&server, "debian", "12").await["warnings"], json!(null));
    let images = images(&server).await;
    let found = machine(&images, "debian/12").expect("the image");
    assert_eq!(format!("sha256:{}", found.metadata.sha256), attachment["blob_digest"].as_str().expect("a digest"));
    // Streams show its properties.
    let products = server.get("/streams/v1/images.json").await.json();
    let product = &products["products"]["debian:12:amd64:default"];
    assert_eq!((&product["os"], &product["release_title"]), (&json!("Debian"), &json!("bookworm")), "{product}");
    assert_eq!((&product["release"], &product["requirements"]), (&json!("12"), &json!({"secureboot": "false"})));
    assert_eq!((&product["support_eol"], &product["variant"]), (&json!("2028-06-30"), &json!("default")));
    let version = product["versions"].as_object().expect("versions").values().next().expect("a version");
    assert_eq!(version["label"], "\"stable\"");
}

#[tokio::test]
async fn the_same_request_returns_the_existing_attachment() {
    let server = TestServer::start().await;
    draft(&server, "debian", "1").await;
    let artifact = add(&server, "debian", "1", &Artifact::qcow2(&qcow2(1))).await;
    let first = describe(&server, &artifact).await;
    let again = server.write("POST", &format!("{artifact}/incus-metadata"), Some(json!({}))).await;
    assert_eq!((again.status, again.problem().as_str()), (StatusCode::CONFLICT, "name-taken"));
    assert_eq!(again.json()["existing"]["id"], first["id"]);
    let attachment = format!("{artifact}/attachments/{}", first["id"].as_str().expect("an id"));
    assert_eq!(server.write("DELETE", &attachment, None).await.status, StatusCode::NO_CONTENT);
    // The blob exists already and is identical.
    assert_eq!(describe(&server, &artifact).await["blob_digest"], first["blob_digest"]);
}

#[tokio::test]
async fn metadata_that_cannot_be_generated_is_refused() {
    let server = TestServer::start().await;
    draft(&server, "debian", "1").await;
    let iso = add(&server, "debian", "1", &Artifact { format: "iso", ..Artifact::qcow2(&qcow2(1)) }).await;
    let vax = add(&server, "debian", "1", &Artifact { architecture: "vax", ..Artifact::qcow2(&qcow2(1)) }).await;
    let good = add(&server, "debian", "1", &Artifact::qcow2(&qcow2(1))).await;
    for (artifact, body) in [
        (&iso, json!({})),
        (&vax, json!({})),
        (&good, json!({"description": "a\nb"})),
        (&good, json!({"expires_at": "soon"})),
        (&good, json!({"expires_at": "1900-01-01T00:00:00Z"})),
        (&good, json!({"properties": {"os": "x"}})),
        (&good, json!({"properties": {"a b": "x"}})),
        (&good, json!({"colour": "red"})),
    ] {
        let refused = server.write("POST", &format!("{artifact}/incus-metadata"), Some(body.clone())).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{body} {refused:?}");
    }
    let anonymous = server.call(None, "POST", &format!("{good}/incus-metadata"), Some(json!({}))).await;
    assert_eq!(anonymous.status, StatusCode::UNAUTHORIZED);
    assert_eq!(publish(&server, "debian", "1").await["state"], "succeeded");
    let late = server.write("POST", &format!("{good}/incus-metadata"), Some(json!({}))).await;
    assert_eq!((late.status, late.problem().as_str()), (StatusCode::PRECONDITION_FAILED, "version-not-draft"));
}
