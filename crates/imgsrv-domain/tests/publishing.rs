//! Transitions of versions, and random sequences of actions on a publish job.

use imgsrv_domain::{
    ids::{ImageId, JobId, VersionId},
    publish::{InconsistentJob, JobRecord, JobState, PublishJob, StepName, StepState},
    time::Timestamp,
    version::{Version, VersionState},
};
use proptest::prelude::*;
use std::time::Duration;
use uuid::Uuid;

fn draft() -> Version {
    let (image, name) = ("debian".parse().expect("a name"), "1".parse().expect("a name"));
    let now = Timestamp::from_micros(0);
    Version::draft(VersionId::new(Uuid::from_u128(1)), ImageId::new(Uuid::from_u128(2)), image, name, now).0
}

#[test]
fn each_state_of_a_version_allows_only_its_own_actions() {
    let now = Timestamp::from_micros(5);
    let draft = draft();
    let frozen = draft.clone().freeze(now).expect("frozen").0;
    let published = frozen.clone().publish(now).expect("published").0;
    assert_eq!(published.state, VersionState::Published { at: now });
    assert_eq!(frozen.clone().reopen(now).expect("reopened").0.state, VersionState::Draft);
    let allowed = |version: &Version| {
        [
            version.clone().edit(now).is_ok(),
            version.delete().is_ok(),
            version.clone().freeze(now).is_ok(),
            version.clone().publish(now).is_ok(),
            version.clone().reopen(now).is_ok(),
        ]
    };
    assert_eq!(allowed(&draft), [true, true, true, false, false]);
    assert_eq!(allowed(&frozen), [false, false, false, true, true]);
    assert_eq!(allowed(&published), [false; 5]);
    let refusal = published.freeze(now).expect_err("refused").to_string();
    assert_eq!(refusal, "cannot publish version debian/1: its state is published");
}

#[derive(Debug, Clone)]
enum Action {
    Start,
    Succeed,
    Fail,
    Requeue,
    Retry,
    Abandon,
    Advance(u64),
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let action = prop_oneof![
        4 => Just(Action::Start),
        3 => Just(Action::Succeed),
        2 => Just(Action::Fail),
        2 => Just(Action::Requeue),
        2 => Just(Action::Retry),
        1 => Just(Action::Abandon),
        3 => (0_u64..1200).prop_map(Action::Advance),
    ];
    proptest::collection::vec(action, 1..50)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_actions_breaks_a_job(actions in actions()) {
        let mut now = Timestamp::from_micros(0);
        let frozen = draft().freeze(now).expect("frozen").0;
        let mut job = PublishJob::enqueue(JobId::new(Uuid::from_u128(3)), &frozen, now);
        for action in actions {
            let before = job.clone();
            let next = match action {
                Action::Advance(seconds) => {
                    now = now.plus(Duration::from_secs(seconds));
                    None
                }
                Action::Start => job.clone().start(now).ok(),
                Action::Succeed => job.clone().step_succeeded(now).ok(),
                Action::Fail => job.clone().step_failed("no".to_owned(), now).ok().map(|(job, _)| job),
                Action::Requeue => job.clone().requeue(now).ok(),
                Action::Retry => job.clone().retry(now).ok().map(|(job, _)| job),
                Action::Abandon => job.clone().abandon(now).ok().map(|(job, _)| job),
            };
            if let Some(next) = next {
                job = next;
            }
            for (was, is) in before.steps.iter().zip(&job.steps) {
                if matches!(was.state, StepState::Succeeded { .. }) {
                    assert_eq!(is, was, "a step that succeeded never runs again");
                }
                assert!(is.attempts >= was.attempts);
            }
            let running = job.steps.iter().filter(|step| matches!(step.state, StepState::Running { .. })).count();
            match &job.state {
                JobState::Queued => assert_eq!((running, job.failed_step()), (0, None)),
                JobState::Running => assert_eq!((running, job.failed_step()), (1, None)),
                JobState::Succeeded => assert_eq!((running, job.current_step()), (0, None)),
                JobState::Failed | JobState::Abandoned => assert!(running == 0 && job.failed_step().is_some()),
            }
            if matches!(before.state, JobState::Succeeded | JobState::Abandoned) {
                assert_eq!(job, before, "a final state is final");
            }
            let record = JobRecord::clone(&job);
            assert_eq!(PublishJob::restore(record), Ok(job.clone()), "it is stored and restored");
        }
    }
}

#[test]
fn a_retry_starts_at_the_failed_step() {
    let now = Timestamp::from_micros(0);
    let frozen = draft().freeze(now).expect("frozen").0;
    let job = PublishJob::enqueue(JobId::new(Uuid::from_u128(3)), &frozen, now);
    let job = job.start(now).expect("started");
    let job = job.step_succeeded(now).expect("validated");
    let job = job.step_succeeded(now).expect("indexed");
    let (job, _) = job.step_failed("no".to_owned(), now).expect("failed");
    let (job, _) = job.retry(now).expect("retried");
    assert_eq!(job.current_step().map(|step| step.name), Some(StepName::FinalizePublish));
    let job = job.start(now).expect("started");
    let job = job.step_succeeded(now).expect("published");
    assert_eq!(job.state, JobState::Succeeded);
    assert_eq!(job.steps.iter().map(|step| step.attempts).collect::<Vec<_>>(), [1, 1, 2]);
}

#[test]
fn a_job_that_was_queued_as_started_and_not_begun_is_as_it_was_before() {
    let now = Timestamp::from_micros(0);
    let frozen = draft().freeze(now).expect("frozen").0;
    let queued = PublishJob::enqueue(JobId::new(Uuid::from_u128(3)), &frozen, now);
    let started = queued.clone().start(now).expect("started");
    assert_eq!(started.withdraw(now), Ok(queued.clone()));
    let (failed, _) = queued.step_failed("no".to_owned(), now).expect("failed");
    assert!(failed.withdraw(now).is_err());
}

#[test]
fn a_stored_job_whose_steps_disagree_with_its_state_is_rejected() {
    let now = Timestamp::from_micros(0);
    let frozen = draft().freeze(now).expect("frozen").0;
    let queued = PublishJob::enqueue(JobId::new(Uuid::from_u128(3)), &frozen, now);
    let running = queued.clone().start(now).expect("started");
    let states = JobRecord { state: JobState::Succeeded, ..JobRecord::clone(&running) };
    let steps = JobRecord { steps: running.steps.clone(), ..JobRecord::clone(&queued) };
    let missing = JobRecord { steps: queued.steps[1..].to_vec(), ..JobRecord::clone(&queued) };
    for record in [states, steps, missing] {
        assert_eq!(PublishJob::restore(record), Err(InconsistentJob));
    }
}
