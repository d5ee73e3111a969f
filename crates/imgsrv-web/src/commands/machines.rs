//! Commands and configurations that boot virtual machines.

use super::{File, Step, authority, programs::instance, quoted, step};
use imgsrv_domain::{browse::ArtifactKind, names::Format};

const GIB: u64 = 1 << 30;

pub(super) fn virt_install(file: &File<'_>) -> Vec<Step> {
    let (name, plain) = (instance(file.image()), file.plain_name());
    let media = if file.is_iso() {
        format!("--cdrom {} --disk size=20", quoted(&format!("./{plain}")))
    } else {
        format!("--import --disk {}", quoted(&format!("path=./{plain},format={}", file.disk_format())))
    };
    let arch = match file.architecture() {
        "amd64" => String::new(),
        _ => format!(" --arch {}", kernel_name(file.architecture())),
    };
    vec![
        file.download(),
        step(
            "Create a machine. It changes the downloaded disk:",
            format!(
                "virt-install --name {name} --memory 2048 --vcpus 2{arch} \\\n  {media} \\\n  \
                 --osinfo detect=on,require=off --network default"
            ),
        ),
    ]
}

/// The name that kernels and QEMU have for an architecture.
fn kernel_name(architecture: &str) -> &str {
    match architecture {
        "amd64" => "x86_64",
        "arm64" => "aarch64",
        "armhf" | "armel" => "arm",
        "ppc64el" => "ppc64",
        other => other,
    }
}

pub(super) fn qemu(file: &File<'_>) -> Vec<Step> {
    let plain = file.plain_name();
    let machine = match file.architecture() {
        "amd64" | "i386" => "-machine q35,accel=kvm:tcg".to_owned(),
        "arm64" => "-machine virt,accel=kvm:tcg -cpu max -bios /usr/share/qemu-efi-aarch64/QEMU_EFI.fd".to_owned(),
        "ppc64" | "ppc64el" => "-machine pseries".to_owned(),
        "s390x" => "-machine s390-ccw-virtio".to_owned(),
        "mips" | "mipsel" | "mips64" | "mips64el" => "-machine malta".to_owned(),
        _ => "-machine virt".to_owned(),
    };
    let program = format!("qemu-system-{}", kernel_name(file.architecture()));
    if file.is_iso() {
        let boot = format!("{program} {machine} -m 2048 \\\n  -cdrom {} -nographic", quoted(plain));
        return vec![file.download(), step("Boot it:", boot)];
    }
    let create = format!("qemu-img create -f qcow2 -F {} -b {} overlay.qcow2", file.disk_format(), quoted(plain));
    let boot = format!("{program} {machine} -m 2048 \\\n  -drive file=overlay.qcow2,if=virtio -nographic");
    vec![
        file.download(),
        step("Boot it with a layer above it, so that the downloaded disk stays as it is:", format!("{create}\n{boot}")),
    ]
}

/// A checksum as Packer takes it.
fn packer_checksum(file: &File<'_>) -> String {
    if file.is_pinned() { format!("sha256:{}", file.sha256()) } else { format!("file:{}.sha256", file.url()) }
}

pub(super) fn packer(file: &File<'_>) -> Vec<Step> {
    let name = instance(file.image());
    let disk = if file.is_iso() { "" } else { "\n  disk_image       = true" };
    let plugin = "packer {\n  required_plugins {\n    qemu = {\n      source  = \"github.com/hashicorp/qemu\"\n      \
                  version = \">= 1.1.0\"\n    }\n  }\n}";
    let template = format!(
        "source \"qemu\" \"{name}\" {{\n  iso_url          = \"{}\"\n  iso_checksum     = \"{}\"{disk}\n  format           = \
         \"qcow2\"\n  ssh_username     = \"packer\"\n  shutdown_command = \"sudo shutdown -P now\"\n}}\n\nbuild {{\n  \
         sources = [\"source.qemu.{name}\"]\n}}",
        file.url(),
        packer_checksum(file)
    );
    vec![
        step("In a template of Packer, such as image.pkr.hcl:", template),
        step(
            "Packer 1.7 and later download the plugin for QEMU with packer init. They need this as well, such as in \
             plugins.pkr.hcl:",
            plugin,
        ),
    ]
}

pub(super) fn terraform(file: &File<'_>) -> Vec<Step> {
    let (name, url) = (instance(file.image()), file.url());
    let libvirt = format!(
        "resource \"libvirt_volume\" \"{name}\" {{\n  name = \"{}\"\n  pool = \"default\"\n  create = {{\n    \
         content = {{\n      url = \"{url}\"\n    }}\n  }}\n}}",
        file.name()
    );
    let checksum = if file.is_pinned() {
        format!("\n  checksum           = \"{}\"\n  checksum_algorithm = \"sha256\"", file.sha256())
    } else {
        String::new()
    };
    let content = if file.is_iso() { "iso" } else { "import" };
    let proxmox = format!(
        "resource \"proxmox_virtual_environment_download_file\" \"{name}\" {{\n  node_name          = \"pve\"\n  \
         datastore_id       = \"local\"\n  content_type       = \"{content}\"\n  file_name          = \"{}\"\n  \
         url                = \"{url}\"{checksum}\n}}",
        file.name()
    );
    vec![step("With the provider for libvirt (0.9 or later):", libvirt), step("With bpg/proxmox:", proxmox)]
}

pub(super) fn proxmox(file: &File<'_>) -> Vec<Step> {
    let content = match ArtifactKind::of(file.format()) {
        ArtifactKind::Iso => "iso",
        ArtifactKind::Container => "vztmpl",
        _ => "import",
    };
    let checksum = if file.is_pinned() {
        format!(" \\\n  --checksum-algorithm sha256 --checksum {}", file.sha256())
    } else {
        String::new()
    };
    // Proxmox VE knows the type of a template by the end of its name.
    let name = file.name().replace(".root.tar.", ".tar.");
    let download = format!(
        "pvesh create /nodes/$(hostname)/storage/local/download-url --content {content} \\\n  --url {} \\\n  \
         --filename {}{checksum}",
        quoted(&file.url()),
        quoted(&name)
    );
    let mut steps = vec![step("On a node, download it into the storage local:", download)];
    let volume = |folder: &str| quoted(&format!("local:{folder}/{name}")).into_owned();
    match file.format() {
        Format::Qcow2 | Format::Raw | Format::Vmdk => steps.push(step(
            "Create a machine with this disk:",
            format!(
                "qm create 100 --name {} --memory 2048 --net0 virtio,bridge=vmbr0 --scsihw virtio-scsi-pci \\\n  \
                 --scsi0 local-lvm:0,import-from={} --boot order=scsi0",
                instance(file.image()),
                volume("import")
            ),
        )),
        Format::RootTarGz | Format::RootTarXz | Format::RootTarZst => steps.push(step(
            "Create a container from it:",
            format!("pct create 100 {} --hostname {} --storage local-lvm", volume("vztmpl"), instance(file.image())),
        )),
        _ => {}
    }
    steps
}

pub(super) fn kubevirt(file: &File<'_>) -> Vec<Step> {
    // Of a disk whose size is not known, the file is a lower bound.
    let virtual_size = file.artifact.entry.inspection.and_then(|inspection| inspection.virtual_size);
    let size = virtual_size.unwrap_or(file.artifact.entry.artifact.primary.size).get();
    let gib = size.div_ceil(GIB).max(1) + 1;
    let trust = file.viewer.untrusted_authority();
    let trust = trust.map_or_else(String::new, |_| format!("\n      certConfigMap: {}", authority::CONFIG_MAP));
    let code = format!(
        "apiVersion: cdi.kubevirt.io/v1beta1\nkind: DataVolume\nmetadata:\n  name: {}\nspec:\n  source:\n    http:\n      \
         url: \"{}\"{trust}\n  storage:\n    resources:\n      requests:\n        storage: {gib}Gi",
        instance(file.image()),
        file.url()
    );
    vec![step("In a manifest for the Containerized Data Importer:", code)]
}

pub(super) fn cloud_init(file: &File<'_>) -> Vec<Step> {
    let name = instance(file.image());
    let data = format!(
        "#cloud-config\nhostname: {name}\nusers:\n  - name: admin\n    sudo: ALL=(ALL) NOPASSWD:ALL\n    \
         ssh_authorized_keys:\n      - ssh-ed25519 AAAA... you@example.org"
    );
    let disk = quoted(&format!("path=./{},format={}", file.plain_name(), file.disk_format())).into_owned();
    vec![
        step("For an image that contains cloud-init. Write user-data:", data),
        file.download(),
        step(
            "Create a machine with it:",
            format!(
                "virt-install --name {name} --memory 2048 --vcpus 2 --import --disk {disk} \\\n  \
                 --cloud-init user-data=user-data --osinfo detect=on,require=off --network default"
            ),
        ),
    ]
}
