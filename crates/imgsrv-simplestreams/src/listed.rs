//! The artifacts that a stream lists.

use imgsrv_domain::{
    architecture::IncusArchitecture,
    digest::{BlobClaim, Digest},
    inspection::{ImageKind, IncusProperties},
    names::{ImageName, OperatingSystem, Variant, VersionName},
    time::{Day, Timestamp},
};

/// The kind of root of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Root {
    /// The disk of a virtual machine, qcow2.
    Disk,
    /// A container's root file system.
    Squashfs,
    /// The same as a tarball; ignored if there is a squashfs.
    Tarball,
    /// Either in one tarball with the metadata; ignored if there is another of the same kind.
    Unified(ImageKind),
}

impl Root {
    /// The kind of instance that it creates.
    pub const fn kind(self) -> ImageKind {
        match self {
            Self::Disk => ImageKind::VirtualMachine,
            Self::Squashfs | Self::Tarball => ImageKind::Container,
            Self::Unified(kind) => kind,
        }
    }

    /// Its type as an item of a product.
    pub(crate) const fn ftype(self) -> &'static str {
        match self {
            Self::Disk => "disk-kvm.img",
            Self::Squashfs => "squashfs",
            Self::Tarball => "root.tar.xz",
            Self::Unified(_) => "incus_combined.tar.gz",
        }
    }
}

/// A file of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its name in its version.
    pub name: String,
    /// Its digest and size.
    pub claim: BlobClaim,
}

/// A listed artifact of a published version, with its metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The image.
    pub image: ImageName,
    /// The display name of the image.
    pub title: Option<String>,
    /// The version.
    pub version: VersionName,
    /// When that was published.
    pub published_at: Timestamp,
    /// The operating system.
    pub operating_system: OperatingSystem,
    /// The architecture.
    pub architecture: IncusArchitecture,
    /// The variant.
    pub variant: Variant,
    /// The kind of root.
    pub root: Root,
    /// The artifact's file.
    pub root_file: File,
    /// The file of its metadata, if it is not unified.
    pub metadata: Option<File>,
    /// The SHA-256 of the metadata followed by the root, or of the unified image.
    pub fingerprint: Digest,
    /// The properties in the metadata.
    pub properties: IncusProperties,
    /// When the image expires, according to the metadata.
    pub expires_at: Option<Timestamp>,
    /// The deprecation of the version.
    pub deprecation: Option<Deprecation>,
}

/// The deprecation of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deprecation {
    /// The day on which its support ends.
    pub end_of_life: Option<Day>,
}
