//! The target of a request: its host, and the slashes of its path.

use axum::{
    body::Body,
    http::{Request, StatusCode, Version},
};
use imgsrv_testkit::{TestServer, qcow2};
use serde_json::json;

#[tokio::test]
async fn a_request_without_one_valid_host_is_a_problem() {
    let server = TestServer::start().await;
    let send = async |version: Version, uri: &str, hosts: &[&str]| {
        let mut request = Request::builder().version(version).uri(uri);
        for host in hosts {
            request = request.header("host", *host);
        }
        server.send_as_it_is(request.body(Body::empty()).expect("a request")).await
    };
    for (version, uri, hosts) in [
        (Version::HTTP_11, "/v1/images", &[][..]),
        (Version::HTTP_11, "/v1/images", &["a", "b"]),
        (Version::HTTP_11, "/v1/images", &["a b"]),
        (Version::HTTP_11, "/nothing", &[""]),
        (Version::HTTP_2, "/v1/images", &[]),
        (Version::HTTP_2, "https://a/v1/images", &["b"]),
    ] {
        let refused = send(version, uri, hosts).await;
        assert_eq!((refused.status, refused.problem().as_str()), (StatusCode::BAD_REQUEST, "invalid-request"));
        assert_eq!(refused.json()["errors"][0]["field"], "Host", "{version:?} {uri} {hosts:?}");
    }
    for (version, uri, hosts) in [
        (Version::HTTP_10, "/v1/images", &[][..]),
        (Version::HTTP_11, "/v1/images", &["images.example.org:8080"]),
        (Version::HTTP_2, "https://a/v1/images", &[]),
    ] {
        assert_eq!(send(version, uri, hosts).await.status, StatusCode::OK, "{version:?} {uri} {hosts:?}");
    }
}

#[tokio::test]
async fn repeated_slashes_in_a_path_do_not_count() {
    let server = TestServer::start().await;
    server.published("debian", "1", &qcow2(1)).await;
    for path in [
        "//images/debian/1/debian-1-amd64.qcow2",
        "/images//debian///1//debian-1-amd64.qcow2",
        "http://images.test//images/debian/1//debian-1-amd64.qcow2",
    ] {
        let response = server.get(path).await;
        assert_eq!((response.status, response.body), (StatusCode::OK, qcow2(1)), "{path}");
        assert_eq!(server.call(None, "HEAD", path, None).await.status, StatusCode::OK, "{path}");
    }
    for folder in ["/images/debian/1//", "//images//debian//1"] {
        assert_eq!(server.get(folder).await.json()["version"], "1", "{folder}");
    }
    let created = server.write("POST", "/v1//images", Some(json!({"name": "fedora"}))).await;
    assert_eq!(created.status, StatusCode::CREATED, "{created:?}");
    // The query is not folded.
    assert_eq!(server.get("//v1/images?cursor=a//b").await.problem(), "invalid-cursor");
    // Neither is an encoded slash.
    for path in ["/images/debian%2F1/", "/images%2F%2Fdebian/1/", "/%2Fimages/debian/1/"] {
        assert!(server.get(path).await.status.is_client_error(), "{path}");
    }
}

#[tokio::test]
async fn repeated_slashes_circumvent_no_permission() {
    let server = TestServer::start().await;
    let contract = server.get("/openapi/v1.json").await.json();
    for (path, methods) in contract["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            if operation["security"] != json!([{"bearer": []}]) || method == "head" {
                continue;
            }
            let path = path.replace(['{', '}'], "!").replace('/', "//");
            let refused = server.call(None, &method.to_uppercase(), &path, None).await;
            assert_eq!(refused.problem(), "unauthenticated", "{method} {path}");
        }
    }
}
