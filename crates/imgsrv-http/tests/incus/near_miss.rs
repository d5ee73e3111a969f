//! Artifacts that are not listed for one reason, and remarks about those that are.

use crate::support::{Artifact, EMPTY_GZIP, EMPTY_XZ, add, attach, describe, draft, images, publish};
use imgsrv_testkit::{TestServer, qcow2};
use serde_json::{Value, json};

/// Packs files as `tar` does.
fn tarball(files: &[(&str, &[u8])]) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, bytes) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, bytes).expect("written");
    }
    let names = files.iter().map(|(name, _)| *name);
    let packed = std::process::Command::new("tar").arg("c").args(names).current_dir(folder.path()).output();
    packed.expect("tar").stdout
}

/// The warnings of a finished job, without the file name that they begin with.
fn reasons(job: &Value) -> Vec<&str> {
    let warnings = job["warnings"].as_array().into_iter().flatten();
    warnings.filter_map(|one| Some(one["reason"].as_str()?.split_once(' ')?.1)).collect()
}

/// Publishes one artifact with one attachment; returns its warnings.
async fn warnings_of(server: &TestServer, version: &str, format: &str, bytes: &[u8], attachment: &str) -> Vec<String> {
    draft(server, "debian", version).await;
    let artifact = add(server, "debian", version, &Artifact { format, ..Artifact::qcow2(bytes) }).await;
    if !attachment.is_empty() {
        attach(server, &artifact, attachment, b"x").await;
    }
    let job = publish(server, "debian", version).await;
    assert_eq!(job["state"], "succeeded", "{job}");
    let manifest = server.get(&format!("/v1/images/debian/refs/{version}")).await.json();
    assert_eq!(manifest["warnings"], job["warnings"]);
    reasons(&job).into_iter().map(str::to_owned).collect()
}

#[tokio::test]
async fn an_artifact_that_lacks_one_thing_has_its_reason() {
    let server = TestServer::start().await;
    for (version, format, bytes, attachment, reason) in [
        (
            "1",
            "qcow2",
            qcow2(1),
            "lxd.tar.xz",
            "it has no incus.tar.xz; attach lxd.tar.xz as incus.tar.xz if it is its Incus metadata",
        ),
        (
            "2",
            "qcow2",
            qcow2(1),
            "meta.tar",
            "it has no incus.tar.xz; attach meta.tar as incus.tar.xz if it is its Incus metadata",
        ),
        (
            "3",
            "raw",
            vec![0; 512],
            "incus.tar.xz",
            "it has incus.tar.xz, but Incus boots qcow2, squashfs and root.tar.xz, not raw",
        ),
        (
            "4",
            "root.tar.gz",
            EMPTY_GZIP.to_vec(),
            "incus.tar.xz",
            "it has incus.tar.xz, but Incus boots qcow2, squashfs and root.tar.xz, not root.tar.gz",
        ),
        (
            "5",
            "tar",
            tarball(&[("rootfs/etc/hosts", b"x")]),
            "",
            "it has a rootfs like a unified image, but no metadata.yaml at its beginning",
        ),
        (
            "6",
            "tar",
            tarball(&[("metadata.yaml", b"architecture: x86_64\ncreation_date: 1\n")]),
            "",
            "it has the metadata.yaml of a unified image, but neither rootfs/ nor rootfs.img follows",
        ),
    ] {
        let warnings = warnings_of(&server, version, format, &bytes, attachment).await;
        assert_eq!(warnings, [format!("is not listed: {reason}")], "{format} {attachment}");
    }
    // These are not meant for Incus.
    for (version, format, bytes, attachment) in [
        ("10", "qcow2", qcow2(1), "sbom.json"),
        ("11", "raw", vec![0; 512], "meta.tar"),
        ("12", "tar", tarball(&[("metadata.yaml", b"name: a charm\n"), ("charm", b"x")]), "sbom.json"),
    ] {
        assert_eq!(warnings_of(&server, version, format, &bytes, attachment).await, [""; 0], "{format} {attachment}");
    }
    assert_eq!(images(&server).await.iter().count(), 0);
}

#[tokio::test]
async fn an_artifact_without_the_metadata_that_another_of_the_version_has_is_named() {
    let server = TestServer::start().await;
    draft(&server, "debian", "1").await;
    describe(&server, &add(&server, "debian", "1", &Artifact::qcow2(&qcow2(1))).await).await;
    let squashfs = [b"hsqs".as_slice(), &[0; 2000]].concat();
    add(&server, "debian", "1", &Artifact { format: "squashfs", ..Artifact::qcow2(&squashfs) }).await;
    // Of another variant, which may be meant for other hosts.
    add(&server, "debian", "1", &Artifact { variant: "cloud", ..Artifact::qcow2(&qcow2(2)) }).await;
    let job = publish(&server, "debian", "1").await;
    draft(&server, "debian", "2").await;
    let listed = Artifact { format: "squashfs", ..Artifact::qcow2(&squashfs) };
    describe(&server, &add(&server, "debian", "2", &listed).await).await;
    let tarball = [EMPTY_XZ, &[0; 2000]].concat();
    add(&server, "debian", "2", &Artifact { format: "root.tar.xz", ..Artifact::qcow2(&tarball) }).await;
    assert_eq!(reasons(&publish(&server, "debian", "2").await), [""; 0]);
    let reason = "is not listed: it has no incus.tar.xz, but the qcow2 of the same architecture and variant does";
    assert_eq!(reasons(&job), [reason]);
}

#[tokio::test]
async fn metadata_that_only_the_tool_of_incus_refuses_is_listed_with_a_warning() {
    let server = TestServer::start().await;
    draft(&server, "debian", "1").await;
    let artifact = add(&server, "debian", "1", &Artifact::qcow2(&qcow2(1))).await;
    let yaml = b"architecture: x86_64\ncreation_date: 1\nproperties: {os: Debian, architecture: amd64, release: 12}\n";
    attach(&server, &artifact, "incus.tar.xz", &tarball(&[("./metadata.yaml", yaml)])).await;
    let job = publish(&server, "debian", "1").await;
    let remarks = "metadata.yaml is packed as ./metadata.yaml, metadata.yaml has no property variant, metadata.yaml has no \
        property description";
    let warning = format!("is listed, but incus-simplestreams add would refuse its incus.tar.xz: {remarks}");
    assert_eq!(reasons(&job), [warning]);
    assert_eq!(images(&server).await.iter().count(), 1);
}

#[tokio::test]
async fn a_unified_image_is_listed_unless_the_version_has_a_split_one() {
    let server = TestServer::start().await;
    let yaml: &[u8] = b"architecture: x86_64\ncreation_date: 1\nproperties: {os: a, release: b, variant: c, \
        architecture: amd64, description: d}\n";
    let container = tarball(&[("metadata.yaml", yaml), ("rootfs/etc/hosts", b"x")]);
    let machine = tarball(&[("metadata.yaml", yaml), ("rootfs.img", b"x")]);
    for (version, bytes, combined_type) in [("1", &container, "container"), ("2", &machine, "virtual-machine")] {
        assert_eq!(warnings_of(&server, version, "tar", bytes, "").await, [""; 0]);
        let products = server.get("/streams/v1/images.json").await.json();
        let product = &products["products"][format!("debian:{version}:amd64:default")];
        let items = &product["versions"].as_object().expect("versions").values().next().expect("one")["items"];
        let sha256 = imgsrv_testkit::digest(bytes).trim_start_matches("sha256:").to_owned();
        let item = |ftype: &str| {
            json!({"ftype": ftype, "path": format!("images/debian/{version}/debian-{version}-x86_64.tar"),
                "size": bytes.len(), "sha256": sha256, "combined_type": combined_type})
        };
        let [incus, lxd] =
            ["incus_combined.tar.gz", "lxd_combined.tar.gz"].map(|ftype| (ftype.to_owned(), item(ftype)));
        assert_eq!(*items, Value::Object([incus, lxd].into_iter().collect()), "{product}");
    }
    draft(&server, "debian", "3").await;
    let squashfs = [b"hsqs".as_slice(), &[0; 2000]].concat();
    let split = add(&server, "debian", "3", &Artifact { format: "squashfs", ..Artifact::qcow2(&squashfs) }).await;
    describe(&server, &split).await;
    add(&server, "debian", "3", &Artifact { format: "tar", ..Artifact::qcow2(&container) }).await;
    let job = publish(&server, "debian", "3").await;
    let reason = "the version has a squashfs for the same architecture and variant, which is listed instead";
    assert_eq!(reasons(&job), [format!("is not listed: {reason}")]);
    assert_eq!(images(&server).await.iter().count(), 3);
}
