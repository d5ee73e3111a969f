//! Conditions in CEL, the Common Expression Language (<https://github.com/google/cel-spec>), without macros and
//! regular expressions.

mod engine;
mod names;
mod program;
mod shape;
mod values;

pub use engine::CelEngine;
