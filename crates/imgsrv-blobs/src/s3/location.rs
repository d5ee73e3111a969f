//! Locations of parts in the bucket, as the catalog stores them.

use imgsrv_domain::parts::PartLocation;

/// Location of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum S3Location {
    /// A separate object, named after its attempt.
    Object,
    /// Some parts of an open multipart upload to the blob's key.
    Multipart(S3Parts),
}

/// Consecutive parts of an S3 multipart upload. Their etags identify the bytes: an upload is completed with exactly
/// these parts, or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct S3Parts {
    /// Id of the multipart upload.
    pub(super) upload: String,
    /// Number of the first part, from 1.
    pub(super) first: u32,
    /// The etags of the parts, in order.
    pub(super) etags: Vec<String>,
}

impl S3Parts {
    /// The number after the last part.
    pub(super) fn next(&self) -> u32 {
        self.first + u32::try_from(self.etags.len()).unwrap_or(u32::MAX)
    }

    /// Number and etag of every part.
    pub(super) fn numbered(&self) -> impl Iterator<Item = (u32, String)> {
        (self.first..).zip(self.etags.iter().cloned())
    }
}

const OBJECT: &str = "object";

impl S3Location {
    /// Parses a stored location; `None` if it is not one of this store.
    pub(super) fn parse(location: &PartLocation) -> Option<Self> {
        if location.0 == OBJECT {
            return Some(Self::Object);
        }
        let mut words = location.0.strip_prefix("multipart ")?.splitn(3, ' ');
        let (upload, first, etags) = (words.next()?.to_owned(), words.next()?.parse().ok()?, words.next()?);
        Some(Self::Multipart(S3Parts { upload, first, etags: etags.split(' ').map(str::to_owned).collect() }))
    }

    pub(super) fn encode(&self) -> PartLocation {
        match self {
            Self::Object => PartLocation(OBJECT.to_owned()),
            Self::Multipart(S3Parts { upload, first, etags }) => {
                PartLocation(format!("multipart {upload} {first} {}", etags.join(" ")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_location_is_parsed_again() {
        let etags = vec!["\"5d41402abc4b2a76b9719d911017c592\"".to_owned(), "\"x-2\"".to_owned()];
        let parts = S3Parts { upload: "VXBsb2FkIElE.a_b-c".to_owned(), first: 7, etags };
        assert_eq!(parts.next(), 9);
        for location in [S3Location::Object, S3Location::Multipart(parts)] {
            assert_eq!(S3Location::parse(&location.encode()), Some(location));
        }
        assert_eq!(S3Location::parse(&PartLocation("0198c0de@0".to_owned())), None, "location of a file");
    }
}
