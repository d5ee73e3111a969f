//! Plans how objects are joined to one: S3 parts that are large enough are copied inside the store, smaller ones are
//! read and sent again.

use super::chunk::{MIN_PART, PART};
use object_store::path::Path;
use std::ops::Range;

/// Maximum size of a part that is copied from another object (S3, `UploadPartCopy`).
const MAX_COPY: u64 = 5 << 30;

/// A range of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    /// Key of the object.
    pub(super) key: Path,
    /// Range of its bytes.
    pub(super) range: Range<u64>,
    /// Whether the range is the whole object. S3 copies ranges only from objects above 5 MiB.
    pub(super) whole: bool,
    /// The etag that the object must have.
    pub(super) if_match: Option<String>,
}

impl Source {
    pub(super) fn size(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// Splits the first `bytes` off.
    fn take(&mut self, bytes: u64) -> Self {
        let middle = self.range.start + bytes;
        let whole = self.whole && middle == self.range.end;
        let taken = Self { range: self.range.start..middle, whole, ..self.clone() };
        self.range.start = middle;
        self.whole = false;
        taken
    }
}

/// An S3 part to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Copy it inside the store.
    Copy(Source),
    /// Read these ranges and send them as one part.
    Send(Vec<Source>),
}

/// The S3 parts that join `sources` to one object, in order. All but the last are large enough for S3.
pub(super) fn plan(sources: impl IntoIterator<Item = Source>) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut small = Small::default();
    let mut sources = sources.into_iter().filter(|source| source.size() > 0).peekable();
    while let Some(mut source) = sources.next() {
        let is_last = sources.peek().is_none();
        // Not even the last one: Garage does not copy parts from objects that it stores inline.
        if source.size() < MIN_PART {
            small.add(source, &mut steps);
            continue;
        }
        let lacking = MIN_PART.saturating_sub(small.size);
        if small.size > 0 && lacking > 0 {
            // Sources that are too small are filled up from this one, if it may be divided and enough of it remains.
            let rest = source.size() - lacking;
            let divisible = !source.whole || source.size() > MIN_PART;
            if !divisible || (rest < MIN_PART && !(is_last && rest > 0)) {
                small.add(source, &mut steps);
                continue;
            }
            small.push(source.take(lacking));
        }
        small.flush(&mut steps);
        while source.size() > MAX_COPY {
            let spare = source.size() - MAX_COPY;
            let bytes = if spare < MIN_PART && !is_last { MAX_COPY - MIN_PART } else { MAX_COPY };
            steps.push(Step::Copy(source.take(bytes)));
        }
        steps.push(Step::Copy(source));
    }
    small.flush(&mut steps);
    steps
}

/// Sources that are too small to be copied.
#[derive(Default)]
struct Small {
    sources: Vec<Source>,
    size: u64,
}

impl Small {
    fn push(&mut self, source: Source) {
        self.size += source.size();
        self.sources.push(source);
    }

    /// Adds a source, and makes a part once there is enough for one of the usual size.
    fn add(&mut self, source: Source, steps: &mut Vec<Step>) {
        self.push(source);
        if self.size >= PART {
            self.flush(steps);
        }
    }

    fn flush(&mut self, steps: &mut Vec<Step>) {
        if self.size > 0 {
            steps.push(Step::Send(std::mem::take(&mut self.sources)));
            self.size = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn object(at: usize, size: u64) -> Source {
        Source { key: Path::from(format!("o{at}")), range: 0..size, whole: true, if_match: None }
    }

    fn sources(step: &Step) -> Vec<Source> {
        match step {
            Step::Copy(source) => vec![source.clone()],
            Step::Send(sources) => sources.clone(),
        }
    }

    fn size_in_mib() -> impl Strategy<Value = u64> {
        prop_oneof![0..6_u64, 4..20_u64, 5000..12_000_u64]
    }

    proptest! {
        #[test]
        fn parts_cover_every_byte_in_order_and_fit_s3(
            sizes in prop::collection::vec((size_in_mib(), 0..3_u64), 0..40)
        ) {
            let sizes: Vec<u64> = sizes.iter().map(|(mib, bytes)| (mib << 20) + bytes).collect();
            let objects: Vec<Source> = sizes.iter().enumerate().map(|(at, size)| object(at, *size)).collect();
            let steps = plan(objects.clone());
            // Joined again, the ranges are the objects.
            let mut joined: Vec<Source> = Vec::new();
            for source in steps.iter().flat_map(sources) {
                prop_assert!(!source.range.is_empty());
                let full = objects.iter().find(|object| object.key == source.key).expect("an object");
                prop_assert_eq!(source.whole, source.range == full.range);
                match joined.last_mut() {
                    Some(last) if last.key == source.key && last.range.end == source.range.start => {
                        last.range.end = source.range.end;
                        last.whole = true;
                    }
                    _ => joined.push(source),
                }
            }
            let expected: Vec<Source> = objects.into_iter().filter(|object| object.size() > 0).collect();
            prop_assert_eq!(joined, expected);
            for (at, step) in steps.iter().enumerate() {
                let size: u64 = sources(step).iter().map(Source::size).sum();
                prop_assert!(size >= MIN_PART || at + 1 == steps.len(), "part {} has {}", at, size);
                match step {
                    Step::Copy(source) => {
                        prop_assert!(size >= MIN_PART || !source.whole, "{:?}", source);
                        let full = sizes[source.key.to_string()[1..].parse::<usize>().expect("a number")];
                        prop_assert!(size <= MAX_COPY && (source.whole || full > MIN_PART), "{:?}", source);
                    }
                    Step::Send(_) => prop_assert!(size < PART + 2 * MIN_PART),
                }
            }
            // At most two parts for each source, and those of sources that must be split.
            let splits: u64 = sizes.iter().map(|size| size / (MAX_COPY - MIN_PART)).sum();
            prop_assert!(steps.len() as u64 <= 2 * sizes.len() as u64 + splits);
        }
    }

    #[test]
    fn large_sources_are_never_read() {
        let steps = plan([object(0, 64 << 20), object(1, 5 << 20), object(2, 17)]);
        let [Step::Copy(first), Step::Copy(second), Step::Send(tail)] = steps.as_slice() else { panic!("{steps:?}") };
        assert!(first.whole && second.whole && *tail == [object(2, 17)], "{steps:?}");
    }
}
