//! Links: who makes them, what they give access to, how they end, and that they are not written down.

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use imgsrv_http::Transport;
use imgsrv_testkit::{Log, TestResponse, TestServer, digest, qcow2};
use serde_json::{Value, json};
use std::time::Duration;
use tracing::Level;

/// A published version with an attachment, and the URL of its artifact.
async fn published(server: &TestServer) -> (String, String) {
    let artifact = server.draft("debian", "1", &qcow2(1)).await;
    let url = format!("/v1/images/debian/versions/1/artifacts/{artifact}");
    let sbom = server.blob(b"{}").await;
    let body =
        json!({"name": "sbom.json", "media_type": "application/json", "blob_digest": sbom, "blob_size_bytes": 2});
    let attached = server.write("POST", &format!("{url}/attachments"), Some(body)).await;
    assert_eq!(attached.status, StatusCode::CREATED, "{attached:?}");
    let id = attached.json()["id"].as_str().expect("an id").to_owned();
    let publish = server.write("POST", "/v1/images/debian/versions/1/publish", None).await;
    assert_eq!(publish.status, StatusCode::ACCEPTED);
    server.settle().await;
    (url, id)
}

async fn make(server: &TestServer, artifact: &str, body: Value) -> TestResponse {
    server.write("POST", &format!("{artifact}/links"), Some(body)).await
}

/// The path of a new link.
async fn link(server: &TestServer, artifact: &str, ttl: &str) -> String {
    path(&make(server, artifact, json!({"ttl": ttl})).await)
}

fn path(made: &TestResponse) -> String {
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let url = made.json()["url"].as_str().expect("a URL").to_owned();
    url.strip_prefix("http://images.test").expect("the host of the request").to_owned()
}

async fn refused(server: &TestServer, path: &str) -> bool {
    let response = server.get(path).await;
    if response.status == StatusCode::OK {
        return false;
    }
    assert_eq!((response.status, response.problem().as_str()), (StatusCode::NOT_FOUND, "link-invalid"), "{path}");
    let capability = path.split('/').nth(2).expect("a capability");
    assert!(!String::from_utf8_lossy(&response.body).contains(capability), "it is repeated");
    for (name, value) in
        [("referrer-policy", "no-referrer"), ("x-robots-tag", "noindex"), ("cache-control", "no-store")]
    {
        assert_eq!(response.header(name), value, "{name}");
    }
    true
}

#[tokio::test]
async fn a_link_serves_one_file_until_it_ends() {
    let server = TestServer::start().await;
    let (artifact, attachment) = published(&server).await;
    let made = make(&server, &artifact, json!({"ttl": "1h"})).await;
    assert_eq!(made.json()["expires_at"], "2026-01-01T01:00:00Z");
    assert_eq!(made.header("cache-control"), "no-store");
    let file = path(&made);
    assert!(file.starts_with("/f/") && file.ends_with("/debian-1-amd64.qcow2"), "{file}");
    let response = server.get(&file).await;
    assert_eq!((response.status, &response.body), (StatusCode::OK, &qcow2(1)));
    for (name, value) in [
        ("cache-control", "private, no-cache"),
        ("referrer-policy", "no-referrer"),
        ("x-robots-tag", "noindex"),
        ("content-disposition", "attachment; filename=\"debian-1-amd64.qcow2\""),
        ("accept-ranges", "bytes"),
    ] {
        assert_eq!(response.header(name), value, "{name}");
    }
    assert_eq!(response.header("etag"), format!("\"{}\"", digest(&qcow2(1))));
    let ranged = Request::builder().uri(&file).header("range", "bytes=0-3").body(Body::empty()).expect("a request");
    let ranged = server.send(ranged).await;
    assert_eq!((ranged.status, ranged.body.as_slice()), (StatusCode::PARTIAL_CONTENT, b"QFI\xfb".as_slice()));
    assert_eq!(server.call(None, "HEAD", &file, None).await.status, StatusCode::OK);
    assert_eq!(server.call(None, "POST", &file, None).await.status, StatusCode::METHOD_NOT_ALLOWED);

    let attached = path(&make(&server, &artifact, json!({"ttl": "7d", "attachment_id": attachment})).await);
    assert!(attached.ends_with("/debian-1-amd64.qcow2.sbom.json"), "{attached}");
    assert_eq!(server.get(&attached).await.body, b"{}");

    // Another file name, another file's capability, and less than all of it.
    let (capability, name) = file.strip_prefix("/f/").and_then(|rest| rest.split_once('/')).expect("two segments");
    let other = if capability.ends_with('A') { 'B' } else { 'A' };
    for wrong in [
        format!("/f/{capability}/disk.html"),
        format!("/f/{capability}/debian-1-amd64.qcow2.sbom.json"),
        format!("/f/{}/{name}", &capability[1..]),
        format!("/f/{}{other}/{name}", &capability[..capability.len() - 1]),
        format!("/f/x/{name}"),
    ] {
        assert!(refused(&server, &wrong).await, "{wrong}");
    }
    server.clock.advance(Duration::from_hours(1) - Duration::from_secs(1));
    assert!(!refused(&server, &file).await);
    server.clock.advance(Duration::from_secs(1));
    assert!(refused(&server, &file).await);
    assert!(!refused(&server, &attached).await);
}

#[tokio::test]
async fn links_are_made_by_who_writes_to_the_image_for_at_most_seven_days() {
    let server = TestServer::start().await;
    let (artifact, _) = published(&server).await;
    for ttl in ["0s", "8d", "169h", "", "1y", "-1d", "forever"] {
        let refused = make(&server, &artifact, json!({"ttl": ttl})).await;
        assert_eq!((refused.status, refused.problem().as_str()), (StatusCode::BAD_REQUEST, "invalid-request"), "{ttl}");
    }
    assert_eq!(make(&server, &artifact, json!({"ttl": "168h"})).await.status, StatusCode::CREATED);
    let other = "0198c0de-0000-7000-8000-000000000000";
    let missing = format!("/v1/images/debian/versions/1/artifacts/{other}/links");
    assert_eq!(server.write("POST", &missing, Some(json!({"ttl": "1h"}))).await.status, StatusCode::NOT_FOUND);
    let missing = make(&server, &artifact, json!({"ttl": "1h", "attachment_id": other})).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    let draft = server.draft("debian", "2", &qcow2(2)).await;
    let draft = format!("/v1/images/debian/versions/2/artifacts/{draft}");
    let refused = make(&server, &draft, json!({"ttl": "1h"})).await;
    assert_eq!(
        (refused.status, refused.problem().as_str()),
        (StatusCode::PRECONDITION_FAILED, "version-not-published")
    );
    let reader = server.token_with("content-reader").await;
    for url in [format!("{artifact}/links"), "/v1/images/debian/links/revoke".to_owned()] {
        let refused = server.call(Some(&reader), "POST", &url, Some(json!({"ttl": "1h"}))).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{url}");
    }
    let log = server.manage("GET", "/v1/audit?action=link.created", None).await.json();
    let rows = log["entries"].as_array().expect("entries");
    assert_eq!(rows.len(), 1, "{log}");
    assert_eq!(
        (&rows[0]["subject"], &rows[0]["detail"]),
        (&json!("debian/1/debian-1-amd64.qcow2"), &json!("valid for 7d"))
    );
}

#[tokio::test]
async fn links_end_when_they_are_revoked_or_their_key_is_replaced() {
    let server = TestServer::start().await;
    let (artifact, _) = published(&server).await;
    let other = server.published("ubuntu", "1", &qcow2(3)).await;
    let other = link(&server, &format!("/v1/images/ubuntu/versions/1/artifacts/{other}"), "1h").await;
    let first = link(&server, &artifact, "1h").await;
    let revoked = server.write("POST", "/v1/images/debian/links/revoke", None).await;
    assert_eq!(revoked.status, StatusCode::NO_CONTENT);
    assert!(refused(&server, &first).await && !refused(&server, &other).await);
    let second = link(&server, &artifact, "1h").await;
    assert!(!refused(&server, &second).await);
    let absent = server.write("POST", "/v1/images/absent/links/revoke", None).await;
    assert_eq!(absent.status, StatusCode::NOT_FOUND);

    let catalog = &server.services.adapters().catalog;
    assert_eq!(imgsrv_app::rotate_link_key(&**catalog).await.expect("a new key"), 2);
    assert!(refused(&server, &second).await && refused(&server, &other).await);
    assert!(!refused(&server, &link(&server, &artifact, "1h").await).await);
    for action in ["links.revoked", "link_key.rotated"] {
        let log = server.manage("GET", &format!("/v1/audit?action={action}"), None).await.json();
        assert_eq!(log["entries"].as_array().expect("entries").len(), 1, "{log}");
    }
}

#[tokio::test]
async fn a_link_ends_with_its_maker_and_its_file() {
    let server = TestServer::start().await;
    let (artifact, _) = published(&server).await;
    let file = link(&server, &artifact, "1h").await;
    let me = server.write("GET", "/v1/auth/whoami", None).await.json()["principal"]["id"].clone();
    let me = format!("/v1/auth/principals/{}", me.as_str().expect("an id"));
    assert_eq!(server.manage("POST", &format!("{me}/deactivate"), None).await.status, StatusCode::OK);
    assert!(refused(&server, &file).await);
    assert_eq!(server.manage("POST", &format!("{me}/activate"), None).await.status, StatusCode::OK);
    assert!(!refused(&server, &file).await);
    let admin = server.token_with("content-admin").await;
    let body = Some(json!({"reason": "wrong kernel"}));
    let revoked = server.call(Some(&admin), "POST", "/v1/images/debian/versions/1/revoke", body).await;
    assert_eq!(revoked.status, StatusCode::OK, "{revoked:?}");
    let gone = server.get(&file).await;
    assert_eq!((gone.status, gone.problem().as_str()), (StatusCode::GONE, "version-revoked"));
    let made = make(&server, &artifact, json!({"ttl": "1h"})).await;
    assert_eq!((made.status, made.problem().as_str()), (StatusCode::GONE, "version-revoked"));
}

/// Issues another token of the writer's principal; returns its URL and its text.
async fn issued(server: &TestServer, limits: Value) -> (String, String) {
    let me = server.write("GET", "/v1/auth/whoami", None).await.json()["principal"]["id"].clone();
    let url = format!("/v1/auth/principals/{}/api-tokens", me.as_str().expect("an id"));
    let mut body = json!({"expires_at": "2099-01-01T00:00:00Z"});
    body.as_object_mut().expect("an object").extend(limits.as_object().expect("an object").clone());
    let issued = server.manage("POST", &url, Some(body)).await.json();
    let text = |name: &str| issued[name].as_str().expect("text").to_owned();
    (format!("/v1/auth/api-tokens/{}", text("id")), text("plaintext"))
}

/// The path of a link for as long as possible, and when it ends.
async fn made_by(server: &TestServer, artifact: &str, token: &str) -> (String, String) {
    let made = server.call(Some(token), "POST", &format!("{artifact}/links"), Some(json!({"ttl": "7d"}))).await;
    (path(&made), made.json()["expires_at"].as_str().expect("a time").to_owned())
}

#[tokio::test]
async fn a_link_is_revoked_with_the_token_that_made_it() {
    for server in [TestServer::start().await, TestServer::start_on_postgres().await] {
        let (artifact, _) = published(&server).await;
        let (leaked, token) = issued(&server, json!({})).await;
        let (of_leaked, _) = made_by(&server, &artifact, &token).await;
        let (of_other, _) = made_by(&server, &artifact, &server.writer).await;
        assert!(!refused(&server, &of_leaked).await);
        assert_eq!(server.manage("DELETE", &leaked, None).await.status, StatusCode::NO_CONTENT);
        assert!(refused(&server, &of_leaked).await && !refused(&server, &of_other).await);
        let (_, limited) = issued(&server, json!({"images": ["tools"]})).await;
        let body = Some(json!({"ttl": "1h"}));
        let denied = server.call(Some(&limited), "POST", &format!("{artifact}/links"), body).await;
        assert_eq!(denied.status, StatusCode::FORBIDDEN);
    }
}

#[tokio::test]
async fn a_link_lasts_no_longer_than_the_token_that_made_it() {
    let server = TestServer::start().await;
    let (artifact, _) = published(&server).await;
    assert_eq!(made_by(&server, &artifact, &server.writer).await.1, "2026-01-08T00:00:00Z");
    let (short, token) = issued(&server, json!({"expires_at": "2026-01-01T02:00:00Z"})).await;
    let (file, until) = made_by(&server, &artifact, &token).await;
    assert_eq!(until, "2026-01-01T02:00:00Z");
    let sooner = Some(json!({"expires_at": "2026-01-01T01:00:00Z"}));
    assert_eq!(server.manage("PATCH", &short, sooner).await.status, StatusCode::OK);
    server.clock.advance(Duration::from_mins(59));
    assert!(!refused(&server, &file).await);
    server.clock.advance(Duration::from_mins(1));
    assert!(refused(&server, &file).await);
}

#[tokio::test]
async fn a_credential_adds_nothing_to_a_link_and_one_that_is_not_valid_is_refused() {
    let server = TestServer::start().await;
    let (artifact, _) = published(&server).await;
    let file = link(&server, &artifact, "1h").await;
    let (ended, token) = issued(&server, json!({})).await;
    assert_eq!(server.call(Some(&token), "GET", &file, None).await.status, StatusCode::OK);
    let guess = "/f/guess/disk.qcow2";
    assert_eq!(server.call(Some(&token), "GET", guess, None).await.status, StatusCode::NOT_FOUND);
    assert_eq!(server.manage("DELETE", &ended, None).await.status, StatusCode::NO_CONTENT);
    for bearer in [token.as_str(), "wrong"] {
        for url in [&file, guess] {
            for method in ["GET", "HEAD"] {
                let refused = server.call(Some(bearer), method, url, None).await;
                assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{method} {url}");
                assert_eq!(refused.header("www-authenticate"), "Bearer error=\"invalid_token\"");
            }
        }
    }
    assert_eq!(server.get(&file).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_link_to_a_private_image_ends_when_its_maker_may_no_longer_read_it() {
    let server = TestServer::start().await;
    let (artifact, _) = published(&server).await;
    let admin = server.token_with("content-admin").await;
    let body = Some(json!({"visibility": "private"}));
    assert_eq!(server.call(Some(&admin), "PATCH", "/v1/images/debian", body).await.status, StatusCode::OK);
    let file = link(&server, &artifact, "1h").await;
    assert!(!refused(&server, &file).await);
    let log = server.manage("GET", "/v1/audit?action=file.downloaded", None).await.json();
    let me = server.write("GET", "/v1/auth/whoami", None).await.json()["principal"]["id"].clone();
    assert_eq!((&log["entries"][0]["actor"]["id"], log["entries"].as_array().map(Vec::len)), (&me, Some(1)), "{log}");
    let role = format!("/v1/auth/principals/{}/roles/content-writer", me.as_str().expect("an id"));
    assert_eq!(server.manage("DELETE", &role, None).await.status, StatusCode::NO_CONTENT);
    assert!(refused(&server, &file).await);
    let reader = role.replace("content-writer", "content-reader");
    assert_eq!(server.manage("PUT", &reader, None).await.status, StatusCode::NO_CONTENT);
    assert!(!refused(&server, &file).await);
}

#[tokio::test]
async fn a_link_is_refused_in_plaintext_where_clients_can_use_tls() {
    let server = TestServer::start().await;
    let (artifact, _) = published(&server).await;
    let file = link(&server, &artifact, "1h").await;
    for (transport, status) in [
        (Transport::Tls, StatusCode::OK),
        (Transport::Plaintext, StatusCode::OK),
        (Transport::PlaintextOnTlsPort, StatusCode::BAD_REQUEST),
    ] {
        let mut request = Request::builder().uri(&file).body(Body::empty()).expect("a request");
        request.extensions_mut().insert(transport);
        assert_eq!(server.send(request).await.status, status, "{transport:?}");
    }
}

#[tokio::test]
async fn guesses_count_as_failures() {
    let server = TestServer::start_serving(|_, http| http.auth_failure_limit = Some(3)).await;
    for _ in 0..3 {
        assert!(refused(&server, "/f/guess/disk.qcow2").await);
    }
    assert_eq!(server.get("/f/guess/disk.qcow2").await.status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn a_capability_is_not_logged() {
    let server = TestServer::start().await;
    let (artifact, _) = published(&server).await;
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().json().with_max_level(Level::TRACE).with_writer(log.writer());
    // The only subscriber of the program, for all threads: one of a thread may miss events while others run.
    let spans = tracing_subscriber::fmt::format::FmtSpan::FULL;
    tracing::subscriber::set_global_default(subscriber.with_span_events(spans).finish()).expect("the only one");
    let file = link(&server, &artifact, "1h").await;
    assert_eq!(server.get(&file).await.status, StatusCode::OK);
    let capability = file.split('/').nth(2).expect("a capability");
    for path in [
        format!("/f/{capability}/other.qcow2"),
        format!("/f/{capability}"),
        format!("/srv/f/{capability}/disk.qcow2"),
        format!("/f/{capability}/more/of/it"),
        format!("//f//{capability}//debian-1-amd64.qcow2"),
    ] {
        let response = server.get(&path).await;
        assert!(!String::from_utf8_lossy(&response.body).contains(capability), "{path}: {response:?}");
    }
    assert!(log.has("request completed") && log.has("/f/{capability}/{file}"));
    assert!(!log.has(capability), "{:?}", log.events().iter().find(|event| event.to_string().contains(capability)));
}
