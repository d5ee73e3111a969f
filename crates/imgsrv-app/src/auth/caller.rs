//! Callers, and the one place that decides what they may do.

use crate::{
    auth::denied::Denied,
    context::Context,
    error::{Missing, Result},
};
use imgsrv_domain::{
    access::{Claimed, Narrowing, Reach, Rights, Sender, Target, View},
    audit::Actor,
    auth::{Action, Principal},
    claims::Binding,
    digest::Digest,
    ids::{PrincipalId, TokenId},
    image::Image,
    names::ImageName,
    oidc::OidcIdentity,
    ports::{CatalogError, CatalogTx, TrustedBlob},
    text::ShortText,
    time::Timestamp,
};
use std::sync::Arc;

/// The request of a caller, for the audit log.
#[derive(Debug, Clone, Default)]
pub struct RequestContext {
    /// The request's id.
    pub request_id: Option<String>,
    /// The client's address.
    pub address: Option<String>,
}

impl RequestContext {
    /// The principal that sends the request, as the audit log names it.
    pub(crate) fn actor(&self, principal: &Principal) -> Actor {
        let Self { request_id, address } = self.clone();
        Actor::Principal { id: principal.id, name: Some(principal.display_name.clone()), request_id, address }
    }
}

/// The credential that authenticated a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// An API token of this server.
    ApiToken {
        /// Its id.
        id: TokenId,
        /// Its display name.
        name: ShortText,
    },
    /// A token of an OIDC issuer.
    Oidc {
        /// The identity that the issuer asserts.
        identity: OidcIdentity,
        /// The rule that admits it, and the values of the claims that the rule forwards.
        admitted_by: Binding,
    },
    /// A link that the principal made.
    Link,
}

/// How and until when a caller is authenticated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authentication {
    /// The credential.
    pub credential: Credential,
    /// When it expires.
    pub expires_at: Timestamp,
}

/// The caller of a use case.
#[derive(Debug, Clone)]
pub struct Caller {
    authenticated: Option<Authenticated>,
    context: RequestContext,
}

/// A principal, how it is authenticated, and what it may do.
#[derive(Debug, Clone)]
pub struct Authenticated {
    /// The principal.
    pub principal: Principal,
    /// How it is authenticated.
    pub authentication: Authentication,
    /// What it may do with this credential.
    pub rights: Arc<Rights>,
}

/// Who may do something to some images, and on which: the actor becomes known only for an image on which it is allowed.
#[derive(Debug, Clone)]
struct Editor {
    actor: Actor,
    rights: Arc<Rights>,
    authentication: Authentication,
}

impl Editor {
    /// The rights as the catalog is now: an image may have been created since the request began.
    async fn rights_on(&self, context: &Context, image: &ImageName) -> Result<Arc<Rights>> {
        let Some(claimed) = self.rights.claimed.as_ref().filter(|claimed| claimed.matches(image)) else {
            return Ok(Arc::clone(&self.rights));
        };
        let found = context.catalog.get_binding(image).await?.map(|bound| (image.clone(), bound));
        let claimed = Some(claimed.clone().among(found));
        Ok(Arc::new(Rights { claimed, ..(*self.rights).clone() }))
    }

    /// The actor, if `action` is allowed on the image. Else the image does not exist for callers that cannot see it.
    async fn on(&self, context: &Context, action: Action, image: &ImageName) -> Result<&Actor> {
        let rights = self.rights_on(context, image).await?;
        if rights.allow(action, Target::Image(image)) {
            return Ok(&self.actor);
        }
        match context.catalog.get_image(image, View::of(Some(&rights), image)).await? {
            Some(_) => Err(Denied::OutOfScope { action, image: image.clone() }.into()),
            None => Err(Missing::Image(image.clone()).into()),
        }
    }
}

/// Proof that a caller may change the content of some images.
#[derive(Debug, Clone)]
pub struct Writer {
    editor: Editor,
    sender: Sender,
}

/// Proof that a caller may change the lifecycle of published versions of some images.
#[derive(Debug, Clone)]
pub struct ContentAdmin(Editor);

/// Proof that a caller may manage authentication.
#[derive(Debug, Clone)]
pub struct Manager(Actor);

/// Proof that a caller may read the audit log.
#[derive(Debug, Clone)]
pub struct AuditReader(());

/// Proof that a caller may operate the server.
#[derive(Debug, Clone)]
pub struct SystemOperator(());

/// Proof that a caller may see the state of the server.
#[derive(Debug, Clone)]
pub struct SystemReader(());

impl Caller {
    /// A caller without credentials.
    pub const fn anonymous(context: RequestContext) -> Self {
        Self { authenticated: None, context }
    }

    /// An authenticated principal with a credential that leaves some of what it may do, and what the rule that admits it adds.
    pub fn authenticated(
        principal: Principal,
        claimed: Option<Claimed>,
        narrowing: Narrowing,
        authentication: Authentication,
        context: RequestContext,
    ) -> Self {
        let rights = Arc::new(Rights { grants: principal.grants.clone(), claimed, narrowing });
        Self { authenticated: Some(Authenticated { principal, authentication, rights }), context }
    }

    /// The principal and its authentication, unless the caller is anonymous.
    pub fn who(&self) -> Result<&Authenticated, Denied> {
        self.authenticated.as_ref().ok_or(Denied::Unauthenticated)
    }

    /// What the caller sees of the image of that name.
    pub fn view(&self, image: &ImageName) -> View {
        View::of(self.rights(), image)
    }

    /// Whether the caller may read the published versions of an image.
    pub fn may_read(&self, image: &Image) -> bool {
        self.view(&image.name).shows(image.visibility)
    }

    /// What the caller sees of all images.
    pub fn reach(&self) -> Reach {
        Reach::of(self.rights())
    }

    /// What the caller sees of every image, and of what belongs to none.
    pub(crate) fn view_of_everything(&self) -> View {
        View::of_everything(self.rights())
    }

    /// The principal; absent if the caller is anonymous.
    pub(crate) fn principal(&self) -> Option<PrincipalId> {
        self.authenticated.as_ref().map(|who| who.principal.id)
    }

    /// As whom the caller may read what it has sent, which is not published: only while it may send.
    pub(crate) fn sender(&self) -> Option<Sender> {
        let who = self.authenticated.as_ref()?;
        self.may(Action::ContentWrite, Target::Anything).then(|| who.sender())
    }

    /// The actor of what the audit log records of this caller; absent if it is anonymous.
    pub(crate) fn actor(&self) -> Option<Actor> {
        self.authenticated.as_ref().map(|who| self.context.actor(&who.principal))
    }

    fn rights(&self) -> Option<&Rights> {
        self.authenticated.as_ref().map(|who| &*who.rights)
    }

    /// The API token of a private remote and what it may do, if it may only read.
    pub(crate) fn remote(&self) -> Result<(TokenId, &Rights), Denied> {
        let who = self.who()?;
        match &who.authentication.credential {
            Credential::ApiToken { id, .. } if who.rights.reads_alone() => Ok((*id, &who.rights)),
            Credential::ApiToken { .. } | Credential::Oidc { .. } | Credential::Link => Err(Denied::NotReadOnly),
        }
    }

    /// Proof that the caller may change the content of some images.
    pub fn writer(&self) -> Result<Writer, Denied> {
        let editor = self.editor(Action::ContentWrite)?;
        Ok(Writer { editor, sender: self.who()?.sender() })
    }

    /// Whether the caller can see when versions of the image were last fetched.
    pub fn sees_fetches(&self, image: &ImageName) -> bool {
        self.may(Action::ContentRetire, Target::Image(image)) || self.may(Action::SystemOperate, Target::Everything)
    }

    /// Proof that the caller may change the lifecycle of published versions of some images.
    pub fn content_admin(&self) -> Result<ContentAdmin, Denied> {
        self.editor(Action::ContentRetire).map(ContentAdmin)
    }

    fn editor(&self, action: Action) -> Result<Editor, Denied> {
        let actor = self.require(action, Target::Anything)?;
        let Authenticated { authentication, rights, .. } = self.who()?;
        Ok(Editor { actor, rights: Arc::clone(rights), authentication: authentication.clone() })
    }

    /// Proof that the caller may manage authentication.
    pub fn manager(&self) -> Result<Manager, Denied> {
        self.require(Action::AuthManage, Target::Everything).map(Manager)
    }

    /// Proof that the caller may read the audit log.
    pub fn audit_reader(&self) -> Result<AuditReader, Denied> {
        self.require(Action::AuditRead, Target::Everything).map(|_| AuditReader(()))
    }

    /// Proof that the caller may see the state of the server.
    pub fn system_reader(&self) -> Result<SystemReader, Denied> {
        self.require(Action::SystemRead, Target::Everything).map(|_| SystemReader(()))
    }

    /// Proof that the caller may operate the server.
    pub fn system_operator(&self) -> Result<SystemOperator, Denied> {
        self.require(Action::SystemOperate, Target::Everything).map(|_| SystemOperator(()))
    }

    fn may(&self, action: Action, target: Target<'_>) -> bool {
        self.rights().is_some_and(|rights| rights.allow(action, target))
    }

    fn require(&self, action: Action, target: Target<'_>) -> Result<Actor, Denied> {
        let Authenticated { principal, .. } = self.who()?;
        if !self.may(action, target) {
            return Err(Denied::Forbidden(action));
        }
        Ok(self.context.actor(principal))
    }
}

impl Authenticated {
    /// As whom it sends bytes.
    fn sender(&self) -> Sender {
        Sender { principal: self.principal.id, images: self.rights.narrowing.images.clone() }
    }
}

impl Writer {
    /// The principal.
    pub(crate) const fn id(&self) -> PrincipalId {
        self.sender.principal
    }

    /// As whom it sends bytes, and uses those that were sent.
    pub(crate) const fn sender(&self) -> &Sender {
        &self.sender
    }

    /// How and until when it is authenticated.
    pub(crate) const fn authentication(&self) -> &Authentication {
        &self.editor.authentication
    }

    /// The actor, if it may write to the image.
    pub(crate) async fn on(&self, context: &Context, image: &ImageName) -> Result<&Actor> {
        self.editor.on(context, Action::ContentWrite, image).await
    }

    /// The actor, if it may write to an image of that name, which need not exist, and what a new one is bound to.
    pub(crate) async fn creates(&self, context: &Context, image: &ImageName) -> Result<(&Actor, Option<Binding>)> {
        let action = Action::ContentWrite;
        let binding = self.binding_of_new(context, image).await?;
        let binding = binding.ok_or_else(|| Denied::OutOfScope { action, image: image.clone() })?;
        Ok((&self.editor.actor, binding))
    }

    /// What a new image of that name is bound to; the outer `None` if it may not write to an image of that name, which need
    /// not exist.
    pub(crate) async fn binding_of_new(
        &self,
        context: &Context,
        image: &ImageName,
    ) -> Result<Option<Option<Binding>>, CatalogError> {
        let rights = &self.editor.rights;
        let existing = match &rights.claimed {
            Some(_) => context.catalog.get_binding(image).await?,
            None => None,
        };
        Ok(rights.creates(Action::ContentWrite, image, existing))
    }

    /// The rule that admitted the token, and the values of the claims that it forwards.
    pub(crate) const fn admitted_by(&self) -> Option<&Binding> {
        match &self.editor.authentication.credential {
            Credential::Oidc { admitted_by, .. } => Some(admitted_by),
            Credential::ApiToken { .. } | Credential::Link => None,
        }
    }

    /// Whether it may write to the image.
    pub(crate) fn covers(&self, image: &ImageName) -> bool {
        self.editor.rights.allow(Action::ContentWrite, Target::Image(image))
    }

    /// What it sees of all images.
    pub(crate) fn reach(&self) -> Reach {
        Reach::of(Some(&self.editor.rights))
    }

    /// Whether it may write to every image, and so use all stored bytes.
    pub(crate) fn writes_everywhere(&self) -> bool {
        View::of_everything(Some(&self.editor.rights)) == View::All
    }

    /// The trusted blob with that digest, locked against deletion, if it may read it. What it may not read does not exist
    /// for it.
    pub(crate) async fn reuse_blob(
        &self,
        tx: &mut dyn CatalogTx,
        digest: &Digest,
    ) -> Result<Option<TrustedBlob>, CatalogError> {
        let is_readable = self.writes_everywhere() || tx.is_readable(digest, &self.reach(), &self.sender).await?;
        if is_readable { tx.reuse_blob(digest).await } else { Ok(None) }
    }

    /// The actor, if it may decide who reads the image.
    pub(crate) fn may_change_visibility(&self, image: &ImageName) -> Result<&Actor, Denied> {
        let action = Action::ContentRetire;
        if self.editor.rights.allow(action, Target::Image(image)) {
            Ok(&self.editor.actor)
        } else if self.editor.rights.allow(action, Target::Anything) {
            Err(Denied::OutOfScope { action, image: image.clone() })
        } else {
            Err(Denied::Forbidden(action))
        }
    }

    /// The actor of what belongs to no image: uploads.
    pub(crate) const fn uploader(&self) -> &Actor {
        &self.editor.actor
    }

    /// Whether it may see and abort the uploads of others.
    pub(crate) fn oversees_uploads(&self) -> bool {
        self.editor.rights.allow(Action::ContentRetire, Target::Everything)
    }

    /// Refuses callers that may not see the uploads of others.
    pub(crate) fn require_overseer(&self) -> Result<(), Denied> {
        if self.oversees_uploads() { Ok(()) } else { Err(Denied::NotEverywhere(Action::ContentRetire)) }
    }
}

impl ContentAdmin {
    /// The actor, if it may retire versions of every image.
    pub(crate) fn everywhere(&self) -> Result<&Actor, Denied> {
        let action = Action::ContentRetire;
        if self.0.rights.allow(action, Target::Everything) {
            Ok(&self.0.actor)
        } else {
            Err(Denied::NotEverywhere(action))
        }
    }

    /// Whether it may read the published versions of an image.
    pub(crate) fn may_read(&self, image: &Image) -> bool {
        View::of(Some(&self.0.rights), &image.name).shows(image.visibility)
    }

    /// Whether it may retire versions of the image.
    pub(crate) fn covers(&self, image: &ImageName) -> bool {
        self.0.rights.allow(Action::ContentRetire, Target::Image(image))
    }

    /// The actor, if it may retire versions of the image.
    pub(crate) async fn on(&self, context: &Context, image: &ImageName) -> Result<&Actor> {
        self.0.on(context, Action::ContentRetire, image).await
    }
}

impl SystemOperator {
    /// Proof that the caller may see the state of the server, as operators may.
    pub const fn reader(&self) -> SystemReader {
        SystemReader(())
    }
}

impl Manager {
    /// An operator with direct access to the catalog, who needs no token.
    pub const fn operator() -> Self {
        Self(Actor::Operator)
    }

    pub(crate) const fn actor(&self) -> &Actor {
        &self.0
    }
}
