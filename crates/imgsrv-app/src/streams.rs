//! Simple Streams: the projection of the catalog, kept in memory and brought up to date by what has changed.

use crate::{content::incus::root, error::UseCaseError};
use imgsrv_domain::{
    digest::Digest,
    files,
    ids::ImageId,
    ports::{Catalog, CatalogError, StreamChanges, StreamImage, StreamRow},
    transition::Revision,
};
use imgsrv_simplestreams::{Aliases, File, Listed, project};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    mem,
    sync::{Arc, PoisonError, RwLock},
};
use tokio::sync::Mutex;

/// The products of one state of the catalog.
#[derive(Debug)]
pub struct Projection {
    /// The catalog's revision.
    pub revision: Revision,
    /// The products by key, each as the JSON object that documents have of it.
    pub products: BTreeMap<String, Arc<str>>,
}

/// The use cases of Simple Streams.
pub struct Streams {
    catalog: Arc<dyn Catalog>,
    current: RwLock<Option<Arc<Projection>>>,
    /// What the projection is made of, held by whoever brings it up to date.
    parts: Arc<Mutex<Parts>>,
}

impl Streams {
    pub(crate) fn new(catalog: Arc<dyn Catalog>) -> Self {
        Self { catalog, current: RwLock::default(), parts: Arc::default() }
    }

    /// The products of the catalog as it is now, whichever node changed it. Costs one small query, unless something has
    /// changed since it was last asked for; then what has changed.
    pub async fn current(&self) -> Result<Arc<Projection>, UseCaseError> {
        let revision = self.catalog.catalog_revision().await?;
        if let Some(current) = self.kept(revision) {
            return Ok(current);
        }
        let mut parts = Arc::clone(&self.parts).lock_owned().await;
        let mut changes = self.catalog.get_stream_changes(parts.revision).await?;
        // Somebody else may have brought it up to date meanwhile.
        if let Some(current) = self.kept(changes.revision) {
            return Ok(current);
        }
        if parts.revision > Some(changes.revision) {
            // The catalog is an older one, from a backup.
            *parts = Parts::default();
            changes = self.catalog.get_stream_changes(None).await?;
        }
        // The guard goes along: whoever stops waiting leaves the parts as they should be.
        let projected = tokio::task::spawn_blocking(move || {
            let revision = changes.revision;
            parts.apply(changes)?;
            Ok::<_, serde_json::Error>((Projection { revision, products: parts.products.clone() }, parts))
        });
        let broken = |error| CatalogError::Backend(error);
        let projected = projected.await.map_err(|panicked| broken(Box::new(panicked)))?;
        let (projection, _parts) = projected.map_err(|error| broken(Box::new(error)))?;
        let current = Arc::new(projection);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&current));
        Ok(current)
    }

    /// What is kept, if it is of that revision.
    fn kept(&self, revision: Revision) -> Option<Arc<Projection>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.clone().filter(|current| current.revision == revision)
    }
}

/// Images, and what is listed of them. Images that have bytes in common are one group, because those bytes are one
/// product with the names of all; groups are projected each by itself.
#[derive(Default)]
struct Parts {
    revision: Option<Revision>,
    /// Published versions never change, and none is ever taken back.
    rows: HashMap<ImageId, Vec<StreamRow>>,
    images: HashMap<ImageId, StreamImage>,
    /// The first image that had a fingerprint.
    fingerprints: HashMap<Digest, ImageId>,
    /// The group that an image is in, by its first image.
    group_of: HashMap<ImageId, ImageId>,
    groups: HashMap<ImageId, Group>,
    products: BTreeMap<String, Arc<str>>,
}

#[derive(Default)]
struct Group {
    images: Vec<ImageId>,
    /// The keys of its products.
    keys: Vec<String>,
}

impl Parts {
    /// Takes changes in, and projects the groups that have any.
    fn apply(&mut self, changes: StreamChanges) -> Result<(), serde_json::Error> {
        // Where it failed half-way, everything was read again.
        if self.revision.take().is_none() {
            *self = Self::default();
        }
        let mut changed = BTreeSet::new();
        for row in changes.rows {
            let first = *self.fingerprints.entry(row.fingerprint).or_insert(row.image);
            self.join(first, row.image);
            changed.insert(row.image.uuid());
            self.rows.entry(row.image).or_default().push(row);
        }
        for image in changes.images {
            changed.insert(image.id.uuid());
            self.images.insert(image.id, image);
        }
        let groups: BTreeSet<_> = changed
            .into_iter()
            .filter_map(|image| self.group_of.get(&ImageId::new(image)))
            .map(|id| id.uuid())
            .collect();
        for group in groups {
            self.project(ImageId::new(group))?;
        }
        self.revision = Some(changes.revision);
        Ok(())
    }

    /// Puts two images into one group.
    fn join(&mut self, one: ImageId, other: ImageId) {
        let group = *self.group_of.entry(one).or_insert(one);
        self.groups.entry(group).or_insert_with(|| Group { images: vec![one], keys: Vec::new() });
        let joining = self.group_of.insert(other, group);
        match joining {
            Some(same) if same == group => {}
            Some(old) => {
                let Group { images, keys } = self.groups.remove(&old).unwrap_or_default();
                self.group_of.extend(images.iter().map(|image| (*image, group)));
                if let Some(joined) = self.groups.get_mut(&group) {
                    joined.images.extend(images);
                    joined.keys.extend(keys);
                }
            }
            None if one == other => {}
            None => {
                if let Some(joined) = self.groups.get_mut(&group) {
                    joined.images.push(other);
                }
            }
        }
    }

    fn project(&mut self, group: ImageId) -> Result<(), serde_json::Error> {
        let Some(mut members) = self.groups.remove(&group) else { return Ok(()) };
        let (mut listed, mut aliases) = (Vec::new(), Aliases::new());
        for image in members.images.iter().filter_map(|id| self.images.get(id)) {
            let rows = self.rows.get(&image.id).into_iter().flatten();
            listed.extend(rows.filter_map(|row| list(image, row)));
            for (alias, version) in &image.aliases {
                aliases.entry((image.name.clone(), version.clone())).or_default().insert(alias.clone());
            }
        }
        for key in mem::take(&mut members.keys) {
            self.products.remove(&key);
        }
        for (key, product) in project(&listed, &aliases) {
            self.products.insert(key.clone(), serde_json::to_string(&product)?.into());
            members.keys.push(key);
        }
        self.groups.insert(group, members);
        Ok(())
    }
}

fn list(image: &StreamImage, row: &StreamRow) -> Option<Listed> {
    let file = files::artifact_file(&image.name, &row.version, &row.architecture, &row.variant, row.format);
    let metadata = files::attachment_file(&file, &row.metadata_name);
    Some(Listed {
        image: image.name.clone(),
        title: image.display_name.as_ref().map(ToString::to_string),
        version: row.version.clone(),
        published_at: row.published_at,
        operating_system: row.operating_system.clone(),
        architecture: row.architecture.as_str().parse().ok()?,
        variant: row.variant.clone(),
        root: root(row.format)?,
        root_file: File { name: file, claim: row.root },
        metadata: File { name: metadata, claim: row.metadata },
        fingerprint: row.fingerprint,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use imgsrv_domain::{
        digest::{BlobClaim, ByteSize},
        time::Timestamp,
    };
    use proptest::prelude::*;
    use uuid::Uuid;

    fn id(number: u8) -> ImageId {
        ImageId::new(Uuid::from_u128(u128::from(number) + 1))
    }

    fn claim(byte: u8) -> BlobClaim {
        BlobClaim { digest: Digest::new([byte; 32]), size: ByteSize::ZERO }
    }

    /// What happens in the catalog: a version of an image is published, or an alias of it is set.
    #[derive(Debug, Clone)]
    enum Event {
        Publish { image: u8, bytes: u8 },
        Alias { image: u8, version: u8 },
        Title { image: u8, title: u8 },
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            (0_u8..5, 0_u8..6).prop_map(|(image, bytes)| Event::Publish { image, bytes }),
            (0_u8..5, 0_u8..4).prop_map(|(image, version)| Event::Alias { image, version }),
            (0_u8..5, 0_u8..3).prop_map(|(image, title)| Event::Title { image, title }),
        ]
    }

    /// The catalog, as far as streams see it.
    #[derive(Default)]
    struct Model {
        rows: Vec<StreamRow>,
        images: BTreeMap<u8, StreamImage>,
    }

    impl Model {
        fn image(&mut self, number: u8) -> &mut StreamImage {
            let fresh = || StreamImage {
                id: id(number),
                name: format!("image-{number}").parse().expect("a name"),
                display_name: None,
                aliases: Vec::new(),
            };
            self.images.entry(number).or_insert_with(fresh)
        }

        /// What the catalog tells of an event.
        fn take(&mut self, event: &Event, revision: i64) -> StreamChanges {
            let (number, mut rows) = match *event {
                Event::Publish { image, bytes } => {
                    let versions = self.rows.iter().filter(|row| row.image == id(image)).count();
                    let row = StreamRow {
                        image: id(image),
                        version: format!("{versions}").parse().expect("a name"),
                        published_at: Timestamp::from_micros(revision * 1_000_000),
                        operating_system: "debian".parse().expect("a name"),
                        architecture: "amd64".parse().expect("a name"),
                        variant: "default".parse().expect("a name"),
                        format: "qcow2".parse().expect("a format"),
                        root: claim(bytes),
                        metadata_name: "incus.tar.xz".parse().expect("a name"),
                        metadata: claim(100),
                        fingerprint: claim(bytes).digest,
                    };
                    (image, vec![row])
                }
                Event::Alias { image, version } => {
                    let version = format!("{version}").parse().expect("a name");
                    self.image(image).aliases = vec![("latest".parse().expect("a name"), version)];
                    (image, Vec::new())
                }
                Event::Title { image, title } => {
                    self.image(image).display_name = format!("Title {title}").parse().ok();
                    (image, Vec::new())
                }
            };
            self.rows.extend(rows.clone());
            let images = vec![self.image(number).clone()];
            StreamChanges { revision: Revision::new(revision), rows: mem::take(&mut rows), images }
        }
    }

    proptest! {
        /// Whatever happens, and however much of it is taken in at once: the same as from scratch.
        #[test]
        fn what_changed_leads_to_the_same_products_as_everything(
            events in prop::collection::vec((event(), any::<bool>()), 1..40),
        ) {
            let (mut model, mut parts) = (Model::default(), Parts::default());
            let mut pending: Option<StreamChanges> = None;
            for (revision, (event, at_once)) in (1..).zip(&events) {
                let told = model.take(event, revision);
                let mut changes = pending.take().unwrap_or(StreamChanges { revision: told.revision, rows: vec![], images: vec![] });
                changes.revision = told.revision;
                changes.rows.extend(told.rows);
                changes.images.extend(told.images);
                if *at_once {
                    pending = Some(changes);
                    continue;
                }
                parts.apply(changes).expect("applied");
                let all = StreamChanges {
                    revision: Revision::new(revision),
                    rows: model.rows.clone(),
                    images: model.images.values().cloned().collect(),
                };
                let mut scratch = Parts::default();
                scratch.apply(all).expect("applied");
                prop_assert_eq!(&parts.products, &scratch.products);
                let listed: Vec<Listed> = model
                    .rows
                    .iter()
                    .filter_map(|row| list(model.images.values().find(|image| image.id == row.image)?, row))
                    .collect();
                let mut aliases = Aliases::new();
                for image in model.images.values() {
                    for (alias, version) in &image.aliases {
                        aliases.entry((image.name.clone(), version.clone())).or_default().insert(alias.clone());
                    }
                }
                let whole: BTreeMap<String, Arc<str>> = project(&listed, &aliases)
                    .into_iter()
                    .map(|(key, product)| (key, serde_json::to_string(&product).expect("JSON").into()))
                    .collect();
                prop_assert_eq!(&parts.products, &whole);
            }
        }
    }
}
