//! Many nodes: the real binary in several processes on one PostgreSQL and one Garage, and what may happen to them.

mod harness;
mod leases;
mod modes;
mod outages;
mod publisher;
mod rolling;
mod storm;
