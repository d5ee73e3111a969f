//! Architectures and their spellings: all names that Incus has for them (`shared/osarch/architectures.go`), and those
//! that file names and other tools use.

use std::{fmt, str::FromStr};

/// An architecture that Incus runs images on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IncusArchitecture(usize);

/// Incus knows no architecture of that name, and ignores images for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Incus does not support the architecture {0}")]
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

/// Spellings that Incus does not know.
const OTHER_SPELLINGS: &[(&str, &str)] =
    &[("x64", "amd64"), ("x86-64", "amd64"), ("armv8", "arm64"), ("s390", "s390x")];

/// The usual name of an architecture, that of Debian and of image servers: `amd64` for `x86_64`, `arm64` for `aarch64`,
/// in any case of letters. `None` for an architecture that is not known.
pub fn usual_name(raw: &str) -> Option<&'static str> {
    let raw = raw.to_ascii_lowercase();
    let other = OTHER_SPELLINGS.iter().find(|(spelling, _)| *spelling == raw).map(|(_, usual)| *usual);
    other.or_else(|| raw.parse::<IncusArchitecture>().ok().map(IncusArchitecture::stream_name))
}

/// Whether two spellings are of the same architecture; unknown ones are compared as strings.
pub fn is_same(one: &str, other: &str) -> bool {
    one == other || usual_name(one).is_some_and(|usual| usual_name(other) == Some(usual))
}

/// Every spelling of every architecture, with its usual name.
fn all_spellings() -> impl Iterator<Item = (&'static str, &'static str)> {
    let named = NAMES.iter().flat_map(|(kernel, stream, others)| {
        [kernel, stream].into_iter().chain(*others).map(move |spelling| (*spelling, *stream))
    });
    named.chain(OTHER_SPELLINGS.iter().copied())
}

/// `text` with other spellings of the architecture that it begins with, if it begins with one that is followed by `.` or `-`,
/// as in `amd64-cloud.qcow2`.
pub fn respelled(text: &str) -> impl Iterator<Item = String> {
    let ends = |rest: &str| rest.starts_with(['.', '-']);
    all_spellings()
        .filter_map(move |(spelling, usual)| Some((text.strip_prefix(spelling).filter(|rest| ends(rest))?, usual)))
        .flat_map(|(rest, usual)| {
            let same = all_spellings().filter(move |(_, name)| *name == usual);
            same.map(move |(spelling, _)| format!("{spelling}{rest}"))
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_has_one_usual_name() {
        for (spelling, usual) in [
            ("x86_64", Some("amd64")),
            ("X64", Some("amd64")),
            ("aarch64", Some("arm64")),
            ("ARM64", Some("arm64")),
            ("armv7l", Some("armhf")),
            ("ppc64le", Some("ppc64el")),
            ("i686", Some("i386")),
            ("potato", None),
        ] {
            assert_eq!(usual_name(spelling), usual, "{spelling}");
        }
        assert!(respelled("x86_64-cloud.qcow2").any(|name| name == "amd64-cloud.qcow2"));
        assert!(respelled("x86-64.raw").any(|name| name == "x86_64.raw"));
        assert!(respelled("aarch64.raw").all(|name| name.contains("raw") && !name.contains("amd64")));
        assert_eq!(respelled("x86_64").chain(respelled("amd64k.raw")).chain(respelled("potato.raw")).count(), 0);
        assert!(is_same("x86_64", "amd64") && is_same("potato", "potato") && !is_same("amd64", "arm64"));
    }
}
