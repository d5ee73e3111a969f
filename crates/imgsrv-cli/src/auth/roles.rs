//! `imgsrv auth roles`.

use super::principals;
use crate::{failure::Failure, options::Session, report::Column};
use clap::Subcommand;
use serde_json::json;

#[derive(Debug, Subcommand)]
pub enum RolesCommand {
    /// List roles
    List,
    /// Grant a role to a principal
    Grant {
        /// Name or id of the principal
        principal: String,
        /// Role: content-reader, content-writer, content-admin, auth-manager, operator or auditor
        #[arg(value_parser = principals::role_name)]
        role: String,
        /// Only on images whose name matches, such as 'debian-*', instead of those so far. Repeat the option for several;
        /// '*' is every image
        #[arg(long = "image", value_name = "PATTERN")]
        images: Vec<String>,
    },
    /// Revoke a role of a principal
    Revoke {
        /// Name or id of the principal
        principal: String,
        /// Role: content-reader, content-writer, content-admin, auth-manager, operator or auditor
        #[arg(value_parser = principals::role_name)]
        role: String,
    },
}

pub(crate) async fn run(command: RolesCommand, Session { report, client }: &Session) -> Result<(), Failure> {
    match command {
        RolesCommand::List => {
            let head = [Column::name("ID"), Column::text("ALLOWS"), Column::text("DESCRIPTION")];
            report
                .list("roles", head, client.roles().await?, |role| [role.id, role.actions.join(", "), role.description])
        }
        RolesCommand::Grant { principal, role, images } => {
            let found = principals::find(client, &principal).await?;
            let mut json = json!({"principal_id": found.id, "role": role, "granted": true});
            if images.is_empty() {
                client.grant_role(&found.id, &role).await?;
            } else {
                client.grant_role_on(&found.id, &role, &images).await?;
                json["images"] = json!(images);
            }
            // A role that is limited to some images stays so when it is granted without any.
            let now = client.principal(&found.id).await?;
            let images = now.roles.into_iter().find(|now| now.id == role).and_then(|now| now.images);
            let has = principals::role_on(&role, images.as_deref());
            report.result(&format!("{} has {has}", found.display_name), &json)
        }
        RolesCommand::Revoke { principal, role } => {
            let found = principals::find(client, &principal).await?;
            client.revoke_role(&found.id, &role).await?;
            let json = json!({"principal_id": found.id, "role": role, "granted": false});
            report.result(&format!("revoked {role} of {}", found.display_name), &json)
        }
    }
}
