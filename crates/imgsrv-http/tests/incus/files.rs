//! Published versions as folders of files.

use crate::support::{Artifact, add, alias, attach, describe, draft, get, images, machine, publish};
use axum::http::StatusCode;
use imgsrv_testkit::{TestServer, digest, qcow2};
use serde_json::json;

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
    for path in [
        "12.5.0/debian-12.5.0-amd64.qcow2",
        "12.5.0/debian-12.5.0-X86_64.qcow2",
        "latest/debian-amd64.qcow2",
        "latest/debian-AMD64.qcow2",
        "latest/debian-12.5.0-x86-64.qcow2",
    ] {
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
async fn a_caret_is_encoded_in_urls_and_accepted_in_both_forms() {
    let server = TestServer::start().await;
    let (version, encoded) = ("13~rc1^2026:1+b", "13~rc1%5E2026:1+b");
    // The server sends the URL of an artifact with the name encoded.
    let made = server.draft("debian", version, &qcow2(1)).await;
    let url = format!("/v1/images/debian/versions/{encoded}/artifacts/{made}");
    assert_eq!(server.write("GET", &url, None).await.status, StatusCode::OK);
    describe(&server, &url).await;
    let taken = server.write("POST", "/v1/images/debian/versions", Some(json!({"version": version}))).await;
    assert_eq!(taken.json()["existing"]["url"], format!("/v1/images/debian/versions/{encoded}"));
    assert_eq!(publish(&server, "debian", encoded).await["state"], "succeeded");
    alias(&server, "debian", "latest", version).await;
    let listed = server.get(&format!("/images/debian/{encoded}/")).await.json();
    let file = &listed["files"][0];
    assert_eq!(file["name"], format!("debian-{version}-amd64.qcow2"));
    assert_eq!(file["url"], format!("/images/debian/{encoded}/debian-{encoded}-amd64.qcow2"));
    let found = images(&server).await;
    let root = &machine(&found, &format!("debian/{version}")).expect("an image").root;
    assert_eq!(root.path, format!("images/debian/{encoded}/debian-{encoded}-amd64.qcow2"));
    for form in [version, encoded, "13%7Erc1%5e2026%3A1%2Bb"] {
        let path = format!("/images/debian/{form}/debian-{form}-amd64.qcow2");
        let response = server.get(&path).await;
        assert_eq!((response.status, response.body.as_slice()), (StatusCode::OK, qcow2(1).as_slice()), "{path}");
        assert_eq!(
            response.header("content-disposition"),
            format!("attachment; filename=\"debian-{version}-amd64.qcow2\"")
        );
        assert_eq!(server.get(&format!("/v1/images/debian/refs/{form}")).await.status, StatusCode::OK, "{form}");
        let sums = server.get(&format!("/images/debian/{form}/SHA256SUMS")).await;
        let names = format!("{}  debian-{version}-amd64.qcow2\n", hex(&qcow2(1)));
        assert!(String::from_utf8_lossy(&sums.body).starts_with(&names), "{sums:?}");
    }
    let moving = server.get("/images/debian/latest/debian-amd64.qcow2").await;
    assert_eq!(moving.header("content-location"), file["url"].as_str().expect("a URL"));
    let refused = server.write("POST", "/v1/images/debian/versions", Some(json!({"version": "1 2"}))).await.json();
    assert_eq!(
        refused["errors"][0]["reason"],
        "\"1 2\" must begin with a letter or digit, contain only letters, digits and . _ + : ~ ^ -, and have at most 128 characters"
    );
}

#[tokio::test]
async fn attachments_with_the_names_of_generated_checksums_are_refused() {
    let server = TestServer::start().await;
    draft(&server, "debian", "1").await;
    let artifact = add(&server, "debian", "1", &Artifact::qcow2(&qcow2(1))).await;
    attach(&server, &artifact, "sbom", b"an SBOM").await;
    attach(&server, &artifact, "log.sha256", b"a checksum").await;
    for (name, checksum, of) in
        [("sha256", ".sha256", ""), ("sbom.sha256", ".sbom.sha256", ".sbom"), ("log", ".log.sha256", ".log")]
    {
        let body = json!({"name": name, "media_type": "a/b", "blob_digest": digest(b"an SBOM"), "blob_size_bytes": 7});
        let refused = server.write("POST", &format!("{artifact}/attachments"), Some(body)).await;
        assert_eq!((refused.status, refused.problem().as_str()), (StatusCode::CONFLICT, "name-taken"), "{name}");
        let file = "debian-1-x86_64.qcow2";
        assert_eq!(
            refused.json()["detail"],
            format!(
                "{file}{checksum} is the name of the file with the checksum of {file}{of}, which the server generates; \
                 choose another name"
            )
        );
        assert!(refused.json()["existing"]["url"].as_str().is_some_and(|url| url.starts_with(&artifact)), "{name}");
    }
    let body = json!({"name": "sbom", "media_type": "a/b", "blob_digest": digest(b"x"), "blob_size_bytes": 1});
    let taken = server.write("POST", &format!("{artifact}/attachments"), Some(body)).await;
    assert!(
        taken.json()["detail"].as_str().is_some_and(
            |detail| detail.starts_with("the artifact already has an attachment with this name: attachment ")
        ),
        "{taken:?}"
    );
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
        // So that what is fetched by it is what was listed, also if the alias moves meanwhile.
        let versioned = name.replacen("debian-", "debian-12.5.0-", 1);
        assert_eq!(file["url"], format!("/images/debian/12.5.0/{versioned}"));
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
    assert_eq!((listing.header("cache-control"), listing.header("vary")), ("no-cache", "Accept, Authorization"));
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

/// `systemd-pull` looks for these files beside an image, and verifies all of them by the checksum file of the image.
#[tokio::test]
async fn systemd_finds_the_attachments_of_a_disk_next_to_it() {
    let server = TestServer::start().await;
    draft(&server, "os", "1").await;
    let disk = Artifact { format: "raw", ..Artifact::qcow2(b"a disk") };
    let disk = add(&server, "os", "1", &disk).await;
    let attachments = [("nspawn", "settings"), ("roothash", "hash"), ("roothash.p7s", "signature"), ("verity", "tree")];
    for (name, bytes) in attachments {
        attach(&server, &disk, name, bytes.as_bytes()).await;
    }
    attach(&server, &disk, "sbom.json", b"an SBOM").await;
    assert_eq!(publish(&server, "os", "1").await["state"], "succeeded");
    alias(&server, "os", "latest", "1").await;
    for (folder, image) in [
        ("1", "os-1-x86_64"),
        ("1", "os-1-amd64"),
        ("latest", "os-x86_64"),
        ("latest", "os-amd64"),
        ("latest/versioned", "os-1-x86_64"),
    ] {
        let file = async |name: String| server.get(&format!("/images/os/{folder}/{name}")).await;
        let own = file(format!("{image}.raw.sha256")).await.body;
        let own = String::from_utf8_lossy(&own).into_owned();
        let mut expected = format!("{}  {image}.raw\n", hex(b"a disk"));
        for (name, bytes) in attachments {
            let beside = file(format!("{image}.{name}")).await;
            assert_eq!((beside.status, beside.body.as_slice()), (StatusCode::OK, bytes.as_bytes()), "{folder} {image}");
            let attached = file(format!("{image}.raw.{name}")).await;
            assert_eq!(attached.header("etag"), beside.header("etag"));
            expected += &format!("{}  {image}.{name}\n", hex(bytes.as_bytes()));
        }
        assert_eq!(own, expected, "{folder}");
        assert_eq!(file(format!("{image}.sbom.json")).await.status, StatusCode::NOT_FOUND, "{folder}");
        let listed = server.get(&format!("/images/os/{folder}/SHA256SUMS")).await.body;
        let listed = String::from_utf8_lossy(&listed).into_owned();
        let is_listed = |line: &str| listed.lines().any(|listed| listed == line);
        assert_eq!(expected.lines().all(is_listed), image.ends_with("x86_64"), "{listed}");
    }
    let names = server.get("/images/os/latest/").await.json();
    let names: Vec<_> = names["files"].as_array().expect("files").iter().map(|file| file["name"].clone()).collect();
    assert_eq!(names.len(), 10, "{names:?}");
}

#[tokio::test]
async fn a_second_name_that_is_ambiguous_is_not_served() {
    let server = TestServer::start().await;
    draft(&server, "os", "1").await;
    for (format, nspawn, roothash) in [("raw", "the same", "of the raw disk"), ("qcow2", "the same", "of the qcow2")] {
        let bytes = if format == "raw" { b"a disk".to_vec() } else { qcow2(1) };
        let artifact = add(&server, "os", "1", &Artifact { format, ..Artifact::qcow2(&bytes) }).await;
        attach(&server, &artifact, "nspawn", nspawn.as_bytes()).await;
        attach(&server, &artifact, "roothash", roothash.as_bytes()).await;
    }
    assert_eq!(publish(&server, "os", "1").await["state"], "succeeded");
    assert_eq!(server.get("/images/os/1/os-1-x86_64.nspawn").await.body, b"the same");
    assert_eq!(server.get("/images/os/1/os-1-x86_64.roothash").await.status, StatusCode::NOT_FOUND);
    assert_eq!(server.get("/images/os/1/os-1-x86_64.raw.roothash").await.body, b"of the raw disk");
    let sums = server.get("/images/os/1/SHA256SUMS").await.body;
    assert_eq!(String::from_utf8_lossy(&sums).lines().count(), 7);
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
