//! Metadata tarballs: written ones can be read, and hostile ones use little memory.

use imgsrv_inspect::{IncusMetadata, Line, MetadataProblem, MetadataRemark, NewMetadata};
use liblzma::write::XzEncoder;
use std::io::Write;
use tar::{Builder, Header};

fn tarball(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = Builder::new(XzEncoder::new(Vec::new(), 6));
    for (name, bytes) in files {
        let mut header = Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        // As it is: a name that begins with `./` is not the same name.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        builder.append(&header, *bytes).expect("appended");
    }
    builder.into_inner().expect("a tarball").finish().expect("packed")
}

fn yaml(text: &str) -> Result<IncusMetadata, MetadataProblem> {
    IncusMetadata::read(&tarball(&[("metadata.yaml", text.as_bytes())]))
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = XzEncoder::new(Vec::new(), 6);
    encoder.write_all(bytes).expect("written");
    encoder.finish().expect("packed")
}

#[test]
fn written_metadata_is_readable_and_deterministic() {
    let new = NewMetadata {
        architecture: "x86_64".to_owned(),
        creation_date: 1_700_000_000,
        expiry_date: Some(1_800_000_000),
        properties: [("description", "It's \"quoted\": {yes}\n- é"), ("os", "no"), ("release", "012")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        comment: "of one artifact\narchitecture: armv7l".to_owned(),
    };
    let written = new.tarball().expect("written");
    assert_eq!(written, new.tarball().expect("written"));
    let other = NewMetadata { comment: "of another artifact".to_owned(), ..new.clone() };
    assert_ne!(written, other.tarball().expect("written"), "no two artifacts share their metadata");
    let NewMetadata { architecture, creation_date, expiry_date, properties, .. } = new;
    let remarks = ["variant", "architecture"].map(MetadataRemark::NoProperty).to_vec();
    let expected = IncusMetadata { architecture, creation_date, expiry_date, properties, remarks };
    assert_eq!(IncusMetadata::read(&written), Ok(expected));
}

#[test]
fn properties_are_scalars_and_optional() {
    let read = |properties: &str| {
        let found = yaml(&format!("architecture: x86_64\ncreation_date: 1\n{properties}")).expect("metadata");
        found.properties.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
    };
    assert_eq!(
        read("properties: {os: Debian, release: 12, serial: 1.50, secure: false, none: ~}"),
        ["none=", "os=Debian", "release=12", "secure=false", "serial=1.50"]
    );
    for none in ["", "properties:", "properties: {}"] {
        assert_eq!(read(none), [""; 0], "{none}");
    }
}

#[test]
fn dates_are_numbers_with_or_without_a_fraction() {
    let dates = |dates: &str| {
        let found = yaml(&format!("architecture: x86_64\n{dates}")).expect("metadata");
        (found.creation_date, found.expiry_date)
    };
    assert_eq!(dates("creation_date: 1700000000.75\nexpiry_date: 1.8e9"), (1_700_000_000, Some(1_800_000_000)));
    assert_eq!(dates("creation_date: 0x65530e00\nexpiry_date: 0"), (1_699_941_888, None));
    assert_eq!(dates("creation_date: 1_700_000_000\nexpiry_date: -1"), (1_700_000_000, None));
    assert_eq!(dates("creation_date: -1\nexpiry_date:"), (-1, None));
    assert_eq!(dates("creation_date: 1\ncreation_date: 2"), (2, None));
}

#[test]
fn a_value_of_another_kind_is_named() {
    let reason =
        |text: &str| yaml(&format!("architecture: x86_64\ncreation_date: 1\n{text}")).expect_err(text).to_string();
    for (text, expected) in [
        ("properties: [os]", "properties must be a mapping from names to texts"),
        ("properties: {os: [Debian]}", "properties.os must be text"),
        ("expiry_date: soon", "expiry_date must be a number without quotes"),
        ("expiry_date: '1800000000'", "expiry_date must be a number without quotes"),
        ("templates: []", "templates must be a mapping from paths to templates"),
        ("templates: {/etc/hosts: x}", "templates./etc/hosts must be a template"),
        ("templates: {/etc/hosts: {when: create}}", "templates./etc/hosts.when must be a list of texts"),
        ("templates: {/etc/hosts: {when: [[create]]}}", "templates./etc/hosts.when[0] must be text"),
        ("templates: {/a: {create_only: 1}}", "templates./a.create_only must be true or false without quotes"),
        ("templates: {/a: {properties: {b: {}}}}", "templates./a.properties.b must be text"),
        // Names from a hostile file are not repeated.
        ("properties: {\"a\\u202e\": []}", "properties must be text"),
    ] {
        assert_eq!(reason(text), format!("its metadata.yaml is not valid: {expected}"), "{text}");
    }
}

#[test]
fn every_compression_that_incus_detects_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "architecture: x86_64\ncreation_date: 1\n";
    std::fs::write(folder.path().join("metadata.yaml"), text).expect("written");
    let make = "tar cf m metadata.yaml; for p in gzip bzip2 zstd xz lzma; do $p -c <m >m.$p; done";
    let made = std::process::Command::new("sh").args(["-ec", make]).current_dir(folder.path()).status();
    assert!(made.expect("a shell").success(), "{make}");
    for name in ["m", "m.gzip", "m.bzip2", "m.zstd", "m.xz", "m.lzma"] {
        let bytes = std::fs::read(folder.path().join(name)).expect("a tarball");
        assert_eq!(IncusMetadata::read(&bytes).map(|found| found.architecture).as_deref(), Ok("x86_64"), "{name}");
        let cut = IncusMetadata::read(&bytes[..bytes.len() / 2]);
        assert!(name == "m" || cut == Err(MetadataProblem::NotATarball), "{name}: {cut:?}");
    }
    assert_eq!(IncusMetadata::read(b"\x04\x22\x4d\x18 lz4"), Err(MetadataProblem::NotATarball));
}

#[test]
fn what_only_the_tool_for_streams_refuses_is_a_remark() {
    let text = b"architecture: x86_64\ncreation_date: 1\nproperties: {os: a, release: b, variant: c, architecture: d}";
    let found = IncusMetadata::read(&tarball(&[("./metadata.yaml", text)])).expect("metadata");
    assert_eq!(found.remarks, [MetadataRemark::Prefixed, MetadataRemark::NoProperty("description")]);
}

#[test]
fn metadata_is_found_under_both_usual_names() {
    let text = b"architecture: aarch64\ncreation_date: 1\nproperties:\n  os: Debian\ntemplates:\n  /etc/hosts:\n    when: [create]\n";
    for name in ["metadata.yaml", "./metadata.yaml"] {
        let found = IncusMetadata::read(&tarball(&[("templates/hosts.tpl", b"x"), (name, text)]));
        assert_eq!(found.map(|found| found.architecture).as_deref(), Ok("aarch64"));
    }
}

#[test]
fn missing_and_invalid_fields_are_named() {
    assert_eq!(yaml("creation_date: 1"), Err(MetadataProblem::Field("architecture")));
    assert_eq!(yaml("architecture: ''\ncreation_date: 1"), Err(MetadataProblem::Field("architecture")));
    assert_eq!(yaml("architecture: x86_64"), Err(MetadataProblem::Field("creation_date")));
    assert_eq!(yaml("architecture: x86_64\ncreation_date: 0.5"), Err(MetadataProblem::Field("creation_date")));
    let number = Err(MetadataProblem::Kind { field: "creation_date".to_owned(), expected: "a number without quotes" });
    for date in ["soon", "\"1700000000\"", "2026-11-28", "true", "1e30", ".nan", "[1]"] {
        assert_eq!(yaml(&format!("architecture: x86_64\ncreation_date: {date}")), number, "{date}");
    }
    assert_eq!(yaml("just text"), Err(MetadataProblem::NotAMapping));
    assert_eq!(yaml("- a"), Err(MetadataProblem::NotAMapping));
    assert_eq!(yaml("a: 1\n- {"), Err(MetadataProblem::NotYaml(Line(Some(2)))));
    assert_eq!(yaml("a: 1\nb: \u{7f}"), Err(MetadataProblem::NotYaml(Line(Some(2)))));
    assert_eq!(IncusMetadata::read(&tarball(&[("deeper/metadata.yaml", b"x")])), Err(MetadataProblem::NoYaml));
    let text = b"architecture: x86_64\ncreation_date: 1";
    let two = tarball(&[("metadata.yaml", text), ("metadata.yaml", text)]);
    assert_eq!(IncusMetadata::read(&two), Err(MetadataProblem::SeveralYamls));
    assert_eq!(IncusMetadata::read(b"a placeholder"), Err(MetadataProblem::NotATarball));
    assert_eq!(IncusMetadata::read(b""), Err(MetadataProblem::NotATarball));
    assert_eq!(
        IncusMetadata::read(&packed(b"not a tarball, but long enough").repeat(40)),
        Err(MetadataProblem::NotATarball)
    );
}

#[test]
fn truncated_tarball_is_rejected() {
    let whole = tarball(&[("metadata.yaml", b"architecture: x86_64\ncreation_date: 1"), ("more", &[7; 4096])]);
    assert!(IncusMetadata::read(&whole).is_ok());
    for cut in [whole.len() - 1, whole.len() - 40, whole.len() / 2] {
        assert_eq!(IncusMetadata::read(&whole[..cut]), Err(MetadataProblem::NotATarball), "{cut}");
    }
}

#[test]
fn hostile_tarballs_are_bounded() {
    let bomb = packed(&vec![0; 80 << 20]);
    assert_eq!(IncusMetadata::read(&bomb), Err(MetadataProblem::UnpacksTooLarge));
    assert_eq!(IncusMetadata::read(&vec![0; (8 << 20) + 1]), Err(MetadataProblem::TooLarge));
    let many: Vec<(String, &[u8])> = (0..4097).map(|i| (format!("f{i}"), &b""[..])).collect();
    let many: Vec<_> = many.iter().map(|(name, bytes)| (name.as_str(), *bytes)).collect();
    assert_eq!(IncusMetadata::read(&tarball(&many)), Err(MetadataProblem::TooManyEntries));
    let long = vec![b'#'; (1 << 20) + 1];
    assert_eq!(IncusMetadata::read(&tarball(&[("metadata.yaml", &long)])), Err(MetadataProblem::YamlTooLarge));
    let laughs: String = (1..30).map(|i| format!("a{i}: &a{i} [*a{0}, *a{0}, *a{0}, *a{0}]\n", i - 1)).collect();
    assert!(yaml(&format!("a0: &a0 x\n{laughs}architecture: x86_64\ncreation_date: 1")).is_err());
    let deep = "[".repeat(100_000);
    assert!(matches!(yaml(&format!("x: {deep}")), Err(MetadataProblem::NotYaml(_))));
}
