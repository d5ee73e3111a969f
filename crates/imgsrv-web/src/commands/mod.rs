//! Commands that use the files of a version, with the URL, the names and the digests of this server.

mod authority;
mod machines;
mod programs;

use crate::{chrome::Viewer, links, text::usual};
use authority::TrustStore;
use imgsrv_app::{ArtifactDetail, IncusOffer, VersionDetail};
use imgsrv_domain::{browse::ArtifactKind, names::Format, shell::quoted};

/// A program that uses images.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Program {
    /// Its name in the query.
    pub(crate) id: &'static str,
    /// Its name for people.
    pub(crate) label: &'static str,
    /// Whether it can use an artifact.
    suits: fn(&ArtifactDetail) -> bool,
    /// What makes it trust the server's authority.
    store: TrustStore,
    /// The steps, for an artifact that suits.
    steps: fn(&File<'_>) -> Vec<Step>,
}

/// A step: a sentence, and what to type or write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) text: String,
    pub(crate) code: String,
}

fn step(text: impl Into<String>, code: impl Into<String>) -> Step {
    Step { text: text.into(), code: code.into() }
}

/// All programs, in the order of their tabs.
pub(crate) const PROGRAMS: &[Program] = &[
    Program {
        id: "incus",
        label: "Incus",
        suits: is_offered,
        store: TrustStore::Client("incus"),
        steps: programs::incus,
    },
    Program { id: "lxc", label: "LXD", suits: is_offered, store: TrustStore::Client("lxc"), steps: programs::lxd },
    Program { id: "curl", label: "curl, wget", suits: |_| true, store: TrustStore::Option, steps: programs::curl },
    Program {
        id: "virt-install",
        label: "virt-install",
        suits: is_bootable,
        store: TrustStore::Option,
        steps: machines::virt_install,
    },
    Program { id: "qemu", label: "QEMU", suits: is_bootable, store: TrustStore::Option, steps: machines::qemu },
    Program {
        id: "packer",
        label: "Packer",
        suits: is_plain_bootable,
        store: TrustStore::System,
        steps: machines::packer,
    },
    Program {
        id: "terraform",
        label: "Terraform",
        suits: is_plain_bootable,
        store: TrustStore::System,
        steps: machines::terraform,
    },
    Program {
        id: "proxmox",
        label: "Proxmox VE",
        suits: is_for_proxmox,
        store: TrustStore::System,
        steps: machines::proxmox,
    },
    Program {
        id: "kubevirt",
        label: "KubeVirt",
        suits: is_for_kubevirt,
        store: TrustStore::Cluster,
        steps: machines::kubevirt,
    },
    Program {
        id: "sysupdate",
        label: "systemd",
        suits: is_for_systemd,
        store: TrustStore::System,
        steps: programs::systemd,
    },
    Program {
        id: "cloud-init",
        label: "cloud-init",
        suits: is_plain_disk,
        store: TrustStore::Option,
        steps: machines::cloud_init,
    },
];

/// The commands that are shown.
pub(crate) struct Selected<'a> {
    /// The programs that can use a file of the version.
    pub(crate) programs: Vec<&'static Program>,
    /// The one whose commands are shown.
    pub(crate) program: &'static Program,
    /// The files that it can use.
    pub(crate) files: Vec<&'a ArtifactDetail>,
    /// The one that it uses.
    pub(crate) file: &'a ArtifactDetail,
    pub(crate) steps: Vec<Step>,
}

/// The commands for the wanted program and file. Instead of one that does not suit, another is chosen.
pub(crate) fn select<'a>(
    viewer: &Viewer<'_>,
    version: &'a VersionDetail,
    program: Option<&str>,
    file: Option<&str>,
) -> Option<Selected<'a>> {
    let suiting = |program: &Program| version.artifacts.iter().filter(|artifact| (program.suits)(artifact)).collect();
    let programs: Vec<_> = PROGRAMS
        .iter()
        .filter(|program| version.is_served && version.artifacts.iter().any(|artifact| (program.suits)(artifact)))
        .collect();
    let wanted = programs.iter().find(|known| Some(known.id) == program);
    let chosen = *wanted.or_else(|| programs.first())?;
    let files: Vec<&ArtifactDetail> = suiting(chosen);
    let is_usual = |artifact: &&&ArtifactDetail| usual(&artifact.entry.artifact.architecture) == "amd64";
    let named = files.iter().find(|artifact| Some(artifact.file.as_str()) == file);
    let artifact = *named.or_else(|| files.iter().find(is_usual)).or_else(|| files.first())?;
    let file = File { viewer, version, artifact };
    let steps = [authority::steps(&file, chosen.store), (chosen.steps)(&file)].concat();
    Some(Selected { programs, program: chosen, files, file: artifact, steps })
}

/// A file of a version that commands use.
struct File<'a> {
    viewer: &'a Viewer<'a>,
    version: &'a VersionDetail,
    artifact: &'a ArtifactDetail,
}

impl File<'_> {
    fn name(&self) -> &str {
        &self.artifact.file
    }

    fn image(&self) -> &str {
        self.version.manifest.image.name.as_str()
    }

    /// Its URL, under the alias if the version was found by one.
    fn url(&self) -> String {
        let image = &self.version.manifest.image.name;
        self.viewer.url(&links::file(image, &self.version.reference, self.name()))
    }

    fn is_pinned(&self) -> bool {
        self.version.moved_at.is_none()
    }

    fn sha256(&self) -> String {
        self.artifact.entry.artifact.primary.digest.hex()
    }

    fn format(&self) -> Format {
        self.artifact.entry.artifact.format
    }

    fn architecture(&self) -> &str {
        usual(&self.artifact.entry.artifact.architecture)
    }

    /// How it is compressed, by the extension of its name.
    fn compression(&self) -> Option<&'static str> {
        ["bz2", "gz", "xz", "zst"].into_iter().find(|extension| {
            !is_container(self.format()) && self.format().as_str().ends_with(&format!(".{extension}"))
        })
    }

    /// The name of the file once it is decompressed.
    fn plain_name(&self) -> &str {
        let stem = self.compression().and_then(|extension| self.name().strip_suffix(extension)?.strip_suffix('.'));
        stem.unwrap_or(self.name())
    }

    /// The format of the disk in it, as QEMU names it.
    fn disk_format(&self) -> &'static str {
        match self.format().as_str().split('.').next() {
            Some("qcow2") => "qcow2",
            Some("vmdk") => "vmdk",
            Some("vdi") => "vdi",
            Some("vhd") => "vpc",
            Some("vhdx") => "vhdx",
            _ => "raw",
        }
    }

    fn is_iso(&self) -> bool {
        ArtifactKind::of(self.format()) == ArtifactKind::Iso
    }

    /// Downloads and verifies the file, and decompresses it.
    fn download(&self) -> Step {
        let (url, name) = (self.url(), quoted(self.name()));
        let mut code = format!("{} -fL -o {name} {}\n{}", self.curl(), quoted(&url), self.verification());
        if let Some(extension) = self.compression() {
            let program = match extension {
                "bz2" => "bzip2 -dk",
                "gz" => "gzip -dk",
                "xz" => "xz -dk",
                _ => "zstd -d",
            };
            code.push_str(&format!("\n{program} {name}"));
        }
        step("Download the file and verify it:", code)
    }

    /// The name of curl, and the option to trust the server's authority.
    fn curl(&self) -> String {
        self.trusting("curl", "--cacert ")
    }

    /// The name of a program, and its `option` to trust the server's authority.
    fn trusting(&self, program: &str, option: &str) -> String {
        match self.viewer.untrusted_authority() {
            Some(_) => format!("{program} {option}{}", authority::FILE),
            None => program.to_owned(),
        }
    }

    /// Verifies the downloaded file: by its digest, or under an alias, whose file changes, by its checksum file.
    fn verification(&self) -> String {
        if self.is_pinned() {
            format!("echo {} | sha256sum -c", quoted(&format!("{}  {}", self.sha256(), self.name())))
        } else {
            format!(
                "{} -fsS {} | sha256sum -c --ignore-missing",
                self.curl(),
                quoted(&format!("{}.sha256", self.url()))
            )
        }
    }
}

fn is_offered(artifact: &ArtifactDetail) -> bool {
    matches!(artifact.incus, IncusOffer::Offered { .. })
}

fn kind(artifact: &ArtifactDetail) -> ArtifactKind {
    ArtifactKind::of(artifact.entry.artifact.format)
}

fn is_container(format: Format) -> bool {
    ArtifactKind::of(format) == ArtifactKind::Container
}

/// Whether QEMU boots it.
fn is_bootable(artifact: &ArtifactDetail) -> bool {
    let is_machine = kind(artifact) == ArtifactKind::VirtualMachine && artifact.entry.artifact.format != Format::Ova;
    is_machine || kind(artifact) == ArtifactKind::Iso
}

fn is_compressed(artifact: &ArtifactDetail) -> bool {
    let format = artifact.entry.artifact.format.as_str();
    [".bz2", ".gz", ".xz", ".zst"].iter().any(|extension| format.ends_with(extension))
}

fn is_plain_bootable(artifact: &ArtifactDetail) -> bool {
    is_bootable(artifact) && !is_compressed(artifact)
}

fn is_plain_disk(artifact: &ArtifactDetail) -> bool {
    is_plain_bootable(artifact) && kind(artifact) != ArtifactKind::Iso
}

fn is_for_proxmox(artifact: &ArtifactDetail) -> bool {
    use Format::{Iso, Ova, Qcow2, Raw, RootTarGz, RootTarXz, RootTarZst, Vmdk};
    let format = artifact.entry.artifact.format;
    matches!(format, Iso | Ova | Qcow2 | Raw | Vmdk | RootTarGz | RootTarXz | RootTarZst)
}

fn is_for_kubevirt(artifact: &ArtifactDetail) -> bool {
    use Format::{Iso, Qcow2, Raw, RawGz, RawXz};
    matches!(artifact.entry.artifact.format, Iso | Qcow2 | Raw | RawGz | RawXz)
}

fn is_for_systemd(artifact: &ArtifactDetail) -> bool {
    let format = artifact.entry.artifact.format.as_str();
    format.starts_with("raw") || format.starts_with("tar") || format == "efi"
}
