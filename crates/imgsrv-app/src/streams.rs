//! Simple Streams: the projection of the catalog, kept in memory and brought up to date by what has changed.

use crate::{error::UseCaseError, publishing::root};
use imgsrv_domain::{
    files,
    ids::ImageId,
    ports::{Catalog, CatalogError, StreamChanges, StreamImage, StreamRow},
    transition::Revision,
};
use imgsrv_simplestreams::{Aliases, File, Listed, Product, project};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, PoisonError, RwLock},
};
use tokio::sync::Mutex;

/// The products of one state of the catalog.
#[derive(Debug)]
pub struct Projection {
    /// The catalog's revision.
    pub revision: Revision,
    /// The products by key.
    pub products: BTreeMap<String, Product>,
}

/// The use cases of Simple Streams.
pub struct Streams {
    catalog: Arc<dyn Catalog>,
    current: RwLock<Option<Arc<Projection>>>,
    /// What the projection is made of, held by whoever brings it up to date.
    parts: Arc<Mutex<Parts>>,
}

#[derive(Default)]
struct Parts {
    revision: Option<Revision>,
    /// Published versions never change, and none is ever taken back.
    rows: Vec<StreamRow>,
    images: HashMap<ImageId, StreamImage>,
}

impl Parts {
    fn apply(&mut self, changes: StreamChanges) {
        self.revision = Some(changes.revision);
        self.rows.extend(changes.rows);
        self.images.extend(changes.images.into_iter().map(|image| (image.id, image)));
    }

    fn project(&self) -> BTreeMap<String, Product> {
        let listed: Vec<Listed> = self.rows.iter().filter_map(|row| self.listed(row)).collect();
        let mut aliases = Aliases::new();
        for image in self.images.values() {
            for (alias, version) in &image.aliases {
                aliases.entry((image.name.clone(), version.clone())).or_default().insert(alias.clone());
            }
        }
        project(&listed, &aliases)
    }

    fn listed(&self, row: &StreamRow) -> Option<Listed> {
        let image = self.images.get(&row.image)?;
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
}

impl Streams {
    pub(crate) fn new(catalog: Arc<dyn Catalog>) -> Self {
        Self { catalog, current: RwLock::default(), parts: Arc::default() }
    }

    /// The products of the catalog as it is now, whichever node changed it. Costs one small query, unless something has
    /// changed since it was last asked for.
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
        parts.apply(changes);
        // The guard goes along: whoever stops waiting leaves the parts as they should be.
        let projected = tokio::task::spawn_blocking(move || {
            let products = parts.project();
            (parts, products)
        });
        let (parts, products) = projected.await.map_err(|panicked| CatalogError::Backend(Box::new(panicked)))?;
        let revision = parts.revision.unwrap_or(revision);
        let current = Arc::new(Projection { revision, products });
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&current));
        drop(parts);
        Ok(current)
    }

    /// What is kept, if it is of that revision.
    fn kept(&self, revision: Revision) -> Option<Arc<Projection>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.clone().filter(|current| current.revision == revision)
    }
}
