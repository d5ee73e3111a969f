//! Architectures and all names that Incus has for them (`shared/osarch/architectures.go`).

use std::{fmt, str::FromStr};

/// An architecture that Incus runs images on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IncusArchitecture(usize);

/// Incus knows no architecture of that name, and ignores images for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not an architecture that Incus knows")]
pub struct UnknownArchitecture(pub String);

/// Name in the kernel, name on image servers, and other names.
const NAMES: &[(&str, &str, &[&str])] = &[
    ("i686", "i386", &["i586", "386", "x86", "generic_32"]),
    ("x86_64", "amd64", &["generic_64"]),
    ("armv6l", "armel", &["arm"]),
    ("armv7l", "armhf", &["armhfp", "armv7a_hardfp", "armv7", "armv7a_vfpv3_hardfp"]),
    ("armv8l", "armv8l", &[]),
    ("aarch64", "arm64", &["arm64_generic"]),
    ("ppc", "powerpc", &[]),
    ("ppc64", "powerpc64", &[]),
    ("ppc64le", "ppc64el", &[]),
    ("s390x", "s390x", &[]),
    ("mips", "mipsel", &["mipsle"]),
    ("mips64", "mips64el", &["mips64le"]),
    ("riscv32", "riscv32", &[]),
    ("riscv64", "riscv64", &[]),
    ("loongarch64", "loongarch64", &["loong64"]),
];

impl IncusArchitecture {
    /// Every architecture.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..NAMES.len()).map(Self)
    }

    /// Its name in metadata, that of the kernel: `x86_64`.
    pub const fn kernel_name(self) -> &'static str {
        NAMES[self.0].0
    }

    /// Its name in streams, usually that of Debian: `amd64`.
    pub const fn stream_name(self) -> &'static str {
        NAMES[self.0].1
    }
}

impl FromStr for IncusArchitecture {
    type Err = UnknownArchitecture;

    fn from_str(raw: &str) -> Result<Self, UnknownArchitecture> {
        let is_named = |(kernel, stream, others): &(&str, &str, &[&str])| {
            raw == *kernel || raw == *stream || others.contains(&raw)
        };
        NAMES.iter().position(is_named).map(Self).ok_or_else(|| UnknownArchitecture(raw.to_owned()))
    }
}

impl fmt::Display for IncusArchitecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.stream_name())
    }
}
