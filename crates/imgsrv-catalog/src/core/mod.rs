//! Connections, transactions, values, cursors and conflicts, for every database.

pub(crate) mod catalog;
pub(crate) mod conflicts;
pub(crate) mod connection;
pub(crate) mod cursor;
pub(crate) mod tx;
pub(crate) mod value;
