//! `imgsrv auth`: principals, roles, tokens, provisioning rules and the audit log.

mod audit;
pub(crate) mod principals;
mod roles;
mod rules;
pub(crate) mod tokens;

use crate::{failure::Failure, options::Session};
use clap::Subcommand;

/// Management of authentication, over the API.
#[derive(Debug, Subcommand)]
pub enum AuthCommand {
    /// Manage principals: the users and services that may authenticate
    #[command(subcommand)]
    Principals(principals::PrincipalsCommand),
    /// Manage roles: what principals may do
    #[command(subcommand)]
    Roles(roles::RolesCommand),
    /// Manage API tokens
    #[command(subcommand)]
    Tokens(tokens::TokensCommand),
    /// Manage provisioning rules: who may publish with tokens of an OpenID issuer such as GitHub
    #[command(subcommand)]
    Rules(rules::RulesCommand),
    /// List the audit log
    #[command(subcommand)]
    Audit(audit::AuditCommand),
}

pub(crate) async fn run(command: AuthCommand, session: &Session) -> Result<(), Failure> {
    match command {
        AuthCommand::Principals(command) => principals::run(command, session).await,
        AuthCommand::Roles(command) => roles::run(command, session).await,
        AuthCommand::Tokens(command) => tokens::run(command, session).await,
        AuthCommand::Rules(command) => rules::run(command, session).await,
        AuthCommand::Audit(command) => audit::run(command, session).await,
    }
}
