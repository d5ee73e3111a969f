//! Claims of tokens in the image patterns of provisioning rules, and what binds an image to the values of claims.

use crate::{
    names::RuleId,
    text::{InvalidExactText, ShortText, check_exact, checked_texts},
};
use std::collections::{BTreeMap, BTreeSet};

checked_texts! {
    /// The name of a claim; at most 256 characters.
    ClaimName: InvalidExactText = |raw| check_exact(raw, 256);
    /// A pattern of image names that may name claims, such as `{claims.repository}-*`: 1 to 256 characters of image names,
    /// `*` for any number of them, and names of claims, which have no spaces and braces.
    ImageTemplate: InvalidImageTemplate = |raw| {
        let fits = (1..=ImageTemplate::MAX).contains(&raw.len()) && pieces(raw).is_some();
        fits.then_some(()).ok_or(InvalidImageTemplate)
    };
}

/// The text is not a pattern of image names that may name claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be 1 to 256 lowercase letters, digits, `.`, `_`, `-` and `*`, among which claims are named as in `{{claims.repository}}`"
)]
pub struct InvalidImageTemplate;

/// A piece of a template.
enum Piece<'a> {
    Pattern(&'a str),
    Claim(&'a str),
}

const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-')
}

/// The pieces of a template; `None` if it is not one.
fn pieces(mut raw: &str) -> Option<Vec<Piece<'_>>> {
    let mut pieces = Vec::new();
    while !raw.is_empty() {
        if let Some(rest) = raw.strip_prefix("{claims.") {
            let (name, rest) = rest.split_once('}')?;
            let fits = !name.contains(|c: char| c.is_whitespace() || c == '{') && name.parse::<ClaimName>().is_ok();
            pieces.push(fits.then_some(Piece::Claim(name))?);
            raw = rest;
        } else {
            let (text, rest) = raw.split_at(raw.find('{').unwrap_or(raw.len()));
            let fits = !text.is_empty() && text.bytes().all(|byte| byte == b'*' || is_name_byte(byte));
            pieces.push(fits.then_some(Piece::Pattern(text))?);
            raw = rest;
        }
    }
    Some(pieces)
}

impl ImageTemplate {
    /// Characters in a template.
    pub const MAX: usize = 256;

    /// The names of the claims in it.
    pub fn claims(&self) -> BTreeSet<ClaimName> {
        let claim = |piece| match piece {
            Piece::Claim(name) => name.parse().ok(),
            Piece::Pattern(_) => None,
        };
        pieces(&self.0).unwrap_or_default().into_iter().filter_map(claim).collect()
    }

    /// The text of the pattern that matches what it does for any values of its claims.
    pub fn for_any_values(&self) -> String {
        let text = |piece| match piece {
            Piece::Pattern(own) => own,
            Piece::Claim(_) => "*",
        };
        pieces(&self.0).unwrap_or_default().into_iter().map(text).collect()
    }

    /// The text of the pattern for these values of its claims. Each character that image names do not have becomes `-`,
    /// so that no value is a wildcard, and capital letters become small. `None` when a claim has no value.
    pub fn expand(&self, values: &ClaimValues) -> Option<String> {
        let mut text = String::new();
        for piece in pieces(&self.0)? {
            match piece {
                Piece::Pattern(own) => text.push_str(own),
                Piece::Claim(name) => {
                    let value = values.0.get(&name.parse().ok()?)?.as_str().chars();
                    let in_names = |c: char| u8::try_from(c).is_ok_and(is_name_byte);
                    text.extend(value.map(|c| c.to_ascii_lowercase()).map(|c| if in_names(c) { c } else { '-' }));
                }
            }
        }
        Some(text)
    }
}

/// Values of claims, exactly as a token has them. A claim that is not a text, or empty, or has control characters, or more
/// than 256 characters, has no value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClaimValues(BTreeMap<ClaimName, ShortText>);

impl ClaimValues {
    /// The values of claims; those that cannot have one are left out.
    pub fn new<'a>(claims: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let value = |(name, value): (&str, &str)| Some((name.parse().ok()?, value.parse().ok()?));
        Self(claims.into_iter().filter(|(_, value)| !value.is_empty()).filter_map(value).collect())
    }

    /// The values by claim.
    pub fn iter(&self) -> impl Iterator<Item = (&ClaimName, &ShortText)> {
        self.0.iter()
    }

    /// The values of these claims alone.
    #[must_use]
    pub fn of(&self, names: &BTreeSet<ClaimName>) -> Self {
        let own = self.iter().filter(|(name, _)| names.contains(*name));
        Self(own.map(|(name, value)| (name.clone(), value.clone())).collect())
    }

    /// Whether every claim of `other` has the same value here.
    pub fn agree_with(&self, other: &Self) -> bool {
        other.iter().all(|(name, value)| self.0.get(name) == Some(value))
    }
}

/// What an image is bound to that was created through a template: the rule, and the values of the claims by which it was
/// created. Through templates, nobody else reaches it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The rule.
    pub rule: RuleId,
    /// The values.
    pub claims: ClaimValues,
}

/// The images on which a rule grants its role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleImages {
    /// Every image.
    Every,
    /// Those that match at least one of 1 to 64 patterns.
    Matching(BTreeSet<ImageTemplate>),
}

/// There are too many or too few patterns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 64 patterns of image names")]
pub struct InvalidImageScope;

impl RuleImages {
    /// The most patterns.
    pub const MAX: usize = 64;

    /// The images that match at least one of 1 to 64 patterns. A pattern of `*` alone matches every image.
    pub fn matching(patterns: impl IntoIterator<Item = ImageTemplate>) -> Result<Self, InvalidImageScope> {
        let patterns: BTreeSet<_> = patterns.into_iter().take(Self::MAX + 1).collect();
        if patterns.is_empty() || patterns.len() > Self::MAX {
            return Err(InvalidImageScope);
        }
        let is_universal = |pattern: &ImageTemplate| pattern.0.bytes().all(|byte| byte == b'*');
        Ok(if patterns.iter().any(is_universal) { Self::Every } else { Self::Matching(patterns) })
    }

    /// The patterns, with the claims in them; `None` when it is every image.
    pub const fn patterns(&self) -> Option<&BTreeSet<ImageTemplate>> {
        match self {
            Self::Every => None,
            Self::Matching(patterns) => Some(patterns),
        }
    }
}
