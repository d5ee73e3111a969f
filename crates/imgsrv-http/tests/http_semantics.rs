//! HTTP semantics of every route: problems, strict JSON, the order of checks, headers.

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use imgsrv_testkit::{TestResponse, TestServer, digest, qcow2};
use serde_json::json;

async fn raw(
    server: &TestServer,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> TestResponse {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    server.send(request.body(body.into()).expect("a request")).await
}

#[tokio::test]
async fn every_error_is_a_problem_document() {
    let server = TestServer::start().await;
    for (method, path, status, code) in [
        ("GET", "/", StatusCode::NOT_FOUND, "not-found"),
        ("GET", "/v1/nothing", StatusCode::NOT_FOUND, "not-found"),
        ("GET", "/v1/images/", StatusCode::NOT_FOUND, "not-found"),
        ("GET", "/v1/images/a%2Fb", StatusCode::BAD_REQUEST, "invalid-request"),
        ("GET", "/v1/images/a%00", StatusCode::BAD_REQUEST, "invalid-request"),
        ("GET", "/v1/images/a%0Ab", StatusCode::BAD_REQUEST, "invalid-request"),
        ("GET", "/v1/images/%ff", StatusCode::BAD_REQUEST, "invalid-request"),
        ("GET", "/v1/images/UPPER", StatusCode::BAD_REQUEST, "invalid-request"),
        ("GET", "/v1/images/debian/refs/_", StatusCode::BAD_REQUEST, "invalid-request"),
        ("GET", "/v1/images/debian", StatusCode::NOT_FOUND, "not-found"),
        ("GET", "/v1/blobs/sha256:00", StatusCode::BAD_REQUEST, "invalid-request"),
        ("GET", "/v1/images?limit=0", StatusCode::BAD_REQUEST, "invalid-request"),
        ("GET", "/v1/images?limit=1001", StatusCode::BAD_REQUEST, "invalid-request"),
        ("GET", "/v1/images?limit=1&limit=2", StatusCode::BAD_REQUEST, "invalid-request"),
        ("POST", "/healthz", StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed"),
    ] {
        let response = server.call(None, method, path, None).await;
        assert_eq!((response.status, response.problem().as_str()), (status, code), "{method} {path}");
        assert_eq!(response.header("cache-control"), "no-store");
        assert_eq!(response.json()["instance"], response.header("x-request-id"));
    }
    let long = format!("/v1/images/{}", "a".repeat(129));
    assert_eq!(server.get(&long).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_method_that_is_not_allowed_gets_the_allowed_ones() {
    let server = TestServer::start().await;
    for (method, path, allowed) in [
        ("DELETE", "/v1/images", "GET,HEAD,POST"),
        ("POST", "/v1/images/debian", "DELETE,GET,HEAD,PATCH"),
        ("GET", "/v1/images/debian/versions/1/publish", "POST"),
        ("OPTIONS", "/healthz", "GET,HEAD"),
    ] {
        // The method is checked before the bearer.
        let response = server.call(Some("nonsense"), method, path, None).await;
        assert_eq!(response.problem(), "method-not-allowed", "{method} {path}");
        let mut allow: Vec<&str> = response.header("allow").split(',').map(str::trim).collect();
        allow.sort_unstable();
        assert_eq!(allow.join(","), allowed);
    }
}

#[tokio::test]
async fn a_transfer_coding_other_than_chunked_is_501() {
    let server = TestServer::start().await;
    let bearer = format!("Bearer {}", server.writer);
    let send = async |codings: &[&str]| {
        let mut headers = vec![("authorization", bearer.as_str()), ("content-type", "application/json")];
        headers.extend(codings.iter().map(|coding| ("transfer-encoding", *coding)));
        raw(&server, "POST", "/v1/images", &headers, r#"{"name":"a"}"#).await
    };
    for codings in [&["gzip, chunked"][..], &["gzip", "chunked"], &["x,chunked"]] {
        let response = send(codings).await;
        assert_eq!((response.status.as_u16(), response.problem().as_str()), (501, "transfer-encoding"), "{codings:?}");
    }
    assert_eq!(send(&["Chunked"]).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn json_is_strict() {
    let server = TestServer::start().await;
    let bearer = format!("Bearer {}", server.writer);
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json; charset=utf-8")];
    for (body, code) in [
        (r#"{"name":"a","colour":"red"}"#.to_owned(), "invalid-json"),
        (r#"{"name":"a"} {"name":"b"}"#.to_owned(), "invalid-json"),
        (r#"{"name":"a","name":"b"}"#.to_owned(), "invalid-json"),
        (r#"{"name":1}"#.to_owned(), "invalid-json"),
        ("{}".to_owned(), "invalid-json"),
        ("[".repeat(100_000), "invalid-json"),
        (String::new(), "invalid-json"),
        (r#"{"name":"a/b"}"#.to_owned(), "invalid-request"),
        (r#"{"name":"a\u0000"}"#.to_owned(), "invalid-request"),
        ("{\"name\":\"a\",\"display_name\":\"x\u{202e}y\"}".to_owned(), "invalid-request"),
        (format!(r#"{{"name":"a","description":"{}"}}"#, "x".repeat(4097)), "invalid-request"),
        (format!(r#"{{"name":"a","description":"{}"}}"#, "x".repeat(2 << 20)), "body-too-large"),
    ] {
        let response = raw(&server, "POST", "/v1/images", &headers, body.clone()).await;
        assert_eq!(response.problem(), code, "{}", &body[..body.len().min(80)]);
    }
    let wrong = raw(&server, "POST", "/v1/images", &[headers[0], ("content-type", "text/plain")], "{}").await;
    assert_eq!(
        (wrong.status, wrong.problem().as_str()),
        (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type")
    );
    let several = raw(&server, "POST", "/v1/images", &headers, r#"{"name":"A","display_name":"x\u0007"}"#).await.json();
    let fields: Vec<_> =
        several["errors"].as_array().expect("errors").iter().map(|error| error["field"].clone()).collect();
    assert_eq!(fields, ["name", "display_name"]);
    assert_eq!(server.write("GET", "/v1/images?include_unpublished=true", None).await.json()["images"], json!([]));
}

#[tokio::test]
async fn integers_may_be_written_with_a_fraction_of_zero() {
    let server = TestServer::start().await;
    let bearer = format!("Bearer {}", server.writer);
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let body = |size: &str| format!(r#"{{"expected_digest":"{}","expected_size_bytes":{size}}}"#, digest(b"one"));
    let opened = raw(&server, "POST", "/v1/uploads", &headers, body("3.0")).await;
    assert_eq!((opened.status, &opened.json()["expected_size_bytes"]), (StatusCode::CREATED, &json!(3)));
    let refused = raw(&server, "POST", "/v1/uploads", &headers, body("3.5")).await;
    assert_eq!((refused.status, refused.problem().as_str()), (StatusCode::BAD_REQUEST, "invalid-json"));
}

#[tokio::test]
async fn every_operation_refuses_an_invalid_bearer_and_guarded_ones_a_missing_one() {
    let server = TestServer::start_serving(|_, http| http.auth_failure_limit = None).await;
    let contract = server.get("/openapi/v1.json").await.json();
    let mut operations = 0;
    for (path, methods) in contract["paths"].as_object().expect("paths") {
        if path.starts_with("/f/") || path.starts_with("/t/") {
            // The path is the credential, and no other one is read.
            continue;
        }
        for (method, operation) in methods.as_object().expect("methods") {
            // Neither path nor body is valid: the bearer is checked first.
            let path = path.replace(['{', '}'], "!");
            let method = method.to_uppercase();
            // A response to HEAD has no body, so only its status can be checked.
            let is = |response: &TestResponse, status: StatusCode, problem: &str| {
                assert_eq!(response.status, status, "{method} {path}");
                assert!(method == "HEAD" || response.problem() == problem, "{method} {path}: {response:?}");
            };
            let bad = server.call(Some("imgsrv_at_nonsense"), &method, &path, None).await;
            is(&bad, StatusCode::UNAUTHORIZED, "invalid-bearer");
            assert!(bad.header("www-authenticate").starts_with("Bearer"));
            if operation["security"] == json!([{"bearer": []}]) {
                let missing = server.call(None, &method, &path, None).await;
                is(&missing, StatusCode::UNAUTHORIZED, "unauthenticated");
                assert_eq!(missing.header("www-authenticate"), "Bearer");
                let is_managed = path.starts_with("/v1/auth") || path == "/v1/audit";
                let other = if is_managed { &server.writer } else { &server.manager };
                if path == "/v1/auth/whoami" {
                    assert_eq!(server.call(Some(other), &method, &path, None).await.status, StatusCode::OK);
                    continue;
                }
                let forbidden = server.call(Some(other), &method, &path, None).await;
                is(&forbidden, StatusCode::FORBIDDEN, "forbidden");
            }
            operations += 1;
        }
    }
    assert!(operations > 35, "{operations}");
}

#[tokio::test]
async fn failed_bearers_are_limited_per_address_and_valid_ones_are_not() {
    let server = TestServer::start().await;
    for _ in 0..50 {
        assert_eq!(server.call(Some("x"), "GET", "/healthz", None).await.status, StatusCode::UNAUTHORIZED);
    }
    let limited = server.call(Some("x"), "GET", "/healthz", None).await;
    assert_eq!((limited.status, limited.problem().as_str()), (StatusCode::TOO_MANY_REQUESTS, "too-many-failures"));
    assert_eq!(limited.header("retry-after"), "60");
    assert_eq!(server.write("GET", "/v1/images?include_unpublished=true", None).await.status, StatusCode::OK);
}

#[tokio::test]
async fn catalog_documents_carry_validators_and_cross_origin_headers() {
    let server = TestServer::start().await;
    server.published("debian", "1", &qcow2(1)).await;
    let response = server.get("/v1/images").await;
    assert_eq!(response.header("cache-control"), "no-cache");
    assert_eq!(response.header("vary"), "Authorization");
    assert_eq!(response.header("access-control-allow-origin"), "*");
    let etag = response.header("etag").to_owned();
    let cached = raw(&server, "GET", "/v1/images", &[("if-none-match", &etag)], "").await;
    assert_eq!((cached.status, cached.body.len(), cached.header("etag")), (StatusCode::NOT_MODIFIED, 0, etag.as_str()));
    let written = server.write("GET", "/v1/images", None).await;
    assert_eq!(written.header("access-control-allow-origin"), "");
    let head = server.call(None, "HEAD", "/v1/images", None).await;
    assert_eq!((head.status, head.body.len(), head.header("etag")), (StatusCode::OK, 0, etag.as_str()));
    assert_eq!(head.header("content-length"), response.body.len().to_string());
    let head = server.call(None, "HEAD", "/v1/nothing", None).await;
    assert_eq!((head.status, head.body.len()), (StatusCode::NOT_FOUND, 0));
}

#[tokio::test]
async fn an_acceptable_request_id_is_kept_and_another_is_replaced() {
    let server = TestServer::start().await;
    let kept = raw(&server, "GET", "/healthz", &[("x-request-id", "ci-run/42")], "").await;
    assert_eq!(kept.header("x-request-id"), "ci-run/42");
    let token = server.writer.as_str();
    for odd in [token, "a b", "", &"x".repeat(129), "\"quoted\""] {
        let replaced = raw(&server, "GET", "/healthz", &[("x-request-id", odd)], "").await;
        assert_eq!(replaced.header("x-request-id").len(), 36, "{odd:?}");
    }
}

#[tokio::test]
async fn oversized_headers_are_refused() {
    let server = TestServer::start().await;
    let long = raw(&server, "GET", "/healthz", &[("x-long", &"x".repeat(33 << 10))], "").await;
    let names: Vec<String> = (0..65).map(|number| format!("x-{number}")).collect();
    let fields: Vec<_> = names.iter().map(|name| (name.as_str(), "")).collect();
    for refused in [long, raw(&server, "GET", "/healthz", &fields, "").await] {
        assert_eq!(
            (refused.status, refused.problem().as_str()),
            (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "headers-too-large")
        );
    }
}

#[tokio::test]
async fn health_and_readiness_are_reported() {
    let server = TestServer::start().await;
    assert_eq!(server.get("/healthz").await.status, StatusCode::NO_CONTENT);
    assert_eq!(server.get("/readyz").await.status, StatusCode::NO_CONTENT);
    std::fs::remove_dir_all(server.storage()).expect("removed");
    let response = server.get("/readyz").await;
    assert_eq!((response.status, response.problem().as_str()), (StatusCode::SERVICE_UNAVAILABLE, "unavailable"));
    assert_eq!(response.json()["errors"][0]["field"], "blob store");
    assert_eq!(server.get("/healthz").await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn readiness_reports_that_the_catalog_was_removed_or_replaced_until_it_is_back() {
    let server = TestServer::start().await;
    let (file, aside) = (server.catalog_file(), server.catalog_file().with_extension("aside"));
    let is_replaced = async || {
        let response = server.get("/readyz").await;
        assert_eq!((response.status, response.problem().as_str()), (StatusCode::SERVICE_UNAVAILABLE, "unavailable"));
        let expected = json!([{"field": "catalog", "reason": "its file was removed or replaced"}]);
        assert_eq!(response.json()["errors"], expected);
        let refused = server.write("POST", "/v1/images", Some(json!({"name": "lost"}))).await;
        assert_eq!((refused.status, refused.problem().as_str()), (StatusCode::SERVICE_UNAVAILABLE, "unavailable"));
        assert_eq!(server.get("/v1/images").await.status, StatusCode::OK);
    };
    std::fs::rename(&file, &aside).expect("renamed");
    is_replaced().await;
    std::fs::copy(&aside, &file).expect("copied");
    is_replaced().await;
    std::fs::rename(&aside, &file).expect("renamed");
    assert_eq!(server.get("/readyz").await.status, StatusCode::NO_CONTENT);
    let kept = server.write("POST", "/v1/images", Some(json!({"name": "kept"}))).await;
    assert_eq!(kept.status, StatusCode::CREATED);
    std::fs::remove_file(&file).expect("removed");
    is_replaced().await;
}

#[tokio::test]
async fn the_openapi_document_and_its_browser_are_served() {
    let server = TestServer::start().await;
    let yaml = server.get("/openapi/v1.yaml").await;
    assert_eq!(yaml.header("content-type"), "application/yaml");
    assert!(String::from_utf8_lossy(&yaml.body).starts_with("openapi: 3.1.0"));
    let page = server.get("/docs/").await;
    assert_eq!(page.status, StatusCode::OK);
    let html = String::from_utf8_lossy(&page.body).into_owned();
    assert!(html.contains("swagger-ui") && !html.contains("://"), "{html}");
    let setup = server.get("/docs/swagger-initializer.js").await.body;
    let setup = String::from_utf8_lossy(&setup).into_owned();
    assert!(setup.contains("/openapi/v1.json") && setup.contains("\"validatorUrl\": \"none\""), "{setup}");
    // The page shows the description.
    let description = server.get("/openapi/v1.json").await.json()["info"]["description"].clone();
    let version = format!("imgsrv {}", env!("CARGO_PKG_VERSION"));
    assert!(description.as_str().is_some_and(|text| text.contains(&version)), "{description}");
}

#[tokio::test]
async fn failed_bearers_through_a_trusted_proxy_count_against_the_client() {
    let server = TestServer::start_serving(|_, http| {
        http.auth_failure_limit = Some(2);
        http.trusted_proxies = vec!["10.0.0.0/8".parse().expect("a network")];
    })
    .await;
    let from = async |peer: &str, forwarded: &str| {
        let request = Request::builder().uri("/healthz").header("authorization", "Bearer x");
        let request = request.header("x-forwarded-for", forwarded);
        let request = request.extension(imgsrv_http::PeerAddress(peer.parse().expect("an address")));
        server.send(request.body(Body::empty()).expect("a request")).await.status
    };
    for (peer, forwarded, status) in [
        ("10.0.0.1", "192.0.2.1", StatusCode::UNAUTHORIZED),
        ("10.0.0.1", "192.0.2.1", StatusCode::UNAUTHORIZED),
        ("10.0.0.2", "192.0.2.1", StatusCode::TOO_MANY_REQUESTS),
        ("10.0.0.1", "192.0.2.2", StatusCode::UNAUTHORIZED),
        // A peer that is not a trusted proxy cannot choose its address.
        ("198.51.100.1", "192.0.2.3", StatusCode::UNAUTHORIZED),
        ("198.51.100.1", "192.0.2.4", StatusCode::UNAUTHORIZED),
        ("198.51.100.1", "192.0.2.5", StatusCode::TOO_MANY_REQUESTS),
        ("2001:db8:0:1::1", "", StatusCode::UNAUTHORIZED),
        ("2001:db8:0:1::2", "", StatusCode::UNAUTHORIZED),
        ("2001:db8:0:1::3", "", StatusCode::TOO_MANY_REQUESTS),
    ] {
        assert_eq!(from(peer, forwarded).await, status, "{peer} {forwarded}");
    }
}
