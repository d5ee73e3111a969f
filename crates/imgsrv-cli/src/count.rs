//! Numbers on the command line.

use clap::builder::TypedValueParser;
use std::{
    fmt::Display,
    ops::{Bound, RangeBounds},
    str::FromStr,
};

/// A parser of whole numbers in a range, whose error names the range.
pub fn count<T>(range: impl RangeBounds<T> + Clone + Send + Sync + 'static) -> impl TypedValueParser<Value = T>
where
    T: FromStr + PartialOrd + Display + Clone + Send + Sync + 'static,
{
    move |raw: &str| -> Result<T, String> {
        let wrong = || match (range.start_bound(), range.end_bound()) {
            (Bound::Included(from), Bound::Included(to)) => format!("must be a whole number from {from} to {to}"),
            (Bound::Included(from), _) => format!("must be a whole number from {from}"),
            _ => "must be a whole number".to_owned(),
        };
        raw.parse().ok().filter(|number| range.contains(number)).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_outside_its_range_is_refused_with_the_range() {
        let parse = |raw: &str| {
            let cli = clap::Command::new("x").arg(clap::Arg::new("n").value_parser(count::<u8>(1..=64)));
            let parsed = cli.try_get_matches_from(["x", raw]);
            parsed.map(|found| found.get_one::<u8>("n").copied()).map_err(|error| error.to_string())
        };
        assert_eq!(parse("64").expect("a number"), Some(64));
        for wrong in ["0", "65", "300", "many", "1.5", ""] {
            let error = parse(wrong).expect_err("refused");
            assert!(error.contains("must be a whole number from 1 to 64"), "{wrong}: {error}");
        }
    }
}
