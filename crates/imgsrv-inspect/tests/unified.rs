//! Unified images of Incus, by the first bytes of their tarballs.

use imgsrv_inspect::{MetadataProblem, UnifiedProblem, read_unified};
use std::{io::Write, path::Path};
use tar::{Builder, Header};

const YAML: &[u8] = b"architecture: x86_64\ncreation_date: 1\n";

fn tarball(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, Path::new(name), *bytes).expect("appended");
    }
    builder.into_inner().expect("a tarball")
}

/// Whether the tarball is a machine; why it is no unified image; `None` if it does not resemble one.
fn read(files: &[(&str, &[u8])]) -> Option<Result<bool, UnifiedProblem>> {
    read_unified(&tarball(files)).map(|found| found.map(|image| image.is_machine))
}

#[test]
fn the_root_tells_the_kind_of_instance() {
    let hosts = ("templates/hosts.tpl", &b"x"[..]);
    assert_eq!(read(&[("metadata.yaml", YAML), hosts, ("rootfs/etc/hosts", b"x")]), Some(Ok(false)));
    assert_eq!(read(&[("rootfs/etc/hosts", b"x"), ("metadata.yaml", YAML)]), Some(Ok(false)));
    assert_eq!(read(&[("metadata.yaml", YAML), ("rootfs.img", b"QFI")]), Some(Ok(true)));
    let gzip = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let noise: Vec<u8> = (0..1_000_000_u32).map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
        let files = [("metadata.yaml", YAML), ("rootfs.img", noise.as_slice())];
        encoder.write_all(&tarball(&files)).expect("written");
        encoder.finish().expect("packed")
    };
    // The beginning suffices.
    let found = read_unified(&gzip[..gzip.len() / 2]).expect("resembles one").expect("a unified image");
    assert_eq!((found.metadata.architecture.as_str(), found.is_machine), ("x86_64", true));
}

#[test]
fn a_tarball_that_resembles_a_unified_image_has_a_reason() {
    assert_eq!(read(&[("metadata.yaml", YAML), ("other", b"x")]), Some(Err(UnifiedProblem::NoRoot)));
    assert_eq!(read(&[("rootfs/etc/hosts", b"x")]), Some(Err(UnifiedProblem::NoYaml)));
    let bad = UnifiedProblem::Metadata(MetadataProblem::Field("creation_date"));
    assert_eq!(read(&[("metadata.yaml", b"architecture: x86_64"), ("rootfs.img", b"")]), Some(Err(bad)));
}

#[test]
fn other_tarballs_are_none() {
    assert_eq!(read(&[("metadata.yaml", b"name: a charm"), ("charm", b"x")]), None);
    assert_eq!(read(&[("deeper/rootfs/etc", b"x"), ("rootfs.txt", b"x")]), None);
    assert_eq!(read(&[]), None);
    for bytes in [&b""[..], b"no tarball", b"\x1f\x8b\x08"] {
        assert!(read_unified(bytes).is_none(), "{bytes:?}");
    }
}
