//! The pages in Chromium: with and without scripts, by keyboard, narrow, dark and printed; accessible, and valid HTML.

mod catalog;
mod chromium;
mod commands;
mod pages;
mod screenshots;
