//! Integers as JSON Schema defines them: `1.0` is one.

use serde::{Deserialize, Deserializer, de};
use std::fmt;

/// An integer of 64 bits, also if it is written with a fraction of zero or an exponent, as some encoders do.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    deserializer.deserialize_i64(Integer)
}

/// The same, where it may be absent.
pub(crate) fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    #[derive(Deserialize)]
    struct Present(#[serde(deserialize_with = "deserialize")] i64);

    Ok(Option::<Present>::deserialize(deserializer)?.map(|Present(value)| value))
}

struct Integer;

impl de::Visitor<'_> for Integer {
    type Value = i64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer of 64 bits")
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<i64, E> {
        Ok(value)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<i64, E> {
        i64::try_from(value).map_err(|_| E::invalid_value(de::Unexpected::Unsigned(value), &self))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<i64, E> {
        let invalid = || E::invalid_value(de::Unexpected::Float(value), &self);
        if value.fract() == 0.0 { format!("{value:.0}").parse().map_err(|_| invalid()) } else { Err(invalid()) }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    struct Sized {
        #[serde(deserialize_with = "super::deserialize")]
        size: i64,
    }

    #[test]
    fn a_fraction_of_zero_is_an_integer() {
        let parse =
            |number: &str| serde_json::from_str::<Sized>(&format!("{{\"size\":{number}}}")).map(|sized| sized.size);
        for (number, expected) in
            [("7", 7), ("-7", -7), ("7.0", 7), ("7e3", 7000), ("-0.0", 0), ("9223372036854775807", i64::MAX)]
        {
            assert_eq!(parse(number).expect(number), expected);
        }
        for number in ["7.5", "1e400", "1e19", "9223372036854775808", "\"7\"", "null", "true", "[7]"] {
            assert!(parse(number).is_err(), "{number}");
        }
    }
}
