//! The two documents: `streams/v1/index.json` and the products documents that it lists. Readers ignore unknown fields.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The index of a server: its products documents.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Index {
    /// `index:1.0`.
    pub format: String,
    /// The documents by content id.
    pub index: BTreeMap<String, IndexEntry>,
}

/// The entry of a products document in the index.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct IndexEntry {
    /// `image-downloads` for images; clients ignore anything else.
    pub datatype: String,
    /// `products:1.0`.
    pub format: String,
    /// The path of the document, relative to the server's base URL.
    pub path: String,
    /// The keys of its products; clients ignore a document without any.
    pub products: Vec<String>,
}

/// A products document.
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
    /// Its names, separated by commas without spaces. They refer to its newest version.
    pub aliases: String,
    /// The architecture; clients ignore products with one that they do not know.
    pub arch: String,
    /// The operating system.
    pub os: String,
    /// The release of the operating system.
    pub release: String,
    /// The display name of the release.
    pub release_title: String,
    /// The variant.
    pub variant: String,
    /// The configuration that its instances require.
    pub requirements: BTreeMap<String, String>,
    /// The date of expiry, in UTC (`YYYY-MM-DD`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub support_eol: Option<String>,
    /// Its versions by serial, which starts with `YYYYMMDD`; newer ones sort after older ones.
    pub versions: BTreeMap<String, ProductVersion>,
}

/// One version of a product.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ProductVersion {
    /// A note that clients append to the description, in parentheses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Its files; clients use their [`Item::ftype`], not the key.
    pub items: BTreeMap<String, Item>,
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Item {
    /// Its type: `incus.tar.xz` is metadata; `disk-kvm.img`, `squashfs` and `root.tar.xz` are roots;
    /// `incus_combined.tar.gz` is a unified image, however it is compressed.
    pub ftype: String,
    /// Its path, relative to the server's base URL.
    pub path: String,
    /// Its size in bytes.
    pub size: i64,
    /// Its SHA-256, in lowercase hexadecimal digits.
    pub sha256: String,
    /// For metadata: the SHA-256 of it followed by the `disk-kvm.img`, which is the fingerprint of the virtual machine.
    #[serde(rename = "combined_disk-kvm-img_sha256", skip_serializing_if = "Option::is_none")]
    pub combined_disk_kvm_img_sha256: Option<String>,
    /// For metadata: the same with the `squashfs`, which is the fingerprint of the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub combined_squashfs_sha256: Option<String>,
    /// For metadata: the same with the `root.tar.xz`, which is the fingerprint of the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub combined_rootxz_sha256: Option<String>,
    /// For a unified image: `container` or `virtual-machine`. Clients before Incus 7.1 take all for containers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub combined_type: Option<String>,
}

impl Index {
    /// The paths of the documents that list images.
    pub fn image_documents(&self) -> impl Iterator<Item = &str> {
        let lists_images = |entry: &&IndexEntry| entry.datatype == "image-downloads" && !entry.products.is_empty();
        self.index.values().filter(lists_images).map(|entry| entry.path.as_str())
    }
}
