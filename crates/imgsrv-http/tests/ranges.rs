//! Preconditions and several ranges, on every route that serves bytes.

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use imgsrv_testkit::{TestResponse, TestServer, digest, qcow2};
use serde_json::json;

async fn get(server: &TestServer, method: &str, path: &str, headers: &[(&str, &str)]) -> TestResponse {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    server.send(request.body(Body::empty()).expect("a request")).await
}

/// A published version with an attachment and an alias, and the paths of all of its bytes.
async fn site() -> (TestServer, Vec<String>) {
    let server = TestServer::start().await;
    let bytes = qcow2(1);
    let artifact = server.draft("debian", "1", &bytes).await;
    let sbom = server.blob(b"an SBOM").await;
    let url = format!("/v1/images/debian/versions/1/artifacts/{artifact}");
    let body =
        json!({"name": "sbom.json", "media_type": "application/spdx+json", "blob_digest": sbom, "blob_size_bytes": 7});
    let attachment = server.write("POST", &format!("{url}/attachments"), Some(body)).await.json();
    server.write("POST", "/v1/images/debian/versions/1/publish", None).await;
    server.settle().await;
    let set = server.write("PUT", "/v1/images/debian/aliases/latest", Some(json!({"version": "1"}))).await;
    assert_eq!(set.status, StatusCode::OK, "{set:?}");
    let attachment = attachment["id"].as_str().expect("an id");
    let digest = digest(&bytes);
    let paths = vec![
        format!("{url}/download"),
        format!("{url}/attachments/{attachment}/download"),
        format!("/v1/blobs/{digest}"),
        format!("/cas/sha256/{}/{}", &digest[7..9], &digest[7..]),
        "/images/debian/1/debian-1-amd64.qcow2".to_owned(),
        "/images/debian/1/debian-1-amd64.qcow2.sbom.json".to_owned(),
        "/images/debian/1/debian-1-amd64.qcow2.sha256".to_owned(),
        "/images/debian/1/SHA256SUMS".to_owned(),
        "/images/debian/latest/debian-amd64.qcow2".to_owned(),
        "/images/debian/latest/SHA256SUMS".to_owned(),
        "/images/debian/latest/versioned/SHA256SUMS".to_owned(),
    ];
    (server, paths)
}

const OTHER_TAG: &str = "\"sha256:0000000000000000000000000000000000000000000000000000000000000000\"";
const LONG_AGO: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

#[tokio::test]
async fn bytes_that_are_not_the_required_ones_are_refused() {
    let (server, paths) = site().await;
    for path in paths {
        let whole = server.get(&path).await;
        let (etag, modified) = (whole.header("etag").to_owned(), whole.header("last-modified").to_owned());
        assert!(!modified.is_empty(), "{path}");
        for method in ["GET", "HEAD"] {
            for refused in [
                &[("if-match", OTHER_TAG)][..],
                &[("if-match", &format!("W/{etag}"))],
                &[("if-unmodified-since", LONG_AGO)],
                // The precondition comes before the range and before If-None-Match.
                &[("if-match", OTHER_TAG), ("range", "bytes=999999999-")],
                &[("if-match", OTHER_TAG), ("if-none-match", &etag)],
            ] {
                let response = get(&server, method, &path, refused).await;
                assert_eq!(response.status, StatusCode::PRECONDITION_FAILED, "{method} {path} {refused:?}");
                assert!(method == "HEAD" || response.problem() == "precondition-failed", "{path}");
            }
            for passed in [
                [("if-match", etag.as_str()), ("range", "bytes=0-1")],
                [("if-match", "*"), ("range", "bytes=0-1")],
                [("if-unmodified-since", &modified), ("range", "bytes=0-1")],
                [("if-match", &format!("{OTHER_TAG}, {etag}")), ("if-unmodified-since", LONG_AGO)],
            ] {
                let response = get(&server, method, &path, &passed).await;
                assert!(response.status.is_success(), "{method} {path} {passed:?}: {response:?}");
                let is_partial = method == "GET" && passed[1].0 == "range";
                assert_eq!(response.status == StatusCode::PARTIAL_CONTENT, is_partial, "{method} {path} {passed:?}");
            }
        }
    }
}

#[tokio::test]
async fn authorization_and_existence_are_checked_before_preconditions() {
    let server = TestServer::start().await;
    let bytes = qcow2(1);
    server.draft("debian", "1", &bytes).await;
    let condition = [("if-match", OTHER_TAG)];
    let private = get(&server, "GET", &format!("/v1/blobs/{}", digest(&bytes)), &condition).await;
    assert_eq!(private.problem(), "not-found");
    let missing = get(&server, "GET", "/images/debian/1/SHA256SUMS", &condition).await;
    assert_eq!(missing.problem(), "not-found");
    let bad = [("authorization", "Bearer x"), condition[0]];
    assert_eq!(get(&server, "GET", "/images/debian/1/SHA256SUMS", &bad).await.problem(), "invalid-bearer");
}

#[tokio::test]
async fn documents_that_are_not_the_required_ones_are_refused() {
    let (server, _) = site().await;
    for path in [
        "/streams/v1/index.json",
        "/streams/v1/images.json",
        "/v1/images",
        "/images/debian/latest/",
        "/v1/images/debian/aliases/latest",
    ] {
        let whole = server.get(path).await;
        let refused = get(&server, "GET", path, &[("if-match", OTHER_TAG)]).await;
        assert_eq!(refused.problem(), "precondition-failed", "{path}");
        let passed = get(&server, "GET", path, &[("if-match", whole.header("etag"))]).await;
        assert_eq!((passed.status, passed.body), (StatusCode::OK, whole.body), "{path}");
    }
}

/// The parts of a multipart body: each with its headers and its bytes.
fn parts(response: &TestResponse) -> Vec<(String, Vec<u8>)> {
    let boundary = response.header("content-type").strip_prefix("multipart/byteranges; boundary=").expect("a boundary");
    let delimiter = format!("\r\n--{boundary}").into_bytes();
    let mut ends = Vec::new();
    for at in 0..response.body.len() {
        if response.body[at..].starts_with(&delimiter) {
            ends.push(at);
        }
    }
    assert_eq!(ends.first(), Some(&0), "{response:?}");
    let (last, _) = ends.split_last().map(|(last, all)| (*last, all)).expect("an end");
    assert_eq!(response.body[last..], [&delimiter[..], b"--\r\n"].concat());
    let part = |pair: &[usize]| {
        let part = &response.body[pair[0] + delimiter.len() + 2..pair[1]];
        let head = part.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
        (String::from_utf8_lossy(&part[..head]).into_owned(), part[head + 4..].to_vec())
    };
    ends.windows(2).map(part).collect()
}

#[tokio::test]
async fn several_ranges_are_served_in_one_response() {
    let (server, paths) = site().await;
    for path in paths {
        let whole = server.get(&path).await;
        let (etag, size) = (whole.header("etag").to_owned(), whole.body.len());
        for (requested, expected) in [
            ("bytes=0-0,2-3", vec![(0, 1), (2, 4)]),
            ("bytes=4-,0-1", vec![(4, size), (0, 2)]),
            ("bytes=0-1,2-3,4-4,-1", vec![(0, 2), (2, 4), (4, 5), (size - 1, size)]),
            ("bytes=0-0,999999999-,2-2", vec![(0, 1), (2, 3)]),
        ] {
            let response = get(&server, "GET", &path, &[("range", requested), ("if-range", &etag)]).await;
            assert_eq!(response.status, StatusCode::PARTIAL_CONTENT, "{path} {requested}: {response:?}");
            assert_eq!((response.header("content-range"), response.header("etag")), ("", etag.as_str()));
            assert_eq!(response.header("content-length"), response.body.len().to_string(), "{path}");
            assert_eq!(response.header("repr-digest"), whole.header("repr-digest"));
            let served = parts(&response);
            assert_eq!(served.len(), expected.len(), "{path} {requested}");
            for ((head, bytes), (start, end)) in served.into_iter().zip(expected) {
                let media_type = whole.header("content-type");
                let content_range = format!("bytes {start}-{}/{size}", end - 1);
                assert_eq!(head, format!("Content-Type: {media_type}\r\nContent-Range: {content_range}"), "{path}");
                assert_eq!(bytes, &whole.body[start..end], "{path} {requested}");
            }
        }
        for ignored in [
            &[("range", "bytes=0-1,1-2")][..],
            &[("range", "bytes=0-1,3-x")],
            &[("range", "bytes=0-0,2-3"), ("if-range", OTHER_TAG)],
            &[("range", "bytes=0-0"), ("range", "bytes=2-3")],
        ] {
            let response = get(&server, "GET", &path, ignored).await;
            assert_eq!((response.status, &response.body), (StatusCode::OK, &whole.body), "{path} {ignored:?}");
        }
        let one = get(&server, "GET", &path, &[("range", "bytes=0-1,999999999-")]).await;
        assert_eq!((one.status, one.body.as_slice()), (StatusCode::PARTIAL_CONTENT, &whole.body[..2]));
        assert_eq!(one.header("content-range"), format!("bytes 0-1/{size}"));
        let head = get(&server, "HEAD", &path, &[("range", "bytes=0-0,2-3")]).await;
        assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
        assert_eq!(head.header("content-length"), size.to_string());
    }
}

#[tokio::test]
async fn too_many_ranges_get_the_whole_file() {
    let server = TestServer::start().await;
    let bytes: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    let artifact = server.published("debian", "1", &bytes).await;
    let path = format!("/v1/images/debian/versions/1/artifacts/{artifact}/download");
    let header = |count: usize| {
        let ranges: Vec<_> = (0..count).map(|at| format!("{}-{}", at * 10_000, at * 10_000 + 4095)).collect();
        format!("bytes={}", ranges.join(", "))
    };
    let most = get(&server, "GET", &path, &[("range", &header(20))]).await;
    let served = parts(&most);
    assert_eq!((most.status, served.len()), (StatusCode::PARTIAL_CONTENT, 20));
    for (at, (_, part)) in served.iter().enumerate() {
        assert_eq!(part, &bytes[at * 10_000..at * 10_000 + 4096]);
    }
    let more = get(&server, "GET", &path, &[("range", &header(21))]).await;
    assert_eq!((more.status, more.body), (StatusCode::OK, bytes));
}

#[tokio::test]
async fn a_damaged_blob_is_a_problem_also_when_several_ranges_are_requested() {
    let server = TestServer::start().await;
    let artifact = server.published("debian", "1", &qcow2(1)).await;
    let file = server.stored_files().into_iter().find(|file| file.starts_with("cas/")).expect("a blob");
    std::fs::remove_file(server.storage().join(file)).expect("removed");
    let path = format!("/v1/images/debian/versions/1/artifacts/{artifact}/download");
    assert_eq!(get(&server, "GET", &path, &[("range", "bytes=0-0,2-3")]).await.problem(), "blob-quarantined");
}
