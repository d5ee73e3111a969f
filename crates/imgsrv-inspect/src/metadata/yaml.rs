//! Reads `metadata.yaml` as Incus does: into `api.ImageMetadata`, with the conversions of its YAML library.

use super::{Line, MetadataProblem};
use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, Visitor},
};
use serde_path_to_error::Segment;
use serde_saphyr::{DuplicateKeyPolicy, NonFiniteFloatPolicy};
use std::{borrow::Cow, collections::BTreeMap, fmt};

/// What is used of the file.
pub(super) struct Content {
    pub(super) architecture: String,
    pub(super) creation_date: i64,
    pub(super) expiry_date: i64,
    pub(super) properties: BTreeMap<String, String>,
}

type Texts = Option<BTreeMap<String, Text>>;

#[derive(Deserialize, Default)]
#[serde(default)]
struct Document {
    architecture: Text,
    creation_date: Number,
    expiry_date: Number,
    properties: Texts,
    /// Only their form matters.
    templates: Option<BTreeMap<String, Option<Template>>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Template {
    when: Option<Vec<Text>>,
    create_only: Flag,
    #[serde(rename = "template")]
    file: Text,
    properties: Texts,
    uid: Text,
    gid: Text,
    mode: Text,
}

/// Any scalar, as it is written; none is empty.
#[derive(Default)]
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Option::deserialize(from).map(|text| Self(text.unwrap_or_default()))
    }
}

/// A number that is not in quotes, without its fraction; none is zero.
#[derive(Default)]
struct Number(i64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(AnyScalar("a number")).and_then(|scalar| match scalar {
            Scalar::None => Ok(Self(0)),
            Scalar::Number(number) => Ok(Self(number)),
            Scalar::Flag => Err(D::Error::custom("not a number")),
        })
    }
}

/// True or false, not in quotes; none is false.
#[derive(Default)]
struct Flag;

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(AnyScalar("true or false")).and_then(|scalar| match scalar {
            Scalar::None | Scalar::Flag => Ok(Self),
            Scalar::Number(_) => Err(D::Error::custom("not a flag")),
        })
    }
}

enum Scalar {
    None,
    Number(i64),
    Flag,
}

/// Accepts a scalar that is not a text.
struct AnyScalar(&'static str);

impl Visitor<'_> for AnyScalar {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_unit<E: Error>(self) -> Result<Scalar, E> {
        Ok(Scalar::None)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Scalar, E> {
        Ok(Scalar::Flag)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Scalar, E> {
        Ok(Scalar::Number(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Scalar, E> {
        i64::try_from(number).map(Scalar::Number).map_err(E::custom)
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "the fraction is dropped")]
    fn visit_f64<E: Error>(self, number: f64) -> Result<Scalar, E> {
        let is_in_range = number >= i64::MIN as f64 && number < i64::MAX as f64;
        if is_in_range { Ok(Scalar::Number(number as i64)) } else { Err(E::custom("out of range")) }
    }
}

/// Reads the first document of the file.
pub(super) fn read(bytes: &[u8]) -> Result<Content, MetadataProblem> {
    let text = decode(bytes).ok_or(MetadataProblem::NotYaml(Line(None)))?;
    if let Some(at) = text.find(|letter| !is_printable(letter)) {
        let line = text[..at].bytes().filter(|byte| *byte == b'\n').count() as u64 + 1;
        return Err(MetadataProblem::NotYaml(Line(Some(line))));
    }
    // First without types, so that whatever is refused afterwards is a value of another kind.
    first_document(&text, |from| IgnoredAny::deserialize(from)).map_err(|error| {
        let line = error.location().map(|location| location.line()).filter(|line| *line > 0);
        MetadataProblem::NotYaml(Line(line))
    })?;
    let mut unexpected = None;
    let document = first_document(&text, |from| {
        serde_path_to_error::deserialize::<_, Document>(from).map_err(|error| {
            unexpected = Some(kind(error.path()));
            error.into_inner()
        })
    });
    let Document { architecture, creation_date, expiry_date, properties, .. } =
        document.map_err(|_| unexpected.unwrap_or(MetadataProblem::NotAMapping))?;
    let properties = properties.unwrap_or_default().into_iter().map(|(name, Text(value))| (name, value)).collect();
    Ok(Content { architecture: architecture.0, creation_date: creation_date.0, expiry_date: expiry_date.0, properties })
}

/// The text of a file in UTF-8, or in UTF-16 with a byte order mark.
fn decode(bytes: &[u8]) -> Option<Cow<'_, str>> {
    let units = |rest: &[u8], unit: fn([u8; 2]) -> u16| {
        let (pairs, rest) = rest.as_chunks::<2>();
        let text = String::from_utf16(&pairs.iter().copied().map(unit).collect::<Vec<_>>()).ok()?;
        rest.is_empty().then_some(Cow::Owned(text))
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => units(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => units(rest, u16::from_be_bytes),
        _ => std::str::from_utf8(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)).ok().map(Cow::Borrowed),
    }
}

/// Whether YAML permits the character.
const fn is_printable(letter: char) -> bool {
    matches!(letter, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}'
        | '\u{ff00}'..='\u{fffd}' | '\u{10000}'..='\u{10ffff}')
}

/// What `read` makes of the first document; further ones do not matter.
fn first_document<T>(
    text: &str,
    read: impl FnOnce(serde_saphyr::Deserializer<'_, '_>) -> Result<T, serde_saphyr::Error>,
) -> Result<T, serde_saphyr::Error> {
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::LastWins,
        legacy_octal_numbers: true,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        with_snippet: false,
    };
    let mut found = None;
    let ended = serde_saphyr::with_deserializer_from_str_with_options(text, options, |from| {
        found = Some(read(from)?);
        Ok(())
    });
    found.map_or_else(|| Err(ended.err().unwrap_or_else(|| Error::custom("no document"))), Ok)
}

/// The problem that a field has a value of another kind.
fn kind(path: &serde_path_to_error::Path) -> MetadataProblem {
    let names: Vec<_> = path
        .iter()
        .filter_map(|segment| match segment {
            Segment::Map { key } => Some(key.as_str()),
            _ => None,
        })
        .collect();
    let expected = match names.as_slice() {
        [] => return MetadataProblem::NotAMapping,
        ["creation_date" | "expiry_date"] => "a number without quotes",
        ["properties"] | ["templates", _, "properties"] => "a mapping from names to texts",
        ["templates"] => "a mapping from paths to templates",
        ["templates", _] => "a template",
        ["templates", _, "create_only"] => "true or false without quotes",
        ["templates", _, "when"] if !path.to_string().ends_with(']') => "a list of texts",
        _ => "text",
    };
    // The content of a hostile file is repeated only if it is harmless.
    let path = path.to_string();
    let is_harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"./_-[]".contains(&byte);
    let field = if path.len() <= 128 && path.bytes().all(is_harmless) { path } else { names[0].to_owned() };
    MetadataProblem::Kind { field, expected }
}
