//! The catalog in SQL, written once for every database.
//!
//! `core` has connections, transactions, cursors and the meaning of broken constraints; `repos` the statements of
//! units of work, `queries` those of single reads, `rows` what they return. [`sqlite`] and [`postgres`] add
//! connections, errors and migrations, each behind a feature.

mod core;
#[cfg(feature = "postgres")]
pub mod postgres;
mod queries;
mod repos;
mod rows;
#[cfg(feature = "sqlite")]
pub mod sqlite;

pub use crate::core::{
    catalog::{SqlCatalog, SqlDatabase},
    conflicts::conflict,
    connection::{CatalogRow, Connection, Lockable, Reads},
    tx::SqlTx,
    value::{Value, arguments},
};
pub use rows::*;

/// Every statement that all databases are given, so that a test can prepare each on a migrated schema.
#[doc(hidden)]
pub const STATEMENTS: &[&[&str]] = &[
    queries::STATEMENTS,
    queries::manifests::STATEMENTS,
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
    queries::streams::STATEMENTS,
    core::tx::STATEMENTS,
];

/// The statements that lock rows, for databases whose transactions run beside one another.
#[doc(hidden)]
pub const LOCKING: &[&[&str]] = &[
    repos::aliases::LOCKING,
    repos::images::LOCKING,
    repos::intakes::LOCKING,
    repos::jobs::LOCKING,
    repos::principals::LOCKING,
    repos::rules::LOCKING,
    repos::uploads::LOCKING,
    repos::versions::LOCKING,
];
