//! How an Incus client interprets the documents (`shared/simplestreams/{products,simplestreams,sort}.go` of Incus 6.0).

use crate::model::{Item, Product, Products};
use imgsrv_domain::{architecture::IncusArchitecture, inspection::ImageKind};
use std::{cmp::Reverse, collections::BTreeMap};

/// An image that a client can fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteImage {
    /// The SHA-256 of the metadata followed by the root, or of a unified image.
    pub fingerprint: String,
    /// The kind of instance that it creates.
    pub kind: ImageKind,
    /// Its architecture.
    pub architecture: IncusArchitecture,
    /// Its operating system.
    pub os: String,
    /// The release of the operating system.
    pub release: String,
    /// Its variant.
    pub variant: String,
    /// The key of its version.
    pub serial: String,
    /// The metadata.
    pub metadata: Item,
    /// The root file system or disk; of a unified image, the same file as the metadata.
    pub root: Item,
}

/// The images of a server, and their names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Images {
    images: Vec<RemoteImage>,
    aliases: BTreeMap<(String, ImageKind, IncusArchitecture), usize>,
}

/// The rank of a root among those that a client prefers, its kind, and the fingerprint that the metadata has for it.
fn fingerprint(metadata: &Item, root: &Item) -> Option<(usize, ImageKind, String)> {
    let is_unified = metadata.ftype == "incus_combined.tar.gz" && metadata == root;
    if !is_unified && metadata.ftype != "incus.tar.xz" {
        return None;
    }
    let (rank, kind, fingerprint) = match root.ftype.as_str() {
        "incus_combined.tar.gz" if is_unified => {
            let is_machine = root.combined_type.as_deref() == Some(ImageKind::VirtualMachine.as_str());
            let kind = if is_machine { ImageKind::VirtualMachine } else { ImageKind::Container };
            return (!root.sha256.is_empty()).then(|| (0, kind, root.sha256.clone()));
        }
        "squashfs" => (0, ImageKind::Container, &metadata.combined_squashfs_sha256),
        "root.tar.xz" => (1, ImageKind::Container, &metadata.combined_rootxz_sha256),
        "disk-kvm.img" => (2, ImageKind::VirtualMachine, &metadata.combined_disk_kvm_img_sha256),
        _ => return None,
    };
    fingerprint.clone().filter(|fingerprint| !fingerprint.is_empty()).map(|fingerprint| (rank, kind, fingerprint))
}

/// Whether a version's key starts with a date; clients ignore others.
fn is_dated(serial: &str) -> bool {
    serial.get(..8).is_some_and(|date| {
        date.bytes().all(|digit| digit.is_ascii_digit()) && jiff::civil::Date::strptime("%Y%m%d", date).is_ok()
    })
}

impl Images {
    /// The images that `documents` list, as a client sees them.
    pub fn of<'a>(documents: impl IntoIterator<Item = &'a Products>) -> Self {
        let mut found = Vec::new();
        for product in documents.into_iter().flat_map(|document| document.products.values()) {
            images_of(product, &mut found);
        }
        found.sort_by_cached_key(|(image, rank, _)| {
            let RemoteImage { os, release, variant, serial, architecture, .. } = image.clone();
            (os, release, variant, Reverse(serial), architecture.kernel_name(), *rank)
        });
        let mut images = Self::default();
        for (image, _, names) in found {
            let at = images.images.len();
            for name in names {
                images.aliases.entry((name, image.kind, image.architecture)).or_insert(at);
            }
            images.images.push(image);
        }
        images
    }

    /// Every image.
    pub fn iter(&self) -> impl Iterator<Item = &RemoteImage> {
        self.images.iter()
    }

    /// The image that a client of that architecture finds by `alias`.
    pub fn find(&self, alias: &str, kind: ImageKind, architecture: IncusArchitecture) -> Option<&RemoteImage> {
        let at = self.aliases.get(&(alias.to_owned(), kind, architecture))?;
        self.images.get(*at)
    }
}

fn images_of(product: &Product, found: &mut Vec<(RemoteImage, usize, Vec<String>)>) {
    let Ok(architecture) = product.arch.parse::<IncusArchitecture>() else { return };
    let aliases = product.aliases.split(',').filter(|alias| !alias.is_empty());
    let names: Vec<String> =
        aliases.flat_map(|alias| [alias.to_owned(), format!("{alias}/{}", product.arch)]).collect();
    for (serial, version) in product.versions.iter().filter(|(serial, _)| is_dated(serial)) {
        let items = version.items.values();
        for metadata in items.clone().filter(|item| !item.path.is_empty()) {
            for root in items.clone() {
                let Some((rank, kind, fingerprint)) = fingerprint(metadata, root) else { continue };
                let image = RemoteImage {
                    fingerprint,
                    kind,
                    architecture,
                    os: product.os.clone(),
                    release: product.release.clone(),
                    variant: product.variant.clone(),
                    serial: serial.clone(),
                    metadata: metadata.clone(),
                    root: root.clone(),
                };
                found.push((image, rank, names.clone()));
            }
        }
    }
}
