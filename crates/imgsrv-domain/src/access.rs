//! Access: roles and their actions, on which images a role counts, and the one function that decides what a caller may do.

mod claimed;
mod permitted;
mod sender;
mod visibility;

pub use crate::claims::InvalidImageScope;
pub use claimed::Claimed;
pub use permitted::Permitted;
pub use sender::Sender;
pub use visibility::{Reach, View, Visibility};

use crate::{
    names::{ImageName, string_enum},
    text::checked_texts,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

string_enum! {
    /// A named set of actions that a principal may be granted.
    Role: "one of auditor, auth-manager, content-admin, content-reader, content-writer, operator" {
        /// May read the audit log and the state of the server.
        Auditor = "auditor",
        /// May manage principals, roles and tokens, and read the audit log.
        AuthManager = "auth-manager",
        /// May do what a writer may, and retire published versions, restore them and hold them.
        ContentAdmin = "content-admin",
        /// May read published content that is not public.
        ContentReader = "content-reader",
        /// May upload, draft, publish and move aliases.
        ContentWriter = "content-writer",
        /// May operate the server: collect garbage, and see its nodes and what refers to stored content.
        Operator = "operator",
    }
}

string_enum! {
    /// What a use case requires its caller to be allowed to do.
    Action: "one of audit.read, auth.manage, content.read, content.retire, content.write, system.operate, system.read" {
        /// Read the audit log.
        AuditRead = "audit.read",
        /// Manage principals, roles and tokens.
        AuthManage = "auth.manage",
        /// Read published content that is not public.
        ContentRead = "content.read",
        /// Change the lifecycle of published versions.
        ContentRetire = "content.retire",
        /// Change content, and see what is not published.
        ContentWrite = "content.write",
        /// Change the state of the server, such as by collecting garbage.
        SystemOperate = "system.operate",
        /// See the state of the server: its nodes, its storage, and what refers to stored content.
        SystemRead = "system.read",
    }
}

impl Action {
    /// Whether the action is about images, and may be allowed on some of them.
    pub const fn is_about_images(self) -> bool {
        match self {
            Self::ContentRead | Self::ContentRetire | Self::ContentWrite => true,
            Self::AuditRead | Self::AuthManage | Self::SystemOperate | Self::SystemRead => false,
        }
    }
}

impl Role {
    /// The actions that the role allows.
    pub const fn actions(self) -> &'static [Action] {
        match self {
            Self::Auditor => &[Action::AuditRead, Action::SystemRead],
            Self::AuthManager => &[Action::AuthManage, Action::AuditRead],
            Self::ContentAdmin => &[Action::ContentRead, Action::ContentWrite, Action::ContentRetire],
            Self::ContentReader => &[Action::ContentRead],
            Self::ContentWriter => &[Action::ContentRead, Action::ContentWrite],
            Self::Operator => &[Action::SystemOperate, Action::SystemRead],
        }
    }

    /// Whether the role is about images, and may be limited to some of them.
    pub const fn is_about_images(self) -> bool {
        match self {
            Self::ContentAdmin | Self::ContentReader | Self::ContentWriter => true,
            Self::Auditor | Self::AuthManager | Self::Operator => false,
        }
    }
}

checked_texts! {
    /// A pattern of image names: 1 to 128 characters of image names, and `*` for any number of them, also none.
    ImagePattern: InvalidImagePattern = |raw| {
        let is_allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-*".contains(&b);
        let fits = (1..=ImagePattern::MAX).contains(&raw.len()) && raw.bytes().all(is_allowed);
        fits.then_some(()).ok_or(InvalidImagePattern)
    };
}

/// The text is not a pattern of image names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 128 lowercase letters, digits, `.`, `_`, `-` and `*`")]
pub struct InvalidImagePattern;

impl ImagePattern {
    /// Characters in a pattern.
    pub const MAX: usize = 128;
    /// The regular expression that patterns match.
    pub const PATTERN: &str = r"^[a-z0-9._*-]{1,128}$";

    /// Whether the whole name matches the pattern.
    pub fn matches(&self, name: &ImageName) -> bool {
        self.matches_text(name.as_str())
    }

    /// Whether every name that matches `other` matches this pattern too. The stars of `other` match those of this one.
    fn contains(&self, other: &Self) -> bool {
        self.matches_text(&other.0)
    }

    /// Whether a name can match both patterns.
    fn overlaps(&self, other: &Self) -> bool {
        if self.contains(other) || other.contains(self) {
            return true;
        }
        let (own, other) = (self.0.as_bytes(), other.0.as_bytes());
        // Whether the pieces before each position in `other` can match the same text as those before a position here.
        let skips = |byte: u8| byte == b'*';
        let mut row: Vec<bool> = (0..=other.len()).map(|at| other[..at].iter().copied().all(skips)).collect();
        for mine in own {
            let mut next = vec![*mine == b'*' && row[0]];
            for (at, theirs) in other.iter().enumerate() {
                // A star matches nothing, or the other's next byte.
                let is_star = *mine == b'*' || *theirs == b'*';
                next.push(if is_star { row[at + 1] || next[at] } else { row[at] && mine == theirs });
            }
            row = next;
        }
        row.last().copied().unwrap_or(false)
    }

    fn matches_text(&self, text: &str) -> bool {
        let Some((head, rest)) = self.0.split_once('*') else { return self.0 == text };
        let Some(mut name) = text.strip_prefix(head) else { return false };
        let (middle, tail) = rest.rsplit_once('*').unwrap_or(("", rest));
        // The leftmost match of each piece leaves the most for the pieces that follow.
        for piece in middle.split('*') {
            let Some(at) = name.find(piece) else { return false };
            name = &name[at + piece.len()..];
        }
        name.ends_with(tail)
    }

    /// Whether it matches every name.
    fn is_universal(&self) -> bool {
        self.0.bytes().all(|b| b == b'*')
    }
}

/// The images on which a role counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageScope {
    /// Every image, also those that do not exist yet.
    Every,
    /// The images that match at least one of the patterns; none when there is no pattern.
    Matching(BTreeSet<ImagePattern>),
}

impl ImageScope {
    /// The most patterns.
    pub const MAX: usize = 64;

    /// The images that match at least one of 1 to 64 patterns. A pattern of `*` alone matches every image.
    pub fn matching(patterns: impl IntoIterator<Item = ImagePattern>) -> Result<Self, InvalidImageScope> {
        let patterns: BTreeSet<_> = patterns.into_iter().take(Self::MAX + 1).collect();
        if patterns.is_empty() || patterns.len() > Self::MAX {
            return Err(InvalidImageScope);
        }
        Ok(if patterns.iter().any(ImagePattern::is_universal) { Self::Every } else { Self::Matching(patterns) })
    }

    /// No image.
    pub const fn none() -> Self {
        Self::Matching(BTreeSet::new())
    }

    /// Whether the image of that name is one of them.
    pub fn covers(&self, image: &ImageName) -> bool {
        match self {
            Self::Every => true,
            Self::Matching(patterns) => patterns.iter().any(|pattern| pattern.matches(image)),
        }
    }

    /// Whether every image of `other` is one of them, as far as the patterns tell.
    pub fn contains(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Every, _) => true,
            (Self::Matching(_), Self::Every) => false,
            (Self::Matching(own), Self::Matching(others)) => {
                others.iter().all(|other| own.iter().any(|own| own.contains(other)))
            }
        }
    }

    /// Whether an image can be in both scopes.
    fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Every, Self::Every) => true,
            (Self::Every, Self::Matching(patterns)) | (Self::Matching(patterns), Self::Every) => !patterns.is_empty(),
            (Self::Matching(own), Self::Matching(others)) => {
                own.iter().any(|own| others.iter().any(|other| own.overlaps(other)))
            }
        }
    }

    /// The patterns; `None` when it is every image.
    pub const fn patterns(&self) -> Option<&BTreeSet<ImagePattern>> {
        match self {
            Self::Every => None,
            Self::Matching(patterns) => Some(patterns),
        }
    }

    /// The images of either scope.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Matching(mut own), Self::Matching(others)) => {
                own.extend(others);
                Self::Matching(own)
            }
            (Self::Every, _) | (_, Self::Every) => Self::Every,
        }
    }
}

impl fmt::Display for ImageScope {
    /// For people: `every image`, `no image`, or the patterns.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Every => f.write_str("every image"),
            Self::Matching(none) if none.is_empty() => f.write_str("no image"),
            Self::Matching(patterns) => {
                f.write_str(&patterns.iter().map(ImagePattern::as_str).collect::<Vec<_>>().join(", "))
            }
        }
    }
}

/// Roles, each on some images.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grants(BTreeMap<Role, ImageScope>);

impl Grants {
    /// Adds a role on some images, besides those on which it is granted already.
    pub fn add(&mut self, role: Role, images: ImageScope) {
        let granted = self.0.remove(&role).unwrap_or_else(ImageScope::none);
        self.0.insert(role, granted.or(images));
    }

    /// Puts a role on exactly these images.
    pub fn set(&mut self, role: Role, images: ImageScope) {
        self.0.insert(role, images);
    }

    /// The roles, in their order.
    pub fn roles(&self) -> impl Iterator<Item = Role> {
        self.0.keys().copied()
    }

    /// The roles with their images.
    pub fn iter(&self) -> impl Iterator<Item = (Role, &ImageScope)> {
        self.0.iter().map(|(role, images)| (*role, images))
    }

    /// The images on which a role is granted; `None` when it is not granted.
    pub fn get(&self, role: Role) -> Option<&ImageScope> {
        self.0.get(&role)
    }
}

impl FromIterator<Role> for Grants {
    /// The roles, on every image.
    fn from_iter<I: IntoIterator<Item = Role>>(roles: I) -> Self {
        Self(roles.into_iter().map(|role| (role, ImageScope::Every)).collect())
    }
}

/// What a credential leaves of what its principal may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Narrowing {
    /// The roles whose actions are left; `None` when it is all of them.
    pub roles: Option<BTreeSet<Role>>,
    /// The images that are left.
    pub images: ImageScope,
}

impl Narrowing {
    /// Everything is left.
    pub const NONE: Self = Self { roles: None, images: ImageScope::Every };

    /// The images on which `action` is left.
    fn images_for(&self, action: Action) -> ImageScope {
        let is_left = self.roles.as_ref().is_none_or(|roles| roles.iter().any(|role| role.actions().contains(&action)));
        if is_left { self.images.clone() } else { ImageScope::none() }
    }
}

/// What an action is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// The image of that name.
    Image(&'a ImageName),
    /// Every image, and what belongs to none.
    Everything,
    /// Some image, which need not exist: whether the action is possible at all.
    Anything,
}

/// What a caller may do: the roles of its principal, and what the rule that admits its token adds, as far as its credential
/// leaves them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights {
    /// The roles of the principal.
    pub grants: Grants,
    /// What the patterns with claims of the rule add.
    pub claimed: Option<Claimed>,
    /// What the credential leaves of both.
    pub narrowing: Narrowing,
}

impl Rights {
    /// Everything that the roles allow.
    pub const fn of(grants: Grants) -> Self {
        Self { grants, claimed: None, narrowing: Narrowing::NONE }
    }

    fn granted(&self, action: Action) -> impl Iterator<Item = &ImageScope> {
        self.grants.iter().filter(move |(role, _)| role.actions().contains(&action)).map(|(_, images)| images)
    }

    /// Scopes that together, where all of them cover an image, are the images on which the action is allowed.
    pub fn images(&self, action: Action) -> [ImageScope; 2] {
        let granted = self.granted(action).cloned().fold(ImageScope::none(), ImageScope::or);
        let reached = self.claimed.as_ref().and_then(|claimed| claimed.allowed(action)).into_iter().flatten();
        let reached = ImageScope::Matching(reached.map(|image| ImagePattern(image.as_str().to_owned())).collect());
        [granted.or(reached), self.narrowing.images_for(action)]
    }

    /// Whether the credential is limited to [`Role::ContentReader`], or its principal has no other role: anybody who
    /// sees the credential can only read.
    pub fn reads_alone(&self) -> bool {
        const READER: [Role; 1] = [Role::ContentReader];
        let is_narrowed = self.narrowing.roles.as_ref().is_some_and(|roles| roles.iter().copied().eq(READER));
        is_narrowed || self.grants.roles().eq(READER)
    }

    /// Whether the action is allowed on the target. Every decision about access is this one.
    pub fn allow(&self, action: Action, target: Target<'_>) -> bool {
        let claimed = self.claimed.as_ref();
        let left = self.narrowing.images_for(action);
        match target {
            Target::Image(image) => {
                let is_reached =
                    claimed.and_then(|claimed| claimed.allowed(action)).is_some_and(|all| all.contains(image));
                left.covers(image) && (is_reached || self.granted(action).any(|images| images.covers(image)))
            }
            Target::Anything if action.is_about_images() => {
                let is_claimed =
                    |claimed: &Claimed| claimed.allowed(action).is_some() && claimed.scope().overlaps(&left);
                claimed.is_some_and(is_claimed) || self.granted(action).any(|images| images.overlaps(&left))
            }
            Target::Everything | Target::Anything => {
                left == ImageScope::Every && self.granted(action).any(|images| *images == ImageScope::Every)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(raw: &str) -> ImageName {
        raw.parse().expect("a name")
    }

    fn scope(patterns: &[&str]) -> ImageScope {
        ImageScope::matching(patterns.iter().map(|raw| raw.parse().expect("a pattern"))).expect("a scope")
    }

    /// What `pattern` means, in the plainest way.
    fn matches(pattern: &[u8], name: &[u8]) -> bool {
        match pattern.split_first() {
            None => name.is_empty(),
            Some((b'*', rest)) => (0..=name.len()).any(|at| matches(rest, &name[at..])),
            Some((first, rest)) => name.first() == Some(first) && matches(rest, &name[1..]),
        }
    }

    proptest! {
        #[test]
        fn a_pattern_matches_what_it_describes(pattern in "[ab*]{1,6}", image in "[ab]{1,8}") {
            let parsed: ImagePattern = pattern.parse().expect("a pattern");
            prop_assert_eq!(parsed.matches(&name(&image)), matches(pattern.as_bytes(), image.as_bytes()));
        }
    }

    proptest! {
        #[test]
        fn patterns_overlap_if_a_name_matches_both(one in "[ab*]{1,4}", other in "[ab*]{1,4}", image in "[ab]{1,6}") {
            let (one, other): (ImagePattern, ImagePattern) = (one.parse().expect("valid"), other.parse().expect("valid"));
            let image = name(&image);
            if one.matches(&image) && other.matches(&image) {
                prop_assert!(one.overlaps(&other) && other.overlaps(&one));
            }
            if one.contains(&other) && other.matches(&image) {
                prop_assert!(one.matches(&image));
            }
            // The shortest names that match both have no more letters than both patterns together.
            let common = |len: u32, at: u32| -> String {
                (0..len).map(|bit| if at >> bit & 1 == 0 { 'a' } else { 'b' }).collect()
            };
            let mut names = (1..=8_u32).flat_map(|len| (0..1_u32 << len).map(move |at| name(&common(len, at))));
            prop_assert_eq!(names.any(|image| one.matches(&image) && other.matches(&image)), one.overlaps(&other));
        }
    }

    #[test]
    fn scopes_have_limits_and_a_star_is_every_image() {
        assert_eq!(ImageScope::matching([]), Err(InvalidImageScope));
        let many = |count: usize| ImageScope::matching((0..count).map(|at| format!("a{at}").parse().expect("valid")));
        assert!(many(64).is_ok() && many(65).is_err());
        assert_eq!(scope(&["*"]), ImageScope::Every);
        assert_eq!(scope(&["a", "**"]), ImageScope::Every);
        for bad in ["", "A", "a b", "a/b", "é", &"a".repeat(129)] {
            assert_eq!(bad.parse::<ImagePattern>(), Err(InvalidImagePattern), "{bad:?}");
        }
    }

    #[test]
    fn an_action_needs_a_role_on_the_image_and_a_credential_that_leaves_both() {
        let mut grants = Grants::default();
        grants.add(Role::ContentWriter, scope(&["debian-*"]));
        grants.add(Role::ContentReader, scope(&["tools"]));
        let whole = Rights::of(grants.clone());
        let (write, read) = (Action::ContentWrite, Action::ContentRead);
        let allowed = |rights: &Rights, action, image: &str| rights.allow(action, Target::Image(&name(image)));
        assert!(allowed(&whole, write, "debian-13") && allowed(&whole, read, "debian-13"));
        assert!(allowed(&whole, read, "tools") && !allowed(&whole, write, "tools"));
        assert!(!allowed(&whole, read, "fedora") && !allowed(&whole, Action::ContentRetire, "debian-13"));
        assert!(whole.allow(write, Target::Anything) && !whole.allow(write, Target::Everything));

        let readers = Some(BTreeSet::from([Role::ContentReader]));
        let narrow = |roles, images| Rights { narrowing: Narrowing { roles, images }, ..Rights::of(grants.clone()) };
        let read_only = narrow(readers, ImageScope::Every);
        assert!(allowed(&read_only, read, "debian-13") && !allowed(&read_only, write, "debian-13"));
        assert!(!read_only.allow(write, Target::Anything));
        let one = narrow(None, scope(&["debian-13", "fedora"]));
        let shown = |rights: &Rights, action| {
            rights.permitted(action).map(|Permitted { images, within }| (images.to_string(), within.to_string()))
        };
        let every = || "every image".to_owned();
        assert_eq!(shown(&whole, write), Some(("debian-*".to_owned(), every())));
        assert_eq!(shown(&one, write), Some(("debian-13".to_owned(), every())));
        assert_eq!(shown(&narrow(None, scope(&["fedora"])), write), None, "nothing is left");
        assert_eq!(shown(&narrow(None, scope(&["*-13"])), write), Some(("debian-*".to_owned(), "*-13".to_owned())));
        assert_eq!(
            shown(&narrow(None, scope(&["*-13", "tools"])), read),
            Some(("debian-*, tools".to_owned(), "*-13, tools".to_owned()))
        );
        assert_eq!(shown(&narrow(None, scope(&["*-13"])), read), Some(("debian-*".to_owned(), "*-13".to_owned())));
        assert!(!narrow(None, scope(&["fedora"])).allow(write, Target::Anything));
        let manager =
            Rights { narrowing: one.narrowing.clone(), ..Rights::of([Role::AuthManager].into_iter().collect()) };
        assert!(
            !manager.allow(Action::AuthManage, Target::Anything),
            "not about images, and therefore not limited to some"
        );
        assert!(allowed(&one, write, "debian-13") && !allowed(&one, write, "debian-12"));
        assert!(!allowed(&one, write, "fedora"), "a credential grants nothing");
        // A credential for more roles than the principal has is no more than the principal.
        let more = narrow(Some(Role::ALL.iter().copied().collect()), ImageScope::Every);
        assert!(
            !allowed(&more, Action::ContentRetire, "debian-13") && !more.allow(Action::AuthManage, Target::Everything)
        );

        assert!(read_only.reads_alone() && !whole.reads_alone() && !more.reads_alone());
        let reader = Rights::of([Role::ContentReader].into_iter().collect());
        assert!(reader.reads_alone() && !Rights::of(Grants::default()).reads_alone());
        let all: Grants = Role::ALL.iter().copied().collect();
        let all = Rights::of(all);
        assert!(Action::ALL.iter().all(|action| all.allow(*action, Target::Everything)));
        assert!(!Action::ALL.iter().any(|action| Rights::of(Grants::default()).allow(*action, Target::Anything)));
    }
}
