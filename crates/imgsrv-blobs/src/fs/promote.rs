//! IngestRequest: verifying what was not hashed on arrival, and linking the bytes into the content-addressed store.

use super::{
    failed,
    layout::{FileLocation, Layout, ensure_folder, sync_parent},
    unavailable,
};
use crate::buffers::BUFFER_BYTES;
use imgsrv_domain::{
    digest::HashState,
    hash::RunningHash,
    ports::{IngestError, IngestRequest, Ingested},
};
use std::{
    fs::{self, File, Permissions},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::{FileExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Bytes hashed in one step, so that the position is saved and the lease looked at in between.
const STEP_BYTES: u64 = 512 << 20;

/// Hashes the next bytes that were not hashed on arrival, or, when none are left, places the blob.
pub(crate) fn step(layout: &Layout, promotion: &IngestRequest) -> Result<Ingested, IngestError> {
    if !promotion.is_whole() {
        return Err(IngestError::StagedGone);
    }
    let mut hash = match &promotion.hashed {
        Some(saved) => RunningHash::resume(saved).ok_or(IngestError::StagedGone)?,
        None => RunningHash::new(),
    };
    let size = promotion.claim.size.get();
    if hash.bytes() < size {
        return extend(layout, promotion, &mut hash).map(Ingested::Hashed);
    }
    let actual = hash.finish();
    if actual != promotion.claim.digest {
        return Err(IngestError::Mismatch { actual });
    }
    place(layout, promotion).map(|()| Ingested::Placed)
}

/// A part of a staged file that belongs to the blob.
struct Extent {
    path: PathBuf,
    offset: u64,
    size: u64,
}

/// The blob's bytes in order, neighbours in one file taken together.
fn extents(layout: &Layout, promotion: &IngestRequest) -> Result<Vec<Extent>, IngestError> {
    let mut extents: Vec<Extent> = Vec::new();
    for part in promotion.parts.iter().filter(|part| part.size.get() > 0) {
        let place = FileLocation::parse(&part.location).ok_or(IngestError::StagedGone)?;
        let path = layout.staged(promotion.session, &place.file);
        match extents.last_mut() {
            Some(last) if last.path == path && last.offset + last.size == place.offset => last.size += part.size.get(),
            _ => extents.push(Extent { path, offset: place.offset, size: part.size.get() }),
        }
    }
    Ok(extents)
}

fn extend(layout: &Layout, promotion: &IngestRequest, hash: &mut RunningHash) -> Result<HashState, IngestError> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let (mut skip, mut left) = (hash.bytes(), STEP_BYTES);
    for extent in extents(layout, promotion)? {
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

fn place(layout: &Layout, promotion: &IngestRequest) -> Result<(), IngestError> {
    let blob = layout.blob(&promotion.name);
    let size = promotion.claim.size.get();
    layout.ensure_blob_folder(blob.parent().unwrap_or(&blob)).map_err(io_failed)?;
    let placed = match fs::metadata(&blob) {
        Ok(file) if file.len() == size => true,
        // The name is this session's own: what lies there in another size was damaged, and nobody refers to it.
        Ok(_) => fs::remove_file(&blob).map(|()| false).map_err(io_failed)?,
        Err(_) => false,
    };
    if !placed {
        let extents = extents(layout, promotion)?;
        let whole = match extents.as_slice() {
            [only] if only.offset == 0 => fs::metadata(&only.path).map_err(|error| gone(layout, error))?.len() == size,
            _ => false,
        };
        let source = match extents.into_iter().next() {
            Some(only) if whole => only.path,
            _ => assemble(layout, promotion)?,
        };
        fs::set_permissions(&source, Permissions::from_mode(0o444)).map_err(|error| gone(layout, error))?;
        link(layout, &source, &blob)?;
    }
    sync_parent(&blob).map_err(io_failed)
}

/// If the name is taken, another worker has just placed this very promotion.
fn link(layout: &Layout, source: &Path, blob: &Path) -> Result<(), IngestError> {
    match fs::hard_link(source, blob) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(gone(layout, error)),
        _ => Ok(()),
    }
}

/// Copies the parts into one durable file, sharing extents where the file system can (`copy_file_range`). Its name is
/// this try's own: a worker that lost its lease may be at the same. What a crash leaves goes with the session.
fn assemble(layout: &Layout, promotion: &IngestRequest) -> Result<PathBuf, IngestError> {
    let random = getrandom::u64().map_err(|error| IngestError::Blob(unavailable(error)))?;
    let path = layout.staged(promotion.session, &format!("assembled-{random:016x}"));
    ensure_folder(&layout.session(promotion.session)).map_err(io_failed)?;
    let copied = copy_parts(layout, promotion, &path);
    if copied.is_err() {
        let _ = fs::remove_file(&path);
    }
    copied.map(|()| path)
}

fn copy_parts(layout: &Layout, promotion: &IngestRequest, path: &Path) -> Result<(), IngestError> {
    let mut target = File::create_new(path).map_err(io_failed)?;
    for extent in extents(layout, promotion)? {
        let mut source = File::open(&extent.path).map_err(|error| gone(layout, error))?;
        source.seek(SeekFrom::Start(extent.offset)).map_err(io_failed)?;
        let copied = io::copy(&mut source.take(extent.size), &mut target).map_err(io_failed)?;
        if copied != extent.size {
            return Err(IngestError::StagedGone);
        }
    }
    target.sync_all().map_err(io_failed)
}

/// A missing file means that the bytes are gone, if the store is there at all.
fn gone(layout: &Layout, error: io::Error) -> IngestError {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof if layout.is_present() => IngestError::StagedGone,
        _ => io_failed(error),
    }
}

fn io_failed(error: io::Error) -> IngestError {
    IngestError::Blob(failed(error))
}
