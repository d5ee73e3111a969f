//! Receiving a part: in pieces, a few of them on their way to the store while the next one comes in.

use super::{
    client::{self, Client, is_missing},
    piece::{Incoming, MAX_PIECES, MIN_PIECE, PIECE, Piece, piece_size},
    place::{Pieces, S3Location, staged},
};
use imgsrv_domain::{
    digest::ByteSize,
    hash::RunningHash,
    ports::{BlobError, BlobName, StageError, StageRequest, Staged},
    upload::{Attempt, Placement},
};
use object_store::path::Path;
use std::{collections::BTreeMap, sync::Arc};
use tokio::task::JoinSet;

/// Pieces of one part on their way at once.
const IN_FLIGHT: usize = 3;

/// Receives a part and makes it durable. On a failure nothing refers to what was sent; an object of its own goes.
pub(super) async fn receive(client: Arc<Client>, request: StageRequest) -> Result<Staged, StageError> {
    let StageRequest { session, name, attempt, declared, checksum, body } = request;
    let most = declared.unwrap_or_else(|| attempt.limit.get()).min(attempt.limit.get());
    let mut incoming = Incoming::new(body, &attempt, declared, checksum);
    let continued = Continued::of(&attempt, most);
    let target = continued.as_ref().map_or_else(|| piece_size(most, MAX_PIECES), |continued| continued.piece);
    let _turn = client.receive(target + MIN_PIECE).await?;
    let first = incoming.piece(target).await?;
    let appended = match continued {
        Some(continued) if first.size >= MIN_PIECE => {
            append(&client, &name, &continued, &mut incoming, first.clone()).await?
        }
        Some(_) | None => None,
    };
    let place = match appended {
        Some(pieces) => S3Location::Multipart(pieces),
        None => {
            apart(&client, &staged(session, attempt.id), target, &mut incoming, first).await?;
            S3Location::Object
        }
    };
    Ok(Staged {
        location: place.place(),
        size: ByteSize::try_from(incoming.received()).map_err(|_| StageError::TooLarge)?,
        hash: incoming.hash().map(RunningHash::save),
    })
}

/// The upload of the blob's name that a part may continue.
struct Continued {
    /// The upload; a new one when absent.
    upload: Option<String>,
    /// The number of its first piece.
    first: u32,
    /// How big its pieces are.
    piece: u64,
}

impl Continued {
    /// `None` when the part must lie apart: because it does not continue, or because what may come still would need
    /// more pieces than there are.
    fn of(attempt: &Attempt, most: u64) -> Option<Self> {
        let (upload, first) = match &attempt.placement {
            Placement::Frontier(None) => (None, 1),
            Placement::Frontier(Some((place, _))) => match S3Location::parse(place)? {
                S3Location::Multipart(pieces) => (Some(pieces.upload.clone()), pieces.next()),
                S3Location::Object => return None,
            },
            Placement::Standalone => return None,
        };
        let left = (MAX_PIECES + 1).checked_sub(first)?;
        let piece = piece_size(most, left);
        let fits = u64::from(left) > most.div_ceil(piece) && piece <= 2 * piece_size(most, MAX_PIECES);
        fits.then_some(Self { upload, first, piece })
    }
}

/// Sends the part into the upload of the blob's name. `None` when that is gone, as something else than this program
/// has aborted it: nothing of the part was lost by trying.
async fn append(
    client: &Arc<Client>,
    name: &BlobName,
    continued: &Continued,
    incoming: &mut Incoming,
    first: Piece,
) -> Result<Option<Pieces>, StageError> {
    let key = super::blob(name);
    let (upload, is_new) = match &continued.upload {
        Some(upload) => (upload.clone(), false),
        None => (client.create_multipart(&key).await.map_err(client::failed)?, true),
    };
    let (number, piece) = (continued.first, continued.piece);
    let sent = async {
        // The first piece goes alone: what it finds out about the upload is known before more is received.
        let last = first.last;
        let turn = client.send(first.size).await?;
        let put = client.put_part(&key, &upload, number, first.frames).await;
        drop(turn);
        let tag = match put {
            Err(error) if is_missing(&error) => return Ok(None),
            put => put.map_err(client::failed)?,
        };
        let mut tags = vec![tag];
        if !last {
            let next = incoming.piece(piece).await?;
            tags.extend(send(client, &key, &upload, number + 1, piece, incoming, next).await?);
        }
        Ok(Some(Pieces { upload: upload.clone(), first: number, tags }))
    };
    match sent.await {
        Ok(pieces) => Ok(pieces),
        Err(error) => {
            if is_new {
                give_up(client, &key, &upload).await;
            }
            Err(error)
        }
    }
}

/// Sends the part into an object of its own; on a failure that goes.
async fn apart(
    client: &Arc<Client>,
    key: &Path,
    target: u64,
    incoming: &mut Incoming,
    first: Piece,
) -> Result<(), StageError> {
    let sent = if first.last {
        client.put(key, first.frames).await.map_err(|error| client::failed(error).into())
    } else {
        apart_in_pieces(client, key, target, incoming, first).await
    };
    // A request that failed here may have been carried out there.
    if sent.is_err()
        && let Err(error) = client.delete(key).await
    {
        tracing::warn!(%error, %key, "a part that failed stays until its session ends");
    }
    sent
}

async fn apart_in_pieces(
    client: &Arc<Client>,
    key: &Path,
    target: u64,
    incoming: &mut Incoming,
    first: Piece,
) -> Result<(), StageError> {
    let upload = client.create_multipart(key).await.map_err(client::failed)?;
    let sent = async {
        let tags = send(client, key, &upload, 1, target, incoming, first).await?;
        let pieces: Vec<(u32, String)> = (1..).zip(tags).collect();
        match client.complete(key, &upload, &pieces).await {
            // The reply to an earlier try may have been lost.
            Err(error) if is_missing(&error) => match client.head(key).await {
                Ok(meta) if meta.size == incoming.received() => Ok(()),
                _ => Err(client::failed(error).into()),
            },
            done => Ok(done.map_err(client::failed)?),
        }
    };
    let sent = sent.await;
    if sent.is_err() {
        give_up(client, key, &upload).await;
    }
    sent
}

/// Sends piece after piece, the first with number `first_number`; returns their tags.
async fn send(
    client: &Arc<Client>,
    key: &Path,
    upload: &str,
    first_number: u32,
    target: u64,
    incoming: &mut Incoming,
    first: Piece,
) -> Result<Vec<String>, StageError> {
    let mut sending = JoinSet::new();
    let mut tags = BTreeMap::new();
    let sent = async {
        let (mut piece, mut number) = (first, first_number);
        loop {
            while sending.len() >= IN_FLIGHT {
                collect(&mut sending, &mut tags).await?;
            }
            // The turn comes before the next piece is received, so that no upload piles them up.
            let turn = client.send(piece.size).await?;
            let (client, key, upload, frames) = (Arc::clone(client), key.clone(), upload.to_owned(), piece.frames);
            sending.spawn(async move {
                let sent = client.put_part(&key, &upload, number, frames).await;
                drop(turn);
                sent.map(|tag| (number, tag))
            });
            number += 1;
            if piece.last {
                break;
            }
            piece = incoming.piece(target).await?;
        }
        while !sending.is_empty() {
            collect(&mut sending, &mut tags).await?;
        }
        Ok::<_, StageError>(())
    };
    let sent = sent.await;
    // Another attempt may use the same numbers: what is still on its way must not arrive after its pieces.
    while sending.join_next().await.is_some() {}
    sent.map(|()| tags.into_values().collect())
}

type Sending = JoinSet<Result<(u32, String), object_store::Error>>;

async fn collect(sending: &mut Sending, tags: &mut BTreeMap<u32, String>) -> Result<(), BlobError> {
    if let Some(sent) = sending.join_next().await {
        let (number, tag) = sent.map_err(|panic| BlobError::Unavailable(Box::new(panic)))?.map_err(client::failed)?;
        tags.insert(number, tag);
    }
    Ok(())
}

/// What fails here is left to the end of the session.
async fn give_up(client: &Client, key: &Path, upload: &str) {
    if let Err(error) = client.abort(key, upload).await {
        tracing::warn!(%error, %key, "an upload that failed stays until its session ends");
    }
}

const _: () = assert!(PIECE >= MIN_PIECE);
