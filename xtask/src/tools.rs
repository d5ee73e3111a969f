//! Tools of the checks, installed outside the clone on first use.

use crate::shell::{Result, cargo, has, root, run, shown};
use imgsrv_testkit::services::{GARAGE_VERSION, cache_dir};
use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Instant,
};

/// A program from crates.io.
#[derive(Debug)]
pub(crate) struct Tool {
    name: &'static str,
    version: &'static str,
    /// More arguments of `cargo install`.
    arguments: &'static [&'static str],
}

/// Optimised little: these run for seconds, and a build without much optimisation takes half the time.
const QUICK: &[&str] = &["--config", "profile.release.lto='off'", "--config", "profile.release.opt-level=1"];

/// It compares the texts of thousands of files with those of all licenses: only the crate that does so is optimised.
#[rustfmt::skip]
pub(crate) const CARGO_ABOUT: Tool = Tool { name: "cargo-about", version: "0.9.3", arguments: &[
    "--features", "cli",
    "--config", "profile.release.lto='off'", "--config", "profile.release.opt-level=1",
    "--config", "profile.release.package.spdx.opt-level=3",
] };
pub(crate) const CARGO_DEB: Tool = Tool { name: "cargo-deb", version: "3.8.0", arguments: QUICK };
pub(crate) const CARGO_DENY: Tool = Tool { name: "cargo-deny", version: "0.20.2", arguments: QUICK };
pub(crate) const CARGO_MACHETE: Tool = Tool { name: "cargo-machete", version: "0.9.2", arguments: QUICK };
pub(crate) const CARGO_SBOM: Tool = Tool { name: "cargo-sbom", version: "0.10.0", arguments: QUICK };
/// One database engine suffices, and without link-time optimisation the build takes a third less time.
#[rustfmt::skip]
pub(crate) const GARAGE: Tool = Tool { name: "garage", version: GARAGE_VERSION, arguments: &[
    "--no-default-features", "--features", "bundled-libs,sqlite",
    "--config", "profile.release.lto='off'", "--config", "profile.release.opt-level=2",
] };
/// Without its web server and file watcher.
#[rustfmt::skip]
pub(crate) const MDBOOK: Tool = Tool { name: "mdbook", version: "0.5.4", arguments: &[
    "--no-default-features", "--features", "search",
    "--config", "profile.release.lto='off'", "--config", "profile.release.opt-level=1",
] };

impl Tool {
    /// Where the program is once it is installed.
    fn binary(&self) -> PathBuf {
        self.folder().join("bin").join(self.name)
    }

    fn folder(&self) -> PathBuf {
        cache_dir().join("tools").join(format!("{}-{}", self.name, self.version))
    }

    /// Builds with a separate target folder: a tool's build must neither wait for nor invalidate the workspace's build.
    /// Its priority is low, because tests may run at the same time.
    fn install_command(&self) -> Command {
        let cargo = cargo();
        let mut install = Command::new("nice");
        install
            .arg(cargo.get_program())
            .args(["install", "--locked", "--quiet", "--root"])
            .arg(self.folder())
            .arg(format!("{}@{}", self.name, self.version))
            .args(self.arguments)
            .current_dir(root())
            .env("CARGO_TARGET_DIR", cache_dir().join("tools/target"))
            .env_remove("RUSTFLAGS");
        install
    }

    /// Installs the program into the cache, once; returns its path.
    pub(crate) fn install(&self) -> Result<PathBuf> {
        if !self.binary().exists() {
            fs::create_dir_all(cache_dir())?;
            run(&mut self.install_command())?;
        }
        Ok(self.binary())
    }

    /// Installs the program as `install` does, with its output in a log.
    fn install_with_log(&self) -> Result<PathBuf> {
        let log = cache_dir().join("tools").join(format!("{}.log", self.name));
        fs::create_dir_all(cache_dir().join("tools"))?;
        let file = File::create(&log)?;
        let mut install = self.install_command();
        println!("[background] $ {} (log: {})", shown(&install), log.display());
        let started = Instant::now();
        let status = install.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).status()?;
        if !status.success() {
            let output = fs::read_to_string(&log).unwrap_or_default();
            return Err(format!("installing {} failed: {status}\n{output}", self.name).into());
        }
        println!("[background] installed {} in {:.0} s", self.name, started.elapsed().as_secs_f64());
        Ok(self.binary())
    }
}

/// Tools that are installed one after another while other checks run.
pub(crate) struct Background {
    pending: Vec<(&'static Tool, Receiver<std::result::Result<PathBuf, String>>)>,
}

impl Background {
    /// Starts to install the tools that are missing, in this order.
    pub(crate) fn start(tools: &[&'static Tool]) -> Self {
        let (mut senders, mut pending) = (Vec::new(), Vec::new());
        for tool in tools.iter().copied().filter(|tool| !tool.binary().exists()) {
            let (sender, receiver) = channel();
            senders.push((tool, sender));
            pending.push((tool, receiver));
        }
        thread::spawn(move || {
            for (tool, sender) in senders {
                // The receiver is gone when another check has failed.
                let _ = sender.send(tool.install_with_log().map_err(|error| error.to_string()));
            }
        });
        Self { pending }
    }

    /// Waits until a tool is installed; returns its path.
    pub(crate) fn wait_for(&self, tool: &Tool) -> Result<PathBuf> {
        let Some((_, installed)) = self.pending.iter().find(|(pending, _)| pending.name == tool.name) else {
            return tool.install();
        };
        let started = Instant::now();
        println!("\nwaiting for {}", tool.name);
        let path = installed.recv().map_err(|_| format!("the installation of {} stopped", tool.name))??;
        println!("({:.1} s)", started.elapsed().as_secs_f64());
        Ok(path)
    }
}

/// Installs a version of a program from `PyPI`, with its prebuilt binary, into the cache, once; returns its path.
pub(crate) fn from_pypi(name: &str, version: &str) -> Result<PathBuf> {
    let folder = cache_dir().join("tools").join(format!("{name}-{version}"));
    let binary = folder.join("bin").join(name);
    if !binary.exists() {
        run(Command::new("python3")
            .args(["-m", "pip", "install", "--quiet", "--no-deps", "--upgrade", "--target"])
            .arg(&folder)
            .arg(format!("{name}=={version}")))?;
    }
    Ok(binary)
}

/// Installs missing Debian packages; on other systems fails with their names.
pub(crate) fn from_debian(programs: &[(&str, &str)]) -> Result<()> {
    install_packages(programs, "")
}

/// The same, without the packages that they recommend.
pub(crate) fn from_debian_alone(programs: &[(&str, &str)]) -> Result<()> {
    install_packages(programs, "--no-install-recommends ")
}

fn install_packages(programs: &[(&str, &str)], options: &str) -> Result<()> {
    let missing: Vec<&str> =
        programs.iter().filter(|(program, _)| !has(program)).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let install = format!("apt-get install -y {options}{}", missing.join(" "));
    if !has("apt-get") {
        return Err(format!("install these first: {}", missing.join(", ")).into());
    }
    let sudo = if has("sudo") { "sudo " } else { "" };
    // Debian 12 has Incus in its backports only.
    let backports = format!(
        ". /etc/os-release; apt-get install --simulate {packages} >/dev/null 2>&1 || {{ \
         echo \"deb http://deb.debian.org/debian $VERSION_CODENAME-backports main\" | \
         {sudo}tee /etc/apt/sources.list.d/imgsrv-backports.list && {sudo}apt-get update -q; }}",
        packages = missing.join(" ")
    );
    // A package from the backports may need others from there.
    let install_from_backports =
        format!("{{ . /etc/os-release; {sudo}{install} --target-release \"$VERSION_CODENAME-backports\"; }}");
    let script =
        format!("{sudo}apt-get update -q && {{ {backports}; }} && {{ {sudo}{install} || {install_from_backports}; }}");
    run(Command::new("sh").args(["-c", &script]).env("DEBIAN_FRONTEND", "noninteractive"))
        .map_err(|error| format!("{error}\nrun this yourself: {install}").into())
}
