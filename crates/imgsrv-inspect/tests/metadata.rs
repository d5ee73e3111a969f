//! Metadata tarballs: written ones can be read, and hostile ones use little memory.

use imgsrv_inspect::{IncusMetadata, MetadataProblem, NewMetadata};
use liblzma::write::XzEncoder;
use std::io::Write;
use tar::{Builder, Header};

fn tarball(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = Builder::new(XzEncoder::new(Vec::new(), 6));
    for (name, bytes) in files {
        let mut header = Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, *bytes).expect("appended");
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
    };
    let written = new.tarball().expect("written");
    assert_eq!(written, new.tarball().expect("written"));
    let NewMetadata { architecture, creation_date, properties, .. } = new;
    assert_eq!(IncusMetadata::read(&written), Ok(IncusMetadata { architecture, creation_date, properties }));
}

#[test]
fn properties_are_scalars_and_optional() {
    let read = |properties: &str| {
        let found = yaml(&format!("architecture: x86_64\ncreation_date: 1\n{properties}")).expect("metadata");
        found.properties.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
    };
    assert_eq!(
        read("properties: {os: Debian, release: 12, serial: 1.50, secure: false, none: ~}"),
        ["os=Debian", "release=12", "secure=false", "serial=1.50"]
    );
    for none in ["", "properties:", "properties: [os]", "properties: {os: [Debian]}", "properties: Debian"] {
        assert_eq!(read(none), [""; 0], "{none}");
    }
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
    assert_eq!(yaml("architecture: x86_64\ncreation_date: -1"), Err(MetadataProblem::Field("creation_date")));
    assert_eq!(yaml("architecture: x86_64\ncreation_date: soon"), Err(MetadataProblem::NotYaml));
    assert_eq!(yaml("architecture: x86_64\ncreation_date: \"1700000000\""), Err(MetadataProblem::NotYaml));
    assert_eq!(yaml("architecture: x86_64\ncreation_date: 1.5"), Err(MetadataProblem::NotYaml));
    assert_eq!(yaml("just text"), Err(MetadataProblem::NotYaml));
    assert_eq!(yaml("- {"), Err(MetadataProblem::NotYaml));
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
    assert_eq!(yaml(&format!("x: {deep}")), Err(MetadataProblem::NotYaml));
}
