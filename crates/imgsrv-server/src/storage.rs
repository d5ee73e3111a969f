//! Opening the configured catalog and blob store.

use crate::{
    config::StorageOptions,
    disk::why_unwritable,
    lock::{FolderLock, LockError},
    system::{SystemClock, UuidIds},
};
use imgsrv_app::{Adapters, BindError, Services};
use imgsrv_auth::{CelEngine, OidcVerifier};
use imgsrv_blobs::{FsBlobStore, Observer, S3BlobStore, S3SettingsError};
use imgsrv_catalog::sqlite::{CommandLock, SqliteCatalog, lock_for_command};
use imgsrv_catalog::{
    Inspection,
    postgres::{PgCatalog, PoolStatus},
};
use imgsrv_domain::ports::{BackupCatalog, BlobError, BlobStore, Catalog, CatalogError, Unwritable};
use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Why the catalog or the blob store cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StorageError {
    #[error("cannot create the data folder {path}: {source}")]
    DataDir { path: String, source: io::Error },
    #[error(
        "there is no catalog {0}; correct the settings if the server stores its data elsewhere, or start the server once, \
         which creates it"
    )]
    Absent(String),
    #[error("cannot create the catalog {path}: {why}; the server has no data to serve yet")]
    NoCatalog { path: String, why: Unwritable },
    #[error(
        "the server has opened the catalog {0} read-only, because its disk is full or read-only; run this command again \
         when /readyz no longer has the header Imgsrv-Degraded"
    )]
    InUse(String),
    #[error("cannot lock the catalog {path}: {source}")]
    CommandLock { path: String, source: io::Error },
    #[error("cannot start a thread that evaluates conditions: {0}")]
    Conditions(io::Error),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Sqlite(#[from] imgsrv_catalog::sqlite::OpenError),
    #[error(transparent)]
    Postgres(#[from] imgsrv_catalog::postgres::OpenError),
    #[error(
        "an import into this catalog was interrupted: run imgsrv admin import again, or start with an empty catalog"
    )]
    Importing,
    #[error("cannot read the state of the catalog's import")]
    Import(#[source] CatalogError),
    #[error(transparent)]
    S3(#[from] S3SettingsError),
    #[error("cannot use the blob store {store}")]
    Blobs { store: String, source: BlobError },
    #[error("cannot use the blob store {store}")]
    Bind { store: String, source: BindError },
}

/// The catalog, by its database.
#[derive(Clone)]
pub(crate) enum OpenCatalog {
    /// A file that only this process uses.
    Sqlite(Arc<SqliteCatalog>),
    /// A database that nodes share.
    Postgres(Arc<PgCatalog>),
}

impl OpenCatalog {
    /// Opens the configured catalog, unless its import is not finished.
    pub(crate) async fn open(options: &StorageOptions) -> Result<Self, StorageError> {
        let catalog = Self::open_to_import(options).await?;
        if catalog.backups().is_import_unfinished().await.map_err(StorageError::Import)? {
            return Err(StorageError::Importing);
        }
        Ok(catalog)
    }

    /// Opens the configured catalog for an import, which may continue.
    pub(crate) async fn open_to_import(options: &StorageOptions) -> Result<Self, StorageError> {
        if let Some(settings) = options.postgres() {
            let catalog = imgsrv_catalog::postgres::open(&settings).await?;
            return Ok(Self::Postgres(Arc::new(catalog)));
        }
        make_folder(&options.data_dir)?;
        let opened = imgsrv_catalog::sqlite::open(&options.catalog_file(), Arc::new(SystemClock)).await?;
        Ok(Self::Sqlite(Arc::new(opened)))
    }

    /// Opens the configured catalog for a server: for reads alone if it exists and its disk accepts no writes.
    pub(crate) async fn open_to_serve(options: &StorageOptions) -> Result<Self, StorageError> {
        let error = match Self::open(options).await {
            Err(error @ StorageError::Sqlite(_)) => error,
            opened => return opened,
        };
        let Some(why) = why_unwritable(&options.data_dir) else { return Err(error) };
        let path = options.catalog_file();
        if !fs::metadata(&path).is_ok_and(|file| file.len() > 0) {
            return Err(StorageError::NoCatalog { path: path.display().to_string(), why });
        }
        let opened = imgsrv_catalog::sqlite::open_read_only(&path, Arc::new(SystemClock), why).await?;
        Ok(Self::Sqlite(Arc::new(opened)))
    }

    /// Opens the configured catalog, which must exist, for a command that may run beside a server.
    pub(crate) async fn open_beside_server(options: &StorageOptions) -> Result<(CommandLock, Self), StorageError> {
        let path = options.catalog_file();
        // To look into a file takes writes on its disk.
        let exists = match options.postgres() {
            Some(_) => inspect(options).await?.is_some(),
            None => fs::metadata(&path).is_ok_and(|file| file.len() > 0),
        };
        if !exists {
            return Err(StorageError::Absent(options.catalog()));
        }
        let lock = match options.postgres() {
            Some(_) => Ok(CommandLock::default()),
            None => lock_for_command(&path),
        };
        let lock = lock.map_err(|source| match source.kind() {
            io::ErrorKind::WouldBlock => StorageError::InUse(path.display().to_string()),
            _ => StorageError::CommandLock { path: path.display().to_string(), source },
        })?;
        Ok((lock, Self::open(options).await?))
    }

    /// Whether it was opened for reads alone and still is.
    pub(crate) async fn is_read_only(&self) -> bool {
        match self {
            Self::Sqlite(catalog) => catalog.is_read_only().await,
            Self::Postgres(_) => false,
        }
    }

    /// Makes a catalog that was opened for reads alone accept writes.
    pub(crate) async fn accept_writes(&self) -> Result<(), StorageError> {
        match self {
            Self::Sqlite(catalog) => Ok(catalog.accept_writes().await?),
            Self::Postgres(_) => Ok(()),
        }
    }

    pub(crate) fn port(&self) -> Arc<dyn Catalog> {
        match self {
            Self::Sqlite(catalog) => Arc::clone(catalog) as Arc<dyn Catalog>,
            Self::Postgres(catalog) => Arc::clone(catalog) as Arc<dyn Catalog>,
        }
    }

    /// Backups of the catalog.
    pub(crate) fn backups(&self) -> Arc<dyn BackupCatalog> {
        match self {
            Self::Sqlite(catalog) => Arc::clone(catalog) as Arc<dyn BackupCatalog>,
            Self::Postgres(catalog) => Arc::clone(catalog) as Arc<dyn BackupCatalog>,
        }
    }

    /// The status of the connection pool; SQLite has none.
    pub(crate) fn pool_status(&self) -> Option<PoolStatus> {
        match self {
            Self::Sqlite(_) => None,
            Self::Postgres(catalog) => Some(catalog.pool_status()),
        }
    }

    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite(catalog) => catalog.close().await,
            Self::Postgres(catalog) => catalog.close().await,
        }
    }
}

/// Inspects the configured catalog without changing anything; `None` if there is none.
pub(crate) async fn inspect(options: &StorageOptions) -> Result<Option<Inspection>, StorageError> {
    Ok(match options.postgres() {
        Some(settings) => imgsrv_catalog::postgres::inspect(&settings).await?,
        None => imgsrv_catalog::sqlite::inspect(&options.catalog_file()).await?,
    })
}

/// The blob store. Makes no request to a bucket yet; a folder is created if it does not exist.
pub(crate) fn blob_store(
    options: &StorageOptions,
    observer: Arc<dyn Observer>,
) -> Result<Arc<dyn BlobStore>, StorageError> {
    Ok(match options.s3() {
        Some(settings) => Arc::new(S3BlobStore::new(&settings, observer)?),
        None => {
            let failed = |source| StorageError::Blobs { store: options.blob_store(), source };
            Arc::new(FsBlobStore::open(&options.storage_dir(), observer).map_err(failed)?)
        }
    })
}

/// The adapters over an open catalog. Makes no request to the blob store yet.
pub(crate) fn adapters(
    options: &StorageOptions,
    oidc: OidcVerifier,
    catalog: &OpenCatalog,
    observer: Arc<dyn Observer>,
) -> Result<Adapters, StorageError> {
    Ok(Adapters {
        catalog: catalog.port(),
        blobs: blob_store(options, observer)?,
        clock: Arc::new(SystemClock),
        ids: Arc::new(UuidIds),
        verifier: Arc::new(oidc),
        conditions: Arc::new(CelEngine::start().map_err(StorageError::Conditions)?),
    })
}

/// Checks that the blob store is usable and bound to this catalog. A folder that is bound is usable for reads when its
/// disk is full or read-only.
pub(crate) async fn check_blobs(options: &StorageOptions, services: &Services) -> Result<(), StorageError> {
    let store = || options.blob_store();
    match services.adapters().blobs.probe().await {
        Err(BlobError::Full(_) | BlobError::ReadOnly(_)) if options.s3().is_none() => {}
        probed => probed.map_err(|source| StorageError::Blobs { store: store(), source })?,
    }
    services.bind_blob_store().await.map_err(|source| StorageError::Bind { store: store(), source })
}

/// Locks on the folders that this server uses, against servers that must not share them.
pub(crate) struct Locks(Vec<FolderLock>);

impl Locks {
    /// Locks the data folder exclusively if it contains the catalog, and the storage folder in a bucket's absence:
    /// exclusively as well, or shared with the other nodes of a PostgreSQL catalog.
    pub(crate) fn acquire(options: &StorageOptions) -> Result<Self, StorageError> {
        let mut locks = Vec::new();
        let is_shared = options.postgres().is_some();
        if !is_shared {
            make_folder(&options.data_dir)?;
            locks.push(FolderLock::acquire(&options.data_dir, false)?);
        }
        if options.s3().is_none() {
            let folder = options.storage_dir();
            make_folder(&folder)?;
            if is_shared || !is_same(&folder, &options.data_dir) {
                locks.push(FolderLock::acquire(&folder, is_shared)?);
            }
        }
        Ok(Self(locks))
    }

    /// Creates and locks the lock files that a full or read-only disk did not permit.
    pub(crate) fn complete(&mut self) -> Result<(), StorageError> {
        Ok(self.0.iter_mut().try_for_each(FolderLock::complete)?)
    }
}

/// The folders that this server writes to.
pub(crate) fn folders(options: &StorageOptions) -> Vec<PathBuf> {
    let catalog = options.postgres().is_none().then(|| options.data_dir.clone());
    let blobs = options.s3().is_none().then(|| options.storage_dir());
    catalog.into_iter().chain(blobs).collect()
}

/// Whether two paths name the same folder.
fn is_same(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

fn make_folder(path: &Path) -> Result<(), StorageError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| StorageError::DataDir { path: path.display().to_string(), source })
}
