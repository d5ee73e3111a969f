//! The stream index: the listed artifacts of the catalog, grouped so that a change projects only what it affects.

use crate::content::incus::root;
use imgsrv_domain::{
    access::Visibility,
    digest::Digest,
    files,
    ids::ImageId,
    inspection::IncusLayout,
    link::{Capability, LinkedFile},
    names::{AliasName, ImageName, UrlSegment, VersionName},
    ports::{StreamChanges, StreamImage, StreamLifecycle, StreamListing, StreamMetadata, StreamRow},
    transition::Revision,
};
use imgsrv_simplestreams::{
    Aliases, Deprecation, EncodedProducts, File, IncusArchitecture, Listed, Root, project, project_with,
};
use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap, HashSet},
    mem,
    num::NonZeroU32,
    sync::Arc,
};

/// The images and their listed artifacts. Images that share bytes form a group, because those bytes are one product with
/// the names of all of them; each group is projected separately.
#[derive(Default)]
pub(super) struct StreamIndex {
    /// How many of the newest versions of an image are listed for each architecture, variant and kind, beside those that
    /// aliases refer to; all when absent.
    newest: Option<NonZeroU32>,
    revision: Option<Revision>,
    /// Published versions never change; those that are withdrawn may be restored.
    rows: HashMap<ImageId, Vec<StreamRow>>,
    /// How the versions are listed whose lifecycle has ever changed.
    listings: HashMap<ImageId, HashMap<VersionName, StreamListing>>,
    images: HashMap<ImageId, StreamImage>,
    /// The first image that had a fingerprint.
    fingerprints: HashMap<Digest, ImageId>,
    /// The group of an image, by the first image of the group.
    group_of: HashMap<ImageId, ImageId>,
    groups: HashMap<ImageId, Group>,
    /// Shared with projections; replaced only when a product changes.
    products: Arc<EncodedProducts>,
}

#[derive(Default)]
struct Group {
    images: Vec<ImageId>,
    /// The keys of its products.
    keys: Vec<String>,
}

impl StreamIndex {
    /// An empty index that lists so many of the newest versions.
    pub(super) fn of(newest: Option<NonZeroU32>) -> Self {
        Self { newest, ..Self::default() }
    }

    /// Forgets everything, as before the first time.
    pub(super) fn clear(&mut self) {
        *self = Self::of(self.newest);
    }

    /// The catalog revision up to which changes were applied; absent before the first time and after a failure.
    pub(super) const fn revision(&self) -> Option<Revision> {
        self.revision
    }

    /// The products. They are the same allocation as before if no change has changed them.
    pub(super) const fn products(&self) -> &Arc<EncodedProducts> {
        &self.products
    }

    /// Applies changes, and projects the groups that have changed.
    pub(super) fn apply(&mut self, changes: StreamChanges) -> Result<(), serde_json::Error> {
        // After a failure the changes are everything that is listed.
        if self.revision.take().is_none() {
            self.clear();
        }
        let mut changed = BTreeSet::new();
        for row in changes.rows {
            let first = *self.fingerprints.entry(row.fingerprint).or_insert(row.image);
            self.join(first, row.image);
            changed.insert(row.image);
            self.rows.entry(row.image).or_default().push(row);
        }
        for StreamLifecycle { image, version, listing } in changes.lifecycles {
            changed.insert(image);
            self.listings.entry(image).or_default().insert(version, listing);
        }
        for image in changes.images {
            changed.insert(image.id);
            self.images.insert(image.id, image);
        }
        let groups: BTreeSet<_> = changed.iter().filter_map(|image| self.group_of.get(image).copied()).collect();
        for group in groups {
            self.project(group)?;
        }
        self.revision = Some(changes.revision);
        Ok(())
    }

    /// The group of an image, which is a new one for a new image.
    fn group(&mut self, image: ImageId) -> ImageId {
        *self.group_of.entry(image).or_insert_with(|| {
            self.groups.insert(image, Group { images: vec![image], keys: Vec::new() });
            image
        })
    }

    /// Joins two images into one group.
    fn join(&mut self, one: ImageId, other: ImageId) {
        let (group, old) = (self.group(one), self.group(other));
        if group != old {
            let Group { images, keys } = self.groups.remove(&old).unwrap_or_default();
            self.group_of.extend(images.iter().map(|image| (*image, group)));
            let joined = self.groups.entry(group).or_default();
            joined.images.extend(images);
            joined.keys.extend(keys);
        }
    }

    /// The listed artifacts of the images of a group that `shows` selects, and their aliases.
    fn listed(&self, members: &Group, shows: impl Fn(&StreamImage) -> bool) -> (Vec<Listed>, Aliases) {
        let (mut listed, mut aliases) = (Vec::new(), Aliases::new());
        for image in members.images.iter().filter_map(|id| self.images.get(id)).filter(|image| shows(image)) {
            let listings = self.listings.get(&image.id);
            let listing = |row: &StreamRow| listings?.get(&row.version).copied();
            let rows = self.rows.get(&image.id).into_iter().flatten();
            let mut rows: Vec<(&StreamRow, StreamListing)> =
                rows.map(|row| (row, listing(row).unwrap_or(StreamListing::Active))).collect();
            if let Some(newest) = self.newest {
                keep_newest(&mut rows, &image.aliases, newest);
            }
            listed.extend(rows.into_iter().filter_map(|(row, listing)| list(image, row, listing)));
            for (alias, version) in &image.aliases {
                aliases.entry((image.name.clone(), version.clone())).or_default().insert(alias.clone());
            }
        }
        (listed, aliases)
    }

    fn project(&mut self, group: ImageId) -> Result<(), serde_json::Error> {
        let Some(mut members) = self.groups.remove(&group) else { return Ok(()) };
        let (listed, aliases) = self.listed(&members, SHOWN_TO_ALL);
        let mut projected = EncodedProducts::new();
        for (key, product) in project(&listed, &aliases) {
            projected.insert(key, serde_json::to_string(&product)?.into());
        }
        let is_same = members.keys.iter().eq(projected.keys())
            && projected.iter().all(|(key, product)| self.products.get(key) == Some(product));
        if !is_same {
            let products = Arc::make_mut(&mut self.products);
            for key in mem::take(&mut members.keys) {
                products.remove(&key);
            }
            members.keys = projected.keys().cloned().collect();
            products.extend(projected);
        }
        self.groups.insert(group, members);
        Ok(())
    }
}

/// The images of the public streams.
const SHOWN_TO_ALL: fn(&StreamImage) -> bool = |image| image.visibility == Visibility::Public;

/// The paths of files that a link gives access to.
struct LinkedPaths<'a> {
    files: HashMap<(ImageName, VersionName, String), (LinkedFile, u32)>,
    sign: &'a (dyn Fn(LinkedFile, u32) -> Capability + Sync),
}

impl LinkedPaths<'_> {
    /// The path of a file below the URL of a remote: clients remove `..` before they request it.
    fn path(&self, listed: &Listed, file: &File) -> String {
        let key = (listed.image.clone(), listed.version.clone(), file.name.clone());
        let capability = self.files.get(&key).map(|(file, generation)| (self.sign)(*file, *generation).to_string());
        format!("../../f/{}/{}", capability.unwrap_or_default(), UrlSegment(&file.name))
    }
}

impl StreamIndex {
    /// The products of the images that `shows` selects. Each file has the path of a link that `sign` makes for the file
    /// and the generation of the links of its image.
    pub(super) fn linked_products(
        &self,
        shows: impl Fn(&StreamImage) -> bool,
        sign: &(dyn Fn(LinkedFile, u32) -> Capability + Sync),
    ) -> Result<EncodedProducts, serde_json::Error> {
        let mut products = EncodedProducts::new();
        for members in self.groups.values() {
            let (listed, aliases) = self.listed(members, &shows);
            let images = members.images.iter().filter_map(|id| self.images.get(id)).filter(|image| shows(image));
            let mut paths = LinkedPaths { files: HashMap::new(), sign };
            for image in images {
                for row in self.rows.get(&image.id).into_iter().flatten() {
                    let own = artifact_file(image, row);
                    let mut add = |name, file| {
                        paths
                            .files
                            .insert((image.name.clone(), row.version.clone(), name), (file, image.link_generation))
                    };
                    if let IncusLayout::Split(StreamMetadata { id, name, .. }) = &row.layout {
                        add(files::attachment_file(&own, name), LinkedFile::Attachment(*id));
                    }
                    add(own, LinkedFile::Artifact(row.artifact));
                }
            }
            for (key, product) in project_with(&listed, &aliases, &|listed, file| paths.path(listed, file)) {
                products.insert(key, serde_json::to_string(&product)?.into());
            }
        }
        Ok(products)
    }
}

/// Keeps the rows of the newest versions for each architecture, variant and kind, and of those that aliases refer to.
fn keep_newest(rows: &mut Vec<(&StreamRow, StreamListing)>, aliases: &[(AliasName, VersionName)], newest: NonZeroU32) {
    let aliased: HashSet<&VersionName> = aliases.iter().map(|(_, version)| version).collect();
    rows.retain(|(_, listing)| *listing != StreamListing::Withdrawn);
    rows.sort_by_key(|(row, _)| Reverse((row.published_at, &row.version)));
    // How many versions were kept, and the last of them: a version may have several artifacts of one kind.
    let mut kept: HashMap<_, (u32, &VersionName)> = HashMap::new();
    rows.retain(|(row, _)| {
        let Some((architecture, kind)) = architecture_of(row).zip(root_of(row)) else { return false };
        let (count, last) = kept.entry((architecture, &row.variant, kind.kind())).or_insert((0, &row.version));
        if *count == 0 || *last != &row.version {
            (*count, *last) = (*count + 1, &row.version);
        }
        *count <= newest.get() || aliased.contains(&row.version)
    });
}

fn root_of(row: &StreamRow) -> Option<Root> {
    match row.layout {
        IncusLayout::Split(_) => root(row.format),
        IncusLayout::Unified(kind) => Some(Root::Unified(kind)),
    }
}

fn architecture_of(row: &StreamRow) -> Option<IncusArchitecture> {
    IncusArchitecture::of_artifact(row.architecture.as_str()).ok()
}

fn artifact_file(image: &StreamImage, row: &StreamRow) -> String {
    files::artifact_file(&image.name, &row.version, &row.architecture, &row.variant, row.format)
}

fn list(image: &StreamImage, row: &StreamRow, listing: StreamListing) -> Option<Listed> {
    let deprecation = match listing {
        StreamListing::Active => None,
        StreamListing::Deprecated(end_of_life) => Some(Deprecation { end_of_life }),
        StreamListing::Withdrawn => return None,
    };
    let file = artifact_file(image, row);
    let metadata = match &row.layout {
        IncusLayout::Split(StreamMetadata { name, claim, .. }) => {
            Some(File { name: files::attachment_file(&file, name), claim: *claim })
        }
        IncusLayout::Unified(_) => None,
    };
    Some(Listed {
        image: image.name.clone(),
        title: image.display_name.as_ref().map(ToString::to_string),
        version: row.version.clone(),
        published_at: row.published_at,
        operating_system: row.operating_system.clone(),
        architecture: architecture_of(row)?,
        variant: row.variant.clone(),
        root: root_of(row)?,
        root_file: File { name: file, claim: row.root },
        metadata,
        fingerprint: row.fingerprint,
        properties: row.properties.clone(),
        expires_at: row.expires_at,
        deprecation,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use imgsrv_domain::{
        digest::{BlobClaim, ByteSize},
        ids::{ArtifactId, AttachmentId},
        inspection::IncusProperties,
        time::Timestamp,
    };
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use uuid::Uuid;

    fn id(number: u8) -> ImageId {
        ImageId::new(Uuid::from_u128(u128::from(number) + 1))
    }

    fn claim(byte: u8) -> BlobClaim {
        BlobClaim { digest: Digest::new([byte; 32]), size: ByteSize::ZERO }
    }

    /// A change of the catalog.
    #[derive(Debug, Clone)]
    enum Event {
        Publish { image: u8, bytes: u8 },
        Alias { image: u8, version: u8 },
        Title { image: u8, title: u8 },
        Retire { image: u8, version: u8, listing: u8 },
    }

    const LISTINGS: [StreamListing; 3] =
        [StreamListing::Active, StreamListing::Deprecated(None), StreamListing::Withdrawn];

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            (0_u8..5, 0_u8..6).prop_map(|(image, bytes)| Event::Publish { image, bytes }),
            (0_u8..5, 0_u8..4).prop_map(|(image, version)| Event::Alias { image, version }),
            (0_u8..5, 0_u8..3).prop_map(|(image, title)| Event::Title { image, title }),
            (0_u8..5, 0_u8..4, 0_u8..3).prop_map(|(image, version, listing)| Event::Retire { image, version, listing }),
        ]
    }

    /// The part of the catalog that streams depend on.
    #[derive(Default)]
    struct Model {
        rows: Vec<StreamRow>,
        images: BTreeMap<u8, StreamImage>,
        lifecycles: Vec<StreamLifecycle>,
    }

    impl Model {
        fn image(&mut self, number: u8) -> &mut StreamImage {
            let fresh = || StreamImage {
                id: id(number),
                name: format!("image-{number}").parse().expect("a name"),
                display_name: None,
                link_generation: 0,
                visibility: Visibility::Public,
                aliases: Vec::new(),
            };
            self.images.entry(number).or_insert_with(fresh)
        }

        /// Applies an event; returns what the catalog reports for it.
        fn take(&mut self, event: &Event, revision: i64) -> StreamChanges {
            let mut lifecycles = Vec::new();
            let (number, mut rows) = match *event {
                Event::Publish { image, bytes } => {
                    let versions = self.rows.iter().filter(|row| row.image == id(image)).count();
                    let row = StreamRow {
                        artifact: ArtifactId::new(Uuid::from_u128(u128::try_from(revision).expect("positive"))),
                        image: id(image),
                        version: format!("{versions}").parse().expect("a name"),
                        published_at: Timestamp::from_micros(revision * 1_000_000),
                        operating_system: "debian".parse().expect("a name"),
                        architecture: "amd64".parse().expect("a name"),
                        variant: "default".parse().expect("a name"),
                        format: "qcow2".parse().expect("a format"),
                        root: claim(bytes),
                        layout: IncusLayout::Split(StreamMetadata {
                            id: AttachmentId::new(Uuid::from_u128(u128::try_from(revision).expect("positive"))),
                            name: "incus.tar.xz".parse().expect("a name"),
                            claim: claim(100),
                        }),
                        fingerprint: claim(bytes).digest,
                        properties: IncusProperties::default(),
                        expires_at: None,
                    };
                    (image, vec![row])
                }
                Event::Alias { image, version } => {
                    let version = format!("{version}").parse().expect("a name");
                    self.image(image).aliases = vec![("latest".parse().expect("a name"), version)];
                    (image, Vec::new())
                }
                Event::Retire { image, version, listing } => {
                    let (version, listing) =
                        (format!("{version}").parse().expect("a name"), LISTINGS[usize::from(listing)]);
                    lifecycles.push(StreamLifecycle { image: id(image), version, listing });
                    (image, Vec::new())
                }
                Event::Title { image, title } => {
                    self.image(image).display_name = format!("Title {title}").parse().ok();
                    (image, Vec::new())
                }
            };
            self.rows.extend(rows.clone());
            self.lifecycles.extend(lifecycles.clone());
            let images = vec![self.image(number).clone()];
            StreamChanges { revision: Revision::new(revision), rows: mem::take(&mut rows), lifecycles, images }
        }
    }

    #[test]
    fn a_change_that_no_product_shows_keeps_the_products() {
        let (mut model, mut index) = (Model::default(), StreamIndex::default());
        index.apply(model.take(&Event::Publish { image: 0, bytes: 0 }, 1)).expect("applied");
        let before = Arc::clone(index.products());
        // The image is reported as changed, as after a change of its description.
        let images = vec![model.image(0).clone()];
        index
            .apply(StreamChanges { revision: Revision::new(2), rows: vec![], lifecycles: vec![], images })
            .expect("applied");
        assert!(Arc::ptr_eq(index.products(), &before));
        assert_eq!(index.revision(), Some(Revision::new(2)));
        index.apply(model.take(&Event::Title { image: 0, title: 1 }, 3)).expect("applied");
        assert!(!Arc::ptr_eq(index.products(), &before));
    }

    proptest! {
        /// However the changes are batched, the result is the same as that of reading everything.
        #[test]
        fn applying_changes_gives_the_same_products_as_reading_everything(
            events in prop::collection::vec((event(), any::<bool>()), 1..40),
            newest in 0_u32..4,
        ) {
            let newest = NonZeroU32::new(newest);
            let (mut model, mut index) = (Model::default(), StreamIndex::of(newest));
            let mut pending: Option<StreamChanges> = None;
            for (revision, (event, is_batched)) in (1..).zip(&events) {
                let reported = model.take(event, revision);
                let mut changes = pending.take().unwrap_or(StreamChanges { revision: reported.revision, rows: vec![], lifecycles: vec![], images: vec![] });
                changes.revision = reported.revision;
                changes.rows.extend(reported.rows);
                changes.lifecycles.extend(reported.lifecycles);
                changes.images.extend(reported.images);
                if *is_batched {
                    pending = Some(changes);
                    continue;
                }
                index.apply(changes).expect("applied");
                let all = StreamChanges {
                    revision: Revision::new(revision),
                    rows: model.rows.clone(),
                    lifecycles: model.lifecycles.clone(),
                    images: model.images.values().cloned().collect(),
                };
                let mut fresh = StreamIndex::of(newest);
                fresh.apply(all).expect("applied");
                prop_assert_eq!(&index.products, &fresh.products);
                let listed: Vec<Listed> = model
                    .rows
                    .iter()
                    .filter_map(|row| {
                        let image = model.images.values().find(|image| image.id == row.image)?;
                        let mut changes = model.lifecycles.iter().rev();
                        let last = changes.find(|change| (change.image, &change.version) == (row.image, &row.version));
                        list(image, row, last.map_or(StreamListing::Active, |change| change.listing))
                    })
                    .collect();
                let mut aliases = Aliases::new();
                for image in model.images.values() {
                    for (alias, version) in &image.aliases {
                        aliases.entry((image.name.clone(), version.clone())).or_default().insert(alias.clone());
                    }
                }
                let is_listed = |one: &Listed| {
                    let newer = listed.iter().filter(|other| {
                        (&other.image, &other.variant, other.root.kind()) == (&one.image, &one.variant, one.root.kind())
                            && other.architecture == one.architecture
                            && (other.published_at, &other.version) > (one.published_at, &one.version)
                    });
                    let newer: BTreeSet<&VersionName> = newer.map(|other| &other.version).collect();
                    newest.is_none_or(|newest| newer.len() < newest.get() as usize)
                        || aliases.contains_key(&(one.image.clone(), one.version.clone()))
                };
                let listed: Vec<Listed> = listed.iter().filter(|one| is_listed(one)).cloned().collect();
                let whole: EncodedProducts = project(&listed, &aliases)
                    .into_iter()
                    .map(|(key, product)| (key, serde_json::to_string(&product).expect("JSON").into()))
                    .collect();
                prop_assert_eq!(&*index.products, &whole);
            }
        }
    }
}
