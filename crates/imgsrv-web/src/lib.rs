//! The catalog as pages for people: HTML and Atom feeds, rendered without I/O from what the use cases return.
//!
//! Every text is escaped by the type of its template (askama), every URL is built in `links`, and no template decides
//! anything. Pages work without scripts; one inline script, which the content security policy admits by its hash, adds
//! buttons to copy texts and fields to filter tables.

mod assets;
mod chrome;
mod commands;
mod feed;
mod home;
mod image;
mod links;
mod llms;
mod notices;
mod problem;
mod search;
mod status;
mod text;
mod version;

pub use askama::Error as RenderError;
pub use assets::{ASSETS, Asset, content_security_policy};
pub use chrome::{Site, Viewer};
pub use feed::feed;
pub use home::home;
pub use image::{VersionsShown, image};
pub use llms::llms;
pub use problem::{ProblemView, problem};
pub use search::SearchForm;
pub use status::{Health, Operation, status};
pub use version::{CommandsShown, version};
