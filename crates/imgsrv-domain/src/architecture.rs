//! The one table of architectures and their spellings: all names that Incus has for them
//! (`shared/osarch/architectures.go`), and those of Debian, RPM, systemd, Docker and file names.

use std::{fmt, str::FromStr};

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
    row("armel", Some("armv6l"), &["arm"], &["armv5", "armv5te", "armv5tel", "armv6", "arm32v5"]),
    row("armv8l", Some("armv8l"), &[], &[]),
    row("powerpc", Some("ppc"), &[], &[]),
    row("ppc64", Some("ppc64"), &["powerpc64"], &[]),
    row("ppc64el", Some("ppc64le"), &[], &["ppc64-le", "powerpc64le", "powerpc64el"]),
    row("s390x", Some("s390x"), &[], &["s390"]),
    row("mipsel", Some("mips"), &["mipsle"], &["mips-le"]),
    row("mips64el", Some("mips64"), &["mips64le"], &["mips64-le"]),
    row("riscv32", Some("riscv32"), &[], &["rv32"]),
    row("riscv64", Some("riscv64"), &[], &["riscv64gc", "rv64", "rv64gc"]),
    row("loongarch64", Some("loongarch64"), &["loong64"], &["loongson3"]),
    // Those that Incus does not know. Of the big-endian ones it has only the name.
    row("alpha", None, &[], &[]),
    row("arc", None, &[], &[]),
    row("hppa", None, &[], &["parisc"]),
    row("ia64", None, &[], &["itanium"]),
    row("m68k", None, &[], &[]),
    row("or1k", None, &[], &["openrisc"]),
    row("sh4", None, &[], &[]),
    row("sparc", None, &[], &[]),
    row("sparc64", None, &[], &[]),
    row("x32", None, &[], &[]),
];

/// Architectures that are other words in most file names.
const COMMON_WORDS: &[&str] = &["alpha", "arc", "386"];
/// Names in file names that are of several architectures: of 32 and 64 bits, or of both orders of bytes.
const UNCLEAR: &[&str] = &["arm", "x86", "mips", "mips64"];

impl Row {
    /// All names, the usual one first.
    fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        let further = self.known_to_incus.iter().chain(self.others).copied();
        [self.usual].into_iter().chain(self.incus).chain(further)
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

/// The usual names of all architectures.
pub fn usual_names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|row| row.usual)
}

/// Whether two spellings are of the same architecture; unknown ones are compared as strings.
pub fn is_same(one: &str, other: &str) -> bool {
    one == other || usual_name(one).is_some_and(|usual| usual_name(other) == Some(usual))
}

/// `text` with other spellings of the architecture that it begins with, if it begins with one that is followed by `.` or `-`,
/// as in `amd64-cloud.qcow2`.
pub fn respelled(text: &str) -> impl Iterator<Item = String> {
    let ends = |rest: &str| rest.starts_with(['.', '-']);
    all_names()
        .filter_map(move |(name, usual)| Some((text.strip_prefix(name).filter(|rest| ends(rest))?, usual)))
        .flat_map(|(rest, usual)| {
            let same = all_names().filter(move |(_, other)| *other == usual);
            same.map(move |(name, _)| format!("{name}{rest}"))
        })
}

/// What a file's name says about its architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InFileName {
    /// Nothing.
    Nothing,
    /// It is this one, by its usual name.
    One(&'static str),
    /// It contains the names of two architectures.
    Two(&'static str, &'static str),
    /// It contains this word, which is not known but looks like an architecture, or is the name of several.
    Unknown(String),
}

/// The architecture in a file's name, such as `arm64` in `debian-12-genericcloud-arm64.qcow2`.
pub fn in_file_name(name: &str) -> InFileName {
    let mut name = name.to_ascii_lowercase();
    // The separators of other names are part of these.
    for (with_dash, _) in all_names().filter(|(name, _)| name.contains('-')) {
        name = name.replace(with_dash, &with_dash.replace('-', "_"));
    }
    let (mut found, mut unclear) = (None, None);
    for word in name.split(['-', '.', ' ', ',', '+', '~', '^', ':', '(', ')']) {
        // `x86_64` is one word, and also ends words such as `rocky-9_x86_64`.
        let ends = word.match_indices('_').map(|(at, _)| &word[at + 1..]);
        let candidates = || [word].into_iter().chain(ends.clone()).filter(|word| !COMMON_WORDS.contains(word));
        unclear = unclear.or_else(|| candidates().find(|word| UNCLEAR.contains(word)));
        let clear = || candidates().filter(|word| !UNCLEAR.contains(word));
        let known = clear().find_map(|word| usual_name(word).or_else(|| usual_name(&word.replace('_', "-"))));
        match (known, found) {
            (Some(usual), Some(other)) if other != usual => return InFileName::Two(other, usual),
            (Some(usual), _) => found = Some(usual),
            (None, _) => {
                if let Some(unknown) = clear().find(|word| looks_like_one(word)) {
                    return InFileName::Unknown(unknown.to_owned());
                }
            }
        }
    }
    let unclear = || unclear.map_or(InFileName::Nothing, |word| InFileName::Unknown(word.to_owned()));
    found.map_or_else(unclear, InFileName::One)
}

/// Whether a word of a file's name is like the name of an architecture: `armv9`, `x86_64_v3`, `mips`.
fn looks_like_one(word: &str) -> bool {
    let rest = |stem: &str| word.strip_prefix(stem);
    let digit_after = |stem: &str| rest(stem).is_some_and(|rest| rest.starts_with(|next: char| next.is_ascii_digit()));
    let any_after = |stem: &str| rest(stem).is_some();
    ["aarch", "amd", "arm", "armv", "ppc", "loong", "rv", "sparc"].into_iter().any(digit_after)
        || ["mips", "powerpc", "riscv", "s390", "loongarch", "x86_"].into_iter().any(any_after)
        || (word.len() == 4 && word.starts_with('i') && word.ends_with("86"))
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
            ("riscv64", "riscv64 riscv64gc"),
            ("s390x", "s390x"),
            ("mipsel", "mipsel mipsle mips-le"),
            ("mips64el", "mips64el mips64le mips64-le"),
            ("sparc64", "sparc64"),
        ] {
            for spelling in spellings.split(' ') {
                assert_eq!(usual_name(spelling), Some(usual), "{spelling}");
            }
        }
        assert_eq!(usual_name("potato"), None);
        assert!(is_same("x86_64", "amd64") && is_same("potato", "potato") && !is_same("amd64", "arm64"));
    }

    #[test]
    fn names_are_respelled_where_they_end() {
        assert!(respelled("x86_64-cloud.qcow2").any(|name| name == "amd64-cloud.qcow2"));
        assert!(respelled("x86-64.raw").any(|name| name == "x86_64.raw"));
        assert!(respelled("ppc64-le.raw").any(|name| name == "ppc64el.raw"));
        assert!(respelled("aarch64.raw").all(|name| name.contains("raw") && !name.contains("amd64")));
        assert_eq!(respelled("x86_64").chain(respelled("amd64k.raw")).chain(respelled("potato.raw")).count(), 0);
    }

    #[test]
    fn architectures_are_found_in_file_names() {
        for (name, usual) in [
            ("debian-12-genericcloud-arm64.qcow2", "arm64"),
            ("Fedora-Cloud-Base-40.aarch64.qcow2", "arm64"),
            ("Rocky-9_x86_64.qcow2", "amd64"),
            ("image_1.0_x86-64.raw", "amd64"),
            ("particleos_13~rc1^5_x86-64.raw.xz", "amd64"),
            ("image-ppc64-le.raw", "ppc64el"),
            ("fedora-disk-ppc64le.raw.xz", "ppc64el"),
            ("noble-server-cloudimg-riscv64.img", "riscv64"),
            ("archlinuxarm-armv7.img", "armhf"),
            ("alpine-3.20-i686.iso", "i386"),
            ("debian-sid-nocloud-loong64.raw", "loongarch64"),
            ("netbsd-sparc64.img", "sparc64"),
            ("amd64-disk_x86_64.raw", "amd64"),
            ("arch-arm-armv7.img", "armhf"),
        ] {
            assert_eq!(in_file_name(name), InFileName::One(usual), "{name}");
        }
        for name in ["disk.raw", "freedos-386.img", "armbian-1.0-alpha.img", "card-rv.img"] {
            assert_eq!(in_file_name(name), InFileName::Nothing, "{name}");
        }
        for (name, word) in [
            ("disk-armv9.img", "armv9"),
            ("AlmaLinux-10.x86_64_v2.qcow2", "x86_64_v2"),
            ("openwrt-mips_24kc.img", "mips_24kc"),
            ("noble-amd64v3.img", "amd64v3"),
            ("disk_riscv128.img", "riscv128"),
            ("disk-i886.img", "i886"),
            ("windows-x86.iso", "x86"),
            ("disk-mips.img", "mips"),
        ] {
            assert_eq!(in_file_name(name), InFileName::Unknown(word.to_owned()), "{name}");
        }
        assert_eq!(in_file_name("multi-amd64-arm64.iso"), InFileName::Two("amd64", "arm64"));
    }

    #[test]
    fn incus_accepts_its_own_names_and_artifacts_may_have_others() {
        let parsed = |raw: &str| raw.parse::<IncusArchitecture>().ok().map(IncusArchitecture::kernel_name);
        assert_eq!((parsed("x86_64"), parsed("amd64"), parsed("x86-64")), (Some("x86_64"), Some("x86_64"), None));
        assert_eq!((parsed("mips"), parsed("armhfp"), parsed("sparc64")), (Some("mips"), Some("armv7l"), None));
        let of = |raw: &str| IncusArchitecture::of_artifact(raw).ok().map(IncusArchitecture::stream_name);
        assert_eq!((of("x86-64"), of("AMD64"), of("ppc64-le")), (Some("amd64"), Some("amd64"), Some("ppc64el")));
        assert_eq!((of("sparc64"), of("potato")), (None, None));
    }
}
