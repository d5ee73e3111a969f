//! Commands that make programs trust the server's own certificate authority.

use super::{File, Step, programs::REMOTE, step};
use imgsrv_domain::shell::{fetch_authority, install_authority};

/// What makes a program trust an authority.
#[derive(Debug, Clone, Copy)]
pub(super) enum TrustStore {
    /// The configuration of this client of Incus or LXD.
    Client(&'static str),
    /// An option of curl and wget, which the commands have.
    Option,
    /// The certificates of the system, which the program uses.
    System,
    /// A configuration map of a Kubernetes cluster, which the manifest names.
    Cluster,
}

/// The file that commands save the authority's certificate to.
pub(super) const FILE: &str = "imgsrv.crt";
/// The configuration map with it.
pub(super) const CONFIG_MAP: &str = "imgsrv-authority";

/// The steps before all others if clients do not trust the server's authority yet.
pub(super) fn steps(file: &File<'_>, store: TrustStore) -> Vec<Step> {
    let Some(sha256) = file.viewer.untrusted_authority() else { return Vec::new() };
    let fetch = fetch_authority(file.viewer.base, sha256, FILE);
    let code = match store {
        TrustStore::Client(client) => format!("{fetch} &&\n{}", install_authority(FILE, client, REMOTE)),
        TrustStore::Option => fetch,
        TrustStore::System => format!(
            "{fetch} &&\nsudo install -m 644 {FILE} /usr/local/share/ca-certificates/ && sudo update-ca-certificates"
        ),
        TrustStore::Cluster => {
            format!("{fetch} &&\nkubectl create configmap {CONFIG_MAP} --from-file=ca.pem={FILE}")
        }
    };
    let text = match store {
        TrustStore::Client(_) => "Trust this server's authority, once:",
        TrustStore::Option => "Download the certificate of this server's authority, once:",
        TrustStore::System => {
            "Trust this server's authority on each machine that downloads the file, once. This is for Debian and Ubuntu:"
        }
        TrustStore::Cluster => "Trust this server's authority, once for each namespace:",
    };
    vec![step(text, code)]
}
