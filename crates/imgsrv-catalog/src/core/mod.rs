//! The catalog over any database: connections, transactions, values, records, pages and conflicts.

pub(crate) mod audit;
pub(crate) mod catalog;
pub(crate) mod conflicts;
pub(crate) mod connection;
pub(crate) mod cursor;
pub(crate) mod list;
pub(crate) mod record;
pub(crate) mod statement;
pub(crate) mod stored;
pub(crate) mod time;
pub(crate) mod tx;
pub(crate) mod value;
