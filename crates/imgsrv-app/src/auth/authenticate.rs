//! Authenticating bearer tokens: API tokens, and tokens of OIDC issuers that a provisioning rule admits.

use crate::{
    audit,
    auth::{
        caller::{Authentication, Caller, Credential, RequestContext},
        denied::Denied,
        exposure::Exposure,
        principals::NewPrincipal,
        token,
    },
    context::Context,
    work::retry::{Transient, retrying},
};
use imgsrv_domain::{
    access::{Claimed, ImageScope, Narrowing},
    audit::{AuditAction, Event},
    auth::{ApiToken, Attributes, PrincipalKind, StoredToken, TokenKey},
    claims::Binding,
    ids::{PrincipalId, TokenId},
    oidc::{IssuerUrl, OidcIdentity, ProvisioningRule, VerifiedToken},
    ports::{Admission, CatalogError, CatalogTx, Grant, Source, Timed, TokenError},
    time::Timestamp,
};
use std::{
    collections::{BTreeMap, HashMap},
    mem,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
    time::Duration,
};

/// `last_used_at` is updated only when it is older than this.
const USAGE_GRAIN: Duration = Duration::from_mins(1);
/// How long a principal is not recorded as seen again.
const SEEN_GRAIN: Duration = Duration::from_hours(24);
/// Attempts to apply a rule that was changed concurrently.
const ATTEMPTS: u32 = 3;

/// Why a bearer token is refused.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticateError {
    /// It is not authentic.
    #[error("the bearer token is not valid")]
    Invalid,
    /// It is authentic, but its principal is not admitted.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The issuer's keys could not be read, so the token could not be verified.
    #[error("the keys of {issuer}, the issuer of the bearer token, cannot be fetched")]
    IssuerUnavailable {
        /// The issuer.
        issuer: IssuerUrl,
        /// Why.
        source: Source,
    },
    /// The catalog failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

impl Transient for AuthenticateError {
    fn is_transient(&self) -> bool {
        matches!(self, Self::Catalog(error) if error.is_transient())
    }
}

/// The use cases of authentication.
pub struct Authenticator {
    context: Arc<Context>,
    /// Tokens that were used since their usage was last stored.
    used: Mutex<HashMap<TokenId, Timestamp>>,
    /// Principals of other issuers that were seen since that was last stored.
    seen: Mutex<HashMap<PrincipalId, Timestamp>>,
    /// Tokens that were sent without TLS, and when that was last recorded.
    exposed: Mutex<HashMap<TokenId, Timestamp>>,
}

impl Authenticator {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Self { context, used: Mutex::default(), seen: Mutex::default(), exposed: Mutex::default() }
    }

    /// The caller that a bearer token authenticates, with its current roles.
    ///
    /// A malformed token causes no query. Nothing is written for a token that is not authentic.
    #[tracing::instrument(name = "auth.authenticate", level = "debug", skip_all, err(level = "debug"))]
    pub async fn authenticate(&self, bearer: &str, context: RequestContext) -> Result<Caller, AuthenticateError> {
        match token::parse(bearer) {
            Some(key) => self.by_api_token(bearer, &key, context).await,
            None => self.by_issuer(bearer, context).await,
        }
    }

    async fn by_api_token(
        &self,
        bearer: &str,
        key: &TokenKey,
        context: RequestContext,
    ) -> Result<Caller, AuthenticateError> {
        let found = self.live_token(bearer, key).await?;
        let Timed { value: StoredToken { token, principal, .. }, now } = found.ok_or(AuthenticateError::Invalid)?;
        if !principal.is_active() {
            return Err(Denied::Deactivated(principal.id).into());
        }
        if token.last_used_at.is_none_or(|last| !last.is_within(USAGE_GRAIN, now)) {
            self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(token.id, now);
        }
        let ApiToken { id, name, narrowing, expires_at, .. } = token;
        let authentication = Authentication { credential: Credential::ApiToken { id, name }, expires_at };
        Ok(Caller::authenticated(principal, None, narrowing, authentication, context))
    }

    /// The stored token that `bearer` is, if that is live, and the time of the catalog.
    async fn live_token(&self, bearer: &str, key: &TokenKey) -> Result<Option<Timed<StoredToken>>, CatalogError> {
        let found = self.context.catalog.get_token_by_key(key).await?;
        let is_live = |found: &Timed<StoredToken>| {
            token::same(&found.value.secret_hash, &token::hash(bearer)) && found.value.token.is_live(found.now)
        };
        Ok(found.filter(is_live))
    }

    /// Remembers that the token was exposed at `now`; whether that is the first time within a minute.
    fn remember_exposure(&self, token: TokenId, now: Timestamp) -> bool {
        let mut exposed = self.exposed.lock().unwrap_or_else(PoisonError::into_inner);
        exposed.retain(|_, last| last.is_within(USAGE_GRAIN, now));
        exposed.insert(token, now).is_none()
    }

    /// The caller that an API token authenticates, with its current roles. Nothing else is accepted.
    #[tracing::instrument(name = "auth.authenticate_api_token", level = "debug", skip_all, err(level = "debug"))]
    pub async fn authenticate_api_token(
        &self,
        token: &str,
        context: RequestContext,
    ) -> Result<Caller, AuthenticateError> {
        let key = token::parse(token).ok_or(AuthenticateError::Invalid)?;
        self.by_api_token(token, &key, context).await
    }

    /// Records that a live API token was sent so that others may have read it; at most once a minute. Any other bearer is
    /// ignored.
    #[tracing::instrument(name = "auth.note_exposed", level = "debug", skip_all, err(level = "debug"))]
    pub async fn note_exposed(
        &self,
        bearer: &str,
        exposure: Exposure,
        context: &RequestContext,
    ) -> Result<(), CatalogError> {
        let Some(key) = token::parse(bearer) else { return Ok(()) };
        let Some(Timed { value: stored, now }) = self.live_token(bearer, &key).await? else { return Ok(()) };
        if !self.remember_exposure(stored.token.id, now) {
            return Ok(());
        }
        retrying(|| async {
            let tx = self.context.catalog.begin().await?;
            let event = Event::new(AuditAction::TokenExposed, stored.token.id).with(exposure);
            audit::commit(tx, &context.actor(&stored.principal), event).await
        })
        .await
    }

    /// Authenticates a token of an OIDC issuer. It is authentic if a rule names the issuer and one of the issuer's keys has
    /// signed it, and admitted if an enabled rule matches it and its principal has the role that rules grant.
    async fn by_issuer(&self, bearer: &str, context: RequestContext) -> Result<Caller, AuthenticateError> {
        let verifier = &self.context.verifier;
        let issuer = verifier.claimed_issuer(bearer).ok_or(AuthenticateError::Invalid)?;
        let known = self.context.catalog.list_rules_of_issuer(&issuer).await?;
        let Timed { value: mut rules, now } = known.ok_or(AuthenticateError::Invalid)?;
        let mut verifying = pin!(verifier.verify(bearer, &issuer, now));
        let (verified, mut are_rules_fresh) = match futures::poll!(&mut verifying) {
            Poll::Ready(verified) => (verified, true),
            // The keys are fetched from the issuer, and the rules can change meanwhile.
            Poll::Pending => (verifying.await, false),
        };
        let token = verified.map_err(|error| match error {
            TokenError::NotAuthentic(why) => {
                tracing::debug!(%issuer, why, "token of a known issuer rejected");
                AuthenticateError::Invalid
            }
            TokenError::Unavailable(source) => AuthenticateError::IssuerUnavailable { issuer: issuer.clone(), source },
        })?;
        for _ in 0..ATTEMPTS {
            if !mem::take(&mut are_rules_fresh) {
                let known = self.context.catalog.list_rules_of_issuer(&issuer).await?;
                rules = known.map(|rules| rules.value).unwrap_or_default();
            }
            let rule = self.first_match(&rules, &token).await.ok_or(Denied::NotAdmitted)?;
            if let Some(admission) = self.admit(rule, &token.identity, &context, now).await? {
                return self.admitted(admission, rule, token, context).await;
            }
        }
        Err(Denied::NotAdmitted.into())
    }

    /// The caller that a rule has admitted: it has the roles that its principal has by hand, and the role of the rule on the
    /// images of the rule, unless that grant was ended.
    async fn admitted(
        &self,
        admission: Admission,
        rule: &ProvisioningRule,
        token: VerifiedToken,
        context: RequestContext,
    ) -> Result<Caller, AuthenticateError> {
        let Admission { mut principal, by_hand, grant, .. } = admission;
        if !principal.is_active() {
            return Err(Denied::Deactivated(principal.id).into());
        }
        let (role, values) = (rule.terms.role, token.values(&rule.terms.forwarded_claims));
        if principal.grants.get(role).is_none() {
            return Err(Denied::RoleMissing { role, principal: principal.id }.into());
        }
        principal.grants = by_hand;
        let is_live = grant == Some(Grant::Live);
        if is_live {
            principal.grants.add(role, ImageScope::without_claims(&rule.terms));
        }
        let claimed = match Claimed::new(rule, values.clone()).filter(|_| is_live) {
            Some(claimed) => {
                let found = self.context.catalog.list_bindings(&claimed.scope()).await?;
                Some(claimed.among(found))
            }
            None => None,
        };
        let admitted_by = Binding { rule: rule.id.clone(), claims: values };
        let credential = Credential::Oidc { identity: token.identity, admitted_by };
        let authentication = Authentication { credential, expires_at: token.expires_at };
        Ok(Caller::authenticated(principal, claimed, Narrowing::NONE, authentication, context))
    }

    /// The first rule by id that admits the token: it is enabled, has the same audience, and its condition is true.
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
                "requires another audience".to_owned()
            } else {
                let claims = token.forward(&terms.forwarded_claims);
                match self.context.conditions.holds(&terms.condition, &token.identity, claims).await {
                    Ok(true) => return Some(rule),
                    Ok(false) => "condition is false".to_owned(),
                    Err(error) => format!("condition failed: {error}"),
                }
            };
            reasons.push(format!("{}: {reason}", rule.id));
        }
        let OidcIdentity { issuer, subject } = &token.identity;
        tracing::info!(%issuer, %subject, rules = reasons.join("; "), "no provisioning rule admitted a token");
        None
    }

    /// The principal of an identity that `rule` admits; the first time, it is created and granted the role. `None` when the
    /// rule has changed concurrently.
    async fn admit(
        &self,
        rule: &ProvisioningRule,
        identity: &OidcIdentity,
        context: &RequestContext,
        now: Timestamp,
    ) -> Result<Option<Admission>, AuthenticateError> {
        let role = rule.terms.role;
        if let Some(admission) = self.context.catalog.get_admission(identity, &rule.id, role).await? {
            let Admission { principal, seen_at, grant, .. } = &admission;
            if !seen_at.is_within(SEEN_GRAIN, now) {
                self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(principal.id, now);
            }
            let is_decided = match grant {
                Some(Grant::Live) => principal.grants.get(role).is_some(),
                Some(Grant::Ended) => true,
                None => false,
            };
            if is_decided || !principal.is_active() {
                return Ok(Some(admission));
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
                None => self.create_principal(&mut *tx, identity, context).await?,
            };
            let Some(principal) = tx.lock_principal(id).await? else { return Ok(None) };
            if principal.is_active() {
                let now = tx.now();
                if tx.grant_by_rule(&rule.id, id, role, now).await? {
                    let detail = format!("{role} by rule {}", rule.id);
                    let event = Event::new(AuditAction::RoleGranted, id).with(detail);
                    audit::record(&mut *tx, &context.actor(&principal), event).await?;
                }
                tx.commit().await?;
            }
            Ok(self.context.catalog.get_admission(identity, &rule.id, role).await?)
        })
        .await
    }

    async fn create_principal(
        &self,
        tx: &mut dyn CatalogTx,
        identity: &OidcIdentity,
        context: &RequestContext,
    ) -> Result<PrincipalId, CatalogError> {
        // The display name and the attributes are informative: the identity is stored separately.
        let (issuer, subject) = (identity.issuer.as_str(), identity.subject.as_str());
        let attributes = BTreeMap::from([
            ("issuer".to_owned(), issuer.parse().map_err(CatalogError::backend)?),
            ("subject".to_owned(), subject.parse().map_err(CatalogError::backend)?),
        ]);
        let short: String = subject.chars().take(256).collect();
        let new = NewPrincipal {
            kind: PrincipalKind::Service,
            display_name: short.parse().map_err(CatalogError::backend)?,
            attributes: Attributes::new(attributes).map_err(CatalogError::backend)?,
        };
        let principal = new.principal(PrincipalId::new(self.context.ids.next()), tx.now());
        tx.insert_principal(&principal).await?;
        tx.insert_identity(principal.id, identity).await?;
        let event = Event::new(AuditAction::PrincipalCreated, principal.id).with(format!("{subject} of {issuer}"));
        audit::record(tx, &context.actor(&principal), event).await?;
        Ok(principal.id)
    }

    /// Stores when tokens were last used, and when principals were last seen.
    #[tracing::instrument(name = "auth.flush_usage", level = "debug", skip_all, err(level = "debug"))]
    pub async fn flush_usage(&self) -> Result<(), CatalogError> {
        let used: Vec<_> = self.used.lock().unwrap_or_else(PoisonError::into_inner).drain().collect();
        let seen: Vec<_> = self.seen.lock().unwrap_or_else(PoisonError::into_inner).drain().collect();
        if used.is_empty() && seen.is_empty() {
            return Ok(());
        }
        retrying(|| async {
            let mut tx = self.context.catalog.begin().await?;
            tx.touch_principals(&seen).await?;
            tx.touch_tokens(&used).await?;
            tx.commit().await
        })
        .await
    }
}
