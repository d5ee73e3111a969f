//! What a store holds while it receives parts: threads, and the memory of frames. And a bucket with long lists.

mod lists;
mod memory;
mod stub_s3;
mod threads;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use imgsrv_domain::{
    digest::{ByteSize, Digest},
    ids::{AttemptId, UploadId},
    parts::HashBase,
    ports::{BlobName, BodyError, StageRequest},
    upload::{Attempt, Placement},
};
use std::time::Duration;
use uuid::Uuid;

/// No step of these tests takes as long on any machine.
const DEADLINE: Duration = Duration::from_mins(2);

fn size(bytes: u64) -> ByteSize {
    ByteSize::try_from(bytes).expect("a size")
}

/// The name of the blob of upload `number`.
fn name(number: u128) -> BlobName {
    BlobName::of(&Digest::new([7; 32]), UploadId::new(Uuid::from_u128(number)))
}

/// A request to receive `body` as the first part of upload `number`.
fn first_part(number: u128, body: impl Stream<Item = Bytes> + Send + 'static) -> StageRequest {
    let attempt = Attempt {
        id: AttemptId::new(Uuid::from_u128(number)),
        sequence: 1,
        number: 1_i64.try_into().expect("a part number"),
        base: HashBase::Start,
        placement: Placement::Frontier(None),
        limit: size(1 << 30),
    };
    StageRequest {
        session: UploadId::new(Uuid::from_u128(number)),
        name: name(number),
        attempt,
        declared: None,
        checksum: None,
        space: None,
        body: body.map(Ok::<_, BodyError>).boxed(),
    }
}
