//! Texts that try to break out of pages.

use crate::{packages::published_with_packages, revoke, text, visit, visit_with};
use axum::http::{StatusCode, header};
use imgsrv_http::Site;
use imgsrv_testkit::TestServer;
use serde_json::json;

const HOSTILE: &str = "</title><script>alert(1)</script><img src=x onerror=alert(1)>\"'&{{7*7}}";
/// Letters that are written from right to left. Without isolation, they reorder the numbers beside them.
const RIGHT_TO_LEFT: &str = "\u{5d0}\u{5d1}\u{5d2} (1.2)";

#[tokio::test]
async fn hostile_texts_are_inert() {
    let server = TestServer::start_serving(|_, http| {
        http.site = Site { title: HOSTILE.parse().ok(), notice: HOSTILE.parse().ok() };
    })
    .await;
    let long = format!("{HOSTILE}{}", "\u{5d0}x".repeat((4096 - HOSTILE.len()) / 2));
    let image = json!({"name": "x", "display_name": HOSTILE, "description": long});
    assert_eq!(server.write("POST", "/v1/images", Some(image)).await.status, StatusCode::CREATED);
    server.published("x", "1", b"disk").await;
    server.published("x", "2", b"another disk").await;
    revoke(&server, "x", "1", json!({"reason": HOSTILE})).await;
    let query = "/?q=%3Cscript%3Ealert(1)%3C/script%3E%22%27&os=&arch=";
    for path in [
        "/",
        query,
        "/images/x/?lifecycle=all",
        "/images/x/1/",
        "/images/x/2/?for=%22%3E%3Cscript%3E",
        "/status",
        "/images/x/%3Cscript%3E/",
        "/feed.atom",
    ] {
        let page = text(&visit(&server, path).await);
        assert!(!page.contains("<script>alert") && !page.contains("<img src=x"), "{path}: {page}");
        assert!(!page.contains("onerror=alert(1)>"), "{path}");
        assert_eq!(page.matches("<script").count(), usize::from(!path.contains("feed")), "{path}");
    }
    let host = [(header::HOST, "a$(id)")];
    let page = text(&visit_with(&server, "/images/x/2/?for=curl", &host).await);
    assert!(page.contains("http://localhost/images/x/2/") && !page.contains("$(id)"), "{page}");
}

#[tokio::test]
async fn texts_cannot_change_the_direction_of_what_surrounds_them() {
    let server = TestServer::start_serving(|_, http| http.site.notice = RIGHT_TO_LEFT.parse().ok()).await;
    let overridden = json!({"name": "x", "display_name": "\u{202e}gpj.exe"});
    assert_eq!(server.write("POST", "/v1/images", Some(overridden)).await.problem(), "invalid-request");
    let image = json!({"name": "x", "display_name": RIGHT_TO_LEFT, "description": RIGHT_TO_LEFT});
    assert_eq!(server.write("POST", "/v1/images", Some(image)).await.status, StatusCode::CREATED);
    server.published("x", "1", b"disk").await;
    server.published("x", "2", b"another disk").await;
    revoke(&server, "x", "1", json!({"reason": RIGHT_TO_LEFT})).await;
    for (path, expected) in [("/", 3), ("/images/x/?lifecycle=all", 4), ("/images/x/1/", 3), ("/status", 1)] {
        let page = text(&visit(&server, path).await);
        // Each is alone in an element with a direction of its own.
        let alone = [("<bdi>", "</bdi>"), (" dir=\"auto\">", "</p>")];
        let isolated = alone.map(|(before, after)| page.matches(&format!("{before}{RIGHT_TO_LEFT}{after}")).count());
        assert_eq!(
            (isolated.iter().sum(), page.matches(RIGHT_TO_LEFT).count()),
            (expected, expected),
            "{path}: {page}"
        );
    }
}

#[tokio::test]
async fn a_large_and_hostile_list_of_packages_is_inert_and_makes_no_large_page() {
    let server = TestServer::start().await;
    let list = |version: &str| {
        let package = |number| {
            let (name, version) = (format!("{number:04}{HOSTILE}"), format!("{version}{HOSTILE}"));
            json!({"name": name, "versionInfo": version, "comment": "x".repeat(100)})
        };
        json!({"spdxVersion": "SPDX-2.3", "packages": (0..6000).map(package).collect::<Vec<_>>()}).to_string()
    };
    let (first, second) = (list("1"), list("2"));
    assert!(first.len() > 1 << 20, "{}", first.len());
    published_with_packages(&server, "1", "sbom", "application/spdx+json", first.as_bytes()).await;
    published_with_packages(&server, "2", "sbom", "application/spdx+json", second.as_bytes()).await;
    let page = text(&visit(&server, "/images/debian/2/").await);
    assert!(page.contains("<p class=\"small muted\">5500 more.</p>") && page.len() < 1 << 20, "{}", page.len());
    assert_eq!((page.matches("<script").count(), page.matches("<img src=x").count()), (1, 0));
    assert_eq!(page.matches("<bdi>").count(), 1500);
    // A package whose name changes the direction of text is left out.
    let overridden = second.replace("0001", "\u{202e}1000");
    published_with_packages(&server, "3", "sbom", "application/spdx+json", overridden.as_bytes()).await;
    let page = text(&visit(&server, "/images/debian/3/").await);
    assert!(page.contains("<bdi>0001&#60;") && !page.contains('\u{202e}'), "{page}");
}
