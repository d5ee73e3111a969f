//! Responses: downloads, conditional requests, problems, pages, and the wire types of domain objects.

pub(crate) mod browsers;
pub(crate) mod conditional;
pub(crate) mod dates;
pub(crate) mod discouraged;
pub(crate) mod download;
mod errors;
pub(crate) mod html;
pub(crate) mod manifests;
mod multipart;
pub(crate) mod page;
pub(crate) mod problem;
pub(crate) mod purges;
mod ranges;
pub(crate) mod wire;
