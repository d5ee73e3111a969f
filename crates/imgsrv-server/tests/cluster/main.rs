//! Many nodes: the real binary in several processes on one PostgreSQL and one Garage, and what may happen to them.

#![expect(clippy::print_stdout, reason = "figures, for whoever asks with --nocapture")]

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
