//! What the files of a publication are: as far as they tell themselves, nobody is asked.

use crate::{failure::Failure, report::bytes};
use imgsrv_client::{NewArtifact, NewAttachment};
use imgsrv_inspect::{DetectedFormat, Qcow2, Qcow2Error, detect};
use std::{fs::File, io, os::unix::fs::FileExt, path::PathBuf, str::FromStr};

/// The formats that a server takes.
pub(crate) const FORMATS: [&str; 10] =
    ["raw", "raw.gz", "raw.xz", "raw.zst", "qcow2", "iso", "vmdk", "vhdx", "squashfs", "root.tar.xz"];
/// How file names write architectures, and how they are declared.
const ARCHITECTURES: [(&str, &str); 14] = [
    ("amd64", "amd64"),
    ("x86_64", "amd64"),
    ("x64", "amd64"),
    ("arm64", "arm64"),
    ("aarch64", "arm64"),
    ("armhf", "armhf"),
    ("armv7l", "armhf"),
    ("i386", "i386"),
    ("i686", "i386"),
    ("ppc64el", "ppc64el"),
    ("ppc64le", "ppc64el"),
    ("riscv64", "riscv64"),
    ("s390x", "s390x"),
    ("loong64", "loong64"),
];

/// A file with what is said of it: `disk.qcow2,arch=arm64,variant=cloud,attach=sbom.json=./sbom.json`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct FileSpec {
    pub(crate) path: PathBuf,
    pub(crate) os: Option<String>,
    pub(crate) arch: Option<String>,
    pub(crate) variant: Option<String>,
    pub(crate) format: Option<String>,
    pub(crate) attachments: Vec<AttachmentSpec>,
}

/// An attachment: `NAME=FILE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AttachmentSpec {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

impl FromStr for AttachmentSpec {
    type Err = String;

    fn from_str(raw: &str) -> Result<Self, String> {
        match raw.split_once('=') {
            Some((name, path)) if !name.is_empty() && !path.is_empty() => {
                Ok(Self { name: name.to_owned(), path: path.into() })
            }
            _ => Err("must be NAME=FILE, such as sbom.spdx.json=./sbom.json".to_owned()),
        }
    }
}

impl FromStr for FileSpec {
    type Err = String;

    fn from_str(raw: &str) -> Result<Self, String> {
        let mut spec = Self::default();
        let mut rest = raw;
        // From the end on: a path may have commas, too.
        while let Some((before, last)) = rest.rsplit_once(',') {
            let Some((key, value)) = last.split_once('=') else { break };
            let value_of = || Some(value.to_owned()).filter(|value| !value.is_empty());
            match key {
                "os" => spec.os = value_of(),
                "arch" => spec.arch = value_of(),
                "variant" => spec.variant = value_of(),
                "format" => spec.format = Some(format(value)?),
                "attach" => spec.attachments.insert(0, value.parse()?),
                _ => break,
            }
            rest = before;
        }
        if rest.is_empty() {
            return Err("must begin with a file".to_owned());
        }
        spec.path = rest.into();
        Ok(spec)
    }
}

/// One of the formats that a server takes.
pub(crate) fn format(raw: &str) -> Result<String, String> {
    if FORMATS.contains(&raw) { Ok(raw.to_owned()) } else { Err(format!("must be one of {}", FORMATS.join(", "))) }
}

/// What the command line says of all files.
#[derive(Debug, Clone, Default)]
pub(crate) struct Defaults {
    pub(crate) os: Option<String>,
    pub(crate) arch: Option<String>,
    pub(crate) variant: Option<String>,
    pub(crate) format: Option<String>,
}

/// An artifact as it will be published, and what was found out about it.
pub(crate) struct Recognised {
    pub(crate) artifact: NewArtifact,
    /// In words, such as `qcow2 of 10 GiB (2 GiB to send), amd64 as this machine`.
    pub(crate) told: String,
}

struct Bytes(File, u64);

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
    /// Looks into the file, and fills in what is not said.
    pub(crate) async fn recognise(&self, defaults: &Defaults) -> Result<Recognised, Failure> {
        let unreadable =
            |error: io::Error| Failure::usage(format!("{} could not be read: {error}", self.path.display()));
        let file = File::open(&self.path).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(Failure::usage(format!("{} is not a file", self.path.display())));
        }
        let bytes_of = Bytes(file, metadata.len());
        let detected = detect(&bytes_of).await.map_err(unreadable)?;
        let format = match self.format.clone().or_else(|| defaults.format.clone()) {
            Some(format) => format,
            None => self.format_of(detected)?.to_owned(),
        };
        let mut told = format.clone();
        if detected == Some(DetectedFormat::Qcow2) {
            told = format!("{format} of {}", bytes(self.virtual_size(&bytes_of).await?));
        }
        told += &format!(", {} to send", bytes(metadata.len()));
        let (architecture, whence) = self.architecture(defaults)?;
        told += &format!(", {architecture}{whence}");
        let mut artifact = NewArtifact::new(self.path.clone(), format, architecture);
        if let Some(os) = self.os.clone().or_else(|| defaults.os.clone()) {
            artifact.operating_system = os;
        }
        if let Some(variant) = self.variant.clone().or_else(|| defaults.variant.clone()) {
            artifact.variant = variant;
        }
        artifact.attachments = self.attachments.iter().map(AttachmentSpec::attachment).collect();
        Ok(Recognised { artifact, told })
    }

    fn format_of(&self, detected: Option<DetectedFormat>) -> Result<&'static str, Failure> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let path = self.path.display();
        match detected {
            Some(DetectedFormat::Qcow2) => Ok("qcow2"),
            Some(DetectedFormat::Vmdk) => Ok("vmdk"),
            Some(DetectedFormat::Vhdx) => Ok("vhdx"),
            Some(DetectedFormat::Squashfs) => Ok("squashfs"),
            Some(DetectedFormat::Iso) => Ok("iso"),
            Some(DetectedFormat::Raw) => Ok("raw"),
            Some(DetectedFormat::Gzip) => Ok("raw.gz"),
            Some(DetectedFormat::Zstd) => Ok("raw.zst"),
            Some(DetectedFormat::Xz) if name.ends_with(".tar.xz") => Ok("root.tar.xz"),
            Some(DetectedFormat::Xz) => Ok("raw.xz"),
            Some(DetectedFormat::VmdkDescriptor) => Err(Failure::usage(format!(
                "{path} only describes a disk that lies in other files; convert it: qemu-img convert -O qcow2"
            ))),
            None if [".raw", ".img"].iter().any(|end| name.ends_with(end)) => Ok("raw"),
            None => Err(Failure::usage(format!("what {path} is cannot be told from its bytes; say --format"))),
        }
    }

    /// The size that a guest sees; a disk that publishing would refuse is refused here.
    async fn virtual_size(&self, source: &Bytes) -> Result<u64, Failure> {
        match Qcow2::inspect(source).await {
            Ok(qcow2) => Ok(qcow2.virtual_size),
            Err(Qcow2Error::Source(error)) => {
                Err(Failure::usage(format!("{} could not be read: {error}", self.path.display())))
            }
            Err(Qcow2Error::Unsafe(problem)) => {
                Err(Failure::refused(format!("{} cannot be published: {problem}", self.path.display()))
                    .advising("qemu-img convert -O qcow2 makes a disk that stands alone"))
            }
        }
    }

    /// As said, as the file's name has it, or as this machine; and which of them it was.
    fn architecture(&self, defaults: &Defaults) -> Result<(String, &'static str), Failure> {
        if let Some(said) = self.arch.clone().or_else(|| defaults.arch.clone()) {
            return Ok((said, ""));
        }
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let words: Vec<&str> = name.split(['-', '.', ' ', ',', '+', '~', '(', ')']).collect();
        let joined =
            |known: &str| words.contains(&known) || words.iter().any(|word| word.ends_with(&format!("_{known}")));
        if let Some((_, declared)) = ARCHITECTURES.iter().find(|(known, _)| joined(known)) {
            return Ok(((*declared).to_owned(), " by its name"));
        }
        let machine = rustix::system::uname().machine().to_string_lossy().into_owned();
        let own = ARCHITECTURES.iter().find(|(known, _)| *known == machine);
        match own {
            Some((_, declared)) => Ok(((*declared).to_owned(), " as this machine")),
            None => Err(Failure::usage(format!("what {} boots on? Say --arch", self.path.display()))),
        }
    }
}

impl AttachmentSpec {
    fn attachment(&self) -> NewAttachment {
        NewAttachment::new(&self.name, media_type(&self.name), &self.path)
    }
}

/// What an attachment is served as, by the end of its name.
fn media_type(name: &str) -> &'static str {
    let ends = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
    if ends(&[".spdx.json"]) {
        "application/spdx+json"
    } else if ends(&[".cdx.json"]) {
        "application/vnd.cyclonedx+json"
    } else if ends(&[".json", ".sigstore"]) {
        "application/json"
    } else if ends(&[".asc", ".gpg"]) {
        "application/pgp-signature"
    } else if ends(&[".xz"]) {
        "application/x-xz"
    } else if ends(&[".txt", ".log", ".sha256", ".manifest"]) {
        "text/plain"
    } else {
        "application/octet-stream"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(raw: &str) -> FileSpec {
        raw.parse().expect("a file")
    }

    #[test]
    fn what_is_said_of_a_file_stands_behind_it() {
        assert_eq!(spec("disk.qcow2"), FileSpec { path: "disk.qcow2".into(), ..FileSpec::default() });
        let said = spec("a,b.raw,arch=arm64,attach=x=./y,format=raw,attach=z=./z");
        assert_eq!((said.path.to_str(), said.arch.as_deref()), (Some("a,b.raw"), Some("arm64")));
        let names: Vec<&str> = said.attachments.iter().map(|attachment| attachment.name.as_str()).collect();
        assert_eq!(names, ["x", "z"]);
        assert_eq!(spec("odd,name=x.raw").path.to_str(), Some("odd,name=x.raw"));
        for bad in [",arch=amd64", "disk,format=floppy", "disk,attach=x", ""] {
            assert!(bad.parse::<FileSpec>().is_err(), "{bad}");
        }
    }

    #[test]
    fn names_tell_architectures() {
        let arch = |name: &str| spec(name).architecture(&Defaults::default()).expect("one").0;
        for (name, expected) in [
            ("debian-12-genericcloud-arm64.qcow2", "arm64"),
            ("Fedora-Cloud-Base-40.aarch64.qcow2", "arm64"),
            ("Rocky-9_x86_64.qcow2", "amd64"),
            ("noble-server-cloudimg-riscv64.img", "riscv64"),
        ] {
            assert_eq!(arch(name), expected, "{name}");
        }
        let said = Defaults { arch: Some("s390x".to_owned()), ..Defaults::default() };
        assert_eq!(spec("disk-arm64.raw").architecture(&said).expect("one").0, "s390x");
    }

    #[tokio::test]
    async fn bytes_tell_formats_and_unsafe_disks_are_refused_before_anything_is_sent() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).expect("a file");
            FileSpec { path, arch: Some("amd64".to_owned()), ..FileSpec::default() }
        };
        let xz = b"\xfd7zXZ\0rest";
        for (name, bytes, expected) in [
            ("rootfs.tar.xz", xz.as_slice(), Some("root.tar.xz")),
            ("disk.xz", xz, Some("raw.xz")),
            ("disk.anything", b"\x28\xb5\x2f\xfd", Some("raw.zst")),
            ("disk.img", b"nothing known", Some("raw")),
            ("disk", b"nothing known", None),
            ("disk.qcow2", b"QFI\xfb\0\0\0\x03 and then nothing", None),
        ] {
            let found = write(name, bytes).recognise(&Defaults::default()).await;
            assert_eq!(found.ok().map(|found| found.artifact.format), expected.map(str::to_owned), "{name}");
        }
    }
}
