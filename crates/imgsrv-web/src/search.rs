//! The search of the home page, as it is in the query.

use crate::links;
use imgsrv_domain::{
    browse::{ArtifactKind, CurrentState, ImageOrder},
    page::Cursor,
};

/// The search form as it was filled in.
#[derive(Debug, Clone, Default)]
pub struct SearchForm {
    /// Text that names contain.
    pub text: String,
    /// The operating system.
    pub operating_system: String,
    /// The architecture.
    pub architecture: String,
    /// The kind of files.
    pub kind: Option<ArtifactKind>,
    /// The lifecycle of current versions.
    pub state: Option<CurrentState>,
    /// The order.
    pub order: Option<ImageOrder>,
    /// Whether this is a later page than the first.
    pub is_later_page: bool,
}

/// An option of a field.
#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) value: &'static str,
    pub(crate) label: &'static str,
    pub(crate) is_selected: bool,
}

impl SearchForm {
    /// Whether it finds every image.
    pub(crate) fn is_empty(&self) -> bool {
        let texts = [&self.text, &self.operating_system, &self.architecture];
        texts.iter().all(|text| text.is_empty()) && self.kind.is_none() && self.state.is_none()
    }

    /// The path of a page of the same search.
    pub(crate) fn page(&self, after: Option<&Cursor>) -> String {
        links::with_query(
            links::HOME,
            [
                ("q", Some(self.text.as_str())),
                ("os", Some(self.operating_system.as_str())),
                ("arch", Some(self.architecture.as_str())),
                ("kind", self.kind.map(ArtifactKind::as_str)),
                ("state", self.state.map(CurrentState::as_str)),
                ("sort", self.order.map(ImageOrder::as_str)),
                ("cursor", after.map(|cursor| cursor.0.as_str())),
            ],
        )
    }

    pub(crate) fn kinds(&self) -> Vec<Choice> {
        let choice = |kind: &ArtifactKind| (kind.as_str(), kind_label(*kind), self.kind == Some(*kind));
        choices("Any kind", self.kind.is_none(), ArtifactKind::ALL.iter().map(choice))
    }

    pub(crate) fn states(&self) -> Vec<Choice> {
        let label = |state: CurrentState| match state {
            CurrentState::Active => "Active",
            CurrentState::Deprecated => "Deprecated",
        };
        let choice = |state: &CurrentState| (state.as_str(), label(*state), self.state == Some(*state));
        choices("Any state", self.state.is_none(), CurrentState::ALL.iter().map(choice))
    }

    pub(crate) fn orders(&self) -> Vec<Choice> {
        let newest = self.order == Some(ImageOrder::Newest);
        let own = |value: ImageOrder, label, is_selected| Choice { value: value.as_str(), label, is_selected };
        vec![own(ImageOrder::Name, "Name", !newest), own(ImageOrder::Newest, "Newest version", newest)]
    }
}

fn choices(
    any: &'static str,
    is_any: bool,
    others: impl Iterator<Item = (&'static str, &'static str, bool)>,
) -> Vec<Choice> {
    let others = others.map(|(value, label, is_selected)| Choice { value, label, is_selected });
    [Choice { value: "", label: any, is_selected: is_any }].into_iter().chain(others).collect()
}

/// What people call a kind of files.
pub(crate) const fn kind_label(kind: ArtifactKind) -> &'static str {
    match kind {
        ArtifactKind::VirtualMachine => "VM disk",
        ArtifactKind::Container => "Container",
        ArtifactKind::Iso => "ISO",
        ArtifactKind::Boot => "Boot files",
        ArtifactKind::Archive => "Archive",
    }
}
