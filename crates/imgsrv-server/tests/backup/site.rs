//! Places of a server: a catalog, a blob store, and the commands on them.

use imgsrv_testkit::{
    Process,
    services::{Postgres, S3},
};
use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};
use tempfile::TempDir;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_imgsrv");
/// A server that collects garbage all the time, but only what has been garbage for a while.
const SERVER: [&str; 4] = ["--gc-interval", "50ms", "--lease-term", "1s"];

/// The catalog and the blob store of one server.
pub(crate) struct Site {
    dir: TempDir,
    environment: Vec<(String, String)>,
}

impl Site {
    /// A SQLite catalog, and blobs in a folder.
    pub(crate) fn local() -> Self {
        Self { dir: TempDir::new().expect("a scratch folder"), environment: Vec::new() }
    }

    /// A PostgreSQL catalog, and blobs in a folder.
    pub(crate) async fn with_postgres() -> Self {
        Self::local().on_postgres().await
    }

    /// A SQLite catalog, and blobs in a bucket.
    pub(crate) async fn with_bucket() -> Self {
        Self::local().on_bucket().await
    }

    /// A PostgreSQL catalog, and blobs in a bucket.
    pub(crate) async fn scaled_out() -> Self {
        Self::local().on_postgres().await.on_bucket().await
    }

    async fn on_postgres(mut self) -> Self {
        let url = Postgres::shared().await.database().await;
        self.environment.push(("IMGSRV_POSTGRES_URL".to_owned(), url));
        self
    }

    async fn on_bucket(mut self) -> Self {
        let s3 = S3::shared().await;
        let settings = [
            ("ENDPOINT", s3.endpoint.clone()),
            ("BUCKET", s3.bucket().await),
            ("ACCESS_KEY_ID", s3.access_key_id.clone()),
            ("SECRET_ACCESS_KEY", s3.secret_access_key.clone()),
            ("REGION", s3.region.clone()),
            ("PATH_STYLE", "true".to_owned()),
        ];
        self.environment.extend(settings.map(|(name, value)| (format!("IMGSRV_S3_{name}"), value)));
        self
    }

    /// A new server with the same blob store.
    pub(crate) fn with_the_store_of(other: &Self) -> Self {
        let new = Self::local();
        let storage = other.dir.path().join("data/storage").display().to_string();
        Self { environment: vec![("IMGSRV_STORAGE_DIR".to_owned(), storage)], ..new }
    }

    /// The data folder.
    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Starts the server.
    pub(crate) fn serve(&self) -> Process {
        Process::start_with(BINARY, &self.data(), &SERVER, &self.environment)
    }

    /// The log of a server that does not start.
    pub(crate) fn fails_to_serve(&self) -> String {
        let started = Process::try_start(BINARY, &self.data(), &SERVER, &self.environment);
        started.err().expect("the server does not start")
    }

    fn command(&self, arguments: &[&str], points: &str) -> Command {
        let mut command = Command::new(BINARY);
        command.arg("admin").args(arguments).arg("--data-dir").arg(self.data());
        command.envs(self.environment.iter().map(|(name, value)| (name, value))).env("FAILPOINTS", points);
        command
    }

    /// Starts an operator's command.
    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments, "").stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts")
    }

    /// Runs an operator's command until it ends.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments, "").output().expect("the binary runs")
    }

    /// Runs an operator's command that succeeds; returns its output.
    pub(crate) fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let shown = text(&output);
        assert!(output.status.success(), "{arguments:?}: {shown}");
        shown
    }

    /// Runs an operator's command that fails with that exit code; returns its output.
    pub(crate) fn fails(&self, arguments: &[&str], code: i32) -> String {
        let output = self.run(arguments);
        let shown = text(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {shown}");
        shown
    }

    /// Runs an operator's command that crashes at a crash point, after having passed it so many times.
    pub(crate) fn crashes(&self, arguments: &[&str], point: &str, passes: u32) {
        let action = if passes == 0 { "return".to_owned() } else { format!("{passes}*off->return") };
        let output = self.command(arguments, &format!("{point}={action}")).output().expect("the binary runs");
        assert_eq!(output.status.code(), None, "no crash at {point}: {}", text(&output));
    }
}

/// What a command printed.
pub(crate) fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Runs a script that has the server's URL in `IMGSRV` and a token in `MANAGER`; returns its output.
pub(crate) fn script(folder: &Path, url: &str, token: &str, script: &str) -> String {
    let programs = Path::new(BINARY).parent().expect("a folder").display().to_string();
    let output = Command::new("bash")
        .args(["-c", &format!("PATH={programs}:$PATH\nset -euo pipefail\nexport IMGSRV_URL=$IMGSRV\n{script}")])
        .current_dir(folder)
        .env("HOME", folder)
        .env("IMGSRV", url)
        .env("MANAGER", token)
        .output()
        .expect("bash runs");
    assert!(output.status.success(), "{}", text(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Content of every kind. Prints the token of a principal with all roles.
pub(crate) const FILL: &str = r#"
ALL=$(IMGSRV_TOKEN=$MANAGER imgsrv auth principals create all --role content-writer --role content-admin --role operator \
    --role auth-manager)
export IMGSRV_TOKEN=$(IMGSRV_TOKEN=$MANAGER imgsrv auth tokens create "$ALL" --expires-in 30d)
api() { curl -sSf -X "$1" "$IMGSRV$2" -H "Authorization: Bearer $IMGSRV_TOKEN" -H 'Content-Type: application/json' "${@:3}"; }
for version in 1.0 1.1 1.2 1.3 1.4; do
    head -c 700000 /dev/urandom > disk.raw
    imgsrv publish debian $version disk.raw --arch amd64 --format raw --quiet
done
imgsrv aliases set debian latest 1.0
imgsrv aliases set debian latest 1.4
: > empty.raw
imgsrv publish empty 1 empty.raw --arch amd64 --format raw --force --quiet
imgsrv versions deprecate debian:1.0 --reason "Ends in June" --replacement latest --end-of-life 2027-06-30
imgsrv versions revoke debian:1.1 --reason "Bad" --replacement 1.3 --yes
imgsrv versions restore debian:1.1
imgsrv versions revoke debian:1.1 --reason "Bad after all" --yes
imgsrv versions remove debian:1.2 --reason "Old" --drain 48h --yes
imgsrv versions hold debian:1.3 --reason "Audit"
imgsrv aliases set debian stable 1.3
imgsrv aliases set debian gone 1.3
imgsrv aliases delete debian gone
imgsrv images set debian --display-name Debian --description 'Base images'
qemu-img create -q -f qcow2 disk.qcow2 64M
echo '{}' > sbom.json
imgsrv publish vm 5 disk.qcow2 --os debian --arch amd64 --release bookworm --incus --alias latest \
    --attach sbom.json=sbom.json --quiet
imgsrv retention set debian --newest 5 --weekly 4 --remove-after 30d --disabled
api POST /v1/auth/oidc-provisioning-rules -d '{"id": "ci", "display_name": "CI", "issuer_url": "https://gitlab.com",
    "audience": "https://images.example.org", "forwarded_claims": ["project_id"],
    "condition": "claims.project_id == '"'5678'"'"}' > rule.json
api POST /v1/images/debian/versions -d '{"version": "2.0"}' > draft.json
api POST /v1/uploads -d '{"expected_digest": "sha256:0000000000000000000000000000000000000000000000000000000000000000",
    "expected_size_bytes": 7}' > upload.json
head -c 1000 /dev/urandom > unused
imgsrv upload unused > upload.txt
OLD=$(imgsrv auth tokens create "$ALL" --name old --expires-in 1d)
IMGSRV_TOKEN=$OLD imgsrv whoami > whoami.txt
api DELETE "/v1/auth/api-tokens/$(api GET "/v1/auth/principals/$ALL/api-tokens" | jq -r '.api_tokens[] | select(.name == "old").id')"
curl -sSf "$IMGSRV/images/debian/1.3/debian-1.3-amd64.raw" -o fetched.raw
echo "$IMGSRV_TOKEN"
"#;

/// Waits until the times of all moves of aliases are past: a move within the second of an earlier one has the next second
/// as its time, and a response has it only from then on.
pub(crate) const SETTLE: &str = r#"
for image in $(curl -sSf "$IMGSRV/v1/images" | jq -r '.images[].name'); do
    for moved in $(curl -sSf "$IMGSRV/v1/images/$image/aliases" | jq -r '.aliases[].updated_at'); do
        until [ "$(date +%s)" -gt "$(date -d "$moved" +%s)" ]; do :; done
    done
done
"#;
