//! An S3-compatible store with fresh buckets.
#![cfg(feature = "fresh")]

#[cfg(feature = "containers")]
use super::garage::{ACCESS_KEY, REGION, SECRET_KEY};
use super::{Garage, Keep, S3Server, SeaweedFs, variable};
use futures::TryStreamExt;
use object_store::{
    ObjectStore,
    aws::{AmazonS3, AmazonS3Builder},
    path::Path,
    signer::{Method, SignedUrlOptions, Signer},
};
use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};
use tokio::sync::OnceCell;

/// The store that the tests of this process share.
pub struct S3 {
    /// Host and port of its API over plain HTTP.
    pub endpoint: String,
    /// Its access key.
    pub access_key_id: String,
    /// Its secret key.
    pub secret_access_key: String,
    /// Its region.
    pub region: String,
    _keep: Keep,
}

impl S3 {
    /// The store; the first call finds or starts it.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<S3> = OnceCell::const_new();
        SHARED.get_or_init(Self::find).await
    }

    async fn find() -> Self {
        if let Some(endpoint) = variable("IMGSRV_TEST_S3_ENDPOINT") {
            let required = |name: &str| {
                variable(name).unwrap_or_else(|| panic!("IMGSRV_TEST_S3_ENDPOINT is set, so {name} must be"))
            };
            return Self {
                endpoint,
                access_key_id: required("IMGSRV_TEST_S3_ACCESS_KEY_ID"),
                secret_access_key: required("IMGSRV_TEST_S3_SECRET_ACCESS_KEY"),
                region: variable("IMGSRV_TEST_S3_REGION").unwrap_or_else(|| "us-east-1".to_owned()),
                _keep: Box::new(()),
            };
        }
        #[cfg(feature = "containers")]
        if let Some((endpoint, keep)) = super::containers::garage().await {
            return Self {
                endpoint,
                access_key_id: ACCESS_KEY.to_owned(),
                secret_access_key: SECRET_KEY.to_owned(),
                region: REGION.to_owned(),
                _keep: keep,
            };
        }
        Self::started(Garage::start).await
    }

    /// SeaweedFS, which the tests of this process share; the first call starts it.
    pub async fn seaweedfs() -> &'static Self {
        static SHARED: OnceCell<S3> = OnceCell::const_new();
        SHARED.get_or_init(|| Self::started(SeaweedFs::start)).await
    }

    async fn started<S: S3Server + 'static>(start: fn() -> S) -> Self {
        let server = tokio::task::spawn_blocking(start).await.expect("it starts");
        let store = Self::of(&server);
        Self { _keep: Box::new(server), ..store }
    }

    /// The store of a dedicated server.
    pub fn of(server: &dyn S3Server) -> Self {
        let (access_key_id, secret_access_key) = server.keys();
        Self {
            endpoint: server.endpoint(),
            access_key_id: access_key_id.to_owned(),
            secret_access_key: secret_access_key.to_owned(),
            region: server.region().to_owned(),
            _keep: Box::new(()),
        }
    }

    fn client(&self, bucket: &str) -> AmazonS3 {
        AmazonS3Builder::new()
            .with_endpoint(format!("http://{}", self.endpoint))
            .with_allow_http(true)
            .with_region(&self.region)
            .with_bucket_name(bucket)
            .with_access_key_id(&self.access_key_id)
            .with_secret_access_key(&self.secret_access_key)
            .build()
            .expect("an S3 client")
    }

    /// Creates an empty bucket and returns its name.
    pub async fn bucket(&self) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("imgsrv-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let signer = self.client(&name);
        let url = signer.signed_url(Method::PUT, &Path::default(), Duration::from_mins(1)).await.expect("a signed URL");
        let made = tokio::task::spawn_blocking(move || ureq::put(url.as_str()).send_empty()).await.expect("it ends");
        made.unwrap_or_else(|error| panic!("a bucket: {error}"));
        name
    }

    /// The keys of all objects in a bucket.
    pub async fn keys(&self, bucket: &str) -> Vec<String> {
        let listed: Vec<_> = self.client(bucket).list(None).try_collect().await.expect("a list");
        listed.into_iter().map(|meta| meta.location.to_string()).collect()
    }

    /// The keys of up to a thousand open multipart uploads in a bucket.
    pub async fn open_uploads(&self, bucket: &str) -> Vec<String> {
        let options = SignedUrlOptions::new().with_query([("uploads", "")]);
        let (client, root) = (self.client(bucket), Path::default());
        let signed = client.signed_url_opts(Method::GET, &root, Duration::from_mins(1), &options).await;
        let url = signed.expect("a signed URL");
        let request = move || ureq::get(url.as_str()).call()?.body_mut().read_to_string();
        let listed = tokio::task::spawn_blocking(request).await.expect("it ends").expect("a list");
        listed.split("<Key>").skip(1).map(|rest| rest.split('<').next().unwrap_or_default().to_owned()).collect()
    }
}
