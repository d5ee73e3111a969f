//! `docker-registry` as a peer, with its files in a folder.

use super::site::curl;
use crate::{
    demo::digest,
    shell::{Result, output},
};
use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

const PORT: u16 = 8097;

/// A registry that ends when it is dropped.
pub(super) struct Registry {
    child: Child,
    folder: PathBuf,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Registry {
    pub(super) fn start(scratch: &Path) -> Result<Self> {
        let folder = scratch.join("registry");
        fs::create_dir_all(&folder)?;
        let config = folder.join("config.yml");
        fs::write(
            &config,
            format!(
                "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
                 storage: {{filesystem: {{rootdirectory: {}}}, cache: {{blobdescriptor: inmemory}}}}\n\
                 http: {{addr: '127.0.0.1:{PORT}'}}\n",
                folder.display()
            ),
        )?;
        let mut serve = Command::new("docker-registry");
        let child = serve.arg("serve").arg(&config).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let registry = Self { child, folder };
        for _ in 0..500 {
            if TcpStream::connect(("127.0.0.1", PORT)).is_ok() {
                return Ok(registry);
            }
            thread::sleep(Duration::from_millis(10));
        }
        Err("docker-registry does not respond".into())
    }

    /// Uploads a file as a blob to the registry that runs.
    pub(super) fn upload(file: &Path, digest: &str) -> Result<()> {
        let begin = format!("http://127.0.0.1:{PORT}/v2/bench/blobs/uploads/");
        let head = output(curl(&begin, None).args(["-X", "POST", "-D", "-", "-o", "/dev/null"]))?;
        let location = head.lines().find_map(|line| line.strip_prefix("Location:")).ok_or("no Location")?.trim();
        let separator = if location.contains('?') { '&' } else { '?' };
        let end = format!("{location}{separator}digest={digest}");
        output(
            curl(&end, None).args(["-H", "Content-Type: application/octet-stream", "-o", "/dev/null", "-T"]).arg(file),
        )?;
        Ok(())
    }

    /// Pushes a manifest with one small layer; returns its URL. Its size is about that of `like`.
    pub(super) fn push(&self, like: &[u8]) -> Result<String> {
        let file = self.folder.join("config.json");
        fs::write(&file, "{}")?;
        let (digest, size) = digest(&b"{}"[..])?;
        Self::upload(&file, &digest)?;
        let descriptor = |kind: &str| format!(r#"{{"mediaType":"{kind}","digest":"{digest}","size":{size}}}"#);
        let manifest = |filling: &str| {
            format!(
                r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{},"layers":[{}],"annotations":{{"filling":"{filling}"}}}}"#,
                descriptor("application/vnd.oci.image.config.v1+json"),
                descriptor("application/vnd.oci.image.layer.v1.tar")
            )
        };
        let filling = "x".repeat(like.len().saturating_sub(manifest("").len()));
        fs::write(&file, manifest(&filling))?;
        let url = format!("http://127.0.0.1:{PORT}/v2/bench/manifests/1");
        output(
            curl(&url, None).args(["-H", "Content-Type: application/vnd.oci.image.manifest.v1+json", "-T"]).arg(&file),
        )?;
        Ok(url)
    }
}
