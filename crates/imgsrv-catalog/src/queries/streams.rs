//! Reading what streams are made of, as far as it has changed.

use crate::{
    Connection, StreamAliasRow, StreamImageRow, StreamRowRow,
    core::{
        connection::{list, scalar},
        value::values,
    },
};
use imgsrv_domain::{
    ids::ImageId,
    names::{AliasName, VersionName},
    ports::{CatalogError, StreamChanges, StreamImage},
    transition::Revision,
};
use std::collections::HashMap;

pub(crate) const REVISION: &str = "SELECT revision FROM catalog_revision";
const ROWS: &str = "SELECT v.image_id, v.name AS version_name, v.published_at, a.operating_system, a.architecture,
    a.variant, a.format, a.primary_blob_digest, a.primary_blob_size_bytes, t.name AS attachment_name, t.blob_digest,
    t.blob_size_bytes, r.fingerprint FROM incus_rows r JOIN artifacts a ON a.id = r.artifact_id
    JOIN attachments t ON t.id = r.attachment_id JOIN versions v ON v.id = r.version_id
    WHERE r.catalog_revision > $1";
const IMAGES: &str = "SELECT i.id, i.name, i.display_name FROM image_changes c JOIN images i ON i.id = c.image_id
    WHERE c.catalog_revision > $1";
const ALIASES: &str = "SELECT a.image_id, a.name, v.name AS version_name FROM image_changes c
    JOIN aliases a ON a.image_id = c.image_id JOIN versions v ON v.id = a.version_id WHERE c.catalog_revision > $1";
pub(crate) const STATEMENTS: &[&str] = &[REVISION, ROWS, IMAGES, ALIASES];

/// The revision of the catalog.
pub(crate) async fn revision<C: Connection>(connection: &mut C) -> Result<Revision, CatalogError> {
    Ok(Revision::new(scalar(connection, REVISION, values![]).await?))
}

/// What changed after `since`; `snapshot` shows one state of the catalog throughout.
pub(crate) async fn changes<C: Connection>(
    snapshot: &mut C,
    since: Option<Revision>,
) -> Result<StreamChanges, CatalogError> {
    let revision = revision(snapshot).await?;
    let after = since.map_or(0, Revision::get);
    let rows = list::<StreamRowRow, _, _>(snapshot, ROWS, values![after]).await?;
    let mut images: Vec<StreamImage> = list::<StreamImageRow, _, _>(snapshot, IMAGES, values![after]).await?;
    let aliases: Vec<(ImageId, AliasName, VersionName)> =
        list::<StreamAliasRow, _, _>(snapshot, ALIASES, values![after]).await?;
    let mut of: HashMap<ImageId, Vec<(AliasName, VersionName)>> = HashMap::new();
    for (image, alias, version) in aliases {
        of.entry(image).or_default().push((alias, version));
    }
    for image in &mut images {
        image.aliases = of.remove(&image.id).unwrap_or_default();
    }
    Ok(StreamChanges { revision, rows, images })
}
