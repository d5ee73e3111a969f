//! Settings of the bucket, and its HTTP clients.

use super::retry;
use object_store::{
    ClientOptions, Error,
    aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey},
    client::{HttpClient, HttpConnector, ReqwestConnector},
};
use std::{sync::Arc, time::Duration};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a request without a body may take, retries included.
pub(super) const DEADLINE: Duration = Duration::from_secs(30);

/// How to reach the bucket. Without keys, credentials come from the environment (`AWS_...`), a web identity token, or
/// the metadata service of the container or the machine.
#[derive(Clone)]
pub struct S3Settings {
    /// `host:port` of the store; AWS when absent.
    pub endpoint: Option<String>,
    /// The bucket; it must exist.
    pub bucket: String,
    /// The region that requests are signed for; `us-east-1` when absent.
    pub region: Option<String>,
    /// The access key.
    pub access_key_id: Option<String>,
    /// The secret key.
    pub secret_access_key: Option<String>,
    /// The session token of temporary credentials.
    pub session_token: Option<String>,
    /// Whether the endpoint uses TLS. AWS always does.
    pub tls: bool,
    /// `endpoint/bucket/key` instead of `bucket.endpoint/key`.
    pub path_style: bool,
}

/// Clients of the bucket.
pub(super) struct Connections {
    /// For requests about single objects.
    pub(super) store: AmazonS3,
    /// For deleting many objects in one request.
    pub(super) bulk: AmazonS3,
    /// For requests that `object_store` does not send.
    pub(super) http: HttpClient,
}

impl S3Settings {
    /// Sends nothing yet.
    pub(super) fn connect(&self) -> Result<Connections, Error> {
        let options = ClientOptions::new()
            .with_allow_http(!self.tls)
            .with_timeout_disabled()
            .with_connect_timeout(CONNECT_TIMEOUT);
        let http = ReqwestConnector::default().connect(&options)?;
        let store = self
            .credentials()?
            .with_bucket_name(&self.bucket)
            .with_virtual_hosted_style_request(!self.path_style)
            .with_allow_http(!self.tls)
            .with_client_options(options)
            .with_retry(retry::config(DEADLINE));
        // Not every store supports bulk deletion, so single objects are deleted without.
        let bulk = store.clone().build()?;
        Ok(Connections { store: store.with_disable_bulk_delete(true).build()?, bulk, http })
    }

    /// A builder with credentials, region and endpoint.
    fn credentials(&self) -> Result<AmazonS3Builder, Error> {
        let mut builder = AmazonS3Builder::new();
        if self.access_key_id.is_none() && self.secret_access_key.is_none() {
            // Only credentials and region are taken from the environment.
            let environment = AmazonS3Builder::from_env();
            if let Some(region) = environment.get_config_value(&AmazonS3ConfigKey::Region) {
                builder = builder.with_region(region);
            }
            let environment = environment.with_bucket_name(&self.bucket).build()?;
            builder = builder.with_credentials(Arc::clone(environment.credentials()));
        }
        let given = [
            (AmazonS3ConfigKey::AccessKeyId, &self.access_key_id),
            (AmazonS3ConfigKey::SecretAccessKey, &self.secret_access_key),
            (AmazonS3ConfigKey::Region, &self.region),
            (AmazonS3ConfigKey::Token, &self.session_token),
        ];
        for (key, value) in given {
            if let Some(value) = value {
                builder = builder.with_config(key, value);
            }
        }
        if let Some(endpoint) = &self.endpoint {
            let scheme = if self.tls { "https" } else { "http" };
            let host = if self.path_style { endpoint.clone() } else { format!("{}.{endpoint}", self.bucket) };
            builder = builder.with_endpoint(format!("{scheme}://{host}"));
        }
        Ok(builder)
    }
}
