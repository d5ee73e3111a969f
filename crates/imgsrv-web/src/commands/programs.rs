//! Commands of Incus, LXD, curl, wget and systemd.

use super::{File, Step, quoted, step};
use crate::links;
use imgsrv_app::IncusOffer;
use imgsrv_domain::{inspection::ImageKind, names::RefName};

/// The name of this server as a remote.
pub(super) const REMOTE: &str = "imgsrv";

pub(super) fn incus(file: &File<'_>) -> Vec<Step> {
    launch(file, "incus")
}

pub(super) fn lxd(file: &File<'_>) -> Vec<Step> {
    launch(file, "lxc")
}

fn launch(file: &File<'_>, client: &str) -> Vec<Step> {
    let base = file.viewer.base;
    let add = format!("{client} remote add {REMOTE} {} --protocol simplestreams", quoted(base));
    let is_machine = matches!(file.artifact.incus, IncusOffer::Offered { kind: ImageKind::VirtualMachine, .. });
    let machine = if is_machine { " --vm" } else { "" };
    let artifact = &file.artifact.entry.artifact;
    let variant = if artifact.variant.is_default() { String::new() } else { format!("/{}", artifact.variant) };
    let name = format!("{REMOTE}:{}/{}{variant}", file.image(), file.version.reference);
    let instance = instance(file.image());
    let secure = if file.viewer.is_https() {
        "Add this server once:".to_owned()
    } else {
        "Add this server once. Clients require HTTPS, so replace the URL with the HTTPS URL of this server:".to_owned()
    };
    vec![
        step(secure, add),
        step(
            "Launch an instance. The client takes the image for its own architecture:",
            format!("{client} launch {} {instance}{machine}", quoted(&name)),
        ),
        step(
            format!("Or choose the architecture {} and only download the image:", file.architecture()),
            format!("{client} image export {} .{machine}", quoted(&format!("{name}/{}", file.architecture()))),
        ),
    ]
}

/// A name for an instance: letters, digits and dashes.
pub(super) fn instance(image: &str) -> String {
    let letters: String = image.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let name: String = letters.trim_matches('-').chars().take(50).collect();
    let starts_with_digit = name.starts_with(|first: char| first.is_ascii_digit());
    if starts_with_digit { format!("i-{name}") } else { name }.trim_end_matches('-').to_owned()
}

pub(super) fn curl(file: &File<'_>) -> Vec<Step> {
    let url = quoted(&file.url()).into_owned();
    let (curl, wget) = (file.curl(), file.trusting("wget", "--ca-certificate="));
    let folder = file.viewer.url(&links::reference(&file.version.manifest.image.name, &file.version.reference));
    let mut steps = vec![
        step("Download the file:", format!("{curl} -fLO --retry 3 {url}")),
        step("Or with wget, which continues where it stopped:", format!("{wget} -c {url}")),
        step("Verify it:", file.verification()),
        step(
            "Verify everything that you downloaded from this folder:",
            format!(
                "{curl} -fsSO {}\nsha256sum -c --ignore-missing SHA256SUMS",
                quoted(&format!("{folder}SHA256SUMS"))
            ),
        ),
    ];
    if !file.is_pinned() {
        // After an alias has moved, the rest would be that of another version.
        steps.remove(1);
        steps.insert(1, step("Or with wget, only if the alias has moved since:", format!("{wget} -N {url}")));
    }
    steps
}

pub(super) fn systemd(file: &File<'_>) -> Vec<Step> {
    let artifact = &file.artifact.entry.artifact;
    let format = artifact.format.as_str();
    let image = &file.version.manifest.image.name;
    let mut steps = Vec::new();
    let alias: Option<RefName> = if file.is_pinned() {
        file.version.aliases.first().and_then(|alias| alias.as_str().parse().ok())
    } else {
        Some(file.version.reference.clone())
    };
    if let Some(alias) = alias {
        let variant = if artifact.variant.is_default() { String::new() } else { format!("-{}", artifact.variant) };
        let path = file.viewer.url(&format!("{}versioned/", links::reference(image, &alias)));
        let pattern = format!("{image}-@v-{}{variant}.{format}", artifact.architecture);
        steps.push(step(
            format!("systemd-sysupdate, in a transfer file, follows the alias {alias}:"),
            format!("[Transfer]\nVerify=no\n\n[Source]\nType=url-file\nPath={path}\nMatchPattern={pattern}"),
        ));
    }
    if format.starts_with("raw") || format.starts_with("tar") {
        let command = if format.starts_with("raw") { "pull-raw" } else { "pull-tar" };
        steps.push(step(
            "systemd-machined downloads it for systemd-nspawn:",
            format!("machinectl {command} --verify=checksum {} {}", quoted(&file.url()), instance(file.image())),
        ));
    }
    steps
}
