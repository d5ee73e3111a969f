//! What changed between the packages of two versions.

use crate::{text, visit};
use axum::http::StatusCode;
use imgsrv_testkit::TestServer;
use serde_json::json;
use std::time::Duration;

/// Publishes a version with a list of packages attached to its artifact.
pub(crate) async fn published_with_packages(
    server: &TestServer,
    version: &str,
    name: &str,
    media_type: &str,
    list: &[u8],
) {
    let artifact = server.draft("debian", version, format!("disk {version}").as_bytes()).await;
    let digest = server.blob(list).await;
    let attachment =
        json!({"name": name, "media_type": media_type, "blob_digest": digest, "blob_size_bytes": list.len()});
    let url = format!("/v1/images/debian/versions/{version}");
    let attached = server.write("POST", &format!("{url}/artifacts/{artifact}/attachments"), Some(attachment)).await;
    assert_eq!(attached.status, StatusCode::CREATED, "{attached:?}");
    assert_eq!(server.write("POST", &format!("{url}/publish"), None).await.status, StatusCode::ACCEPTED);
    server.settle().await;
    server.clock.advance(Duration::from_secs(2));
}

#[tokio::test]
async fn a_version_page_shows_which_packages_changed() {
    let server = TestServer::start().await;
    let spdx = |packages: serde_json::Value| json!({"spdxVersion": "SPDX-2.3", "packages": packages}).to_string();
    let (name, media_type) = ("sbom", "application/spdx+json");
    let hostile = "<script>alert(1)</script>";
    let first = spdx(json!([{"name": "bash", "versionInfo": "5.1"}, {"name": "same", "versionInfo": "1"},
        {"name": hostile, "versionInfo": hostile}]));
    let second = spdx(json!([{"name": "bash", "versionInfo": "5.2"}, {"name": "same", "versionInfo": "1"},
        {"name": "curl", "versionInfo": "8.5"}]));
    published_with_packages(&server, "1", name, media_type, first.as_bytes()).await;
    published_with_packages(&server, "2", name, media_type, second.as_bytes()).await;
    published_with_packages(&server, "3", name, media_type, second.as_bytes()).await;
    published_with_packages(&server, "4", "manifest", "text/plain", b"bash\t5.2\nnano\t8.0\n").await;
    published_with_packages(&server, "5", "manifest", "text/plain", b"bash\t5.3\nnano\t8.0\n").await;
    published_with_packages(&server, "6", "manifest", "text/plain", b"Not a list of packages.\n").await;
    let page = async |version: &str| text(&visit(&server, &format!("/images/debian/{version}/")).await);
    let row = |name: &str, what: &str, before: &str, now: &str| {
        format!(
            "<th scope=\"row\"><bdi>{name}</bdi></th><td>{what}</td><td><bdi>{before}</bdi></td><td><bdi>{now}</bdi></td>"
        )
    };
    let changed = page("2").await;
    for expected in [
        row("bash", "changed", "5.1", "5.2"),
        row("curl", "added", "–", "8.5"),
        row("&#60;script&#62;alert(1)&#60;/script&#62;", "removed", "&#60;script&#62;alert(1)&#60;/script&#62;", "–"),
    ] {
        assert!(changed.contains(&expected), "{expected}: {changed}");
    }
    assert!(!changed.contains("<bdi>same</bdi>"), "{changed}");
    assert!(page("3").await.contains("All packages are the same."));
    assert!(page("5").await.contains(&row("bash", "changed", "5.2", "5.3")));
    for without in ["1", "4", "6"] {
        assert!(!page(without).await.contains("Packages, by"), "{without}");
    }
    // What a purged list says is deleted with it.
    let admin = server.token_with("content-admin").await;
    let purge = json!({"purge": true, "reason": "It names a secret."});
    let purged = server.call(Some(&admin), "POST", "/v1/images/debian/versions/1/remove", Some(purge)).await;
    assert_eq!(purged.status, StatusCode::OK, "{purged:?}");
    let is_gone = "NOT EXISTS (SELECT 1 FROM package_lists WHERE packages LIKE '%alert%')";
    server.sql(&format!("UPDATE package_lists SET packages = packages WHERE {is_gone}")).await;
}
