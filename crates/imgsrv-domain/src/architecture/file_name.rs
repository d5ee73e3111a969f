//! Finds architectures in the names of files.

use super::{all_names, several};
use std::collections::BTreeSet;

/// Architectures that are other words in most file names.
const COMMON_WORDS: &[&str] = &["alpha", "arc", "hexagon"];
/// The name in file names that is of 32 and of 64 bits.
const UNCLEAR: &str = "x86";
/// Levels of amd64 that follow a name of it, and need newer processors. They are not in the table, since what is for
/// one of them is not for every amd64.
const LEVELS: &[&str] = &["v2", "v3", "v4"];
/// What further names of architectures begin with.
const STEMS: &[&str] = &[
    "aarch",
    "armeb",
    "armv",
    "hppa",
    "loong",
    "microblaze",
    "mips",
    "nios",
    "parisc",
    "powerpc",
    "ppc",
    "riscv",
    "s390",
    "sparc",
    "x86",
    "xtensa",
];
/// What further names of architectures begin with if a digit follows.
const STEMS_OF_NUMBERS: &[&str] = &["amd", "arm", "rv"];

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

/// Stands for the `-` or `_` in a name, in a text that is split there.
const JOINT: char = '\0';

/// The architecture in a file's name, such as `arm64` in `debian-12-genericcloud-arm64.qcow2`.
pub fn in_file_name(name: &str) -> InFileName {
    let name = name.to_ascii_lowercase();
    let joined = joined(&name);
    let separators = ['-', '_', '.', ' ', ',', '+', '~', '^', ':', '(', ')'];
    let words: Vec<(usize, &str)> = joined
        .split(separators)
        .scan(0, |at, word| {
            let start = *at;
            *at += word.len() + 1;
            Some((start, word))
        })
        .filter(|(_, word)| !COMMON_WORDS.contains(word))
        .collect();
    let (mut found, mut unclear) = (None, None);
    for (index, (start, word)) in words.iter().enumerate() {
        let unknown = |end: usize| InFileName::Unknown(name.get(*start..end).unwrap_or_default().to_owned());
        if *word == UNCLEAR || !several(word).is_empty() {
            unclear = unclear.or(Some(*word));
            continue;
        }
        let Some(usual) = usual_of_joined(word) else {
            if looks_like_one(word) {
                return unknown(start + word.len());
            }
            continue;
        };
        let level = words
            .get(index + 1)
            .filter(|(at, level)| usual == "amd64" && *at == start + word.len() + 1 && LEVELS.contains(level));
        if let Some((at, level)) = level {
            return unknown(at + level.len());
        }
        match found {
            Some(other) if other != usual => return InFileName::Two(other, usual),
            _ => found = Some(usual),
        }
    }
    let unclear = || unclear.map_or(InFileName::Nothing, |word| InFileName::Unknown(word.to_owned()));
    found.map_or_else(unclear, InFileName::One)
}

/// `text` with the separators in names such as `x86_64`, which may be `-` or `_`, replaced by [`JOINT`].
fn joined(text: &str) -> String {
    let dashed = text.replace('_', "-");
    let mut joints = BTreeSet::new();
    for name in all_names().map(|(name, _)| name.replace('_', "-")).filter(|name| name.contains('-')) {
        for (at, _) in dashed.match_indices(&name) {
            let rest = dashed.get(at + name.len()..).unwrap_or_default();
            // Not of `arm64-beta`, but of `x86-64v3`.
            if !rest.starts_with(|next: char| next.is_ascii_alphanumeric() && next != 'v') {
                joints.extend(name.match_indices('-').map(|(dash, _)| at + dash));
            }
        }
    }
    text.char_indices().map(|(at, letter)| if joints.contains(&at) { JOINT } else { letter }).collect()
}

/// The usual name of a whole word of [`joined`] text.
fn usual_of_joined(word: &str) -> Option<&'static str> {
    all_names().find(|(name, _)| name.replace(['-', '_'], "\0") == word).map(|(_, usual)| usual)
}

/// Whether a word of [`joined`] text is like the name of an architecture: `armv9`, `amd64v3`, `debianaarch64`.
fn looks_like_one(word: &str) -> bool {
    let digit_follows = |stem: &&&str| {
        word.strip_prefix(**stem).is_some_and(|rest| rest.starts_with(|next: char| next.is_ascii_digit()))
    };
    let is_distinctive = |name: &str| name.len() >= 5 && name.contains(|letter: char| letter.is_ascii_digit());
    STEMS.iter().any(|stem| word.starts_with(stem))
        || STEMS_OF_NUMBERS.iter().any(|stem| digit_follows(&stem))
        || (word.len() == 4 && word.starts_with('i') && word.ends_with("86"))
        || all_names()
            .filter(|(name, _)| is_distinctive(name) || ["armhf", "armel"].contains(name))
            .any(|(name, _)| word.contains(&name.replace(['-', '_'], "\0")))
}

#[cfg(test)]
mod tests {
    use super::*;

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
            ("freedos-386.img", "i386"),
            ("disk_amd64_cloud.img", "amd64"),
            ("solaris-sparcv9.iso", "sparc64"),
            ("debian-armeb.img", "armeb"),
            ("debian-hppa64.img", "hppa64"),
            ("debian-arm64-beta.img", "arm64"),
            ("disk-ppc64-lenovo.img", "ppc64"),
            ("buildroot_xtensa.img", "xtensa"),
            ("netbsd-aarch64_be.img", "aarch64_be"),
            ("ubuntu-22.04-X86-64.img", "amd64"),
            ("image-ppc64_le.raw", "ppc64el"),
            ("openwrt-mips_24kc.img", "mips"),
            ("openwrt-octeon-mips64.img", "mips64"),
            ("disk-xtensaeb.img", "xtensaeb"),
        ] {
            assert_eq!(in_file_name(name), InFileName::One(usual), "{name}");
        }
        for name in ["disk.raw", "disk-v2.raw", "armbian-1.0-alpha.img", "card-rv.img"] {
            assert_eq!(in_file_name(name), InFileName::Nothing, "{name}");
        }
        for (name, word) in [
            ("disk-armv9.img", "armv9"),
            ("AlmaLinux-10.x86_64_v2.qcow2", "x86_64_v2"),
            ("debian-loongson3.img", "loongson3"),
            ("d-x86-64-v3.qcow2", "x86-64-v3"),
            ("d-x86_64-v4.qcow2", "x86_64-v4"),
            ("d.x86_64v2.qcow2", "x86_64v2"),
            ("noble-amd64-v3.img", "amd64-v3"),
            ("debianAARCH64.img", "debianaarch64"),
            ("disk-sparcv8.img", "sparcv8"),
            ("disk-xtensa8.img", "xtensa8"),
            ("noble-amd64v3.img", "amd64v3"),
            ("disk_riscv128.img", "riscv128"),
            ("disk-i886.img", "i886"),
            ("windows-x86.iso", "x86"),
            ("disk-arm.img", "arm"),
        ] {
            assert_eq!(in_file_name(name), InFileName::Unknown(word.to_owned()), "{name}");
        }
        assert_eq!(in_file_name("multi-amd64-arm64.iso"), InFileName::Two("amd64", "arm64"));
    }
}
