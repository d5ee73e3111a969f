//! The real binary, killed at many moments and crashing at every crash point of upload, ingest, publish and clearing. After
//! each restart everything acknowledged exists, and interrupted work converges.

mod kills;
mod points;
mod publication;
mod victim;
