//! Pages of long lists.

/// How many rows a page holds at most, 1 to 1000.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageLimit(u16);

/// The number is not a page size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be from 1 to 1000")]
pub struct InvalidPageLimit;

impl PageLimit {
    /// The greatest page, and the one served when none is asked for.
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

/// Where a page ended, in words that only the catalog which wrote it understands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(pub String);

/// Which page of a list is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    /// At most so many rows.
    pub limit: PageLimit,
    /// After the row where an earlier page of the same list ended; from the start when absent.
    pub after: Option<Cursor>,
}

impl PageRequest {
    /// The first page, as long as pages get.
    pub const FIRST: Self = Self { limit: PageLimit::MAX, after: None };
}

/// One page of a list in its stable order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Where the next page starts; absent on the last one.
    pub next: Option<Cursor>,
}
