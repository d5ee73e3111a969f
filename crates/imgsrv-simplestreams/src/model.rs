//! The two documents: `streams/v1/index.json` and the products that it names.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The bytes are not a document of the kind that was expected.
#[derive(Debug, thiserror::Error)]
#[error("not a Simple Streams document: {0}")]
pub struct InvalidDocument(#[from] serde_json::Error);

/// The index of a server: which documents of products it has.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Index {
    /// `index:1.0`.
    pub format: String,
    /// The documents by their content id.
    pub index: BTreeMap<String, IndexEntry>,
}

/// A document of products.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct IndexEntry {
    /// `image-downloads` for images; clients pass over anything else.
    pub datatype: String,
    /// `products:1.0`.
    pub format: String,
    /// Where the document is, relative to the server's base.
    pub path: String,
    /// The keys of its products; clients pass over a document without any.
    pub products: Vec<String>,
}

/// A document of products.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Products {
    /// Its id in the index.
    pub content_id: String,
    /// `image-downloads` for images.
    pub datatype: String,
    /// `products:1.0`.
    pub format: String,
    /// The products by key.
    pub products: BTreeMap<String, Product>,
}

/// An image for one architecture, in one or more versions.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Product {
    /// Its names, separated by commas without spaces. All its versions have them; the newest is found by them.
    pub aliases: String,
    /// The architecture; clients pass over one that they do not know.
    pub arch: String,
    /// What boots.
    pub os: String,
    /// Which release of it.
    pub release: String,
    /// What people call the release.
    pub release_title: String,
    /// Which of several alike.
    pub variant: String,
    /// What instances of it must be configured with.
    pub requirements: BTreeMap<String, String>,
    /// The date (`YYYY-MM-DD`) on which it expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub support_eol: Option<String>,
    /// Its versions by serial, which starts with `YYYYMMDD`; newer ones sort after older ones.
    pub versions: BTreeMap<String, ProductVersion>,
}

/// One version of a product.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ProductVersion {
    /// Its files; clients look at their [`Item::ftype`], not at the key.
    pub items: BTreeMap<String, Item>,
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Item {
    /// What it is: `incus.tar.xz` is metadata, `disk-kvm.img`, `squashfs` and `root.tar.xz` are what boots.
    pub ftype: String,
    /// Where it is, relative to the server's base.
    pub path: String,
    /// How many bytes it has.
    pub size: i64,
    /// Their SHA-256, in lowercase hexadecimal digits.
    pub sha256: String,
    /// Of metadata: the SHA-256 of it followed by the `disk-kvm.img`, the fingerprint of the virtual machine.
    #[serde(rename = "combined_disk-kvm-img_sha256", skip_serializing_if = "Option::is_none")]
    pub combined_disk_kvm_img_sha256: Option<String>,
    /// Of metadata: the same with the `squashfs`, the fingerprint of the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub combined_squashfs_sha256: Option<String>,
    /// Of metadata: the same with the `root.tar.xz`, the fingerprint of the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub combined_rootxz_sha256: Option<String>,
}

impl Index {
    /// Reads `streams/v1/index.json`. Unknown fields are passed over.
    pub fn parse(document: &[u8]) -> Result<Self, InvalidDocument> {
        Ok(serde_json::from_slice(document)?)
    }

    /// The paths of the documents that list images.
    pub fn image_documents(&self) -> impl Iterator<Item = &str> {
        let lists_images = |entry: &&IndexEntry| entry.datatype == "image-downloads" && !entry.products.is_empty();
        self.index.values().filter(lists_images).map(|entry| entry.path.as_str())
    }
}

impl Products {
    /// Reads a document of products. Unknown fields are passed over.
    pub fn parse(document: &[u8]) -> Result<Self, InvalidDocument> {
        Ok(serde_json::from_slice(document)?)
    }
}
