//! The documents as JSON, assembled from products that are JSON already.
//!
//! They are the documents that [`index`](crate::index) and [`products`](crate::products) describe, to the byte.

use crate::projection::{CONTENT_ID, DATATYPE, INDEX_FORMAT, PRODUCTS_FORMAT, PRODUCTS_PATH};
use std::{collections::BTreeMap, sync::Arc};

/// Products by key, each as the JSON object that documents contain.
pub type EncodedProducts = BTreeMap<String, Arc<str>>;

/// A document in pieces, so that pieces that have not changed need not be processed again: the head, the entries with
/// commas between them, and the tail.
pub struct Pieces<'p> {
    /// What precedes the entries.
    pub head: String,
    /// The entries, by key.
    pub entries: Box<dyn Iterator<Item = Entry<'p>> + 'p>,
    /// What follows the entries.
    pub tail: &'static str,
}

/// An entry of a document.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'p> {
    /// The key of its product.
    pub key: &'p str,
    /// Its product, unless the document has the keys alone. The same allocation as in the previous document if the product
    /// has not changed.
    pub product: Option<&'p Arc<str>>,
}

impl Entry<'_> {
    /// The entry as JSON.
    pub fn json(&self) -> String {
        let key = json(self.key);
        match self.product {
            Some(product) => [&key, ":", product].concat(),
            None => key,
        }
    }
}

/// The index of a server that has `products`.
pub fn index_pieces(products: &EncodedProducts) -> Pieces<'_> {
    let head = format!(
        r#"{{"format":{},"index":{{{}:{{"datatype":{},"format":{},"path":{},"products":["#,
        json(INDEX_FORMAT),
        json(CONTENT_ID),
        json(DATATYPE),
        json(PRODUCTS_FORMAT),
        json(PRODUCTS_PATH),
    );
    let entries = products.keys().map(|key| Entry { key, product: None });
    Pieces { head, entries: Box::new(entries), tail: "]}}}" }
}

/// The document with `products`.
pub fn products_pieces(products: &EncodedProducts) -> Pieces<'_> {
    let head = format!(
        r#"{{"content_id":{},"datatype":{},"format":{},"products":{{"#,
        json(CONTENT_ID),
        json(DATATYPE),
        json(PRODUCTS_FORMAT),
    );
    let entries = products.iter().map(|(key, product)| Entry { key, product: Some(product) });
    Pieces { head, entries: Box::new(entries), tail: "}}" }
}

/// A text as JSON.
fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
