//! Publishes a version with the domain model alone: no runtime, no I/O, no clock.
//!
//! `cargo run -p imgsrv-domain --example embed`
#![expect(clippy::print_stdout, reason = "it is a command-line program")]

use imgsrv_domain::{
    ids::{ImageId, JobId, VersionId},
    publish::PublishJob,
    time::Timestamp,
    version::Version,
};
use std::error::Error;
use uuid::Uuid;

fn main() -> Result<(), Box<dyn Error>> {
    let now = Timestamp::from_micros(1_767_225_600_000_000);
    let (image_id, version_id) = (ImageId::new(Uuid::from_u128(1)), VersionId::new(Uuid::from_u128(2)));
    let (draft, event) = Version::draft(version_id, image_id, "debian".parse()?, "12.5.0".parse()?, now);
    println!("{} {}", event.action, event.subject);

    let (frozen, event) = draft.freeze(now)?;
    println!("{} {}", event.action, event.subject);
    if let Err(refused) = frozen.clone().edit(now) {
        println!("refused: {refused}");
    }

    let job = PublishJob::enqueue(JobId::new(Uuid::from_u128(3)), &frozen, now);
    let mut job = job.start(now)?;
    while let Some(step) = job.current_step() {
        println!("running {}", step.name);
        job = job.step_succeeded(now)?;
    }
    let (published, event) = frozen.publish(now)?;
    println!("{} {} at {:?}", event.action, event.subject, published.state.published_at());
    Ok(())
}
