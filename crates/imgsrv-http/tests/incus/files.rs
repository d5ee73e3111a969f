//! Published versions as folders of files.

use crate::support::{Artifact, add, alias, attach, draft, get, publish};
use axum::http::StatusCode;
use imgsrv_testkit::{TestServer, digest, qcow2};

const FILE: &str = "debian-12.5.0-x86_64.qcow2";

async fn server() -> TestServer {
    let server = TestServer::start().await;
    draft(&server, "debian", "12.5.0").await;
    let artifact = add(&server, "debian", "12.5.0", &Artifact::qcow2(&qcow2(1))).await;
    attach(&server, &artifact, "sbom.json", b"an SBOM").await;
    let cloud = Artifact { format: "raw", variant: "cloud", ..Artifact::qcow2(b"a disk") };
    add(&server, "debian", "12.5.0", &cloud).await;
    assert_eq!(publish(&server, "debian", "12.5.0").await["state"], "succeeded");
    alias(&server, "debian", "latest", "12.5.0").await;
    server
}

fn hex(bytes: &[u8]) -> String {
    digest(bytes).trim_start_matches("sha256:").to_owned()
}

#[tokio::test]
async fn files_are_served_under_descriptive_names() {
    let server = server().await;
    for (path, body) in [
        (format!("/images/debian/12.5.0/{FILE}"), qcow2(1)),
        (format!("/images/debian/12.5.0/{FILE}.sbom.json"), b"an SBOM".to_vec()),
        ("/images/debian/12.5.0/debian-12.5.0-x86_64-cloud.raw".to_owned(), b"a disk".to_vec()),
        (format!("/images/debian/latest/{FILE}"), qcow2(1)),
        ("/images/debian/latest/debian-x86_64.qcow2".to_owned(), qcow2(1)),
        ("/images/debian/latest/debian-x86_64-cloud.raw".to_owned(), b"a disk".to_vec()),
        ("/images/debian/latest/debian-x86_64.qcow2.sbom.json".to_owned(), b"an SBOM".to_vec()),
    ] {
        let response = server.get(&path).await;
        assert_eq!((response.status, response.body.as_slice()), (StatusCode::OK, body.as_slice()), "{path}");
        let name = path.rsplit('/').next().expect("a name");
        assert_eq!(response.header("content-disposition"), format!("attachment; filename=\"{name}\""));
        assert_eq!(response.header("etag"), format!("\"{}\"", digest(&body)));
        let sum = server.get(&format!("{path}.sha256")).await;
        assert_eq!(String::from_utf8_lossy(&sum.body), format!("{}  {name}\n", hex(&body)), "{path}");
        assert_eq!(sum.header("content-type"), "text/plain; charset=utf-8");
    }
    for (path, status) in [
        ("/images/debian/12.5.0/debian-x86_64.qcow2", StatusCode::NOT_FOUND),
        ("/images/debian/12.6.0/debian-12.5.0-x86_64.qcow2", StatusCode::NOT_FOUND),
        ("/images/ubuntu/12.5.0/debian-12.5.0-x86_64.qcow2", StatusCode::NOT_FOUND),
        ("/images/debian/latest/debian-12.4.0-x86_64.qcow2", StatusCode::NOT_FOUND),
        ("/images/debian/latest/DEBIAN-x86_64.qcow2", StatusCode::NOT_FOUND),
        ("/images/debian/latest/x86_64.qcow2", StatusCode::NOT_FOUND),
        ("/images/debian/latest/debian-x86_64.qcow2.sha256.sha256", StatusCode::NOT_FOUND),
        ("/images/debian/latest/..%2fx", StatusCode::BAD_REQUEST),
        ("/images/Debian/latest/x", StatusCode::BAD_REQUEST),
        ("/images/debian", StatusCode::NOT_FOUND),
    ] {
        assert_eq!(server.get(path).await.status, status, "{path}");
    }
}

#[tokio::test]
async fn every_spelling_of_an_architecture_finds_a_file() {
    let server = server().await;
    for path in ["12.5.0/debian-12.5.0-amd64.qcow2", "latest/debian-amd64.qcow2", "latest/debian-12.5.0-x86-64.qcow2"] {
        let response = server.get(&format!("/images/debian/{path}")).await;
        assert_eq!((response.status, response.body.as_slice()), (StatusCode::OK, qcow2(1).as_slice()), "{path}");
        let name = path.rsplit('/').next().expect("a name");
        assert_eq!(response.header("content-disposition"), format!("attachment; filename=\"{name}\""));
        let sum = server.get(&format!("/images/debian/{path}.sha256")).await;
        assert_eq!(String::from_utf8_lossy(&sum.body), format!("{}  {name}\n", hex(&qcow2(1))), "{path}");
    }
    let attachment = server.get("/images/debian/latest/debian-amd64.qcow2.sbom.json").await;
    assert_eq!(attachment.header("content-location"), format!("/images/debian/12.5.0/{FILE}.sbom.json"));
    for other in ["latest/debian-arm64.qcow2", "latest/debian-amd64", "12.5.0/debian-amd64.qcow2"] {
        assert_eq!(server.get(&format!("/images/debian/{other}")).await.status, StatusCode::NOT_FOUND, "{other}");
    }
}

#[tokio::test]
async fn a_file_under_an_alias_is_revalidated_and_has_a_content_location() {
    let server = server().await;
    let own = server.get(&format!("/images/debian/12.5.0/{FILE}")).await;
    assert_eq!(
        (own.header("cache-control"), own.header("content-location")),
        ("public, max-age=300, must-revalidate", "")
    );
    for path in ["/images/debian/latest/debian-x86_64.qcow2".to_owned(), format!("/images/debian/latest/{FILE}")] {
        let moving = get(&server, "GET", &path, &[("range", "bytes=1-3")]).await;
        assert_eq!((moving.status, moving.body.as_slice()), (StatusCode::PARTIAL_CONTENT, b"FI\xfb".as_slice()));
        assert_eq!(moving.header("cache-control"), "no-cache");
        assert_eq!(moving.header("content-location"), format!("/images/debian/12.5.0/{FILE}"));
        let cached = get(&server, "GET", &path, &[("if-none-match", own.header("etag"))]).await;
        assert_eq!((cached.status, cached.header("cache-control")), (StatusCode::NOT_MODIFIED, "no-cache"));
    }
    let head = get(&server, "HEAD", "/images/debian/latest/debian-x86_64.qcow2", &[]).await;
    assert_eq!((head.status, head.header("content-length")), (StatusCode::OK, qcow2(1).len().to_string().as_str()));
}

#[tokio::test]
async fn checksums_of_all_files_are_served() {
    let server = server().await;
    let sums = server.get("/images/debian/12.5.0/SHA256SUMS").await;
    let expected = [
        ("debian-12.5.0-x86_64-cloud.raw", hex(b"a disk")),
        (FILE, hex(&qcow2(1))),
        ("debian-12.5.0-x86_64.qcow2.sbom.json", hex(b"an SBOM")),
    ];
    let expected: String = expected.iter().map(|(name, hex)| format!("{hex}  {name}\n")).collect();
    assert_eq!(String::from_utf8_lossy(&sums.body), expected);
    let moving = server.get("/images/debian/latest/SHA256SUMS").await;
    let moving_text = String::from_utf8_lossy(&moving.body).into_owned();
    assert_eq!(moving_text, expected.replace("debian-12.5.0-", "debian-"));
    let versioned = server.get("/images/debian/latest/versioned/SHA256SUMS").await;
    assert_eq!(
        (String::from_utf8_lossy(&versioned.body), versioned.header("cache-control")),
        (expected.into(), "no-cache")
    );
    let part = get(&server, "GET", "/images/debian/12.5.0/SHA256SUMS", &[("range", "bytes=0-63")]).await;
    assert_eq!((part.status, part.body.as_slice()), (StatusCode::PARTIAL_CONTENT, hex(b"a disk").as_bytes()));
    assert_eq!(part.header("content-disposition"), "attachment; filename=\"SHA256SUMS\"");
    assert_eq!((moving.header("content-location"), moving.header("cache-control")), ("", "no-cache"));
    let cached =
        get(&server, "GET", "/images/debian/latest/SHA256SUMS", &[("if-none-match", moving.header("etag"))]).await;
    assert_eq!((cached.status, cached.body.len()), (StatusCode::NOT_MODIFIED, 0));
}

#[tokio::test]
async fn a_version_is_listed_as_a_folder() {
    let server = server().await;
    let listing = server.get("/images/debian/latest/").await;
    let body = listing.json();
    assert_eq!((&body["image"], &body["version"]), (&"debian".into(), &"12.5.0".into()));
    let files = body["files"].as_array().expect("files");
    let names: Vec<_> = files.iter().map(|file| file["name"].as_str().expect("a name")).collect();
    assert_eq!(names, ["debian-x86_64-cloud.raw", "debian-x86_64.qcow2", "debian-x86_64.qcow2.sbom.json"]);
    for file in files {
        let name = file["name"].as_str().expect("a name");
        assert_eq!(file["url"], format!("/images/debian/latest/{name}"));
        let bytes = server.get(file["url"].as_str().expect("a URL")).await.body;
        assert_eq!(
            (file["digest"].as_str(), file["size_bytes"].as_u64()),
            (Some(digest(&bytes).as_str()), Some(bytes.len() as u64))
        );
    }
    // The listing of the version has other names.
    assert_eq!(listing.header("content-location"), "");
    let own = server.get("/images/debian/12.5.0/").await.json();
    assert_eq!(own["files"][1]["url"], format!("/images/debian/12.5.0/{FILE}"));
    assert_eq!((listing.header("cache-control"), listing.header("vary")), ("no-cache", "Authorization"));
    assert_eq!(server.get("/images/debian/latest").await.json(), body);
    assert_eq!(server.get("/images/debian/13/").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_folder_that_was_fetched_by_either_set_of_names_passes_sha256sum() {
    let server = server().await;
    for folder in ["/images/debian/latest", "/images/debian/12.5.0", "/images/debian/latest/versioned"] {
        let target = tempfile::TempDir::new().expect("a folder");
        let sums = server.get(&format!("{folder}/SHA256SUMS")).await.body;
        for line in String::from_utf8_lossy(&sums).lines() {
            let name = line.split("  ").nth(1).expect("a name");
            let file = server.get(&format!("{folder}/{name}")).await;
            assert_eq!(file.status, StatusCode::OK, "{folder}/{name}");
            std::fs::write(target.path().join(name), file.body).expect("written");
        }
        std::fs::write(target.path().join("SHA256SUMS"), sums).expect("written");
        let check = std::process::Command::new("sha256sum")
            .args(["-c", "--strict", "SHA256SUMS"])
            .current_dir(&target)
            .output();
        let check = check.expect("sha256sum runs");
        let shown = String::from_utf8_lossy(&check.stdout);
        assert!(check.status.success() && shown.lines().count() == 3, "{folder}: {shown}");
    }
    let short = server.get("/images/debian/latest/versioned/debian-x86_64.qcow2").await;
    assert_eq!(short.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_short_name_that_another_file_has_is_not_listed() {
    let server = TestServer::start().await;
    draft(&server, "debian", "12").await;
    for (architecture, bytes) in [("12-x", "with the longer name"), ("x", "with the shorter name")] {
        let artifact = Artifact { format: "raw", architecture, ..Artifact::qcow2(bytes.as_bytes()) };
        add(&server, "debian", "12", &artifact).await;
    }
    assert_eq!(publish(&server, "debian", "12").await["state"], "succeeded");
    alias(&server, "debian", "latest", "12").await;
    let sums = server.get("/images/debian/latest/SHA256SUMS").await.body;
    let sums = String::from_utf8_lossy(&sums);
    let names: Vec<_> = sums.lines().filter_map(|line| line.split("  ").nth(1)).collect();
    assert_eq!(names, ["debian-12-12-x.raw", "debian-x.raw"]);
    for (line, name) in sums.lines().zip(names) {
        let bytes = server.get(&format!("/images/debian/latest/{name}")).await.body;
        assert!(line.starts_with(&hex(&bytes)), "{line}");
    }
}

#[tokio::test]
async fn drafts_have_no_files() {
    let server = TestServer::start().await;
    draft(&server, "debian", "1").await;
    add(&server, "debian", "1", &Artifact::qcow2(&qcow2(1))).await;
    for path in ["/images/debian/1/", "/images/debian/1/SHA256SUMS", "/images/debian/1/debian-1-x86_64.qcow2"] {
        assert_eq!(server.write("GET", path, None).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}
