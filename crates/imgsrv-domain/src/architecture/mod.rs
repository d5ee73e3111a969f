//! The one table of architectures and their spellings: all names that Incus has for them
//! (`shared/osarch/architectures.go`), and those of Debian, RPM, systemd, Docker and file names.

mod file_name;

use crate::names::Architecture;
pub use file_name::{InFileName, in_file_name};
use std::{borrow::Cow, fmt, str::FromStr};

/// An architecture and its names.
struct Row {
    /// The name in URLs, streams and file names that the tools make, usually that of Debian.
    usual: &'static str,
    /// The name in metadata of Incus, that of the kernel; absent if Incus does not know the architecture.
    incus: Option<&'static str>,
    /// Further names that Incus accepts.
    known_to_incus: &'static [&'static str],
    /// Further names that it does not accept.
    others: &'static [&'static str],
}

const fn row(
    usual: &'static str,
    incus: Option<&'static str>,
    known_to_incus: &'static [&'static str],
    others: &'static [&'static str],
) -> Row {
    Row { usual, incus, known_to_incus, others }
}

const TABLE: &[Row] = &[
    row("amd64", Some("x86_64"), &["generic_64"], &["x86-64", "x64", "em64t"]),
    row("i386", Some("i686"), &["i586", "386", "x86", "generic_32"], &["i486", "ia32", "x86_32"]),
    row("arm64", Some("aarch64"), &["arm64_generic"], &["armv8", "arm64v8"]),
    row(
        "armhf",
        Some("armv7l"),
        &["armhfp", "armv7a_hardfp", "armv7", "armv7a_vfpv3_hardfp"],
        &["armv7a", "armv7hl", "armv7hnl", "arm32v7"],
    ),
    row("armel", Some("armv6l"), &["arm"], &["armv5", "armv5te", "armv5tel", "armv6", "arm32v5", "arm32v6", "armv6hl"]),
    row("armv8l", Some("armv8l"), &[], &[]),
    row("powerpc", Some("ppc"), &[], &[]),
    row("ppc64", Some("ppc64"), &["powerpc64"], &[]),
    row("ppc64el", Some("ppc64le"), &[], &["ppc64-le", "powerpc64le", "powerpc64el"]),
    row("s390x", Some("s390x"), &[], &[]),
    // The kernel has one name for both orders of bytes, and Incus has that of the kernel. Elsewhere it is big-endian.
    row("mipsel", Some("mips"), &["mipsle"], &["mips-le"]),
    row("mips64el", Some("mips64"), &["mips64le"], &["mips64-le"]),
    row("riscv32", Some("riscv32"), &[], &["rv32"]),
    row("riscv64", Some("riscv64"), &[], &["riscv64gc", "rv64", "rv64gc"]),
    row("loongarch64", Some("loongarch64"), &["loong64"], &[]),
    // Those that Incus does not know.
    row("aarch64_be", None, &[], &["arm64be", "arm64-be"]),
    row("alpha", None, &[], &[]),
    row("arc", None, &[], &[]),
    row("armeb", None, &[], &["armebv7r"]),
    row("csky", None, &[], &[]),
    row("e2k", None, &[], &["elbrus"]),
    row("hexagon", None, &[], &[]),
    row("hppa", None, &[], &["parisc"]),
    row("hppa64", None, &[], &["parisc64"]),
    row("ia64", None, &[], &["itanium"]),
    row("m68k", None, &[], &[]),
    row("microblaze", None, &[], &[]),
    row("microblazeel", None, &[], &[]),
    // Big-endian, as Debian, QEMU and OpenWrt use the name.
    row("mips", None, &[], &["mipseb"]),
    row("mips64", None, &[], &["mips64eb"]),
    row("nios2", None, &[], &[]),
    row("or1k", None, &[], &["openrisc"]),
    row("powerpcspe", None, &[], &["ppcspe"]),
    row("s390", None, &[], &[]),
    row("sh4", None, &[], &[]),
    row("sh4eb", None, &[], &[]),
    row("sparc", None, &[], &[]),
    row("sparc64", None, &[], &["sparcv9", "ultrasparc"]),
    row("x32", None, &[], &[]),
    row("xtensa", None, &[], &[]),
    row("xtensaeb", None, &[], &[]),
];

impl Row {
    /// All names, the usual one first.
    fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        let further = self.known_to_incus.iter().chain(self.others).copied();
        // That of the kernel is perhaps the usual name of another one.
        let is_of_another = |name: &&str| TABLE.iter().any(|row| row.usual == *name && row.usual != self.usual);
        [self.usual].into_iter().chain(self.incus.filter(|name| !is_of_another(name))).chain(further)
    }
}

/// Every name of every architecture, with its usual name.
fn all_names() -> impl Iterator<Item = (&'static str, &'static str)> {
    TABLE.iter().flat_map(|row| row.names().map(|name| (name, row.usual)))
}

/// The usual name of an architecture, that of Debian and of image servers: `amd64` for `x86_64`, `arm64` for `aarch64`,
/// in any case of letters. `None` for an architecture that is not known.
pub fn usual_name(raw: &str) -> Option<&'static str> {
    all_names().find(|(name, _)| name.eq_ignore_ascii_case(raw)).map(|(_, usual)| usual)
}

/// The name by which an architecture is compared: the usual one; of an architecture that is not known, its own in
/// lowercase.
pub fn canonical_name(raw: &str) -> Cow<'static, str> {
    usual_name(raw).map_or_else(|| raw.to_ascii_lowercase().into(), Into::into)
}

impl Architecture {
    /// The same architecture by its [`canonical_name`].
    #[must_use]
    pub fn canonical(&self) -> Self {
        canonical_name(self.as_str()).parse().unwrap_or_else(|_| self.clone())
    }

    /// Every spelling of it in lowercase.
    pub fn spellings(&self) -> impl Iterator<Item = String> {
        let canonical = canonical_name(self.as_str());
        let known: Vec<String> =
            all_names().filter(|(_, usual)| *usual == canonical).map(|(name, _)| name.to_ascii_lowercase()).collect();
        let own = Some(canonical.into_owned()).filter(|_| known.is_empty());
        known.into_iter().chain(own)
    }
}

/// The architectures that a name may mean, if they are several: programs do not agree on `arm`. Incus uses it for the
/// older kind, Docker and QEMU for both.
pub fn several(raw: &str) -> &'static [&'static str] {
    if raw.eq_ignore_ascii_case("arm") { &["armel", "armhf"] } else { &[] }
}

/// The usual names of all architectures.
pub fn usual_names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|row| row.usual)
}

/// Whether two spellings are of the same architecture; unknown ones are compared as strings, in any case of letters.
pub fn is_same(one: &str, other: &str) -> bool {
    canonical_name(one) == canonical_name(other)
}

/// The usual name of the architecture that `text` begins with, in any case of letters, and the rest, if that begins with
/// `.` or `-`, as in `amd64-cloud.qcow2`.
pub fn at_start(text: &str) -> Option<(&'static str, &str)> {
    all_names()
        .filter_map(|(name, usual)| {
            let (start, rest) = text.split_at_checked(name.len())?;
            (start.eq_ignore_ascii_case(name) && rest.starts_with(['.', '-'])).then_some((usual, rest))
        })
        // Of `x86` and `x86-64`, the longer one.
        .min_by_key(|(_, rest)| rest.len())
}

/// An architecture that Incus runs images on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IncusArchitecture {
    at: usize,
    kernel_name: &'static str,
}

/// Incus knows no architecture of that name, and ignores images for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Incus does not support the architecture {0}")]
pub struct UnknownArchitecture(pub String);

impl IncusArchitecture {
    /// Every architecture.
    pub fn all() -> impl Iterator<Item = Self> {
        let known = |(at, row): (usize, &Row)| row.incus.map(|kernel_name| Self { at, kernel_name });
        TABLE.iter().enumerate().filter_map(known)
    }

    /// That of an artifact, in any spelling.
    pub fn of_artifact(raw: &str) -> Result<Self, UnknownArchitecture> {
        let usual = usual_name(raw);
        Self::all().find(|one| usual == Some(one.stream_name())).ok_or_else(|| UnknownArchitecture(raw.to_owned()))
    }

    /// Its name in metadata, that of the kernel: `x86_64`.
    pub const fn kernel_name(self) -> &'static str {
        self.kernel_name
    }

    /// Its name in streams, usually that of Debian: `amd64`.
    pub const fn stream_name(self) -> &'static str {
        TABLE[self.at].usual
    }
}

impl FromStr for IncusArchitecture {
    type Err = UnknownArchitecture;

    /// The architecture that Incus has this name for; other spellings are not accepted.
    fn from_str(raw: &str) -> Result<Self, UnknownArchitecture> {
        let is_named = |one: &Self| {
            raw == one.kernel_name || raw == one.stream_name() || TABLE[one.at].known_to_incus.contains(&raw)
        };
        Self::all().find(is_named).ok_or_else(|| UnknownArchitecture(raw.to_owned()))
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
    use std::collections::BTreeSet;

    #[test]
    fn every_spelling_has_one_usual_name() {
        let names: Vec<&str> = all_names().map(|(name, _)| name).collect();
        let distinct: BTreeSet<(&str, &str)> = all_names().collect();
        let spelled: BTreeSet<&str> = names.iter().copied().collect();
        assert_eq!(distinct.len(), spelled.len(), "no name is of two architectures");
        for (usual, spellings) in [
            ("amd64", "x86_64 x86-64 X64 AMD64 amd64 generic_64"),
            ("arm64", "aarch64 AArch64 ARM64 armv8 arm64v8"),
            ("armhf", "armhf armhfp armv7l armv7 armv7hl"),
            ("armel", "armel armv6l armv5tel arm"),
            ("i386", "i386 i486 i586 i686 386 x86"),
            ("loongarch64", "loongarch64 loong64"),
            ("ppc64", "ppc64 powerpc64"),
            ("ppc64el", "ppc64le ppc64el ppc64-le powerpc64le"),
            ("sparc64", "sparc64 sparcv9"),
            ("riscv64", "riscv64 riscv64gc"),
            ("s390x", "s390x"),
            ("mipsel", "mipsel mipsle mips-le"),
            ("mips64el", "mips64el mips64le mips64-le"),
            ("mips", "mips mipseb"),
            ("mips64", "mips64 MIPS64"),
            ("s390", "s390"),
            ("microblazeel", "microblazeel"),
        ] {
            for spelling in spellings.split(' ') {
                assert_eq!(usual_name(spelling), Some(usual), "{spelling}");
            }
        }
        assert_eq!((usual_name("potato"), usual_name("loongson3")), (None, None));
        assert!(is_same("Potato", "potato") && !is_same("mips64", "mips64el") && !is_same("s390", "s390x"));
        assert!(is_same("x86_64", "amd64") && is_same("potato", "potato") && !is_same("amd64", "arm64"));
    }

    #[test]
    fn an_architecture_is_compared_by_one_name() {
        let of = |raw: &str| raw.parse::<Architecture>().expect("a name");
        for (raw, canonical) in [("X86_64", "amd64"), ("aarch64", "arm64"), ("Potato+1", "potato+1"), ("arm", "armel")]
        {
            assert_eq!(of(raw).canonical().as_str(), canonical);
        }
        let spellings: Vec<String> = of("AMD64").spellings().collect();
        assert_eq!(spellings, ["amd64", "x86_64", "generic_64", "x86-64", "x64", "em64t"]);
        assert_eq!(of("Potato").spellings().collect::<Vec<_>>(), ["potato"]);
        assert_eq!((several("ARM"), several("arm64")), (&["armel", "armhf"][..], &[][..]));
    }

    #[test]
    fn architectures_are_found_at_the_start_of_a_text() {
        assert_eq!(at_start("x86_64-cloud.qcow2"), Some(("amd64", "-cloud.qcow2")));
        assert_eq!(at_start("x86-64.raw"), Some(("amd64", ".raw")));
        assert_eq!(at_start("x86-cloud.raw"), Some(("i386", "-cloud.raw")));
        assert_eq!(at_start("AMD64.raw"), Some(("amd64", ".raw")));
        assert_eq!(at_start("PPC64-le.raw"), Some(("ppc64el", ".raw")));
        for other in ["x86_64", "amd64k.raw", "potato.raw", "", "x\u{fffd}6.raw"] {
            assert_eq!(at_start(other), None, "{other}");
        }
    }

    #[test]
    fn incus_accepts_its_own_names_and_artifacts_may_have_others() {
        let parsed = |raw: &str| raw.parse::<IncusArchitecture>().ok().map(IncusArchitecture::kernel_name);
        assert_eq!((parsed("x86_64"), parsed("amd64"), parsed("x86-64")), (Some("x86_64"), Some("x86_64"), None));
        assert_eq!((parsed("mips"), parsed("armhfp"), parsed("sparc64")), (Some("mips"), Some("armv7l"), None));
        let of = |raw: &str| IncusArchitecture::of_artifact(raw).ok().map(IncusArchitecture::stream_name);
        assert_eq!((of("x86-64"), of("AMD64"), of("ppc64-le")), (Some("amd64"), Some("amd64"), Some("ppc64el")));
        assert_eq!((of("sparc64"), of("potato")), (None, None));
        assert_eq!((of("mips64"), of("mips64el"), of("arm")), (None, Some("mips64el"), Some("armel")));
    }
}
