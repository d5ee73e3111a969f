//! Simple Streams as Incus and LXD read them: the documents, what a client makes of them, and the projection of a
//! catalog onto them.
//!
//! Pure: no bytes are fetched and nothing is stored. [`Products::parse`] and [`Images::of`] read the documents of any
//! server; [`project`] makes those of a catalog of versions.

mod arch;
mod images;
mod model;
mod projection;

pub use arch::{IncusArchitecture, UnknownArchitecture};
pub use images::{ImageKind, Images, RemoteFile, RemoteImage};
pub use model::{Index, IndexEntry, InvalidDocument, Item, Product, ProductVersion, Products};
pub use projection::{Aliases, File, Listed, Root, index, is_ambiguous, products, project};
