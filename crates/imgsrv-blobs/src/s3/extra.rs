//! Requests that `object_store` does not make: taking a piece from another object, listing open uploads, and completing
//! one with chosen pieces. They are signed by it, and sent by its HTTP client.

use super::{
    client::{Client, TRIES},
    plan::Source,
};
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::{
    Error,
    client::{HttpRequest, HttpRequestBody},
    path::Path,
    signer::{HeaderName, HeaderValue, Method, SignedUrlOptions, Signer},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long a signature is good for; every try is signed anew.
const SIGNED_FOR: Duration = Duration::from_mins(5);
/// Bytes of an answer that are read; a page of a list is far below.
const MAX_ANSWER: usize = 8 << 20;

/// An open multipart upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OpenUpload {
    pub(super) key: Path,
    pub(super) id: String,
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
    tag: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Refusal {
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
    tag: &'a str,
}

fn generic(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Generic { store: "S3", source: source.into() }
}

/// What a refusal means. Pieces that are not there as they were recorded are as good as missing. A bare 404 is not: it
/// may be a proxy's that has lost the store.
fn refused(status: u16, body: &str, path: &Path) -> Error {
    let (path, refusal) = (path.to_string(), quick_xml::de::from_str::<Refusal>(body));
    let (code, source) = match refusal {
        Ok(refusal) => (refusal.code.clone(), format!("{status} {}: {}", refusal.code, refusal.message).into()),
        Err(_) => (String::new(), format!("status {status}").into()),
    };
    match (status, code.as_str()) {
        (_, "InvalidPart" | "NoSuchUpload" | "NoSuchKey") => Error::NotFound { path, source },
        (_, "PreconditionFailed") | (412, _) => Error::Precondition { path, source },
        (401 | 403, _) => Error::PermissionDenied { path, source },
        _ => generic(source),
    }
}

fn is_passing(status: u16, body: &str) -> bool {
    matches!(status, 408 | 429 | 500..=599)
        || ["<Code>InternalError</Code>", "<Code>SlowDown</Code>"].iter().any(|code| body.contains(code))
}

impl Client {
    /// Sends a signed request until it is answered for good.
    async fn extra(
        &self,
        method: Method,
        path: &Path,
        options: SignedUrlOptions,
        body: Option<Bytes>,
    ) -> Result<String, Error> {
        let mut failures = 0;
        loop {
            let answered = self.extra_once(&method, path, &options, body.clone()).await;
            failures += 1;
            let passing = match &answered {
                Ok((status, body)) => is_passing(*status, body),
                Err(_) => true,
            };
            if passing && failures < TRIES {
                tokio::time::sleep(Self::backoff(failures)).await;
                continue;
            }
            let (status, body) = answered?;
            // Some operations answer 200 at once, and tell of a failure only in the body.
            let failed = !(200..300).contains(&status) || body.contains("<Error>");
            return if failed { Err(refused(status, &body, path)) } else { Ok(body) };
        }
    }

    async fn extra_once(
        &self,
        method: &Method,
        path: &Path,
        options: &SignedUrlOptions,
        body: Option<Bytes>,
    ) -> Result<(u16, String), Error> {
        let url = self.signer().signed_url_opts(method.clone(), path, SIGNED_FOR, options).await?;
        let mut request = HttpRequest::new(body.map_or_else(HttpRequestBody::empty, HttpRequestBody::from));
        *request.method_mut() = method.clone();
        *request.uri_mut() = url.as_str().parse().map_err(generic)?;
        for (name, value) in &options.signed_headers {
            request.headers_mut().insert(name.clone(), value.clone());
        }
        let response = self.http().execute(request).await.map_err(generic)?;
        let status = response.status().as_u16();
        let (mut body, mut chunks) = (Vec::new(), response.into_body().bytes_stream());
        while let Some(chunk) = chunks.try_next().await.map_err(generic)? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_ANSWER {
                return Err(generic("the answer is too long"));
            }
        }
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }

    /// Every open upload whose key starts with `prefix`.
    pub(super) async fn list_open_uploads(&self, prefix: &str) -> Result<Vec<OpenUpload>, Error> {
        let mut found = Vec::new();
        let mut marker: Option<(String, String)> = None;
        loop {
            let mut options = SignedUrlOptions::new().with_query([("uploads", ""), ("prefix", prefix)]);
            if let Some((key, id)) = &marker {
                options = options.with_query([("key-marker", key.as_str())]);
                if !id.is_empty() {
                    options = options.with_query([("upload-id-marker", id.as_str())]);
                }
            }
            let body = self.extra(Method::GET, &Path::default(), options, None).await?;
            let page: ListMultipartUploadsResult = quick_xml::de::from_str(&body).map_err(generic)?;
            for Upload { key, upload_id } in page.upload {
                // A key that is none of ours may be one that `object_store` does not know.
                if let Ok(key) = Path::parse(&key) {
                    found.push(OpenUpload { key, id: upload_id });
                }
            }
            let next = page.next_key_marker.filter(|_| page.is_truncated);
            marker = next.map(|key| (key, page.next_upload_id_marker.unwrap_or_default()));
            if marker.is_none() {
                return Ok(found);
            }
        }
    }

    /// Takes piece `number` of an upload from another object, inside the store; returns its tag.
    pub(super) async fn take_part(
        &self,
        key: &Path,
        upload: &str,
        number: u32,
        from: &Source,
    ) -> Result<String, Error> {
        let source = format!("{}/{}", self.bucket(), from.key);
        let mut options = SignedUrlOptions::new()
            .with_query([("partNumber", number.to_string()), ("uploadId", upload.to_owned())])
            .with_signed_header(name("x-amz-copy-source"), value(&source)?);
        if !from.whole {
            let range = format!("bytes={}-{}", from.range.start, from.range.end.saturating_sub(1));
            options = options.with_signed_header(name("x-amz-copy-source-range"), value(&range)?);
        }
        if let Some(tag) = &from.if_match {
            options = options.with_signed_header(name("x-amz-copy-source-if-match"), value(tag)?);
        }
        let body = self.extra(Method::PUT, key, options, None).await?;
        let result: CopyPartResult = quick_xml::de::from_str(&body).map_err(generic)?;
        Ok(result.tag)
    }

    /// Makes an object of the pieces of an upload that are listed, ascending.
    pub(super) async fn complete_upload(
        &self,
        key: &Path,
        upload: &str,
        pieces: &[(u32, String)],
    ) -> Result<(), Error> {
        let parts = pieces.iter().map(|(part_number, tag)| CompletedPart { part_number: *part_number, tag }).collect();
        let body = quick_xml::se::to_string(&CompleteMultipartUpload { parts }).map_err(generic)?;
        let options = SignedUrlOptions::new().with_query([("uploadId", upload)]);
        let answer = self.extra(Method::POST, key, options, Some(body.into())).await?;
        if answer.contains("CompleteMultipartUploadResult") {
            Ok(())
        } else {
            Err(generic("completing was not confirmed"))
        }
    }
}

const fn name(header: &'static str) -> HeaderName {
    HeaderName::from_static(header)
}

fn value(raw: &str) -> Result<HeaderValue, Error> {
    HeaderValue::from_str(raw).map_err(generic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_open_uploads_are_read() {
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
    fn pieces_are_listed_with_their_tags() {
        let parts = vec![CompletedPart { part_number: 3, tag: "\"a&b\"" }];
        let body = quick_xml::se::to_string(&CompleteMultipartUpload { parts }).expect("XML");
        let expected = "<CompleteMultipartUpload><Part><PartNumber>3</PartNumber><ETag>\"a&amp;b\"</ETag></Part>";
        assert_eq!(body.replace("&quot;", "\""), format!("{expected}</CompleteMultipartUpload>"));
    }

    #[test]
    fn refusals_are_told_apart() {
        let path = Path::from("x");
        let body =
            |code: &str| format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>m</Message></Error>");
        assert!(matches!(refused(404, "<html>", &path), Error::Generic { .. }), "a proxy's");
        for (status, code) in [(404, "NoSuchUpload"), (400, "InvalidPart"), (404, "NoSuchKey")] {
            assert!(matches!(refused(status, &body(code), &path), Error::NotFound { .. }), "{code}");
        }
        assert!(matches!(refused(412, "", &path), Error::Precondition { .. }));
        assert!(matches!(refused(403, &body("AccessDenied"), &path), Error::PermissionDenied { .. }));
        assert!(matches!(refused(400, "<html>", &path), Error::Generic { .. }));
    }
}
