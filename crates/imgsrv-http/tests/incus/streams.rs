//! The Simple Streams documents.

use crate::support::{
    Artifact, EMPTY_GZIP, EMPTY_XZ, add, alias, attach, describe, draft, get, images, machine, publish, released,
};
use axum::http::StatusCode;
use flate2::read::GzDecoder;
use imgsrv_simplestreams::ImageKind;
use imgsrv_testkit::{TestServer, digest, qcow2};
use serde_json::json;
use std::{io::Read, num::NonZeroU32};

#[tokio::test]
async fn a_published_image_is_listed_under_all_its_names_with_its_files() {
    let server = TestServer::start().await;
    assert_eq!(images(&server).await.iter().count(), 0);
    released(&server, "debian", "12.5.0", &qcow2(1)).await;
    alias(&server, "debian", "latest", "12.5.0").await;
    let images = images(&server).await;
    let found = machine(&images, "debian/12.5.0").expect("the image").clone();
    for name in [
        "debian/latest",
        "debian/latest/amd64",
        "debian/12.5.0/amd64",
        "debian/latest/default",
        "debian/12.5.0/default",
    ] {
        assert_eq!(machine(&images, name), Some(&found), "{name}");
    }
    let (metadata, root) = (&found.metadata, &found.root);
    let metadata = server.get(&format!("/{}", metadata.path)).await;
    let root_bytes = server.get(&format!("/{}", root.path)).await;
    assert_eq!((metadata.status, root_bytes.body.as_slice()), (StatusCode::OK, qcow2(1).as_slice()));
    assert_eq!(digest(&root_bytes.body), format!("sha256:{}", root.sha256));
    let pair = [metadata.body, root_bytes.body].concat();
    assert_eq!(digest(&pair), format!("sha256:{}", found.fingerprint));
}

#[tokio::test]
async fn only_the_newest_versions_and_those_with_an_alias_are_listed_if_so_configured() {
    let server = TestServer::start_with(|settings| settings.streams_newest = NonZeroU32::new(2)).await;
    for version in ["1", "2", "3", "4"] {
        released(&server, "debian", version, &qcow2(version.parse().expect("a number"))).await;
    }
    released(&server, "alpine", "1", &qcow2(9)).await;
    // Pages agree with the documents: they have the commands of Incus and LXD for what is listed alone.
    let listed = async || {
        let images = images(&server).await;
        let names = ["debian/1", "debian/2", "debian/3", "debian/4", "alpine/1"];
        for name in names {
            let page = get(&server, "GET", &format!("/images/{name}/"), &[("accept", "text/html")]).await;
            let page = String::from_utf8(page.body).expect("text");
            let is_listed = machine(&images, name).is_some();
            assert_eq!(page.contains("<span class=\"tag good\">yes</span>"), is_listed, "{name}: {page}");
            assert_eq!(page.contains("?for=incus") || page.contains("?for=lxc"), is_listed, "{name}: {page}");
            let why = "the server lists only the 2 newest versions of an image, and those with an alias";
            assert_eq!(page.contains(why), !is_listed && page.contains("id=\"commands\""), "{name}: {page}");
        }
        names.map(|name| machine(&images, name).is_some())
    };
    assert_eq!(listed().await, [false, false, true, true, true]);
    alias(&server, "debian", "lts", "1").await;
    assert_eq!(listed().await, [true, false, true, true, true]);
    let admin = server.token_with("content-admin").await;
    let why = json!({"reason": "a defect"});
    let revoked = server.call(Some(&admin), "POST", "/v1/images/debian/versions/4/revoke", Some(why)).await;
    assert_eq!(revoked.status, StatusCode::OK, "{revoked:?}");
    assert_eq!(listed().await, [true, true, true, false, true], "the next older one is listed instead");
}

#[tokio::test]
async fn a_moved_alias_and_a_changed_title_are_in_the_next_response() {
    let server = TestServer::start().await;
    released(&server, "debian", "1", &qcow2(1)).await;
    released(&server, "debian", "2", &qcow2(2)).await;
    alias(&server, "debian", "latest", "1").await;
    let release = async |name: &str| machine(&images(&server).await, name).map(|image| image.release.clone());
    assert_eq!(release("debian/latest").await.as_deref(), Some("1"));
    alias(&server, "debian", "latest", "2").await;
    assert_eq!(release("debian/latest").await.as_deref(), Some("2"));
    assert_eq!(release("debian/1").await.as_deref(), Some("1"));
    server.write("PATCH", "/v1/images/debian", Some(json!({"display_name": "Debian GNU/Linux"}))).await;
    let text = String::from_utf8(server.get("/streams/v1/images.json").await.body).expect("text");
    assert!(text.contains(r#""os":"Debian","release":"1","release_title":"GNU/Linux""#), "{text}");
    assert_eq!(server.write("DELETE", "/v1/images/debian/aliases/latest", None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(release("debian/latest").await, None);
}

#[tokio::test]
async fn a_draft_is_not_listed() {
    let server = TestServer::start().await;
    draft(&server, "debian", "1").await;
    let artifact = add(&server, "debian", "1", &Artifact::qcow2(&qcow2(1))).await;
    describe(&server, &artifact).await;
    assert_eq!(images(&server).await.iter().count(), 0);
}

#[tokio::test]
async fn a_machine_and_a_container_share_their_names() {
    let server = TestServer::start().await;
    let (disk, other) = (qcow2(1), qcow2(2));
    draft(&server, "debian", "1").await;
    let squashfs = [b"hsqs".as_slice(), &[0; 2000]].concat();
    let tarball = [EMPTY_XZ, &[0; 2000]].concat();
    for (format, bytes) in [("qcow2", &disk), ("squashfs", &squashfs), ("root.tar.xz", &tarball)] {
        let artifact = Artifact { format, ..Artifact::qcow2(bytes) };
        describe(&server, &add(&server, "debian", "1", &artifact).await).await;
    }
    let cloud = Artifact { variant: "cloud", architecture: "aarch64", ..Artifact::qcow2(&other) };
    describe(&server, &add(&server, "debian", "1", &cloud).await).await;
    let job = publish(&server, "debian", "1").await;
    assert_eq!(job["state"], "succeeded");
    // Both containers have the same names: the smaller one is listed.
    assert_eq!(job["warnings"].as_array().map(Vec::len), Some(1), "{job}");
    assert_eq!(job["warnings"][0]["step"], "incus_index");
    let images = images(&server).await;
    assert_eq!(images.iter().count(), 3);
    let find = |alias: &str, kind, architecture: &str| {
        images.find(alias, kind, architecture.parse().expect("an architecture")).map(|image| image.root.path.clone())
    };
    let file = |name: &str| Some(format!("images/debian/1/{name}"));
    assert_eq!(find("debian/1", ImageKind::VirtualMachine, "amd64"), file("debian-1-x86_64.qcow2"));
    assert_eq!(find("debian/1", ImageKind::Container, "amd64"), file("debian-1-x86_64.squashfs"));
    assert_eq!(find("debian/1/cloud", ImageKind::VirtualMachine, "arm64"), file("debian-1-aarch64-cloud.qcow2"));
    assert_eq!(find("debian/1", ImageKind::VirtualMachine, "arm64"), None);
}

#[tokio::test]
async fn invalid_metadata_is_left_out_with_its_reason_and_does_not_fail_the_publish() {
    let server = TestServer::start().await;
    let disk = qcow2(1);
    draft(&server, "debian", "1").await;
    for (architecture, metadata) in [("x86_64", &b"a placeholder"[..]), ("aarch64", b"")] {
        let artifact = Artifact { architecture, ..Artifact::qcow2(&disk) };
        attach(&server, &add(&server, "debian", "1", &artifact).await, "incus.tar.xz", metadata).await;
    }
    let odd = Artifact { architecture: "vax", ..Artifact::qcow2(&disk) };
    attach(&server, &add(&server, "debian", "1", &odd).await, "incus.tar.xz", b"x").await;
    let job = publish(&server, "debian", "1").await;
    assert_eq!(job["state"], "succeeded", "{job}");
    let reasons: Vec<_> =
        job["warnings"].as_array().expect("warnings").iter().map(|one| one["reason"].as_str()).collect();
    assert_eq!(
        reasons,
        [
            Some(
                "debian-1-aarch64.qcow2 is not listed: incus.tar.xz: it is not a tarball, compressed with xz, gzip, Zstandard, bzip2, lzma or not at all"
            ),
            Some("debian-1-vax.qcow2 is not listed: Incus does not support the architecture vax"),
            Some(
                "debian-1-x86_64.qcow2 is not listed: incus.tar.xz: it is not a tarball, compressed with xz, gzip, Zstandard, bzip2, lzma or not at all"
            ),
        ]
    );
    let manifest = server.get("/v1/images/debian/refs/1").await.json();
    assert_eq!(manifest["warnings"], job["warnings"]);
    assert_eq!(images(&server).await.iter().count(), 0);
}

#[tokio::test]
async fn a_squashfs_that_is_not_listed_does_not_displace_another() {
    let server = TestServer::start().await;
    draft(&server, "debian", "1").await;
    let squashfs = [b"hsqs".as_slice(), &[0; 2000]].concat();
    let tarball = [EMPTY_XZ, &[0; 2000]].concat();
    let first = Artifact { format: "squashfs", ..Artifact::qcow2(&squashfs) };
    attach(&server, &add(&server, "debian", "1", &first).await, "incus.tar.xz", b"cut off").await;
    let second = Artifact { format: "root.tar.xz", ..Artifact::qcow2(&tarball) };
    describe(&server, &add(&server, "debian", "1", &second).await).await;
    let job = publish(&server, "debian", "1").await;
    assert_eq!(job["warnings"].as_array().map(Vec::len), Some(1), "{job}");
    let images = images(&server).await;
    let found = images.find("debian/1", ImageKind::Container, "amd64".parse().expect("an architecture"));
    assert!(found.is_some_and(|image| image.root.path.ends_with(".root.tar.xz")));
}

#[tokio::test]
async fn a_disk_of_another_detected_format_is_not_listed() {
    let server = TestServer::start().await;
    draft(&server, "debian", "1").await;
    let artifact = add(&server, "debian", "1", &Artifact::qcow2(EMPTY_GZIP)).await;
    describe(&server, &artifact).await;
    let job = publish(&server, "debian", "1").await;
    assert_eq!(job["warnings"][1]["reason"], "debian-1-x86_64.qcow2 is not listed: its content is gzip, not qcow2");
    assert_eq!(images(&server).await.iter().count(), 0);
}

#[tokio::test]
async fn metadata_for_another_architecture_is_left_out() {
    let server = TestServer::start().await;
    draft(&server, "debian", "1").await;
    let amd64 = add(&server, "debian", "1", &Artifact::qcow2(&qcow2(1))).await;
    let arm64 = add(&server, "debian", "1", &Artifact { architecture: "arm64", ..Artifact::qcow2(&qcow2(2)) }).await;
    let made = describe(&server, &amd64).await;
    let body = json!({"name": "incus.tar.xz", "media_type": "application/x-xz",
        "blob_digest": made["blob_digest"], "blob_size_bytes": made["blob_size_bytes"]});
    assert_eq!(server.write("POST", &format!("{arm64}/attachments"), Some(body)).await.status, StatusCode::CREATED);
    let job = publish(&server, "debian", "1").await;
    let reason = "debian-1-arm64.qcow2 is not listed: incus.tar.xz: metadata.yaml does not have the architecture arm64";
    assert_eq!(job["warnings"][0]["reason"], reason);
    assert_eq!(images(&server).await.iter().count(), 1);
}

#[tokio::test]
async fn documents_are_served_in_the_accepted_encoding_and_only_when_changed() {
    let server = TestServer::start().await;
    released(&server, "debian", "1", &qcow2(1)).await;
    for path in ["/streams/v1/index.json", "/streams/v1/images.json"] {
        let plain = get(&server, "GET", path, &[]).await;
        assert_eq!((plain.header("content-type"), plain.header("content-encoding")), ("application/json", ""));
        assert_eq!(plain.header("cache-control"), "no-cache");
        let gzip = get(&server, "GET", path, &[("accept-encoding", "gzip")]).await;
        let mut unpacked = Vec::new();
        GzDecoder::new(gzip.body.as_slice()).read_to_end(&mut unpacked).expect("gzip");
        let zstd = get(&server, "GET", path, &[("accept-encoding", "gzip, zstd")]).await;
        assert_eq!(zstd::decode_all(zstd.body.as_slice()).expect("zstd"), plain.body);
        assert_eq!((gzip.header("content-encoding"), unpacked), ("gzip", plain.body.clone()));
        let tags = [&plain, &gzip, &zstd].map(|response| response.header("etag").to_owned());
        assert!(tags[0] != tags[1] && tags[1] != tags[2] && tags.iter().all(|tag| tag.starts_with('"')), "{tags:?}");
        for tag in &tags {
            let cached = get(&server, "GET", path, &[("if-none-match", tag), ("accept-encoding", "gzip")]).await;
            // The entity tag belongs to the encoding.
            let status = if *tag == tags[1] { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
            assert_eq!(cached.status, status, "{tag}");
            assert_eq!(
                (cached.header("etag"), cached.header("vary")),
                (tags[1].as_str(), "Accept-Encoding, Authorization")
            );
        }
        let head = get(&server, "HEAD", path, &[("accept-encoding", "gzip")]).await;
        assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
        assert_eq!(head.header("content-length"), gzip.body.len().to_string());
        // The index has the keys of the products, and not their aliases.
        if path.contains("index") {
            released(&server, "debian", "2", &qcow2(2)).await;
        } else {
            alias(&server, "debian", "latest", "1").await;
        }
        let changed = get(&server, "GET", path, &[("if-none-match", &tags[0])]).await;
        assert_eq!(changed.status, StatusCode::OK);
    }
    assert_eq!(server.call(Some("bad"), "GET", "/streams/v1/index.json", None).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(get(&server, "POST", "/streams/v1/index.json", &[]).await.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn a_change_that_the_documents_do_not_show_keeps_them_as_they_are() {
    let server = TestServer::start().await;
    released(&server, "debian", "1", &qcow2(1)).await;
    for path in ["/streams/v1/index.json", "/streams/v1/images.json"] {
        let before = server.get(path).await;
        let described = server.write("PATCH", "/v1/images/debian", Some(json!({"description": path}))).await;
        assert_eq!(described.status, StatusCode::OK, "{described:?}");
        let tag = before.header("etag");
        assert_eq!(get(&server, "GET", path, &[("if-none-match", tag)]).await.status, StatusCode::NOT_MODIFIED);
    }
}

#[tokio::test]
async fn the_same_bytes_under_two_names_are_one_image() {
    let server = TestServer::start().await;
    draft(&server, "debian", "1").await;
    let artifact = add(&server, "debian", "1", &Artifact::qcow2(&qcow2(1))).await;
    let made = describe(&server, &artifact).await;
    draft(&server, "base", "7").await;
    let other = add(&server, "base", "7", &Artifact::qcow2(&qcow2(1))).await;
    let body = json!({"name": "incus.tar.xz", "media_type": "application/x-xz",
        "blob_digest": made["blob_digest"], "blob_size_bytes": made["blob_size_bytes"]});
    assert_eq!(server.write("POST", &format!("{other}/attachments"), Some(body)).await.status, StatusCode::CREATED);
    for (image, version) in [("debian", "1"), ("base", "7")] {
        assert_eq!(publish(&server, image, version).await["state"], "succeeded");
    }
    let images = images(&server).await;
    assert_eq!(images.iter().count(), 1);
    assert_eq!(machine(&images, "debian/1"), machine(&images, "base/7"));
    assert!(machine(&images, "base/7").is_some());
}

#[tokio::test]
async fn a_draft_with_ambiguous_names_is_refused() {
    let server = TestServer::start().await;
    draft(&server, "debian", "1").await;
    let first = add(&server, "debian", "1", &Artifact::qcow2(&qcow2(1))).await;
    let digest = server.blob(&qcow2(1)).await;
    let body = json!({"operating_system": "debian", "architecture": "amd64", "format": "qcow2",
        "primary_blob_digest": digest, "primary_blob_size_bytes": qcow2(1).len(), "primary_media_type": "a/b"});
    let refused = server.write("POST", "/v1/images/debian/versions/1/artifacts", Some(body)).await;
    assert_eq!((refused.status, refused.problem().as_str()), (StatusCode::CONFLICT, "name-taken"));
    assert_eq!(refused.json()["existing"]["url"], first);
}
