//! Detects what firmware and boot loaders start: kernels, initial RAM disks and EFI programs.

use crate::{fields::Fields, format::Contents};

/// `HdrS`, after the jump of the setup code (`Documentation/arch/x86/boot.rst` of Linux).
const X86: (usize, &[u8]) = (0x202, b"HdrS");
/// Headers of kernel images of other architectures: arm64, riscv64, loongarch64, arm, s390x.
const OTHERS: [(usize, &[u8]); 5] = [
    (0x38, b"ARM\x64"),
    (0x38, b"RSC\x05"),
    (0x38, b"\xcd\x23\x82\x81"),
    (0x24, b"\x18\x28\x6f\x01"),
    (0x1_0008, b"S390EP"),
];
/// A compressed kernel with an EFI stub (`drivers/firmware/efi/libstub/zboot-header.S`).
const ZBOOT: (usize, &[u8]) = (4, b"zimg");
/// Subsystem of an EFI application in the optional header of a PE.
const EFI_APPLICATION: u16 = 10;
const MAX_SECTIONS: u16 = 96;
/// Magic numbers of cpio: `newc`, and with checksums.
const CPIO: [&[u8]; 2] = [b"070701", b"070702"];

/// What the bytes at the start of a file boot, if anything.
pub(crate) fn detect(head: &Fields) -> Option<Contents> {
    let has = |(at, magic): (usize, &[u8])| head.has(at, magic);
    if CPIO.iter().any(|magic| head.has(0, magic)) {
        return Some(Contents::Initrd);
    }
    let pe = Pe::read(head);
    // A unified kernel image is a PE that contains a kernel.
    if pe.as_ref().is_some_and(|pe| pe.has_section(b".linux")) {
        return Some(Contents::Efi);
    }
    let is_stub = head.has(0, b"MZ") && has(ZBOOT);
    // ELF of the class, byte order and machine (21) of a ppc64el `vmlinux`.
    let is_ppc64 = head.has(0, b"\x7fELF\x02") && (head.has(18, &[21, 0]) || head.has(18, &[0, 21]));
    if has(X86) || OTHERS.into_iter().any(has) || is_stub || is_ppc64 {
        return Some(Contents::Kernel);
    }
    pe.filter(|pe| pe.subsystem == EFI_APPLICATION).map(|_| Contents::Efi)
}

/// The header of a PE.
struct Pe<'a> {
    head: &'a Fields,
    subsystem: u16,
    sections_at: usize,
    sections: u16,
}

impl<'a> Pe<'a> {
    fn read(head: &'a Fields) -> Option<Self> {
        let at = usize::try_from(head.le32(0x3c)).ok()?;
        if !head.has(0, b"MZ") || !head.has(at, b"PE\0\0") {
            return None;
        }
        let optional = at.checked_add(24)?;
        Some(Self {
            head,
            subsystem: head.le16(optional.checked_add(68)?),
            sections_at: optional.checked_add(head.le16(at + 20).into())?,
            sections: head.le16(at + 6).min(MAX_SECTIONS),
        })
    }

    fn has_section(&self, name: &[u8]) -> bool {
        let mut names = (0..usize::from(self.sections)).map(|index| self.sections_at.saturating_add(40 * index));
        names.any(|at| {
            let found: [u8; 8] = self.head.bytes(at);
            found.split(|byte| *byte == 0).next() == Some(name)
        })
    }
}
