//! What every SQL catalog shares, whatever its dialect: rows and their decoding, page cursors, and the
//! meaning of broken constraints.

mod conflicts;
mod cursor;
mod rows;

pub use conflicts::conflict;
pub use cursor::{CursorKey, ListName};
pub use rows::*;
