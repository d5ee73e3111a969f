//! Rows of principals, tokens, provisioning rules and the audit log.

use crate::rows::decode::{Corrupt, convert, parse};
use crate::rows::time::SqlTime;
use imgsrv_domain::{
    audit::{Actor, ActorKind, AuditEntry, AuditRecord, Event},
    auth::{ApiToken, Attributes, Principal, StoredToken},
    ids::{PrincipalId, TokenId},
    oidc::{ForwardedClaims, ProvisioningRule, RuleTerms},
    ports::{Admission, Grant},
    text::LongText,
    transition::Revision,
};
use sqlx::types::Json;
use std::collections::BTreeMap;
use uuid::Uuid;

/// A row of `principals` with its roles, separated by commas.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct PrincipalRow {
    pub(crate) principal_id: Uuid,
    pub(crate) kind: String,
    pub(crate) display_name: String,
    pub(crate) attributes: Json<BTreeMap<String, String>>,
    pub(crate) deactivated_at: Option<SqlTime>,
    pub(crate) principal_created_at: SqlTime,
    pub(crate) updated_at: SqlTime,
    pub(crate) revision: i64,
    pub(crate) roles: Option<String>,
}

impl TryFrom<PrincipalRow> for Principal {
    type Error = Corrupt;

    fn try_from(row: PrincipalRow) -> Result<Self, Corrupt> {
        let entries = row
            .attributes
            .0
            .into_iter()
            .map(|(key, value)| Ok((key, parse::<LongText>("principal", &value)?)))
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
            deactivated_at: row.deactivated_at.map(Into::into),
            created_at: row.principal_created_at.into(),
            updated_at: row.updated_at.into(),
            revision: Revision::new(row.revision),
        })
    }
}

/// Attributes as they are stored: a JSON object of strings.
pub(crate) fn attributes_json(attributes: &Attributes) -> serde_json::Value {
    let entries: serde_json::Map<String, serde_json::Value> =
        attributes.entries().iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
    entries.into()
}

/// A row of `api_tokens`.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct TokenRow {
    pub(crate) id: Uuid,
    pub(crate) principal_id: Uuid,
    pub(crate) lookup_key: String,
    pub(crate) name: String,
    pub(crate) created_at: SqlTime,
    pub(crate) expires_at: SqlTime,
    pub(crate) last_used_at: Option<SqlTime>,
    pub(crate) revoked_at: Option<SqlTime>,
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
pub(crate) struct StoredTokenRow {
    #[sqlx(flatten)]
    pub(crate) token: TokenRow,
    #[sqlx(flatten)]
    pub(crate) principal: PrincipalRow,
    pub(crate) secret_hash: Vec<u8>,
}

impl TryFrom<StoredTokenRow> for StoredToken {
    type Error = Corrupt;

    fn try_from(row: StoredTokenRow) -> Result<Self, Corrupt> {
        Ok(Self {
            token: row.token.try_into()?,
            secret_hash: convert("token", row.secret_hash.as_slice())?,
            principal: row.principal.try_into()?,
        })
    }
}

/// The principal of an identity, and a rule's grant to it.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct AdmissionRow {
    #[sqlx(flatten)]
    pub(crate) principal: PrincipalRow,
    pub(crate) granted_at: Option<SqlTime>,
    pub(crate) ended_at: Option<SqlTime>,
}

impl TryFrom<AdmissionRow> for Admission {
    type Error = Corrupt;

    fn try_from(row: AdmissionRow) -> Result<Self, Corrupt> {
        let grant = match (row.granted_at, row.ended_at) {
            (None, _) => None,
            (Some(_), None) => Some(Grant::Live),
            (Some(_), Some(_)) => Some(Grant::Ended),
        };
        Ok(Self { principal: row.principal.try_into()?, grant })
    }
}

/// A row of `provisioning_rules`.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct RuleRow {
    pub(crate) id: String,
    pub(crate) display_name: String,
    pub(crate) issuer: String,
    pub(crate) audience: String,
    pub(crate) forwarded_claims: Json<Vec<String>>,
    pub(crate) condition: String,
    pub(crate) enabled: bool,
    pub(crate) created_at: SqlTime,
    pub(crate) updated_at: SqlTime,
    pub(crate) revision: i64,
}

impl TryFrom<RuleRow> for ProvisioningRule {
    type Error = Corrupt;

    fn try_from(row: RuleRow) -> Result<Self, Corrupt> {
        const WHAT: &str = "provisioning rule";
        let names = row.forwarded_claims.0.iter().map(|name| parse(WHAT, name)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            id: parse(WHAT, &row.id)?,
            terms: RuleTerms {
                display_name: parse(WHAT, &row.display_name)?,
                issuer: parse(WHAT, &row.issuer)?,
                audience: parse(WHAT, &row.audience)?,
                forwarded_claims: ForwardedClaims::new(names).map_err(|why| Corrupt::new(WHAT, why))?,
                condition: parse(WHAT, &row.condition)?,
                enabled: row.enabled,
            },
            created_at: row.created_at.into(),
            updated_at: row.updated_at.into(),
            revision: Revision::new(row.revision),
        })
    }
}

/// Forwarded claims as they are stored: a JSON list of names.
pub(crate) fn forwarded_json(claims: &ForwardedClaims) -> serde_json::Value {
    claims.names().map(|name| serde_json::Value::from(name.as_str())).collect()
}

/// A row of `audit_log`.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct AuditRow {
    pub(crate) id: i64,
    pub(crate) at: SqlTime,
    pub(crate) actor_kind: String,
    pub(crate) actor: Option<String>,
    pub(crate) request_id: Option<String>,
    pub(crate) address: Option<String>,
    pub(crate) action: String,
    pub(crate) subject: String,
    pub(crate) detail: Option<String>,
}

impl TryFrom<AuditRow> for AuditRecord {
    type Error = Corrupt;

    fn try_from(row: AuditRow) -> Result<Self, Corrupt> {
        const WHAT: &str = "audit row";
        let actor = row.actor.unwrap_or_default();
        let actor = match parse(WHAT, &row.actor_kind)? {
            ActorKind::Principal => {
                Actor::Principal { id: parse(WHAT, &actor)?, request_id: row.request_id, address: row.address }
            }
            ActorKind::Worker => Actor::Worker(actor),
            ActorKind::Operator => Actor::Operator,
        };
        let event = Event { action: parse(WHAT, &row.action)?, subject: row.subject, detail: row.detail };
        Ok(Self { id: row.id, entry: AuditEntry { at: row.at.into(), actor, event } })
    }
}
