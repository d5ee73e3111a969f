//! Names in URLs and manifests, and part numbers.

use crate::text::checked_texts;
use std::{fmt, str::FromStr};

/// The text does not match the pattern of its kind of name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must match {pattern}")]
pub struct InvalidName {
    /// The regular expression that names of this kind match.
    pub pattern: &'static str,
}

/// Checks that a name starts with a letter or digit, of either case if `upper`, that only `inner` are other characters,
/// and that there are at most `max`.
fn check(raw: &str, upper: bool, inner: &[u8], max: usize) -> bool {
    let letter = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || (upper && b.is_ascii_uppercase());
    let bytes = raw.as_bytes();
    bytes.len() <= max && bytes.first().is_some_and(letter) && bytes.iter().all(|b| letter(b) || inner.contains(b))
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident: $pattern:literal, $upper:literal, $inner:literal, $max:literal);* $(;)?) => {
        checked_texts! {$(
            $(#[$doc])*
            $name: InvalidName = |raw| {
                check(raw, $upper, $inner, $max).then_some(()).ok_or(InvalidName { pattern: $pattern })
            };
        )*}

        $(impl $name {
            /// The regular expression that these names match.
            pub const PATTERN: &'static str = $pattern;
        })*
    };
}

names! {
    /// Name of an image.
    ImageName: "^[a-z0-9][a-z0-9._-]{0,127}$", false, b"._-", 128;
    /// Name of a version; unique in its image together with the aliases.
    VersionName: "^[A-Za-z0-9][A-Za-z0-9._+:-]{0,127}$", true, b"._+:-", 128;
    /// Name of an alias; unique in its image together with the versions.
    AliasName: "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", true, b"._-", 64;
    /// Name of a version or an alias, before it is known which.
    RefName: "^[A-Za-z0-9][A-Za-z0-9._+:-]{0,127}$", true, b"._+:-", 128;
    /// Operating system of an artifact, such as `debian`.
    OperatingSystem: "^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$", true, b"._+-", 64;
    /// Architecture of an artifact, such as `amd64`.
    Architecture: "^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$", true, b"._+-", 64;
    /// Variant of an artifact, such as `cloud`.
    Variant: "^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$", true, b"._+-", 64;
    /// Name of a provisioning rule.
    RuleId: "^[a-z0-9][a-z0-9._-]{0,63}$", false, b"._-", 64;
    /// Name of a property of an Incus image.
    PropertyName: "^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$", true, b"._+-", 64;
    /// Name of a file of a version, as it appears in URLs.
    FileName: "^[A-Za-z0-9][A-Za-z0-9._+:-]{0,511}$", true, b"._+:-", 512;
    /// Name of an attachment, such as `incus.tar.xz`.
    AttachmentName: "^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$", true, b"._+-", 64;
}

impl Default for Variant {
    fn default() -> Self {
        Self("default".to_owned())
    }
}

impl Variant {
    /// Whether this is the variant that artifacts have by default.
    pub fn is_default(&self) -> bool {
        self.0 == "default"
    }
}

/// Declares an enum whose values have one textual form each.
macro_rules! string_enum {
    ($(#[$doc:meta])* $name:ident: $expected:literal { $($(#[$vdoc:meta])* $variant:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant),* }

        impl $name {
            /// Every value, in order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The textual form, for clients and catalogs.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::names::UnknownValue;

            fn from_str(raw: &str) -> Result<Self, $crate::names::UnknownValue> {
                Self::ALL.iter().copied().find(|value| value.as_str() == raw)
                    .ok_or($crate::names::UnknownValue { expected: $expected })
            }
        }
    };
}
pub(crate) use string_enum;

/// The text is none of the values of an enum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be {expected}")]
pub struct UnknownValue {
    /// A description of the expected values.
    pub expected: &'static str,
}

string_enum! {
    /// Format of the bytes of an artifact, and its file extension.
    Format: "one of raw, raw.gz, raw.xz, raw.zst, qcow2, qcow2.gz, qcow2.xz, qcow2.zst, iso, iso.gz, iso.xz, \
        iso.zst, vmdk, vmdk.gz, vmdk.xz, vmdk.zst, vhd, vhdx, vdi, ova, squashfs, root.tar.gz, root.tar.xz, \
        root.tar.zst, tar, tar.gz, tar.xz, tar.zst, kernel, initrd, efi" {
        /// A raw disk.
        Raw = "raw",
        /// A raw disk, gzip.
        RawGz = "raw.gz",
        /// A raw disk, xz.
        RawXz = "raw.xz",
        /// A raw disk, Zstandard.
        RawZst = "raw.zst",
        /// QEMU copy-on-write, version 2 or 3.
        Qcow2 = "qcow2",
        /// A qcow2, gzip.
        Qcow2Gz = "qcow2.gz",
        /// A qcow2, xz.
        Qcow2Xz = "qcow2.xz",
        /// A qcow2, Zstandard.
        Qcow2Zst = "qcow2.zst",
        /// ISO 9660.
        Iso = "iso",
        /// An ISO 9660, gzip.
        IsoGz = "iso.gz",
        /// An ISO 9660, xz.
        IsoXz = "iso.xz",
        /// An ISO 9660, Zstandard.
        IsoZst = "iso.zst",
        /// `VMware` disk.
        Vmdk = "vmdk",
        /// A `VMware` disk, gzip.
        VmdkGz = "vmdk.gz",
        /// A `VMware` disk, xz.
        VmdkXz = "vmdk.xz",
        /// A `VMware` disk, Zstandard.
        VmdkZst = "vmdk.zst",
        /// Virtual PC and Azure disk.
        Vhd = "vhd",
        /// Hyper-V disk.
        Vhdx = "vhdx",
        /// `VirtualBox` disk.
        Vdi = "vdi",
        /// A virtual appliance: OVF and disks in a tarball.
        Ova = "ova",
        /// A `SquashFS` root file system.
        Squashfs = "squashfs",
        /// A root file system as a gzip tarball.
        RootTarGz = "root.tar.gz",
        /// A root file system as an xz tarball.
        RootTarXz = "root.tar.xz",
        /// A root file system as a Zstandard tarball.
        RootTarZst = "root.tar.zst",
        /// Another tarball.
        Tar = "tar",
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

/// Number of a part of an upload: 1 to 10000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartNumber(u16);

/// The number is not a part number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a part number from 1 to 10000")]
pub struct InvalidPartNumber;

impl PartNumber {
    /// The number of the first part.
    pub const FIRST: Self = Self(1);
    /// The greatest part number.
    pub const MAX: u16 = 10_000;

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }

    /// The next number; `None` after the greatest.
    pub fn next(self) -> Option<Self> {
        (self.0 < Self::MAX).then(|| Self(self.0 + 1))
    }

    /// The previous number; `None` before the first.
    pub fn previous(self) -> Option<Self> {
        (self.0 > 1).then(|| Self(self.0 - 1))
    }
}

impl TryFrom<i64> for PartNumber {
    type Error = InvalidPartNumber;

    fn try_from(raw: i64) -> Result<Self, InvalidPartNumber> {
        match u16::try_from(raw) {
            Ok(number @ 1..=Self::MAX) => Ok(Self(number)),
            _ => Err(InvalidPartNumber),
        }
    }
}

impl FromStr for PartNumber {
    type Err = InvalidPartNumber;

    fn from_str(raw: &str) -> Result<Self, InvalidPartNumber> {
        let canonical = !raw.starts_with('0') && raw.bytes().all(|b| b.is_ascii_digit());
        if !canonical {
            return Err(InvalidPartNumber);
        }
        raw.parse::<i64>().map_err(|_| InvalidPartNumber)?.try_into()
    }
}

impl fmt::Display for PartNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_their_patterns() {
        assert!("debian-bookworm".parse::<ImageName>().is_ok());
        assert!("x".repeat(128).parse::<ImageName>().is_ok());
        for bad in ["", "A", "-a", ".a", "a/b", "a\0", "a\n", "\u{e9}", &"x".repeat(129)] {
            assert!(bad.parse::<ImageName>().is_err(), "{bad:?}");
        }
        assert!("2024:01+x-1".parse::<VersionName>().is_ok());
        assert!("a:b".parse::<AliasName>().is_err());
        assert!("incus.tar.xz".parse::<AttachmentName>().is_ok());
        assert!("..".parse::<AttachmentName>().is_err());
    }

    #[test]
    fn part_numbers_have_one_spelling() {
        assert_eq!("10000".parse::<PartNumber>().map(PartNumber::get), Ok(10_000));
        for bad in ["0", "01", "+1", "-1", "10001", "1.0", "", "99999999999999999999"] {
            assert!(bad.parse::<PartNumber>().is_err(), "{bad}");
        }
    }
}
