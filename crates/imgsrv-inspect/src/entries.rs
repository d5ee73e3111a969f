//! The entries of a tarball that is not compressed, without their contents.

use crate::{
    fields::Fields,
    source::{Source, read_up_to},
};
use tar::{EntryType, Header};

const BLOCK: u64 = 512;
/// Maximum size of the extended header of an entry.
const MAX_EXTENDED: u64 = 64 << 10;

/// An entry.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: Vec<u8>,
    pub(crate) kind: EntryType,
    /// The target of a link.
    pub(crate) link: Vec<u8>,
    /// Where its bytes are.
    pub(crate) offset: u64,
    pub(crate) size: u64,
}

/// The first entries of a tarball.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    pub(crate) list: Vec<Entry>,
    /// Whether they are all, up to the end that a tarball has.
    pub(crate) is_complete: bool,
}

/// Reads the headers of the first `max` entries; fewer if one is not valid or its bytes are cut off.
pub(crate) async fn read<S: Source>(source: &S, max: usize) -> Result<Entries, S::Error> {
    let (mut entries, mut at, mut extended) = (Entries::default(), 0, Extended::default());
    // The last entry may lack the zeros that fill its block.
    while entries.list.len() < max && at < source.size() {
        let block = read_up_to(source, at, BLOCK).await?;
        let Ok(block) = <[u8; 512]>::try_from(block) else { break };
        if block == [0; 512] {
            entries.is_complete = true;
            break;
        }
        let header = Header::from_byte_slice(&block);
        let Some(size) = entry_size(header, &block) else { break };
        let size = extended.size.take().unwrap_or(size);
        let offset = at + BLOCK;
        let Some(end) = offset.checked_add(size).filter(|end| *end <= source.size()) else { break };
        let kind = header.entry_type();
        at = end.next_multiple_of(BLOCK);
        let is_extension = kind.is_gnu_longname() || kind.is_gnu_longlink() || kind.is_pax_local_extensions();
        if is_extension || kind.is_pax_global_extensions() {
            if size > MAX_EXTENDED {
                break;
            }
            let content = read_up_to(source, offset, size).await?;
            // Tools do not agree on what a global name or size is of.
            if extended.add(kind, &content).is_none() || kind.is_pax_global_extensions() && extended.is_set() {
                break;
            }
            continue;
        }
        let Extended { name, link, .. } = std::mem::take(&mut extended);
        let name = name.unwrap_or_else(|| header.path_bytes().into_owned());
        let link = link.unwrap_or_else(|| header.link_name_bytes().map(Vec::from).unwrap_or_default());
        entries.list.push(Entry { name, kind, link, offset, size });
    }
    Ok(entries)
}

/// The size of an entry, if its header has the right checksum.
fn entry_size(header: &Header, block: &[u8; 512]) -> Option<u64> {
    is_header(block).then(|| header.entry_size().ok())?
}

/// Whether a block is the header of an entry, by its checksum.
pub(crate) fn is_header(block: &[u8; 512]) -> bool {
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    // The field of the checksum counts as blanks.
    let computed = sum(&block[..148]) + 8 * 32 + sum(&block[156..]);
    Header::from_byte_slice(block).cksum().is_ok_and(|checksum| checksum == computed)
}

/// What extended headers say about the next entry.
#[derive(Debug, Default)]
struct Extended {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

impl Extended {
    const fn is_set(&self) -> bool {
        self.name.is_some() || self.link.is_some() || self.size.is_some()
    }

    /// Takes what a header of GNU tar or pax says; `None` if it is not valid.
    fn add(&mut self, kind: EntryType, content: &[u8]) -> Option<()> {
        let until_nul = || content.split(|byte| *byte == 0).next().map(Vec::from);
        if kind.is_gnu_longname() {
            self.name = until_nul();
            return Some(());
        }
        if kind.is_gnu_longlink() {
            self.link = until_nul();
            return Some(());
        }
        for record in tar::PaxExtensions::new(content) {
            let record = record.ok()?;
            match record.key_bytes() {
                b"path" => self.name = Some(record.value_bytes().to_vec()),
                b"linkpath" => self.link = Some(record.value_bytes().to_vec()),
                b"size" => self.size = Some(record.value().ok()?.parse().ok()?),
                // Sparse files of GNU tar are not what they seem.
                key if key.starts_with(b"GNU.sparse.") => return None,
                _ => {}
            }
        }
        Some(())
    }
}

/// An entry of a tarball as a file of its own.
pub(crate) struct Part<'a, S> {
    source: &'a S,
    offset: u64,
    size: u64,
}

impl<'a, S: Source> Part<'a, S> {
    pub(crate) const fn of(source: &'a S, entry: &Entry) -> Self {
        Self { source, offset: entry.offset, size: entry.size }
    }

    /// Its first bytes, at most as many as are read at once.
    pub(crate) async fn head(&self) -> Result<Fields, S::Error> {
        read_up_to(self, 0, self.size).await.map(Fields)
    }
}

impl<S: Source> Source for Part<'_, S> {
    type Error = S::Error;

    fn size(&self) -> u64 {
        self.size
    }

    async fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>, S::Error> {
        self.source.read(self.offset + offset, length).await
    }

    fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> impl Future<Output = T> + Send {
        self.source.run(work)
    }
}
