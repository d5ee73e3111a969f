//! `imgsrv admin`: commands that manage authentication directly in the catalog, without a token.

use crate::{
    backups,
    commands::{AdminCommand, AdminTokensCommand, CatalogOptions, ConfigCommand, ReleaseHoldOptions, RevokeOptions},
    config_check, config_show,
    error::StartError,
    fsck,
    options::TokenRef,
    output::{print, print_result, time},
    run::bootstrap,
    storage::OpenCatalog,
    system::UuidIds,
};
use imgsrv_app::{Manager, Principals, UseCaseError, release_hold, rotate_link_key};
use imgsrv_cli::for_stdout;
use imgsrv_domain::{
    access::ImageScope,
    auth::{ApiToken, Principal, Role, TokenKey},
    page::{Page, PageRequest},
    time::Timestamp,
};
use serde_json::{Value, json};
use std::{process::ExitCode, sync::Arc};

/// Runs an operator's command.
pub(crate) async fn run(command: AdminCommand) -> Result<ExitCode, StartError> {
    match command {
        AdminCommand::Fsck(arguments) => return fsck::run(arguments).await,
        AdminCommand::Bootstrap(options) => bootstrap(options).await?,
        AdminCommand::Tokens(AdminTokensCommand::List(options)) => list(options).await?,
        AdminCommand::Tokens(AdminTokensCommand::Revoke(options)) => revoke(options).await?,
        AdminCommand::ReleaseHold(options) => release(options).await?,
        AdminCommand::RotateLinkKey(options) => rotate(options).await?,
        AdminCommand::Export(options) => return backups::export(options).await,
        AdminCommand::Import(options) => return backups::import(options).await,
        AdminCommand::Config(ConfigCommand::Check(options)) => return config_check::run(&options).await,
        AdminCommand::Config(ConfigCommand::Show(options)) => config_show::run(&options)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Releases the hold of a version at once. Works beside a running server.
async fn release(options: ReleaseHoldOptions) -> Result<(), StartError> {
    let (_lock, catalog) = OpenCatalog::open_beside_server(&options.common.storage).await?;
    let (image, version) = &options.version;
    let was_held = release_hold(&*catalog.port(), image, version).await?;
    let done = if was_held { "released the hold of" } else { "no hold is in force on" };
    let value = json!({"image": image.as_str(), "version": version.as_str(), "released": was_held});
    print_result(options.common.json, &format!("{done} {image}:{version}\n"), &value)?;
    catalog.close().await;
    Ok(())
}

/// Replaces the key of links. Works beside a running server.
async fn rotate(CatalogOptions { json, storage }: CatalogOptions) -> Result<(), StartError> {
    let (_lock, catalog) = OpenCatalog::open_beside_server(&storage).await?;
    let key = rotate_link_key(&*catalog.port()).await?;
    print_result(json, &format!("replaced the key of links; the new one has number {key}\n"), &json!({"key": key}))?;
    catalog.close().await;
    Ok(())
}

fn principals(catalog: &OpenCatalog) -> Principals {
    Principals::new(catalog.port(), Arc::new(UuidIds))
}

/// The readable part of a token's text.
fn key(token: &ApiToken) -> String {
    format!("{}{}", TokenKey::PREFIX, token.key)
}

/// The items of all pages of a list.
async fn all<T>(
    mut list: impl AsyncFnMut(&PageRequest) -> Result<Page<T>, UseCaseError>,
) -> Result<Vec<T>, UseCaseError> {
    let mut items = Vec::new();
    let mut page = PageRequest::FIRST;
    loop {
        let found = list(&page).await?;
        items.extend(found.items);
        page.after = found.next;
        if page.after.is_none() {
            return Ok(items);
        }
    }
}

/// Prints every principal with its tokens. Works beside a running server.
async fn list(options: CatalogOptions) -> Result<(), StartError> {
    let (_lock, catalog) = OpenCatalog::open_beside_server(&options.storage).await?;
    let (principals, who) = (principals(&catalog), Manager::operator());
    let now = catalog.port().catalog_time().await.map_err(UseCaseError::from)?;
    let (mut text, mut shown) = (String::new(), Vec::new());
    for principal in &all(async |page| principals.list_principals(&who, page).await).await? {
        let tokens = all(async |page| principals.list_tokens(&who, principal.id, page).await).await?;
        text += &as_text(principal, &tokens, now);
        shown.push(as_json(principal, &tokens));
    }
    print_result(options.json, &text, &json!({"principals": shown}))?;
    catalog.close().await;
    Ok(())
}

fn as_text(principal: &Principal, tokens: &[ApiToken], now: Timestamp) -> String {
    let role = |(role, images): (Role, &ImageScope)| match images {
        ImageScope::Every => role.to_string(),
        images @ ImageScope::Matching(_) => format!("{role} on {images}"),
    };
    let roles: Vec<_> = principal.grants.iter().map(role).collect();
    let roles = if roles.is_empty() { "no roles".to_owned() } else { roles.join(", ") };
    let state = principal.deactivated_at.map_or(String::new(), |at| format!(", deactivated {}", time(at)));
    let mut text = format!("{} {} \"{}\": {roles}{state}\n", principal.id, principal.kind, principal.display_name);
    for token in tokens {
        let state = match token.revoked_at {
            Some(at) => format!("revoked {}", time(at)),
            None if token.is_live(now) => format!("expires {}", time(token.expires_at)),
            None => format!("expired {}", time(token.expires_at)),
        };
        let used = token.last_used_at.map_or("never used".to_owned(), |at| format!("last used {}", time(at)));
        text += &format!("  {} {} \"{}\": {state}, {used}\n", token.id, key(token), token.name);
    }
    text
}

fn as_json(principal: &Principal, tokens: &[ApiToken]) -> Value {
    let token = |token: &ApiToken| {
        let own = json!({
            "id": token.id.to_string(), "key": key(token), "name": token.name.as_str(),
            "expires_at": time(token.expires_at),
        });
        with_times(own, [("last_used_at", token.last_used_at), ("revoked_at", token.revoked_at)])
    };
    let attributes: serde_json::Map<_, _> =
        principal.attributes.entries().iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
    let own = json!({
        "id": principal.id.to_string(), "kind": principal.kind.as_str(),
        "display_name": principal.display_name.as_str(), "attributes": attributes,
        "role_ids": principal.grants.roles().map(Role::as_str).collect::<Vec<_>>(),
        "api_tokens": tokens.iter().map(token).collect::<Vec<_>>(),
    });
    with_times(own, [("deactivated_at", principal.deactivated_at)])
}

/// Adds those times that are present.
fn with_times<const N: usize>(mut json: Value, times: [(&str, Option<Timestamp>); N]) -> Value {
    for (name, at) in times {
        if let Some(at) = at {
            json[name] = time(at).into();
        }
    }
    json
}

/// Revokes tokens and deactivates principals. Works beside a running server, where it takes effect with the next request.
async fn revoke(options: RevokeOptions) -> Result<(), StartError> {
    let (_lock, catalog) = OpenCatalog::open_beside_server(&options.common.storage).await?;
    let (principals, who) = (principals(&catalog), Manager::operator());
    let is_json = options.common.json;
    let mut revoked = Revoked::default();
    let done = revoke_each(&principals, &who, options, &mut revoked).await;
    // Also what was done before one failed.
    if is_json && (done.is_ok() || !revoked.is_empty()) {
        let done = json!({"revoked": revoked.tokens, "deactivated": revoked.principals});
        print(&format!("{done}\n"))?;
    }
    catalog.close().await;
    done
}

/// What was revoked and deactivated.
#[derive(Default)]
struct Revoked {
    tokens: Vec<String>,
    principals: Vec<Value>,
}

impl Revoked {
    const fn is_empty(&self) -> bool {
        self.tokens.is_empty() && self.principals.is_empty()
    }
}

/// Revokes and deactivates one after the other, until one fails.
async fn revoke_each(
    principals: &Principals,
    who: &Manager,
    options: RevokeOptions,
    revoked: &mut Revoked,
) -> Result<(), StartError> {
    // At once: the next one may fail.
    let tell = |line: String| if options.common.json { Ok(()) } else { print(&for_stdout(&line)) };
    for token in options.tokens {
        let id = match token {
            TokenRef::Id(id) => id,
            TokenRef::Key(key) => principals.get_token(who, &key).await?.id,
        };
        principals.revoke_token(who, id).await?;
        tell(format!("revoked token {id}\n"))?;
        revoked.tokens.push(id.to_string());
    }
    for id in options.principal {
        let principal = principals.deactivate(who, id).await?;
        let name = principal.display_name;
        tell(format!("deactivated principal {id} \"{name}\"\n"))?;
        revoked.principals.push(json!({"id": id.to_string(), "display_name": name.as_str()}));
    }
    Ok(())
}
