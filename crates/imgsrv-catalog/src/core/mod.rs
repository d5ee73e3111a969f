//! The catalog over any database: connections, transactions, values, records, pages and conflicts.

mod audit;
mod catalog;
mod conflicts;
mod connection;
mod cursor;
pub(crate) mod inspection;
mod list;
pub(crate) mod migrations;
mod record;
mod statement;
mod stored;
mod time;
pub(crate) mod tx;
mod undecodable;
mod value;

pub(crate) use catalog::{SqlCatalog, SqlDatabase};
pub(crate) use conflicts::conflict;
pub(crate) use connection::{Connection, Dialects, Statement, locking, timed};
pub use inspection::Inspection;
pub(crate) use list::{List, Listed, read_all};
pub(crate) use record::{Corrupt, Record, Row, records};
pub(crate) use statement::{Kind, Traced, query_span, transaction_span};
pub(crate) use stored::{Bind, Stored, limited, limited_rule, values};
pub(crate) use time::SqlTime;
pub(crate) use tx::SqlTx;
pub(crate) use undecodable::UndecodableRows;
pub(crate) use value::{ColumnType, Value, arguments};
