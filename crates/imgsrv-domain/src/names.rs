//! Names in URLs and manifests, and part numbers.

pub(crate) use crate::enums::string_enum;
use crate::text::checked_texts;
pub use crate::{enums::UnknownValue, format::Format};
use std::{fmt, str::FromStr};

/// The text does not match the pattern of its kind of name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidName {
    /// Whether capitals are allowed.
    upper: bool,
    /// The characters that are allowed besides letters and digits, separated by blanks.
    allowed: &'static str,
    /// Maximum number of characters.
    max: usize,
    /// Whether it is [`RESERVED`].
    reserved: bool,
}

/// The one name that nothing can have: feeds are served where a version or an alias of that name would be.
pub const RESERVED: &str = "feed.atom";

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { allowed, max, .. } = self;
        if self.reserved {
            return write!(f, "must not be {RESERVED}, which is the name of feeds");
        }
        let case = if self.upper { "" } else { "lowercase " };
        write!(
            f,
            "must begin with a {case}letter or digit, contain only {case}letters, digits and {allowed}, and have "
        )?;
        write!(f, "at most {max} characters")
    }
}

impl std::error::Error for InvalidName {}

/// Checks that a name starts with a letter or digit, of either case if `upper`, that only `allowed` are other characters,
/// and that there are at most `max`.
fn check(raw: &str, upper: bool, allowed: &'static str, max: usize) -> Result<(), InvalidName> {
    let letter = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || (upper && b.is_ascii_uppercase());
    let is_allowed = |b: &u8| letter(b) || (*b != b' ' && allowed.as_bytes().contains(b));
    let bytes = raw.as_bytes();
    let reserved = raw == RESERVED;
    let is_valid = bytes.len() <= max && bytes.first().is_some_and(letter) && bytes.iter().all(is_allowed);
    if is_valid && !reserved { Ok(()) } else { Err(InvalidName { upper, allowed, max, reserved }) }
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident: $pattern:literal, $upper:literal, $allowed:literal, $max:literal);* $(;)?) => {
        checked_texts! {$(
            $(#[$doc])*
            $name: InvalidName = |raw| check(raw, $upper, $allowed, $max);
        )*}

        $(impl $name {
            /// The regular expression that these names match.
            pub const PATTERN: &'static str = $pattern;

            /// The name as a segment of a URL's path.
            pub fn in_url(&self) -> UrlSegment<'_> {
                UrlSegment(self.as_str())
            }
        })*
    };
}

names! {
    /// Name of an image.
    ImageName: "^[a-z0-9][a-z0-9._-]{0,127}$", false, ". _ -", 128;
    /// Name of a version; unique in its image together with the aliases. Pre-releases can be named as in Debian (`1~rc1`)
    /// and in the UAPI version format specification (`1~rc1`, `1^20260101`).
    VersionName: "^[A-Za-z0-9][A-Za-z0-9._+:~^-]{0,127}$", true, ". _ + : ~ ^ -", 128;
    /// Name of an alias; unique in its image together with the versions.
    AliasName: "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", true, ". _ -", 64;
    /// Name of a version or an alias, before it is known which.
    RefName: "^[A-Za-z0-9][A-Za-z0-9._+:~^-]{0,127}$", true, ". _ + : ~ ^ -", 128;
    /// Operating system of an artifact, such as `debian`.
    OperatingSystem: "^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$", true, ". _ + -", 64;
    /// Architecture of an artifact, such as `amd64`.
    Architecture: "^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$", true, ". _ + -", 64;
    /// Variant of an artifact, such as `cloud`.
    Variant: "^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$", true, ". _ + -", 64;
    /// Name of a provisioning rule.
    RuleId: "^[a-z0-9][a-z0-9._-]{0,63}$", false, ". _ -", 64;
    /// Name of a property of an Incus image.
    PropertyName: "^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$", true, ". _ + -", 64;
    /// Name of a file of a version, as it appears in URLs.
    FileName: "^[A-Za-z0-9][A-Za-z0-9._+:~^-]{0,511}$", true, ". _ + : ~ ^ -", 512;
    /// Name of an attachment, such as `incus.tar.xz`.
    AttachmentName: "^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$", true, ". _ + -", 64;
}

/// A name or file name as a segment of a URL's path (RFC 3986, section 3.3): `^` is percent-encoded. The other characters
/// of names stay as they are, `~` because it is unreserved, `:` and `+` because a path may contain them.
#[derive(Debug, Clone, Copy)]
pub struct UrlSegment<'a>(pub &'a str);

impl fmt::Display for UrlSegment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut pieces = self.0.split('^');
        f.write_str(pieces.next().unwrap_or_default())?;
        pieces.try_for_each(|piece| write!(f, "%5E{piece}"))
    }
}

impl Default for Variant {
    fn default() -> Self {
        Self("default".to_owned())
    }
}

impl Variant {
    /// Whether this is the variant that artifacts have by default.
    pub fn is_default(&self) -> bool {
        self.0 == "default"
    }
}

/// Number of a part of an upload: 1 to 10000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartNumber(u16);

/// The number is not a part number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a part number from 1 to 10000")]
pub struct InvalidPartNumber;

impl PartNumber {
    /// The number of the first part.
    pub const FIRST: Self = Self(1);
    /// The greatest part number.
    pub const MAX: u16 = 10_000;

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }

    /// The next number; `None` after the greatest.
    pub fn next(self) -> Option<Self> {
        (self.0 < Self::MAX).then(|| Self(self.0 + 1))
    }

    /// The previous number; `None` before the first.
    pub fn previous(self) -> Option<Self> {
        (self.0 > 1).then(|| Self(self.0 - 1))
    }
}

impl TryFrom<i64> for PartNumber {
    type Error = InvalidPartNumber;

    fn try_from(raw: i64) -> Result<Self, InvalidPartNumber> {
        match u16::try_from(raw) {
            Ok(number @ 1..=Self::MAX) => Ok(Self(number)),
            _ => Err(InvalidPartNumber),
        }
    }
}

impl FromStr for PartNumber {
    type Err = InvalidPartNumber;

    fn from_str(raw: &str) -> Result<Self, InvalidPartNumber> {
        let canonical = !raw.starts_with('0') && raw.bytes().all(|b| b.is_ascii_digit());
        if !canonical {
            return Err(InvalidPartNumber);
        }
        raw.parse::<i64>().map_err(|_| InvalidPartNumber)?.try_into()
    }
}

impl fmt::Display for PartNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_their_patterns() {
        assert!("debian-bookworm".parse::<ImageName>().is_ok());
        assert!("x".repeat(128).parse::<ImageName>().is_ok());
        for bad in ["", "A", "-a", ".a", "a/b", "a\0", "a\n", "\u{e9}", &"x".repeat(129)] {
            assert!(bad.parse::<ImageName>().is_err(), "{bad:?}");
        }
        for version in ["2024:01+x-1", "13~rc1", "6.12.0-1~bpo12+1", "1.0^20261128", "1^~x"] {
            assert!(version.parse::<VersionName>().is_ok(), "{version}");
            assert!(version.parse::<RefName>().is_ok(), "{version}");
            assert!(format!("debian-{version}-amd64.qcow2").parse::<FileName>().is_ok(), "{version}");
        }
        for version in ["~rc1", "^1", "1/2", "1 2", "1%5E2", "1\\2"] {
            assert!(version.parse::<VersionName>().is_err(), "{version}");
        }
        assert!("a:b".parse::<AliasName>().is_err());
        assert!("feed.atom".parse::<VersionName>().is_err() && "feed.atom".parse::<AliasName>().is_err());
        assert!("feed.atom.1".parse::<VersionName>().is_ok());
        assert!("incus.tar.xz".parse::<AttachmentName>().is_ok());
        assert!("..".parse::<AttachmentName>().is_err());
    }

    #[test]
    fn a_refusal_says_which_characters_are_allowed() {
        let refusal = |invalid: InvalidName| invalid.to_string();
        assert_eq!(
            "a b".parse::<VersionName>().map_err(refusal),
            Err("must begin with a letter or digit, contain only letters, digits and . _ + : ~ ^ -, and have at most 128 \
                 characters"
                .to_owned())
        );
        let refused = "A".parse::<ImageName>().map_err(refusal).expect_err("a capital");
        assert!(refused.contains("lowercase letters, digits and . _ -, and"), "{refused}");
    }

    #[test]
    fn names_in_urls_need_no_further_encoding() {
        let version: VersionName = "6.12~rc1+b:1^2^".parse().expect("a name");
        assert_eq!(version.in_url().to_string(), "6.12~rc1+b:1%5E2%5E");
        assert_eq!(UrlSegment("debian-12-amd64.raw").to_string(), "debian-12-amd64.raw");
    }

    #[test]
    fn part_numbers_have_one_spelling() {
        assert_eq!("10000".parse::<PartNumber>().map(PartNumber::get), Ok(10_000));
        for bad in ["0", "01", "+1", "-1", "10001", "1.0", "", "99999999999999999999"] {
            assert!(bad.parse::<PartNumber>().is_err(), "{bad}");
        }
    }
}
