//! Ingest: verifies bytes that were not hashed on arrival, and links the file into the content-addressed store.

use super::{
    error::failed,
    layout::{FileLocation, Layout, accept, ensure_folder},
};
use crate::buffers::BUFFER_BYTES;
use imgsrv_domain::{
    digest::HashState,
    hash::RunningHash,
    ports::{BlobError, IngestError, IngestRequest, IngestStep, Ingested},
};
use std::{
    fs::{self, File, Permissions},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::{FileExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Bytes hashed in one step; between steps the caller saves the position and renews its lease.
const STEP_BYTES: u64 = 512 << 20;

/// Does the next step of an ingest.
pub(super) fn ingest(layout: &Layout, request: &IngestRequest) -> Result<Ingested, IngestError> {
    match request.next_step()? {
        IngestStep::Hash(hash) => extend(layout, request, hash).map(Ingested::Hashed),
        IngestStep::Place => place(layout, request).map(|()| Ingested::Placed),
    }
}

/// A range of a staged file that belongs to the blob.
struct Extent {
    path: PathBuf,
    offset: u64,
    size: u64,
}

/// The blob's bytes in order; adjacent parts in one file are one extent.
fn extents(layout: &Layout, request: &IngestRequest) -> Result<Vec<Extent>, IngestError> {
    let mut extents: Vec<Extent> = Vec::new();
    for part in request.parts.iter().filter(|part| part.size.get() > 0) {
        let location = FileLocation::parse(&part.location).ok_or(IngestError::StagedGone)?;
        let path = layout.staged(request.session, &location.file);
        match extents.last_mut() {
            Some(last) if last.path == path && last.offset + last.size == location.offset => {
                last.size += part.size.get();
            }
            _ => extents.push(Extent { path, offset: location.offset, size: part.size.get() }),
        }
    }
    Ok(extents)
}

/// Hashes the next bytes, at most [`STEP_BYTES`].
fn extend(layout: &Layout, request: &IngestRequest, mut hash: RunningHash) -> Result<HashState, IngestError> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let (mut skip, mut left) = (hash.bytes(), STEP_BYTES);
    for extent in extents(layout, request)? {
        if skip >= extent.size {
            skip -= extent.size;
            continue;
        }
        let file = File::open(&extent.path).map_err(|error| gone(layout, error))?;
        let mut offset = extent.offset + skip;
        let end = extent.offset + extent.size;
        skip = 0;
        while offset < end && left > 0 {
            let wanted = (end - offset).min(left).min(BUFFER_BYTES as u64);
            let chunk = &mut buffer[..usize::try_from(wanted).unwrap_or(BUFFER_BYTES)];
            file.read_exact_at(chunk, offset).map_err(|error| gone(layout, error))?;
            hash.update(chunk);
            offset += wanted;
            left -= wanted;
        }
    }
    Ok(hash.save())
}

/// Makes the blob durable under its name.
fn place(layout: &Layout, request: &IngestRequest) -> Result<(), IngestError> {
    let blob = layout.blob(&request.name);
    let size = request.claim.size.get();
    let folders = layout.ensure_blob_folder(blob.parent().unwrap_or(&blob)).map_err(failed)?;
    let is_placed = match fs::metadata(&blob) {
        Ok(file) if file.len() == size => true,
        // Only this session uses the name: a file of another size is damaged, and no catalog refers to it.
        Ok(_) => fs::remove_file(&blob).map(|()| false).map_err(failed)?,
        Err(_) => false,
    };
    if !is_placed {
        let extents = extents(layout, request)?;
        let is_whole_file = match extents.as_slice() {
            [only] if only.offset == 0 => fs::metadata(&only.path).map_err(|error| gone(layout, error))?.len() == size,
            _ => false,
        };
        let source = if is_whole_file { extents[0].path.clone() } else { assemble(layout, request, &extents)? };
        fs::set_permissions(&source, Permissions::from_mode(0o444)).map_err(|error| gone(layout, error))?;
        // If the name exists, another worker has just placed the same blob.
        accept(io::ErrorKind::AlreadyExists, fs::hard_link(&source, &blob)).map_err(|error| gone(layout, error))?;
    }
    Ok(layout.sync_blob(&blob, &folders).map_err(failed)?)
}

/// Copies the parts into one durable file, with shared extents if the file system supports them (`copy_file_range`).
/// Its name is random, because a worker that lost its lease may still be copying. A file that a crash leaves is removed
/// at the end of the session.
fn assemble(layout: &Layout, request: &IngestRequest, extents: &[Extent]) -> Result<PathBuf, IngestError> {
    let random = getrandom::u64().map_err(BlobError::unavailable)?;
    let path = layout.staged(request.session, &format!("assembled-{random:016x}"));
    ensure_folder(&layout.session(request.session)).map_err(failed)?;
    let copied = copy(layout, extents, &path);
    if copied.is_err() {
        let _ = fs::remove_file(&path);
    }
    copied.map(|()| path)
}

fn copy(layout: &Layout, extents: &[Extent], path: &Path) -> Result<(), IngestError> {
    let mut target = File::create_new(path).map_err(failed)?;
    for extent in extents {
        let mut source = File::open(&extent.path).map_err(|error| gone(layout, error))?;
        source.seek(SeekFrom::Start(extent.offset)).map_err(failed)?;
        let copied = io::copy(&mut source.take(extent.size), &mut target).map_err(failed)?;
        if copied != extent.size {
            return Err(IngestError::StagedGone);
        }
    }
    Ok(target.sync_all().map_err(failed)?)
}

/// A missing file means that the bytes are gone, unless the store itself is not mounted.
fn gone(layout: &Layout, error: io::Error) -> IngestError {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof if layout.is_present() => IngestError::StagedGone,
        _ => failed(error).into(),
    }
}
