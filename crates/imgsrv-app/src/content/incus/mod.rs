//! The requirements of Incus for an artifact and its metadata.

pub(crate) mod metadata;

pub(crate) use imgsrv_domain::files::INCUS_METADATA as METADATA_NAME;
use imgsrv_domain::names::{Architecture, Format, Variant};
use imgsrv_simplestreams::{IncusArchitecture, Root};

/// The key of an artifact's Simple Streams product within its version, or `None` if Incus cannot boot it.
pub(crate) fn product(format: Format, architecture: &Architecture, variant: &Variant) -> Option<String> {
    let architecture = IncusArchitecture::of_artifact(architecture.as_str()).ok()?;
    root(format).map(|_| format!("{architecture}:{variant}:{format}"))
}

/// The kind of root file system of artifacts of a format, or `None` if Incus cannot boot it.
pub(crate) const fn root(format: Format) -> Option<Root> {
    match format {
        Format::Qcow2 => Some(Root::Disk),
        Format::Squashfs => Some(Root::Squashfs),
        Format::RootTarXz => Some(Root::Tarball),
        _ => None,
    }
}

/// Whether artifacts of a format can be unified images, which have their metadata in themselves.
pub(crate) const fn may_be_unified(format: Format) -> bool {
    matches!(format, Format::Tar | Format::TarGz | Format::TarXz | Format::TarZst)
}
