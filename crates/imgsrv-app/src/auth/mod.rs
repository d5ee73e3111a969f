//! Authentication, authorisation, and the management of principals, tokens and provisioning rules.

pub(crate) mod audit_log;
pub(crate) mod authenticate;
pub(crate) mod bootstrap;
pub(crate) mod caller;
pub(crate) mod denied;
pub(crate) mod exposure;
pub(crate) mod principals;
pub(crate) mod rules;
pub(crate) mod token;
