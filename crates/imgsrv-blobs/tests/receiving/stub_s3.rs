//! A bucket that takes everything, keeps nothing, and is slow if wanted. Its lists have three pages.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::watch,
};

pub(crate) struct StubS3 {
    pub(crate) endpoint: String,
    /// The first lines of the requests so far.
    pub(crate) requests: Arc<Mutex<Vec<String>>>,
}

/// What a bucket does, beside taking everything.
#[derive(Clone, Copy, Default)]
pub(crate) struct Behavior {
    /// It takes S3 parts beyond the first of an upload only once so many of them wait.
    pub(crate) held: usize,
    /// Objects that a list of a session has on each page.
    pub(crate) objects: usize,
    /// It refuses to delete many objects in one request.
    pub(crate) lacks_bulk_delete: bool,
}

impl StubS3 {
    pub(crate) async fn start(behavior: Behavior) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = listener.local_addr().expect("an address").to_string();
        let (waiting, _) = watch::channel(0);
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let log = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(serve(connection, waiting.clone(), behavior, Arc::clone(&log)));
            }
        });
        Self { endpoint, requests }
    }
}

/// The time that a page of a list takes.
const PAGE_TIME: Duration = Duration::from_secs(20);

/// A page of open multipart uploads, or of folders.
fn list_page(request: &str, objects: usize) -> String {
    let number = ["page2", "page1"].iter().position(|page| request.contains(page)).map_or(1, |at| 3 - at);
    let (has_more, session) = (number < 3, format!("00000000-0000-0000-0000-00000000000{number}"));
    if request.contains("uploads") {
        return format!(
            "<ListMultipartUploadsResult><IsTruncated>{has_more}</IsTruncated><NextKeyMarker>page{number}</NextKeyMarker>\
             <Upload><Key>staging/{session}/x</Key><UploadId>u</UploadId></Upload></ListMultipartUploadsResult>"
        );
    }
    if !request.contains("delimiter") {
        let object = |at: usize| {
            format!(
                "<Contents><Key>staging/{session}/{at}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>\
                 <ETag>e</ETag><Size>1</Size></Contents>"
            )
        };
        let objects: String = (0..objects).map(object).collect();
        let token = format!("<NextContinuationToken>page{number}</NextContinuationToken>");
        let token = if has_more { token } else { String::new() };
        return format!("<ListBucketResult><IsTruncated>{has_more}</IsTruncated>{token}{objects}</ListBucketResult>");
    }
    let token =
        if has_more { format!("<NextContinuationToken>page{number}</NextContinuationToken>") } else { String::new() };
    format!(
        "<ListBucketResult><IsTruncated>{has_more}</IsTruncated>{token}<CommonPrefixes><Prefix>staging/{session}/\
         </Prefix></CommonPrefixes></ListBucketResult>"
    )
}

/// Answers the requests of a connection until it is closed.
async fn serve(
    connection: TcpStream,
    waiting: watch::Sender<usize>,
    behavior: Behavior,
    log: Arc<Mutex<Vec<String>>>,
) -> Option<()> {
    let Behavior { held, objects, lacks_bulk_delete } = behavior;
    let mut connection = BufReader::with_capacity(256 << 10, connection);
    loop {
        let (mut request, mut length) = (String::new(), 0);
        connection.read_line(&mut request).await.ok().filter(|read| *read > 0)?;
        loop {
            let mut header = String::new();
            connection.read_line(&mut header).await.ok().filter(|read| *read > 0)?;
            match header.trim().split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse().ok()?,
                Some(_) => {}
                None => break,
            }
        }
        log.lock().expect("not poisoned").push(request.clone());
        if request.contains("partNumber=") && !request.contains("partNumber=1&") {
            waiting.send_modify(|waiting| *waiting += 1);
            waiting.subscribe().wait_for(|waiting| *waiting >= held).await.ok()?;
        }
        tokio::io::copy(&mut (&mut connection).take(length), &mut tokio::io::sink()).await.ok()?;
        let page;
        let body = if request.starts_with("GET") {
            tokio::time::sleep(PAGE_TIME).await;
            page = list_page(&request, objects);
            &page
        } else if request.contains("?uploads") {
            "<InitiateMultipartUploadResult><Bucket>b</Bucket><Key>k</Key><UploadId>u</UploadId>\
             </InitiateMultipartUploadResult>"
        } else if request.contains("?delete") {
            "<DeleteResult><Deleted><Key>k</Key></Deleted></DeleteResult>"
        } else if request.starts_with("POST") {
            "<CompleteMultipartUploadResult><ETag>\"e\"</ETag></CompleteMultipartUploadResult>"
        } else {
            ""
        };
        let status = if lacks_bulk_delete && request.contains("?delete") { "501 Not Implemented" } else { "200 OK" };
        let head = format!("HTTP/1.1 {status}\r\nETag: \"e\"\r\nContent-Length: {}\r\n\r\n", body.len());
        connection.write_all(format!("{head}{body}").as_bytes()).await.ok()?;
    }
}
