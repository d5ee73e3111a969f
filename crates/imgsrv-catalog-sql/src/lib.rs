//! The catalog in SQL, once for every database.
//!
//! Statements, rows and their decoding, page cursors and the meaning of broken constraints are written here.
//! An adapter brings connections ([`SqlDatabase`], [`Connection`]), its migrations, and what its errors mean;
//! it gets a whole catalog, [`SqlCatalog`]. Where databases need different words, both stand side by side here
//! ([`Lockable`]), so that one cannot be changed and the other forgotten.

mod catalog;
mod conflicts;
mod connection;
mod cursor;
mod queries;
mod repos;
mod rows;
mod streams;
mod tx;
mod value;

pub use catalog::{SqlCatalog, SqlDatabase};
pub use conflicts::conflict;
pub use connection::{CatalogRow, Connection, Lockable, Reads};
pub use rows::*;
pub use tx::SqlTx;
pub use value::{Value, arguments};

/// Every statement that all databases are given, so that a test can prepare each on a migrated schema.
#[doc(hidden)]
pub const STATEMENTS: &[&[&str]] = &[
    queries::STATEMENTS,
    repos::aliases::STATEMENTS,
    repos::audit::STATEMENTS,
    repos::blobs::STATEMENTS,
    repos::findings::STATEMENTS,
    repos::images::STATEMENTS,
    repos::intakes::STATEMENTS,
    repos::jobs::STATEMENTS,
    repos::manifests::STATEMENTS,
    repos::principals::STATEMENTS,
    repos::rules::STATEMENTS,
    repos::uploads::STATEMENTS,
    repos::versions::STATEMENTS,
    streams::STATEMENTS,
    tx::STATEMENTS,
];

/// The statements that lock rows, for databases whose transactions run beside one another.
#[doc(hidden)]
pub const LOCKING: &[&[&str]] = &[
    repos::aliases::LOCKING,
    repos::findings::LOCKING,
    repos::images::LOCKING,
    repos::intakes::LOCKING,
    repos::jobs::LOCKING,
    repos::principals::LOCKING,
    repos::rules::LOCKING,
    repos::uploads::LOCKING,
    repos::versions::LOCKING,
];
