//! Where parts lie, in the words that the catalog keeps for this store.

use imgsrv_domain::{
    ids::{AttemptId, UploadId},
    parts::PartLocation,
};
use object_store::path::Path;

/// Where a part lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum S3Location {
    /// In an object of its own, named after its attempt.
    Object,
    /// In pieces of an open multipart upload of the blob's name.
    Multipart(Pieces),
}

/// Neighbouring pieces of a multipart upload. Their entity tags fix which bytes are meant: an upload is completed with
/// exactly these, or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pieces {
    /// The upload.
    pub(super) upload: String,
    /// The number of the first piece, from 1.
    pub(super) first: u32,
    /// The tags of the pieces, in order.
    pub(super) tags: Vec<String>,
}

impl Pieces {
    /// The number behind the last piece.
    pub(super) fn next(&self) -> u32 {
        self.first + u32::try_from(self.tags.len()).unwrap_or(u32::MAX)
    }

    /// Every piece with its number.
    pub(super) fn numbered(&self) -> impl Iterator<Item = (u32, &str)> {
        (self.first..).zip(self.tags.iter().map(String::as_str))
    }
}

const OBJECT: &str = "object";

impl S3Location {
    /// The place that `place` means; `None` when it is not one of this store, or cannot be written down.
    pub(super) fn parse(place: &PartLocation) -> Option<Self> {
        if place.0 == OBJECT {
            return Some(Self::Object);
        }
        let mut words = place.0.splitn(4, ' ');
        if words.next()? != "multipart" {
            return None;
        }
        let (upload, first, tags) = (words.next()?.to_owned(), words.next()?.parse().ok()?, words.next()?);
        Some(Self::Multipart(Pieces { upload, first, tags: tags.split(' ').map(str::to_owned).collect() }))
    }

    pub(super) fn place(&self) -> PartLocation {
        match self {
            Self::Object => PartLocation(OBJECT.to_owned()),
            Self::Multipart(Pieces { upload, first, tags }) => {
                PartLocation(format!("multipart {upload} {first} {}", tags.join(" ")))
            }
        }
    }
}

/// Where the object of an attempt lies.
pub(super) fn staged(session: UploadId, attempt: AttemptId) -> Path {
    super::staging(session).join(attempt.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_come_back_as_they_were_written() {
        let tags = vec!["\"5d41402abc4b2a76b9719d911017c592\"".to_owned(), "\"x-2\"".to_owned()];
        let pieces = Pieces { upload: "VXBsb2FkIElE.a_b-c".to_owned(), first: 7, tags };
        assert_eq!(pieces.next(), 9);
        for place in [S3Location::Object, S3Location::Multipart(pieces)] {
            assert_eq!(S3Location::parse(&place.place()), Some(place));
        }
        assert_eq!(S3Location::parse(&PartLocation("0198c0de@0".to_owned())), None, "a file's place");
    }
}
