//! An artifact whose bytes are transferred, and how an artifact on the server differs from it.

use super::{NewArtifact, NewAttachment};
use crate::transfer::Blob;
use imgsrv_api::ManifestEntry;
use imgsrv_domain::{architecture::is_same, files::INCUS_METADATA};
use std::iter;

/// An artifact whose bytes are blobs of the server.
pub(super) struct PreparedArtifact<'a> {
    pub(super) new: &'a NewArtifact,
    pub(super) blob: Blob,
    pub(super) attachments: Vec<(&'a NewAttachment, Blob)>,
}

impl PreparedArtifact<'_> {
    /// What identifies it in its version.
    pub(super) fn key(&self) -> [&str; 4] {
        let NewArtifact { operating_system, architecture, variant, format, .. } = self.new;
        [operating_system, architecture, variant, format.as_str()]
    }

    /// Whether the artifact on the server is the same, perhaps with another spelling of its architecture.
    pub(super) fn has_key_of(&self, entry: &ManifestEntry) -> bool {
        let ([os, architecture, variant, format], other) = (self.key(), key(entry));
        is_same(architecture, other[1]) && [os, variant, format] == [other[0], other[2], other[3]]
    }

    pub(super) fn into_blobs(self) -> impl Iterator<Item = Blob> {
        iter::once(self.blob).chain(self.attachments.into_iter().map(|(_, blob)| blob))
    }

    /// How the artifact with the same key differs.
    pub(super) fn differences(&self, entry: &ManifestEntry) -> Vec<String> {
        let (key, existing) = (self.key().join("/"), &entry.artifact);
        let compare = |what: &str, existing: &str, new: &str| {
            (existing != new).then(|| format!("{key} has {what} {existing}, not {new}"))
        };
        let mut found = Vec::new();
        found.extend(compare("digest", &existing.primary_blob_digest, &self.blob.digest.to_string()));
        found.extend(compare("media type", &existing.primary_media_type, &self.new.media_type));
        for attachment in &entry.attachments {
            match self.attachments.iter().find(|(new, _)| new.name == attachment.name) {
                Some((NewAttachment { name, media_type, .. }, blob)) => {
                    let digest = blob.digest.to_string();
                    found.extend(compare(&format!("{name} with digest"), &attachment.blob_digest, &digest));
                    found.extend(compare(&format!("{name} with media type"), &attachment.media_type, media_type));
                }
                None if attachment.name == INCUS_METADATA && self.new.incus.is_some() => {}
                None => found.push(format!("{key} has the attachment {}", attachment.name)),
            }
        }
        found
    }

    /// What the artifact with the same key lacks.
    pub(super) fn missing_attachments(&self, entry: &ManifestEntry) -> Vec<String> {
        let exists = |name: &str| entry.attachments.iter().any(|attachment| attachment.name == name);
        let wanted = self.attachments.iter().map(|(new, _)| new.name.as_str());
        let wanted = wanted.chain(self.new.incus.as_ref().map(|_| INCUS_METADATA));
        let key = self.key().join("/");
        wanted.filter(|name| !exists(name)).map(|name| format!("{key} lacks the attachment {name}")).collect()
    }
}

fn key(entry: &ManifestEntry) -> [&str; 4] {
    let artifact = &entry.artifact;
    [&artifact.operating_system, &artifact.architecture, &artifact.variant, &artifact.format]
}

/// The difference that a version has an artifact that is not in the publication.
pub(super) fn unwanted(entry: &ManifestEntry) -> String {
    format!("it has {} as well", key(entry).join("/"))
}
