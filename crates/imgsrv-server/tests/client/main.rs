//! The commands of publishers and consumers, as people and scripts run them, against a server that may be killed.

mod fetch;
mod login;
mod publish;
mod stage;
mod tokens;
mod trouble;
