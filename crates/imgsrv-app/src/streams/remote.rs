//! Private remotes: the products that one token may read, with links to their files.
//!
//! Clients request every file in plaintext before they use TLS. The paths of a private remote therefore contain the
//! capability of a link instead of the token: it gives access to one file, over TLS alone, and ends within three hours.

use crate::{auth::caller::Caller, content::links::link_key, error::Result, streams::Streams};
use imgsrv_domain::{
    access::{Rights, View},
    ids::TokenId,
    link::{Link, LinkKey, LinkMaker, whole_seconds},
    ports::{CatalogError, StreamImage, Timed},
    transition::Revision,
};
use imgsrv_simplestreams::EncodedProducts;
use std::sync::Arc;

/// How long the documents of a remote have the same links, in seconds.
const EPOCH: u64 = 60 * 60;
/// For how many epochs they are valid: a daemon keeps a document for an hour, and may begin a download after that.
const VALID_FOR: u64 = 3;

/// What the documents of a remote depend on: two of equal editions are the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteEdition {
    /// The token.
    pub token: TokenId,
    /// The hour since the Unix epoch in which the links were made.
    pub epoch: u64,
    revision: Revision,
    rights: Rights,
    key: LinkKey,
}

impl Streams {
    /// The present edition of the documents of the remote that the caller's token is in the URL of. The token must be limited
    /// to reading.
    #[tracing::instrument(name = "streams.remote_edition", level = "debug", skip_all, err(level = "debug"))]
    pub async fn remote_edition(&self, caller: &Caller) -> Result<RemoteEdition> {
        let (token, rights) = caller.remote()?;
        let Timed { value: key, now } = link_key(&*self.context.catalog).await?;
        let revision = self.context.revision.current(&*self.context.catalog).await?;
        Ok(RemoteEdition { token, epoch: whole_seconds(now) / EPOCH, revision, rights: rights.clone(), key })
    }

    /// The products of an edition, or of a later one.
    #[tracing::instrument(name = "streams.remote_products", level = "debug", skip_all, err(level = "debug"))]
    pub async fn remote_products(&self, edition: &RemoteEdition) -> Result<EncodedProducts> {
        // Updates the index.
        self.current().await?;
        let index = Arc::clone(&self.state.index).lock_owned().await;
        if index.revision().is_none() {
            let why = "another request could not read the changes of the streams";
            return Err(CatalogError::Unavailable(why.into()).into());
        }
        let RemoteEdition { token, epoch, rights, key, .. } = edition.clone();
        let span = tracing::Span::current();
        let projecting = tokio::task::spawn_blocking(move || {
            let (maker, expires_at) = (LinkMaker::Token(token), (epoch + VALID_FOR) * EPOCH);
            let sign = |file, generation| key.sign(&Link { file, maker, generation, expires_at });
            let shows = |image: &StreamImage| View::of(Some(&rights), &image.name).shows(image.visibility);
            span.in_scope(|| index.linked_products(shows, &sign))
        });
        let projected = projecting.await.map_err(CatalogError::backend)?;
        Ok(projected.map_err(CatalogError::backend)?)
    }
}
