//! The formats that artifacts can have.

use crate::enums::string_enum;

string_enum! {
    /// Format of the bytes of an artifact, and its file extension.
    Format: "raw, qcow2, iso, vmdk, vhd, vhdx, vdi or tar, each also followed by .bz2, .gz, .xz or .zst; or \
        root.tar.bz2, root.tar.gz, root.tar.xz, root.tar.zst, ova, squashfs, kernel, initrd or efi" {
        /// A raw disk.
        Raw = "raw",
        /// A raw disk, bzip2.
        RawBz2 = "raw.bz2",
        /// A raw disk, gzip.
        RawGz = "raw.gz",
        /// A raw disk, xz.
        RawXz = "raw.xz",
        /// A raw disk, Zstandard.
        RawZst = "raw.zst",
        /// QEMU copy-on-write, version 2 or 3.
        Qcow2 = "qcow2",
        /// A qcow2, bzip2.
        Qcow2Bz2 = "qcow2.bz2",
        /// A qcow2, gzip.
        Qcow2Gz = "qcow2.gz",
        /// A qcow2, xz.
        Qcow2Xz = "qcow2.xz",
        /// A qcow2, Zstandard.
        Qcow2Zst = "qcow2.zst",
        /// ISO 9660.
        Iso = "iso",
        /// An ISO 9660, bzip2.
        IsoBz2 = "iso.bz2",
        /// An ISO 9660, gzip.
        IsoGz = "iso.gz",
        /// An ISO 9660, xz.
        IsoXz = "iso.xz",
        /// An ISO 9660, Zstandard.
        IsoZst = "iso.zst",
        /// `VMware` disk.
        Vmdk = "vmdk",
        /// A `VMware` disk, bzip2.
        VmdkBz2 = "vmdk.bz2",
        /// A `VMware` disk, gzip.
        VmdkGz = "vmdk.gz",
        /// A `VMware` disk, xz.
        VmdkXz = "vmdk.xz",
        /// A `VMware` disk, Zstandard.
        VmdkZst = "vmdk.zst",
        /// Virtual PC and Azure disk.
        Vhd = "vhd",
        /// A Virtual PC and Azure disk, bzip2.
        VhdBz2 = "vhd.bz2",
        /// A Virtual PC and Azure disk, gzip.
        VhdGz = "vhd.gz",
        /// A Virtual PC and Azure disk, xz.
        VhdXz = "vhd.xz",
        /// A Virtual PC and Azure disk, Zstandard.
        VhdZst = "vhd.zst",
        /// Hyper-V disk.
        Vhdx = "vhdx",
        /// A Hyper-V disk, bzip2.
        VhdxBz2 = "vhdx.bz2",
        /// A Hyper-V disk, gzip.
        VhdxGz = "vhdx.gz",
        /// A Hyper-V disk, xz.
        VhdxXz = "vhdx.xz",
        /// A Hyper-V disk, Zstandard.
        VhdxZst = "vhdx.zst",
        /// `VirtualBox` disk.
        Vdi = "vdi",
        /// A `VirtualBox` disk, bzip2.
        VdiBz2 = "vdi.bz2",
        /// A `VirtualBox` disk, gzip.
        VdiGz = "vdi.gz",
        /// A `VirtualBox` disk, xz.
        VdiXz = "vdi.xz",
        /// A `VirtualBox` disk, Zstandard.
        VdiZst = "vdi.zst",
        /// A virtual appliance: OVF and disks in a tarball.
        Ova = "ova",
        /// A `SquashFS` root file system.
        Squashfs = "squashfs",
        /// A root file system as a tarball, bzip2.
        RootTarBz2 = "root.tar.bz2",
        /// A root file system as a tarball, gzip.
        RootTarGz = "root.tar.gz",
        /// A root file system as a tarball, xz.
        RootTarXz = "root.tar.xz",
        /// A root file system as a tarball, Zstandard.
        RootTarZst = "root.tar.zst",
        /// Another tarball.
        Tar = "tar",
        /// Another tarball, bzip2.
        TarBz2 = "tar.bz2",
        /// Another tarball, gzip.
        TarGz = "tar.gz",
        /// Another tarball, xz.
        TarXz = "tar.xz",
        /// Another tarball, Zstandard.
        TarZst = "tar.zst",
        /// A kernel of Linux.
        Kernel = "kernel",
        /// An initial RAM disk.
        Initrd = "initrd",
        /// An EFI program, such as a unified kernel image.
        Efi = "efi",
    }
}
