//! The files of a release: binaries, Debian packages, a bill of materials, licences and checksums.

use crate::{
    demo, package, server,
    shell::{Result, cargo, host, output, root, run, target_dir},
    tools::{self, CARGO_ABOUT, CARGO_DEB, CARGO_SBOM},
};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The targets of a release.
const TARGETS: [&str; 4] = [
    "x86_64-unknown-linux-gnu",
    "aarch64-unknown-linux-gnu",
    "x86_64-unknown-linux-musl",
    "aarch64-unknown-linux-musl",
];

/// The options of the release.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Target triples, such as `aarch64-unknown-linux-gnu` [default: gnu and musl for `x86_64` and `aarch64`, without those for which Debian has no compiler]
    #[arg(long = "target", value_name = "TRIPLE")]
    targets: Vec<String>,
}

/// Writes the files of a release to `dist` in the target folder.
pub(crate) fn build(options: Options) -> Result<()> {
    let host = host()?;
    let (toolchains, left_out) = if options.targets.is_empty() {
        available(&host)
    } else {
        (options.targets.iter().map(|target| Toolchain::of(target, &host)).collect::<Result<Vec<_>>>()?, Vec::new())
    };
    let summary = summary(&toolchains, &left_out);
    println!("{summary}");
    let targets: Vec<_> = toolchains.iter().map(|toolchain| toolchain.target.clone()).collect();
    let compilers = toolchains.iter().map(|toolchain| (&*toolchain.compiler, &*toolchain.debian));
    tools::from_debian(&compilers.chain([("make", "make")]).collect::<Vec<_>>())?;

    let dist = target_dir().join("dist");
    if dist.exists() {
        fs::remove_dir_all(&dist)?;
    }
    fs::create_dir_all(&dist)?;
    let licenses = licenses(&targets)?;
    fs::write(dist.join("THIRD-PARTY-LICENSES"), &licenses)?;
    let bill = ["--cargo-package", "imgsrv-server", "--output-format", "cyclone_dx_json_1_6"];
    let bill = output(Command::new(CARGO_SBOM.install()?).current_dir(root()).args(bill))?;
    fs::write(dist.join(format!("imgsrv-{VERSION}.cdx.json")), bill)?;

    // The release build of this machine also prints the manual pages and completions of the others.
    server::build()?;
    let native = target_dir().join("release/imgsrv");
    for toolchain in &toolchains {
        let binary = if toolchain.target == host { native.clone() } else { toolchain.build()? };
        let staged = package::stage(&toolchain.target, &toolchain.strip, &binary, &native, &licenses)?;
        toolchain.keep_debug_information(&binary, &staged.join("imgsrv"), &dist)?;
        if toolchain.is_packaged() {
            check_glibc(&staged.join("imgsrv"))?;
            let written = package::pack(&CARGO_DEB.install()?, &toolchain.target, &dist, &[])?;
            println!("wrote {}", written.display());
        }
        archive(&staged, &toolchain.target, &dist)?;
    }
    write_checksums(&dist)?;
    println!("{summary}");
    Ok(())
}

/// The toolchains of the targets that can be built on `host`, and why the others cannot.
fn available(host: &str) -> (Vec<Toolchain>, Vec<String>) {
    let (mut toolchains, mut left_out) = (Vec::new(), Vec::new());
    for target in TARGETS {
        match Toolchain::of(target, host) {
            Ok(toolchain) => toolchains.push(toolchain),
            Err(error) => left_out.push(error.to_string()),
        }
    }
    (toolchains, left_out)
}

/// Which targets are built, how, and which are not.
fn summary(toolchains: &[Toolchain], left_out: &[String]) -> String {
    let built = toolchains.iter().map(|toolchain| {
        let package = if toolchain.is_packaged() { ", with a Debian package" } else { ", static" };
        format!("built: {} with {}{package}\n", toolchain.target, toolchain.compiler)
    });
    built.chain(left_out.iter().map(|why| format!("left out: {why}\n"))).collect()
}

/// The programs that build for a target: SQLite, zstd, liblzma, aws-lc and jemalloc are in C.
struct Toolchain {
    target: String,
    compiler: String,
    /// The Debian package of the compiler.
    debian: String,
    linker: String,
    strip: String,
}

impl Toolchain {
    fn of(target: &str, host: &str) -> Result<Self> {
        let (machine, system) = target.split_once("-unknown-linux-").unwrap_or((target, ""));
        let target = target.to_owned();
        match system {
            // Rust has its own start files of musl, which the host's linker combines.
            "musl" if host.starts_with(machine) => Ok(Self {
                target,
                compiler: "musl-gcc".into(),
                debian: "musl-tools".into(),
                linker: "cc".into(),
                strip: "strip".into(),
            }),
            "gnu" => Ok(Self {
                target,
                compiler: format!("{machine}-linux-gnu-gcc"),
                linker: format!("{machine}-linux-gnu-gcc"),
                debian: format!("gcc-{}-linux-gnu", machine.replace('_', "-")),
                strip: format!("{machine}-linux-gnu-strip"),
            }),
            "musl" => {
                Err(format!("{target}: Debian has a C compiler for musl for the host's architecture only").into())
            }
            _ => Err(format!("{target}: only Linux with glibc or musl is supported").into()),
        }
    }

    /// Whether the binary is put into a Debian package, which needs Debian's libc.
    fn is_packaged(&self) -> bool {
        self.target.ends_with("-gnu")
    }

    /// Writes the debug information of `binary` into a file of its own, for which debuggers and profilers look beside
    /// `stripped` once it is unpacked.
    fn keep_debug_information(&self, binary: &Path, stripped: &Path, dist: &Path) -> Result<()> {
        let file = dist.join(format!("imgsrv-{VERSION}-{}.debug", self.target));
        let objcopy = self.strip.replace("strip", "objcopy");
        run(Command::new(&objcopy)
            .args(["--only-keep-debug", "--compress-debug-sections=zlib"])
            .arg(binary)
            .arg(&file))?;
        run(Command::new(&objcopy).arg(format!("--add-gnu-debuglink={}", file.display())).arg(stripped))
    }

    /// Builds the release binary.
    fn build(&self) -> Result<PathBuf> {
        run(Command::new("rustup").current_dir(root()).args(["target", "add", &self.target]))?;
        let linker = format!("target.{}.linker='{}'", self.target, self.linker);
        let build = ["build", "--release", "--locked", "--package", "imgsrv-server", "--target", &self.target];
        let mut cargo = cargo();
        if self.target.starts_with("aarch64") {
            // Kernels for it have pages of up to 64 KiB, and jemalloc is built for one size and those below.
            cargo.env("JEMALLOC_SYS_WITH_LG_PAGE", "16");
        }
        run(cargo.args(build).args(["--config", &linker]))?;
        Ok(target_dir().join(&self.target).join("release/imgsrv"))
    }
}

/// The texts of the licenses of all libraries. `deny.toml` has the list of accepted licenses.
fn licenses(targets: &[String]) -> Result<String> {
    let deny = fs::read_to_string(root().join("deny.toml"))?;
    let accepted = deny.split_once("allow = [").and_then(|(_, rest)| rest.split_once(']'));
    let (accepted, _) = accepted.ok_or("deny.toml has no list of accepted licenses")?;
    let config = target_dir().join("about.toml");
    let ignored = "ignore-build-dependencies = true\nignore-dev-dependencies = true\nprivate = { ignore = true }";
    fs::write(&config, format!("accepted = [{accepted}]\ntargets = {targets:?}\n{ignored}\n"))?;
    run(cargo().args(["fetch", "--locked"]))?;
    let about = ["generate", "--frozen", "--fail", "--manifest-path", "crates/imgsrv-server/Cargo.toml", "--config"];
    output(Command::new(CARGO_ABOUT.install()?).current_dir(root()).args(about).arg(config).arg("xtask/about.hbs"))
}

/// Fails if a binary needs a newer glibc than its package declares.
fn check_glibc(binary: &Path) -> Result<()> {
    let manifest = fs::read_to_string(root().join("crates/imgsrv-server/Cargo.toml"))?;
    let declared = manifest.split_once("libc6 (>= 2.").and_then(|(_, rest)| rest.split_once(')'));
    let declared: u32 = declared.ok_or("the package declares no glibc")?.0.parse()?;
    let needed = needed_glibc(&fs::read(binary)?);
    if needed > declared {
        return Err(
            format!("{} needs glibc 2.{needed}, but the package declares 2.{declared}", binary.display()).into()
        );
    }
    println!("{} needs glibc 2.{needed}", binary.display());
    Ok(())
}

/// The minor version of the newest glibc whose symbols a binary uses.
fn needed_glibc(binary: &[u8]) -> u32 {
    const PREFIX: &[u8] = b"GLIBC_2.";
    let versions = binary.windows(PREFIX.len() + 2).filter_map(|window| window.strip_prefix(PREFIX));
    versions
        .filter_map(|minor| std::str::from_utf8(minor).ok()?.trim_end_matches(['\0', '.']).parse().ok())
        .max()
        .unwrap_or(0)
}

/// Writes an archive with the staged files, the unit, the alerts and dashboard, and the licenses.
fn archive(staged: &Path, target: &str, dist: &Path) -> Result<()> {
    let name = format!("imgsrv-{VERSION}-{target}");
    let archive = dist.join(format!("{name}.tar.gz"));
    // Owners, order and times do not depend on this machine.
    let mut tar = Command::new("tar");
    tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mtime=@0", "--mode=a+rX,go-w"])
        .arg(format!("--transform=s,^,{name}/,"))
        .args(["--create", "--gzip", "--file"])
        .arg(&archive)
        .arg("--directory")
        .arg(staged)
        .args(["imgsrv", "man", "completions", "THIRD-PARTY-LICENSES", "--directory"])
        .arg(root())
        .args(["LICENSE-APACHE", "LICENSE-MIT", "CHANGELOG.md", "--directory"])
        .arg(root().join("deploy"))
        .args(["imgsrv.env", "imgsrv.service", "imgsrv.sysusers", "nginx.conf"])
        .args(["grafana/imgsrv.json", "prometheus/imgsrv.rules.yml"]);
    output(&mut tar)?;
    println!("wrote {}", archive.display());
    Ok(())
}

/// Writes `SHA256SUMS` of all other files.
fn write_checksums(dist: &Path) -> Result<()> {
    let mut sums = BTreeMap::new();
    for entry in fs::read_dir(dist)? {
        let entry = entry?;
        let (digest, size) = demo::digest(File::open(entry.path())?)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        println!("{size:>12} {name}");
        sums.insert(name, digest.replace("sha256:", ""));
    }
    let lines: String = sums.iter().map(|(name, digest)| format!("{digest}  {name}\n")).collect();
    fs::write(dist.join("SHA256SUMS"), lines)?;
    println!("the release is in {}", dist.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_without_a_compiler_are_left_out_with_the_reason() {
        let (toolchains, left_out) = available("x86_64-unknown-linux-gnu");
        let summary = summary(&toolchains, &left_out);
        assert_eq!(
            summary.lines().collect::<Vec<_>>(),
            [
                "built: x86_64-unknown-linux-gnu with x86_64-linux-gnu-gcc, with a Debian package",
                "built: aarch64-unknown-linux-gnu with aarch64-linux-gnu-gcc, with a Debian package",
                "built: x86_64-unknown-linux-musl with musl-gcc, static",
                "left out: aarch64-unknown-linux-musl: Debian has a C compiler for musl for the host's architecture only",
            ]
        );
        assert!(Toolchain::of("x86_64-pc-windows-gnu", "x86_64-unknown-linux-gnu").is_err());
    }

    #[test]
    fn newest_glibc_of_a_binary_is_found() {
        assert_eq!(needed_glibc(b"..GLIBC_2.4\0GLIBC_2.34\0GLIBC_2.2.5\0GLIBC_PRIVATE\0"), 34);
        assert_eq!(needed_glibc(b"GLIBC_2.4\0\0"), 4);
        assert_eq!(needed_glibc(b"a static binary"), 0);
    }
}
