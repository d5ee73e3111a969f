//! The version that users of a retired version should use instead.

use crate::names::{ImageName, RefName};
use std::{fmt, str::FromStr};

/// A version or alias of an image, by name. It is resolved each time it is shown, because an alias moves.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Replacement {
    /// The image.
    pub image: ImageName,
    /// The name of the version or alias.
    pub reference: RefName,
}

impl Replacement {
    /// As users of `image` write it: without the image if that is the same.
    pub fn relative_to(&self, image: &ImageName) -> String {
        if self.image == *image { self.reference.to_string() } else { self.to_string() }
    }
}

/// `IMAGE:REF`.
impl fmt::Display for Replacement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.image, self.reference)
    }
}

/// A replacement as it is given: `REF`, or `IMAGE:REF`. The name of a version may contain a colon, so what the text stands
/// for depends on which versions exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedReplacement(String);

/// The text does not name a version or alias.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be the name of a version or alias, or IMAGE:NAME for one of another image")]
pub struct InvalidReplacement;

impl WantedReplacement {
    /// What it may stand for when it is given for a version of `image`; the first that exists is meant.
    pub fn candidates(&self, image: &ImageName) -> Vec<Replacement> {
        let own = self.0.parse().ok().map(|reference| Replacement { image: image.clone(), reference });
        let other = self.0.split_once(':').and_then(|(image, reference)| {
            Some(Replacement { image: image.parse().ok()?, reference: reference.parse().ok()? })
        });
        own.into_iter().chain(other).collect()
    }
}

impl FromStr for WantedReplacement {
    type Err = InvalidReplacement;

    fn from_str(raw: &str) -> Result<Self, InvalidReplacement> {
        let other = raw
            .split_once(':')
            .map(|(image, reference)| image.parse::<ImageName>().is_ok() && reference.parse::<RefName>().is_ok());
        let is_valid = raw.parse::<RefName>().is_ok() || other == Some(true);
        if is_valid { Ok(Self(raw.to_owned())) } else { Err(InvalidReplacement) }
    }
}

impl fmt::Display for WantedReplacement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replacement_names_a_version_of_the_image_or_one_of_another_image() {
        let image: ImageName = "debian".parse().expect("a name");
        let shown = |raw: &str| {
            let wanted: WantedReplacement = raw.parse().expect(raw);
            wanted.candidates(&image).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(shown("12.4.0"), ["debian:12.4.0"]);
        assert_eq!(shown("ubuntu:24.04"), ["debian:ubuntu:24.04", "ubuntu:24.04"]);
        assert_eq!(shown("Debian:1"), ["debian:Debian:1"], "no image has that name");
        for bad in ["", ":", ":b", "a b", "A:/", "a/b"] {
            assert!(bad.parse::<WantedReplacement>().is_err(), "{bad}");
        }
    }
}
