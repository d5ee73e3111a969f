//! Validation of a publication before anything is sent. The server checks all of it as well.

use super::{NewArtifact, Publication};
use crate::error::Error;
use imgsrv_domain::{
    files::{INCUS_METADATA, NameClash, Names, artifact_names, check_names, check_spellings},
    names::{AliasName, AttachmentName, Format, ImageName, InvalidName, OperatingSystem, VersionName},
};
use std::str::FromStr;

/// The formats that Incus boots.
const INCUS_FORMATS: [Format; 3] = [Format::Qcow2, Format::Squashfs, Format::RootTarXz];

/// Checks names, and that no two files have the same name.
pub(super) fn validate(publication: &Publication) -> Result<(), Error> {
    let Publication { image, version, aliases, artifacts, .. } = publication;
    let image: ImageName = parse("image name", image)?;
    let version: VersionName = parse("version name", version)?;
    for alias in aliases {
        parse::<AliasName>("alias name", alias)?;
        if alias == version.as_str() {
            return invalid(format!("{alias} cannot be both the version and an alias of it; choose another alias"));
        }
    }
    if artifacts.is_empty() {
        return invalid("a version needs at least one file".to_owned());
    }
    let mut files = Vec::new();
    for artifact in artifacts {
        files.extend(file_names(&image, &version, artifact)?);
    }
    let distinct = check_names(files.iter().map(|names| names.own.as_str()));
    distinct.and_then(|()| check_spellings(files.clone())).map_err(|clash| {
        let prefix = format!("{image}-{version}-");
        let short = |name: String| name.strip_prefix(&prefix).unwrap_or(&name).to_owned();
        Error::InvalidPublication(match clash {
            NameClash::Twice(name) => {
                let clash = NameClash::Twice(short(name));
                format!("{clash}; give them different architectures or variants, or attachments different names")
            }
            NameClash::Generated { name, of } => {
                let clash = NameClash::Generated { name: short(name), of: short(of) };
                format!("{clash}; choose another name for the attachment")
            }
            NameClash::Respelled { one, other } => {
                let clash = NameClash::Respelled { one: short(one), other: short(other) };
                format!("{clash}; give them different architectures or variants")
            }
        })
    })
}

/// The names of the files of an artifact and its attachments.
fn file_names(image: &ImageName, version: &VersionName, artifact: &NewArtifact) -> Result<Vec<Names>, Error> {
    let NewArtifact { operating_system, architecture, variant, format, attachments, incus, .. } = artifact;
    parse::<OperatingSystem>("operating system", operating_system)?;
    let (architecture, variant) = (parse("architecture", architecture)?, parse("variant", variant)?);
    if incus.is_some() && !INCUS_FORMATS.contains(format) {
        return invalid(format!(
            "Incus cannot boot the format {format}; it boots {}",
            INCUS_FORMATS.map(Format::as_str).join(", ")
        ));
    }
    let mut files = vec![artifact_names(image, version, &architecture, &variant, *format)];
    let attached = || attachments.iter().map(|attachment| attachment.name.as_str());
    if incus.is_some() && attached().any(|name| name == INCUS_METADATA) {
        return invalid(format!(
            "{INCUS_METADATA} is the name of the metadata that the server generates for Incus; attach it, or have it \
             generated, but not both"
        ));
    }
    for name in attached().chain(incus.as_ref().map(|_| INCUS_METADATA)) {
        files.push(files[0].of_attachment(&parse::<AttachmentName>("attachment name", name)?));
    }
    Ok(files)
}

fn parse<T: FromStr<Err = InvalidName>>(what: &str, text: &str) -> Result<T, Error> {
    text.parse().map_err(|why| Error::InvalidPublication(format!("{text:?} is not a valid {what}: it {why}")))
}

fn invalid<T>(why: String) -> Result<T, Error> {
    Err(Error::InvalidPublication(why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::NewAttachment;

    fn disk(arch: &str) -> NewArtifact {
        NewArtifact::new("disk", Format::Qcow2, arch)
    }

    #[test]
    fn invalid_publications_are_refused() {
        let is_valid = |publication: Publication| validate(&publication).is_ok();
        assert!(is_valid(Publication::new("debian", "12.5.0", [disk("amd64"), disk("arm64")]).alias("latest")));
        for (image, version) in [("Debian", "1"), ("", "1"), ("a b", "1"), ("a", ""), ("a", "-1"), ("a", "1/2")] {
            assert!(!is_valid(Publication::new(image, version, [disk("amd64")])), "{image} {version}");
        }
        assert!(!is_valid(Publication::new("a", "1", [])));
        assert!(!is_valid(Publication::new("a", "1", [disk("amd64")]).alias("1")));
        assert!(!is_valid(Publication::new("a", "1", [disk("amd64")]).alias("a:b")));
        let mut other = disk("amd64");
        other.operating_system = "other".to_owned();
        assert!(!is_valid(Publication::new("a", "1", [disk("amd64"), other])), "the same file");
        let refused =
            validate(&Publication::new("a", "1", [disk("x86_64"), disk("AMD64")])).expect_err("the same file");
        assert!(refused.to_string().contains("their architectures are the same"), "{refused}");
        let mut twice = disk("amd64");
        twice.attachments = ["one", "two"].map(|file| NewAttachment::new("sbom", "a/b", file)).into();
        assert!(!is_valid(Publication::new("a", "1", [twice])));
        for names in [&["sha256"][..], &["sbom.json", "sbom.json.sha256"]] {
            let mut attached = disk("amd64");
            attached.attachments = names.iter().map(|name| NewAttachment::new(*name, "a/b", "file")).collect();
            let refused = validate(&Publication::new("a", "1", [attached])).expect_err("the name of a checksum");
            assert!(refused.to_string().contains("which the server generates"), "{refused}");
        }
        let mut raw = NewArtifact::new("disk", Format::Raw, "amd64");
        raw.incus = Some(imgsrv_api::CreateIncusMetadata::default());
        assert!(!is_valid(Publication::new("a", "1", [raw])));
    }
}
