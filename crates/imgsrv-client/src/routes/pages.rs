//! Lists that the server returns in pages.

use crate::{client::Client, error::Error};
use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use serde::de::DeserializeOwned;
use url::Url;

/// The rows of a list, in its order. Pages are fetched on demand.
pub type Rows<T> = BoxStream<'static, Result<T, Error>>;

/// A page of a list.
pub(crate) trait Page: DeserializeOwned + Send {
    type Item: Send + 'static;

    /// Its rows, and the cursor of the next page.
    fn split(self) -> (Vec<Self::Item>, Option<String>);
}

macro_rules! pages {
    ($($page:ident { $rows:ident: $item:ident })*) => {$(
        impl Page for imgsrv_api::$page {
            type Item = imgsrv_api::$item;

            fn split(self) -> (Vec<Self::Item>, Option<String>) {
                (self.$rows, self.next_cursor)
            }
        }
    )*};
}

pages! {
    AliasList { aliases: Alias }
    ApiTokenList { api_tokens: ApiToken }
    ArtifactList { artifacts: Artifact }
    AuditPage { entries: AuditEntry }
    ImageList { images: Image }
    PartList { parts: PartSummary }
    PrincipalList { principals: Principal }
    ProvisioningRuleList { rules: ProvisioningRule }
    UploadList { uploads: UploadSession }
    VersionList { versions: Version }
}

enum Next {
    First,
    After(String),
    End,
}

impl Client {
    /// Every row of the list at `url`.
    pub(crate) fn rows<P: Page + 'static>(&self, url: Url) -> Rows<P::Item> {
        let client = self.clone();
        let pages = stream::try_unfold(Next::First, move |next| {
            let (client, mut url) = (client.clone(), url.clone());
            async move {
                match next {
                    Next::First => {}
                    Next::After(cursor) => {
                        url.query_pairs_mut().append_pair("cursor", &cursor);
                    }
                    Next::End => return Ok(None),
                }
                let (rows, cursor) = client.get::<P>(url).await?.split();
                let next = cursor.map_or(Next::End, Next::After);
                Ok::<_, Error>(Some((stream::iter(rows).map(Ok), next)))
            }
        });
        pages.try_flatten().boxed()
    }
}
