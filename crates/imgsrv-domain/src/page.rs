//! Keyset pagination of lists.

/// How many rows a page has at most, 1 to 1000.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageLimit(u16);

/// The number is not a page size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be from 1 to 1000")]
pub struct InvalidPageLimit;

impl PageLimit {
    /// The greatest page size, which is also the default.
    pub const MAX: Self = Self(1000);

    /// The number of rows.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl TryFrom<i64> for PageLimit {
    type Error = InvalidPageLimit;

    fn try_from(raw: i64) -> Result<Self, InvalidPageLimit> {
        match u16::try_from(raw) {
            Ok(rows @ 1..=1000) => Ok(Self(rows)),
            _ => Err(InvalidPageLimit),
        }
    }
}

/// The position where a page ended, in a form that only the catalog that wrote it reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(pub String);

/// A request for one page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    /// The most rows to return.
    pub limit: PageLimit,
    /// The position where the previous page of the same list ended; absent for the first page.
    pub after: Option<Cursor>,
}

impl PageRequest {
    /// The first page, of the greatest size.
    pub const FIRST: Self = Self { limit: PageLimit::MAX, after: None };
}

/// One page of a list, in the stable order of that list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// The position for the next page; absent on the last one.
    pub next: Option<Cursor>,
}
