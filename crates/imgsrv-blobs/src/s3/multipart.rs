//! Multipart requests that `object_store` does not offer: list open uploads, copy a part from another object, and
//! complete an upload with chosen parts. `object_store` signs them, and its HTTP client sends them.

use super::{error::generic, plan::Source, retry};
use backon::Retryable;
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use object_store::{
    Error,
    aws::AmazonS3,
    client::{HttpClient, HttpRequest},
    path::Path,
    signer::{HeaderName, Method, SignedUrlOptions, Signer},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Lifetime of a signature; every attempt is signed anew.
const SIGNATURE_LIFETIME: Duration = Duration::from_mins(5);
/// Maximum size of a response; a page of a list is far smaller.
const MAX_RESPONSE: usize = 8 << 20;

/// An open multipart upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OpenUpload {
    pub(super) key: Path,
    pub(super) id: String,
}

/// Where a page of open multipart uploads begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Markers {
    key: String,
    id: Option<String>,
}

/// A page of open multipart uploads.
pub(super) struct UploadsPage {
    pub(super) uploads: Vec<OpenUpload>,
    /// Where the next page begins, if there is one.
    pub(super) next: Option<Markers>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListMultipartUploadsResult {
    #[serde(default)]
    is_truncated: bool,
    next_key_marker: Option<String>,
    next_upload_id_marker: Option<String>,
    #[serde(default)]
    upload: Vec<Upload>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Upload {
    key: String,
    upload_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CopyPartResult {
    #[serde(rename = "ETag")]
    etag: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ErrorResponse {
    code: String,
    #[serde(default)]
    message: String,
}

#[derive(Serialize)]
#[serde(rename = "CompleteMultipartUpload")]
struct CompleteMultipartUpload<'a> {
    #[serde(rename = "Part")]
    parts: Vec<CompletedPart<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct CompletedPart<'a> {
    part_number: u32,
    #[serde(rename = "ETag")]
    etag: &'a str,
}

/// Maps an error response. Parts that are not as they were recorded count as missing. A 404 without an S3 error code
/// does not: it may come from a proxy that has lost the store.
fn rejected(status: u16, body: &str, path: &Path) -> Error {
    let (path, response) = (path.to_string(), quick_xml::de::from_str::<ErrorResponse>(body));
    let (code, source) = match response {
        Ok(ErrorResponse { code, message }) => (code.clone(), format!("{status} {code}: {message}").into()),
        Err(_) => (String::new(), format!("status {status}").into()),
    };
    match (status, code.as_str()) {
        (_, "InvalidPart" | "NoSuchUpload" | "NoSuchKey") => Error::NotFound { path, source },
        (_, "PreconditionFailed") | (412, _) => Error::Precondition { path, source },
        (401 | 403, _) => Error::PermissionDenied { path, source },
        _ => generic(source),
    }
}

fn is_transient(status: u16, body: &str) -> bool {
    matches!(status, 408 | 429 | 500..=599)
        || ["<Code>InternalError</Code>", "<Code>SlowDown</Code>"].iter().any(|code| body.contains(code))
}

/// Why an attempt failed.
struct Failure {
    error: Error,
    is_transient: bool,
}

impl From<Error> for Failure {
    /// No response was received.
    fn from(error: Error) -> Self {
        Self { error, is_transient: true }
    }
}

/// Sends multipart requests to a bucket.
pub(super) struct Multipart {
    signer: AmazonS3,
    http: HttpClient,
    bucket: String,
}

impl Multipart {
    pub(super) const fn new(signer: AmazonS3, http: HttpClient, bucket: String) -> Self {
        Self { signer, http, bucket }
    }

    /// Sends a signed request, and again after transient errors.
    async fn send(&self, method: Method, path: &Path, options: SignedUrlOptions, body: Bytes) -> Result<String, Error> {
        let attempt = || async {
            let url = self.signer.signed_url_opts(method.clone(), path, SIGNATURE_LIFETIME, &options).await?;
            let mut request = HttpRequest::new(body.clone().into());
            *request.method_mut() = method.clone();
            *request.uri_mut() = url.as_str().parse().map_err(generic)?;
            request.headers_mut().clone_from(&options.signed_headers);
            let response = self.http.execute(request).await.map_err(generic)?;
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), MAX_RESPONSE).collect().await.map_err(generic)?.to_bytes();
            let body = String::from_utf8_lossy(&body).into_owned();
            // Some operations respond with 200 early, and report an error only in the body.
            if (200..300).contains(&status) && !body.contains("<Error>") {
                return Ok(body);
            }
            Err(Failure { error: rejected(status, &body, path), is_transient: is_transient(status, &body) })
        };
        let sent = attempt.retry(retry::backoff()).sleep(tokio::time::sleep).when(|failure| failure.is_transient);
        sent.await.map_err(|failure| failure.error)
    }

    /// A page of the open multipart uploads whose keys start with `prefix`: the first one, or that at `markers`.
    pub(super) async fn list_page(&self, prefix: &str, markers: Option<&Markers>) -> Result<UploadsPage, Error> {
        let markers = markers.into_iter().flat_map(|Markers { key, id }| {
            let id = id.as_deref().map(|id| ("upload-id-marker", id));
            [("key-marker", key.as_str())].into_iter().chain(id)
        });
        let options = SignedUrlOptions::new().with_query([("uploads", ""), ("prefix", prefix)]).with_query(markers);
        let body = self.send(Method::GET, &Path::default(), options, Bytes::new()).await?;
        let page: ListMultipartUploadsResult = quick_xml::de::from_str(&body).map_err(generic)?;
        // Another program may have used a key that `object_store` does not accept.
        let ours = |Upload { key, upload_id }| Some(OpenUpload { key: Path::parse(&key).ok()?, id: upload_id });
        let uploads = page.upload.into_iter().filter_map(ours).collect();
        let id = page.next_upload_id_marker.filter(|id| !id.is_empty());
        let next = page.next_key_marker.filter(|_| page.is_truncated).map(|key| Markers { key, id });
        Ok(UploadsPage { uploads, next })
    }

    /// Copies part `number` of an upload from another object, inside the store; returns its etag.
    pub(super) async fn copy_part(&self, to: &OpenUpload, number: u32, from: &Source) -> Result<String, Error> {
        let query = [("partNumber", number.to_string()), ("uploadId", to.id.clone())];
        let mut headers = vec![("x-amz-copy-source", format!("{}/{}", self.bucket, from.key))];
        if !from.whole {
            let range = format!("bytes={}-{}", from.range.start, from.range.end.saturating_sub(1));
            headers.push(("x-amz-copy-source-range", range));
        }
        headers.extend(from.if_match.clone().map(|etag| ("x-amz-copy-source-if-match", etag)));
        let mut options = SignedUrlOptions::new().with_query(query);
        for (name, value) in headers {
            options = options.with_signed_header(HeaderName::from_static(name), value.parse().map_err(generic)?);
        }
        let body = self.send(Method::PUT, &to.key, options, Bytes::new()).await?;
        let result: CopyPartResult = quick_xml::de::from_str(&body).map_err(generic)?;
        Ok(result.etag)
    }

    /// Completes an upload with exactly these parts, ascending.
    pub(super) async fn complete(&self, upload: &OpenUpload, parts: &[(u32, String)]) -> Result<(), Error> {
        let parts = parts.iter().map(|(part_number, etag)| CompletedPart { part_number: *part_number, etag }).collect();
        let body = quick_xml::se::to_string(&CompleteMultipartUpload { parts }).map_err(generic)?;
        let options = SignedUrlOptions::new().with_query([("uploadId", upload.id.as_str())]);
        let response = self.send(Method::POST, &upload.key, options, body.into()).await?;
        if response.contains("CompleteMultipartUploadResult") {
            Ok(())
        } else {
            Err(generic("the completion was not confirmed"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_of_open_uploads_is_parsed() {
        let page = r#"<?xml version="1.0" encoding="UTF-8"?>
            <ListMultipartUploadsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Bucket>b</Bucket>
            <KeyMarker></KeyMarker><NextKeyMarker>k</NextKeyMarker><NextUploadIdMarker>u</NextUploadIdMarker>
            <IsTruncated>true</IsTruncated>
            <Upload><Key>staging/a</Key><UploadId>1</UploadId><StorageClass>STANDARD</StorageClass></Upload>
            <Upload><Key>cas/b</Key><UploadId>2</UploadId></Upload></ListMultipartUploadsResult>"#;
        let page: ListMultipartUploadsResult = quick_xml::de::from_str(page).expect("a page");
        assert!(page.is_truncated && page.next_key_marker.as_deref() == Some("k"));
        assert_eq!(page.upload.iter().map(|upload| upload.upload_id.as_str()).collect::<Vec<_>>(), ["1", "2"]);
        let empty: ListMultipartUploadsResult =
            quick_xml::de::from_str("<ListMultipartUploadsResult></ListMultipartUploadsResult>").expect("a page");
        assert!(!empty.is_truncated && empty.upload.is_empty());
    }

    #[test]
    fn completed_parts_are_serialised_with_number_and_etag() {
        let parts = vec![CompletedPart { part_number: 3, etag: "\"a&b\"" }];
        let body = quick_xml::se::to_string(&CompleteMultipartUpload { parts }).expect("XML");
        let expected = "<CompleteMultipartUpload><Part><PartNumber>3</PartNumber><ETag>\"a&amp;b\"</ETag></Part>";
        assert_eq!(body.replace("&quot;", "\""), format!("{expected}</CompleteMultipartUpload>"));
    }

    #[test]
    fn error_responses_are_distinguished() {
        let path = Path::from("x");
        let body =
            |code: &str| format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>m</Message></Error>");
        assert!(matches!(rejected(404, "<html>", &path), Error::Generic { .. }), "from a proxy");
        for (status, code) in [(404, "NoSuchUpload"), (400, "InvalidPart"), (404, "NoSuchKey")] {
            assert!(matches!(rejected(status, &body(code), &path), Error::NotFound { .. }), "{code}");
        }
        assert!(matches!(rejected(412, "", &path), Error::Precondition { .. }));
        assert!(matches!(rejected(403, &body("AccessDenied"), &path), Error::PermissionDenied { .. }));
        assert!(matches!(rejected(400, "<html>", &path), Error::Generic { .. }));
    }
}
