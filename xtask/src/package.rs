//! The Debian package, and a test that installs it.

use crate::{
    shell::{Result, cargo, host, output, root, run, target_dir},
    tools::CARGO_DEB,
};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The folder below the target folder of a triple from which `cargo-deb` takes generated files. It is the profile's
/// name for `cargo-deb`, which reads `target/release` in the list of assets as `target/<triple>/<profile>`.
const STAGE: &str = "packaged";

/// Writes the generated files of the package of `target`: the binary without debug information, its manual pages and
/// completions, printed by `printer`, and `licences` of its libraries. Returns their folder.
pub(crate) fn stage(target: &str, strip: &str, binary: &Path, printer: &Path, licences: &str) -> Result<PathBuf> {
    let folder = target_dir().join(target).join(STAGE);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(folder.join("completions"))?;
    run(Command::new(strip).arg("-o").arg(folder.join("imgsrv")).arg(binary))?;
    output(Command::new(printer).arg("man").arg(folder.join("man")))?;
    output(Command::new("sh").args(["-c", "gzip -9n *.1"]).current_dir(folder.join("man")))?;
    for shell in ["bash", "fish", "zsh"] {
        let completions = output(Command::new(printer).args(["completions", shell]))?;
        fs::write(folder.join("completions").join(format!("imgsrv.{shell}")), completions)?;
    }
    fs::write(folder.join("THIRD-PARTY-LICENSES"), licences)?;
    Ok(folder)
}

/// Packs the staged files of `target` into a Debian package in `folder`; returns its path.
pub(crate) fn pack(cargo_deb: &Path, target: &str, folder: &Path, arguments: &[&str]) -> Result<PathBuf> {
    let packed = output(
        Command::new(cargo_deb)
            .current_dir(root())
            .args(["--package", "imgsrv-server", "--no-build", "--no-strip", "--locked", "--quiet"])
            .args(["--profile", STAGE, "--target", target, "--output"])
            .arg(folder)
            .args(arguments)
            .env("CARGO_TARGET_DIR", target_dir()),
    )?;
    packed.lines().last().map(PathBuf::from).ok_or_else(|| "cargo-deb printed no path".into())
}

/// Builds the debug server, and checks its package.
pub(crate) fn build_and_check() -> Result<()> {
    run(cargo().args(["build", "--locked", "--package", "imgsrv-server"]))?;
    check(&CARGO_DEB.install()?)
}

/// Packs the debug build, and installs, checks and purges the package in a folder.
pub(crate) fn check(cargo_deb: &Path) -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let binary = target_dir().join("debug/imgsrv");
    let host = host()?;
    stage(&host, "strip", &binary, &binary, "Not collected for the test.\n")?;
    let package = pack(cargo_deb, &host, scratch.path(), &["--fast"])?;
    let system = System::new(scratch.path().join("system"))?;
    let before = system.files()?;

    system.dpkg(&["--install", &package.to_string_lossy()])?;
    system.check_installed()?;
    let verified = Command::new("systemd-analyze")
        .args(["verify", "--man=no", "--recursive-errors=no"])
        .arg(format!("--root={}", system.root.display()))
        .arg("imgsrv.service")
        .output()?;
    let warnings = String::from_utf8_lossy(&verified.stderr);
    if !verified.status.success() || warnings.contains("imgsrv.service:") {
        return Err(format!("the unit is not valid: {warnings}").into());
    }

    // Data of the service, which stays.
    let data = PathBuf::from("var/lib/imgsrv/catalog.db");
    fs::create_dir_all(system.root.join("var/lib/imgsrv"))?;
    fs::write(system.root.join(&data), "")?;
    let settings = system.root.join("etc/imgsrv/imgsrv.env");
    fs::write(&settings, "IMGSRV_LISTEN=:8081\n")?;
    system.dpkg(&["--install", &package.to_string_lossy()])?;
    system.dpkg(&["--remove", "imgsrv"])?;
    if fs::read_to_string(&settings)? != "IMGSRV_LISTEN=:8081\n" {
        return Err("installing again or removing the package changed the settings".into());
    }
    system.dpkg(&["--purge", "imgsrv"])?;
    let left: Vec<PathBuf> = system.files()?.difference(&before).cloned().collect();
    if left != [data] {
        return Err(format!("purging the package left {left:?}").into());
    }
    println!("the Debian package installs, upgrades and purges");
    Ok(())
}

/// A folder into which `dpkg` installs packages as into a system of its own.
struct System {
    root: PathBuf,
}

impl System {
    fn new(root: PathBuf) -> Result<Self> {
        for folder in ["var/lib/dpkg/info", "var/lib/dpkg/updates", "etc", "run"] {
            fs::create_dir_all(root.join(folder))?;
        }
        for file in ["var/lib/dpkg/status", "etc/passwd", "etc/group"] {
            fs::write(root.join(file), "")?;
        }
        Ok(Self { root })
    }

    /// Runs `dpkg`; the package's scripts run with the programs of this machine and change the folder only. A user who is
    /// not root is root in a namespace.
    fn dpkg(&self, arguments: &[&str]) -> Result<()> {
        let mut dpkg = if rustix::process::geteuid().is_root() {
            Command::new("dpkg")
        } else {
            let mut unshare = Command::new("unshare");
            unshare.args(["--map-root-user", "dpkg"]);
            unshare
        };
        // Container images exclude documentation from installation.
        dpkg.arg(format!("--root={}", self.root.display()))
            .args(["--force-script-chrootless", "--force-depends", "--path-include=/usr/share/*"])
            .args(arguments);
        output(&mut dpkg).map(drop)
    }

    /// Checks that the files that the package promises are installed and usable.
    fn check_installed(&self) -> Result<()> {
        let files = self.files()?;
        for file in [
            "etc/imgsrv/imgsrv.env",
            "usr/lib/systemd/system/imgsrv.service",
            "usr/lib/sysusers.d/imgsrv.conf",
            "usr/share/bash-completion/completions/imgsrv",
            "usr/share/doc/imgsrv/copyright",
            "usr/share/doc/imgsrv/THIRD-PARTY-LICENSES",
            "usr/share/fish/vendor_completions.d/imgsrv.fish",
            "usr/share/imgsrv/grafana/imgsrv.json",
            "usr/share/imgsrv/prometheus/imgsrv.rules.yml",
            "usr/share/man/man1/imgsrv-publish.1.gz",
            "usr/share/man/man1/imgsrv.1.gz",
            "usr/share/zsh/vendor-completions/_imgsrv",
        ] {
            if !files.contains(Path::new(file)) {
                return Err(format!("the package does not install {file}").into());
            }
        }
        if !fs::read_to_string(self.root.join("etc/passwd"))?.contains("imgsrv:") {
            return Err("the package does not create its user".into());
        }
        if files.iter().any(|file| file.to_string_lossy().contains("multi-user.target.wants")) {
            return Err("the package enables the unit before it is configured".into());
        }
        let installed = self.root.join("usr/bin/imgsrv");
        output(Command::new(&installed).arg("--version"))?;
        output(Command::new("bash").arg("-n").arg(self.root.join("usr/share/bash-completion/completions/imgsrv")))?;
        Ok(())
    }

    /// The paths of the files in the folder, without those in which `dpkg` and `systemd-sysusers` keep their state.
    fn files(&self) -> Result<BTreeSet<PathBuf>> {
        let listed =
            output(Command::new("find").args([".", "!", "-type", "d", "-printf", "%P\\n"]).current_dir(&self.root))?;
        let state = |path: &str| {
            path.starts_with("var/lib/dpkg/")
                || ["passwd", "group", "shadow", "gshadow", ".pwd.lock"]
                    .iter()
                    .any(|name| path.strip_prefix("etc/").is_some_and(|path| path.trim_end_matches('-') == *name))
        };
        Ok(listed.lines().filter(|path| !state(path)).map(PathBuf::from).collect())
    }
}
