//! What people must know about a version: that it is deprecated, revoked or removed, why, and what to use instead.

use crate::{chrome::Viewer, links, text::When};
use imgsrv_domain::{
    lifecycle::{Lifecycle, LifecycleState, Replacement},
    names::ImageName,
    text::LongText,
    time::Day,
};

/// A notice above the content of a page.
pub(crate) struct LifecycleNotice<'a> {
    /// Whether the files must not be used.
    pub(crate) is_bad: bool,
    /// What happened.
    pub(crate) what: &'static str,
    pub(crate) since: Option<When>,
    /// What it means for the files.
    pub(crate) files: String,
    pub(crate) reason: Option<&'a str>,
    pub(crate) replacement: Option<Link>,
}

/// A link to another version.
pub(crate) struct Link {
    pub(crate) url: String,
    pub(crate) text: String,
}

/// The notice about a version that is not active.
pub(crate) fn notice<'a>(
    viewer: &Viewer<'_>,
    image: &ImageName,
    lifecycle: &'a Lifecycle,
) -> Option<LifecycleNotice<'a>> {
    let (is_bad, what, files) = match lifecycle.state(viewer.now) {
        LifecycleState::Active => return None,
        LifecycleState::Deprecated => {
            let end = lifecycle.deprecation.as_ref().and_then(|deprecation| deprecation.end_of_life);
            (false, "Deprecated", end.map_or_else(String::new, |end| end_of_life(viewer, end)))
        }
        LifecycleState::Revoked => (true, "Revoked", "Its files are no longer served.".to_owned()),
        LifecycleState::Removed => {
            let until = lifecycle.removal.as_ref().map(|removal| viewer.when(removal.available_until));
            let until = until.map_or_else(String::new, |until| format!("Its files are served until {}.", until.full));
            let is_revoked = lifecycle.is_revoked();
            (true, "Removed", if is_revoked { "Its files are no longer served.".to_owned() } else { until })
        }
        LifecycleState::Tombstone => (true, "Removed", "Its files are no longer served.".to_owned()),
    };
    let notices = lifecycle.removal.iter().map(|removal| &removal.notice).chain(&lifecycle.revocation);
    let notices = notices.chain(lifecycle.deprecation.iter().map(|deprecation| &deprecation.notice));
    Some(LifecycleNotice {
        is_bad,
        what,
        since: notices.map(|notice| viewer.when(notice.at)).next(),
        files,
        reason: lifecycle.reason().map(LongText::as_str),
        replacement: lifecycle.successor().map(|successor| replacement(viewer, image, successor)),
    })
}

fn end_of_life(viewer: &Viewer<'_>, end: Day) -> String {
    let verb = if end.end() <= viewer.now { "ended" } else { "ends" };
    format!("Support {verb} on {end}.")
}

/// A link to a replacement.
fn replacement(viewer: &Viewer<'_>, image: &ImageName, successor: &Replacement) -> Link {
    let url = viewer.link(&links::reference(&successor.image, &successor.reference));
    let own = successor.image == *image;
    let text =
        if own { successor.reference.to_string() } else { format!("{} {}", successor.image, successor.reference) };
    Link { url, text }
}

/// The word for a state and the class of its tag; `None` for an active version.
pub(crate) const fn tag(state: LifecycleState) -> Option<(&'static str, &'static str)> {
    match state {
        LifecycleState::Active => None,
        LifecycleState::Deprecated => Some(("deprecated", "warn")),
        LifecycleState::Revoked => Some(("revoked", "bad")),
        LifecycleState::Removed => Some(("being removed", "bad")),
        LifecycleState::Tombstone => Some(("removed", "bad")),
    }
}
