//! Settings of the bucket, and its HTTP clients.

use super::retry;
use object_store::{
    ClientOptions,
    aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey},
    client::{HttpClient, HttpConnector, ReqwestConnector},
};
use std::{sync::Arc, time::Duration};
use url::{Host, Url};

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
    /// `endpoint/bucket/key` instead of `bucket.endpoint/key`. An endpoint that is an IP address is always used so.
    pub path_style: bool,
}

/// Why no request can be made with the settings of a bucket.
#[derive(Debug, thiserror::Error)]
pub enum S3SettingsError {
    /// The endpoint is not the address of a server.
    #[error("the S3 endpoint {0:?} is not host:port of a server")]
    Endpoint(String),
    /// No bucket of any store has this name.
    #[error(
        "the S3 bucket name {0:?} is not valid: it must begin and end with a letter or digit, and contain only \
         letters, digits and the characters . - _ :"
    )]
    Bucket(String),
    /// The bucket and the endpoint are no host name together.
    #[error("{0:?} is not a host name, so the S3 bucket needs path-style URLs (--s3-path-style)")]
    Host(String),
    /// The region cannot be part of a signature.
    #[error("the S3 region {0:?} is not valid: it must contain only letters, digits and the characters . - _")]
    Region(String),
    /// A credential cannot be part of a header; its value is not shown.
    #[error("the S3 {0} has characters that are not printable ASCII, such as a line break")]
    Credential(&'static str),
    /// The client refuses the settings.
    #[error("the S3 client cannot be created")]
    Client(#[from] object_store::Error),
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
    ///
    /// `object_store` panics at the first request if it cannot be written as HTTP, so that everything which becomes part of
    /// a URL or a header is checked.
    pub(super) fn connect(&self) -> Result<Connections, S3SettingsError> {
        let address = self.address()?;
        let options = ClientOptions::new()
            .with_allow_http(!self.tls)
            .with_timeout_disabled()
            .with_connect_timeout(CONNECT_TIMEOUT);
        let http = ReqwestConnector::default().connect(&options)?;
        let mut store = self.credentials()?;
        if let Some(url) = address.url {
            store = store.with_endpoint(url);
        }
        let store = store
            .with_bucket_name(&self.bucket)
            .with_virtual_hosted_style_request(!address.is_path_style)
            .with_allow_http(!self.tls)
            .with_client_options(options)
            .with_retry(retry::config(DEADLINE));
        // Not every store supports bulk deletion, so single objects are deleted without.
        let bulk = store.clone().build()?;
        Ok(Connections { store: store.with_disable_bulk_delete(true).build()?, bulk, http })
    }

    /// Where the bucket is.
    fn address(&self) -> Result<Address, S3SettingsError> {
        let is_alphanumeric = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
        let (first, last) = (self.bucket.bytes().next(), self.bucket.bytes().last());
        if !is_alphanumeric(first) || !is_alphanumeric(last) || !consists_of(&self.bucket, b".-_:") {
            return Err(S3SettingsError::Bucket(self.bucket.clone()));
        }
        if let Some(region) = self.region.as_ref().filter(|region| !consists_of(region, b".-_")) {
            return Err(S3SettingsError::Region(region.clone()));
        }
        let invalid = || S3SettingsError::Endpoint(self.endpoint.clone().unwrap_or_default());
        let server = self.endpoint.as_ref().map(|endpoint| self.server(endpoint).ok_or_else(invalid)).transpose()?;
        let is_ip = matches!(server.as_ref().and_then(Url::host), Some(Host::Ipv4(_) | Host::Ipv6(_)));
        if self.path_style || is_ip {
            let url = server.map(|server| server.origin().ascii_serialization());
            return Ok(Address { url, is_path_style: true });
        }
        let region = self.region.as_deref().unwrap_or("us-east-1");
        let server = self.endpoint.clone().unwrap_or_else(|| format!("s3.{region}.amazonaws.com"));
        let host = format!("{}.{server}", self.bucket);
        let Some(url) = self.server(&host) else { return Err(S3SettingsError::Host(host)) };
        let url = self.endpoint.as_ref().map(|_| url.origin().ascii_serialization());
        Ok(Address { url, is_path_style: false })
    }

    /// The URL of a server at `host:port`.
    fn server(&self, address: &str) -> Option<Url> {
        let scheme = if self.tls { "https" } else { "http" };
        let url = Url::parse(&format!("{scheme}://{address}")).ok()?;
        let is_plain =
            url.username().is_empty() && url.password().is_none() && !address.contains(['/', '\\', '?', '#']);
        (is_plain && is_printable(address)).then_some(url)
    }

    /// A builder with credentials and region.
    fn credentials(&self) -> Result<AmazonS3Builder, S3SettingsError> {
        let mut builder = AmazonS3Builder::new();
        if self.access_key_id.is_none() && self.secret_access_key.is_none() {
            // Only credentials and region are taken from the environment.
            let environment = AmazonS3Builder::from_env();
            if let Some(region) = environment.get_config_value(&AmazonS3ConfigKey::Region) {
                if !consists_of(&region, b".-_") {
                    return Err(S3SettingsError::Region(region));
                }
                builder = builder.with_region(region);
            }
            for (key, name) in IN_HEADERS {
                require_printable(name, environment.get_config_value(&key).as_deref())?;
            }
            let environment = environment.with_bucket_name(&self.bucket).build()?;
            builder = builder.with_credentials(Arc::clone(environment.credentials()));
        }
        for ((_, name), value) in IN_HEADERS.iter().zip([&self.access_key_id, &self.session_token]) {
            require_printable(name, value.as_deref())?;
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
        Ok(builder)
    }
}

/// Credentials that become part of headers.
const IN_HEADERS: [(AmazonS3ConfigKey, &str); 2] =
    [(AmazonS3ConfigKey::AccessKeyId, "access key id"), (AmazonS3ConfigKey::Token, "session token")];

fn require_printable(name: &'static str, value: Option<&str>) -> Result<(), S3SettingsError> {
    if value.is_none_or(is_printable) { Ok(()) } else { Err(S3SettingsError::Credential(name)) }
}

/// The address of the bucket.
struct Address {
    /// The endpoint, with the bucket unless in path style; that of AWS when absent.
    url: Option<String>,
    is_path_style: bool,
}

/// Whether a text has only letters, digits and `others`.
fn consists_of(text: &str, others: &[u8]) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || others.contains(&byte))
}

fn is_printable(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(endpoint: Option<&str>, bucket: &str, path_style: bool) -> S3Settings {
        S3Settings {
            endpoint: endpoint.map(str::to_owned),
            bucket: bucket.to_owned(),
            region: None,
            access_key_id: Some("key".to_owned()),
            secret_access_key: Some("secret".to_owned()),
            session_token: None,
            tls: false,
            path_style,
        }
    }

    fn refused(settings: &S3Settings) -> String {
        settings.connect().err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn endpoint_that_is_an_ip_address_is_used_in_path_style() {
        for (endpoint, path_style, expected) in [
            ("127.0.0.1:9000", false, ("http://127.0.0.1:9000", true)),
            ("[::1]:9000", false, ("http://[::1]:9000", true)),
            ("s3.example.org", false, ("http://images.s3.example.org", false)),
            ("s3.example.org:3900", true, ("http://s3.example.org:3900", true)),
        ] {
            let address = settings(Some(endpoint), "images", path_style).address().expect(endpoint);
            assert_eq!((address.url.as_deref(), address.is_path_style), (Some(expected.0), expected.1));
        }
        assert_eq!(settings(None, "images", false).address().expect("AWS").url, None);
    }

    #[test]
    fn settings_that_no_request_can_contain_are_refused_with_their_value() {
        for endpoint in ["a b", "a:99999", ":80", "user@a", "a?b", "a#b", "a\\b", "ä.example", "a\n", "[::1"] {
            for path_style in [false, true] {
                let error = refused(&settings(Some(endpoint), "images", path_style));
                assert!(error.contains(&format!("{endpoint:?}")), "{endpoint:?}: {error}");
            }
        }
        for bucket in ["a b", "a/../b", "ä", "a\nb", "a?x=1", "a#b", "..", ".", "-a", ""] {
            let error = refused(&settings(Some("127.0.0.1:9000"), bucket, true));
            assert!(error.contains(&format!("{bucket:?}")), "{bucket:?}: {error}");
        }
        assert!(refused(&settings(Some("9"), "a.1", false)).is_empty(), "0.0.0.9 is an IP address");
        assert!(refused(&settings(Some("s3.1x"), "tenant:a", false)).contains("--s3-path-style"));
        assert!(refused(&settings(Some("s3.1x"), "tenant:a", true)).is_empty());
        for region in ["a b", "a\nb", "ä"] {
            let settings = S3Settings { region: Some(region.to_owned()), ..settings(None, "images", false) };
            assert!(refused(&settings).contains(&format!("{region:?}")));
        }
        let key = S3Settings { access_key_id: Some("hidden\n".to_owned()), ..settings(None, "images", false) };
        let token = S3Settings { session_token: Some("hidden\n".to_owned()), ..settings(None, "images", false) };
        for (settings, name) in [(key, "access key id"), (token, "session token")] {
            let error = refused(&settings);
            assert!(error.contains(name) && !error.contains("hidden"), "{error}");
        }
    }
}
