//! Fuzzing of every reader, for a bounded time: changed files of the corpus.
//!
//! Without the feedback of a coverage-guided fuzzer: those need a nightly compiler, and bolero 0.13, which could share the
//! targets with one, holds `indexmap` and `hashbrown` of the whole workspace at older versions. Instead, the changes are
//! likely ones: numbers at the limits of their types, in headers, and words of descriptors.

use crate::{File, Oracle, ask, corpus, support::Bytes};
use proptest::{
    collection::vec,
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};
use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    time::{Duration, Instant},
};

/// How long files are changed in each test, unless `IMGSRV_FUZZ_SECONDS` says longer.
const SECONDS: u64 = 8;
/// Parts of VMDK descriptors.
const WORDS: [&str; 8] = [
    "version=1\n",
    "createType=\"vmfs\"\n",
    "RW 1 FLAT \"/etc/passwd\" 0\n",
    "RW 1 VMFS \"/etc/passwd\"\n",
    "parentFileNameHint=\"x\"\n",
    "#",
    " \n",
    "\r\n",
];

/// One change of a file.
#[derive(Debug, Clone)]
enum Change {
    Put(prop::sample::Index, Vec<u8>),
    /// At the fields of headers.
    PutEarly(usize, Vec<u8>),
    Cut(prop::sample::Index),
    Copy(prop::sample::Index, prop::sample::Index, usize),
}

fn change() -> impl Strategy<Value = Change> {
    // Numbers at the limits of their types are likelier to be mistaken than others.
    let limits =
        prop::sample::select(vec![0_u64, 1, 511, 1 << 31, 1 << 32, 1 << 55, 1 << 63, u64::MAX, u64::MAX - 511]);
    let number = limits
        .prop_flat_map(|limit| prop_oneof![Just(limit.to_le_bytes().to_vec()), Just(limit.to_be_bytes().to_vec())]);
    let word = prop::sample::select(WORDS.to_vec()).prop_map(|word| word.as_bytes().to_vec());
    let bytes = prop_oneof![number, vec(any::<u8>(), 1..9), word];
    prop_oneof![
        2 => (any::<prop::sample::Index>(), bytes.clone()).prop_map(|(at, bytes)| Change::Put(at, bytes)),
        6 => (0_usize..1024, bytes).prop_map(|(at, bytes)| Change::PutEarly(at, bytes)),
        1 => any::<prop::sample::Index>().prop_map(Change::Cut),
        1 => (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1_usize..4096)
            .prop_map(|(from, to, length)| Change::Copy(from, to, length)),
    ]
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    if bytes.is_empty() {
        return;
    }
    let (at, new) = match change {
        Change::Put(at, new) => (at.index(bytes.len()), new.clone()),
        Change::PutEarly(at, new) => ((*at).min(bytes.len()), new.clone()),
        Change::Cut(at) => return bytes.truncate(at.index(bytes.len())),
        Change::Copy(from, to, length) => {
            let from = from.index(bytes.len());
            (to.index(bytes.len()), bytes[from..bytes.len().min(from + length)].to_vec())
        }
    };
    let end = bytes.len().min(at + new.len());
    bytes[at..end].copy_from_slice(&new[..end - at]);
}

#[expect(clippy::disallowed_methods, reason = "the environment says how long a test runs")]
fn seconds() -> u64 {
    let seconds = std::env::var("IMGSRV_FUZZ_SECONDS").ok();
    seconds.map_or(SECONDS, |seconds| seconds.parse().expect("IMGSRV_FUZZ_SECONDS is a number"))
}

/// Runs `check` with the name, the changes and the bytes of changed files of less than `max` bytes.
fn change_files(folder: &Path, files: &[File], max: usize, mut check: impl FnMut(&str, &[Change], Vec<u8>)) {
    let read = |file: &File| (file.name.clone(), fs::read(folder.join(&file.name)).expect("the file"));
    let files: Vec<_> = files.iter().filter(|file| !file.is_cut).map(read).collect();
    let files: Vec<_> = files.iter().filter(|(_, bytes)| bytes.len() < max).collect();
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    let end = Instant::now() + Duration::from_secs(seconds());
    let strategy = vec(change(), 1..6);
    for (name, bytes) in files.iter().cycle().take_while(|_| Instant::now() < end) {
        let changes = strategy.new_tree(&mut runner).expect("changes").current();
        let mut changed = bytes.clone();
        for change in &changes {
            apply(&mut changed, change);
        }
        check(name, &changes, changed);
    }
}

#[test]
fn changed_files_give_a_result_within_the_limits() {
    let (folder, files) = corpus();
    change_files(folder.path(), &files, 8 << 20, |name, changes, bytes| {
        let bytes = Bytes::new(bytes);
        // A panic shows the changes.
        let found = catch_unwind(AssertUnwindSafe(|| bytes.inspect()));
        assert!(found.is_ok(), "{name} with {changes:?}");
    });
}

#[test]
fn changed_files_that_qemu_img_opens_with_others_are_refused() {
    let (folder, files) = corpus();
    change_files(folder.path(), &files, 1 << 20, |name, changes, bytes| {
        fs::write(folder.path().join("changed"), &bytes).expect("written");
        if matches!(ask(folder.path(), "changed", ""), Oracle::OpensOthers | Oracle::Encrypted) {
            assert!(Bytes::new(bytes).inspect().is_err(), "{name} with {changes:?}");
        }
    });
}

proptest! {
    /// Bytes after each magic number.
    #[test]
    fn any_bytes_after_a_magic_number_give_a_result(
        magic in prop::sample::select(vec![
            &b"KDMV"[..], b"COWD", b"vhdxfile", b"conectix", b"QED\0", b"QFI\xfb\0\0\0\x01", b"QFI\xfb\0\0\0\x03",
            b"WithoutFreeSpace", b"WithouFreSpacExt", b"Bochs Virtual HD Image\0", b"#!/bin/sh\n#V2.0 Format\n",
            b"LUKS\xba\xbe", b"# Disk DescriptorFile\n", b"version=1\n", b"BZh91AY&SY", b"\x1f\x8b\x08\0", b"\xfd7zXZ\0",
            b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18\x60\x40\x82", b"\x02\x21\x4c\x18",
        ]),
        bytes in vec(any::<u8>(), 0..4096),
    ) {
        let _ = Bytes::new([magic, &bytes].concat()).inspect();
    }
}
