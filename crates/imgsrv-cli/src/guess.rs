//! Guesses formats from the names and bytes of files, unless a guess is likely to be wrong; and advice about files that cannot
//! be published.

use crate::{failure::Failure, file_name::FileName};
use imgsrv_client::Format;
use imgsrv_inspect::{Compressor, Contents, DetectedFormat, Problem, Refusal};
use std::path::Path;

/// Flags in the header of gzip (RFC 1952, section 2.3.1).
const EXTRA: u8 = 1 << 2;
const NAME: u8 = 1 << 3;
/// Maximum number of characters of a name in a message.
const MAX_NAME: usize = 100;

/// The format of the file at `path`, whose bytes are `detected`. If it is compressed with gzip, its header may say how what it
/// contains was called (`inner`).
pub(crate) fn format(path: &Path, inner: Option<&str>, detected: Option<DetectedFormat>) -> Result<Format, Failure> {
    let (name, path) = (path.file_name().unwrap_or_default().to_string_lossy().into_owned(), path.display());
    let named = FileName::of(&name);
    let Some(detected) = detected else {
        return named.of_unknown().ok_or_else(|| {
            let why = named.format().map_or_else(String::new, |named| format!(", but it is named {named}"));
            Failure::usage(format!("the format of {path} is not recognised{why}"))
                .with_advice("Set it with --format, such as --format raw.")
        });
    };
    let format: Format = detected.artifact_format(&name).parse().map_err(|_| {
        Failure::usage(format!("{path} is a {detected} file, which is not a format of artifacts"))
            .with_advice(to_change(detected))
    })?;
    let disagrees =
        |named: FileName| named.format().filter(|_| !named.agrees_with(format)).map(|called| (named, called));
    let (named, what) = if let Some((named, called)) = disagrees(named) {
        (named, format!("{path} is named {called}"))
    } else {
        let inner = inner.filter(|_| detected.compressor == Some(Compressor::Gzip));
        let Some((inner, (named, _))) =
            inner.and_then(|inner| Some((inner, disagrees(FileName::of(&format!("{inner}.gz")))?)))
        else {
            return Ok(format);
        };
        let shown: String = inner.chars().take(MAX_NAME).collect();
        (named, format!("the header of {path} says that it contains {shown:?}"))
    };
    let advice = match named.of_fixed_vhd(format) {
        Some(vhd) => format!(
            "A fixed VHD has its footer at the end, which is not read in a compressed file. State what it is: \
             --format {vhd}, or --format {format}"
        ),
        None => format!("Rename it, or state what it is: --format {format}"),
    };
    Err(Failure::usage(format!("{what}, but its bytes are {detected}")).with_advice(advice))
}

/// The name in the header of a gzip file that begins with `head`.
pub(crate) fn gzip_name(head: &[u8]) -> Option<String> {
    let ([0x1f, 0x8b, 8, flags, ..], rest) = head.split_first_chunk::<10>()? else { return None };
    if flags & NAME == 0 {
        return None;
    }
    let rest = if flags & EXTRA == 0 {
        rest
    } else {
        let (length, rest) = rest.split_first_chunk::<2>()?;
        rest.get(usize::from(u16::from_le_bytes(*length))..)?
    };
    let end = rest.iter().position(|byte| *byte == 0)?;
    Some(String::from_utf8_lossy(rest.get(..end)?).into_owned())
}

/// How to make a file that can be published of one in a format that is not one of artifacts.
fn to_change(detected: DetectedFormat) -> &'static str {
    match (detected.contents, detected.compressor) {
        _ if detected.again.is_some() => "It is compressed twice: decompress it once.",
        (Some(Contents::Zip | Contents::SevenZip | Contents::Rar), _) => "Unpack it, and publish the files in it.",
        (Some(Contents::Simg), _) => "Expand it with simg2img.",
        (Some(Contents::Squashfs), Some(_)) => {
            "Decompress it: a SquashFS is compressed already. If machines boot it as a disk, add --format raw with the \
            extension of its compression, such as --format raw.xz."
        }
        (_, Some(_)) => "Decompress it, or compress it with xz, gzip or zstd instead.",
        (_, None) => "Convert it: qemu-img convert -O qcow2",
    }
}

/// What to do with a file that was refused.
pub(crate) fn advice(refusal: &Refusal, path: &Path) -> String {
    let path = path.display();
    match (&refusal.problem, refusal.format.contents, refusal.format.compressor) {
        (Problem::EndMissing, ..) => {
            "Check that the file is complete, such as with xz -t or gzip -t, and fetch it or compress it again."
                .to_owned()
        }
        (_, Some(Contents::Ova), _) => {
            "Pack the appliance again as a tar archive of its descriptor and the disks that it lists, each made \
            with qemu-img convert -O vmdk -o subformat=streamOptimized"
                .to_owned()
        }
        (Problem::CutOff | Problem::OutOfBounds(_) | Problem::Invalid(_) | Problem::NotDecompressed, ..) => {
            "The file is incomplete or damaged. Copy it again, and compare its checksum with that of the original."
                .to_owned()
        }
        (_, None, _) => "Compress it again, such as with xz -9.".to_owned(),
        (Problem::Corrupt, Some(_), None) => format!("Repair it: qemu-img check -r all {path}"),
        (_, Some(_), Some(_)) => {
            "Decompress it, make a standalone disk of it with qemu-img convert -O qcow2, and compress that".to_owned()
        }
        (_, Some(_), None) => {
            format!("Make a standalone disk of it: qemu-img convert -O qcow2 {path} standalone.qcow2")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detected(contents: Option<Contents>, compressor: Option<Compressor>) -> DetectedFormat {
        DetectedFormat { contents, compressor, again: None }
    }

    #[test]
    fn the_name_in_a_gzip_header_must_agree_as_well() {
        let head = |flags: u8, rest: &[u8]| [&[0x1f, 0x8b, 8, flags, 0, 0, 0, 0, 0, 3], rest].concat();
        assert_eq!(gzip_name(&head(NAME, b"disk.qcow2\0x")).as_deref(), Some("disk.qcow2"));
        assert_eq!(gzip_name(&head(NAME | EXTRA, b"\x02\0abdisk\0")).as_deref(), Some("disk"));
        assert_eq!(
            (gzip_name(&head(0, b"disk\0")), gzip_name(&head(NAME, b"disk")), gzip_name(b"\x1f")),
            (None, None, None)
        );
        let raw = Some(detected(Some(Contents::Raw), Some(Compressor::Gzip)));
        let of = |inner: &str| format(Path::new("a/disk.raw.gz"), Some(inner), raw).map_err(|refused| refused.text());
        for agrees in ["disk.raw", "disk.img", "disk", "-", ""] {
            assert_eq!(of(agrees), Ok(Format::RawGz), "{agrees}");
        }
        let refused = of("disk.qcow2").expect_err("another name");
        assert!(refused.contains("the header of a/disk.raw.gz says that it contains \"disk.qcow2\", but"), "{refused}");
        let fixed = of("disk.vhd").expect_err("perhaps a fixed VHD");
        assert!(fixed.contains("--format vhd.gz, or --format raw.gz"), "{fixed}");
    }

    #[test]
    fn what_has_no_format_is_named() {
        for (found, named, advice) in [
            (detected(Some(Contents::Zip), None), "a zip file", "Unpack it"),
            (detected(Some(Contents::Simg), None), "a simg file", "simg2img"),
            (detected(Some(Contents::Squashfs), Some(Compressor::Xz)), "a squashfs.xz file", "compressed already"),
            (detected(None, Some(Compressor::Lzma)), "a lzma file", "xz, gzip or zstd"),
            (detected(None, Some(Compressor::Compress)), "a compress file", "xz, gzip or zstd"),
            (detected(Some(Contents::Qcow), None), "a qcow file", "qemu-img convert"),
            (
                DetectedFormat { again: Some(Compressor::Xz), ..detected(None, Some(Compressor::Gzip)) },
                "a xz.gz file",
                "decompress it once",
            ),
        ] {
            let refused = format(Path::new("disk.img"), None, Some(found)).expect_err("no format").text();
            assert!(refused.contains(named) && refused.contains(advice), "{refused}");
        }
    }
}
