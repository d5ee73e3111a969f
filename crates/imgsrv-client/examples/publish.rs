//! Publishes a qcow2 as a version of an image, and sets the alias `latest` to it.
//!
//! ```console
//! $ cargo run -p imgsrv-client --example publish -- https://images.example.org debian 12.5.0 disk.qcow2 < token
//! ```

use imgsrv_client::{Client, Event, Format, NewArtifact, Publication};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, image, version, file] = arguments.as_slice() else {
        return Err("usage: publish URL IMAGE VERSION FILE, with the token on standard input".into());
    };
    let token = std::io::read_to_string(std::io::stdin())?;
    let client = Client::builder(url).token(token.trim()).build()?;
    let disk = NewArtifact::new(file, Format::Qcow2, "amd64");
    let publishing = client.publish(Publication::new(image, version, [disk]).alias("latest"));
    let published = publishing
        .on_event(|event| {
            if let Event::Transfer(_, progress) = event {
                eprint!("\r{:?} {} of {}", progress.stage, progress.done, progress.total);
            }
        })
        .run()
        .await?;
    eprintln!("\n{image} {version} is {}: {}", published.version.state, published.blobs[0].digest);
    Ok(())
}
