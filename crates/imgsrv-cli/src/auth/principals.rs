//! `imgsrv auth principals`.

use crate::{
    failure::Failure,
    options::Session,
    reference::shown,
    report::{Column, date},
};
use clap::Subcommand;
use futures::TryStreamExt;
use imgsrv_client::{
    Client, UnknownValue,
    api::{CreatePrincipal, Principal, RoleGrant},
};
use imgsrv_domain::auth::Role;

/// The length of an id.
const ID: usize = 36;

#[derive(Debug, Subcommand)]
pub enum PrincipalsCommand {
    /// List principals
    List,
    /// Show a principal
    Show {
        /// Name or id of the principal
        principal: String,
    },
    /// Create a principal
    Create {
        /// Name, such as "image builder"
        name: String,
        /// Kind of principal
        #[arg(long, default_value = "service", value_parser = ["user", "service"])]
        kind: String,
        /// Role to grant: content-reader, content-writer, content-admin, auth-manager, operator or auditor. Repeat the option
        /// for several
        #[arg(long, value_name = "ROLE", value_parser = role_name)]
        role: Vec<String>,
        /// Create the principal even if another one has the same name; commands then need the id of either
        #[arg(long)]
        force: bool,
    },
    /// Deactivate a principal: the server refuses all its tokens
    Deactivate {
        /// Name or id of the principal
        principal: String,
    },
    /// Activate a principal again
    Activate {
        /// Name or id of the principal
        principal: String,
    },
}

pub(crate) async fn run(command: PrincipalsCommand, Session { report, client }: &Session) -> Result<(), Failure> {
    match command {
        PrincipalsCommand::List => {
            let all: Vec<Principal> = client.principals().try_collect().await?;
            // Commands accept names, so that ids matter least.
            let head = [
                Column::name("NAME"),
                Column::cut("KIND"),
                Column::text("ROLES"),
                Column::text("STATE"),
                Column::least("ID"),
            ];
            report.list("principals", head, all, |principal| {
                let state = state(&principal);
                let roles = roles(&principal);
                let Principal { id, kind, display_name, .. } = principal;
                [display_name, kind, roles, state, id]
            })
        }
        PrincipalsCommand::Show { principal } => {
            let found = find(client, &principal).await?;
            report.result(&describe(&found), &found)
        }
        PrincipalsCommand::Create { name, kind, role, force } => {
            if !force {
                refuse_twin(client, &name).await?;
            }
            let new = CreatePrincipal { kind, display_name: name, attributes: None };
            let mut created = client.create_principal(&new).await?;
            for role in role {
                client.grant_role(&created.id, &role).await?;
                created.roles.push(RoleGrant { id: role.clone(), images: None });
                created.role_ids.push(role);
            }
            // The id alone, for shell variables.
            report.result(&created.id, &created)
        }
        PrincipalsCommand::Deactivate { principal } => {
            let changed = client.deactivate_principal(&find(client, &principal).await?.id).await?;
            report.result(&format!("deactivated {}", changed.display_name), &changed)
        }
        PrincipalsCommand::Activate { principal } => {
            let changed = client.activate_principal(&find(client, &principal).await?.id).await?;
            report.result(&format!("activated {}", changed.display_name), &changed)
        }
    }
}

/// Checks the name of a role.
pub(super) fn role_name(raw: &str) -> Result<String, UnknownValue> {
    raw.parse::<Role>().map(|role| role.to_string())
}

/// Refuses a name that another principal has: commands find principals by their names.
async fn refuse_twin(client: &Client, name: &str) -> Result<(), Failure> {
    let all: Vec<Principal> = client.principals().try_collect().await?;
    let Some(twin) = all.iter().find(|one| one.display_name == name) else { return Ok(()) };
    let activate = if twin.deactivated_at.is_some() {
        format!("imgsrv auth principals activate {} activates it again. ", twin.id)
    } else {
        String::new()
    };
    let state = if twin.deactivated_at.is_some() { "deactivated" } else { "active" };
    let message = format!("there is a {} named {name} already, which is {state}", twin.kind);
    Err(Failure::refused(message)
        .with_advice(format!("{activate}Choose another name, or add --force: commands then need the id of either.")))
}

fn state(principal: &Principal) -> String {
    let deactivated = principal.deactivated_at.as_deref().map(|at| format!("deactivated {}", date(at)));
    deactivated.unwrap_or_else(|| "active".to_owned())
}

/// Roles or actions, and the images to which they are limited, if they are.
pub(crate) fn role_on(roles: &str, images: Option<&[String]>) -> String {
    match images {
        None => roles.to_owned(),
        Some([]) => format!("{roles} on no image"),
        Some(images) => format!("{roles} on {}", images.join(" ")),
    }
}

/// What a credential is limited to, if it is.
pub(crate) fn limits(roles: Option<&[String]>, images: Option<&[String]>) -> Option<String> {
    match (roles, images) {
        (None, None) => None,
        (None, Some(images)) => Some(images.join(" ")),
        (Some(roles), images) => Some(role_on(&roles.join(", "), images)),
    }
}

/// The roles of a principal, and the images to which they are limited.
pub(crate) fn roles(principal: &Principal) -> String {
    let granted = principal.roles.iter().map(|role| role_on(&role.id, role.images.as_deref()));
    granted.collect::<Vec<_>>().join(", ")
}

fn describe(principal: &Principal) -> String {
    let Principal { id, kind, display_name, roles: granted, .. } = principal;
    let roles = if granted.is_empty() { "none".to_owned() } else { roles(principal) };
    format!("{display_name} ({kind} {id})\nroles: {roles}\nstate: {}", state(principal))
}

pub(super) fn is_id(text: &str) -> bool {
    text.len() == ID && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

/// The principal with this id, or the only one with this name.
pub(crate) async fn find(client: &Client, name_or_id: &str) -> Result<Principal, Failure> {
    if is_id(name_or_id) {
        return Ok(client.principal(name_or_id).await?);
    }
    let all: Vec<Principal> = client.principals().try_collect().await?;
    let found = named(&all, name_or_id)?;
    found.cloned().ok_or_else(|| {
        let names = shown(all.iter().map(|one| one.display_name.clone()));
        Failure::not_found(format!("there is no principal {name_or_id}"))
            .with_advice(format!("The principals are {names}; imgsrv auth principals list shows all."))
    })
}

/// The only principal with this name, if there is one.
pub(super) fn named<'a>(all: &'a [Principal], name: &str) -> Result<Option<&'a Principal>, Failure> {
    let named: Vec<&Principal> = all.iter().filter(|one| one.display_name == name).collect();
    match named.as_slice() {
        [] => Ok(None),
        [only] => Ok(Some(*only)),
        several => {
            let line = |one: &&Principal| format!("\n{} {} {}", one.id, one.kind, state(one));
            let candidates: String = several.iter().map(line).collect();
            Err(Failure::usage(format!("{} principals are called {name}", several.len()))
                .with_advice(format!("Give the id of one:{candidates}")))
        }
    }
}
