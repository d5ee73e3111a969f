//! Downloads.

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use futures::TryStreamExt;
use imgsrv_app::{Caller, FileContent, NamesUnderAlias, RequestContext};
use imgsrv_testkit::{TestResponse, TestServer, digest, qcow2};
use serde_json::json;

async fn get(server: &TestServer, method: &str, path: &str, headers: &[(&str, &str)]) -> TestResponse {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    server.send(request.body(Body::empty()).expect("a request")).await
}

#[tokio::test]
async fn all_download_routes_behave_alike() {
    let server = TestServer::start().await;
    let bytes = qcow2(1);
    let artifact = server.draft("debian", "1", &bytes).await;
    let sbom = server.blob(b"an SBOM").await;
    let version = "/v1/images/debian/versions/1";
    let attachment =
        json!({"name": "sbom.json", "media_type": "application/spdx+json", "blob_digest": sbom, "blob_size_bytes": 7});
    let attachment =
        server.write("POST", &format!("{version}/artifacts/{artifact}/attachments"), Some(attachment)).await.json();
    server.write("POST", &format!("{version}/publish"), None).await;
    server.settle().await;
    let attachment = attachment["id"].as_str().expect("an id");
    let whole = digest(&bytes);
    for (path, body, media_type, cache, name) in [
        (
            format!("/v1/blobs/{whole}"),
            bytes.as_slice(),
            "application/octet-stream",
            "public, max-age=86400, immutable",
            &whole[7..],
        ),
        (
            format!("{version}/artifacts/{artifact}/download"),
            &bytes,
            "application/x-qemu-disk",
            "public, max-age=300, must-revalidate",
            "debian-1-amd64.qcow2",
        ),
        (
            format!("{version}/artifacts/{artifact}/attachments/{attachment}/download"),
            b"an SBOM",
            "application/spdx+json",
            "public, max-age=300, must-revalidate",
            "sbom.json",
        ),
    ] {
        let response = get(&server, "GET", &path, &[]).await;
        assert_eq!((response.status, response.body.as_slice()), (StatusCode::OK, body), "{path}");
        let etag = format!("\"{}\"", digest(body));
        for (header, value) in [
            ("etag", etag.as_str()),
            ("content-type", media_type),
            ("cache-control", cache),
            ("accept-ranges", "bytes"),
            ("x-content-type-options", "nosniff"),
            ("content-security-policy", "sandbox"),
            ("content-disposition", &format!("attachment; filename=\"{name}\"")),
            ("content-length", &body.len().to_string()),
        ] {
            assert_eq!(response.header(header), value, "{path} {header}");
        }
        assert!(response.header("repr-digest").starts_with("sha-256=:"));
        let modified = response.header("last-modified").to_owned();

        let head = get(&server, "HEAD", &path, &[("range", "bytes=0-0")]).await;
        assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
        assert_eq!(head.header("content-length"), body.len().to_string());

        let part = get(&server, "GET", &path, &[("range", "bytes=1-3"), ("if-range", &etag)]).await;
        assert_eq!((part.status, part.body.as_slice()), (StatusCode::PARTIAL_CONTENT, &body[1..4]));
        assert_eq!(part.header("content-range"), format!("bytes 1-3/{}", body.len()));
        let tail = get(&server, "GET", &path, &[("range", "bytes=-2")]).await;
        assert_eq!(tail.body, &body[body.len() - 2..]);
        for refused in ["bytes=999999999-", "bytes=999999998-999999999,-0"] {
            let response = get(&server, "GET", &path, &[("range", refused)]).await;
            assert_eq!(
                (response.status, response.problem().as_str()),
                (StatusCode::RANGE_NOT_SATISFIABLE, "range-not-satisfiable")
            );
            assert_eq!(response.header("content-range"), format!("bytes */{}", body.len()));
        }
        for condition in [("if-none-match", etag.as_str()), ("if-modified-since", modified.as_str())] {
            let response = get(&server, "GET", &path, &[condition]).await;
            assert_eq!(
                (response.status, response.body.len(), response.header("etag")),
                (StatusCode::NOT_MODIFIED, 0, etag.as_str())
            );
        }
    }
}

#[tokio::test]
async fn a_blob_is_private_until_a_published_version_refers_to_it() {
    let server = TestServer::start().await;
    let bytes = qcow2(1);
    let path = format!("/v1/blobs/{}", digest(&bytes));
    let artifact = server.draft("debian", "1", &bytes).await;
    assert_eq!(server.get(&path).await.status, StatusCode::NOT_FOUND);
    let private = server.write("GET", &path, None).await;
    assert_eq!(
        (private.body.as_slice(), private.header("cache-control")),
        (bytes.as_slice(), "private, max-age=86400, immutable")
    );
    assert_eq!(server.manage("GET", &path, None).await.status, StatusCode::NOT_FOUND);
    let download = format!("/v1/images/debian/versions/1/artifacts/{artifact}/download");
    assert_eq!(server.write("GET", &download, None).await.status, StatusCode::NOT_FOUND);
    server.write("POST", "/v1/images/debian/versions/1/publish", None).await;
    server.settle().await;
    assert_eq!(server.get(&path).await.body, bytes);
}

#[tokio::test]
async fn a_damaged_blob_is_quarantined_and_replaced_by_another_upload() {
    let server = TestServer::start().await;
    let bytes = qcow2(1);
    let artifact = server.published("debian", "1", &bytes).await;
    let path = format!("/v1/images/debian/versions/1/artifacts/{artifact}/download");
    let file = server.stored_files().into_iter().find(|file| file.starts_with("cas/")).expect("a blob");
    let file = server.storage().join(file);
    let mut permissions = std::fs::metadata(&file).expect("metadata").permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o644);
    std::fs::set_permissions(&file, permissions).expect("writable");
    std::fs::write(&file, b"cut").expect("damaged");
    assert_eq!(server.get(&path).await.problem(), "blob-quarantined");
    let refused = server.get(&path).await;
    assert_eq!((refused.status, refused.problem()), (StatusCode::SERVICE_UNAVAILABLE, "blob-quarantined".to_owned()));
    assert_eq!(refused.header("retry-after"), "");
    assert_eq!(server.call(None, "HEAD", &path, None).await.status, StatusCode::SERVICE_UNAVAILABLE);
    server.blob(&bytes).await;
    assert_eq!(server.get(&path).await.body, bytes);
}

#[tokio::test]
async fn a_file_that_was_found_before_its_blob_was_replaced_is_served() {
    let server = TestServer::start().await;
    let bytes = qcow2(1);
    server.published("debian", "1", &bytes).await;
    let (image, version) = ("debian".parse().expect("a name"), "1".parse().expect("a name"));
    let delivery = server.services.delivery();
    let found = delivery
        .named_file(
            &Caller::anonymous(RequestContext::default()),
            &image,
            &version,
            NamesUnderAlias::Short,
            &"debian-1-amd64.qcow2".parse().expect("a name"),
        )
        .await;
    let FileContent::Stored(found) = found.expect("a file").content else { panic!("it is stored") };
    let file = server.stored_files().into_iter().find(|file| file.starts_with("cas/")).expect("a blob");
    std::fs::remove_file(server.storage().join(file)).expect("removed");
    let path = format!("/v1/blobs/{}", digest(&bytes));
    assert_eq!(server.get(&path).await.problem(), "blob-quarantined");
    server.blob(&bytes).await;
    let opened = delivery.open(&found, 0..bytes.len() as u64).await.expect("the replacement");
    let served: Vec<_> = opened.try_collect().await.expect("its bytes");
    assert_eq!(served.concat(), bytes);
}
