//! What can be told to be wrong with a publication before anything is sent. The server checks all of it as well.

use crate::{
    error::Error,
    publish::{NewArtifact, Publication},
};
use std::collections::BTreeSet;

/// The formats that Incus boots.
const BOOTABLE: [&str; 3] = ["qcow2", "squashfs", "root.tar.xz"];
/// The attachment that the server makes for Incus.
pub(crate) const INCUS_METADATA: &str = "incus.tar.xz";

/// Checks names, and that no two things have the same.
pub(crate) fn check(what: &Publication) -> Result<(), Error> {
    let unfit = |why: String| Err(Error::Unfit(why));
    let lower = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !name(&what.image, 128, "._-", lower) {
        return unfit(format!("{:?} is not the name of an image: a-z, 0-9, dots, dashes and underscores", what.image));
    }
    if !name(&what.version, 128, "._+:-", |c| c.is_ascii_alphanumeric()) {
        return unfit(format!("{:?} is not the name of a version", what.version));
    }
    for alias in &what.aliases {
        if !name(alias, 64, "._-", |c| c.is_ascii_alphanumeric()) {
            return unfit(format!("{alias:?} is not the name of an alias"));
        }
        if *alias == what.version {
            return unfit(format!("{alias} cannot be both the version and an alias of it"));
        }
    }
    if what.artifacts.is_empty() {
        return unfit("a version has at least one artifact".to_owned());
    }
    let mut files = BTreeSet::new();
    for artifact in &what.artifacts {
        check_artifact(artifact, &mut files)?;
    }
    Ok(())
}

fn check_artifact(artifact: &NewArtifact, files: &mut BTreeSet<String>) -> Result<(), Error> {
    let unfit = |why: String| Err(Error::Unfit(why));
    let NewArtifact { operating_system, architecture, variant, format, attachments, incus, .. } = artifact;
    let attached = attachments.iter().map(|attachment| &attachment.name);
    for word in [operating_system, architecture, variant].into_iter().chain(attached) {
        if !name(word, 64, "._+-", |c| c.is_ascii_alphanumeric()) {
            return unfit(format!("{word:?} is not a name: letters, digits, dots, dashes, underscores and plus signs"));
        }
    }
    if incus.is_some() && !BOOTABLE.contains(&format.as_str()) {
        return unfit(format!("Incus boots {}, not {format}", BOOTABLE.join(", ")));
    }
    // As the server calls the files of a version.
    let variant = if variant == "default" { String::new() } else { format!("-{variant}") };
    let file = format!("{architecture}{variant}.{format}");
    let made = incus.iter().map(|_| INCUS_METADATA);
    let attached = attachments.iter().map(|attachment| attachment.name.as_str()).chain(made);
    let own = std::iter::once(file.clone()).chain(attached.map(|name| format!("{file}.{name}")));
    match own.into_iter().find(|file| !files.insert(file.clone())) {
        Some(twice) => {
            unfit(format!("two files would be called {twice}: they need different names, architectures or variants"))
        }
        None => Ok(()),
    }
}

/// Whether a text is a name: a first character of `first`, then more of it or of `others`, at most `most` in all.
fn name(text: &str, most: usize, others: &str, first: impl Fn(char) -> bool) -> bool {
    text.len() <= most && text.starts_with(&first) && text.chars().all(|c| first(c) || others.contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::NewAttachment;

    fn disk(arch: &str) -> NewArtifact {
        NewArtifact::new("disk", "qcow2", arch)
    }

    #[test]
    fn what_can_never_be_published_is_told_before_anything_is_sent() {
        let fits = |what: Publication| check(&what).is_ok();
        assert!(fits(Publication::new("debian", "12.5.0", [disk("amd64"), disk("arm64")]).alias("latest")));
        for (image, version) in [("Debian", "1"), ("", "1"), ("a b", "1"), ("a", ""), ("a", "-1"), ("a", "1/2")] {
            assert!(!fits(Publication::new(image, version, [disk("amd64")])), "{image} {version}");
        }
        assert!(!fits(Publication::new("a", "1", [])));
        assert!(!fits(Publication::new("a", "1", [disk("amd64")]).alias("1")));
        assert!(!fits(Publication::new("a", "1", [disk("amd64")]).alias("a:b")));
        let mut other = disk("amd64");
        other.operating_system = "other".to_owned();
        assert!(!fits(Publication::new("a", "1", [disk("amd64"), other])), "the same file");
        let mut twice = disk("amd64");
        twice.attachments = ["one", "two"].map(|file| NewAttachment::new("sbom", "a/b", file)).into();
        assert!(!fits(Publication::new("a", "1", [twice])));
        let mut raw = NewArtifact::new("disk", "raw", "amd64");
        raw.incus = Some(imgsrv_api::CreateIncusMetadata::default());
        assert!(!fits(Publication::new("a", "1", [raw])));
    }
}
