//! Simple Streams as Incus and LXD read it: the documents, how a client interprets them, and the projection of a catalog to
//! them.
//!
//! Pure: this crate does no I/O. [`Images::of`] reads the documents of any server; [`project`] creates those of a catalog.

mod description;
mod document;
mod images;
mod listed;
mod model;
mod projection;

pub use document::{EncodedProducts, Entry, Pieces, index_pieces, products_pieces};
pub use images::{Images, RemoteImage};
pub use imgsrv_domain::{
    architecture::{IncusArchitecture, UnknownArchitecture},
    inspection::ImageKind,
};
pub use listed::{Deprecation, File, Listed, Root};
pub use model::{Index, IndexEntry, Item, Product, ProductVersion, Products};
pub use projection::{Aliases, index, is_ambiguous, products, project, project_with};
