//! Services in containers, where a container engine runs.

use super::guard::Guard;
use std::{any::Any, os::unix::net::UnixStream};
use testcontainers::{
    ContainerAsync, GenericImage, ImageExt,
    core::{ContainerPort, IntoContainerPort, WaitFor},
    runners::AsyncRunner,
};

type Keep = Box<dyn Any + Send + Sync>;

/// Whether a container engine is running; its client alone is not enough.
fn engine_runs() -> bool {
    super::variable("DOCKER_HOST").is_some() || UnixStream::connect("/var/run/docker.sock").is_ok()
}

/// Removes the container when this process ends. Static values are never dropped, so a shell does it.
fn keep(container: ContainerAsync<GenericImage>) -> Keep {
    let guard = Guard::new("docker rm -f \"$1\" || podman rm -f \"$1\"", &[container.id()]);
    Box::new((container, guard))
}

async fn port(container: &ContainerAsync<GenericImage>, port: ContainerPort) -> (String, u16) {
    let host = container.get_host().await.expect("its host").to_string();
    (host, container.get_host_port_ipv4(port).await.expect("its port"))
}

/// Starts PostgreSQL; returns the URL of its default database.
pub(crate) async fn postgres() -> Option<(String, Keep)> {
    if !engine_runs() {
        return None;
    }
    let ready = WaitFor::message_on_stderr("database system is ready to accept connections");
    let container = GenericImage::new("postgres", "17")
        .with_exposed_port(5432.tcp())
        // The image starts the server twice: first for its setup.
        .with_wait_for(ready.clone())
        .with_wait_for(ready)
        .with_env_var("POSTGRES_HOST_AUTH_METHOD", "trust")
        .start()
        .await
        .expect("PostgreSQL starts in a container");
    let (host, port) = port(&container, 5432.tcp()).await;
    Some((format!("postgres://postgres@{host}:{port}/postgres"), keep(container)))
}

const CONFIG: &str = r#"
metadata_dir = "/tmp/meta"
data_dir = "/tmp/data"
db_engine = "sqlite"
replication_factor = 1
rpc_bind_addr = "0.0.0.0:3901"
rpc_secret = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
[s3_api]
s3_region = "garage"
api_bind_addr = "0.0.0.0:3900"
[admin]
api_bind_addr = "0.0.0.0:3903"
admin_token = "admin"
"#;
const ACCESS_KEY: &str = "GK31c2f218a2e44f485b94239e";
const SECRET_KEY: &str = "b892c0665f0ada8a4755dae98baa3b133590e11dae3bcc1f9d769d67f16c3835";

/// Starts Garage; returns its S3 endpoint and keys.
pub(crate) async fn garage() -> Option<(String, (&'static str, &'static str), Keep)> {
    if !engine_runs() {
        return None;
    }
    let container = GenericImage::new("dxflrs/garage", &format!("v{}", super::GARAGE_VERSION))
        .with_exposed_port(3900.tcp())
        .with_exposed_port(3903.tcp())
        .with_wait_for(WaitFor::message_on_stderr("S3 API server listening"))
        .with_copy_to("/etc/garage.toml", CONFIG.as_bytes().to_vec())
        .with_env_var("GARAGE_DEFAULT_ACCESS_KEY", ACCESS_KEY)
        .with_env_var("GARAGE_DEFAULT_SECRET_KEY", SECRET_KEY)
        .with_env_var("GARAGE_DEFAULT_BUCKET", "imgsrv")
        .with_cmd(["/garage", "server", "--single-node", "--default-bucket"])
        .start()
        .await
        .expect("Garage starts in a container");
    let (host, admin) = port(&container, 3903.tcp()).await;
    let url = format!("http://{host}:{admin}/v2/UpdateKey?id={ACCESS_KEY}");
    let allowed = tokio::task::spawn_blocking(move || {
        ureq::post(url)
            .header("authorization", "Bearer admin")
            .header("content-type", "application/json")
            .send(r#"{"allow": {"createBucket": true}}"#)
    });
    allowed.await.expect("it ends").expect("its key may make buckets");
    let (host, s3) = port(&container, 3900.tcp()).await;
    Some((format!("{host}:{s3}"), (ACCESS_KEY, SECRET_KEY), keep(container)))
}
