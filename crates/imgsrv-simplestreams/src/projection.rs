//! The projection of a catalog to Simple Streams.
//!
//! A client looks up an image by name or by fingerprint, and refuses one that two products have. Therefore each alias refers
//! to one image for each kind and architecture, and images with the same bytes are one product with all their names.

use crate::{
    description,
    listed::{Deprecation, File, Listed, Root},
    model::{Index, IndexEntry, Item, Product, ProductVersion, Products},
};
use imgsrv_domain::{
    architecture::IncusArchitecture,
    digest::Digest,
    inspection::ImageKind,
    names::{AliasName, ImageName, UrlSegment, Variant, VersionName},
    time::Timestamp,
};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// The path of the products document, relative to the server's base URL.
pub(crate) const PRODUCTS_PATH: &str = "streams/v1/images.json";
pub(crate) const DATATYPE: &str = "image-downloads";
pub(crate) const CONTENT_ID: &str = "images";
pub(crate) const PRODUCTS_FORMAT: &str = "products:1.0";
pub(crate) const INDEX_FORMAT: &str = "index:1.0";

/// The aliases of each version of an image.
pub type Aliases = BTreeMap<(ImageName, VersionName), BTreeSet<AliasName>>;

/// The name of an artifact in a stream; at most one artifact of each kind has it.
type Slot<'a> = (&'a ImageName, &'a VersionName, IncusArchitecture, &'a Variant);

fn slot(listed: &Listed) -> Slot<'_> {
    (&listed.image, &listed.version, listed.architecture, &listed.variant)
}

/// The version or alias that the name of an image alone stands for.
const LATEST: &str = "latest";

/// The names of artifacts.
struct Names<'a> {
    aliases: &'a Aliases,
    /// The versions and aliases of each image.
    references: HashSet<(&'a ImageName, &'a str)>,
}

impl<'a> Names<'a> {
    fn new(listed: &[&'a Listed], aliases: &'a Aliases) -> Self {
        let versions = listed.iter().map(|one| (&one.image, one.version.as_str()));
        let names = aliases.iter().flat_map(|((image, _), names)| names.iter().map(move |name| (image, name.as_str())));
        Self { aliases, references: versions.chain(names).collect() }
    }

    /// The names of an artifact. An artifact of the latest version also has the name of its image alone, unless that could
    /// be mistaken for the name of another version.
    fn of(&self, listed: &Listed) -> BTreeSet<String> {
        let Listed { image, version, variant, .. } = listed;
        let aliases = self.aliases.get(&(image.clone(), version.clone())).into_iter().flatten();
        let references: BTreeSet<&str> = aliases.map(AliasName::as_str).chain([version.as_str()]).collect();
        let mut names: BTreeSet<_> = references.iter().map(|name| format!("{image}/{name}/{variant}")).collect();
        if variant.is_default() {
            names.extend(references.iter().map(|name| format!("{image}/{name}")));
        }
        let is_taken = |name: &str| self.references.contains(&(image, name));
        // Clients derive a name with the architecture from every name.
        let is_clear = if variant.is_default() {
            !IncusArchitecture::all().any(|architecture| is_taken(architecture.stream_name()))
        } else {
            !is_taken(variant.as_str())
        };
        if references.contains(LATEST) && is_clear {
            names.insert(if variant.is_default() { image.to_string() } else { format!("{image}/{variant}") });
        }
        names
    }
}

/// An image of the stream: the first artifact with these bytes, and the names of all artifacts with them.
struct Merged<'a> {
    first: &'a Listed,
    names: BTreeSet<String>,
    /// The deprecation, if the versions of all of them are deprecated.
    deprecation: Option<Deprecation>,
}

/// The products of the listed artifacts, by key. Each alias refers to its version, for virtual machines and containers, and no
/// two products have the same fingerprint; the order of `listed` does not matter. Artifacts whose variant
/// [is ambiguous](is_ambiguous) are left out.
pub fn project(listed: &[Listed], aliases: &Aliases) -> BTreeMap<String, Product> {
    project_with(listed, aliases, &|listed, file| {
        format!("images/{}/{}/{}", listed.image, listed.version.in_url(), UrlSegment(&file.name))
    })
}

/// The same with other paths of files, relative to the server's base URL.
pub fn project_with(
    listed: &[Listed],
    aliases: &Aliases,
    path: &dyn Fn(&Listed, &File) -> String,
) -> BTreeMap<String, Product> {
    let mut sorted: Vec<&Listed> = listed.iter().filter(|one| !is_ambiguous(&one.variant)).collect();
    sorted.sort_by_key(|one| (one.published_at, slot(one), one.root, &one.operating_system, one.fingerprint));
    let mut merged = merge(&sorted, &Names::new(&sorted, aliases));
    let is_machine = |one: &Listed| one.root.kind() == ImageKind::VirtualMachine;
    merged.sort_by_key(|image| !is_machine(image.first));
    let with_machine: HashSet<Slot<'_>> = sorted.iter().filter(|one| is_machine(one)).map(|one| slot(one)).collect();
    let mut products = BTreeMap::new();
    let mut by_slot: HashMap<Slot<'_>, (String, &Merged<'_>)> = HashMap::new();
    for image in &merged {
        let slot = slot(image.first);
        let machine = by_slot.get(&slot).filter(|(_, machine)| belong_together(machine, image));
        if let Some(product) = machine.and_then(|(key, _)| products.get_mut(key)) {
            add(product, image.first, path);
            continue;
        }
        let mut key = key(image.first);
        if !is_machine(image.first) && with_machine.contains(&slot) {
            key.push_str(":container");
        }
        let key = free_key(&products, key);
        products.insert(key.clone(), product(image, path));
        by_slot.insert(slot, (key, image));
    }
    products
}

/// Whether names with this variant could be mistaken for the names with an architecture that clients derive from every name.
pub fn is_ambiguous(variant: &Variant) -> bool {
    IncusArchitecture::all().any(|architecture| variant.as_str() == architecture.stream_name())
}

/// One image for each fingerprint, with the names of all artifacts that have it and the same kind and architecture.
fn merge<'a>(sorted: &[&'a Listed], names: &Names<'a>) -> Vec<Merged<'a>> {
    let mut preferred: HashMap<(Slot<'_>, ImageKind), Root> = HashMap::new();
    for one in sorted {
        let root = preferred.entry((slot(one), one.root.kind())).or_insert(one.root);
        *root = one.root.min(*root);
    }
    let mut taken = HashSet::new();
    let mut by_fingerprint: HashMap<Digest, usize> = HashMap::new();
    let mut merged: Vec<Merged<'a>> = Vec::new();
    for one in sorted {
        let is_second_choice = preferred.get(&(slot(one), one.root.kind())).is_some_and(|root| *root < one.root);
        if is_second_choice || !taken.insert((slot(one), one.root.kind())) {
            continue;
        }
        let at = *by_fingerprint.entry(one.fingerprint).or_insert_with(|| {
            merged.push(Merged { first: one, names: BTreeSet::new(), deprecation: one.deprecation });
            merged.len() - 1
        });
        let image = &mut merged[at];
        let is_alike = image.first.root.kind() == one.root.kind() && image.first.architecture == one.architecture;
        if is_alike {
            image.names.extend(names.of(one));
            image.deprecation = image.deprecation.filter(|_| one.deprecation.is_some());
        }
    }
    merged
}

/// Whether a disk and a container of the same slot can be one product: a product has one metadata file and one set of names.
fn belong_together(disk: &Merged<'_>, container: &Merged<'_>) -> bool {
    let metadata = disk.first.metadata.as_ref().zip(container.first.metadata.as_ref());
    metadata.is_some_and(|(one, other)| one.claim == other.claim)
        && disk.first.operating_system == container.first.operating_system
        && disk.names == container.names
}

fn key(listed: &Listed) -> String {
    format!("{}:{}:{}:{}", listed.image, listed.version, listed.architecture, listed.variant)
}

/// `key`, or a variation of it that is free: version names may contain colons, so that keys of two versions may be equal.
fn free_key(products: &BTreeMap<String, Product>, mut key: String) -> String {
    while products.contains_key(&key) {
        key.push_str(":container");
    }
    key
}

fn product(image: &Merged<'_>, path: &dyn Fn(&Listed, &File) -> String) -> Product {
    let first = image.first;
    let os = description::os(first);
    let release_title = description::release_title(first, &os);
    let label = description::label(first, &os, &release_title);
    let requirements = first.properties.requirements().map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut product = Product {
        aliases: image.names.iter().map(String::as_str).collect::<Vec<_>>().join(","),
        arch: first.architecture.stream_name().to_owned(),
        release: first.version.to_string(),
        release_title,
        os,
        variant: description::variant(first).to_owned(),
        requirements: requirements.collect(),
        support_eol: first.expires_at.and_then(date),
        versions: BTreeMap::from([(serial(first.published_at), ProductVersion { label, ..ProductVersion::default() })]),
    };
    if let Some(Deprecation { end_of_life }) = image.deprecation {
        // The expiry in the metadata counts unless another day was given.
        if let Some(day) = end_of_life {
            product.support_eol = Some(day.to_string());
        }
        product.release_title.push_str(" (deprecated)");
    }
    add(&mut product, first, path);
    product
}

/// `YYYYMMDD_HH:MM`, in UTC.
fn serial(at: Timestamp) -> String {
    let at = jiff::Timestamp::from_microsecond(at.micros()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    at.strftime("%Y%m%d_%H:%M").to_string()
}

/// `YYYY-MM-DD`, in UTC; `None` for a time that has no such form.
fn date(at: Timestamp) -> Option<String> {
    let at = jiff::Timestamp::from_microsecond(at.micros()).ok()?;
    Some(at.strftime("%Y-%m-%d").to_string()).filter(|date| date.len() == 10)
}

/// Adds the root of `listed` and its metadata to the version of `product`.
fn add(product: &mut Product, listed: &Listed, path: &dyn Fn(&Listed, &File) -> String) {
    let Some(version) = product.versions.values_mut().next() else { return };
    let item = |ftype: &str, file: &File| Item {
        ftype: ftype.to_owned(),
        path: path(listed, file),
        size: file.claim.size.signed(),
        sha256: file.claim.digest.hex(),
        ..Item::default()
    };
    let root = listed.root.ftype();
    let Some(metadata_file) = &listed.metadata else {
        for ftype in [root, "lxd_combined.tar.gz"] {
            let combined_type = Some(listed.root.kind().to_string());
            version.items.insert(ftype.to_owned(), Item { combined_type, ..item(ftype, &listed.root_file) });
        }
        return;
    };
    version.items.insert(root.to_owned(), item(root, &listed.root_file));
    // LXD reads the same bytes under another name, which Incus ignores.
    for ftype in ["incus.tar.xz", "lxd.tar.xz"] {
        let metadata = version.items.entry(ftype.to_owned()).or_insert_with(|| item(ftype, metadata_file));
        let fingerprint = match listed.root {
            Root::Unified(_) => continue,
            Root::Disk => &mut metadata.combined_disk_kvm_img_sha256,
            Root::Squashfs => &mut metadata.combined_squashfs_sha256,
            Root::Tarball => &mut metadata.combined_rootxz_sha256,
        };
        *fingerprint = Some(listed.fingerprint.hex());
    }
}

/// The index of a server that has products with those keys.
pub fn index(keys: impl IntoIterator<Item = String>) -> Index {
    let entry = IndexEntry {
        datatype: DATATYPE.to_owned(),
        format: PRODUCTS_FORMAT.to_owned(),
        path: PRODUCTS_PATH.to_owned(),
        products: keys.into_iter().collect(),
    };
    Index { format: INDEX_FORMAT.to_owned(), index: BTreeMap::from([(CONTENT_ID.to_owned(), entry)]) }
}

/// The document with those products.
pub fn products(products: BTreeMap<String, Product>) -> Products {
    Products {
        content_id: CONTENT_ID.to_owned(),
        datatype: DATATYPE.to_owned(),
        format: PRODUCTS_FORMAT.to_owned(),
        products,
    }
}
