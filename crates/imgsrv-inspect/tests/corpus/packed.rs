//! Files that tools for archives make.

const NO_ARCHIVE: Option<&str> = Some("QEMU does not read archives");
const TOO_LATE: Option<&str> = Some("the limits of what is decompressed");
const OVF: &str = r#"printf '<Envelope xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"><References><File ovf:href="%s" ovf:id="f"/></References></Envelope>'"#;

/// Compressed files that are accepted.
const ACCEPTED: &[(&str, &str)] = &[
    ("qcow2.bz2", "bzip2 -c qcow2-data"),
    ("qcow2.gz", "gzip -nc qcow2-data"),
    ("qcow2.xz", "xz -c qcow2-data"),
    ("qcow2.zst", "zstd -qc qcow2-data"),
    ("vmdk.bz2", "bzip2 -c vmdk-data"),
    ("vmdk.gz", "gzip -nc vmdk-stream"),
    ("vmdk.xz", "xz -c vmdk-data"),
    ("vmdk.zst", "zstd -qc vmdk-data"),
    ("vhd.bz2", "bzip2 -c vhd-data"),
    ("vhd.gz", "gzip -nc vhd-data"),
    ("vhd.xz", "xz -c vhd-data"),
    ("vhd.zst", "zstd -qc vhd-data"),
    ("vhdx.bz2", "bzip2 -c vhdx-data"),
    ("vhdx.gz", "gzip -nc vhdx-data"),
    ("vhdx.xz", "xz -c vhdx-data"),
    ("vhdx.zst", "zstd -qc vhdx-data"),
    ("vdi.bz2", "bzip2 -c vdi-data"),
    ("vdi.gz", "gzip -nc vdi-data"),
    ("vdi.xz", "xz -c vdi-data"),
    ("vdi.zst", "zstd -q --ultra -22 -c vdi-data"),
    ("iso.bz2", "bzip2 -c iso"),
    ("iso.gz", "gzip -nc iso"),
    ("iso.xz", "xz -9c iso"),
    ("iso.zst", "zstd -qc iso"),
    ("raw.bz2", "bzip2 -c mbr"),
    ("raw.gz", "gzip -nc mbr"),
    ("raw.xz", "xz -c mbr"),
    ("raw.zst", "zstd -q --long=27 -c mbr"),
    ("noise.bz2", "bzip2 -9c qcow2-noise"),
    ("initrd.bz2", "bzip2 -c initrd"),
    ("initrd.lz4", "lz4 -qc initrd"),
    ("initrd-legacy.lz4", "lz4 -qlc initrd"),
    ("initrd.xz", "xz --check=crc32 --lzma2=dict=512KiB -c initrd"),
    ("qcow2-data.lz4", "lz4 -q --no-frame-crc -BX -BD -c qcow2-data"),
    ("empty.bz2", "bzip2 -c empty"),
    ("pzstd.qcow2.zst", "pzstd -qc qcow2-data"),
    ("padded.qcow2.xz", "xz -c qcow2-data; head -c 4096 /dev/zero"),
    ("v7disk.tar.xz", "tar --format=v7 --mtime=@1 -c vmdk-data | xz"),
    ("v7disk.tar", "tar --format=v7 --mtime=@1 -c vmdk-data"),
    ("twice.raw.xz.gz", "xz -c mbr | gzip -nc"),
    ("disk.zip", "TZ=UTC zip -qX - mbr"),
    ("qcow2.lzma", "xz --format=lzma -c qcow2-data"),
];

/// Compressed files that are refused for what they contain.
const REFUSED: &[(&str, &str)] = &[
    ("backing.bz2", "bzip2 -c qcow2-backing-host"),
    ("backing.gz", "gzip -nc qcow2-backing-host"),
    ("backing.lz4", "lz4 -qc qcow2-backing-host"),
    ("backing-legacy.lz4", "lz4 -qlc qcow2-backing-host"),
    ("backing.xz", "xz -c qcow2-backing-host"),
    ("backing.zst", "zstd -qc qcow2-backing-host"),
    ("flat.bz2", "bzip2 -c vmdk-flat"),
    ("far.vmdk.gz", "gzip -nc vmdk-sparse-far"),
    ("far.vmdk.bz2", "bzip2 -c vmdk-sparse-far"),
    ("late.vmdk.zst", "zstd -qc vmdk-text-late"),
    ("gzip.vmdk.xz", "xz -c vmdk-text-gzip"),
    ("parent.vhdx.gz", "gzip -nc vhdx-parent"),
    ("locator.vhdx.xz", "xz -c vhdx-locator"),
    ("one-stream.qcow2.xz", "xz -c empty; xz -c qcow2-backing-host"),
    ("space.qcow2.xz", "xz -c empty; head -c 400000 /dev/zero; xz -c qcow2-backing-host"),
    ("one-stream.qcow2.bz2", "bzip2 -c empty; bzip2 -c qcow2-backing-host"),
    ("one-member.qcow2.gz", "gzip -nc empty; gzip -nc qcow2-backing-host"),
    ("one-frame.qcow2.zst", "zstd -qc empty; zstd -qc qcow2-backing-host"),
    ("one-frame.qcow2.lz4", "lz4 -qc empty; lz4 -qc qcow2-backing-host"),
    ("legacy-frame.qcow2.lz4", "lz4 -qlc empty; lz4 -qlc qcow2-backing-host"),
    ("split.qcow2.gz", "head -c 3 qcow2-backing-host | gzip -nc; tail -c +4 qcow2-backing-host | gzip -nc"),
    ("skip.qcow2.zst", "printf 'P*M\\030\\004\\000\\000\\000abcd'; zstd -qc qcow2-backing-host"),
    ("skip.qcow2.lz4", "printf '_*M\\030\\004\\000\\000\\000abcd'; lz4 -qc qcow2-backing-host"),
    (
        "skip-1M.qcow2.zst",
        "printf 'P*M\\030\\000\\000\\020\\000'; head -c 1048576 /dev/zero; zstd -qc qcow2-backing-host",
    ),
    (
        "name.qcow2.gz",
        "printf '\\037\\213\\010\\010\\000\\000\\000\\000\\000\\003'; head -c 60000 vmdk-text-later | tr '\\n' x; printf '\\000'; gzip -nc qcow2-backing-host | tail -c +11",
    ),
    ("cut.qcow2.xz", "xz -c qcow2-noise | head -c 200"),
    ("cut.qcow2.gz", "gzip -nc qcow2-data | head -c 15"),
    ("short.qcow2.xz", "xz -c qcow2-noise | head -c -2000"),
    ("short.qcow2.zst", "zstd -qc qcow2-noise | head -c -2000"),
    ("short.qcow2.bz2", "bzip2 -c qcow2-noise | head -c -2000"),
    ("short.qcow2.gz", "gzip -nc qcow2-noise | head -c -2000"),
    ("footer.qcow2.xz", "xz -c qcow2-noise | head -c -1"),
    ("invalid.gz", "printf '\\037\\213\\010\\000no deflate data at all'"),
];

/// Compressed files that are refused for the limits of what is decompressed.
const LATE: &[(&str, &str)] = &[
    (
        "name-300K.qcow2.gz",
        "printf '\\037\\213\\010\\010\\000\\000\\000\\000\\000\\003'; head -c 300000 vmdk-text-later | tr '\\n' x; printf '\\000'; gzip -nc qcow2-backing-host | tail -c +11",
    ),
    ("far.vhd.gz", "gzip -nc vhd-far"),
    ("skip-16M.qcow2.zst", "printf 'P*M\\030\\000\\000\\000\\001'; head -c 16777216 /dev/zero; zstd -qc qcow2-data"),
    (
        "streams.qcow2.xz",
        "xz -c empty > e; for i in 1 2 3 4 5 6 7 8 9 10; do cat e e > f; mv f e; done; cat e; xz -c qcow2-data",
    ),
    (
        "streams.qcow2.bz2",
        "bzip2 -c empty > e; for i in 1 2 3 4 5 6 7 8 9 10; do cat e e > f; mv f e; done; cat e; bzip2 -c qcow2-data",
    ),
];

/// A file that a shell command packs from others, which it writes to its output; and why it is refused, if it is.
pub(crate) struct Packed {
    pub(crate) name: &'static str,
    /// How it is made, for the page.
    pub(crate) made: String,
    pub(crate) command: String,
    pub(crate) stricter: Option<&'static str>,
}

/// Compressed files and appliances.
pub(crate) fn packed() -> Vec<Packed> {
    let pack = |name, command: &str, stricter| Packed {
        name,
        made: format!("`{command}`"),
        command: command.to_owned(),
        stricter,
    };
    let mut all: Vec<Packed> =
        ACCEPTED.iter().chain(REFUSED).map(|(name, command)| pack(name, command, None)).collect();
    for (name, command) in LATE {
        all.push(pack(name, command, TOO_LATE));
    }
    let follows = Some("something follows its end");
    all.push(pack("garbage.qcow2.gz", "gzip -nc qcow2-noise; printf garbage", follows));
    all.push(pack("later.vmdk.zst", "zstd -qc vmdk-text-later", Some("other programs may read it")));
    all.push(pack("vhd-parent.xz", "xz -c vhd-differencing", Some("QEMU ignores that it is incomplete")));
    let archive = |name, href: &str, tar: &str, stricter| {
        let made = format!("`tar -c {tar}`; `disk.ovf` refers to `{href}`").replace(&"x".repeat(120), "xxx...");
        Packed { name, made, command: format!("{OVF} {href} > disk.ovf && tar -c --mtime=@1 {tar}"), stricter }
    };
    all.push(archive("one.ova", "vmdk-stream", "--format=ustar disk.ovf vmdk-stream", None));
    all.push(archive("gnu.ova", "vmdk-data", "--format=gnu disk.ovf vmdk-data", None));
    let long = "--transform=s,vmdk-data,a/long/".to_owned() + &"x".repeat(120) + "/vmdk-data, disk.ovf vmdk-data";
    let href = "a/long/".to_owned() + &"x".repeat(120) + "/vmdk-data";
    all.push(archive("pax.ova", &href, &format!("--format=pax {long}"), None));
    all.push(archive("long.ova", &href, &format!("--format=gnu {long}"), None));
    all.push(archive("late.ova", "vmdk-data", "vmdk-data disk.ovf", None));
    all.push(archive("gz.ova", "vmdk.gz", "disk.ovf vmdk.gz", None));
    all.push(archive("disk.tar", "vmdk-flat", "vmdk-flat qcow2-backing-host", None));
    for (name, href, tar) in [
        ("flat.ova", "vmdk-flat", "disk.ovf vmdk-flat"),
        ("unlisted.ova", "vmdk-data", "disk.ovf vmdk-data vmdk-flat"),
        ("late-flat.ova", "vmdk-flat", "vmdk-flat disk.ovf"),
        ("backing.ova", "qcow2-backing-host", "disk.ovf qcow2-backing-host"),
        ("backing-gz.ova", "backing.gz", "disk.ovf backing.gz"),
        ("url.ova", "file:///etc/passwd", "disk.ovf"),
        ("path.ova", "/etc/passwd", "disk.ovf"),
        ("parent.ova", "../vmdk-data", "disk.ovf vmdk-data"),
        ("missing.ova", "missing.vmdk", "disk.ovf vmdk-data"),
        ("link.ova", "link.vmdk", "disk.ovf link.vmdk"),
        ("outside.ova", "vmdk-data", "-P --transform=s,^vmdk-data,../vmdk-data, disk.ovf vmdk-data"),
        ("unfilled.ova", "/etc/passwd", "disk.ovf | head -c 700"),
        ("v7.ova", "vmdk-flat", "--format=v7 disk.ovf vmdk-flat"),
        ("cut.ova", "vmdk-data", "disk.ovf vmdk-data | head -c 20000"),
    ] {
        all.push(archive(name, href, tar, NO_ARCHIVE));
    }
    let doctype = "printf '<!DOCTYPE x SYSTEM \"file:///etc/passwd\"><x/>' > disk.ovf && tar -c --mtime=@1 disk.ovf";
    let made = "`disk.ovf` with `<!DOCTYPE x SYSTEM \"file:///etc/passwd\">`".to_owned();
    all.push(Packed { name: "doctype.ova", made, command: doctype.to_owned(), stricter: NO_ARCHIVE });
    all
}
