//! Metrics for Prometheus, on a listener of their own.
//!
//! What this process does is counted as it happens; what the catalog holds is read when asked for. Labels are words of
//! which there are few: never ids, names or addresses.

mod process;
mod scrape;

pub(crate) use process::ProcessMetrics;
pub(crate) use scrape::{Scrape, router};
