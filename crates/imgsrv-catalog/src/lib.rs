//! The catalog in SQL, written once for SQLite and PostgreSQL.
//!
//! [`sqlite::open`] and [`postgres::open`], each behind a feature, open a catalog: an implementation of
//! [`imgsrv_domain::ports::Catalog`]. Everything else is private.
//!
//! `core` has connections, transactions, pages, how values and records are stored, and the conflicts of broken
//! constraints; `repos` the statements of units of work, `queries` those of single reads, `rows` the columns that depend
//! on the state of a record, `backup` backups. `sqlite` and `postgres` add connections, errors and migrations.
//!
//! Every round trip to the database is an event of target `imgsrv_catalog::statement` at level DEBUG, within a span
//! `catalog.transaction` or `catalog.query`.

mod backup;
mod core;
#[cfg(feature = "postgres")]
pub mod postgres;
mod queries;
mod repos;
mod rows;
#[cfg(feature = "sqlite")]
pub mod sqlite;

pub use core::Inspection;

/// Every statement that both databases execute, for a test that prepares each on a migrated schema.
#[doc(hidden)]
pub const STATEMENTS: &[&[&str]] = &[
    backup::STATEMENTS,
    core::tx::STATEMENTS,
    queries::audit::STATEMENTS,
    queries::blocks::STATEMENTS,
    queries::browse::STATEMENTS,
    queries::collection::STATEMENTS,
    queries::images::STATEMENTS,
    queries::jobs::STATEMENTS,
    queries::links::STATEMENTS,
    queries::operations::STATEMENTS,
    queries::principals::STATEMENTS,
    queries::retention::STATEMENTS,
    queries::rules::STATEMENTS,
    queries::streams::STATEMENTS,
    queries::verification::STATEMENTS,
    queries::versions::STATEMENTS,
    repos::aliases::STATEMENTS,
    repos::audit::STATEMENTS,
    repos::blobs::STATEMENTS,
    repos::blocks::STATEMENTS,
    repos::collection::STATEMENTS,
    repos::images::STATEMENTS,
    repos::inspections::STATEMENTS,
    repos::intakes::STATEMENTS,
    repos::jobs::STATEMENTS,
    repos::lifecycles::STATEMENTS,
    repos::links::STATEMENTS,
    repos::manifests::STATEMENTS,
    repos::manifests::DELETE_ARTIFACT,
    repos::manifests::DELETE_ATTACHMENT,
    repos::manifests::DELETE_OF_VERSION,
    repos::nodes::STATEMENTS,
    repos::principals::STATEMENTS,
    repos::retention::STATEMENTS,
    repos::rules::STATEMENTS,
    repos::streams::STATEMENTS,
    repos::tokens::STATEMENTS,
    repos::uploads::STATEMENTS,
    repos::verification::STATEMENTS,
    repos::versions::STATEMENTS,
    repos::work::STATEMENTS,
];

/// Every table with the columns that a backup has.
#[doc(hidden)]
pub const BACKED_UP: &[(&str, &[&str])] = backup::TABLES;

/// The tables and columns (`table.column`) that no backup has, each with the reason.
#[doc(hidden)]
pub const NOT_BACKED_UP: &[(&str, &str)] = backup::NOT_BACKED_UP;

/// The statements that only SQLite executes: they are given the time.
#[doc(hidden)]
pub const SQLITE_STATEMENTS: &[&[&str]] = &[
    queries::blobs::SQLITE,
    queries::browse::SQLITE,
    queries::images::SQLITE,
    queries::verification::SQLITE,
    repos::blobs::SQLITE,
    repos::collection::SQLITE,
    repos::manifests::SQLITE,
    repos::uploads::SQLITE,
    repos::work::SQLITE,
];

/// The statements that only PostgreSQL executes: they lock rows, or read the catalog's clock.
#[doc(hidden)]
pub const POSTGRES_STATEMENTS: &[&[&str]] = &[
    backup::POSTGRES,
    queries::blobs::POSTGRES,
    queries::browse::POSTGRES,
    queries::images::POSTGRES,
    queries::links::POSTGRES,
    queries::principals::POSTGRES,
    queries::rules::POSTGRES,
    queries::verification::POSTGRES,
    repos::aliases::POSTGRES,
    repos::blobs::POSTGRES,
    repos::blocks::POSTGRES,
    repos::collection::POSTGRES,
    repos::images::POSTGRES,
    repos::intakes::POSTGRES,
    repos::jobs::POSTGRES,
    repos::manifests::POSTGRES,
    repos::principals::POSTGRES,
    repos::rules::POSTGRES,
    repos::versions::POSTGRES,
    repos::uploads::POSTGRES,
    repos::work::POSTGRES,
];
