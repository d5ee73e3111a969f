//! What people search a catalog for, and the summaries that a search finds.

use crate::{
    digest::{ByteSize, Digest},
    ids::ArtifactId,
    image::{Alias, Image},
    inspection::ImageKind,
    lifecycle::LifecycleState,
    manifest::ManifestEntry,
    names::{AliasName, Architecture, Format, OperatingSystem, Variant, VersionName, string_enum},
    packages::PackageList,
    page::Page,
    time::Timestamp,
    version::Version,
};
use std::collections::BTreeMap;

string_enum! {
    /// What a file is used for.
    ArtifactKind: "vm, container, iso, boot or archive" {
        /// A disk of a virtual machine.
        VirtualMachine = "vm",
        /// The root file system of a container.
        Container = "container",
        /// An optical or hybrid image, such as an installer.
        Iso = "iso",
        /// A kernel, an initial RAM disk or an EFI program.
        Boot = "boot",
        /// Another tarball.
        Archive = "archive",
    }
}

impl ArtifactKind {
    /// What files of that format are used for.
    pub fn of(format: Format) -> Self {
        let name = format.as_str();
        match name.split('.').next().unwrap_or(name) {
            "root" | "squashfs" => Self::Container,
            "iso" => Self::Iso,
            "kernel" | "initrd" | "efi" => Self::Boot,
            "tar" => Self::Archive,
            _ => Self::VirtualMachine,
        }
    }

    /// The formats of files that are used so.
    pub fn formats(self) -> impl Iterator<Item = Format> {
        Format::ALL.iter().copied().filter(move |format| Self::of(*format) == self)
    }
}

string_enum! {
    /// The lifecycle of the current version of the images that a search finds.
    CurrentState: "active or deprecated" {
        /// It is active.
        Active = "active",
        /// It is deprecated.
        Deprecated = "deprecated",
    }
}

string_enum! {
    /// The order of the images that a search finds.
    ImageOrder: "name or newest" {
        /// By name.
        Name = "name",
        /// The one with the newest version first.
        Newest = "newest",
    }
}

/// A search for images. All filters on files must match one file of the current version.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImageSearch {
    /// Text that the name or the display name contains; ASCII letters match in either case.
    pub text: Option<String>,
    /// The operating system of a file.
    pub operating_system: Option<OperatingSystem>,
    /// The architecture of a file.
    pub architecture: Option<Architecture>,
    /// The kind of a file.
    pub kind: Option<ArtifactKind>,
    /// The lifecycle of the current version.
    pub state: Option<CurrentState>,
}

impl ImageSearch {
    /// Whether it finds every image.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What the artifacts of a version have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentSummary {
    /// Their architectures, in order.
    pub architectures: Vec<Architecture>,
    /// Their operating systems, in order.
    pub operating_systems: Vec<OperatingSystem>,
    /// Their formats, in order of their names.
    pub formats: Vec<Format>,
    /// How many there are.
    pub artifacts: u64,
    /// The size of all of them.
    pub total_size: ByteSize,
}

impl ContentSummary {
    /// The kinds of the artifacts.
    pub fn kinds(&self) -> impl Iterator<Item = ArtifactKind> {
        let has = |kind: &ArtifactKind| self.formats.iter().any(|format| ArtifactKind::of(*format) == *kind);
        ArtifactKind::ALL.iter().copied().filter(has)
    }
}

/// The version of an image that is offered first: the one that `latest` points to, else the newest active one, else the
/// newest deprecated one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CurrentVersion {
    /// Its name.
    pub name: VersionName,
    /// When it was published.
    pub published_at: Timestamp,
    /// The state of its lifecycle.
    pub state: LifecycleState,
    /// Its artifacts.
    pub content: ContentSummary,
}

/// An image with its current version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSummary {
    /// The image.
    pub image: Image,
    /// Its current version; absent if none is offered.
    pub current: Option<CurrentVersion>,
}

/// A version with what its artifacts have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionSummary {
    /// The version.
    pub version: Version,
    /// Its artifacts.
    pub content: ContentSummary,
}

/// An image with its aliases and a page of its versions, as of one state of the catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageOverview {
    /// The image.
    pub image: Image,
    /// Its aliases by name, at most 1000.
    pub aliases: Vec<Alias>,
    /// Its current version, if one is offered.
    pub current: Option<VersionName>,
    /// Its published versions, newest first.
    pub versions: Page<VersionSummary>,
}

/// A published version and the name and description of its image, for a feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedEntry {
    /// The image.
    pub image: Image,
    /// The version.
    pub version: VersionSummary,
}

/// What surrounds a published version, as of one state of the catalog.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VersionContext {
    /// The aliases that point to it, by name.
    pub aliases: Vec<AliasName>,
    /// The artifacts that Simple Streams lists, with their fingerprints.
    pub listed: Vec<ListedArtifact>,
    /// The current version of its image, if one is offered.
    pub current: Option<VersionName>,
    /// The version that was published before it, if one is not removed.
    pub previous: Option<PreviousVersion>,
    /// What the attachments of both versions that are lists of packages list, by their digests.
    pub packages: BTreeMap<Digest, PackageList>,
}

/// An artifact that Simple Streams lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedArtifact {
    /// The artifact.
    pub artifact: ArtifactId,
    /// Its fingerprint.
    pub fingerprint: Digest,
    /// Of an artifact that has its metadata in itself: the kind of instance.
    pub unified: Option<ImageKind>,
}

/// The artifacts of an image that Simple Streams count together, one in each version: if only the newest versions are
/// listed, the newest of each series are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSeries {
    /// Their architecture, in any spelling.
    pub architecture: Architecture,
    /// Their variant.
    pub variant: Variant,
    /// The kind of instance that they create.
    pub kind: ImageKind,
    /// The formats of artifacts of this kind that have their metadata in another file.
    pub formats: Vec<Format>,
}

/// The version that was published before another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviousVersion {
    /// Its name.
    pub name: VersionName,
    /// Its artifacts and attachments.
    pub entries: Vec<ManifestEntry>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_has_one_kind() {
        let kind = |raw: &str| ArtifactKind::of(raw.parse().expect("a format"));
        for (format, expected) in [
            ("qcow2", ArtifactKind::VirtualMachine),
            ("raw.zst", ArtifactKind::VirtualMachine),
            ("ova", ArtifactKind::VirtualMachine),
            ("root.tar.xz", ArtifactKind::Container),
            ("squashfs", ArtifactKind::Container),
            ("iso.gz", ArtifactKind::Iso),
            ("kernel", ArtifactKind::Boot),
            ("tar.xz", ArtifactKind::Archive),
        ] {
            assert_eq!(kind(format), expected, "{format}");
        }
        let all: usize = ArtifactKind::ALL.iter().map(|kind| kind.formats().count()).sum();
        assert_eq!(all, Format::ALL.len());
    }
}
