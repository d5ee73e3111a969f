//! Downloads the first artifact of a published version. A second run resumes an interrupted one.
//!
//! ```console
//! $ cargo run -p imgsrv-client --example download -- https://images.example.org debian latest disk.qcow2
//! ```

use imgsrv_client::Client;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, image, reference, file] = arguments.as_slice() else {
        return Err("usage: download URL IMAGE REF FILE".into());
    };
    let client = Client::builder(url).build()?;
    let manifest = client.resolve(image, reference).await?;
    let entry = manifest.artifacts.first().ok_or("the version has no artifact")?;
    client.download_artifact(image, &manifest.version.version, &entry.artifact).to_file(file).await?;
    eprintln!("{file} is {} {}", manifest.version.version, entry.artifact.primary_blob_digest);
    Ok(())
}
