//! Private remotes: the documents that a token in a URL gets, and what is refused.

use crate::support::released;
use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use imgsrv_http::Transport;
use imgsrv_simplestreams::{Images, Index, Products};
use imgsrv_testkit::{Log, TestResponse, TestServer, qcow2};
use serde_json::json;
use std::{collections::BTreeSet, time::Duration};
use tracing::Level;

async fn ask(server: &TestServer, transport: Transport, path: &str, headers: &[(&str, &str)]) -> TestResponse {
    let mut request = Request::builder().uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut request = request.body(Body::empty()).expect("a request");
    request.extensions_mut().insert(transport);
    server.send(request).await
}

async fn document(server: &TestServer, token: &str) -> TestResponse {
    ask(server, Transport::Tls, &format!("/t/{token}/streams/v1/images.json"), &[]).await
}

/// The path below which clients request an item of a remote: they join it with the URL, and remove `..`.
fn cleaned(path: &str) -> &str {
    path.strip_prefix("../..").expect("it leaves the URL of the remote")
}

/// The paths of the files in a document, cleaned.
fn paths(document: &TestResponse) -> BTreeSet<String> {
    assert_eq!(document.status, StatusCode::OK, "{document:?}");
    let products: Products = serde_json::from_slice(&document.body).expect("products");
    let versions = products.products.values().flat_map(|product| product.versions.values());
    versions.flat_map(|version| version.items.values()).map(|item| cleaned(&item.path).to_owned()).collect()
}

async fn exposed(server: &TestServer) -> Vec<String> {
    let rows = server.manage("GET", "/v1/audit?action=token.exposed", None).await.json();
    let rows = rows["entries"].as_array().expect("entries").clone();
    rows.iter().map(|row| row["detail"].as_str().expect("a detail").to_owned()).collect()
}

/// A token of the writer's principal, narrowed to the roles.
async fn narrowed(server: &TestServer, roles: &[&str]) -> (String, String) {
    let me = server.write("GET", "/v1/auth/whoami", None).await.json()["principal"]["id"].clone();
    let url = format!("/v1/auth/principals/{}/api-tokens", me.as_str().expect("an id"));
    let body = json!({"expires_at": "2099-01-01T00:00:00Z", "role_ids": roles});
    let issued = server.manage("POST", &url, Some(body)).await.json();
    let text = |name: &str| issued[name].as_str().expect("text").to_owned();
    (text("id"), text("plaintext"))
}

#[tokio::test]
async fn a_remote_lists_files_that_clients_download_without_the_token() {
    let server = TestServer::start().await;
    released(&server, "debian", "1", &qcow2(1)).await;
    released(&server, "ubuntu", "1", &qcow2(2)).await;
    let token = server.token_with("content-reader").await;
    let index = ask(&server, Transport::Tls, &format!("/t/{token}/streams/v1/index.json"), &[]).await;
    assert_eq!(index.status, StatusCode::OK, "{index:?}");
    let index: Index = serde_json::from_slice(&index.body).expect("an index");
    assert_eq!(index.image_documents().collect::<Vec<_>>(), ["streams/v1/images.json"]);
    let response = document(&server, &token).await;
    for (name, value) in [
        ("cache-control", "private, no-cache"),
        ("referrer-policy", "no-referrer"),
        ("x-robots-tag", "noindex"),
        ("content-type", "application/json"),
    ] {
        assert_eq!(response.header(name), value, "{name}");
    }
    assert!(!String::from_utf8_lossy(&response.body).contains(&token), "the token is in the document");
    let products: Products = serde_json::from_slice(&response.body).expect("products");
    let images = Images::of([&products]);
    assert_eq!(images.iter().count(), 2);
    let debian = images.iter().find(|image| image.root.path.ends_with("/debian-1-x86_64.qcow2")).expect("debian");
    for item in [&debian.root, &debian.metadata] {
        let file = cleaned(&item.path);
        let response = ask(&server, Transport::Tls, file, &[("user-agent", "Incus 6.0.4")]).await;
        assert_eq!((response.status, i64::try_from(response.body.len()).ok()), (StatusCode::OK, Some(item.size)));
        assert_eq!(imgsrv_testkit::digest(&response.body), format!("sha256:{}", item.sha256));
        // What a client sends in plaintext is refused at once, and is one file's link.
        let in_clear = ask(&server, Transport::PlaintextOnTlsPort, file, &[]).await;
        assert_eq!((in_clear.status, in_clear.problem().as_str()), (StatusCode::BAD_REQUEST, "https-required"));
        assert!(!file.contains(&token[23..60]));
    }
}

#[tokio::test]
async fn a_credential_beside_the_token_of_a_remote_is_checked_and_adds_nothing() {
    let server = TestServer::start().await;
    released(&server, "debian", "1", &qcow2(1)).await;
    let token = server.token_with("content-reader").await;
    let url = |name: &str| format!("/t/{token}/streams/v1/{name}.json");
    for (credential, status) in [
        (format!("Bearer {}", server.writer), StatusCode::OK),
        ("Bearer wrong".to_owned(), StatusCode::UNAUTHORIZED),
        // Clients send these in plaintext as well.
        (format!("Basic {}", STANDARD.encode(format!("x:{}", server.writer))), StatusCode::BAD_REQUEST),
    ] {
        for name in ["index", "images"] {
            let response = ask(&server, Transport::Tls, &url(name), &[("authorization", &credential)]).await;
            assert_eq!(response.status, status, "{credential}");
            if status == StatusCode::UNAUTHORIZED {
                assert_eq!(response.header("www-authenticate"), "Bearer error=\"invalid_token\"");
            }
        }
    }
    assert_eq!(exposed(&server).await.len(), 1);
}

/// Makes an image private.
async fn make_private(server: &TestServer, image: &str) {
    let admin = server.token_with("content-admin").await;
    let body = Some(json!({"visibility": "private"}));
    let changed = server.call(Some(&admin), "PATCH", &format!("/v1/images/{image}"), body).await;
    assert_eq!(changed.status, StatusCode::OK, "{changed:?}");
}

#[tokio::test]
async fn a_remote_lists_what_its_token_may_read_and_its_links_end_with_that() {
    let server = TestServer::start().await;
    for (image, salt) in [("team-a", 1), ("team-b", 2), ("debian", 3)] {
        released(&server, image, "1", &qcow2(salt)).await;
    }
    // The same bytes as an image of the other team: one product, with the names of one team alone.
    released(&server, "team-a-copy", "1", &qcow2(2)).await;
    for image in ["team-a", "team-b", "team-a-copy"] {
        make_private(&server, image).await;
    }
    let body = json!({"kind": "service", "display_name": "host"});
    let host = server.manage("POST", "/v1/auth/principals", Some(body)).await.json();
    let host = format!("/v1/auth/principals/{}", host["id"].as_str().expect("an id"));
    let grant = async |images: &[&str]| {
        let url = format!("{host}/roles/content-reader");
        let granted = server.manage("PUT", &url, Some(json!({"images": images}))).await;
        assert_eq!(granted.status, StatusCode::NO_CONTENT);
    };
    grant(&["team-a*"]).await;
    let body = json!({"expires_at": "2099-01-01T00:00:00Z"});
    let issued = server.manage("POST", &format!("{host}/api-tokens"), Some(body)).await.json();
    let token = issued["plaintext"].as_str().expect("a token");
    let listed = document(&server, token).await;
    let names: BTreeSet<String> =
        paths(&listed).iter().filter_map(|path| path.split('/').nth(3).map(str::to_owned)).collect();
    let root = |image: &str| format!("{image}-1-x86_64.qcow2");
    assert!(["team-a", "team-a-copy", "debian"].iter().all(|image| names.contains(&root(image))), "{names:?}");
    let text = String::from_utf8_lossy(&listed.body);
    assert!(!text.contains("team-b"), "{text}");
    let public = server.get("/streams/v1/images.json").await;
    assert!(!String::from_utf8_lossy(&public.body).contains("team-"), "{public:?}");

    let file = paths(&listed).into_iter().find(|path| path.ends_with(&root("team-a"))).expect("a file");
    let served = ask(&server, Transport::Tls, &file, &[]).await;
    assert_eq!((served.status, &served.body), (StatusCode::OK, &qcow2(1)));
    assert_eq!(served.header("cache-control"), "private, no-cache");
    grant(&["team-c"]).await;
    let ended = ask(&server, Transport::Tls, &file, &[]).await;
    assert_eq!((ended.status, ended.problem().as_str()), (StatusCode::NOT_FOUND, "link-invalid"));
    let listed = paths(&document(&server, token).await);
    assert!(listed.iter().all(|path| path.contains("/debian-1-")) && !listed.is_empty(), "{listed:?}");
}

#[tokio::test]
async fn the_links_of_a_document_last_between_two_and_three_hours() {
    let server = TestServer::start().await;
    released(&server, "debian", "1", &qcow2(1)).await;
    let token = server.token_with("content-reader").await;
    let first = document(&server, &token).await;
    let file = paths(&first).pop_first().expect("a file");
    let is_served = async |file: &str| ask(&server, Transport::Tls, file, &[]).await.status == StatusCode::OK;
    server.clock.advance(Duration::from_secs(3599));
    let same = document(&server, &token).await;
    assert_eq!((same.header("etag"), &same.body), (first.header("etag"), &first.body));
    let etag = first.header("etag").to_owned();
    let path = format!("/t/{token}/streams/v1/images.json");
    let known = ask(&server, Transport::Tls, &path, &[("if-none-match", &etag)]).await;
    assert_eq!(known.status, StatusCode::NOT_MODIFIED);
    server.clock.advance(Duration::from_secs(1));
    let next = ask(&server, Transport::Tls, &path, &[("if-none-match", &etag)]).await;
    assert_eq!(next.status, StatusCode::OK);
    assert_ne!(next.header("etag"), etag);
    server.clock.advance(Duration::from_secs(7199));
    assert!(is_served(&file).await);
    server.clock.advance(Duration::from_secs(1));
    assert!(!is_served(&file).await);
    assert!(is_served(&paths(&next).pop_first().expect("a file")).await);
}

#[tokio::test]
async fn the_links_of_a_remote_end_with_its_token_and_are_replaced_in_its_next_document() {
    let server = TestServer::start().await;
    released(&server, "debian", "1", &qcow2(1)).await;
    let (id, token) = narrowed(&server, &["content-reader"]).await;
    let is_served = async |files: &BTreeSet<String>| {
        let mut served = BTreeSet::new();
        for file in files {
            served.insert(ask(&server, Transport::Tls, file, &[]).await.status == StatusCode::OK);
        }
        assert_eq!(served.len(), 1, "all or none of them");
        served.contains(&true)
    };
    let first = paths(&document(&server, &token).await);
    assert!(is_served(&first).await);
    assert_eq!(server.write("POST", "/v1/images/debian/links/revoke", None).await.status, StatusCode::NO_CONTENT);
    let second = paths(&document(&server, &token).await);
    assert!(!is_served(&first).await && is_served(&second).await);
    imgsrv_app::rotate_link_key(&*server.services.adapters().catalog).await.expect("a new key");
    let third = paths(&document(&server, &token).await);
    assert!(!is_served(&second).await && is_served(&third).await);
    let revoked = server.manage("DELETE", &format!("/v1/auth/api-tokens/{id}"), None).await;
    assert_eq!(revoked.status, StatusCode::NO_CONTENT);
    assert!(!is_served(&third).await);
    assert_eq!(document(&server, &token).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_token_that_may_do_more_than_read_is_refused_and_recorded() {
    let server = TestServer::start().await;
    for (roles, allowed) in
        [(&["content-reader"][..], true), (&["content-reader", "content-writer"], false), (&["content-writer"], false)]
    {
        let (_, token) = narrowed(&server, roles).await;
        let before = exposed(&server).await.len();
        let response = document(&server, &token).await;
        let expected = if allowed { StatusCode::OK } else { StatusCode::FORBIDDEN };
        assert_eq!(response.status, expected, "{roles:?} {response:?}");
        assert_eq!(exposed(&server).await.len() > before, !allowed, "{roles:?}");
    }
    let response = document(&server, &server.writer).await;
    assert_eq!((response.status, response.problem().as_str()), (StatusCode::FORBIDDEN, "forbidden"));
    let details = exposed(&server).await;
    assert!(details.iter().all(|detail| detail.starts_with("used in the URL of an Incus remote")), "{details:?}");
    // A principal that only reads may get another role later.
    let reader = server.token_with("content-reader").await;
    assert_eq!(document(&server, &reader).await.status, StatusCode::OK);
    for wrong in ["imgsrv_at_nonsense", "x", &reader[..reader.len() - 1], "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJhIn0.AA"] {
        let refused = document(&server, wrong).await;
        assert_eq!(
            (refused.status, refused.problem().as_str()),
            (StatusCode::UNAUTHORIZED, "invalid-bearer"),
            "{wrong}"
        );
        assert!(!String::from_utf8_lossy(&refused.body).contains(wrong) || wrong == "x");
    }
}

#[tokio::test]
async fn a_token_in_a_url_is_refused_in_plaintext_and_recorded_where_clients_can_use_tls() {
    let server = TestServer::start().await;
    let token = server.token_with("content-reader").await;
    for (transport, recorded) in [(Transport::Plaintext, 0), (Transport::PlaintextOnTlsPort, 1)] {
        for path in [format!("/t/{token}/streams/v1/index.json"), format!("//t//{token}"), format!("/t/{token}/other")]
        {
            let refused = ask(&server, transport, &path, &[]).await;
            if !path.ends_with("json") && transport == Transport::Plaintext {
                assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{path}");
            }
            assert_eq!((refused.status, refused.problem().as_str()), (StatusCode::BAD_REQUEST, "credential-in-clear"));
            assert!(!String::from_utf8_lossy(&refused.body).contains(&token));
        }
        assert_eq!(exposed(&server).await.len(), recorded, "{transport:?}");
    }
}

#[tokio::test]
async fn neither_the_token_nor_a_link_is_logged() {
    let server = TestServer::start().await;
    released(&server, "debian", "1", &qcow2(1)).await;
    let token = server.token_with("content-reader").await;
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().json().with_max_level(Level::TRACE).with_writer(log.writer());
    let spans = tracing_subscriber::fmt::format::FmtSpan::FULL;
    // The only subscriber of the program, for all threads: one of a thread may miss events while others run.
    tracing::subscriber::set_global_default(subscriber.with_span_events(spans).finish()).expect("the only one");
    let files = paths(&document(&server, &token).await);
    for file in &files {
        assert_eq!(ask(&server, Transport::Tls, file, &[]).await.status, StatusCode::OK);
    }
    for path in [format!("/t/{token}"), format!("/t/{token}/other"), format!("/srv/t/{token}/streams/v1/index.json")] {
        for transport in [Transport::Tls, Transport::PlaintextOnTlsPort] {
            let refused = ask(&server, transport, &path, &[]).await;
            assert!(!String::from_utf8_lossy(&refused.body).contains(&token), "{path}");
        }
    }
    assert!(log.has("/t/{token}/streams/v1/images.json") && log.has("request completed"));
    for secret in files.iter().map(|file| file.split('/').nth(2).expect("a capability")).chain([&token[22..]]) {
        assert!(!log.has(secret), "{:?}", log.events().iter().find(|event| event.to_string().contains(secret)));
    }
}
