//! Images made by `qemu-img` are safe or unsafe for the expected reason, and any bytes give a result.

mod support;

use imgsrv_inspect::{Compression, InspectError, Problem, Qcow2};
use proptest::prelude::*;
use support::{Bytes, qemu_img};

fn inspect(bytes: Vec<u8>) -> Result<Qcow2, Problem> {
    match Bytes::new(bytes).inspect() {
        Ok(found) => Ok(found.qcow2.expect("a qcow2")),
        Err(InspectError::Refused(refusal)) => Err(refusal.problem),
        Err(InspectError::Source(never)) => match never {},
    }
}

fn kind(bytes: &[u8]) -> Option<String> {
    Bytes::new(bytes.to_vec()).inspect().expect("no disk that is refused").detected.map(|format| format.to_string())
}

/// What an image is refused for that names another file.
fn other_file(role: &'static str, name: &str) -> Problem {
    Problem::OtherFile { role, name: (!name.is_empty()).then(|| format!("\"{name}\"")) }
}

/// The file `name` that `qemu-img` made by `commands`.
fn made(commands: &[&str], name: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("data.raw"), vec![7; 3 << 20]).expect("written");
    for arguments in commands {
        qemu_img(folder.path(), arguments);
    }
    std::fs::read(folder.path().join(name)).expect("the image")
}

fn image() -> Vec<u8> {
    made(&["convert -f raw -O qcow2 data.raw a.qcow2"], "a.qcow2")
}

/// An image with `bytes` put at `at`.
fn altered(at: usize, bytes: &[u8]) -> Result<Qcow2, Problem> {
    let mut image = image();
    image[at..at + bytes.len()].copy_from_slice(bytes);
    inspect(image)
}

#[test]
fn self_contained_images_are_described() {
    let zlib = Qcow2 { virtual_size: 3 << 20, cluster_size: 64 << 10, compression: Compression::Zlib };
    assert_eq!(inspect(image()), Ok(zlib));
    assert_eq!(inspect(made(&["convert -c -f raw -O qcow2 -o compat=0.10 data.raw a"], "a")), Ok(zlib));
    let zstd = made(&["convert -c -f raw -O qcow2 -o compression_type=zstd,cluster_size=4k data.raw a"], "a");
    assert_eq!(inspect(zstd), Ok(Qcow2 { cluster_size: 4096, compression: Compression::Zstd, ..zlib }));
    let extended = made(&["create -f qcow2 -o extended_l2=on,cluster_size=128k a 10G"], "a");
    assert_eq!(inspect(extended), Ok(Qcow2 { virtual_size: 10 << 30, cluster_size: 128 << 10, ..zlib }));
    let large = made(&["create -f qcow2 -o cluster_size=2M a 4T"], "a");
    assert_eq!(inspect(large).map(|found| found.virtual_size), Ok(4 << 40));
    let empty = made(&["create -f qcow2 a 0"], "a");
    assert_eq!(inspect(empty).map(|found| found.virtual_size), Ok(0));
    let snapshot = made(&["convert -f raw -O qcow2 data.raw a", "snapshot -c one a"], "a");
    assert_eq!(inspect(snapshot), Ok(zlib));
    let full = made(&["create -f qcow2 -o preallocation=full,cluster_size=512 a 8M"], "a");
    assert_eq!(inspect(full), Ok(Qcow2 { virtual_size: 8 << 20, cluster_size: 512, ..zlib }));
}

#[test]
fn images_that_name_other_files_are_unsafe() {
    let backed = ["create -f qcow2 base 1M", "create -f qcow2 -b base -F qcow2 a"];
    assert_eq!(inspect(made(&backed, "a")), Err(other_file("a backing file", "base")));
    let old = ["create -f qcow2 base 1M", "create -f qcow2 -o compat=0.10 -b base -F qcow2 a"];
    assert_eq!(inspect(made(&old, "a")), Err(other_file("a backing file", "base")));
    let external = made(&["create -f qcow2 -o data_file=data.raw,data_file_raw=on a 3M"], "a");
    assert_eq!(inspect(external.clone()), Err(other_file("an external data file", "data.raw")));
    // The name alone, without the feature bit that makes QEMU read it.
    let mut named = external;
    named[79] &= !4;
    assert_eq!(inspect(named), Err(other_file("an external data file", "data.raw")));
    // A name of length 0 counts too.
    assert_eq!(altered(8, &4096_u64.to_be_bytes()), Err(other_file("a backing file", "")));
}

#[test]
fn tables_of_snapshots_and_bitmaps_are_checked() {
    let with_bitmap = made(&["create -f qcow2 a 1M", "bitmap --add a one", "bitmap --add a two"], "a");
    assert!(inspect(with_bitmap.clone()).is_ok());
    let at = with_bitmap.windows(4).position(|bytes| bytes == [0x23, 0x85, 0x28, 0x75]).expect("bitmaps");
    let mut corrupt = with_bitmap;
    corrupt[at + 24..at + 32].copy_from_slice(&(1_u64 << 40).to_be_bytes());
    assert_eq!(inspect(corrupt).expect_err("unsafe").to_string(), "its bitmap directory is out of bounds");

    let snapshots: Vec<String> = (0..40).map(|i| format!("snapshot -c snapshot-{i} a")).collect();
    let commands: Vec<&str> =
        std::iter::once("convert -f raw -O qcow2 data.raw a").chain(snapshots.iter().map(String::as_str)).collect();
    let with_snapshots = made(&commands, "a");
    assert!(inspect(with_snapshots.clone()).is_ok());
    let table = u64::from_be_bytes(with_snapshots[64..72].try_into().expect("eight bytes"));
    let table = usize::try_from(table).expect("small");
    let mut corrupt = with_snapshots.clone();
    corrupt[table..table + 8].copy_from_slice(&(1_u64 << 50).to_be_bytes());
    assert_eq!(inspect(corrupt).expect_err("unsafe").to_string(), "its L1 table of a snapshot is out of bounds");
    // Extra data of the first entry ends beyond the end of the file.
    let mut corrupt = with_snapshots;
    corrupt[table + 36..table + 40].copy_from_slice(&u32::MAX.to_be_bytes());
    assert_eq!(inspect(corrupt).expect_err("unsafe").to_string(), "its snapshot table is out of bounds");
}

#[test]
fn extension_after_long_padding_is_not_skipped() {
    let mut image = made(&["create -f qcow2 -o cluster_size=2M a 1M"], "a");
    let filler = (256 << 10) - 112 - 8;
    image[112..116].copy_from_slice(&1_u32.to_be_bytes());
    image[116..120].copy_from_slice(&u32::to_be_bytes(filler));
    image[256 << 10..(256 << 10) + 4].copy_from_slice(b"DATA");
    assert!(inspect(image).is_err());
}

#[test]
fn encrypted_and_corrupt_images_and_unknown_features_are_unsafe() {
    let luks =
        made(&["create --object secret,id=s,data=x -f qcow2 -o encrypt.format=luks,encrypt.key-secret=s a 1M"], "a");
    assert_eq!(inspect(luks), Err(Problem::Encrypted));
    assert_eq!(altered(72, &2_u64.to_be_bytes()), Err(Problem::Corrupt));
    assert_eq!(altered(72, &(1_u64 << 5).to_be_bytes()), Err(Problem::UnknownFeature(5)));
    assert_eq!(altered(72, &(1_u64 << 63).to_be_bytes()), Err(Problem::UnknownFeature(63)));
    // Marked as dirty only: QEMU repairs it.
    assert!(altered(72, &1_u64.to_be_bytes()).is_ok());
    assert_eq!(altered(4, &4_u32.to_be_bytes()), Err(Problem::Version(4)));
}

#[test]
fn tables_out_of_bounds_are_unsafe() {
    let message = |found: Result<Qcow2, Problem>| found.expect_err("unsafe").to_string();
    let far = (1_u64 << 40).to_be_bytes();
    assert_eq!(message(altered(40, &far)), "its L1 table is out of bounds");
    assert_eq!(message(altered(40, &65_537_u64.to_be_bytes())), "its L1 table is out of bounds");
    assert_eq!(message(altered(40, &0_u64.to_be_bytes())), "its L1 table is out of bounds");
    assert_eq!(message(altered(36, &0_u32.to_be_bytes())), "its L1 table is out of bounds");
    assert_eq!(message(altered(36, &u32::MAX.to_be_bytes())), "its L1 table is out of bounds");
    assert_eq!(message(altered(48, &far)), "its refcount table is out of bounds");
    assert_eq!(message(altered(56, &u32::MAX.to_be_bytes())), "its refcount table is out of bounds");
    assert_eq!(message(altered(56, &0_u32.to_be_bytes())), "its refcount table is out of bounds");
    assert_eq!(message(altered(60, &u32::MAX.to_be_bytes())), "its snapshot table is out of bounds");
    assert_eq!(message(altered(60, &[0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0])), "its snapshot table is out of bounds");
    let entry = |header: usize| {
        let image = image();
        usize::try_from(u64::from_be_bytes(image[header..header + 8].try_into().expect("eight bytes"))).expect("small")
    };
    assert_eq!(message(altered(entry(40), &far)), "its L2 table is out of bounds");
    assert_eq!(message(altered(entry(48), &far)), "its refcount block is out of bounds");
    assert_eq!(message(altered(24, &u64::MAX.to_be_bytes())), "its virtual size is not valid");
    assert_eq!(message(altered(20, &63_u32.to_be_bytes())), "its cluster size is not valid");
    assert_eq!(message(altered(96, &7_u32.to_be_bytes())), "its refcount width is not valid");
    assert_eq!(message(altered(100, &12_u32.to_be_bytes())), "its header length is not valid");
    assert_eq!(message(altered(104, &[1])), "its compression type is not valid");
    let mut image = image();
    image.truncate(60);
    assert_eq!(inspect(image), Err(Problem::CutOff));
}

#[test]
fn formats_are_detected_by_their_magic() {
    assert_eq!(kind(&image()), Some("qcow2".to_owned()));
    for (format, expected) in [("vmdk", "vmdk"), ("vhdx", "vhdx")] {
        assert_eq!(kind(&made(&[&format!("convert -f raw -O {format} data.raw a")], "a")), Some(expected.to_owned()));
    }
    let mut iso = vec![0; 40_000];
    iso[32_769..32_774].copy_from_slice(b"CD001");
    assert_eq!(kind(&iso), Some("iso".to_owned()));
    let mut disk = vec![0; 512];
    disk[510..].copy_from_slice(b"\x55\xaa");
    assert_eq!(kind(&disk), Some("raw".to_owned()));
    // What `gzip` makes of no bytes.
    let empty = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x03\0\0\0\0\0\0\0\0\0";
    assert_eq!(kind(empty), Some("gzip".to_owned()));
    for nothing in [&b""[..], b"Q", b"just text", &[0; 4096]] {
        assert_eq!(kind(nothing), None);
    }
}

proptest! {
    /// Header fields of any value in a real image give a result, and no read beyond the end.
    #[test]
    fn any_header_gives_a_result(at in 4_usize..112, bytes in prop::collection::vec(any::<u8>(), 1..16)) {
        let _ = altered(at, &bytes);
    }

    #[test]
    fn any_bytes_give_a_result(bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
        let _ = Bytes::new(bytes.clone()).inspect();
        let mut qcow2 = b"QFI\xfb\0\0\0\x03".to_vec();
        qcow2.extend(bytes);
        prop_assert!(inspect(qcow2).is_err());
    }
}
