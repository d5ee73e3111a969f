//! Which images are private, and what a caller sees of images: the one decision about reading.

use super::{Action, ImageScope, Rights, Target};
use crate::names::{ImageName, string_enum};

string_enum! {
    /// Who may read the published versions of an image.
    Visibility: "public or private" {
        /// Everybody.
        Public = "public",
        /// Callers with `content.read` on the image. It does not exist for others.
        Private = "private",
    }
}

/// How much a caller sees of an image. Each view includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum View {
    /// The published versions of public images. Nothing else can be inferred.
    Public,
    /// All published versions and their images.
    Published,
    /// Everything.
    All,
}

impl View {
    /// What a caller sees of the image of that name; an anonymous caller has no rights. Every decision about reading is
    /// this one.
    pub fn of(rights: Option<&Rights>, image: &ImageName) -> Self {
        Self::at(rights, Target::Image(image))
    }

    /// What a caller sees of every image, and of what belongs to none.
    pub fn of_everything(rights: Option<&Rights>) -> Self {
        Self::at(rights, Target::Everything)
    }

    fn at(rights: Option<&Rights>, target: Target<'_>) -> Self {
        let may = |action| rights.is_some_and(|rights| rights.allow(action, target));
        if may(Action::ContentWrite) {
            Self::All
        } else if may(Action::ContentRead) {
            Self::Published
        } else {
            Self::Public
        }
    }

    /// Whether published versions of an image with that visibility are seen.
    pub fn shows(self, visibility: Visibility) -> bool {
        match visibility {
            Visibility::Public => true,
            Visibility::Private => self >= Self::Published,
        }
    }
}

/// What a caller sees of many images: [`View`] for each of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// Where both cover an image, its published versions are seen even if it is private.
    pub read: [ImageScope; 2],
    /// Where both cover an image, all of it is seen.
    pub write: [ImageScope; 2],
}

impl Reach {
    /// The published versions of public images.
    pub const PUBLIC: Self = Self { read: NOTHING, write: NOTHING };
    /// Everything.
    pub const ALL: Self = Self { read: EVERYTHING, write: EVERYTHING };

    /// What a caller sees; an anonymous caller has no rights.
    pub fn of(rights: Option<&Rights>) -> Self {
        let images = |action| rights.map_or(NOTHING, |rights| rights.images(action));
        Self { read: images(Action::ContentRead), write: images(Action::ContentWrite) }
    }

    /// The same without what is not published.
    #[must_use]
    pub fn published(self) -> Self {
        Self { write: NOTHING, ..self }
    }

    /// Whether nothing but published versions of public images is seen.
    pub fn is_public(&self) -> bool {
        [&self.read, &self.write].iter().all(|scopes| scopes.contains(&ImageScope::none()))
    }
}

const NOTHING: [ImageScope; 2] = [ImageScope::none(), ImageScope::none()];
const EVERYTHING: [ImageScope; 2] = [ImageScope::Every, ImageScope::Every];

#[cfg(test)]
mod tests {
    use super::super::{Grants, Narrowing, Role};
    use super::*;

    fn covers(scopes: &[ImageScope; 2], image: &ImageName) -> bool {
        scopes.iter().all(|scope| scope.covers(image))
    }

    /// Every role, on every image or one, with every credential and on every kind of image.
    #[test]
    fn a_view_depends_on_the_role_its_scope_and_the_credential() {
        let (inside, outside): (ImageName, ImageName) =
            ("debian".parse().expect("a name"), "tools".parse().expect("a name"));
        let scope = ImageScope::matching(["deb*".parse().expect("a pattern")]).expect("a scope");
        for role in Role::ALL {
            let expected = match role {
                Role::ContentAdmin | Role::ContentWriter => View::All,
                Role::ContentReader => View::Published,
                Role::Auditor | Role::AuthManager | Role::Operator => View::Public,
            };
            let mut grants = Grants::default();
            grants.set(*role, scope.clone());
            let whole = Rights::of(grants.clone());
            let reader = Some([Role::ContentReader].into());
            let read_only = Rights { grants, narrowing: Narrowing { roles: reader, images: ImageScope::Every } };
            for (rights, expected) in [(&whole, expected), (&read_only, expected.min(View::Published))] {
                assert_eq!(View::of(Some(rights), &inside), expected, "{role}");
                assert_eq!(View::of(Some(rights), &outside), View::Public, "{role}");
                assert_eq!(View::of_everything(Some(rights)), View::Public, "{role} is limited");
                let reach = Reach::of(Some(rights));
                for image in [&inside, &outside] {
                    let view = View::of(Some(rights), image);
                    assert_eq!(covers(&reach.read, image), view >= View::Published, "{role}");
                    assert_eq!(covers(&reach.write, image), view == View::All, "{role}");
                }
                assert_eq!(reach.is_public(), expected == View::Public, "{role}");
            }
            let everywhere = Rights::of([*role].into_iter().collect());
            assert_eq!(View::of_everything(Some(&everywhere)), expected, "{role}");
        }
        assert_eq!(View::of(None, &inside), View::Public);
        assert_eq!(Reach::of(None), Reach::PUBLIC);
        for view in [View::Public, View::Published, View::All] {
            assert!(view.shows(Visibility::Public));
            assert_eq!(view.shows(Visibility::Private), view != View::Public);
        }
    }
}
