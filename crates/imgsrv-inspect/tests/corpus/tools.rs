//! Files that `qemu-img` and tools for archives make.

/// The name of a file, and the arguments of `qemu-img` that make it; several calls are separated by ` && `.
pub(crate) const MADE: &[(&str, &str)] = &[
    ("qcow", "create -f qcow qcow 1M"),
    ("qcow-data", "convert -f raw -O qcow data.raw qcow-data"),
    ("qcow-large", "create -f qcow qcow-large 1T"),
    ("qcow-backing", "create -f qcow -b data.raw -F raw qcow-backing"),
    ("qcow-backing-host", "create -u -f qcow -b /etc/passwd -F raw qcow-backing-host 1M"),
    ("qcow-aes", "create --object secret,id=s,data=x -f qcow -o encrypt.format=aes,encrypt.key-secret=s qcow-aes 1M"),
    ("qcow2", "create -f qcow2 qcow2 1M"),
    ("qcow2-data", "convert -f raw -O qcow2 data.raw qcow2-data"),
    ("qcow2-noise", "convert -f raw -O qcow2 noise.raw qcow2-noise"),
    ("qcow2-empty", "create -f qcow2 qcow2-empty 0"),
    ("qcow2-v2", "create -f qcow2 -o compat=0.10 qcow2-v2 1M"),
    ("qcow2-v2-compressed", "convert -c -f raw -O qcow2 -o compat=0.10 data.raw qcow2-v2-compressed"),
    ("qcow2-compressed", "convert -c -f raw -O qcow2 data.raw qcow2-compressed"),
    ("qcow2-zstd", "convert -c -f raw -O qcow2 -o compression_type=zstd data.raw qcow2-zstd"),
    ("qcow2-512", "convert -f raw -O qcow2 -o cluster_size=512 data.raw qcow2-512"),
    ("qcow2-4k", "convert -f raw -O qcow2 -o cluster_size=4k data.raw qcow2-4k"),
    ("qcow2-2M", "create -f qcow2 -o cluster_size=2M qcow2-2M 4T"),
    ("qcow2-extended", "create -f qcow2 -o extended_l2=on,cluster_size=128k qcow2-extended 10G"),
    ("qcow2-lazy", "create -f qcow2 -o lazy_refcounts=on qcow2-lazy 1M"),
    ("qcow2-refcount-1", "create -f qcow2 -o refcount_bits=1 qcow2-refcount-1 1M"),
    ("qcow2-refcount-64", "create -f qcow2 -o refcount_bits=64 qcow2-refcount-64 1M"),
    ("qcow2-metadata", "create -f qcow2 -o preallocation=metadata qcow2-metadata 8M"),
    ("qcow2-full", "create -f qcow2 -o preallocation=full,cluster_size=512 qcow2-full 8M"),
    ("qcow2-snapshot", "convert -f raw -O qcow2 data.raw qcow2-snapshot && snapshot -c one qcow2-snapshot"),
    ("qcow2-bitmap", "create -f qcow2 qcow2-bitmap 1M && bitmap --add qcow2-bitmap one"),
    ("qcow2-backing", "create -f qcow2 -b data.raw -F raw qcow2-backing"),
    ("qcow2-backing-v2", "create -f qcow2 -o compat=0.10 -b data.raw -F raw qcow2-backing-v2"),
    ("qcow2-backing-qcow2", "create -f qcow2 -b qcow2 -F qcow2 qcow2-backing-qcow2"),
    ("qcow2-backing-host", "create -u -f qcow2 -b /etc/passwd -F raw qcow2-backing-host 1M"),
    (
        "qcow2-backing-json",
        "create -u -f qcow2 -b json:{\"driver\":\"file\",\"filename\":\"/etc/passwd\"} -F raw qcow2-backing-json 1M",
    ),
    ("qcow2-backing-nbd", "create -u -f qcow2 -b nbd://localhost/x -F raw qcow2-backing-nbd 1M"),
    ("qcow2-backing-control", "create -u -f qcow2 -b a\nb\u{1b}[31m\u{202e}c -F raw qcow2-backing-control 1M"),
    ("qcow2-rebased", "create -f qcow2 -b data.raw -F raw qcow2-rebased && rebase -u -b  qcow2-rebased"),
    ("qcow2-data-file", "create -f qcow2 -o data_file=external.raw qcow2-data-file 1M"),
    ("qcow2-data-file-raw", "create -f qcow2 -o data_file=external2.raw,data_file_raw=on qcow2-data-file-raw 1M"),
    (
        "qcow2-aes",
        "create --object secret,id=s,data=x -f qcow2 -o encrypt.format=aes,encrypt.key-secret=s qcow2-aes 1M",
    ),
    (
        "qcow2-luks",
        "create --object secret,id=s,data=x -f qcow2 -o encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10 qcow2-luks 1M",
    ),
    ("qed", "create -f qed qed 1M"),
    ("qed-data", "convert -f raw -O qed data.raw qed-data"),
    ("qed-16k", "convert -f raw -O qed -o cluster_size=16k,table_size=2 data.raw qed-16k"),
    ("qed-1M", "create -f qed -o cluster_size=1M,table_size=2 qed-1M 1T"),
    ("qed-table-16", "convert -f raw -O qed -o table_size=16 data.raw qed-table-16"),
    ("qed-backing", "create -f qed -b data.raw -F raw qed-backing"),
    ("qed-backing-probed", "create -f qed -b qcow2 -F qcow2 qed-backing-probed"),
    ("qed-backing-host", "create -u -f qed -b /etc/passwd -F raw qed-backing-host 1M"),
    ("qed-rebased", "create -f qed -b data.raw -F raw qed-rebased && rebase -u -b  qed-rebased"),
    ("vmdk", "create -f vmdk vmdk 1M"),
    ("vmdk-data", "convert -f raw -O vmdk data.raw vmdk-data"),
    ("vmdk-large", "create -f vmdk vmdk-large 64G"),
    ("vmdk-scsi", "convert -f raw -O vmdk -o adapter_type=lsilogic,compat6=on data.raw vmdk-scsi"),
    ("vmdk-zeroed-grain", "convert -f raw -O vmdk -o zeroed_grain=on data.raw vmdk-zeroed-grain"),
    ("vmdk-stream", "convert -f raw -O vmdk -o subformat=streamOptimized data.raw vmdk-stream"),
    ("vmdk-flat", "convert -f raw -O vmdk -o subformat=monolithicFlat data.raw vmdk-flat"),
    ("vmdk-2gb-sparse", "convert -f raw -O vmdk -o subformat=twoGbMaxExtentSparse data.raw vmdk-2gb-sparse"),
    ("vmdk-2gb-flat", "convert -f raw -O vmdk -o subformat=twoGbMaxExtentFlat data.raw vmdk-2gb-flat"),
    ("vmdk-2gb-several", "create -f vmdk -o subformat=twoGbMaxExtentSparse vmdk-2gb-several 5G"),
    ("vmdk-parent", "create -f vmdk -b vmdk -F vmdk vmdk-parent"),
    (
        "vmdk-parent-flat",
        "create -f vmdk -o subformat=monolithicFlat base-flat 1M && create -f vmdk -b base-flat -F vmdk vmdk-parent-flat",
    ),
    ("vhdx", "create -f vhdx vhdx 1M"),
    ("vhdx-data", "convert -f raw -O vhdx data.raw vhdx-data"),
    ("vhdx-fixed", "convert -f raw -O vhdx -o subformat=fixed data.raw vhdx-fixed"),
    ("vhdx-1M", "convert -f raw -O vhdx -o block_size=1M data.raw vhdx-1M"),
    ("vhdx-256M", "create -f vhdx -o block_size=256M vhdx-256M 64T"),
    ("vhdx-log-2M", "create -f vhdx -o log_size=2M vhdx-log-2M 10G"),
    ("vhdx-zero-off", "create -f vhdx -o block_state_zero=off vhdx-zero-off 10G"),
    ("vhd", "create -f vpc vhd 1M"),
    ("vhd-data", "convert -f raw -O vpc data.raw vhd-data"),
    ("vhd-large", "create -f vpc vhd-large 1T"),
    ("vhd-exact", "convert -f raw -O vpc -o force_size=on data.raw vhd-exact"),
    ("vhd-fixed", "convert -f raw -O vpc -o subformat=fixed data.raw vhd-fixed"),
    ("vhd-fixed-exact", "convert -f raw -O vpc -o subformat=fixed,force_size=on data.raw vhd-fixed-exact"),
    ("vdi", "create -f vdi vdi 1M"),
    ("vdi-data", "convert -f raw -O vdi data.raw vdi-data"),
    ("vdi-static", "convert -f raw -O vdi -o static=on data.raw vdi-static"),
    ("vdi-large", "create -f vdi vdi-large 1T"),
    ("parallels", "create -f parallels parallels 1M"),
    ("parallels-data", "convert -f raw -O parallels data.raw parallels-data"),
    ("parallels-64k", "convert -f raw -O parallels -o cluster_size=64k data.raw parallels-64k"),
    ("parallels-large", "create -f parallels parallels-large 1T"),
    ("luks", "create --object secret,id=s,data=x -f luks -o key-secret=s,iter-time=10 luks 1M"),
    ("raw", "create -f raw raw 1M"),
    ("raw-data", "convert -f raw -O raw data.raw raw-data"),
];

/// Which of them are cut off, after how many bytes; negative from the end.
pub(crate) const CUTS: &[(&str, &[i64])] = &[
    ("qcow-data", &[3, 47, 49, 600, 5000, 100_000]),
    ("qcow2-data", &[3, 71, 103, 110, 600, 70_000, 200_000, -70_000]),
    ("qcow2-snapshot", &[200_000, -66_000]),
    ("qed-data", &[3, 63, 600, 70_000, 300_000, 500_000]),
    ("vmdk-data", &[3, 78, 600, 1400, 20_000, 60_000]),
    ("vmdk-stream", &[3, 78, 600, 5000, -600, -2000]),
    ("vhdx-data", &[7, 600, 66_000, 130_000, 200_000, 1_100_000, 2_200_000, 3_200_000]),
    ("vhd-data", &[7, 60, 511, 600, 1500, 2000, 100_000, -600]),
    ("vhd-fixed", &[600, -100, -512]),
    ("vdi-data", &[68, 480, 513, 1000, 1_100_000]),
    ("parallels-data", &[15, 63, 66, 600, 1_100_000]),
    ("luks", &[5, 100, 600, 5000]),
];

const NO_ARCHIVE: Option<&str> = Some("QEMU does not read archives");
const TOO_LATE: Option<&str> = Some("the limits of what is decompressed");
const OVF: &str = r#"printf '<Envelope xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"><References><File ovf:href="%s" ovf:id="f"/></References></Envelope>'"#;

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
    let compressed = [
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
        ("garbage.qcow2.gz", "gzip -nc qcow2-data; printf garbage"),
        ("v7disk.tar.xz", "tar --format=v7 --mtime=@1 -c vmdk-data | xz"),
        ("v7disk.tar", "tar --format=v7 --mtime=@1 -c vmdk-data"),
    ];
    let mut all: Vec<Packed> = compressed.into_iter().map(|(name, command)| pack(name, command, None)).collect();
    let refused = [
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
        ("invalid.gz", "printf '\\037\\213\\010\\000no deflate data at all'"),
    ];
    all.extend(refused.into_iter().map(|(name, command)| pack(name, command, None)));
    for (name, command) in [
        (
            "name-300K.qcow2.gz",
            "printf '\\037\\213\\010\\010\\000\\000\\000\\000\\000\\003'; head -c 300000 vmdk-text-later | tr '\\n' x; printf '\\000'; gzip -nc qcow2-backing-host | tail -c +11",
        ),
        ("far.vhd.gz", "gzip -nc vhd-far"),
        (
            "skip-16M.qcow2.zst",
            "printf 'P*M\\030\\000\\000\\000\\001'; head -c 16777216 /dev/zero; zstd -qc qcow2-data",
        ),
        (
            "streams.qcow2.xz",
            "xz -c empty > e; for i in 1 2 3 4 5 6 7 8 9 10; do cat e e > f; mv f e; done; cat e; xz -c qcow2-data",
        ),
        (
            "streams.qcow2.bz2",
            "bzip2 -c empty > e; for i in 1 2 3 4 5 6 7 8 9 10; do cat e e > f; mv f e; done; cat e; bzip2 -c qcow2-data",
        ),
    ] {
        all.push(pack(name, command, TOO_LATE));
    }
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
