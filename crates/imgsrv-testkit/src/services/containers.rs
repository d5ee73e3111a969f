//! Services in containers, where a container engine runs.

use super::{
    GARAGE_VERSION, Keep,
    garage::{ACCESS_KEY, SECRET_KEY, allow_buckets, config},
    guard::Guard,
};
use std::os::unix::net::UnixStream;
use testcontainers::{
    ContainerAsync, GenericImage, ImageExt,
    core::{IntoContainerPort, WaitFor},
    runners::AsyncRunner,
};

/// Whether a container engine is running; its client alone is not enough.
fn engine_runs() -> bool {
    super::variable("DOCKER_HOST").is_some() || UnixStream::connect("/var/run/docker.sock").is_ok()
}

/// Removes the container when this process ends. Static values are never dropped, so a shell does it.
fn keep(container: ContainerAsync<GenericImage>) -> Keep {
    let guard = Guard::new("docker rm -f \"$1\" || podman rm -f \"$1\"", &[container.id()]);
    Box::new((container, guard))
}

/// Where a port of the container is reached.
async fn address(container: &ContainerAsync<GenericImage>, port: u16) -> String {
    let host = container.get_host().await.expect("its host");
    format!("{host}:{}", container.get_host_port_ipv4(port.tcp()).await.expect("its port"))
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
    Some((format!("postgres://postgres@{}/postgres", address(&container, 5432).await), keep(container)))
}

/// Starts Garage; returns its S3 endpoint.
pub(crate) async fn garage() -> Option<(String, Keep)> {
    if !engine_runs() {
        return None;
    }
    let container = GenericImage::new("dxflrs/garage", &format!("v{GARAGE_VERSION}"))
        .with_exposed_port(3900.tcp())
        .with_exposed_port(3903.tcp())
        .with_wait_for(WaitFor::message_on_stderr("S3 API server listening"))
        .with_copy_to("/etc/garage.toml", config("/tmp", "0.0.0.0", [3900, 3901, 3903]).into_bytes())
        .with_env_var("GARAGE_DEFAULT_ACCESS_KEY", ACCESS_KEY)
        .with_env_var("GARAGE_DEFAULT_SECRET_KEY", SECRET_KEY)
        .with_env_var("GARAGE_DEFAULT_BUCKET", "imgsrv")
        .with_cmd(["/garage", "server", "--single-node", "--default-bucket"])
        .start()
        .await
        .expect("Garage starts in a container");
    let admin = address(&container, 3903).await;
    tokio::task::spawn_blocking(move || allow_buckets(&admin)).await.expect("its key may make buckets");
    Some((address(&container, 3900).await, keep(container)))
}
