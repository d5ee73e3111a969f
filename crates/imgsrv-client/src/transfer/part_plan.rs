//! How an upload is divided into parts.

use imgsrv_api::PartSummary;
use imgsrv_domain::names::PartNumber;
use std::{collections::BTreeMap, iter};

const MIB: u64 = 1 << 20;
/// The default size of a part; larger files have larger parts.
const DEFAULT_PART_SIZE: u64 = 32 * MIB;
/// Parts of an upload by default, at most: far fewer than the server allows.
const DEFAULT_MAX_PARTS: u64 = 1000;

/// The division of an upload into parts of one size; the last part may be shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PartPlan {
    pub(super) size: u64,
    part_size: u64,
}

/// A part to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PartRange {
    pub(super) number: PartNumber,
    pub(super) offset: u64,
    pub(super) size: u64,
}

impl PartPlan {
    /// Divides `size` bytes into parts of `part_size`, or larger ones if the server would not allow so many.
    pub(super) fn new(size: u64, part_size: Option<u64>) -> Self {
        let min = size.div_ceil(PartNumber::MAX.into()).max(1);
        let default = || size.div_ceil(DEFAULT_MAX_PARTS).next_multiple_of(MIB).max(DEFAULT_PART_SIZE);
        Self { size, part_size: part_size.unwrap_or_else(default).max(min) }
    }

    /// Every part, in order.
    pub(super) fn parts(self) -> impl Iterator<Item = PartRange> {
        let numbers = iter::successors(Some(PartNumber::FIRST), |number| number.next());
        let offsets = (0..self.size.div_ceil(self.part_size)).map(move |at| at * self.part_size);
        numbers.zip(offsets).map(move |(number, offset)| {
            let size = self.part_size.min(self.size - offset);
            PartRange { number, offset, size }
        })
    }

    /// Whether the parts that the server has are all parts of this plan.
    pub(super) fn matches(self, stored: &[PartSummary]) -> bool {
        let sizes: BTreeMap<u16, u64> = self.parts().map(|part| (part.number.get(), part.size)).collect();
        stored.iter().all(|part| {
            let size = sizes.get(&part.part_number);
            size.is_some_and(|size| i64::try_from(*size) == Ok(part.size_bytes))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_every_byte_and_are_few() {
        let default = DEFAULT_PART_SIZE;
        let sizes = [(0, None), (1, None), (default, None), (default + 1, None), (1 << 40, None), (25_000, Some(1))];
        for (size, part_size) in sizes {
            let parts: Vec<_> = PartPlan::new(size, part_size).parts().collect();
            assert!(parts.len() <= 10_000, "{size}: {} parts", parts.len());
            let mut end = 0;
            for (at, part) in parts.iter().enumerate() {
                assert_eq!((usize::from(part.number.get()), part.offset), (at + 1, end));
                assert!(part.size > 0);
                end += part.size;
            }
            assert_eq!(end, size);
        }
        assert_eq!(PartPlan::new(1 << 40, None).part_size, 1049 * MIB);
    }

    #[test]
    fn only_parts_of_the_plan_match() {
        let part = |number, size| PartSummary { part_number: number, etag: String::new(), size_bytes: size };
        let plan = PartPlan::new(25, Some(10));
        assert!(plan.matches(&[]));
        assert!(plan.matches(&[part(1, 10), part(3, 5)]));
        assert!(!plan.matches(&[part(1, 9)]));
        assert!(!plan.matches(&[part(4, 0)]));
    }
}
