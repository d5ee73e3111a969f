//! `imgsrv aliases`.

use crate::{
    failure::Failure,
    options::Session,
    report::{Column, date},
};
use clap::Subcommand;
use futures::TryStreamExt;
use imgsrv_client::api::Alias;
use serde_json::json;

#[derive(Debug, Subcommand)]
pub enum AliasesCommand {
    /// List the aliases of an image
    List {
        /// Image, such as debian
        image: String,
    },
    /// Point an alias to a published version; it is created if it does not exist
    Set {
        /// Image, such as debian
        image: String,
        /// Alias, such as latest
        alias: String,
        /// Published version, such as 12.5.0
        version: String,
    },
    /// Delete an alias; its version stays
    #[command(alias = "rm")]
    Delete {
        /// Image, such as debian
        image: String,
        /// Alias, such as latest
        alias: String,
    },
}

pub(crate) async fn run(command: AliasesCommand, Session { report, client }: &Session) -> Result<(), Failure> {
    match command {
        AliasesCommand::List { image } => {
            let aliases: Vec<Alias> = client.aliases(&image).try_collect().await.map_err(Failure::about(&image))?;
            let head = [Column::name("ALIAS"), Column::name("VERSION"), Column::day("MOVED")];
            report.list("aliases", head, aliases, |alias| [alias.alias, alias.version, date(&alias.updated_at)])
        }
        AliasesCommand::Set { image, alias, version } => {
            let set = client.set_alias(&image, &alias, &version).await;
            let set = set.map_err(Failure::about(format_args!("{image}:{alias} to {version}")))?;
            report.result(&format!("{image}:{alias} points to {version}"), &set)
        }
        AliasesCommand::Delete { image, alias } => {
            client.delete_alias(&image, &alias).await.map_err(Failure::about(format_args!("{image}:{alias}")))?;
            let json = json!({"image": image, "alias": alias, "deleted": true});
            report.result(&format!("deleted the alias {image}:{alias}"), &json)
        }
    }
}
