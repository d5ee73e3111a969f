//! Who may read a private image, who may make one, and how caches treat it.

use crate::support::Team;
use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use imgsrv_domain::access::Visibility;
use imgsrv_testkit::{TestServer, digest};
use serde_json::json;

/// Every URL of the bytes of an image's only artifact, and its documents.
fn urls(image: &str, artifact: &str, bytes: &[u8]) -> Vec<String> {
    let digest = digest(bytes);
    let hex = digest.trim_start_matches("sha256:").to_owned();
    let version = format!("/v1/images/{image}/versions/1");
    vec![
        format!("/v1/images/{image}"),
        format!("/v1/images/{image}/versions"),
        format!("/v1/images/{image}/aliases"),
        format!("/v1/images/{image}/aliases/latest"),
        format!("/v1/images/{image}/refs/latest"),
        format!("/v1/images/{image}/refs/1"),
        version.clone(),
        format!("{version}/lifecycle"),
        format!("{version}/artifacts"),
        format!("{version}/artifacts/{artifact}"),
        format!("{version}/artifacts/{artifact}/download"),
        format!("/images/{image}/1/"),
        format!("/images/{image}/latest/SHA256SUMS"),
        format!("/images/{image}/1/{image}-1-amd64.qcow2"),
        format!("/images/{image}/latest/{image}-amd64.qcow2"),
        format!("/images/{image}/latest/{image}-amd64.qcow2.sha256"),
        format!("/images/{image}/feed.atom"),
        format!("/v1/blobs/{digest}"),
        format!("/cas/sha256/{}/{hex}", &hex[..2]),
    ]
}

#[tokio::test]
async fn a_private_image_exists_for_those_with_a_role_on_it_alone() {
    for server in [TestServer::start().await, TestServer::start_on_postgres().await] {
        let admin = Team::with(&server, "content-admin", "alpha-*").await;
        let artifact = admin.image(&server, "alpha-vm", "private", b"alpha").await;
        let reader = Team::with(&server, "content-reader", "alpha-*").await;
        let other = Team::with(&server, "content-admin", "beta-*").await;
        let auditor = server.token_with("auditor").await;
        let everywhere = server.token_with("content-reader").await;
        for url in urls("alpha-vm", &artifact, b"alpha") {
            for who in [Some(&other.token), Some(&auditor), None] {
                let refused = server.call(who.map(String::as_str), "GET", &url, None).await;
                assert_eq!(refused.status, StatusCode::NOT_FOUND, "{url} {who:?}");
            }
            for who in [&reader.token, &admin.token, &everywhere] {
                let seen = server.call(Some(who), "GET", &url, None).await;
                assert_eq!(seen.status, StatusCode::OK, "{url} {seen:?}");
                let control = seen.header("cache-control");
                assert!(control.starts_with("private"), "{url}: {control}");
                assert!(seen.header("vary").contains("Authorization"), "{url}");
            }
        }
        // As soon as it is public, and as soon as it is private again.
        for (visibility, status) in [("public", StatusCode::OK), ("private", StatusCode::NOT_FOUND)] {
            let body = Some(json!({"visibility": visibility}));
            let changed = admin.done(&server, "PATCH", "/v1/images/alpha-vm", body).await.json();
            assert_eq!(changed["visibility"], visibility);
            for url in urls("alpha-vm", &artifact, b"alpha") {
                assert_eq!(server.get(&url).await.status, status, "{visibility} {url}");
            }
        }
    }
}

#[tokio::test]
async fn lists_show_private_images_to_those_who_may_read_them() {
    for server in [TestServer::start().await, TestServer::start_on_postgres().await] {
        let alpha = Team::with(&server, "content-admin", "alpha-*").await;
        let beta = Team::with(&server, "content-admin", "beta-*").await;
        alpha.image(&server, "alpha-vm", "private", b"alpha").await;
        alpha.image(&server, "alpha-open", "public", b"open").await;
        beta.image(&server, "beta-vm", "private", b"beta").await;
        let everything = server.token_with("content-reader").await;
        for (who, expected) in [
            (Some(&alpha.token), vec!["alpha-open", "alpha-vm"]),
            (Some(&beta.token), vec!["alpha-open", "beta-vm"]),
            (Some(&everything), vec!["alpha-open", "alpha-vm", "beta-vm"]),
            (None, vec!["alpha-open"]),
        ] {
            let who = who.map(String::as_str);
            let listed = server.call(who, "GET", "/v1/images", None).await.json();
            let names: Vec<_> =
                listed["images"].as_array().expect("a list").iter().map(|image| &image["name"]).collect();
            assert_eq!(names, expected);
            let page = |path: &'static str| {
                let mut request = axum::http::Request::get(path).header("accept", "text/html");
                if let Some(who) = who {
                    request = request.header("authorization", format!("Bearer {who}"));
                }
                request.body(axum::body::Body::empty()).expect("a request")
            };
            for path in ["/images", "/images?sort=newest", "/feed.atom"] {
                let shown = server.send(page(path)).await;
                assert_eq!(shown.status, StatusCode::OK, "{path}");
                let text = String::from_utf8_lossy(&shown.body).into_owned();
                for name in ["alpha-open", "alpha-vm", "beta-vm"] {
                    assert_eq!(text.contains(name), expected.contains(&name), "{path} {name} {who:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn only_a_content_administrator_decides_who_reads_an_image() {
    let server = TestServer::start().await;
    let (writer, admin) =
        (Team::with(&server, "content-writer", "alpha-*").await, Team::with(&server, "content-admin", "beta-*").await);
    let create = |name: &str, visibility: &str| Some(json!({"name": name, "visibility": visibility}));
    for (name, visibility, expected) in
        [("alpha-1", "public", 201), ("alpha-2", "private", 403), ("beta-1", "public", 403)]
    {
        let created = writer.call(&server, "POST", "/v1/images", create(name, visibility)).await;
        assert_eq!(created.status.as_u16(), expected, "{name}");
    }
    for (name, expected) in [("beta-1", 201), ("alpha-2", 403)] {
        let created = admin.call(&server, "POST", "/v1/images", create(name, "private")).await;
        assert_eq!(created.status.as_u16(), expected, "{name}");
    }
    let hide = || Some(json!({"visibility": "private"}));
    assert_eq!(writer.call(&server, "PATCH", "/v1/images/alpha-1", hide()).await.problem(), "forbidden");
    // What changes nothing needs no permission.
    writer.done(&server, "PATCH", "/v1/images/alpha-1", Some(json!({"visibility": "public"}))).await;
    let invalid = writer.call(&server, "PATCH", "/v1/images/alpha-1", Some(json!({"visibility": "secret"}))).await;
    assert_eq!(invalid.status, StatusCode::BAD_REQUEST);

    let server = TestServer::start_with(|settings| settings.default_visibility = Visibility::Private).await;
    let writer = Team::with(&server, "content-writer", "alpha-*").await;
    let made = writer.done(&server, "POST", "/v1/images", Some(json!({"name": "alpha-1"}))).await.json();
    assert_eq!(made["visibility"], "private", "the default of the server");
    assert_eq!(writer.call(&server, "POST", "/v1/images", create("alpha-2", "public")).await.problem(), "forbidden");
}

#[tokio::test]
async fn shared_caches_may_keep_public_content_and_nothing_private() {
    let server = TestServer::start().await;
    let admin = Team::with(&server, "content-admin", "alpha-*").await;
    admin.image(&server, "alpha-open", "public", b"open").await;
    let artifact = admin.image(&server, "alpha-vm", "private", b"hidden").await;
    for url in [format!("/v1/blobs/{}", digest(b"open")), "/images/alpha-open/1/alpha-open-1-amd64.qcow2".to_owned()] {
        for who in [None, Some(&*admin.token)] {
            let control = server.call(who, "GET", &url, None).await.header("cache-control").to_owned();
            assert!(control.starts_with("public, "), "{url}: {control}");
        }
    }
    let digest_url = server.get(&format!("/v1/blobs/{}", digest(b"open"))).await;
    assert_eq!(digest_url.header("cache-control"), "public, max-age=86400, immutable");
    for url in urls("alpha-vm", &artifact, b"hidden") {
        let refused = server.get(&url).await;
        assert!(refused.header("vary").contains("Authorization"), "{url}");
    }
}

#[tokio::test]
async fn pages_mark_private_images_for_those_who_see_them() {
    let server = TestServer::start().await;
    let admin = Team::with(&server, "content-admin", "alpha-*").await;
    admin.image(&server, "alpha-vm", "private", b"alpha").await;
    admin.image(&server, "alpha-open", "public", b"open").await;
    let mark = "<span class=\"tag\">private</span>";
    let page = async |who: Option<&Team>, url: &str| {
        let mut request = Request::builder().uri(url).header("accept", "text/html");
        if let Some(team) = who {
            request = request.header("authorization", format!("Bearer {}", team.token));
        }
        String::from_utf8(server.send(request.body(Body::empty()).expect("a request")).await.body).expect("a page")
    };
    for (url, marks) in [
        ("/", 1),
        ("/images/alpha-vm/", 1),
        ("/images/alpha-vm/1/", 1),
        ("/images/alpha-vm/latest/", 1),
        ("/images/alpha-open/", 0),
        ("/images/alpha-open/1/", 0),
    ] {
        assert_eq!(page(Some(&admin), url).await.matches(mark).count(), marks, "{url}");
        assert_eq!(page(None, url).await.matches(mark).count(), 0, "{url}");
    }
}
