//! Records, and how they are read from the columns of a row.

use crate::core::{
    stored::Stored,
    value::{ColumnType, Columns},
};
use imgsrv_domain::{
    blocks::BlockChecksums,
    digest::{BlobClaim, HashState},
    ports::CatalogError,
    time::Timestamp,
};
use std::fmt::Display;

/// A stored row that breaks a rule of the domain: the catalog was changed by another program, or is damaged.
#[derive(Debug, thiserror::Error)]
#[error("the stored {what}{} is corrupt: {why}", .id.as_ref().map(|id| format!(" {id}")).unwrap_or_default())]
pub(crate) struct Corrupt {
    what: &'static str,
    id: Option<String>,
    why: String,
}

impl Corrupt {
    /// `what` breaks a rule; `why` says which.
    pub(crate) fn new(what: &'static str, why: impl Display) -> Self {
        Self { what, id: None, why: why.to_string() }
    }

    /// The same, of the record with that id.
    pub(crate) fn of(self, id: impl Display) -> Self {
        Self { id: Some(id.to_string()), ..self }
    }

    /// What it is.
    pub(crate) const fn what(&self) -> &'static str {
        self.what
    }

    /// Its id, if that is known.
    pub(crate) fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The rule that it breaks.
    pub(crate) fn why(&self) -> &str {
        &self.why
    }
}

impl From<Corrupt> for CatalogError {
    fn from(corrupt: Corrupt) -> Self {
        Self::Corrupt(Box::new(corrupt))
    }
}

/// A record, or a part of one, that is read from one row.
pub(crate) trait Record: Sized + Send {
    /// What it is, for errors.
    const WHAT: &'static str;
    /// The column that has its id, for errors.
    const ID: &'static str = "id";
    /// Reads it.
    fn read(row: &Row<'_>) -> Result<Self, Corrupt>;
}

/// The value of a row with a single column.
impl<T: Stored + Send> Record for T {
    const WHAT: &'static str = "value";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        row.get(row.columns.first())
    }
}

/// A record, and the time on the database's clock; absent where the database has no clock.
impl<T: Record> Record for (T, Option<Timestamp>) {
    const WHAT: &'static str = T::WHAT;
    const ID: &'static str = T::ID;

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        Ok((T::read(row)?, row.optional("now")?))
    }
}

/// A record, or why its row cannot be decoded.
pub(crate) struct Attempt<T>(pub(crate) Result<T, Corrupt>);

impl<T: Record> Record for Attempt<T> {
    const WHAT: &'static str = T::WHAT;
    const ID: &'static str = T::ID;

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        Ok(Self(T::read(row)))
    }
}

/// The records of rows.
pub(crate) fn records<T: Record>(rows: &[impl Columns]) -> Result<Vec<T>, Corrupt> {
    let record = |columns| T::read(&Row { columns, what: T::WHAT, id: T::ID });
    rows.iter().map(|row| record(row)).collect()
}

/// A row that a record is read from.
#[derive(Clone, Copy)]
pub(crate) struct Row<'r> {
    columns: &'r dyn Columns,
    what: &'static str,
    id: &'static str,
}

impl Row<'_> {
    /// The row breaks a rule; `why` says which.
    pub(crate) fn corrupt(&self, why: impl Display) -> Corrupt {
        Corrupt { id: self.id(), ..Corrupt::new(self.what, why) }
    }

    /// The record's id, if it has one that can be read.
    fn id(&self) -> Option<String> {
        let (columns, id) = (self.columns, self.id);
        let uuid = || columns.uuid(id).ok().flatten().map(|uuid| uuid.to_string());
        let number = || columns.int(id).ok().flatten().map(|number| number.to_string());
        let text = columns.text(id).ok().flatten().map(|text| text.escape_debug().to_string());
        text.or_else(uuid).or_else(number)
    }

    /// The value of a column; `None` if that is empty.
    pub(crate) fn optional<T: Stored>(&self, column: &str) -> Result<Option<T>, Corrupt> {
        let raw = T::Raw::get(self.columns, column).map_err(|error| self.corrupt(error))?;
        raw.map(T::decode).transpose().map_err(|why| self.corrupt(format_args!("{column} {why}")))
    }

    /// The value of a column that is never empty.
    pub(crate) fn get<T: Stored>(&self, column: &str) -> Result<T, Corrupt> {
        self.optional(column)?.ok_or_else(|| self.corrupt(format_args!("{column} is empty")))
    }

    /// Another record of the same row.
    pub(crate) fn record<T: Record>(&self) -> Result<T, Corrupt> {
        T::read(&Row { what: T::WHAT, id: T::ID, ..*self })
    }

    /// Digest and size of a blob.
    pub(crate) fn claim(&self, digest: &str, size: &str) -> Result<BlobClaim, Corrupt> {
        Ok(BlobClaim { digest: self.get(digest)?, size: self.get(size)? })
    }

    /// A saved hash without block checksums; `None` if there is none.
    pub(crate) fn hash(&self, bytes: &str, state: &str) -> Result<Option<HashState>, Corrupt> {
        match (self.optional(bytes)?, self.optional(state)?) {
            (Some(bytes), Some(state)) => Ok(Some(HashState { bytes, state, blocks: BlockChecksums::default() })),
            (None, None) => Ok(None),
            (Some(_), None) | (None, Some(_)) => Err(self.corrupt(format_args!("{bytes} and {state} disagree"))),
        }
    }

    /// A saved hash with the checksums of the blocks that it has ended; `None` if there is none.
    pub(crate) fn hash_and_blocks(&self, bytes: &str, state: &str, blocks: &str) -> Result<Option<HashState>, Corrupt> {
        let blocks = self.optional(blocks)?.unwrap_or_default();
        Ok(self.hash(bytes, state)?.map(|hash| HashState { blocks, ..hash }))
    }
}
