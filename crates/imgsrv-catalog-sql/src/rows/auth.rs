//! Rows of principals and tokens.

use super::{Corrupt, SqlTime, convert, parse};
use imgsrv_domain::{
    auth::{ApiToken, Attributes, Credential, Principal},
    ids::{PrincipalId, TokenId},
    text::ShortText,
    transition::Revision,
};
use sqlx::types::Json;
use std::collections::BTreeMap;
use uuid::Uuid;

/// A row of `principals` with its roles, separated by commas.
#[derive(Debug, sqlx::FromRow)]
#[expect(missing_docs, reason = "columns")]
pub struct PrincipalRow {
    pub principal_id: Uuid,
    pub kind: String,
    pub display_name: String,
    pub attributes: Json<BTreeMap<String, String>>,
    pub principal_created_at: SqlTime,
    pub updated_at: SqlTime,
    pub revision: i64,
    pub roles: Option<String>,
}

impl TryFrom<PrincipalRow> for Principal {
    type Error = Corrupt;

    fn try_from(row: PrincipalRow) -> Result<Self, Corrupt> {
        let entries = row
            .attributes
            .0
            .into_iter()
            .map(|(key, value)| Ok((key, parse::<ShortText>("principal", &value)?)))
            .collect::<Result<_, Corrupt>>()?;
        Ok(Self {
            id: PrincipalId::new(row.principal_id),
            kind: parse("principal", &row.kind)?,
            display_name: parse("principal", &row.display_name)?,
            attributes: Attributes::new(entries).map_err(|why| Corrupt::new("principal", why))?,
            roles: row
                .roles
                .iter()
                .flat_map(|roles| roles.split(','))
                .map(|role| parse("principal", role))
                .collect::<Result<_, _>>()?,
            created_at: row.principal_created_at.into(),
            updated_at: row.updated_at.into(),
            revision: Revision::new(row.revision),
        })
    }
}

/// Attributes as they are stored: a JSON object of strings.
pub fn attributes_json(attributes: &Attributes) -> serde_json::Value {
    let entries: serde_json::Map<String, serde_json::Value> =
        attributes.entries().iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
    entries.into()
}

/// A row of `api_tokens`.
#[derive(Debug, sqlx::FromRow)]
#[expect(missing_docs, reason = "columns")]
pub struct TokenRow {
    pub id: Uuid,
    pub principal_id: Uuid,
    pub lookup_key: String,
    pub name: String,
    pub created_at: SqlTime,
    pub expires_at: SqlTime,
    pub last_used_at: Option<SqlTime>,
    pub revoked_at: Option<SqlTime>,
}

impl TryFrom<TokenRow> for ApiToken {
    type Error = Corrupt;

    fn try_from(row: TokenRow) -> Result<Self, Corrupt> {
        Ok(Self {
            id: TokenId::new(row.id),
            principal: PrincipalId::new(row.principal_id),
            key: parse("token", &row.lookup_key)?,
            name: parse("token", &row.name)?,
            created_at: row.created_at.into(),
            expires_at: row.expires_at.into(),
            last_used_at: row.last_used_at.map(Into::into),
            revoked_at: row.revoked_at.map(Into::into),
        })
    }
}

/// A token with its secret's hash and its principal.
#[derive(Debug, sqlx::FromRow)]
#[expect(missing_docs, reason = "columns")]
pub struct CredentialRow {
    #[sqlx(flatten)]
    pub token: TokenRow,
    #[sqlx(flatten)]
    pub principal: PrincipalRow,
    pub secret_hash: Vec<u8>,
}

impl TryFrom<CredentialRow> for Credential {
    type Error = Corrupt;

    fn try_from(row: CredentialRow) -> Result<Self, Corrupt> {
        Ok(Self {
            token: row.token.try_into()?,
            secret_hash: convert("token", row.secret_hash.as_slice())?,
            principal: row.principal.try_into()?,
        })
    }
}
