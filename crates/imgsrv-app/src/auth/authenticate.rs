//! Who a bearer is: the holder of an API token, or of a token that another issuer signed and a rule admits.

use crate::{
    audit,
    auth::{
        caller::{Authentication, Caller, Denied, Means, RequestContext},
        token,
    },
    context::Context,
    work::retry::{Transient, retrying},
};
use imgsrv_domain::{
    audit::{Actor, AuditAction, Event},
    auth::{Attributes, Principal, PrincipalKind},
    ids::{PrincipalId, TokenId},
    oidc::{OidcIdentity, ProvisioningRule, VerifiedToken},
    ports::{Admission, CatalogError, CatalogTx, Grant, Source, Timed, TokenError},
    time::Timestamp,
    transition::Revision,
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// `last_used_at` is written again only when it is older than this.
const USAGE_GRAIN: Duration = Duration::from_mins(1);
/// How often the rules are read again because one was saved while it was being applied.
const ATTEMPTS: u32 = 3;

/// Why a bearer is not let in.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticateError {
    /// It is not authentic.
    #[error("the bearer token is not valid")]
    Invalid,
    /// It is authentic, but not admitted.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The issuer's keys cannot be read, so nobody can say.
    #[error("the issuer of the bearer token cannot be read")]
    IssuerUnavailable(#[source] Source),
    /// The catalog failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

impl Transient for AuthenticateError {
    fn is_transient(&self) -> bool {
        matches!(self, Self::Catalog(error) if error.is_transient())
    }
}

/// Authentication.
pub struct Authenticator {
    context: Arc<Context>,
    used: Mutex<HashMap<TokenId, Timestamp>>,
    /// Tokens that were sent in the clear, and when that was last noted.
    exposed: Mutex<HashMap<TokenId, Timestamp>>,
}

impl Authenticator {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Self { context, used: Mutex::default(), exposed: Mutex::default() }
    }

    /// Whom a bearer token authenticates, with the roles of this moment.
    ///
    /// A malformed token costs no look-up, any other one at most a few. Nothing is written for one that is not
    /// authentic.
    pub async fn authenticate(&self, bearer: &str, context: RequestContext) -> Result<Caller, AuthenticateError> {
        match token::parse(bearer) {
            Some(key) => self.by_api_token(bearer, &key, context).await,
            None => self.by_issuer(bearer, context).await,
        }
    }

    async fn by_api_token(
        &self,
        bearer: &str,
        key: &imgsrv_domain::auth::TokenKey,
        context: RequestContext,
    ) -> Result<Caller, AuthenticateError> {
        let found = self.context.catalog.get_credential(key).await?;
        let Timed { value: credential, now } = found.ok_or(AuthenticateError::Invalid)?;
        let genuine = token::same(&credential.secret_hash, &token::hash(bearer));
        if !genuine || !credential.token.is_live(now) {
            return Err(AuthenticateError::Invalid);
        }
        if !credential.principal.is_active() {
            return Err(Denied::Deactivated.into());
        }
        let token = credential.token;
        if token.last_used_at.is_none_or(|last| now.since(last) >= USAGE_GRAIN) {
            self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(token.id, now);
        }
        let means = Means::ApiToken { id: token.id, name: token.name };
        let authentication = Authentication { means, expires_at: token.expires_at };
        Ok(Caller::authenticated(credential.principal, authentication, context))
    }

    /// Whether nobody has told so of the token within the last minute.
    fn is_news(&self, token: TokenId, now: Timestamp) -> bool {
        let mut exposed = self.exposed.lock().unwrap_or_else(PoisonError::into_inner);
        exposed.retain(|_, last| now.since(*last) < USAGE_GRAIN);
        exposed.insert(token, now).is_none()
    }

    /// Notes that a live API token was sent in the clear, where others may have read it, once a minute. Anything else
    /// is passed over.
    pub async fn note_exposed(&self, bearer: &str, context: &RequestContext) -> Result<(), CatalogError> {
        let Some(key) = token::parse(bearer) else { return Ok(()) };
        let found = self.context.catalog.get_credential(&key).await?;
        let Some(Timed { value: credential, now }) = found else { return Ok(()) };
        let genuine = token::same(&credential.secret_hash, &token::hash(bearer));
        if !genuine || !credential.token.is_live(now) || !self.is_news(credential.token.id, now) {
            return Ok(());
        }
        retrying(|| async {
            let mut tx = self.context.catalog.begin().await?;
            let event = Event::new(AuditAction::TokenExposed, credential.token.id).with("sent without TLS");
            audit::record(&mut *tx, &actor(credential.principal.id, context), event).await?;
            tx.commit().await
        })
        .await
    }

    /// A token of another issuer: authentic when a rule names that issuer and one of its keys signed it, admitted
    /// when an enabled rule matches it now and its principal holds what rules grant.
    async fn by_issuer(&self, bearer: &str, context: RequestContext) -> Result<Caller, AuthenticateError> {
        let verifier = &self.context.verifier;
        let issuer = verifier.claimed_issuer(bearer).ok_or(AuthenticateError::Invalid)?;
        let known = self.context.catalog.list_rules_of_issuer(&issuer).await?;
        let Timed { now, .. } = known.ok_or(AuthenticateError::Invalid)?;
        let token = verifier.verify(bearer, &issuer, now).await.map_err(|error| match error {
            TokenError::NotAuthentic(why) => {
                tracing::debug!(%issuer, why, "a token of a known issuer is not authentic");
                AuthenticateError::Invalid
            }
            TokenError::Unavailable(source) => AuthenticateError::IssuerUnavailable(source),
        })?;
        for _ in 0..ATTEMPTS {
            // Only now: the issuer may have taken its time.
            let rules = self.context.catalog.list_rules_of_issuer(&issuer).await?.map(|rules| rules.value);
            let rules = rules.unwrap_or_default();
            let rule = self.first_match(&rules, &token).await.ok_or(Denied::NotAdmitted)?;
            if let Some(principal) = self.admit(rule, &token.identity, &context).await? {
                if !principal.is_active() {
                    return Err(Denied::Deactivated.into());
                }
                if !principal.roles.contains(&ProvisioningRule::ROLE) {
                    return Err(Denied::RoleMissing(ProvisioningRule::ROLE).into());
                }
                let means = Means::Oidc { identity: token.identity, rule: rule.id.clone() };
                let authentication = Authentication { means, expires_at: token.expires_at };
                return Ok(Caller::authenticated(principal, authentication, context));
            }
        }
        Err(Denied::NotAdmitted.into())
    }

    /// The first rule by id that admits the token: enabled, meant for the same audience, its condition true.
    async fn first_match<'r>(
        &self,
        rules: &'r [ProvisioningRule],
        token: &VerifiedToken,
    ) -> Option<&'r ProvisioningRule> {
        let mut reasons = Vec::new();
        for rule in rules {
            let terms = &rule.terms;
            let reason = if !terms.enabled {
                "is disabled".to_owned()
            } else if !token.is_for(&terms.audience) {
                "is for another audience".to_owned()
            } else {
                let claims = token.forward(&terms.forwarded_claims);
                match self.context.conditions.holds(&terms.condition, &token.identity, claims).await {
                    Ok(true) => return Some(rule),
                    Ok(false) => "does not hold".to_owned(),
                    Err(error) => format!("denies: {error}"),
                }
            };
            reasons.push(format!("{} {reason}", rule.id));
        }
        let OidcIdentity { issuer, subject } = &token.identity;
        tracing::info!(%issuer, %subject, rules = reasons.join("; "), "no provisioning rule admits a token");
        None
    }

    /// The principal of an identity that `rule` admits, made and granted its role at the first time. `None` when the
    /// rule has changed meanwhile.
    async fn admit(
        &self,
        rule: &ProvisioningRule,
        identity: &OidcIdentity,
        context: &RequestContext,
    ) -> Result<Option<Principal>, AuthenticateError> {
        if let Some(Admission { principal, grant }) = self.context.catalog.get_admission(identity, &rule.id).await? {
            let is_held = principal.roles.contains(&ProvisioningRule::ROLE);
            let is_decided = match grant {
                Some(Grant::Live) => is_held,
                Some(Grant::Ended) => true,
                None => false,
            };
            if is_decided || !principal.is_active() {
                return Ok(Some(principal));
            }
        }
        retrying(|| async {
            let mut tx = self.context.catalog.begin().await?;
            let current = tx.lock_rule(&rule.id).await?;
            if current.as_ref() != Some(rule) {
                return Ok(None);
            }
            let id = match tx.get_principal_id(identity).await? {
                Some(id) => id,
                None => self.make_principal(&mut *tx, identity, context).await?,
            };
            let held = tx.lock_principal(id).await?;
            if held.is_some_and(|principal| !principal.is_active()) {
                return Ok(tx.get_principal(id).await?);
            }
            let now = tx.now();
            if tx.grant_by_rule(&rule.id, id, ProvisioningRule::ROLE, now).await? {
                let detail = format!("{} by rule {}", ProvisioningRule::ROLE, rule.id);
                audit::record(&mut *tx, &actor(id, context), Event::new(AuditAction::RoleGranted, id).with(detail))
                    .await?;
            }
            let principal = tx.get_principal(id).await?;
            tx.commit().await?;
            Ok(principal)
        })
        .await
    }

    async fn make_principal(
        &self,
        tx: &mut dyn CatalogTx,
        identity: &OidcIdentity,
        context: &RequestContext,
    ) -> Result<PrincipalId, CatalogError> {
        let principal = principal_of(PrincipalId::new(self.context.ids.next()), identity, tx.now())?;
        tx.insert_principal(&principal).await?;
        tx.insert_identity(principal.id, identity).await?;
        let event = Event::new(AuditAction::PrincipalCreated, principal.id);
        let event = event.with(format!("{} of {}", identity.subject, identity.issuer));
        audit::record(tx, &actor(principal.id, context), event).await?;
        Ok(principal.id)
    }

    /// Writes down when tokens were used since the last call.
    pub async fn flush_usage(&self) -> Result<(), CatalogError> {
        let used: Vec<_> = self.used.lock().unwrap_or_else(PoisonError::into_inner).drain().collect();
        if used.is_empty() {
            return Ok(());
        }
        retrying(|| async {
            let mut tx = self.context.catalog.begin().await?;
            tx.touch_tokens(&used).await?;
            tx.commit().await
        })
        .await
    }
}

fn actor(id: PrincipalId, context: &RequestContext) -> Actor {
    Actor::Principal { id, request_id: context.request_id.clone(), address: context.address.clone() }
}

/// A principal for an identity. What people see of the identity is not what it is found by.
fn principal_of(id: PrincipalId, identity: &OidcIdentity, now: Timestamp) -> Result<Principal, CatalogError> {
    fn kept<T, E: std::error::Error + Send + Sync + 'static>(parsed: Result<T, E>) -> Result<T, CatalogError> {
        parsed.map_err(|error| CatalogError::Backend(Box::new(error)))
    }
    let short: String = identity.subject.as_str().chars().take(256).collect();
    let attributes = BTreeMap::from([
        ("issuer".to_owned(), kept(identity.issuer.as_str().parse())?),
        ("subject".to_owned(), kept(identity.subject.as_str().parse())?),
    ]);
    Ok(Principal {
        id,
        kind: PrincipalKind::Service,
        display_name: kept(short.parse())?,
        attributes: kept(Attributes::new(attributes))?,
        roles: BTreeSet::new(),
        deactivated_at: None,
        created_at: now,
        updated_at: now,
        revision: Revision::FIRST,
    })
}
