//! Basic credentials, for clients that cannot send a bearer: where they are accepted, and where they are refused.

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use imgsrv_http::{PeerAddress, Transport};
use imgsrv_testkit::{TestResponse, TestServer, qcow2};
use std::time::Duration;

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// How a request is sent.
#[derive(Debug, Clone, Copy)]
enum Way {
    Tls,
    PlaintextOnTlsPort,
    /// Plaintext from an address, with `X-Forwarded-Proto` if it is not empty.
    Plaintext(&'static str, &'static str),
}

async fn ask(server: &TestServer, way: Way, method: &str, path: &str, authorization: Option<&str>) -> TestResponse {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    if let Way::Plaintext(_, protocol) = way
        && !protocol.is_empty()
    {
        request = request.header("x-forwarded-proto", protocol);
    }
    let mut request = request.body(Body::empty()).expect("a request");
    let (transport, peer) = match way {
        Way::Tls => (Transport::Tls, "192.0.2.1"),
        Way::PlaintextOnTlsPort => (Transport::PlaintextOnTlsPort, "127.0.0.1"),
        Way::Plaintext(peer, _) => (Transport::Plaintext, peer),
    };
    request.extensions_mut().insert(transport);
    request.extensions_mut().insert(PeerAddress(peer.parse().expect("an address")));
    server.send(request).await
}

async fn exposed(server: &TestServer) -> Vec<String> {
    let rows = server.manage("GET", "/v1/audit?action=token.exposed", None).await.json();
    let rows = rows["entries"].as_array().expect("entries").clone();
    rows.iter().map(|row| row["detail"].as_str().expect("a detail").to_owned()).collect()
}

#[tokio::test]
async fn basic_is_accepted_for_reads_that_nobody_else_can_have_read() {
    let server = TestServer::start_serving(|_, http| {
        http.trusted_proxies = vec!["10.0.0.0/8".parse().expect("a network")];
    })
    .await;
    server.draft("debian", "1", &qcow2(1)).await;
    let draft = "/v1/images/debian/versions/1";
    let credential = basic("anybody", &server.writer);
    for (way, status, problem) in [
        (Way::Tls, StatusCode::OK, ""),
        (Way::Plaintext("127.0.0.1", ""), StatusCode::OK, ""),
        (Way::Plaintext("10.0.0.1", "https"), StatusCode::OK, ""),
        (Way::Plaintext("10.0.0.1", "http"), StatusCode::BAD_REQUEST, "credential-in-clear"),
        (Way::Plaintext("10.0.0.1", ""), StatusCode::BAD_REQUEST, "credential-in-clear"),
        (Way::Plaintext("192.0.2.1", "https"), StatusCode::BAD_REQUEST, "credential-in-clear"),
        (Way::Plaintext("127.0.0.1", "https"), StatusCode::BAD_REQUEST, "credential-in-clear"),
    ] {
        let response = ask(&server, way, "GET", draft, Some(&credential)).await;
        assert_eq!(response.status, status, "{way:?} {response:?}");
        if !problem.is_empty() {
            assert_eq!(response.problem(), problem, "{way:?}");
        }
    }
    let head = ask(&server, Way::Tls, "HEAD", draft, Some(&basic("", &server.writer))).await;
    assert_eq!(head.status, StatusCode::OK);
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let path = if method == "POST" { "/v1/uploads" } else { "/v1/images/debian/aliases/latest" };
        let path = if method == "PATCH" { "/v1/images/debian" } else { path };
        let refused = ask(&server, Way::Tls, method, path, Some(&credential)).await;
        assert_eq!((refused.status, refused.problem().as_str()), (StatusCode::UNAUTHORIZED, "invalid-bearer"));
        assert!(refused.json()["detail"].as_str().expect("a detail").contains("GET and HEAD"), "{refused:?}");
    }
    assert_eq!(exposed(&server).await, [""; 0]);
    let whoami = ask(&server, Way::Tls, "GET", "/v1/auth/whoami", Some(&credential)).await;
    assert_eq!(whoami.json()["principal"]["display_name"], "content-writer", "{whoami:?}");
}

#[tokio::test]
async fn a_bad_basic_credential_gets_the_challenge_of_bearers_alone_and_counts_as_failed() {
    let server = TestServer::start_serving(|_, http| http.auth_failure_limit = Some(6)).await;
    let colonless = format!("Basic {}", STANDARD.encode(&server.writer));
    let jwt = basic("x", "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovL2EifQ.AA");
    for credential in [
        basic("user", "hunter2"),
        basic(&server.writer, ""),
        basic("user", &server.writer[..server.writer.len() - 1]),
        colonless,
        jwt,
        "Basic !".to_owned(),
    ] {
        let refused = ask(&server, Way::Tls, "GET", "/v1/images", Some(&credential)).await;
        assert_eq!((refused.status, refused.problem().as_str()), (StatusCode::UNAUTHORIZED, "invalid-bearer"));
        assert_eq!(refused.header("www-authenticate"), "Bearer error=\"invalid_token\"");
    }
    let refused = ask(&server, Way::Tls, "GET", "/v1/images", Some(&basic("", ""))).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn the_challenge_is_the_same_for_what_is_absent_and_sent_for_files_alone() {
    let server = TestServer::start_serving(|_, http| http.auth_challenge = true).await;
    let artifact = server.published("debian", "1", &qcow2(1)).await;
    let absent = [
        "/images/debian/1/absent.img".to_owned(),
        "/images/secret/1/secret-1-x86_64.qcow2".to_owned(),
        "/images/secret/1".to_owned(),
        format!("/v1/images/secret/versions/1/artifacts/{artifact}/download"),
        format!("/v1/blobs/{}", imgsrv_testkit::digest(b"absent")),
    ];
    for path in &absent {
        let challenged = ask(&server, Way::Tls, "GET", path, None).await;
        assert_eq!((challenged.status, challenged.problem().as_str()), (StatusCode::UNAUTHORIZED, "unauthenticated"));
        assert_eq!(challenged.header("www-authenticate"), "Basic realm=\"imgsrv\"", "{path}");
        let detail = challenged.json()["detail"].as_str().expect("a detail").to_owned();
        assert!(detail.starts_with("the file does not exist, or reading it requires a token"), "{detail}");
        let known = ask(&server, Way::Tls, "GET", path, Some(&basic("x", &server.writer))).await;
        assert_eq!(known.status, StatusCode::NOT_FOUND, "{path}");
        let wrong = ask(&server, Way::Tls, "GET", path, Some(&basic("x", "hunter2"))).await;
        assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
        let challenges: Vec<_> = wrong.headers.get_all("www-authenticate").iter().collect();
        assert_eq!(challenges, ["Bearer error=\"invalid_token\"", "Basic realm=\"imgsrv\""]);
    }
    // Nobody is asked to send a password where others can read it.
    for path in &absent {
        let plain = ask(&server, Way::Plaintext("192.0.2.7", ""), "GET", path, None).await;
        assert_eq!((plain.status, plain.header("www-authenticate")), (StatusCode::NOT_FOUND, ""), "{path}");
    }
    let file = "/images/debian/1/debian-1-x86_64.qcow2";
    assert_eq!(ask(&server, Way::Tls, "GET", file, None).await.status, StatusCode::OK);
    for path in ["/v1/images/secret", "/v1/images/secret/versions", "/nothing", "/v1/images/debian/aliases/absent"] {
        assert_eq!(ask(&server, Way::Tls, "GET", path, None).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    let posted = ask(&server, Way::Tls, "POST", file, None).await;
    assert_eq!(posted.status, StatusCode::METHOD_NOT_ALLOWED);
    // Without the setting, nobody is asked.
    let server = TestServer::start().await;
    for path in &absent {
        let response = ask(&server, Way::Tls, "GET", path, None).await;
        assert_eq!((response.status, response.header("www-authenticate")), (StatusCode::NOT_FOUND, ""), "{path}");
    }
}

#[tokio::test]
async fn basic_for_streams_is_refused_and_recorded_as_exposed() {
    let server = TestServer::start().await;
    let credential = basic("incus", &server.writer);
    for path in ["/streams/v1/index.json", "/streams/v1/images.json", "//streams/v1/index.json", "/streams/other"] {
        for way in [Way::Tls, Way::Plaintext("127.0.0.1", "")] {
            let refused = ask(&server, way, "GET", path, Some(&credential)).await;
            assert_eq!((refused.status, refused.problem().as_str()), (StatusCode::BAD_REQUEST, "credential-exposed"));
            assert!(refused.json()["detail"].as_str().expect("a detail").contains("imgsrv incus-remote"));
        }
    }
    assert_eq!(exposed(&server).await, ["sent with Basic for /streams/, so a client also sends it without TLS"]);
    server.clock.advance(Duration::from_mins(2));
    let in_clear = ask(&server, Way::PlaintextOnTlsPort, "GET", "/images/a/1/a.img", Some(&credential)).await;
    assert_eq!((in_clear.status, in_clear.problem().as_str()), (StatusCode::BAD_REQUEST, "credential-in-clear"));
    assert_eq!(exposed(&server).await[0], "sent without TLS");
    assert_eq!(ask(&server, Way::Tls, "GET", "/streams/v1/index.json", None).await.status, StatusCode::OK);
    let bearer = format!("Bearer {}", server.writer);
    assert_eq!(ask(&server, Way::Tls, "GET", "/streams/v1/index.json", Some(&bearer)).await.status, StatusCode::OK);
}
