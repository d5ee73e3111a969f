//! Pages of lists.

use crate::{
    Alias, ApiToken, Artifact, AuditEntry, Image, PartSummary, Principal, ProvisioningRule, PublishJob, Role,
    UploadSession, Version,
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
            /// Where the next page starts, if there is one.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub next_cursor: Option<String>,
        }
    )*};
}

pages! {
    /// A page of images.
    ImageList {
        /// By name.
        images: Vec<Image>,
    }
    /// A page of versions.
    VersionList {
        /// Newest first.
        versions: Vec<Version>,
    }
    /// The artifacts of a version.
    ArtifactList {
        /// By operating system, architecture, variant and format.
        artifacts: Vec<Artifact>,
    }
    /// A page of aliases.
    AliasList {
        /// By name.
        aliases: Vec<Alias>,
    }
    /// A page of publish jobs.
    PublishJobList {
        /// Newest first.
        jobs: Vec<PublishJob>,
    }
    /// A page of uploads that wait for parts.
    UploadList {
        /// Newest first.
        uploads: Vec<UploadSession>,
    }
    /// The parts that a session holds.
    PartList {
        /// By number.
        parts: Vec<PartSummary>,
    }
    /// Every role.
    RoleList {
        /// By id.
        roles: Vec<Role>,
    }
    /// A page of principals.
    PrincipalList {
        /// In the order of their making.
        principals: Vec<Principal>,
    }
    /// A page of tokens.
    ApiTokenList {
        /// In the order of their making.
        api_tokens: Vec<ApiToken>,
    }
    /// A page of provisioning rules.
    ProvisioningRuleList {
        /// By id.
        rules: Vec<ProvisioningRule>,
    }
    /// A page of the audit trail.
    AuditPage {
        /// Newest first.
        entries: Vec<AuditEntry>,
    }
}
