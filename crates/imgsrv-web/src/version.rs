//! The page of a version: its files, commands that use them, and what changed.

use crate::{
    chrome::{Frame, Section, Viewer},
    commands::{Step, select},
    links,
    notices::{LifecycleNotice, notice, tag},
    text::{When, size},
};
use askama::Template;
use imgsrv_app::{ArtifactDetail, Changes, IncusOffer, PackageChanges, VersionDetail};
use imgsrv_domain::{
    access::Visibility,
    digest::{BlobClaim, ByteSize},
    packages::PackageChange,
    text::ShortText,
};

/// The commands that a version page shows.
#[derive(Debug, Clone, Copy, Default)]
pub struct CommandsShown<'a> {
    /// The program; another one is chosen if it cannot use the version.
    pub program: Option<&'a str>,
    /// The file; another one is chosen if the program cannot use it.
    pub file: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "version.html")]
struct Page<'a> {
    frame: Frame<'a>,
    home: String,
    image: &'a str,
    /// Absent when no version of the image is offered: most viewers do not see the image then.
    image_link: Option<String>,
    is_private: bool,
    title: Option<&'a str>,
    version: &'a str,
    reference: &'a str,
    /// The page under the version's own name, if this is one of an alias.
    pinned: Option<String>,
    moved: Option<When>,
    tag: Option<(&'static str, &'static str)>,
    published: When,
    /// The current version of the image, if this is another one.
    current: Option<(String, &'a str)>,
    aliases: Vec<(String, &'a str)>,
    notice: Option<LifecycleNotice<'a>>,
    is_served: bool,
    files: Vec<FileRow<'a>>,
    checksums: String,
    offers: Vec<Offer<'a>>,
    warnings: Vec<&'a str>,
    commands: Option<Commands<'a>>,
    changes: Option<ChangesView<'a>>,
}

/// A file in the table.
struct FileRow<'a> {
    name: &'a str,
    link: String,
    /// Of an artifact: what it is.
    artifact: Option<ArtifactRow<'a>>,
    media_type: &'a str,
    size: String,
    bytes: u64,
    sha256: String,
}

struct ArtifactRow<'a> {
    system: &'a str,
    architecture: &'a str,
    variant: Option<&'a str>,
    format: &'static str,
    detected: Option<String>,
    virtual_size: Option<String>,
}

/// Whether clients of Incus find a file.
struct Offer<'a> {
    file: &'a str,
    fingerprint: Option<String>,
    why_not: String,
}

struct Commands<'a> {
    tabs: Vec<Tab>,
    program: &'static str,
    label: &'static str,
    file: &'a str,
    files: Vec<&'a str>,
    steps: Vec<Step>,
    /// The form of the other kind: a link, and what it does.
    other_forms: Vec<(String, String)>,
    is_pinned: bool,
    action: String,
}

struct Tab {
    link: String,
    label: &'static str,
    is_current: bool,
}

struct ChangesView<'a> {
    since: &'a str,
    link: String,
    rows: Vec<ChangeRow<'a>>,
    unchanged: usize,
    packages: Vec<PackagesView<'a>>,
}

/// The packages that differ in an artifact.
struct PackagesView<'a> {
    id: String,
    list: &'a str,
    rows: Vec<PackageRow<'a>>,
    more: usize,
}

struct PackageRow<'a> {
    name: &'a str,
    what: &'static str,
    before: String,
    now: String,
}

struct ChangeRow<'a> {
    name: &'a str,
    what: &'static str,
    before: String,
    now: String,
}

/// The page of a version.
pub fn version(viewer: &Viewer<'_>, detail: &VersionDetail, shown: CommandsShown<'_>) -> askama::Result<String> {
    let (image, version) = (&detail.manifest.image, &detail.manifest.version);
    let own = links::version(&image.name, &version.name);
    let path = links::reference(&image.name, &detail.reference);
    let published = version.state.published_at().unwrap_or(version.created_at);
    let title = format!("{} {}", image.name, detail.reference);
    let is_current = detail.current.as_ref() == Some(&version.name);
    Page {
        frame: viewer.frame(Section::Images, &title).at(viewer.url(&path)),
        home: viewer.link(links::HOME),
        image: image.name.as_str(),
        image_link: detail.current.as_ref().map(|_| viewer.link(&links::image(&image.name))),
        is_private: image.visibility == Visibility::Private,
        title: image.display_name.as_ref().map(ShortText::as_str),
        version: version.name.as_str(),
        reference: detail.reference.as_str(),
        pinned: detail.moved_at.map(|_| viewer.link(&own)),
        moved: detail.moved_at.map(|moved| viewer.when(moved)),
        tag: tag(detail.state).or_else(|| is_current.then_some(("current", "good"))),
        published: viewer.when(published),
        current: detail
            .current
            .as_ref()
            .filter(|_| !is_current)
            .map(|current| (viewer.link(&links::version(&image.name, current)), current.as_str())),
        aliases: detail
            .aliases
            .iter()
            .map(|alias| (viewer.link(&links::reference(&image.name, alias)), alias.as_str()))
            .collect(),
        notice: notice(viewer, &image.name, &version.lifecycle),
        is_served: detail.is_served,
        files: detail.artifacts.iter().flat_map(|artifact| rows(viewer, detail, artifact)).collect(),
        checksums: viewer.link(&format!("{path}SHA256SUMS")),
        offers: detail.artifacts.iter().map(offer).collect(),
        warnings: detail.artifacts.iter().flat_map(|artifact| &artifact.warnings).map(String::as_str).collect(),
        commands: commands(viewer, detail, shown),
        changes: detail.changes.as_ref().map(|changes| changes_view(viewer, detail, changes)),
    }
    .render()
}

/// The rows of an artifact and its attachments.
fn rows<'a>(viewer: &Viewer<'_>, detail: &'a VersionDetail, artifact: &'a ArtifactDetail) -> Vec<FileRow<'a>> {
    let row = |name: &'a str, media_type: &'a str, claim: BlobClaim| FileRow {
        name,
        link: viewer.link(&links::file(&detail.manifest.image.name, &detail.reference, name)),
        artifact: None,
        media_type,
        size: size(claim.size),
        bytes: claim.size.get(),
        sha256: claim.digest.hex(),
    };
    let own = &artifact.entry.artifact;
    let inspection = artifact.entry.inspection;
    let detected = inspection.and_then(|inspection| inspection.detected).map(|detected| detected.to_string());
    let about = ArtifactRow {
        system: own.operating_system.as_str(),
        architecture: own.architecture.as_str(),
        variant: (!own.variant.is_default()).then(|| own.variant.as_str()),
        format: own.format.as_str(),
        detected: detected.filter(|detected| detected != own.format.as_str()),
        virtual_size: inspection.and_then(|inspection| inspection.virtual_size).map(size),
    };
    let first = FileRow { artifact: Some(about), ..row(&artifact.file, own.media_type.as_str(), own.primary) };
    let attachments = artifact.attachments.iter();
    let attachments = attachments.map(|(name, attachment)| row(name, attachment.media_type.as_str(), attachment.blob));
    [first].into_iter().chain(attachments).collect()
}

fn offer(artifact: &ArtifactDetail) -> Offer<'_> {
    let (fingerprint, why_not) = match &artifact.incus {
        IncusOffer::Offered { fingerprint, .. } => (Some(fingerprint.hex()), String::new()),
        IncusOffer::Withdrawn => (None, "the version is no longer offered".to_owned()),
        IncusOffer::Superseded(newest) => {
            let versions = match newest.get() {
                1 => "the newest version".to_owned(),
                newest => format!("the {newest} newest versions"),
            };
            (None, format!("the server lists only {versions} of an image, and those with an alias"))
        }
        // The warning begins with the name of the file, which is in the table already.
        IncusOffer::NotOffered(why) => {
            (None, why.split_once("is not listed: ").map_or(&**why, |(_, why)| why).to_owned())
        }
    };
    Offer { file: &artifact.file, fingerprint, why_not }
}

fn commands<'a>(viewer: &Viewer<'_>, detail: &'a VersionDetail, shown: CommandsShown<'_>) -> Option<Commands<'a>> {
    let selected = select(viewer, detail, shown.program, shown.file)?;
    let image = &detail.manifest.image.name;
    let path = links::reference(image, &detail.reference);
    let page = |path: &str, program: &str, file: Option<&str>| {
        format!("{}#commands", viewer.link(&links::with_query(path, [("for", Some(program)), ("file", file)])))
    };
    let chosen = Some(selected.file.file.as_str()).filter(|_| selected.files.len() > 1);
    let tab = |program: &&'static crate::commands::Program| Tab {
        link: page(&path, program.id, chosen),
        label: program.label,
        is_current: program.id == selected.program.id,
    };
    let is_pinned = detail.moved_at.is_none();
    let other_forms = if is_pinned {
        let aliases = detail.aliases.iter();
        let form = |alias: &imgsrv_domain::names::AliasName| {
            (page(&links::reference(image, alias), selected.program.id, None), format!("Follow {alias}"))
        };
        aliases.map(form).collect()
    } else {
        let version = &detail.manifest.version.name;
        vec![(page(&links::version(image, version), selected.program.id, None), format!("Pin {version}"))]
    };
    Some(Commands {
        tabs: selected.programs.iter().map(tab).collect(),
        program: selected.program.id,
        label: selected.program.label,
        file: &selected.file.file,
        files: selected.files.iter().map(|artifact| artifact.file.as_str()).collect(),
        steps: selected.steps,
        other_forms,
        is_pinned,
        action: format!("{}#commands", viewer.link(&path)),
    })
}

fn changes_view<'a>(viewer: &Viewer<'_>, detail: &VersionDetail, changes: &'a Changes) -> ChangesView<'a> {
    let shown = |file: Option<ByteSize>| file.map_or_else(|| "–".to_owned(), size);
    ChangesView {
        since: changes.since.as_str(),
        link: viewer.link(&links::version(&detail.manifest.image.name, &changes.since)),
        rows: changes
            .files
            .iter()
            .map(|file| ChangeRow {
                name: &file.name,
                what: what(file.before.as_ref(), file.now.as_ref()),
                before: shown(file.before),
                now: shown(file.now),
            })
            .collect(),
        unchanged: changes.unchanged,
        packages: (1..).zip(&changes.packages).map(|(number, list)| packages_view(number, list)).collect(),
    }
}

const fn what<T>(before: Option<&T>, now: Option<&T>) -> &'static str {
    match (before, now) {
        (None, _) => "added",
        (Some(_), None) => "removed",
        (Some(_), Some(_)) => "changed",
    }
}

fn packages_view(number: usize, changes: &PackageChanges) -> PackagesView<'_> {
    PackagesView {
        id: format!("packages-{number}"),
        list: &changes.list,
        rows: changes.changes.iter().map(package_row).collect(),
        more: changes.more,
    }
}

fn package_row(package: &PackageChange) -> PackageRow<'_> {
    let shown = |versions: Option<&Vec<String>>| match versions {
        None => "–".to_owned(),
        Some(versions) if versions.is_empty() => "unknown".to_owned(),
        Some(versions) => versions.join(", "),
    };
    let PackageChange { name, before, now } = package;
    PackageRow {
        name,
        what: what(before.as_ref(), now.as_ref()),
        before: shown(before.as_ref()),
        now: shown(now.as_ref()),
    }
}
