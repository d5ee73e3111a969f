//! Virtual appliances: an OVF descriptor and disks in a tarball (DMTF DSP0243). The disks are inspected like loose ones, and
//! the descriptor must refer to files of the archive alone.

use crate::{
    disk::{InspectError, Problem, Refusal},
    entries::{self, Entry, Part},
    file::inspect_file,
    format::Contents,
    source::Source,
};
use quick_xml::{
    Reader, XmlVersion,
    events::{BytesStart, Event},
};

/// Maximum number of entries of an appliance.
pub(crate) const MAX_FILES: usize = 64;

/// Whether a tarball is an appliance, and if so, that it stands alone.
pub(crate) async fn inspect<S: Source>(source: &S) -> Result<bool, InspectError<S::Error>> {
    let entries = entries::read(source, MAX_FILES + 1).await.map_err(InspectError::Source)?;
    let is_descriptor =
        |entry: &&Entry| entry.name.to_ascii_lowercase().ends_with(b".ovf") && !plain(&entry.name).contains(&b'/');
    if !entries.list.iter().any(|entry| is_descriptor(&entry)) {
        return Ok(false);
    }
    if entries.list.len() > MAX_FILES {
        return Err(refused(Problem::OutOfBounds("number of files")));
    }
    if !entries.is_complete {
        return Err(refused(Problem::Invalid("list of files")));
    }
    for entry in &entries.list {
        check_entry(entry).map_err(refused)?;
        inspect_entry(source, entry).await?;
    }
    for descriptor in entries.list.iter().filter(is_descriptor) {
        let head = Part::of(source, descriptor).head().await.map_err(InspectError::Source)?;
        if (head.0.len() as u64) < descriptor.size {
            return Err(refused(Problem::OutOfBounds("descriptor")));
        }
        check_descriptor(&head.0, &entries.list).map_err(refused)?;
    }
    Ok(true)
}

const fn refused<E>(problem: Problem) -> InspectError<E> {
    InspectError::Refused(Refusal::of(Contents::Ova, problem))
}

/// A name without what all names may begin with.
fn plain(name: &[u8]) -> &[u8] {
    name.strip_prefix(b"./").unwrap_or(name)
}

/// Checks that an entry is a file or a folder inside the archive.
fn check_entry(entry: &Entry) -> Result<(), Problem> {
    if !entry.kind.is_file() && !entry.kind.is_dir() {
        return Err(Problem::other_file("a link or another special file", &entry.link));
    }
    if entry.name.starts_with(b"/") || entry.name.split(|byte| matches!(byte, b'/' | b'\\')).any(|step| step == b"..") {
        return Err(Problem::other_file("an entry outside the archive", &entry.name));
    }
    Ok(())
}

/// Inspects an entry like a loose file.
async fn inspect_entry<S: Source>(source: &S, entry: &Entry) -> Result<(), InspectError<S::Error>> {
    match inspect_file(&Part::of(source, entry)).await {
        Ok(_) => Ok(()),
        Err(InspectError::Refused(refusal)) => Err(refused(Problem::member(&entry.name, refusal))),
        Err(InspectError::Source(error)) => Err(InspectError::Source(error)),
    }
}

/// Checks the list of files in a descriptor.
fn check_descriptor(descriptor: &[u8], entries: &[Entry]) -> Result<(), Problem> {
    let mut reader = Reader::from_reader(descriptor);
    loop {
        match reader.read_event().map_err(|_| Problem::Invalid("descriptor"))? {
            // It could include other files.
            Event::DocType(_) => return Err(Problem::other_file("a document type in its descriptor", b"")),
            Event::Start(element) | Event::Empty(element) if element.local_name().as_ref() == b"File" => {
                check_reference(&element, entries)?;
            }
            Event::Eof => return Ok(()),
            _ => {}
        }
    }
}

fn check_reference(element: &BytesStart<'_>, entries: &[Entry]) -> Result<(), Problem> {
    for attribute in element.attributes() {
        let attribute = attribute.map_err(|_| Problem::Invalid("descriptor"))?;
        if attribute.key.local_name().as_ref() != b"href" {
            continue;
        }
        let value = attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|_| Problem::Invalid("descriptor"))?;
        if !entries.iter().any(|entry| entry.kind.is_file() && plain(&entry.name) == plain(value.as_bytes())) {
            return Err(Problem::other_file("a reference to a file that is not in the archive", value.as_bytes()));
        }
    }
    Ok(())
}
