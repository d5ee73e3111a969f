//! Many nodes: the real binary in several processes on one PostgreSQL and one Garage, and what may happen to them.

#![expect(clippy::print_stdout, reason = "figures, for whoever asks with --nocapture")]

mod harness;
mod leases;
mod modes;
mod outages;
mod publisher;
mod rolling;
mod storm;
