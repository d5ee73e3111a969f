//! Pages of lists.

use crate::{
    Alias, ApiToken, Artifact, AuditEntry, BlockedDigest, Image, Node, PartSummary, Principal, ProvisioningRule,
    PublishJob, Role, UploadSession, Version, VersionOfImage,
};
use serde::{Deserialize, Serialize};

macro_rules! pages {
    ($($(#[$doc:meta])* $page:ident { $(#[$order:meta])* $items:ident: $type:ty, })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        pub struct $page {
            $(#[$order])*
            pub $items: $type,
            /// Cursor of the next page; absent on the last one.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub next_cursor: Option<String>,
        }
    )*};
}

pages! {
    /// A page of images.
    ImageList {
        /// Sorted by name.
        images: Vec<Image>,
    }
    /// A page of versions.
    VersionList {
        /// Newest first.
        versions: Vec<Version>,
    }
    /// A page of artifacts.
    ArtifactList {
        /// Sorted by operating system, architecture, variant and format.
        artifacts: Vec<Artifact>,
    }
    /// A page of aliases.
    AliasList {
        /// Sorted by name.
        aliases: Vec<Alias>,
    }
    /// A page of publish jobs.
    PublishJobList {
        /// Newest first.
        jobs: Vec<PublishJob>,
    }
    /// A page of open upload sessions.
    UploadList {
        /// Newest first.
        uploads: Vec<UploadSession>,
    }
    /// A page of the parts of an upload session.
    PartList {
        /// Sorted by number.
        parts: Vec<PartSummary>,
    }
    /// A page of roles.
    RoleList {
        /// Sorted by id.
        roles: Vec<Role>,
    }
    /// A page of principals.
    PrincipalList {
        /// Sorted by time of creation.
        principals: Vec<Principal>,
    }
    /// A page of tokens.
    ApiTokenList {
        /// Sorted by time of creation.
        api_tokens: Vec<ApiToken>,
    }
    /// A page of provisioning rules.
    ProvisioningRuleList {
        /// Sorted by id.
        rules: Vec<ProvisioningRule>,
    }
    /// A page of the versions that have a digest.
    VersionOfImageList {
        /// In no particular order.
        versions: Vec<VersionOfImage>,
    }
    /// A page of blocked digests.
    BlockedDigestList {
        /// Sorted by digest.
        blocked_digests: Vec<BlockedDigest>,
    }
    /// A page of nodes.
    NodeList {
        /// Sorted by name.
        nodes: Vec<Node>,
    }
    /// A page of the audit log.
    AuditPage {
        /// Newest first.
        entries: Vec<AuditEntry>,
    }
}
