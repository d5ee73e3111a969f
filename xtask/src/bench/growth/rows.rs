//! The rows of the table: how long a request takes on each catalog.

use super::catalogs::{Database, Filled};
use crate::shell::Result;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Growth from the first catalog to the last that a request may have, as a factor of its median.
const LIMIT: f64 = 1.3;
/// Requests to each catalog that are made before those that are measured.
const WARM_UP: usize = 3;

/// A request, and how long it took on each catalog.
#[derive(Debug)]
pub(super) struct Growth {
    pub(super) database: Option<Database>,
    what: &'static str,
    /// Milliseconds of each request to each catalog, sorted.
    times: Vec<Vec<f64>>,
    /// Whether the response contains the whole catalog, so that it may grow.
    is_whole: bool,
}

impl Growth {
    pub(super) fn new(what: &'static str, times: Vec<Vec<Duration>>) -> Self {
        let sorted = |times: Vec<Duration>| {
            let mut times: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1000.0).collect();
            times.sort_by(f64::total_cmp);
            times
        };
        Self { database: None, what, times: times.into_iter().map(sorted).collect(), is_whole: false }
    }

    /// The same row, whose response contains the whole catalog.
    pub(super) fn whole(self) -> Self {
        Self { is_whole: true, ..self }
    }

    /// Measures requests, each to one catalog after another. `request` gets the number of the catalog and of the request.
    pub(super) fn measure(
        what: &'static str,
        catalogs: &[Filled],
        requests: usize,
        mut request: impl FnMut(usize, usize) -> Result<()>,
    ) -> Result<Self> {
        println!("  {what}");
        let mut times = vec![Vec::with_capacity(requests); catalogs.len()];
        for number in 0..requests + WARM_UP {
            for (at, times) in times.iter_mut().enumerate() {
                let took = timed(|| request(at, number)).map_err(|error| format!("{what}: {error}"))?;
                if number >= WARM_UP {
                    times.push(took);
                }
            }
        }
        Ok(Self::new(what, times))
    }

    /// The figure below which so many thousandths of the requests to a catalog are.
    fn quantile(times: &[f64], per_mille: usize) -> f64 {
        times.get((times.len() * per_mille / 1000).min(times.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
    }

    /// The median on the last catalog as a multiple of that on the first.
    fn factor(&self) -> f64 {
        let median = |times: Option<&Vec<f64>>| times.map_or(f64::NAN, |times| Self::quantile(times, 500));
        median(self.times.last()) / median(self.times.first())
    }

    fn line(&self) -> String {
        let figures = self.times.iter().map(|times| {
            let (median, slow) = (Self::quantile(times, 500), Self::quantile(times, 990));
            format!("{median:.2} / {slow:.2}")
        });
        let figures: Vec<String> = figures.collect();
        let database = self.database.map(|database| database.to_string()).unwrap_or_default();
        let met = match self.is_whole {
            true => "whole catalog",
            false if self.factor() <= LIMIT => "yes",
            false => "no",
        };
        format!("| {database} | {} | {} | {:.2} | {met} |\n", self.what, figures.join(" | "), self.factor())
    }

    pub(super) fn json(&self, versions: &[u32]) -> Value {
        let catalogs = versions.iter().zip(&self.times).map(|(versions, times)| {
            json!({"versions": versions, "requests": times.len(), "p50_ms": Self::quantile(times, 500),
                "p99_ms": Self::quantile(times, 990)})
        });
        let catalogs: Vec<Value> = catalogs.collect();
        json!({"database": self.database.map(|database| database.to_string()), "row": self.what,
            "is_whole_catalog": self.is_whole, "catalogs": catalogs, "factor": self.factor()})
    }
}

/// How long work takes.
pub(super) fn timed(work: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let started = Instant::now();
    work()?;
    Ok(started.elapsed())
}

/// The rows as a table in Markdown: the median and the 99th percentile in milliseconds.
pub(super) fn markdown(versions: &[u32], rows: &[Growth]) -> String {
    let columns: Vec<String> = versions.iter().map(|versions| format!("p50 / p99 ms at {versions}")).collect();
    let head = format!("| catalog | request | {} | growth | met |\n", columns.join(" | "));
    let rule = format!("|{}\n", " --- |".repeat(columns.len() + 4));
    [head, rule].into_iter().chain(rows.iter().map(Growth::line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(median: u64) -> Vec<Duration> {
        (0..100).map(|at| Duration::from_millis(if at < 98 { median } else { 10 * median })).collect()
    }

    #[test]
    fn growth_is_that_of_the_median_from_the_first_catalog_to_the_last() {
        let row = Growth::new("a request", vec![times(10), times(40), times(12)]);
        assert_eq!(row.line(), "|  | a request | 10.00 / 100.00 | 40.00 / 400.00 | 12.00 / 120.00 | 1.20 | yes |\n");
        let grown = Growth::new("a request", vec![times(10), times(14)]);
        assert!(grown.line().ends_with("| 1.40 | no |\n"), "{}", grown.line());
    }
}
