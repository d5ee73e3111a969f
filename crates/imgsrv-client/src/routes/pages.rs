//! Lists that the server returns in pages.

use crate::{client::Client, error::Error};
use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use serde::de::DeserializeOwned;
use url::Url;

/// The rows of a list, in its order. Pages are fetched on demand.
pub type Rows<T> = BoxStream<'static, Result<T, Error>>;

impl Client {
    /// Every row of the list at `url`; `split` takes a page apart: its rows, and the cursor of the next page.
    pub(crate) fn rows<P, T>(&self, url: Url, split: fn(P) -> (Vec<T>, Option<String>)) -> Rows<T>
    where
        P: DeserializeOwned + Send + 'static,
        T: Send + 'static,
    {
        let client = self.clone();
        let pages = stream::try_unfold(Some(url.clone()), move |next| {
            let (client, first) = (client.clone(), url.clone());
            async move {
                let Some(url) = next else { return Ok(None) };
                let (rows, cursor) = split(client.get(url).await?);
                let next = cursor.map(|cursor| with_query(first, [("cursor", Some(&*cursor))]));
                Ok::<_, Error>(Some((stream::iter(rows).map(Ok), next)))
            }
        });
        pages.try_flatten().boxed()
    }
}

/// The URL with those parameters that have a value.
pub(super) fn with_query<'a>(mut url: Url, parameters: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) -> Url {
    for (name, value) in parameters {
        if let Some(value) = value {
            url.query_pairs_mut().append_pair(name, value);
        }
    }
    url
}
