//! Load by `wrk`: requests per second of keep-alive connections.

use crate::shell::{Result, output};
use std::{fs, path::Path, process::Command};

/// What `wrk` sends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load<'a> {
    pub(super) connections: usize,
    pub(super) seconds: u64,
    /// Fields of each request, such as `Accept-Encoding: gzip`.
    pub(super) headers: &'a [&'a str],
    /// A script that makes the requests.
    pub(super) script: Option<&'a Path>,
}

/// The completed requests per second. Fails if a response has an error status, or a connection fails.
pub(super) fn rate(url: &str, load: Load<'_>) -> Result<f64> {
    let Load { connections, seconds, headers, script } = load;
    let mut wrk = Command::new("wrk");
    wrk.args(["-t1", &format!("-c{connections}"), &format!("-d{seconds}s")]);
    for header in headers {
        wrk.args(["-H", header]);
    }
    if let Some(script) = script {
        wrk.arg("-s").arg(script);
    }
    let report = output(wrk.arg(url))?;
    if let Some(failed) = report.lines().find(|line| line.contains("Non-2xx") || line.contains("Socket errors")) {
        return Err(format!("{url}: {}", failed.trim()).into());
    }
    let rate = report.lines().find_map(|line| line.strip_prefix("Requests/sec:"));
    Ok(rate.ok_or("wrk shows no rate")?.trim().parse()?)
}

/// Writes a script that requests ranges of `length` bytes at random offsets of `size` bytes. The requests are made
/// before the load begins, so that both peers get the same ones at no cost.
pub(super) fn random_ranges(path: &Path, size: u64, length: u64) -> Result<()> {
    let (greatest, last) = (size - length, length - 1);
    fs::write(
        path,
        format!(
            "local requests, at = {{}}, 0
            math.randomseed(7)
            function init(args)
              for i = 1, 4096 do
                local first = math.random(0, {greatest})
                requests[i] = wrk.format('GET', nil, {{Range = string.format('bytes=%d-%d', first, first + {last})}})
              end
            end
            function request()
              at = at % 4096 + 1
              return requests[at]
            end
            "
        ),
    )?;
    Ok(())
}
