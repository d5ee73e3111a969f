//! Clusters: the real binary in several processes on one PostgreSQL and one S3-compatible store, with failures of each.

#![expect(clippy::print_stdout, reason = "measurements, shown with --nocapture")]

mod addressing;
mod harness;
mod intake;
mod leases;
mod metrics;
mod modes;
mod outages;
mod publisher;
mod rolling;
mod storm;
mod streams;
