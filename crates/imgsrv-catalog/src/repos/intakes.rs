//! Intakes.

use crate::{
    core::{
        connection::{Connection, Dialects},
        tx::SqlTx,
        value::values,
    },
    rows::IntakeRow,
};
use async_trait::async_trait;
use imgsrv_domain::{
    ids::{JobId, UploadId},
    intake::{Intake, IntakeState},
    ports::{CatalogError, IntakeRepo},
};

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, created_by, image_name, version_name, operating_system, architecture, variant, format, media_type, aliases,
            state, reason, job_id, created_at, updated_at, revision FROM intakes ",
            $rest
        )
    };
}
pub(crate) const GET: &str = select!("WHERE id = $1");
const LOCK: Dialects = Dialects { sqlite: GET, postgres: select!("WHERE id = $1 FOR NO KEY UPDATE") };
const LOCK_OF_JOB: Dialects =
    Dialects { sqlite: select!("WHERE job_id = $1"), postgres: select!("WHERE job_id = $1 FOR NO KEY UPDATE") };
const INSERT: &str =
    "INSERT INTO intakes (id, created_by, image_name, version_name, operating_system, architecture, variant, format,
    media_type, aliases, state, created_at, updated_at, revision)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 1)";
const UPDATE: &str = "UPDATE intakes SET state = $3, reason = $4, job_id = $5, updated_at = $6, revision = revision + 1
    WHERE id = $1 AND revision = $2";
pub(crate) const STATEMENTS: &[&str] = &[GET, LOCK_OF_JOB.sqlite, INSERT, UPDATE];
pub(crate) const POSTGRES: &[&str] = &[LOCK.postgres, LOCK_OF_JOB.postgres];

#[async_trait]
impl<C: Connection> IntakeRepo for SqlTx<C> {
    async fn lock_intake(&mut self, id: UploadId) -> Result<Option<Intake>, CatalogError> {
        self.find_locked::<IntakeRow, _>(LOCK, values![id.uuid()]).await
    }

    async fn lock_intake_of_job(&mut self, job: JobId) -> Result<Option<Intake>, CatalogError> {
        self.find_locked::<IntakeRow, _>(LOCK_OF_JOB, values![job.uuid()]).await
    }

    async fn insert_intake(&mut self, intake: &Intake) -> Result<(), CatalogError> {
        let wanted = &intake.wanted;
        let aliases = wanted.aliases.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let values = values![
            intake.id.uuid(),
            intake.created_by.uuid(),
            wanted.image.as_str(),
            wanted.version.as_str(),
            wanted.operating_system.as_str(),
            wanted.architecture.as_str(),
            wanted.variant.as_str(),
            wanted.format.as_str(),
            wanted.media_type.as_str(),
            aliases,
            intake.state.name(),
            intake.created_at,
            intake.updated_at,
        ];
        self.execute(INSERT, values).await.map(drop)
    }

    async fn update_intake(&mut self, intake: &Intake) -> Result<(), CatalogError> {
        let reason = match &intake.state {
            IntakeState::Failed { reason, .. } => Some(reason.as_str()),
            IntakeState::Receiving | IntakeState::Publishing(_) | IntakeState::Published(_) => None,
        };
        let values = values![
            intake.id.uuid(),
            intake.revision.get(),
            intake.state.name(),
            reason,
            intake.state.job().map(JobId::uuid),
            intake.updated_at,
        ];
        self.execute_fenced(UPDATE, values).await
    }
}
