//! Files that no tool makes, most of them malicious.

use base64::{Engine, engine::general_purpose::STANDARD};
use std::io::Write;

/// A file of the corpus.
pub(crate) struct Crafted {
    pub(crate) name: &'static str,
    /// How it is made, for the page.
    pub(crate) made: &'static str,
    pub(crate) bytes: Vec<u8>,
    /// Why it is refused although `qemu-img` opens it without another file, if it is.
    pub(crate) stricter: Option<&'static str>,
}

/// `bytes` with `new` put at `at`.
fn patched(bytes: &[u8], patches: &[(usize, &[u8])]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (at, new) in patches {
        bytes[*at..at + new.len()].copy_from_slice(new);
    }
    bytes
}

/// A VMDK descriptor after `start`, whose data are in a file of the host.
fn descriptor(start: &str) -> Vec<u8> {
    format!("{start}CID=fffffffe\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\nRW 1 FLAT \"/etc/passwd\" 0\n")
        .into_bytes()
}

/// A file that begins with the header of a sparse VMDK of no capacity, and has a descriptor at sector `at`.
fn empty_sparse(at: u64) -> Vec<u8> {
    let mut bytes = vec![0; 64 << 10];
    bytes[..4].copy_from_slice(b"KDMV");
    bytes[4] = 1;
    bytes[28..36].copy_from_slice(&at.to_le_bytes());
    bytes[36] = 20;
    let text = descriptor("# Disk DescriptorFile\nversion=1\n");
    bytes[512..512 + text.len()].copy_from_slice(&text);
    bytes
}

/// The same with the descriptor at 512 KiB.
fn far_sparse() -> Vec<u8> {
    let mut bytes = [empty_sparse(1024), vec![0; 600 << 10]].concat();
    bytes.copy_within(512..1024, 512 << 10);
    bytes[512..1024].fill(0);
    bytes
}

/// A VMDK descriptor whose data are in the file `name`.
fn elsewhere(name: &str) -> Vec<u8> {
    let text = String::from_utf8(descriptor("version=1\n")).expect("text");
    text.replace("/etc/passwd", name).into_bytes()
}

/// A sparse VMDK with `from` in its embedded descriptor replaced by `to`.
fn edited(vmdk: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8(vmdk[512..512 + 20 * 512].to_vec()).expect("a descriptor");
    let mut text = text.trim_end_matches('\0').replace(from, to).into_bytes();
    text.resize(20 * 512, 0);
    patched(vmdk, &[(512, &text)])
}

fn cow_disk(flags: u8, text: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 16 << 10];
    bytes[..12].copy_from_slice(&[b'C', b'O', b'W', b'D', 1, 0, 0, 0, flags, 0, 0, 0]);
    for (at, value) in [(12, 16_u32), (16, 1), (20, 30), (24, 1)] {
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
    bytes[512..512 + text.len()].copy_from_slice(text);
    bytes
}

/// A VHD footer or its copy with another type, and a valid checksum.
fn retyped(vhd: &[u8], at: usize, kind: u8) -> Vec<u8> {
    let mut bytes = patched(vhd, &[(at + 60, &[0, 0, 0, kind]), (at + 64, &[0; 4])]);
    let sum: u32 = bytes[at..at + 512].iter().map(|byte| u32::from(*byte)).sum();
    bytes[at + 64..at + 68].copy_from_slice(&(!sum).to_be_bytes());
    bytes
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

/// A dynamic VHD of type `kind` with its dynamic header at the end.
fn far_vhd(vhd: &[u8], kind: u8) -> Vec<u8> {
    const AT: usize = 12 << 20;
    let header = usize::try_from(u64::from_be_bytes(vhd[16..24].try_into().expect("eight"))).expect("small");
    let mut bytes = patched(vhd, &[(16, &(AT as u64).to_be_bytes())]);
    let header = bytes[header..header + 1024].to_vec();
    bytes.resize(AT, 0);
    bytes.extend(header);
    bytes = retyped(&bytes, 0, kind);
    let footer = bytes[..512].to_vec();
    bytes.extend(footer);
    bytes
}

/// A qcow2 whose first extension, a table of the names of features, is of another kind.
fn extended(qcow2: &[u8], kind: &[u8]) -> Vec<u8> {
    patched(qcow2, &[(find(qcow2, b"\x68\x03\xf8\x57"), kind)])
}

/// Compressed with xz, for which the decoder needs a dictionary of the size that `code` stands for.
fn xz(bytes: &[u8], code: u8) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 0);
    encoder.write_all(bytes).expect("written");
    let mut packed = patched(&encoder.finish().expect("compressed"), &[(16, &[code])]);
    let checksum = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(&packed[12..20]);
    packed[20..24].copy_from_slice(&checksum.to_le_bytes());
    packed
}

/// Compressed with Zstandard, for which the decoder needs a window of the size that `code` stands for.
fn zstd(bytes: &[u8], code: u8) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).expect("an encoder");
    encoder.write_all(bytes).expect("written");
    patched(&encoder.finish().expect("compressed"), &[(5, &[code])])
}

/// Where the GUID of a VHDX structure is.
fn find(bytes: &[u8], wanted: &[u8]) -> usize {
    bytes.windows(wanted.len()).position(|window| window == wanted).expect("found")
}

/// A VHDX with both headers changed, and valid checksums.
fn with_headers(vhdx: &[u8], at: usize, new: &[u8]) -> Vec<u8> {
    let mut bytes = vhdx.to_vec();
    for header in [64 << 10, 128 << 10] {
        bytes = patched(&bytes, &[(header + at, new), (header + 4, &[0; 4])]);
        let checksum = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI).checksum(&bytes[header..header + 4096]);
        bytes[header + 4..header + 8].copy_from_slice(&checksum.to_le_bytes());
    }
    bytes
}

fn bochs(subtype: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 8192];
    let put = [(0, &b"Bochs Virtual HD Image"[..]), (32, b"Redolog"), (48, subtype), (512, &[0xff; 64])];
    bytes = patched(&bytes, &put);
    for (at, value) in [(64, 0x2_0000_u32), (68, 512), (72, 16), (76, 512), (80, 65_536), (88, 1 << 20)] {
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
    bytes
}

fn cloop(offsets: &[u64]) -> Vec<u8> {
    let mut bytes = vec![0; 4096];
    let magic = b"#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount -r -t iso9660 /dev/cloop $1\n";
    bytes[..magic.len()].copy_from_slice(magic);
    bytes[128..132].copy_from_slice(&512_u32.to_be_bytes());
    let blocks = u32::try_from(offsets.len()).expect("few") - 1;
    bytes[132..136].copy_from_slice(&blocks.to_be_bytes());
    for (index, offset) in offsets.iter().enumerate() {
        bytes[136 + 8 * index..144 + 8 * index].copy_from_slice(&offset.to_be_bytes());
    }
    bytes
}

/// A VMDK descriptor whose comments are the magic number of a compressed loop device, with valid fields.
fn cloop_descriptor() -> Vec<u8> {
    let text =
        b"#!/bin/sh\n#V2.0 Format\nversion=1\nCID=1\nparentCID=1\ncreateType=\"vmfs\"\nRW 1 VMFS \"/etc/passwd\"\n";
    let mut bytes = cloop(&[200, 300]);
    bytes[..128].fill(b'\n');
    bytes[..text.len()].copy_from_slice(text);
    bytes
}

/// A macOS image of one sector, which is segment 1 of `segments`.
fn dmg(segments: u32) -> Vec<u8> {
    let mut mish = vec![0; 284];
    mish[..4].copy_from_slice(b"mish");
    mish[204..208].copy_from_slice(&1_u32.to_be_bytes());
    mish[227] = 1;
    mish[242..244].copy_from_slice(&512_u16.to_be_bytes());
    mish[244..248].copy_from_slice(&u32::MAX.to_be_bytes());
    let list = format!("<plist><data>{}</data></plist>", STANDARD.encode(mish));
    let mut bytes = vec![7; 512];
    bytes.extend_from_slice(list.as_bytes());
    let mut koly = vec![0; 512];
    koly[..4].copy_from_slice(b"koly");
    koly[56..60].copy_from_slice(&1_u32.to_be_bytes());
    koly[60..64].copy_from_slice(&segments.to_be_bytes());
    koly[216..224].copy_from_slice(&512_u64.to_be_bytes());
    koly[224..232].copy_from_slice(&(list.len() as u64).to_be_bytes());
    bytes.extend(koly);
    bytes
}

/// A cpio archive of one folder.
fn initrd() -> Vec<u8> {
    let entry = |mode: &str, name: &str| {
        let length = name.len() + 1;
        let mut bytes = format!("07070100000001{mode}{}{length:08X}00000000{name}\0", "0".repeat(8 * 9));
        while bytes.len() % 4 > 0 {
            bytes.push('\0');
        }
        bytes
    };
    let mut bytes = entry("000041ED", "dev") + &entry("00000000", "TRAILER!!!");
    bytes.push_str(&"\0".repeat(512 - bytes.len() % 512));
    bytes.into_bytes()
}

const WITH_FORMAT: Option<&str> = Some("with `-f vmdk`");
const TOO_LATE: Option<&str> = Some("the limits of what is decompressed");
const OTHERS: Option<&str> = Some("QEMU ignores the name, other programs follow it");
const NO_BASE: Option<&str> = Some("QEMU ignores that it is incomplete");
const NOT_DETECTED: Option<&str> = Some("QEMU does not detect the format, other programs do");

/// A file that is refused or accepted by both, and how it is made.
type Sample = (&'static str, &'static str, Vec<u8>);

/// Every file; `made` gives the bytes of a file that `qemu-img` has made.
pub(crate) fn all(made: impl Fn(&str) -> Vec<u8>) -> Vec<Crafted> {
    let same = vmdks(&made("vmdk-data")).into_iter().chain(others(&made));
    same.map(|(name, made, bytes)| (name, made, bytes, None))
        .chain(stricter(&made))
        .map(|(name, made, bytes, stricter)| Crafted { name, made, bytes, stricter })
        .collect()
}

fn vmdks(vmdk: &[u8]) -> Vec<Sample> {
    let parent = "parentFileNameHint=\"/etc/passwd\"\ncreateType=";
    vec![
        ("vmdk-text-comment", "descriptor after another comment", descriptor("# anything\nversion=1\n")),
        ("vmdk-text-version", "descriptor without a comment", descriptor("version=3\n")),
        ("vmdk-text-blank", "descriptor after blank lines", descriptor("# a\n  \n \nversion=2\n")),
        ("vmdk-text-cloop", "descriptor that begins as a compressed loop device", cloop_descriptor()),
        ("vmdk-text-crlf", "descriptor with line endings of Windows", descriptor("# a\r\n \r\nversion=1\r\n")),
        (
            "vmdk-text-no-type",
            "descriptor without a type",
            b"# Disk DescriptorFile\nversion=1\nCID=1\nRW 1 FLAT \"/etc/passwd\" 0\n".to_vec(),
        ),
        (
            "vmdk-text-vmfs",
            "descriptor of VMFS",
            String::from_utf8(descriptor("version=1\n"))
                .expect("text")
                .replace("monolithicFlat", "vmfs")
                .replace("FLAT \"/etc/passwd\" 0", "VMFS \"/etc/passwd\"")
                .into_bytes(),
        ),
        (
            "vmdk-text-sesparse",
            "descriptor of a seSparse extent",
            String::from_utf8(descriptor("version=1\n"))
                .expect("text")
                .replace("monolithicFlat", "seSparse")
                .replace("FLAT \"/etc/passwd\" 0", "SESPARSE \"/etc/passwd\"")
                .into_bytes(),
        ),
        ("vmdk-text-nbd", "descriptor of an extent on the network", elsewhere("nbd://localhost/x")),
        ("vmdk-text-json", "descriptor of an extent in JSON", elsewhere("json:{'driver':'null-co'}")),
        ("vmdk-text-relative", "descriptor of an extent in the same folder", elsewhere("data.raw")),
        ("vmdk-sparse-empty", "sparse header of capacity 0 and a flat descriptor", empty_sparse(1)),
        ("vmdk-sparse-far", "the same, its descriptor after 512 KiB", far_sparse()),
        ("vmdk-sparse-wrapped", "the same, with an offset that overflows", empty_sparse((1 << 55) | 1)),
        ("vmdk-sparse-beyond", "the same, with an offset beyond the end", empty_sparse(1 << 40)),
        (
            "vmdk-sparse-beyond-large",
            "the same, larger than what is read at once",
            [empty_sparse(1 << 40), vec![0; 300 << 10]].concat(),
        ),
        ("vmdk-sparse-parent", "sparse, with a parent", edited(vmdk, "createType=", parent)),
        ("vmdk-sparse-no-descriptor", "sparse, with an empty descriptor", patched(vmdk, &[(512, &[0; 20 * 512])])),
        ("vmdk-sparse-version", "sparse, of version 4", patched(vmdk, &[(4, &[4])])),
        ("vmdk-cow", "copy-on-write disk with a descriptor", cow_disk(3, b"CID=1\nparentCID=ffffffff\n")),
        (
            "vmdk-cow-parent",
            "copy-on-write disk with a parent",
            cow_disk(3, b"CID=1\nparentCID=1\nparentFileNameHint=\"/etc/passwd\"\n"),
        ),
    ]
}

fn others(made: impl Fn(&str) -> Vec<u8>) -> Vec<Sample> {
    let (vhdx, vdi, parallels) = (made("vhdx-data"), made("vdi-data"), made("parallels-data"));
    let (qcow2, vhd) = (made("qcow2-data"), made("vhd-data"));
    let file_parameters = find(&vhdx, b"\x37\x67\xa1\xca\x36\xfa\x43\x4d");
    let parameters = u32::from_le_bytes(vhdx[file_parameters + 16..file_parameters + 20].try_into().expect("four"));
    let parameters = find(&vhdx, b"metadata") + usize::try_from(parameters).expect("small");
    let page83 = find(&vhdx, b"\xab\x12\xca\xbe\xe6\xb2\x23\x45");
    vec![
        (
            "qcow2-data-name",
            "qcow2 that names an external data file, without the flag",
            extended(&qcow2, b"DATA\0\0\0\x08external\0\0\0\0\0\0\0\0"),
        ),
        ("qcow2-raw-flag", "qcow2 whose data file is raw, without one", patched(&qcow2, &[(95, &[2])])),
        ("qcow2-incompatible", "qcow2 with an unknown incompatible feature", patched(&qcow2, &[(78, &[1])])),
        ("qcow2-compatible", "qcow2 with an unknown compatible feature", patched(&qcow2, &[(86, &[1])])),
        ("qcow2-extension", "qcow2 with an unknown extension", extended(&qcow2, b"what")),
        ("qcow2-luks-extension", "qcow2 with an encryption header alone", extended(&qcow2, b"\x05\x37\xbe\x77")),
        ("vhd-far", "dynamic VHD, its header after 12 MiB", far_vhd(&vhd, 3)),
        ("vhdx-parent", "VHDX that has a parent", patched(&vhdx, &[(parameters + 4, &[2])])),
        (
            "vhdx-locator",
            "VHDX with a parent locator",
            patched(&vhdx, &[(page83, b"\x2d\x5f\xd3\xa8\x0b\xb3\x4d\x45\xab\xf7\xd3\xd8\x48\x34\xab\x0c")]),
        ),
        ("vhdx-headers", "VHDX without a valid header", patched(&vhdx, &[(64 << 10, &[0]), (128 << 10, &[0])])),
        ("vdi-link", "VDI with a link", patched(&vdi, &[(424, &[1])])),
        ("vdi-parent", "VDI with a parent", patched(&vdi, &[(440, &[1])])),
        ("vdi-version", "VDI of version 2", patched(&vdi, &[(68, &[0, 0, 2, 0])])),
        ("parallels-1", "Parallels with the older magic number", patched(&parallels, &[(0, b"WithoutFreeSpace")])),
        ("bochs", "growing disk of Bochs", bochs(b"Growing")),
        ("cloop", "compressed loop device", cloop(&[200, 300, 400])),
        ("cloop-disorder", "compressed loop device, its blocks not in order", cloop(&[200, 400, 300])),
        ("one.dmg", "macOS image of one segment", dmg(1)),
        ("encrypted.dmg", "encrypted macOS image", patched(&vec![0; 4096], &[(0, b"encrcdsa")])),
        ("iso", "ISO 9660", patched(&vec![0; 40_000], &[(32_769, b"CD001")])),
        ("mbr", "raw disk with a partition table", patched(&vec![0; 1 << 20], &[(510, b"\x55\xaa")])),
        ("initrd", "initial RAM disk, a cpio archive", initrd()),
        ("text", "text with NUL bytes", b"#!/bin/sh\nexit\0\0".to_vec()),
        ("empty", "no bytes", Vec::new()),
        ("random", "bytes without a format", (0..9000_u32).map(|at| (at * at % 251) as u8).collect()),
    ]
}

fn stricter(made: impl Fn(&str) -> Vec<u8>) -> Vec<(&'static str, &'static str, Vec<u8>, Option<&'static str>)> {
    let (vmdk, vhd, fixed, vhdx) = (made("vmdk-data"), made("vhd-data"), made("vhd-fixed"), made("vhdx-data"));
    let (overlay, qcow2) = (made("qcow2-backing-host"), made("qcow2-data"));
    let footer = fixed.len() - 512;
    let dynamic = usize::try_from(u64::from_be_bytes(vhd[16..24].try_into().expect("eight"))).expect("small");
    let is_differencing = retyped(&vhd, 0, 4);
    let named = patched(&is_differencing, &[(dynamic + 64, &utf16("C:\\base.vhd"))]);
    let located = patched(&vhd, &[(dynamic + 576, b"W2ku")]);
    vec![
        (
            "vmdk-text-late",
            "descriptor after 600 bytes",
            descriptor(&format!("#{}\nversion=1\n", "x".repeat(600))),
            WITH_FORMAT,
        ),
        (
            "vmdk-text-later",
            "descriptor after 300 KiB",
            descriptor(&format!("#{}\nversion=1\n", "x".repeat(300 << 10))),
            Some("other programs may read it"),
        ),
        ("vmdk-text-no-version", "descriptor without a version", descriptor("anything\n"), WITH_FORMAT),
        (
            "vmdk-text-gzip",
            "descriptor that begins like gzip",
            [b"\x1f\x8b\x08\n", &descriptor("version=1\n")[..]].concat(),
            WITH_FORMAT,
        ),
        (
            "qcow2-data-flag",
            "qcow2 with an external data file that it does not name",
            patched(&qcow2, &[(79, &[4])]),
            Some("QEMU needs the file to read the data"),
        ),
        ("qcow2-corrupt", "qcow2 marked as corrupt", patched(&qcow2, &[(79, &[2])]), Some("QEMU does not write to it")),
        ("vmdk-sparse-path", "sparse, its extent in a folder", edited(&vmdk, "SPARSE \"", "SPARSE \"/etc/"), OTHERS),
        (
            "vmdk-sparse-directory",
            "sparse, its grain directory beyond the end",
            patched(&vmdk, &[(60, &[1])]),
            Some("QEMU reads zeros there"),
        ),
        (
            "vmdk-sparse-two",
            "sparse, with a second extent",
            edited(&vmdk, "\n# The Disk Data Base", "\nRW 1 FLAT \"b\" 0\n# The Disk Data Base"),
            OTHERS,
        ),
        (
            "vmdk-sparse-tracked",
            "sparse, with a file of changes",
            edited(&vmdk, "createType=", "changeTrackPath=\"/etc/passwd\"\ncreateType="),
            OTHERS,
        ),
        ("vmdk-cow-child", "copy-on-write disk that is no root", cow_disk(2, b"CID=1\nparentCID=1\n"), NO_BASE),
        ("vhd-differencing", "differencing VHD", is_differencing, NO_BASE),
        ("vhd-differencing-named", "differencing VHD with the name of its parent", named, NO_BASE),
        ("vhd-far-differencing", "differencing VHD, its header after 12 MiB", far_vhd(&vhd, 4), NO_BASE),
        ("dictionary-256M.qcow2.xz", "xz with a dictionary of 256 MiB", xz(&overlay, 32), None),
        ("dictionary-384M.qcow2.xz", "xz with a dictionary of 384 MiB", xz(&qcow2, 33), TOO_LATE),
        ("window-128M.qcow2.zst", "Zstandard with a window of 128 MiB", zstd(&overlay, 17 << 3), None),
        ("window-256M.qcow2.zst", "Zstandard with a window of 256 MiB", zstd(&qcow2, 18 << 3), TOO_LATE),
        ("vhd-locator", "dynamic VHD with a parent locator", located, OTHERS),
        ("vhd-fixed-differencing", "fixed VHD with a differencing footer", retyped(&fixed, footer, 4), NO_BASE),
        (
            "vhdx-log",
            "VHDX with a log that was not replayed",
            with_headers(&vhdx, 48, &[1; 16]),
            Some("the log is empty here, but could name a parent"),
        ),
        ("bochs-undoable", "undoable disk of Bochs", bochs(b"Undoable"), NOT_DETECTED),
        ("two.dmg", "macOS image of two segments", dmg(2), NO_BASE),
        ("luks-2", "LUKS of version 2", patched(&vec![0; 16 << 20], &[(0, b"LUKS\xba\xbe\0\x02")]), NOT_DETECTED),
    ]
}
