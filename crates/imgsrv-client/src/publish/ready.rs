//! What is to be published, with its bytes known, and how what is there differs from it.

use super::{NewArtifact, NewAttachment};
use crate::{fit::INCUS_METADATA, transfer::Blob};
use imgsrv_api::ManifestEntry;

/// An artifact with its bytes uploaded.
pub(super) struct Ready<'a> {
    pub(super) new: &'a NewArtifact,
    pub(super) blob: Blob,
    pub(super) attachments: Vec<(&'a NewAttachment, Blob)>,
}

impl Ready<'_> {
    pub(super) fn key(&self) -> [&str; 4] {
        let NewArtifact { operating_system, architecture, variant, format, .. } = self.new;
        [operating_system, architecture, variant, format]
    }

    pub(super) fn is_named_as(&self, entry: &ManifestEntry) -> bool {
        self.key() == key(entry)
    }

    /// How what is there under the same name differs.
    pub(super) fn differences(&self, entry: &ManifestEntry) -> Vec<String> {
        let (name, there) = (self.key().join("/"), &entry.artifact);
        let mut found = Vec::new();
        let compare = |found: &mut Vec<String>, what: &str, there: &str, new: &str| {
            if there != new {
                found.push(format!("{name} has {what} {there}, not {new}"));
            }
        };
        compare(&mut found, "digest", &there.primary_blob_digest, &self.blob.digest);
        compare(&mut found, "media type", &there.primary_media_type, &self.new.media_type);
        for attachment in &entry.attachments {
            match self.attachments.iter().find(|(new, _)| new.name == attachment.name) {
                Some((new, blob)) => {
                    compare(&mut found, &format!("{} with digest", new.name), &attachment.blob_digest, &blob.digest);
                    compare(
                        &mut found,
                        &format!("{} with media type", new.name),
                        &attachment.media_type,
                        &new.media_type,
                    );
                }
                None if attachment.name == INCUS_METADATA && self.new.incus.is_some() => {}
                None => found.push(format!("{name} has the attachment {}", attachment.name)),
            }
        }
        found
    }

    /// What lacks of what is there under the same name.
    pub(super) fn lacking(&self, entry: &ManifestEntry) -> Vec<String> {
        let has = |name: &str| entry.attachments.iter().any(|attachment| attachment.name == name);
        let wanted = self.attachments.iter().map(|(new, _)| new.name.as_str());
        let wanted = wanted.chain(self.new.incus.as_ref().map(|_| INCUS_METADATA));
        let key = self.key().join("/");
        wanted.filter(|name| !has(name)).map(|name| format!("{key} lacks the attachment {name}")).collect()
    }
}

fn key(entry: &ManifestEntry) -> [&str; 4] {
    let there = &entry.artifact;
    [&there.operating_system, &there.architecture, &there.variant, &there.format]
}

/// What a manifest has that nobody wants.
pub(super) fn not_wanted(entry: &ManifestEntry) -> String {
    format!("it has {} as well", key(entry).join("/"))
}
