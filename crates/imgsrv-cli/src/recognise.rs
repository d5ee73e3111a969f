//! What the names and bytes of files show, and what must not be published by mistake.

use crate::{
    failure::Failure,
    file_spec::{AttachmentSpec, FileSpec},
    guess,
    report::bytes,
    systems,
};
use imgsrv_client::{Format, NewArtifact, NewAttachment};
use imgsrv_domain::{
    architecture::{InFileName, in_file_name, several, usual_name, usual_names},
    inspection::Inspection,
};
use imgsrv_inspect::{DetectedFormat, InspectError, Inspected, inspect};
use std::{fs::File, io, os::unix::fs::FileExt};

/// Media types of attachments, by the ends of their names.
const MEDIA_TYPES: [(&str, &[&str]); 6] = [
    ("application/spdx+json", &[".spdx.json"]),
    ("application/vnd.cyclonedx+json", &[".cdx.json"]),
    ("application/json", &[".json", ".sigstore"]),
    ("application/pgp-signature", &[".asc", ".gpg"]),
    ("application/x-xz", &[".xz"]),
    ("text/plain", &[".txt", ".log", ".sha256", ".manifest"]),
];
/// Bytes of a gzip file that are searched for the name in its header.
const GZIP_HEAD: u64 = 4096;
const INSIST: &str = "Add --force to publish it anyway. Published versions never change.";

fn media_type(name: &str) -> &'static str {
    let known = MEDIA_TYPES.iter().find(|(_, ends)| ends.iter().any(|end| name.ends_with(end)));
    known.map_or("application/octet-stream", |(media_type, _)| media_type)
}

/// An artifact to be published.
pub(crate) struct Recognised {
    pub(crate) artifact: NewArtifact,
    /// For people, such as `qcow2 of 10 GiB, 2 GiB to send, amd64 (this machine)`.
    pub(crate) description: String,
}

struct Bytes(File, u64);

impl Bytes {
    /// The name of what it contains, if it is compressed with gzip and has it.
    fn gzip_name(&self) -> Option<String> {
        let mut head = vec![0; usize::try_from(self.1.min(GZIP_HEAD)).ok()?];
        self.0.read_exact_at(&mut head, 0).ok()?;
        guess::gzip_name(&head)
    }
}

impl imgsrv_inspect::Source for Bytes {
    type Error = io::Error;

    fn size(&self) -> u64 {
        self.1
    }

    async fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>, io::Error> {
        let mut buffer = vec![0; length];
        self.0.read_exact_at(&mut buffer, offset)?;
        Ok(buffer)
    }
}

impl FileSpec {
    /// Reads the file, and determines what the options leave open. Likely mistakes are refused,
    /// unless `force`: an unknown architecture or operating system, an empty file, bytes in another format.
    pub(crate) async fn recognise(&self, force: bool) -> Result<Recognised, Failure> {
        let (unreadable, path) = (Failure::unreadable(&self.path), self.path.display());
        let file = File::open(&self.path).map_err(|error| match self.unknown_option() {
            Some((wrong, advice)) if error.kind() == io::ErrorKind::NotFound => {
                Failure::usage(wrong).with_advice(advice)
            }
            _ => unreadable(error),
        })?;
        let metadata = file.metadata().map_err(&unreadable)?;
        if metadata.is_dir() {
            return Err(Failure::usage(format!("{path} is a folder")).with_advice("Name the files in it."));
        }
        if !metadata.is_file() {
            return Err(Failure::usage(format!("{path} is not a regular file")));
        }
        if metadata.len() == 0 && !force {
            return Err(Failure::refused(format!("{path} is empty")).with_advice(INSIST));
        }
        let bytes_of = Bytes(file, metadata.len());
        let Inspected { detected, qcow2 } = self.inspect(&bytes_of).await?;
        let format = match self.format {
            Some(format) => self.declared_format(format, detected, force)?,
            None => guess::format(&self.path, bytes_of.gzip_name().as_deref(), detected)?,
        };
        let mut description = format.to_string();
        if let Some(qcow2) = qcow2 {
            description += &format!(" of {}", bytes(qcow2.virtual_size));
        }
        let (architecture, reason) = self.architecture(force)?;
        description += &format!(", {} to send, {architecture}{reason}", bytes(metadata.len()));
        let mut artifact = NewArtifact::new(self.path.clone(), format, architecture);
        artifact.operating_system = self.operating_system(force)?.unwrap_or(artifact.operating_system);
        artifact.variant = self.variant.clone().unwrap_or(artifact.variant);
        let attachment =
            |AttachmentSpec { name, path }: &AttachmentSpec| NewAttachment::new(name, media_type(name), path);
        artifact.attachments = self.attachments.iter().map(attachment).collect();
        Ok(Recognised { artifact, description })
    }

    /// The given format, if the bytes can have it.
    fn declared_format(
        &self,
        declared: Format,
        detected: Option<DetectedFormat>,
        force: bool,
    ) -> Result<Format, Failure> {
        let detected_text = detected.map(|detected| detected.to_string());
        let inspection =
            Inspection { detected: detected_text.and_then(|text| text.parse().ok()), ..Inspection::default() };
        let fits = declared.as_str().parse().is_ok_and(|format| inspection.matches(format));
        if fits || force {
            return Ok(declared);
        }
        let is = match detected {
            Some(detected) => format!("its bytes are {detected}"),
            None => "its format is not recognised".to_owned(),
        };
        Err(Failure::refused(format!("{} is declared as {declared}, but {is}", self.path.display()))
            .with_advice(INSIST))
    }

    /// The name of the file, without its folder.
    fn file_name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Inspects the file. A disk that the server would refuse to publish is refused here.
    async fn inspect(&self, source: &Bytes) -> Result<Inspected, Failure> {
        inspect(source).await.map_err(|error| match error {
            InspectError::Source(error) => Failure::unreadable(&self.path)(error),
            InspectError::Refused(refusal) => {
                Failure::refused(format!("{} cannot be published: {refusal}", self.path.display()))
                    .with_advice(guess::advice(&refusal, &self.path))
            }
        })
    }

    /// The given operating system, if it is known.
    fn operating_system(&self, force: bool) -> Result<Option<String>, Failure> {
        let Some(os) = &self.os else { return Ok(None) };
        if force || systems::display_name(os).is_some() {
            return Ok(Some(os.clone()));
        }
        Err(Failure::usage(format!("{os} is not a known operating system"))
            .with_advice(format!("Known are {}.\n{INSIST}", systems::names())))
    }

    /// The usual name of the given architecture, else of that in the file's name, else of that of this machine; and where
    /// it is from.
    fn architecture(&self, force: bool) -> Result<(String, &'static str), Failure> {
        if let Some(given) = &self.arch {
            let meant = several(given);
            if !meant.is_empty() && !force {
                return Err(Failure::usage(format!(
                    "{given} is the name of several architectures: {}",
                    meant.join(", ")
                ))
                .with_advice("Set one of them with --arch."));
            }
            return match usual_name(given) {
                Some(usual) => Ok((usual.to_owned(), "")),
                None if force => Ok((given.clone(), "")),
                None => Err(Failure::usage(format!("{given} is not a known architecture"))
                    .with_advice(format!("{}\n{INSIST}", known_architectures()))),
            };
        }
        let ambiguous = |what: String| {
            let advice = format!("Set the architecture with --arch, such as --arch amd64. {}", known_architectures());
            Err(Failure::usage(format!("the name of {} {what}", self.path.display())).with_advice(advice))
        };
        match in_file_name(&self.file_name()) {
            InFileName::One(usual) => return Ok((usual.to_owned(), " (from its name)")),
            InFileName::Two(one, other) => return ambiguous(format!("contains two architectures, {one} and {other}")),
            InFileName::Unknown(word) => {
                return ambiguous(format!("contains {word}, which is not the name of one known architecture"));
            }
            InFileName::Nothing => {}
        }
        match host_architecture() {
            Some(usual) => Ok((usual.to_owned(), " (this machine)")),
            None => Err(Failure::usage(format!("the architecture of {} is not known", self.path.display()))
                .with_advice("Set it with --arch, such as --arch amd64.")),
        }
    }
}

/// The known architectures, for messages.
fn known_architectures() -> String {
    format!("Known are {}.", usual_names().collect::<Vec<_>>().join(", "))
}

/// The usual name of this machine's architecture.
pub(crate) fn host_architecture() -> Option<&'static str> {
    let machine = rustix::system::uname().machine().to_string_lossy().into_owned();
    // The kernel has one name for both orders of bytes.
    match machine.as_str() {
        "mips" | "mips64" if cfg!(target_endian = "little") => usual_name(&format!("{machine}el")),
        machine => usual_name(machine),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `xz` makes of no bytes.
    const XZ: &[u8] = b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4\x46\0\0\0\0\x1c\xdf\x44\x21\x1f\xb6\xf3\x7d\x01\0\0\0\0\x04YZ";

    fn spec(raw: &str) -> FileSpec {
        raw.parse().expect("a file")
    }

    #[test]
    fn architectures_are_recognised_in_file_names() {
        let arch = |name: &str| spec(name).architecture(false).expect("one").0;
        for (name, expected) in [
            ("arm64/debian-12-genericcloud-riscv64.qcow2", "riscv64"),
            ("disk-arm64.raw,arch=s390x", "s390x"),
            ("disk.raw,arch=x86_64", "amd64"),
        ] {
            assert_eq!(arch(name), expected, "{name}");
        }
        for name in [
            "AlmaLinux.x86_64_v2.qcow2",
            "noble-x86-64-v3.img",
            "debianAARCH64.img",
            "multi-amd64-arm64.iso",
            "disk-x86.img",
            "disk.raw,arch=potato",
        ] {
            let refused = spec(name).architecture(false).expect_err("not known").text();
            assert!(refused.contains("Known are amd64, i386, arm64"), "{refused}");
        }
        assert_eq!(arch("AlmaLinux.x86_64_v2.qcow2,arch=x86_64"), "amd64");
        for (given, usual) in [("mips64", "mips64"), ("mips64le", "mips64el"), ("armv7l", "armhf"), ("x86", "i386")] {
            assert_eq!(arch(&format!("disk.raw,arch={given}")), usual, "{given}");
        }
        let refused = spec("disk.raw,arch=arm").architecture(false).expect_err("two kinds").text();
        assert!(refused.contains("several architectures: armel, armhf"), "{refused}");
        assert_eq!(spec("disk.raw,arch=potato").architecture(true).expect("forced").0, "potato");
    }

    #[tokio::test]
    async fn formats_are_detected_and_unsafe_disks_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).expect("a file");
            FileSpec { path, arch: Some("amd64".to_owned()), ..FileSpec::default() }
        };
        let empty = b"\x28\xb5\x2f\xfd\x24\0\x01\0\0\x99\xe9\xd8\x51";
        for (name, bytes, expected) in [
            ("rootfs.tar.xz", XZ, Some(Format::RootTarXz)),
            ("disk.xz", XZ, Some(Format::RawXz)),
            ("disk.anything", empty.as_slice(), Some(Format::RawZst)),
            ("disk.img", b"nothing known", Some(Format::Raw)),
            ("disk", b"nothing known", None),
            ("disk.qcow2", b"QFI\xfb\0\0\0\x03 and then nothing", None),
            ("disk.qcow2", b"nothing known", None),
            ("disk.qcow2.xz", XZ, None),
            ("disk.gz", XZ, None),
            ("disk.raw", XZ, None),
            ("disk.img", XZ, Some(Format::RawXz)),
            ("initrd.img", XZ, None),
            ("initrd.img", b"\x02\x21\x4c\x18\x07\0\0\0\x60070701", Some(Format::Initrd)),
            ("anything.lz4", b"\x02\x21\x4c\x18\x07\0\0\0\x60070701", Some(Format::Initrd)),
            ("disk.raw.lz4", b"\x02\x21\x4c\x18", None),
        ] {
            let found = write(name, bytes).recognise(false).await;
            assert_eq!(found.ok().map(|found| found.artifact.format), expected, "{name}");
        }
    }

    #[tokio::test]
    async fn the_advice_suits_what_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let advised = async |bytes: &[u8]| {
            let path = folder.path().join("file");
            std::fs::write(&path, bytes).expect("a file");
            FileSpec { path, ..FileSpec::default() }.recognise(false).await.err().expect("refused").text()
        };
        let luks = advised(b"LUKS\xba\xbe\0\x02").await;
        assert!(luks.contains("Make a standalone disk of it: qemu-img convert -O qcow2"), "{luks}");
        let mut disk = vec![0; 104];
        disk[..8].copy_from_slice(b"QFI\xfb\0\0\0\x03");
        for cut in [&b"\xfd7zXZ\0"[..], &disk[..20], &disk] {
            let cut = advised(cut).await;
            assert!(cut.contains("The file is incomplete or damaged") && !cut.contains("qemu-img"), "{cut}");
        }
        let packed = std::process::Command::new("sh")
            .args(["-c", "echo > a.ovf && tar -c a.ovf | head -c 700"])
            .current_dir(folder.path())
            .output();
        let ova = packed.expect("tar runs").stdout;
        let ova = advised(&ova).await;
        assert!(ova.contains("Pack the appliance again") && !ova.contains("-O qcow2"), "{ova}");
    }

    #[tokio::test]
    async fn what_is_probably_a_mistake_needs_force() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |bytes: &[u8], options: &str| {
            let path = folder.path().join("disk.img");
            std::fs::write(&path, bytes).expect("a file");
            spec(&format!("{}{options}", path.display()))
        };
        for (bytes, options) in [
            (b"".as_slice(), ""),
            (b"nothing known", ",format=qcow2"),
            (XZ, ",format=raw"),
            (b"nothing known", ",os=potato"),
            (b"nothing known", ",arch=potato"),
        ] {
            let spec = write(bytes, options);
            assert!(spec.recognise(false).await.is_err(), "{options}");
            assert!(spec.recognise(true).await.is_ok(), "{options} with --force");
        }
        assert!(write(b"nothing known", ",os=Debian,format=raw").recognise(false).await.is_ok());
    }
}
