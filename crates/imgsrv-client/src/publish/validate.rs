//! Validation of a publication before anything is sent. The server checks all of it as well.

use super::{NewArtifact, Publication};
use crate::error::Error;
use imgsrv_domain::{
    files::{INCUS_METADATA, artifact_file, attachment_file},
    names::{AliasName, Architecture, AttachmentName, Format, ImageName, OperatingSystem, Variant, VersionName},
};
use std::{collections::BTreeSet, str::FromStr};

/// The formats that Incus boots.
const INCUS_FORMATS: [Format; 3] = [Format::Qcow2, Format::Squashfs, Format::RootTarXz];

/// Checks names, and that no two files have the same name.
pub(super) fn validate(publication: &Publication) -> Result<(), Error> {
    let Publication { image, version, aliases, artifacts, .. } = publication;
    let image: ImageName =
        parse(image, || format!("{image:?} is not a valid image name; use a-z, 0-9, dots, dashes and underscores"))?;
    let version: VersionName =
        parse(version, || format!("{version:?} is not a valid version name; use letters, digits, and . _ + : -"))?;
    for alias in aliases {
        parse::<AliasName>(alias, || {
            format!("{alias:?} is not a valid alias name; use letters, digits, dots, dashes and underscores")
        })?;
        if alias == version.as_str() {
            return invalid(format!("{alias} cannot be both the version and an alias of it; choose another alias"));
        }
    }
    if artifacts.is_empty() {
        return invalid("a version needs at least one file".to_owned());
    }
    let prefix = format!("{image}-{version}-");
    let mut files = BTreeSet::new();
    for artifact in artifacts {
        for file in file_names(&image, &version, artifact)? {
            if let Some(file) = files.replace(file) {
                let short = file.strip_prefix(&prefix).unwrap_or(&file);
                return invalid(format!(
                    "two files would have the same name, {short}; give them different architectures or variants"
                ));
            }
        }
    }
    Ok(())
}

/// The names of the files of an artifact and its attachments.
fn file_names(image: &ImageName, version: &VersionName, artifact: &NewArtifact) -> Result<Vec<String>, Error> {
    let NewArtifact { operating_system, architecture, variant, format, attachments, incus, .. } = artifact;
    parse_word::<OperatingSystem>(operating_system)?;
    let (architecture, variant) = (parse_word::<Architecture>(architecture)?, parse_word::<Variant>(variant)?);
    if incus.is_some() && !INCUS_FORMATS.contains(format) {
        return invalid(format!(
            "Incus cannot boot the format {format}; it boots {}",
            INCUS_FORMATS.map(Format::as_str).join(", ")
        ));
    }
    let mut files = vec![artifact_file(image, version, &architecture, &variant, *format)];
    let attached = attachments.iter().map(|attachment| attachment.name.as_str());
    for name in attached.chain(incus.as_ref().map(|_| INCUS_METADATA)) {
        files.push(attachment_file(&files[0], &parse_word::<AttachmentName>(name)?));
    }
    Ok(files)
}

fn parse_word<T: FromStr>(word: &str) -> Result<T, Error> {
    parse(word, || {
        format!("{word:?} is not a valid name; use letters, digits, dots, dashes, underscores and plus signs")
    })
}

fn parse<T: FromStr>(text: &str, otherwise: impl FnOnce() -> String) -> Result<T, Error> {
    text.parse().map_err(|_| Error::InvalidPublication(otherwise()))
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
        let mut twice = disk("amd64");
        twice.attachments = ["one", "two"].map(|file| NewAttachment::new("sbom", "a/b", file)).into();
        assert!(!is_valid(Publication::new("a", "1", [twice])));
        let mut raw = NewArtifact::new("disk", Format::Raw, "amd64");
        raw.incus = Some(imgsrv_api::CreateIncusMetadata::default());
        assert!(!is_valid(Publication::new("a", "1", [raw])));
    }
}
