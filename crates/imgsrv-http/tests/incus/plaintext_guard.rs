//! Plaintext requests on a TLS port.

use crate::support::released;
use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use imgsrv_http::Transport;
use imgsrv_testkit::{TestResponse, TestServer, qcow2};
use serde_json::json;

async fn ask(server: &TestServer, method: &str, path: &str, authorization: Option<&str>) -> TestResponse {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    let mut request = request.body(Body::empty()).expect("a request");
    request.extensions_mut().insert(Transport::PlaintextOnTlsPort);
    server.send(request).await
}

#[tokio::test]
async fn files_are_served_in_plaintext_and_any_other_request_is_refused_before_its_body_is_read() {
    let server = TestServer::start().await;
    released(&server, "debian", "1", &qcow2(1)).await;
    let file = "/images/debian/1/debian-1-x86_64.qcow2";
    let response = ask(&server, "GET", file, None).await;
    assert_eq!((response.status, response.body.len()), (StatusCode::OK, qcow2(1).len()));
    assert_eq!(ask(&server, "HEAD", file, None).await.status, StatusCode::OK);
    // Clients encode the characters of versions as they please.
    released(&server, "debian", "2~rc1^3", &qcow2(2)).await;
    for version in ["2~rc1%5E3", "2%7Erc1%5e3", "2~rc1^3"] {
        let file = format!("/images/debian/{version}/debian-{version}-x86_64.qcow2");
        assert_eq!(ask(&server, "GET", &file, None).await.status, StatusCode::OK, "{version}");
    }
    // A server without an authority.
    let authority = ask(&server, "GET", "/ca.pem", None).await;
    assert_eq!((authority.status, authority.problem().as_str()), (StatusCode::NOT_FOUND, "not-found"));
    for (method, path) in [
        ("GET", "/streams/v1/index.json"),
        ("GET", "/v1/images"),
        ("GET", "/healthz"),
        ("GET", "/images/debian/1"),
        ("POST", "/v1/uploads"),
        ("PUT", file),
        ("POST", "/ca.pem"),
        ("GET", "/ca.pem/"),
        ("GET", "/ca%2epem"),
        ("GET", "/images/debian/1/more/of/it"),
        ("GET", "/images/debian/1/"),
        ("GET", "/images/debian/1/SHA256SUMS"),
        ("GET", "/images/debian/1/%53HA256SUMS"),
        ("GET", "/images/debian/1/SHA256SUM%%5E53"),
        ("GET", "/images/debian/1/debian-1-x86_64.qcow2.sha256"),
    ] {
        let refused = ask(&server, method, path, None).await;
        assert_eq!((refused.status, refused.problem().as_str()), (StatusCode::BAD_REQUEST, "https-required"), "{path}");
        assert_eq!(refused.header("connection"), "close");
    }
}

#[tokio::test]
async fn a_credential_in_plaintext_is_refused_and_a_live_token_is_recorded() {
    let server = TestServer::start().await;
    released(&server, "debian", "1", &qcow2(1)).await;
    let file = "/images/debian/1/debian-1-x86_64.qcow2";
    let basic = |password: &str| format!("Basic {}", STANDARD.encode(format!("user:{password}")));
    let exposed = async || {
        let rows = server.manage("GET", "/v1/audit?action=token.exposed", None).await.json();
        rows["entries"].as_array().expect("entries").len()
    };
    for (authorization, recorded) in [
        (basic("hunter2"), 0),
        ("Bearer imgsrv_at_nonsense".to_owned(), 0),
        ("Negotiate x".to_owned(), 0),
        (format!("Bearer {}", server.writer), 1),
        (basic(&server.writer), 1),
        (format!("Token {}", server.manager), 2),
    ] {
        let refused = ask(&server, "GET", file, Some(&authorization)).await;
        assert_eq!((refused.status, refused.problem().as_str()), (StatusCode::BAD_REQUEST, "credential-in-clear"));
        assert_eq!(exposed().await, recorded, "{authorization}");
    }
    server.clock.advance(std::time::Duration::from_mins(2));
    let as_user = format!("Basic {}", STANDARD.encode(format!("{}:", server.writer)));
    ask(&server, "GET", file, Some(&as_user)).await;
    assert_eq!(exposed().await, 3);
    // Revoking it is left to the manager.
    assert_eq!(server.write("POST", "/v1/images", Some(json!({"name": "still"}))).await.status, StatusCode::CREATED);
}
