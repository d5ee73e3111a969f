//! The files of a publication: what the command line says about them, and what their names and bytes show.

use crate::{failure::Failure, report::bytes};
use imgsrv_client::{Format, NewArtifact, NewAttachment, UnknownValue};
use imgsrv_inspect::{DetectedFormat, InspectError, Inspected, inspect};
use std::{fs::File, io, os::unix::fs::FileExt, path::PathBuf, str::FromStr};

/// Architectures, and how file names and machines spell them.
const ARCHITECTURES: [(&str, &[&str]); 8] = [
    ("amd64", &["amd64", "x86_64", "x64"]),
    ("arm64", &["arm64", "aarch64"]),
    ("armhf", &["armhf", "armv7l"]),
    ("i386", &["i386", "i686"]),
    ("ppc64el", &["ppc64el", "ppc64le"]),
    ("riscv64", &["riscv64"]),
    ("s390x", &["s390x"]),
    ("loong64", &["loong64"]),
];
/// Media types of attachments, by the ends of their names.
const MEDIA_TYPES: [(&str, &[&str]); 6] = [
    ("application/spdx+json", &[".spdx.json"]),
    ("application/vnd.cyclonedx+json", &[".cdx.json"]),
    ("application/json", &[".json", ".sigstore"]),
    ("application/pgp-signature", &[".asc", ".gpg"]),
    ("application/x-xz", &[".xz"]),
    ("text/plain", &[".txt", ".log", ".sha256", ".manifest"]),
];

/// The value of the first row with a key that matches.
fn look_up(table: &[(&'static str, &[&str])], matches: impl Fn(&str) -> bool) -> Option<&'static str> {
    table.iter().find(|(_, keys)| keys.iter().any(|key| matches(key))).map(|(value, _)| *value)
}

/// A file with its options: `disk.qcow2,arch=arm64,variant=cloud,attach=sbom.json=./sbom.json`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct FileSpec {
    pub(crate) path: PathBuf,
    pub(crate) os: Option<String>,
    pub(crate) arch: Option<String>,
    pub(crate) variant: Option<String>,
    pub(crate) format: Option<Format>,
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
        // From the end, since a path may contain commas.
        while let Some((before, last)) = rest.rsplit_once(',') {
            let Some((key, value)) = last.split_once('=') else { break };
            let value_of = || Some(value.to_owned()).filter(|value| !value.is_empty());
            match key {
                "os" => spec.os = value_of(),
                "arch" => spec.arch = value_of(),
                "variant" => spec.variant = value_of(),
                "format" => spec.format = Some(value.parse().map_err(|error: UnknownValue| error.to_string())?),
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

/// An artifact to be published.
pub(crate) struct Recognised {
    pub(crate) artifact: NewArtifact,
    /// For people, such as `qcow2 of 10 GiB, 2 GiB to send, amd64 as this machine`.
    pub(crate) description: String,
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
    /// Reads the file, and determines what the options leave open.
    pub(crate) async fn recognise(&self) -> Result<Recognised, Failure> {
        let unreadable = Failure::unreadable(&self.path);
        let file = File::open(&self.path).map_err(&unreadable)?;
        let metadata = file.metadata().map_err(&unreadable)?;
        if !metadata.is_file() {
            return Err(Failure::usage(format!("{} is not a file", self.path.display())));
        }
        let bytes_of = Bytes(file, metadata.len());
        let inspected = self.inspect(&bytes_of).await?;
        let format = self.format.map_or_else(|| self.format_of(inspected.detected), Ok)?;
        let mut description = format.to_string();
        if let Some(qcow2) = inspected.qcow2 {
            description += &format!(" of {}", bytes(qcow2.virtual_size));
        }
        let (architecture, reason) = self.architecture()?;
        description += &format!(", {} to send, {architecture}{reason}", bytes(metadata.len()));
        let mut artifact = NewArtifact::new(self.path.clone(), format, architecture);
        artifact.operating_system = self.os.clone().unwrap_or(artifact.operating_system);
        artifact.variant = self.variant.clone().unwrap_or(artifact.variant);
        let attachment = |AttachmentSpec { name, path }: &AttachmentSpec| {
            let media_type = look_up(&MEDIA_TYPES, |end| name.ends_with(end));
            NewAttachment::new(name, media_type.unwrap_or("application/octet-stream"), path)
        };
        artifact.attachments = self.attachments.iter().map(attachment).collect();
        Ok(Recognised { artifact, description })
    }

    fn format_of(&self, detected: Option<DetectedFormat>) -> Result<Format, Failure> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let path = self.path.display();
        match detected {
            Some(detected) => detected.artifact_format(&name).parse().map_err(|_| {
                Failure::usage(format!(
                    "{path} is a {detected} file, which no artifact can be; convert it: qemu-img convert -O qcow2"
                ))
            }),
            None if [".raw", ".img"].iter().any(|end| name.ends_with(end)) => Ok(Format::Raw),
            None => Err(Failure::usage(format!("the format of {path} is not recognised; set it with --format"))),
        }
    }

    /// Inspects the file. A disk that the server would refuse to publish is refused here.
    async fn inspect(&self, source: &Bytes) -> Result<Inspected, Failure> {
        inspect(source).await.map_err(|error| match error {
            InspectError::Source(error) => Failure::unreadable(&self.path)(error),
            InspectError::Refused(refusal) => {
                Failure::refused(format!("{} cannot be published: {refusal}", self.path.display()))
                    .with_advice("qemu-img convert -O qcow2 makes a disk that stands alone")
            }
        })
    }

    /// The given architecture, else that in the file's name, else that of this machine; and where it is from.
    fn architecture(&self) -> Result<(String, &'static str), Failure> {
        if let Some(given) = &self.arch {
            return Ok((given.clone(), ""));
        }
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let words: Vec<&str> = name.split(['-', '.', ' ', ',', '+', '~', '(', ')']).collect();
        let has = |known: &str| words.contains(&known) || words.iter().any(|word| word.ends_with(&format!("_{known}")));
        if let Some(architecture) = look_up(&ARCHITECTURES, has) {
            return Ok((architecture.to_owned(), " by its name"));
        }
        let uname = rustix::system::uname();
        let machine = uname.machine().to_string_lossy();
        match look_up(&ARCHITECTURES, |known| known == machine) {
            Some(architecture) => Ok((architecture.to_owned(), " as this machine")),
            None => Err(Failure::usage(format!("what {} boots on? Say --arch", self.path.display()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(raw: &str) -> FileSpec {
        raw.parse().expect("a file")
    }

    #[test]
    fn options_follow_the_file_name() {
        assert_eq!(spec("disk.qcow2"), FileSpec { path: "disk.qcow2".into(), ..FileSpec::default() });
        let parsed = spec("a,b.raw,arch=arm64,attach=x=./y,format=raw,attach=z=./z");
        assert_eq!((parsed.path.to_str(), parsed.arch.as_deref()), (Some("a,b.raw"), Some("arm64")));
        let names: Vec<&str> = parsed.attachments.iter().map(|attachment| attachment.name.as_str()).collect();
        assert_eq!(names, ["x", "z"]);
        assert_eq!(spec("odd,name=x.raw").path.to_str(), Some("odd,name=x.raw"));
        for bad in [",arch=amd64", "disk,format=floppy", "disk,attach=x", ""] {
            assert!(bad.parse::<FileSpec>().is_err(), "{bad}");
        }
    }

    #[test]
    fn architectures_are_recognised_in_file_names() {
        let arch = |name: &str| spec(name).architecture().expect("one").0;
        for (name, expected) in [
            ("debian-12-genericcloud-arm64.qcow2", "arm64"),
            ("Fedora-Cloud-Base-40.aarch64.qcow2", "arm64"),
            ("Rocky-9_x86_64.qcow2", "amd64"),
            ("noble-server-cloudimg-riscv64.img", "riscv64"),
        ] {
            assert_eq!(arch(name), expected, "{name}");
        }
        assert_eq!(arch("disk-arm64.raw,arch=s390x"), "s390x");
    }

    #[tokio::test]
    async fn formats_are_detected_and_unsafe_disks_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).expect("a file");
            FileSpec { path, arch: Some("amd64".to_owned()), ..FileSpec::default() }
        };
        let xz = b"\xfd7zXZ\0rest";
        for (name, bytes, expected) in [
            ("rootfs.tar.xz", xz.as_slice(), Some(Format::RootTarXz)),
            ("disk.xz", xz, Some(Format::RawXz)),
            ("disk.anything", b"\x28\xb5\x2f\xfd", Some(Format::RawZst)),
            ("disk.img", b"nothing known", Some(Format::Raw)),
            ("disk", b"nothing known", None),
            ("disk.qcow2", b"QFI\xfb\0\0\0\x03 and then nothing", None),
        ] {
            let found = write(name, bytes).recognise().await;
            assert_eq!(found.ok().map(|found| found.artifact.format), expected, "{name}");
        }
    }
}
