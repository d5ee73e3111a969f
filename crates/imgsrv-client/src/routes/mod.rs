//! The routes of the API: a method of the client for each.

mod auth;
mod content;
mod intakes;
mod lifecycles;
mod links;
mod pages;
mod retention;
mod system;
mod uploads;

pub use auth::AuditFilter;
pub use pages::Rows;
