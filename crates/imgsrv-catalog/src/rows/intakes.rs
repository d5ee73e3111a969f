//! Rows of intakes.

use crate::rows::decode::{Corrupt, parse};
use crate::rows::time::SqlTime;
use imgsrv_domain::{
    ids::{JobId, PrincipalId, UploadId},
    intake::{Intake, IntakeRecord, IntakeState, NewIntake},
    transition::Revision,
};
use uuid::Uuid;

/// A row of `intakes`.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct IntakeRow {
    pub(crate) id: Uuid,
    pub(crate) created_by: Uuid,
    pub(crate) image_name: String,
    pub(crate) version_name: String,
    pub(crate) operating_system: String,
    pub(crate) architecture: String,
    pub(crate) variant: String,
    pub(crate) format: String,
    pub(crate) media_type: String,
    pub(crate) aliases: String,
    pub(crate) state: String,
    pub(crate) reason: Option<String>,
    pub(crate) job_id: Option<Uuid>,
    pub(crate) created_at: SqlTime,
    pub(crate) updated_at: SqlTime,
    pub(crate) revision: i64,
}

impl TryFrom<IntakeRow> for Intake {
    type Error = Corrupt;

    fn try_from(row: IntakeRow) -> Result<Self, Corrupt> {
        const WHAT: &str = "intake";
        let job = row.job_id.map(JobId::new);
        let state = match (row.state.as_str(), job, row.reason) {
            ("receiving", None, None) => IntakeState::Receiving,
            ("publishing", Some(job), None) => IntakeState::Publishing(job),
            ("published", Some(job), None) => IntakeState::Published(job),
            ("failed", job, Some(reason)) => IntakeState::Failed { reason, job },
            _ => return Err(Corrupt::new(WHAT, "its state, job and reason disagree")),
        };
        let aliases = row.aliases.split(',').filter(|alias| !alias.is_empty());
        Ok(Self::restore(IntakeRecord {
            id: UploadId::new(row.id),
            created_by: PrincipalId::new(row.created_by),
            wanted: NewIntake {
                image: parse(WHAT, &row.image_name)?,
                version: parse(WHAT, &row.version_name)?,
                operating_system: parse(WHAT, &row.operating_system)?,
                architecture: parse(WHAT, &row.architecture)?,
                variant: parse(WHAT, &row.variant)?,
                format: parse(WHAT, &row.format)?,
                media_type: parse(WHAT, &row.media_type)?,
                aliases: aliases.map(|alias| parse(WHAT, alias)).collect::<Result<_, _>>()?,
            },
            state,
            created_at: row.created_at.into(),
            updated_at: row.updated_at.into(),
            revision: Revision::new(row.revision),
        }))
    }
}
