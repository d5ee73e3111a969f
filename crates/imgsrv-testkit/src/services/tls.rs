//! A TLS proxy in front of a loopback server, with a private authority.

use super::{Nginx, free_port};
use std::{path::Path, process::Command};

/// An nginx that terminates TLS. It ends when this is dropped or the process ends.
pub struct TlsFront {
    /// Its port on the loopback interface.
    pub port: u16,
    nginx: Nginx,
}

impl TlsFront {
    /// Starts it on a free port in front of the port `upstream`.
    pub fn new(upstream: u16) -> Self {
        Self::below(free_port(), "/", &format!("http://127.0.0.1:{upstream}"))
    }

    /// Starts it on `port`; it forwards what is below `path` to `upstream`. If `upstream` ends with a slash, that slash
    /// replaces `path`; otherwise `path` is kept.
    pub fn below(port: u16, path: &str, upstream: &str) -> Self {
        let nginx = Nginx::start(port, |folder| {
            certify(folder);
            let root = folder.display();
            format!(
                "client_max_body_size 0; client_body_temp_path {root}/body;
                proxy_temp_path {root}/temp; fastcgi_temp_path {root}/temp; uwsgi_temp_path {root}/temp;
                scgi_temp_path {root}/temp; server {{ listen 127.0.0.1:{port} ssl;
                ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate {root}/tls.pem; ssl_certificate_key {root}/tls.key;
                location {path} {{ proxy_pass {upstream}; proxy_set_header Host $http_host;
                proxy_request_buffering off; proxy_http_version 1.1; }} }}"
            )
        });
        Self { port, nginx }
    }

    /// The path of the authority's certificate.
    pub fn authority(&self) -> String {
        self.nginx.folder.join("ca.pem").display().to_string()
    }
}

/// Creates a private authority and a certificate for the loopback interface in `folder`.
fn certify(folder: &Path) {
    let openssl = |arguments: &str| {
        let output = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output();
        let output = output.expect("openssl runs");
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let new_key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(&format!("req -x509 {new_key} -keyout ca.key -out ca.pem -subj /CN=test-ca -days 2"));
    openssl(&format!("req {new_key} -keyout tls.key -out tls.csr -subj /CN=store"));
    std::fs::write(folder.join("tls.ext"), "subjectAltName=IP:127.0.0.1,DNS:localhost\n").expect("written");
    openssl("x509 -req -in tls.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out tls.pem -days 2 -extfile tls.ext");
}
