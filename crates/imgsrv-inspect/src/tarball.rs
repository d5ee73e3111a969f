//! Distinguishes tarballs by their first entries: virtual appliances, root file systems, and others.

use crate::{entries, fields::Fields, format::Contents};
use tar::Archive;

/// Directories at the top of a root file system.
const ROOT: [&str; 20] = [
    "bin", "boot", "dev", "etc", "home", "lib", "lib32", "lib64", "media", "mnt", "opt", "proc", "root", "run", "sbin",
    "srv", "sys", "tmp", "usr", "var",
];
/// Entries that are looked at.
const MAX_ENTRIES: usize = 64;

/// What the tarball is that begins with `head`, if it is one.
pub(crate) fn detect(head: &Fields) -> Option<Contents> {
    // The oldest kind has no magic number.
    if !head.has(257, b"ustar") && !entries::is_header(&head.bytes(0)) {
        return None;
    }
    let mut archive = Archive::new(head.0.as_slice());
    // The first bytes end within an entry, which is no error.
    let entries = archive.entries().ok()?.take(MAX_ENTRIES).map_while(Result::ok);
    let mut names = entries.map(|entry| String::from_utf8_lossy(&entry.path_bytes()).into_owned());
    let contents = names.find_map(|name| {
        let name = name.trim_start_matches("./");
        let top = name.split('/').next().unwrap_or_default();
        // DMTF DSP0243: the descriptor is the first file of an appliance.
        if name.to_ascii_lowercase().ends_with(".ovf") && !name.contains('/') {
            return Some(Contents::Ova);
        }
        ROOT.contains(&top).then_some(Contents::RootTar)
    });
    Some(contents.unwrap_or(Contents::Tar))
}
