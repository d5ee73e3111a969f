//! The URLs that the server accepts and those that it sends, on the real router: below a path of a reverse proxy that
//! removes it or keeps it, and tus URLs with and without a slash at their end.

use axum::{body::Body, http::Request};
use base64::{Engine, engine::general_purpose::STANDARD};
use imgsrv_testkit::{TestResponse, TestServer};
use serde_json::{Value, json};

/// Creates an intake of three bytes below `base`; returns the response.
async fn intake(server: &TestServer, base: &str, version: &str) -> TestResponse {
    let wanted = json!({
        "image": "debian", "version": version, "operating_system": "debian", "architecture": "amd64", "format": "raw",
        "size_bytes": 3,
    });
    let response = server.write("POST", &format!("{base}/api/images"), Some(wanted)).await;
    assert_eq!(response.status, 201, "{response:?}");
    response
}

fn id(intake: &TestResponse) -> String {
    intake.json()["upload_session_id"].as_str().expect("an id").to_owned()
}

async fn tus(server: &TestServer, method: &str, path: &str, more: &[(&str, &str)], body: &'static str) -> TestResponse {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", format!("Bearer {}", server.writer))
        .header("tus-resumable", "1.0.0");
    for (name, value) in more {
        request = request.header(*name, *value);
    }
    server.send(request.body(Body::from(body)).expect("a request")).await
}

#[tokio::test]
async fn every_tus_method_accepts_its_url_with_and_without_a_slash_at_its_end() {
    let server = TestServer::start().await;
    for (version, collection, slash) in [("1", "/api/uploads/tus", "/"), ("2", "/api/uploads/tus/", "")] {
        let id = id(&intake(&server, "", version).await);
        let metadata = format!("upload_session_id {}", STANDARD.encode(&id));
        let options = tus(&server, "OPTIONS", collection, &[], "").await;
        assert_eq!((options.status.as_u16(), options.header("tus-version")), (204, "1.0.0"), "{collection}");
        let create = [("upload-length", "3"), ("upload-metadata", &*metadata)];
        let created = tus(&server, "POST", collection, &create, "").await;
        assert_eq!(created.status, 201, "{collection} {created:?}");
        assert_eq!(created.header("location"), format!("/api/uploads/tus/{id}"));
        let upload = format!("/api/uploads/tus/{id}{slash}");
        assert_eq!(tus(&server, "OPTIONS", &upload, &[], "").await.status, 204, "{upload}");
        assert_eq!(tus(&server, "HEAD", &upload, &[], "").await.status, 200, "{upload}");
        let append = [("content-type", "application/offset+octet-stream"), ("upload-offset", "0")];
        let appended = tus(&server, "PATCH", &upload, &append, "ab").await;
        assert_eq!((appended.status.as_u16(), appended.header("upload-offset")), (204, "2"), "{upload}");
        let overridden = tus(&server, "POST", &upload, &[("x-http-method-override", "HEAD")], "").await;
        assert_eq!((overridden.status.as_u16(), overridden.header("upload-offset")), (200, "2"), "{upload}");
        assert_eq!(tus(&server, "DELETE", &upload, &[], "").await.status, 204, "{upload}");
    }
}

const PREFIX: &str = "/images-server";
const PUBLIC: &str = "https://example.org/images-server";

/// A server below [`PREFIX`] with the image `debian`, its versions `1` and `2`, and its alias `latest`.
async fn below_a_path() -> TestServer {
    let public_url = "https://example.org/images-server/".parse().expect("a URL");
    let server = TestServer::start_serving(|_, http| http.public_url = Some(public_url)).await;
    server.published("debian", "1", b"one").await;
    server.published("debian", "2", b"two").await;
    server.published("ubuntu", "1", b"three").await;
    let alias = server.write("PUT", "/v1/images/debian/aliases/latest", Some(json!({"version": "2"}))).await;
    assert!(alias.status.is_success(), "{alias:?}");
    server
}

/// Requests a URL that the server sent, as a proxy that removes the path forwards it, and as one that keeps it.
async fn follow(server: &TestServer, url: &str) -> TestResponse {
    let kept = url.strip_prefix("https://example.org").unwrap_or(url);
    let stripped = kept.strip_prefix(PREFIX).unwrap_or_else(|| panic!("{url} is not below {PREFIX}"));
    let response = server.write("GET", stripped, None).await;
    assert_eq!(response.status, 200, "{url}: {response:?}");
    assert_eq!(server.write("GET", kept, None).await.body, response.body, "{url}");
    response
}

#[tokio::test]
async fn every_url_in_a_response_is_below_the_public_path() {
    let server = below_a_path().await;
    for base in ["", PREFIX] {
        let listing = server.get(&format!("{base}/images/debian/latest")).await.json();
        for file in listing["files"].as_array().expect("files") {
            follow(&server, file["url"].as_str().expect("a URL")).await;
        }
        let name = listing["files"][0]["name"].as_str().expect("a name");
        let file = server.get(&format!("{base}/images/debian/latest/{name}")).await;
        assert_eq!(follow(&server, file.header("content-location")).await.body, b"two");
        let checksums = server.get(&format!("{base}/images/debian/latest/SHA256SUMS")).await;
        assert!(!String::from_utf8_lossy(&checksums.body).contains('/'), "names are relative to the checksums");

        let page = server.get(&format!("{base}/v1/images?limit=1")).await;
        let next = page.header("link").strip_prefix('<').and_then(|link| link.split_once(">; rel=\"next\""));
        let next = follow(&server, next.expect("a next page").0).await;
        assert_eq!(next.json()["images"][0]["name"], "ubuntu");

        let taken = server.write("POST", &format!("{base}/v1/images"), Some(json!({"name": "debian"}))).await;
        assert_eq!(taken.problem(), "name-taken");
        follow(&server, taken.json()["existing"]["url"].as_str().expect("a URL")).await;

        let streams = server.get(&format!("{base}/streams/v1/index.json")).await.json();
        assert_eq!(streams["index"]["images"]["path"], "streams/v1/images.json", "it is relative to the remote's URL");
    }
}

#[tokio::test]
async fn every_created_resource_is_located_below_the_public_path() {
    let server = below_a_path().await;
    let upload = json!({"expected_digest": imgsrv_testkit::digest(b"new"), "expected_size_bytes": 3});
    for (method, path, body) in [
        ("POST", "/v1/images", json!({"name": "fedora"})),
        ("POST", "/v1/images/fedora/versions", json!({"version": "1"})),
        ("POST", "/v1/uploads", upload),
    ] {
        let created = server.write(method, &format!("{PREFIX}{path}"), Some(body)).await;
        assert_eq!(created.status, 201, "{created:?}");
        follow(&server, created.header("location")).await;
    }
    let redirect = server.get(&format!("{PREFIX}/docs")).await;
    assert_eq!(redirect.header("location"), "/images-server/docs/");
    let script = server.get("/docs/swagger-initializer.js").await;
    assert!(String::from_utf8_lossy(&script.body).contains("\"/images-server/openapi/v1.json\""), "{script:?}");
    let document = follow(&server, "/images-server/openapi/v1.json").await.json();
    assert_eq!(document["servers"], json!([{"url": PUBLIC}]));
    let missing = server.get(&format!("{PREFIX}/v1/images/none")).await;
    assert_eq!(missing.problem(), "not-found");
    for path in [PREFIX, "/images-server/", "/images-server/none", "/images-server-2/v1/images"] {
        assert_eq!(server.get(path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn tus_uploads_are_located_by_the_public_url() {
    let server = below_a_path().await;
    for (version, base, bytes) in [("3", "", "abc"), ("4", PREFIX, "def")] {
        let intake = intake(&server, base, version).await;
        let id = id(&intake);
        let creation_url = format!("{PUBLIC}/api/uploads/tus/");
        assert_eq!(intake.json()["tus"]["creation_url"], creation_url);
        follow(&server, intake.header("location")).await;
        let metadata = format!("upload_session_id {}", STANDARD.encode(&id));
        let create = [("upload-length", "3"), ("upload-metadata", &*metadata)];
        let created = tus(&server, "POST", &format!("{base}/api/uploads/tus"), &create, "").await;
        assert_eq!(created.header("location"), format!("{creation_url}{id}"));
        let append = [("content-type", "application/offset+octet-stream"), ("upload-offset", "0")];
        let appended = tus(&server, "PATCH", &format!("{base}/api/uploads/tus/{id}/"), &append, bytes).await;
        assert_eq!(appended.status, 204, "{appended:?}");
        server.settle().await;
        let done: Value = server.write("GET", &format!("{base}/api/uploads/{id}"), None).await.json();
        assert_eq!(done["state"], "published");
        for url in ["job_url", "version_url"] {
            follow(&server, done[url].as_str().expect("a URL")).await;
        }
    }
}

#[tokio::test]
async fn repeated_slashes_are_folded_before_the_public_path_is_removed() {
    let server = below_a_path().await;
    for path in ["//images-server//images///debian//2//debian-2-amd64.qcow2", "//images//debian/2/debian-2-amd64.qcow2"]
    {
        let file = server.get(path).await;
        assert_eq!((file.status.as_u16(), file.body.as_slice()), (200, b"two".as_slice()), "{path}");
    }
    let options = tus(&server, "OPTIONS", "/images-server//api//uploads//tus", &[], "").await;
    assert_eq!((options.status.as_u16(), options.header("tus-version")), (204, "1.0.0"));
}

#[tokio::test]
async fn a_public_path_can_equal_the_beginning_of_a_route() {
    let public_url = "https://example.org/images".parse().expect("a URL");
    let server = TestServer::start_serving(|_, http| http.public_url = Some(public_url)).await;
    server.published("debian", "1", b"one").await;
    for base in ["", "/images"] {
        let listing = server.get(&format!("{base}/images/debian/1")).await.json();
        let url = listing["files"][0]["url"].as_str().expect("a URL");
        assert!(url.starts_with("/images/images/debian/1/"), "{url}");
        assert_eq!(server.get(url).await.body, b"one");
        assert_eq!(server.get(&url["/images".len()..]).await.body, b"one");
        assert_eq!(server.get(&format!("{base}/v1/images")).await.status, 200, "{base}");
    }
}
