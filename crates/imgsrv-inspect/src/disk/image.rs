//! What the readers of all disk formats share: bounds and tables.

use super::problem::{Problem, Stop};
use crate::{
    fields::Fields,
    source::{MAX_READ, Source, read_up_to},
};
use std::ops::Range;

/// A file that is read as a disk image.
pub(crate) struct Image<'a, S> {
    /// Absent if only its beginning is known.
    source: Option<&'a S>,
    /// The first 256 KiB, or the whole file if it is smaller.
    pub(crate) head: Fields,
    /// Number of bytes.
    pub(crate) size: u64,
}

impl<'a, S: Source> Image<'a, S> {
    pub(crate) async fn open(source: &'a S) -> Result<Self, S::Error> {
        let head = Fields(read_up_to(source, 0, MAX_READ as u64).await?);
        Ok(Self { source: Some(source), head, size: source.size() })
    }

    /// A file of which the first bytes are known, or if `is_all` the whole.
    pub(crate) const fn beginning(head: Vec<u8>, is_all: bool) -> Self {
        let size = if is_all { head.len() as u64 } else { i64::MAX as u64 };
        Self { source: None, head: Fields(head), size }
    }

    /// Reads `wanted` bytes, or fewer: at most [`MAX_READ`], and none beyond the end.
    pub(crate) async fn read(&self, offset: u64, wanted: u64) -> Result<Fields, Stop<S::Error>> {
        let end = offset.saturating_add(wanted).min(self.size);
        if offset >= end {
            return Ok(Fields::default());
        }
        if end <= self.head.0.len() as u64 {
            let at = |offset| usize::try_from(offset).unwrap_or(usize::MAX);
            return Ok(Fields(self.head.slice(at(offset)..at(end)).to_vec()));
        }
        let source = self.source.ok_or(Stop::NotKnown)?;
        let length = end.saturating_sub(offset).min(MAX_READ as u64);
        let read = source.read(offset, usize::try_from(length).unwrap_or(MAX_READ)).await;
        read.map(Fields).map_err(Stop::Source)
    }

    /// Reads exactly `length` bytes, at most [`MAX_READ`].
    pub(crate) async fn read_exact(
        &self,
        name: &'static str,
        offset: u64,
        length: u64,
    ) -> Result<Fields, Stop<S::Error>> {
        if !self.contains(offset, length) {
            return Err(Problem::OutOfBounds(name).into());
        }
        self.read(offset, length).await
    }

    /// Like [`Self::read_exact`], of bytes that tell whether there is another file: what is not known of them is refused.
    pub(crate) async fn read_needed(
        &self,
        name: &'static str,
        offset: u64,
        length: u64,
    ) -> Result<Fields, Stop<S::Error>> {
        self.read_exact(name, offset, length).await.map_err(|stop| match stop {
            Stop::NotKnown => Problem::OutOfReach(name).into(),
            stop => stop,
        })
    }

    /// The bytes of the header, of which there must be `length`.
    pub(crate) fn header(&self, length: usize) -> Result<&Fields, Problem> {
        if self.head.0.len() < length { Err(Problem::CutOff) } else { Ok(&self.head) }
    }

    /// The name that a header gives to another file, as far as it is in the bytes that were read.
    pub(crate) fn other_file(&self, role: &'static str, offset: u64, length: u64) -> Problem {
        let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
        Problem::other_file(role, self.head.slice(at(offset)..at(offset.saturating_add(length))))
    }

    /// Whether the range ends inside the file.
    pub(crate) fn contains(&self, offset: u64, bytes: u64) -> bool {
        offset.checked_add(bytes).is_some_and(|end| end <= self.size)
    }

    /// The range of a table of at most `max` bytes, if it is empty or lies inside the file.
    pub(crate) fn table(
        &self,
        name: &'static str,
        offset: u64,
        bytes: Option<u64>,
        max: u64,
    ) -> Result<Range<u64>, Problem> {
        match bytes {
            Some(0) => Ok(0..0),
            Some(bytes) if bytes <= max && self.contains(offset, bytes) => Ok(offset..offset + bytes),
            _ => Err(Problem::OutOfBounds(name)),
        }
    }

    /// Reads a table in pieces and checks every entry.
    pub(crate) async fn check_entries<const N: usize>(
        &self,
        mut table: Range<u64>,
        mut check: impl FnMut([u8; N]) -> Result<(), Problem> + Send,
    ) -> Result<(), Stop<S::Error>> {
        while table.end - table.start >= N as u64 {
            let wanted = (table.end - table.start).min(MAX_READ as u64) / N as u64 * N as u64;
            let read = self.read(table.start, wanted).await?;
            let (entries, _) = read.0.as_chunks::<N>();
            if entries.is_empty() {
                return Ok(());
            }
            entries.iter().try_for_each(|entry| check(*entry))?;
            table.start += (entries.len() * N) as u64;
        }
        Ok(())
    }
}
