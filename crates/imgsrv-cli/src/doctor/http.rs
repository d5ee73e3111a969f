//! What a server responds to plain requests, as different clients send them.

use crate::{diagnosis::Diagnosis, failure::Failure};
use futures::{StreamExt, TryStreamExt};
use imgsrv_client::{Client, VersionFilter, api::ReleaseFile};
use jiff::Timestamp;
use reqwest::{
    Certificate, RequestBuilder, Response, StatusCode, Url,
    header::{ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, HeaderName, IF_NONE_MATCH, LOCATION, RANGE},
    redirect,
};
use serde_json::Value;
use std::{collections::BTreeSet, time::Duration};

/// How long a response may take.
const LIMIT: Duration = Duration::from_secs(10);
/// Difference between clocks that is noted.
const SKEW_SECONDS: i64 = 30;
/// Images that are searched for a file.
const MAX_IMAGES: usize = 20;

/// A server.
pub(super) struct Site<'c> {
    client: &'c Client,
    http: reqwest::Client,
}

/// An anonymous client that trusts this authority as well, and follows no redirects.
pub(crate) fn http(authority: Option<&str>) -> Result<reqwest::Client, Failure> {
    let failed = |error: reqwest::Error| Failure::other(format!("cannot set up HTTP: {error}"));
    let mut builder = reqwest::Client::builder().redirect(redirect::Policy::none()).timeout(LIMIT);
    if let Some(pem) = authority {
        builder = builder.tls_certs_merge(Certificate::from_pem_bundle(pem.as_bytes()).map_err(failed)?);
    }
    builder.build().map_err(failed)
}

/// What ports answer to clients that speak plain HTTP to a server with TLS.
pub(super) async fn plaintext(host: &str, port: u16, diagnosis: &mut Diagnosis) {
    let Ok(http) = http(None) else { return };
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    match http.get(format!("http://{host}:{port}/healthz")).send().await {
        Ok(response) if response.status().is_success() => diagnosis.problem(
            "plain HTTP",
            format!(
                "port {port} serves the API over plain HTTP as well: tokens may travel in plaintext. Refuse it there"
            ),
        ),
        Ok(response) => {
            diagnosis.ok("plain HTTP", format!("port {port} refuses it with {}", response.status().as_u16()));
        }
        Err(_) => diagnosis.note(
            "plain HTTP",
            format!("port {port} closes the connection. Clients that try http:// first, as Incus does, show no reason"),
        ),
    }
    if port != 443 {
        return;
    }
    match http.get(format!("http://{host}/")).send().await {
        Ok(response) if response.status().is_redirection() && header(&response, LOCATION).starts_with("https://") => {
            diagnosis.ok("port 80", "redirects to HTTPS");
        }
        Ok(response) => diagnosis.note(
            "port 80",
            format!("responds {} without a redirect. Redirect it to https://{host}", response.status().as_u16()),
        ),
        Err(_) => diagnosis.note(
            "port 80",
            format!("nothing responds: {host} typed without https:// is not found. Redirect it to https://{host}"),
        ),
    }
}

fn header(response: &Response, name: HeaderName) -> &str {
    response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

impl<'c> Site<'c> {
    pub(super) fn new(client: &'c Client, authority: Option<&str>) -> Result<Self, Failure> {
        Ok(Self { client, http: http(authority)? })
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.http.get(format!("{}{path}", self.client.url().as_str().trim_end_matches('/')))
    }

    /// Examines readiness and the clock; returns whether an imgsrv server responds.
    pub(super) async fn health(&self, diagnosis: &mut Diagnosis) -> bool {
        let response = match self.get("/readyz").send().await {
            Ok(response) => response,
            Err(error) => {
                diagnosis.problem("api", format!("no response: {}. Check that the server runs", cause(&error)));
                return false;
            }
        };
        let degraded = response.headers().get("imgsrv-degraded").and_then(|reason| reason.to_str().ok());
        match (response.status(), degraded) {
            (StatusCode::OK | StatusCode::NO_CONTENT, None) => diagnosis.ok("api", "ready"),
            (StatusCode::OK | StatusCode::NO_CONTENT, Some(reason)) => {
                diagnosis.note("api", format!("serves reads alone ({reason}). Free space on the disks of the server"));
            }
            (StatusCode::SERVICE_UNAVAILABLE, _) => {
                diagnosis.problem("api", "not ready. The server's log says which part it cannot reach");
            }
            (status, _) => {
                diagnosis.problem("api", format!(
                    "/readyz responds {}: this is no imgsrv server, or its URL needs a path. Check the URL and the proxy",
                    status.as_u16()
                ));
                return false;
            }
        }
        clock(header(&response, DATE), diagnosis);
        true
    }

    /// Whether the documents of Simple Streams can be parsed and agree.
    pub(super) async fn streams(&self, diagnosis: &mut Diagnosis) {
        const PART: &str = "streams";
        let document = async |path: &str| -> Result<Value, String> {
            let response = self.get(&format!("/{path}")).send().await.map_err(|error| cause(&error))?;
            if !response.status().is_success() {
                return Err(format!("responds {}", response.status().as_u16()));
            }
            let body = response.bytes().await.map_err(|error| cause(&error))?;
            serde_json::from_slice(&body).map_err(|error| format!("is not JSON: {error}"))
        };
        let fail = |diagnosis: &mut Diagnosis, path: &str, why: String| {
            diagnosis.problem(PART, format!("/{path} {why}. A proxy must pass /streams/ on unchanged"));
        };
        let index = match document("streams/v1/index.json").await {
            Ok(index) => index,
            Err(why) => return fail(diagnosis, "streams/v1/index.json", why),
        };
        let Some(path) = index["index"]["images"]["path"].as_str() else {
            return fail(diagnosis, "streams/v1/index.json", "names no list of images".to_owned());
        };
        let images = match document(path).await {
            Ok(images) => images,
            Err(why) => return fail(diagnosis, path, why),
        };
        let listed = index["index"]["images"]["products"].as_array();
        let listed: BTreeSet<&str> = listed.into_iter().flatten().filter_map(Value::as_str).collect();
        let Some(products) = images["products"].as_object() else {
            return fail(diagnosis, path, "has no products".to_owned());
        };
        if listed == products.keys().map(String::as_str).collect() {
            let noun = if products.len() == 1 { "product" } else { "products" };
            diagnosis.ok(PART, format!("{} {noun} for Incus and LXD", products.len()));
        } else {
            diagnosis
                .note(PART, "the index and the list of images differ. This passes if something was published just now");
        }
    }

    /// Whether the files can be resumed and cached.
    pub(super) async fn files(&self, diagnosis: &mut Diagnosis) {
        match self.any_file().await {
            Err(error) => diagnosis.problem("files", format!("images cannot be listed: {error}")),
            Ok(None) => diagnosis.note("files", "not examined, because nothing is published that everybody may read"),
            Ok(Some((url, file))) => {
                if let Err(error) = self.file(url, &file, diagnosis).await {
                    diagnosis.problem("files", format!("{} cannot be read: {}", file.name, cause(&error)));
                }
            }
        }
    }

    async fn any_file(&self) -> Result<Option<(Url, ReleaseFile)>, imgsrv_client::Error> {
        let mut images = self.client.images(false).take(MAX_IMAGES);
        while let Some(image) = images.try_next().await? {
            let mut versions = self.client.versions(&image.name, VersionFilter::Published).take(1);
            while let Some(version) = versions.try_next().await? {
                let listing = self.client.files(&image.name, &version.version).await?;
                if let Some(file) = listing.files.into_iter().find(|file| file.size_bytes > 1) {
                    return Ok(Some((self.client.file_url(&image.name, &version.version, &file.name), file)));
                }
            }
        }
        Ok(None)
    }

    async fn file(&self, url: Url, file: &ReleaseFile, diagnosis: &mut Diagnosis) -> Result<(), reqwest::Error> {
        let plain = |request: RequestBuilder| request.header(ACCEPT_ENCODING, "identity").send();
        let head = plain(self.http.head(url.clone())).await?;
        let (etag, length) = (header(&head, ETAG).to_owned(), header(&head, CONTENT_LENGTH).to_owned());
        if head.status().is_server_error() {
            diagnosis.problem("files", format!(
                "HEAD {} responds {}: the server cannot serve this file. imgsrv quarantined-blobs list lists damaged content",
                url.path(), head.status().as_u16()
            ));
            return Ok(());
        }
        if head.status().is_success() && length == file.size_bytes.to_string() {
            diagnosis.ok("files", format!("{} has {length} bytes", url.path()));
        } else {
            diagnosis.problem("files", format!(
                "HEAD {} responds {} with length {length:?} instead of {}. A proxy must not compress or change files",
                url.path(), head.status().as_u16(), file.size_bytes
            ));
        }
        let part = plain(self.http.get(url.clone()).header(RANGE, "bytes=1-1")).await?;
        let (status, range) = (part.status(), header(&part, CONTENT_RANGE).to_owned());
        let is_one_byte = status == StatusCode::PARTIAL_CONTENT
            && range == format!("bytes 1-1/{}", file.size_bytes)
            && part.bytes().await?.len() == 1;
        if is_one_byte {
            diagnosis.ok("ranges", "interrupted downloads can be resumed");
        } else {
            diagnosis.problem(
                "ranges",
                format!(
                    "a request for one byte gets {} ({range}). A proxy must pass Range and Content-Range on",
                    status.as_u16()
                ),
            );
        }
        if etag.is_empty() || etag.starts_with("W/") {
            diagnosis.problem("ETag", format!(
                "the entity tag of a file is {etag:?}. A proxy must pass strong entity tags on: turn compression off"
            ));
            return Ok(());
        }
        let cached = plain(self.http.get(url).header(IF_NONE_MATCH, &etag)).await?;
        if cached.status() == StatusCode::NOT_MODIFIED {
            diagnosis.ok("ETag", "files that a client has are not sent again");
        } else {
            diagnosis.problem(
                "ETag",
                format!(
                    "a file that a client has gets {} instead of 304. A proxy must pass If-None-Match on",
                    cached.status().as_u16()
                ),
            );
        }
        Ok(())
    }
}

/// The deepest cause of an error, which says what happened.
fn cause(error: &reqwest::Error) -> String {
    imgsrv_domain::error_chain::chain(error).last().map_or_else(|| error.to_string(), ToString::to_string)
}

fn clock(date: &str, diagnosis: &mut Diagnosis) {
    let Ok(server) = jiff::fmt::rfc2822::parse(date) else {
        return diagnosis.note("clock", "not examined, because the response has no Date");
    };
    let ahead = server.timestamp().as_second() - Timestamp::now().as_second();
    if ahead.abs() < SKEW_SECONDS {
        diagnosis.ok("clock", "agrees with that of this machine");
    } else {
        diagnosis.note(
            "clock",
            format!(
                "that of the server is {} seconds {} that of this machine. Synchronise both: tokens have times",
                ahead.abs(),
                if ahead > 0 { "ahead of" } else { "behind" }
            ),
        );
    }
}
