//! Chromium with its driver, and the checks of pages from npm.

use super::{
    free_port,
    guard::{Guard, scratch},
    installed, program, wait_until_ready,
};
use std::{
    fs::File,
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

/// The suffix of the folder of axe-core and html-validate in the cache; changed when its content changes.
pub const WEB_CHECKS_VERSION: &str = "4.14.1-9.7.1";

/// A chromedriver on the loopback interface. It ends when this is dropped or the process ends.
pub struct Chromedriver {
    /// Its URL.
    pub url: String,
    child: Child,
    guard: Option<Guard>,
}

impl Chromedriver {
    /// Starts it, and waits until it listens.
    pub fn start() -> Self {
        let driver = program("chromedriver", &[]);
        let driver = driver.expect("no chromedriver: run cargo xtask test, which installs it");
        let (port, folder) = (free_port(), scratch("chromedriver"));
        let log = folder.join("chromedriver.log");
        let output = File::create(&log).expect("a log");
        let child = Command::new("setsid")
            .arg(driver)
            .arg(format!("--port={port}"))
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a log"))
            .stderr(output)
            .spawn()
            .expect("chromedriver starts");
        let root = folder.to_str().expect("a path in UTF-8");
        let guard = Guard::new("kill -- -\"$1\"; rm -rf \"$2\"", &[&child.id().to_string(), root]);
        wait_until_ready("chromedriver", &log, || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { url: format!("http://127.0.0.1:{port}"), child, guard: Some(guard) }
    }
}

impl Drop for Chromedriver {
    fn drop(&mut self) {
        // The guard ends it.
        drop(self.guard.take());
        let _ = self.child.wait();
    }
}

fn web_checks() -> PathBuf {
    installed("web-checks", WEB_CHECKS_VERSION, "IMGSRV_TEST_WEB_CHECKS", "node_modules").join("node_modules")
}

/// The script of axe-core, which finds violations of WCAG in a page.
pub fn axe() -> String {
    std::fs::read_to_string(web_checks().join("axe-core/axe.min.js")).expect("axe-core")
}

/// html-validate, which reports invalid HTML in the files that are its arguments.
pub fn html_validate() -> Command {
    let mut command = Command::new("node");
    command.arg(web_checks().join("html-validate/bin/html-validate.mjs"));
    command
}
