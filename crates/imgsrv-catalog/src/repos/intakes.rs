//! Intakes.

use crate::core::{Connection, Corrupt, Dialects, Record, Row, SqlTx, locking, values};
use async_trait::async_trait;
use imgsrv_domain::{
    claims::Binding,
    ids::{JobId, UploadId},
    intake::{Intake, IntakeRecord, IntakeState, NewIntake},
    ports::{CatalogError, IntakeRepo},
};

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, created_by, rule_id, rule_claims, image_name, version_name, operating_system, architecture, variant, format, media_type, aliases,
            state, reason, job_id, created_at, updated_at, revision FROM intakes ",
            $rest
        )
    };
}
pub(crate) const GET: &str = select!("WHERE id = $1");
const LOCK: Dialects = locking!(select!("WHERE id = $1"), " FOR NO KEY UPDATE");
const LOCK_OF_JOB: Dialects = locking!(select!("WHERE job_id = $1"), " FOR NO KEY UPDATE");
const INSERT: &str =
    "INSERT INTO intakes (id, created_by, image_name, version_name, operating_system, architecture, variant, format,
    media_type, aliases, state, created_at, updated_at, rule_id, rule_claims, revision)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, 1)";
const UPDATE: &str = "UPDATE intakes SET state = $3, reason = $4, job_id = $5, updated_at = $6, revision = revision + 1
    WHERE id = $1 AND revision = $2";
pub(crate) const STATEMENTS: &[&str] = &[GET, LOCK_OF_JOB.sqlite, INSERT, UPDATE];
pub(crate) const POSTGRES: &[&str] = &[LOCK.postgres, LOCK_OF_JOB.postgres];

#[async_trait]
impl<C: Connection> IntakeRepo for SqlTx<C> {
    async fn lock_intake(&mut self, id: UploadId) -> Result<Option<Intake>, CatalogError> {
        self.find(LOCK, values![id]).await
    }

    async fn lock_intake_of_job(&mut self, job: JobId) -> Result<Option<Intake>, CatalogError> {
        self.find(LOCK_OF_JOB, values![job]).await
    }

    async fn insert_intake(&mut self, intake: &Intake) -> Result<(), CatalogError> {
        let NewIntake { image, version, operating_system, architecture, variant, format, media_type, aliases } =
            &intake.wanted;
        let aliases = aliases.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let mut values = values![intake.id, intake.created_by, image, version, operating_system, architecture];
        values.extend(values![variant, format, media_type, aliases, intake.state.name()]);
        values.extend(values![intake.created_at, intake.updated_at]);
        let (rule, claims) = intake.admitted_by.as_ref().map(|by| (by.rule.clone(), by.claims.clone())).unzip();
        values.extend(values![rule, claims]);
        self.execute(INSERT, values).await.map(drop)
    }

    async fn update_intake(&mut self, intake: &Intake) -> Result<(), CatalogError> {
        let reason = match &intake.state {
            IntakeState::Failed { reason, .. } => Some(reason.as_str()),
            IntakeState::Receiving | IntakeState::Publishing(_) | IntakeState::Published(_) => None,
        };
        let IntakeRecord { id, revision, state, updated_at, .. } = &**intake;
        self.execute_fenced(UPDATE, values![id, revision, state.name(), reason, state.job(), updated_at]).await
    }
}

impl Record for Intake {
    const WHAT: &'static str = "intake";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        let (state, aliases): (String, String) = (row.get("state")?, row.get("aliases")?);
        let state = match (state.as_str(), row.optional("job_id")?, row.optional("reason")?) {
            ("receiving", None, None) => IntakeState::Receiving,
            ("publishing", Some(job), None) => IntakeState::Publishing(job),
            ("published", Some(job), None) => IntakeState::Published(job),
            ("failed", job, Some(reason)) => IntakeState::Failed { reason, job },
            _ => return Err(row.corrupt("its state, job and reason do not match")),
        };
        let admitted_by = match (row.optional("rule_id")?, row.optional("rule_claims")?) {
            (Some(rule), Some(claims)) => Some(Binding { rule, claims }),
            _ => None,
        };
        let aliases = aliases.split(',').filter(|alias| !alias.is_empty()).map(str::parse).collect::<Result<_, _>>();
        Ok(Self::restore(IntakeRecord {
            id: row.get("id")?,
            created_by: row.get("created_by")?,
            admitted_by,
            wanted: NewIntake {
                image: row.get("image_name")?,
                version: row.get("version_name")?,
                operating_system: row.get("operating_system")?,
                architecture: row.get("architecture")?,
                variant: row.get("variant")?,
                format: row.get("format")?,
                media_type: row.get("media_type")?,
                aliases: aliases.map_err(|why| row.corrupt(why))?,
            },
            state,
            created_at: row.get("created_at")?,
            updated_at: row.get("updated_at")?,
            revision: row.get("revision")?,
        }))
    }
}
