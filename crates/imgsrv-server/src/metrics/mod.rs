//! Metrics for Prometheus, on their own listener.
//!
//! Metrics of this process are recorded as events happen; those of the catalog are read when it is scraped. Labels have
//! a bounded set of values: never ids, names or addresses.

mod process;
mod scrape;

pub(crate) use process::ProcessMetrics;
pub(crate) use scrape::{Scrape, router};
