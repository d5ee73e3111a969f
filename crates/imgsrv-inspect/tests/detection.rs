//! Formats are distinguished by their bytes, also in compressed files.

mod support;

use bzip2::write::BzEncoder;
use flate2::{Compression, write::GzEncoder};
use imgsrv_inspect::{InspectError, Problem, Refusal};
use liblzma::write::XzEncoder;
use proptest::prelude::*;
use std::{
    io::Write,
    process::{Command, Stdio},
};
use support::{Bytes, qemu_img};
use tar::{Builder, Header};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("written");
    encoder.finish().expect("compressed")
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = XzEncoder::new(Vec::new(), 9);
    encoder.write_all(bytes).expect("written");
    encoder.finish().expect("compressed")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 1).expect("compressed")
}

fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = BzEncoder::new(Vec::new(), bzip2::Compression::best());
    encoder.write_all(bytes).expect("written");
    encoder.finish().expect("compressed")
}

/// A frame of LZ4, which no library of this crate makes.
fn lz4(bytes: &[u8], is_legacy: bool) -> Vec<u8> {
    let mut child = Command::new("lz4")
        .args(if is_legacy { ["-qlc"] } else { ["-qc"] })
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("lz4 is installed");
    let (mut stdin, bytes) = (child.stdin.take().expect("a pipe"), bytes.to_vec());
    let writer = std::thread::spawn(move || stdin.write_all(&bytes).expect("written"));
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("written");
    output.stdout
}

/// What a shell command makes of bytes.
fn tool(command: &str, bytes: &[u8]) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("input"), bytes).expect("written");
    let input = std::fs::File::open(folder.path().join("input")).expect("the input");
    let output = Command::new("sh").args(["-ec", command]).current_dir(folder.path()).stdin(input).output();
    let output = output.expect("a shell");
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn lzma(bytes: &[u8]) -> Vec<u8> {
    tool("xz --format=lzma -c", bytes)
}

/// A member of lzip: the same stream with another header and trailer (RFC draft-diaz-lzip-09).
fn lzip(bytes: &[u8]) -> Vec<u8> {
    let stream = &lzma(bytes)[13..];
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    // A dictionary of 8 MiB.
    let mut member = [&b"LZIP\x01\x17"[..], stream, &crc.sum().to_le_bytes()].concat();
    member.extend((bytes.len() as u64).to_le_bytes());
    member.extend((member.len() as u64 + 8).to_le_bytes());
    member
}

fn detected(bytes: Vec<u8>) -> String {
    let found = Bytes::new(bytes).inspect().expect("not refused");
    found.detected.map_or("unknown".to_owned(), |format| format.to_string())
}

/// Bytes that do not compress well.
fn noise(length: u32) -> Vec<u8> {
    (0..length).map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect()
}

/// Bytes that do not compress at all.
fn random(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

/// A file that `qemu-img` converts from 3 MiB that do not compress well.
fn disk(format: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("data.raw"), noise(3 << 20)).expect("written");
    qemu_img(folder.path(), &format!("convert -f raw -O {format} data.raw disk"));
    std::fs::read(folder.path().join("disk")).expect("the disk")
}

fn tarball(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, *bytes).expect("appended");
    }
    builder.into_inner().expect("a tarball")
}

/// Zeros with `parts` in them.
fn zeros(length: usize, parts: &[(usize, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![0; length];
    for (at, part) in parts {
        bytes[*at..at + part.len()].copy_from_slice(part);
    }
    bytes
}

/// A PE of an EFI application with a section.
fn efi(section: &[u8]) -> Vec<u8> {
    let header =
        [(0, &b"MZ"[..]), (0x3c, b"\x80"), (0x80, b"PE\0\0"), (0x86, b"\x01"), (0x94, b"\xf0"), (0xdc, b"\x0a")];
    zeros(8192, &[&header[..], &[(0x188, section)]].concat())
}

fn samples() -> Vec<(&'static str, Vec<u8>)> {
    let with_disk = vec![7; 600 << 10];
    vec![
        ("qcow2", disk("qcow2")),
        ("vmdk", disk("vmdk")),
        ("vhd", disk("vpc")),
        ("vdi", disk("vdi")),
        ("iso", zeros(100_000, &[(32_769, b"CD001")])),
        ("raw", zeros(1 << 20, &[(510, b"\x55\xaa")])),
        ("raw", zeros(1 << 20, &[(512, b"EFI PART")])),
        ("squashfs", zeros(4096, &[(0, b"hsqs")])),
        ("root.tar", tarball(&[("bin/sh", b"x"), ("etc/hostname", b"x")])),
        ("root.tar", tarball(&[("./usr/lib/os-release", b"x")])),
        ("tar", tarball(&[("disk.raw", &with_disk)])),
        ("tar", tarball(&[("debian-12/disk.qcow2", &with_disk), ("debian-12/etc", b"")])),
        ("ova", tarball(&[("appliance.ovf", b"<Envelope/>"), ("appliance-disk1.vmdk", &with_disk)])),
        ("kernel", zeros(64 << 10, &[(510, b"\x55\xaa"), (0x202, b"HdrS")])),
        ("kernel", zeros(64 << 10, &[(0, b"MZ"), (0x38, b"ARM\x64")])),
        ("kernel", zeros(64 << 10, &[(0x38, b"RSC\x05")])),
        ("kernel", zeros(64 << 10, &[(0x38, b"\xcd\x23\x82\x81")])),
        ("kernel", zeros(64 << 10, &[(0x24, b"\x18\x28\x6f\x01")])),
        ("kernel", zeros(128 << 10, &[(0x1_0008, b"S390EP")])),
        ("kernel", zeros(64 << 10, &[(0, b"\x7fELF\x02\x01"), (18, b"\x15\0")])),
        ("kernel", zeros(64 << 10, &[(0, b"MZ\0\0zimg")])),
        ("raw", zeros(64 << 10, &[(4096, b"EFI PART")])),
        ("initrd", zeros(4096, &[(0, b"070701")])),
        ("efi", efi(b".linux")),
        ("efi", efi(b".text")),
    ]
}

#[test]
fn formats_are_distinguished_plain_and_compressed() {
    for (expected, bytes) in samples() {
        assert_eq!(detected(gzip(&bytes)), format!("{expected}.gz"));
        assert_eq!(detected(xz(&bytes)), format!("{expected}.xz"));
        assert_eq!(detected(zstd(&bytes)), format!("{expected}.zst"));
        assert_eq!(detected(bzip2(&bytes)), format!("{expected}.bz2"));
        assert_eq!(detected(lz4(&bytes, false)), format!("{expected}.lz4"));
        assert_eq!(detected(lz4(&bytes, true)), format!("{expected}.lz4"));
        assert_eq!(detected(bytes), expected);
    }
}

#[test]
fn compressed_bytes_of_no_known_format_are_only_compressed() {
    for bytes in [Vec::new(), noise(100), noise(1 << 20), vec![0; 8 << 20]] {
        assert_eq!(detected(gzip(&bytes)), "gzip");
        assert_eq!(detected(xz(&bytes)), "xz");
        assert_eq!(detected(zstd(&bytes)), "zstd");
        assert_eq!(detected(bzip2(&bytes)), "bzip2");
        assert_eq!(detected(lz4(&bytes, false)), "lz4");
    }
    // What is compressed twice is not decompressed twice, and has no format of its own.
    assert_eq!(detected(gzip(&xz(&samples()[0].1))), "xz.gz");
    assert_eq!(detected(xz(&lzma(b"unknown"))), "lzma.xz");
}

#[test]
fn files_that_are_no_artifacts_are_named() {
    let (zip, disk) = (tool("zip -q - -", &noise(1000)), disk("qcow2"));
    for (expected, bytes) in [
        ("zip", zip.clone()),
        ("zip.xz", xz(&zip)),
        ("qcow2.lzma", lzma(&disk)),
        ("lzma", lzma(b"unknown")),
        ("qcow2.lz", lzip(&disk)),
        ("lzip", lzip(b"unknown")),
        ("compress", b"\x1f\x9d\x90abc".to_vec()),
        ("lzop", b"\x89LZO\0\r\n\x1a\n\x10\x40".to_vec()),
        ("7z", b"7z\xbc\xaf\x27\x1c\0\x04".to_vec()),
        ("rar", b"Rar!\x1a\x07\x01\0".to_vec()),
        ("wim", b"MSWIM\0\0\0".to_vec()),
        ("simg", b"\x3a\xff\x26\xed\x01\0".to_vec()),
        // No LZMA, which begins with such bytes as well.
        ("unknown", zeros(512, &[(0, b"\x5d\0\0\x81\0")])),
        ("unknown", b"\x1f\x9d\x44abc".to_vec()),
    ] {
        assert_eq!(detected(bytes), expected);
    }
}

/// Every way to compress a disk, of which the end is checked.
const COMPRESS: [&str; 14] = [
    "xz -c",
    "xz -c --check=none",
    "xz -c --block-size=64KiB",
    "cat > d; xz -c d; xz -c d",
    "xz -c; head -c 4096 /dev/zero",
    "zstd -qc",
    "zstd -q19c --no-check",
    "pzstd -qc",
    "cat > d; zstd -qc d; zstd -qc --no-check d",
    "cat > d; zstd -qc d; printf 'P*M\\030\\004\\000\\000\\000abcd'",
    "bzip2 -c",
    "cat > d; bzip2 -c d; bzip2 -c d",
    "lz4 -qc",
    "lz4 -qc --no-frame-crc",
];

#[test]
fn compressed_files_of_which_the_end_is_missing_are_refused() {
    // A disk with a boot sector.
    let mut disk = random(900_000 / 512 * 512);
    disk[510..512].copy_from_slice(b"\x55\xaa");
    for command in COMPRESS {
        let whole = tool(command, &disk);
        assert!(Bytes::new(whole.clone()).inspect().is_ok(), "{command}");
        let ends_with_zeros = command.contains("/dev/zero");
        for cut in [1, 2, 4, 7, 12, 4099, 150_001, 400_003, 700_001] {
            // What is cut off from zeros, or between frames, is not missing.
            if (ends_with_zeros && cut < 5000 && cut % 4 == 0) || (cut == 12 && command.contains("030")) {
                continue;
            }
            // Without its checksum, a frame of Zstandard or LZ4 is like one that has none.
            if (command.contains("zstd") || command.contains("lz4")) && cut == 4 {
                continue;
            }
            let refused = Bytes::new(whole[..whole.len() - cut].to_vec()).inspect();
            assert!(matches!(refused, Err(InspectError::Refused(_))), "{command} without the last {cut} bytes");
        }
        let preallocated = [&whole[..whole.len() / 2], &vec![0; whole.len() / 2]].concat();
        let is_refused = matches!(Bytes::new(preallocated).inspect(), Err(InspectError::Refused(_)));
        // Zeros are an end mark of LZ4 as well.
        assert_eq!(is_refused, !command.starts_with("lz4"), "{command}, the second half zeros");
    }
    // The end of a gzip file is its length, which shows only if the content cannot have it.
    let tarball = gzip(&tool("tar c input", &disk));
    assert!(Bytes::new(tarball.clone()).inspect().is_ok());
    for cut in [3, 4, 7, 12, 4099, 150_001] {
        let refused = Bytes::new(tarball[..tarball.len() - cut].to_vec()).inspect();
        assert!(matches!(refused, Err(InspectError::Refused(_))), "a tarball without the last {cut} bytes");
    }
    let odd = [&disk[..], &[7; 300]].concat();
    assert_eq!(detected(gzip(&odd)), "raw.gz");
    let blocks = tool(COMPRESS[2], &disk);
    let without = [&blocks[..blocks.len() / 2], &blocks[blocks.len() / 2 + 64..]].concat();
    let refused = Bytes::new(without).inspect();
    assert!(matches!(refused, Err(InspectError::Refused(Refusal { problem: Problem::EndMissing, .. }))), "{refused:?}");
}

#[test]
fn whole_compressed_files_are_not_taken_for_cut_off_ones() {
    // The last blocks are of every kind: a byte that is repeated, stored bytes, and compressed ones.
    let zeros_last = [random(300 << 10), vec![0; 1 << 20]].concat();
    for bytes in [zeros_last, vec![0; 1 << 20], random(400 << 10)] {
        for command in COMPRESS {
            let whole = Bytes::new(tool(command, &bytes)).inspect();
            assert!(whole.is_ok(), "{command}: {whole:?}");
        }
    }
}

#[test]
fn compressed_bytes_that_cannot_be_decompressed_are_refused() {
    let magic = [&b"\x1f\x8b\x08"[..], b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18", b"BZh91AY&SY"];
    let cut = [gzip, xz, zstd, bzip2, |bytes: &[u8]| lz4(bytes, false)].map(|compress| {
        let mut compressed = compress(&disk("qcow2"));
        compressed.truncate(200);
        compressed
    });
    for bytes in magic.into_iter().map(<[u8]>::to_vec).chain(cut) {
        let Err(InspectError::Refused(refusal)) = Bytes::new(bytes.clone()).inspect() else {
            panic!("{:?} is not refused", bytes.get(..9));
        };
        assert_eq!(refusal.problem, Problem::NotDecompressed);
    }
}

#[test]
fn disks_that_do_not_stand_alone_are_refused_in_compressed_files() {
    let mut qcow2 = disk("qcow2");
    qcow2[8..20].copy_from_slice(&[0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 4]);
    qcow2[512..516].copy_from_slice(b"base");
    let descriptor = b"# a\nversion=1\ncreateType=\"monolithicFlat\"\nRW 1 FLAT \"/etc/passwd\" 0\n".to_vec();
    for bytes in [qcow2, descriptor] {
        for compressed in [gzip(&bytes), xz(&bytes), zstd(&bytes), bzip2(&bytes), lz4(&bytes, true)] {
            let Err(InspectError::Refused(refusal)) = Bytes::new(compressed).inspect() else {
                panic!("not refused");
            };
            assert!(matches!(refusal.problem, Problem::OtherFile { name: Some(_), .. }), "{refusal}");
        }
    }
}

#[test]
fn a_descriptor_far_from_the_start_of_a_compressed_disk_is_refused() {
    let descriptor = b"# Disk DescriptorFile\nversion=1\ncreateType=\"monolithicFlat\"\nRW 1 FLAT \"/etc/passwd\" 0\n";
    let far = zeros(1 << 20, &[(0, b"KDMV\x01"), (28, &1024_u64.to_le_bytes()), (36, &[1]), (512 << 10, descriptor)]);
    for bytes in [far.clone(), gzip(&far), xz(&far), zstd(&far), bzip2(&far), lz4(&far, true)] {
        assert!(matches!(Bytes::new(bytes).inspect(), Err(InspectError::Refused(_))));
    }
}

#[test]
fn a_descriptor_that_begins_like_a_compressed_file_is_refused() {
    let descriptor = b"version=1\ncreateType=\"monolithicFlat\"\nRW 1 FLAT \"/etc/passwd\" 0\n";
    for magic in [&b"\x1f\x8b\x08\n"[..], b"BZh91AY&SY\n"] {
        let refused = Bytes::new([magic, descriptor].concat()).inspect();
        assert!(matches!(refused, Err(InspectError::Refused(_))), "{magic:?}");
    }
}

#[test]
fn formats_of_artifacts_follow_the_bytes() {
    let format = |bytes: Vec<u8>, name: &str| {
        Bytes::new(bytes).inspect().expect("not refused").detected.expect("detected").artifact_format(name)
    };
    let tar = tarball(&[("disk.raw", &[7; 5000])]);
    assert_eq!(format(xz(&tar), "rootfs.tar.xz"), "tar.xz");
    assert_eq!(format(xz(&disk("qcow2")), "disk.raw.xz"), "qcow2.xz");
    assert_eq!(format(zstd(&zeros(4096, &[(0, b"070701")])), "initramfs.img"), "initrd");
    assert_eq!(format(gzip(b"unknown"), "ROOTFS.TAR.GZ"), "root.tar.gz");
    assert_eq!(format(bzip2(&disk("vpc")), "disk.vhd.bz2"), "vhd.bz2");
    assert_eq!(format(bzip2(&tar), "disk.tar.bz2"), "tar.bz2");
    let cpio = zeros(4096, &[(0, b"070701")]);
    assert_eq!(format(lz4(&cpio, true), "initrd.img"), "initrd");
    assert_eq!(format(bzip2(&cpio), "initrd.img"), "initrd");
    assert_eq!(format(lz4(b"unknown", false), "disk.lz4"), "lz4");
    assert_eq!(format(gzip(b"unknown"), "disk.gz"), "raw.gz");
    let root = tarball(&[("etc/hostname", b"x")]);
    assert_eq!(format(root.clone(), "rootfs.tar"), "tar");
    assert_eq!(format(zstd(&root), "anything"), "root.tar.zst");
    assert_eq!(format(gzip(&tarball(&[("a.ovf", b"x")])), "a.ova.gz"), "tar.gz");
    assert_eq!(format(xz(&zeros(4096, &[(0, b"hsqs")])), "rootfs.squashfs.xz"), "squashfs.xz");
    assert_eq!(format(gzip(&xz(b"unknown")), "disk.raw.gz"), "xz.gz");
}

proptest! {
    #[test]
    fn any_change_of_archives_and_programs_gives_a_result(
        sample in 0_usize..4, at in 0_usize..2048, bytes in prop::collection::vec(any::<u8>(), 1..9),
    ) {
        let tar = tarball(&[("a.ovf", b"x"), ("etc/a-long-name", b"x"), ("disk", &[7; 600])]);
        let mut sample = [efi(b".linux"), efi(b".text"), tar, zeros(4096, &[(257, b"ustar")])][sample].clone();
        sample[at..at + bytes.len()].copy_from_slice(&bytes);
        let _ = Bytes::new(sample).inspect();
    }

    #[test]
    fn any_change_of_compressed_bytes_gives_a_result(
        kind in 0_usize..5, at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let bytes = zeros(9000, &[(0, b"070701"), (300, &[byte; 40])]);
        let mut bytes = [gzip, xz, zstd, bzip2, |bytes: &[u8]| lz4(bytes, false)][kind](&bytes);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = Bytes::new(bytes).inspect();
    }
}
