//! Measures the body of a part as it arrives: size limit, declared size, checksum, and the hash of the upload so far.

use imgsrv_domain::{
    digest::{ByteSize, Digest},
    hash::RunningHash,
    parts::PartLocation,
    ports::{BodyError, StageError, Staged},
    upload::Attempt,
};

/// The size and the hashes of what was received of a body.
pub(crate) struct BodyMeter {
    limit: u64,
    declared: Option<u64>,
    received: u64,
    /// Hash of the upload, if it is known up to the start of this part.
    upload: Option<RunningHash>,
    /// Declared digest of this part, and its hash.
    checksum: Option<(Digest, RunningHash)>,
}

impl BodyMeter {
    pub(crate) fn new(attempt: &Attempt, declared: Option<u64>, checksum: Option<Digest>) -> Self {
        Self {
            limit: attempt.limit.get(),
            declared,
            received: 0,
            upload: RunningHash::of(&attempt.base),
            checksum: checksum.map(|expected| (expected, RunningHash::default())),
        }
    }

    /// Counts and hashes the next bytes. Fails if they exceed the limit; such bytes must not be stored.
    pub(crate) fn update(&mut self, bytes: &[u8]) -> Result<(), StageError> {
        self.received += bytes.len() as u64;
        if self.received > self.limit {
            return Err(StageError::TooLarge);
        }
        for hash in self.upload.iter_mut().chain(self.checksum.as_mut().map(|(_, hash)| hash)) {
            hash.update(bytes);
        }
        Ok(())
    }

    /// Number of bytes received so far.
    pub(crate) const fn received(&self) -> u64 {
        self.received
    }

    /// Compares the size and the digest of the complete body with the declared ones.
    pub(crate) fn verify(&self) -> Result<(), StageError> {
        if self.declared.is_some_and(|declared| declared != self.received) {
            return Err(BodyError::Cut.into());
        }
        if let Some((expected, hash)) = &self.checksum {
            let actual = hash.clone().finish();
            if actual != *expected {
                return Err(StageError::Checksum { actual });
            }
        }
        Ok(())
    }

    /// The complete part, once it is durable at `location`.
    pub(crate) fn staged(&self, location: PartLocation) -> Result<Staged, StageError> {
        let size = ByteSize::try_from(self.received).map_err(|_| StageError::TooLarge)?;
        Ok(Staged { location, size, hash: self.upload.as_ref().map(RunningHash::save) })
    }
}

#[cfg(test)]
pub(crate) use tests::attempt;

#[cfg(test)]
mod tests {
    use super::*;
    use imgsrv_domain::{ids::AttemptId, parts::HashBase, upload::Placement};
    use proptest::prelude::*;

    pub(crate) fn attempt(base: HashBase, limit: u64) -> Attempt {
        Attempt {
            id: AttemptId::new(uuid::Uuid::nil()),
            sequence: 1,
            number: 1_i64.try_into().expect("a part number"),
            base,
            placement: Placement::Standalone,
            limit: ByteSize::try_from(limit).expect("a size"),
        }
    }

    fn hash(bytes: &[u8]) -> RunningHash {
        let mut hash = RunningHash::default();
        hash.update(bytes);
        hash
    }

    proptest! {
        #[test]
        fn any_framing_gives_the_same_size_hash_and_verdict(
            before in prop::collection::vec(any::<u8>(), 0..200),
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..8),
            limit in 0..1600_u64,
            declared in prop::option::of(0..1600_u64),
            is_right in any::<bool>(),
            base in 0..3,
        ) {
            let body = frames.concat();
            let size = body.len() as u64;
            let declared = declared.map(|wrong| if is_right { size } else { wrong });
            let checksum = hash(if is_right { &body } else { b"other" }).finish();
            let after = HashBase::After(AttemptId::new(uuid::Uuid::nil()), hash(&before).save());
            let (base, prefix) = match base {
                0 => (HashBase::Start, Some(Vec::new())),
                1 => (after, Some(before)),
                _ => (HashBase::Unknown, None),
            };
            let mut meter = BodyMeter::new(&attempt(base, limit), declared, Some(checksum));
            let updated = frames.iter().try_for_each(|frame| meter.update(frame));
            prop_assert_eq!(size > limit, matches!(updated, Err(StageError::TooLarge)));
            if updated.is_err() {
                return Ok(());
            }
            prop_assert_eq!(meter.received(), size);
            let actual = hash(&body).finish();
            match meter.verify() {
                Ok(()) => prop_assert!(declared.is_none_or(|declared| declared == size) && checksum == actual),
                Err(StageError::Body(BodyError::Cut)) => {
                    prop_assert!(declared.is_some_and(|declared| declared != size));
                }
                Err(StageError::Checksum { actual: found }) => prop_assert!(found == actual && checksum != actual),
                Err(other) => prop_assert!(false, "{other:?}"),
            }
            let staged = meter.staged(PartLocation("anywhere".to_owned())).expect("staged");
            prop_assert_eq!(staged.size.get(), size);
            prop_assert_eq!(staged.hash, prefix.map(|prefix| hash(&[prefix, body].concat()).save()));
        }
    }
}
