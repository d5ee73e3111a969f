//! Metrics for Prometheus, on their own listener.
//!
//! Metrics of this process are recorded as events happen; those of the catalog and of the machine are read when it is
//! scraped. Labels have a bounded set of values: never ids, names or addresses.

mod encoding;
mod machine;
mod process;
mod scrape;

pub(crate) use machine::{MachineMetrics, free_bytes};
pub(crate) use process::ProcessMetrics;
pub(crate) use scrape::{Scrape, router};
