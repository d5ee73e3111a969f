//! PostgreSQL servers and databases for tests.

use super::{
    free_port,
    guard::{Guard, scratch},
    program,
};
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A dedicated server from this machine's programs, which can be stopped and restarted.
pub struct LocalPostgres {
    folder: PathBuf,
    programs: PathBuf,
    port: u16,
    is_durable: bool,
    guard: Option<Guard>,
}

impl LocalPostgres {
    /// Starts an empty server.
    pub fn start() -> Self {
        Self::empty(false)
    }

    /// Starts an empty server that syncs every commit, as one in production does, for measurements.
    pub fn start_durable() -> Self {
        Self::empty(true)
    }

    fn empty(is_durable: bool) -> Self {
        Self::with(is_durable, |server| {
            let initdb = server.programs.join("initdb");
            let options =
                ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"];
            succeed(unprivileged(&initdb).arg("-D").arg(server.data()).args(options));
        })
    }

    /// Starts a server on a copy of what [`LocalPostgres::save`] has written to a folder.
    pub fn restore(saved: &Path) -> Self {
        Self::with(false, |server| {
            succeed(Command::new("cp").args(["-a", "--reflink=auto"]).arg(saved).arg(server.data()));
        })
    }

    /// Stops the server in an orderly way, and moves its databases to a folder.
    pub fn save(self, folder: &Path) {
        succeed(self.control().args(["-m", "fast", "-w", "-s", "stop"]));
        succeed(Command::new("mv").arg(self.data()).arg(folder));
    }

    fn with(is_durable: bool, create_data: impl FnOnce(&Self)) -> Self {
        let (folder, programs, port) = (scratch("postgres"), programs(), free_port());
        let mut server = Self { folder, programs, port, is_durable, guard: None };
        let folder = server.folder.to_str().expect("a path in UTF-8");
        if rustix::process::getuid().is_root() {
            succeed(Command::new("chown").args(["postgres", folder]));
        }
        create_data(&server);
        let control = server.control();
        let words = std::iter::once(control.get_program()).chain(control.get_args());
        let words = words.map(|word| word.to_str().expect("words in UTF-8"));
        let script = "folder=$1; shift; \"$@\" -m immediate stop; rm -rf \"$folder\"";
        let guard = Guard::new(script, &std::iter::once(folder).chain(words).collect::<Vec<_>>());
        server.guard = Some(guard);
        server.run();
        server
    }

    /// Starts it, after [`LocalPostgres::stop`] on the same port.
    pub fn run(&self) {
        // Without fsync only a power failure loses data, not a killed server.
        let durable = if self.is_durable { "on" } else { "off" };
        let options = format!(
            "-c fsync={durable} -c full_page_writes={durable} -c max_connections=200 -c shared_buffers=64MB \
             -c listen_addresses=127.0.0.1 -c port={} -c unix_socket_directories={}",
            self.port,
            self.folder.display()
        );
        let log = self.folder.join("log");
        succeed(self.control().arg("-l").arg(log).args(["-w", "-s", "-o", &options, "start"]));
    }

    /// Stops it like a crash: nothing is flushed, connections break.
    pub fn stop(&self) {
        succeed(self.control().args(["-m", "immediate", "-w", "-s", "stop"]));
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of its first database.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Runs SQL with psql; returns the rows, with columns separated by `|`.
    pub fn sql(&self, statement: &str) -> Vec<String> {
        let psql = Command::new(self.programs.join("psql")).args(["-AtX", "-c", statement]).arg(self.url()).output();
        let output = psql.expect("psql runs");
        assert!(output.status.success(), "{statement}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn control(&self) -> Command {
        let mut control = unprivileged(&self.programs.join("pg_ctl"));
        control.arg("-D").arg(self.data());
        control
    }
}

/// PostgreSQL's programs; Debian keeps them off the `PATH`.
fn programs() -> PathBuf {
    let mut folders: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|versions| versions.flatten().map(|version| version.path().join("bin")).collect())
        .unwrap_or_default();
    folders.sort();
    folders.reverse();
    let initdb = program("initdb", &folders).unwrap_or_else(|| {
        panic!(
            "no PostgreSQL: install it (Debian: apt-get install postgresql; Fedora: dnf install postgresql-server; \
             macOS: brew install postgresql), or set IMGSRV_TEST_POSTGRES_URL to a server where databases may be made"
        )
    });
    initdb.parent().map(Path::to_owned).unwrap_or_default()
}

/// PostgreSQL refuses to run as root.
fn unprivileged(program: &Path) -> Command {
    if !rustix::process::getuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]).arg(program);
    command
}

fn succeed(command: &mut Command) {
    // Output is not captured: the server would keep the pipe open as long as it runs.
    let status = command.env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::null()).status();
    assert!(status.as_ref().is_ok_and(std::process::ExitStatus::success), "{command:?}: {status:?}");
}

#[cfg(feature = "fresh")]
pub use fresh::Postgres;

#[cfg(feature = "fresh")]
mod fresh {
    use super::LocalPostgres;
    use crate::services::{Keep, variable};
    use sqlx::{AssertSqlSafe, ConnectOptions, Executor, postgres::PgConnectOptions, query_scalar};
    use std::{
        sync::atomic::{AtomicU32, Ordering},
        time::{Duration, Instant},
    };
    use tokio::sync::OnceCell;

    /// The server that the tests of this process share.
    pub struct Postgres {
        url: String,
        _keep: Keep,
    }

    impl Postgres {
        /// The server; the first call finds or starts it.
        pub async fn shared() -> &'static Self {
            static SHARED: OnceCell<Postgres> = OnceCell::const_new();
            SHARED.get_or_init(Self::find).await
        }

        async fn find() -> Self {
            if let Some(url) = variable("IMGSRV_TEST_POSTGRES_URL") {
                return Self { url, _keep: Box::new(()) };
            }
            #[cfg(feature = "containers")]
            if let Some((url, keep)) = crate::services::containers::postgres().await {
                return Self { url, _keep: keep };
            }
            let server = tokio::task::spawn_blocking(LocalPostgres::start).await.expect("it starts");
            Self { url: server.url(), _keep: Box::new(server) }
        }

        /// Runs hand-written SQL in the database at `url`, as an operator would.
        pub async fn sql(url: &str, statements: &str) {
            let options: PgConnectOptions = url.parse().expect("a PostgreSQL URL");
            let mut connection = options.connect().await.expect("a connection");
            connection.execute(AssertSqlSafe(statements.to_owned())).await.expect("it is executed");
        }

        /// Stops the clock of the catalog in the database at `url`, at so many microseconds since the Unix epoch.
        pub async fn set_clock(url: &str, micros: i64) {
            let clock = format!(
                "CREATE OR REPLACE FUNCTION catalog_now() RETURNS timestamptz LANGUAGE sql STABLE AS
                 $$ SELECT timestamptz '1970-01-01 00:00:00Z' + {micros} * interval '1 microsecond' $$"
            );
            Self::sql(url, &clock).await;
        }

        /// The URL of a new, empty database.
        pub async fn database(&self) -> String {
            static COUNT: AtomicU32 = AtomicU32::new(0);
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = format!("imgsrv_test_{}_{count}", std::process::id());
            let options: PgConnectOptions = self.url.parse().expect("a PostgreSQL URL");
            let mut connection = options.connect().await.expect("a connection");
            for statement in [format!("DROP DATABASE IF EXISTS {name}"), format!("CREATE DATABASE {name}")] {
                connection.execute(AssertSqlSafe(statement)).await.expect("a database");
            }
            options.database(&name).to_url_lossy().to_string()
        }

        /// How many deadlocks there were in the database at `url`. It waits until all connections to it are closed: their
        /// numbers are complete then.
        pub async fn deadlocks(url: &str) -> i64 {
            const OTHERS: &str = "SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND pid <> pg_backend_pid()";
            const DEADLOCKS: &str = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
            let options: PgConnectOptions = url.parse().expect("a PostgreSQL URL");
            let mut connection = options.connect().await.expect("a connection");
            let began = Instant::now();
            loop {
                let others: i64 = query_scalar(OTHERS).fetch_one(&mut connection).await.expect("an answer");
                if others == 0 {
                    return query_scalar(DEADLOCKS).fetch_one(&mut connection).await.expect("an answer");
                }
                assert!(began.elapsed() < Duration::from_secs(30), "{others} connections are open");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}
