//! The real binary, killed at many moments and crashing at every crash point of upload, ingest, publish,
//! clearing and garbage collection. After
//! each restart everything acknowledged exists, and interrupted work converges.

mod collection;
mod downloads;
mod kills;
mod points;
mod publication;
mod purge;
mod victim;
