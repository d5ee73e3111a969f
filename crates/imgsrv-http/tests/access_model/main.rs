//! Random histories of grants, narrowed tokens, rules, revocations, sent bytes and links: after each step, every request gets
//! the answer that a model in the plainest words expects, on both catalogs, and on two nodes of one.

mod model;
mod real;

use imgsrv_testkit::{Issuer, SigningKey, TestServer};
use model::Model;
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use real::{Real, step};

pub(crate) const ROLES: [&str; 3] = ["content-reader", "content-writer", "content-admin"];
/// Patterns of grants and tokens; `@` stands for the prefix of the case, which no other case has.
pub(crate) const PATTERNS: [&str; 5] = ["*", "@-debian-*", "@-debian-13", "@-b-c-*", "@*-1*"];
/// Patterns of rules.
pub(crate) const TEMPLATES: [&str; 5] =
    ["*", "@-debian-*", "{claims.repository}-*", "{claims.repository}", "*{claims.repository}*"];
pub(crate) const IMAGES: [&str; 6] = ["@-debian-13", "@-tools", "@-b-c-1", "@-b-c-2", "@-b-c", "@-b-c-d-1"];
/// Images that exist at first, created by hand; the first is published.
pub(crate) const GIVEN: [usize; 2] = [1, 3];
/// The first two are principals with API tokens, the others those of repositories. Two repositories look alike, and one
/// begins with the name of another.
pub(crate) const REPOSITORIES: [&str; 3] = ["@/b-c", "@-b/c", "@/b-c-d"];
pub(crate) const PRINCIPALS: usize = 2 + REPOSITORIES.len();
/// How many different bytes are sent.
pub(crate) const CONTENTS: usize = 2;

/// Roles and patterns are indices.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Grant {
        principal: usize,
        role: usize,
        patterns: Option<Vec<usize>>,
    },
    Revoke {
        principal: usize,
        role: usize,
    },
    Issue {
        principal: usize,
        roles: Option<Vec<usize>>,
        patterns: Option<Vec<usize>>,
    },
    End {
        token: usize,
    },
    Save {
        writes: bool,
        templates: Vec<usize>,
        enabled: bool,
    },
    Reconcile,
    /// Makes the published image private, or public.
    Hide(bool),
    /// A download by the link of that number, if there is one.
    Follow {
        link: usize,
        node: usize,
    },
    /// A request by a token, or by a repository if there is none of that number.
    Request {
        by: usize,
        what: Request,
        image: usize,
        node: usize,
    },
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Request {
    Read,
    Create,
    Change,
    Retire,
    Delete,
    /// Upload bytes of that number.
    Send(usize),
    /// Use them by their digest.
    Use(usize),
    /// Make a link to the published image.
    Link,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let principal = 0..PRINCIPALS;
    let patterns = || prop::option::of(prop::collection::vec(0..PATTERNS.len(), 1..3));
    let request = prop_oneof![
        2 => Just(Request::Read), 3 => Just(Request::Create), 4 => Just(Request::Change), 1 => Just(Request::Retire),
        1 => Just(Request::Delete), 3 => (0..CONTENTS).prop_map(Request::Send), 4 => (0..CONTENTS).prop_map(Request::Use),
        3 => Just(Request::Link)
    ];
    let step = prop_oneof![
        4 => (principal.clone(), 0..ROLES.len(), patterns())
            .prop_map(|(principal, role, patterns)| Step::Grant { principal, role, patterns }),
        2 => (principal, 0..ROLES.len()).prop_map(|(principal, role)| Step::Revoke { principal, role }),
        3 => (0..2_usize, prop::option::of(prop::collection::vec(0..ROLES.len(), 1..3)), patterns())
            .prop_map(|(principal, roles, patterns)| Step::Issue { principal, roles, patterns }),
        1 => (0..6_usize).prop_map(|token| Step::End { token }),
        2 => (any::<bool>(), prop::collection::vec(0..TEMPLATES.len(), 1..3), prop::bool::weighted(0.9))
            .prop_map(|(writes, templates, enabled)| Step::Save { writes, templates, enabled }),
        1 => Just(Step::Reconcile),
        1 => any::<bool>().prop_map(Step::Hide),
        5 => (0..4_usize, 0..2_usize).prop_map(|(link, node)| Step::Follow { link, node }),
        24 => (0..9_usize, request, 0..IMAGES.len(), 0..2_usize)
            .prop_map(|(by, what, image, node)| Step::Request { by, what, image, node }),
    ];
    prop::collection::vec(step, 20..60)
}

/// Runs histories on the nodes of a server.
fn run(nodes: impl AsyncFnOnce() -> Vec<TestServer>, cases: u32) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (nodes, issuer, key) = runtime.block_on(async {
        let (issuer, key) = (Issuer::start().await, SigningKey::generate("ES256", "first"));
        issuer.publish(&[&key]);
        (nodes().await, issuer, key)
    });
    let case = std::cell::Cell::new(0);
    let mut runner =
        TestRunner::new(Config { cases, max_shrink_iters: 200, failure_persistence: None, ..Config::default() });
    let done = runner.run(&steps(), |steps| {
        case.set(case.get() + 1);
        let history = runtime.block_on(async {
            let mut model = Model::new(&format!("k{}", case.get()));
            let mut real = Real::new(&nodes, &issuer, &key, &model).await;
            let mut history = Ok(());
            for (at, one) in steps.iter().enumerate() {
                let done = step(&mut model, &mut real, one);
                if let Err(why) = futures::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(done)).await {
                    let why = why.downcast_ref::<String>().cloned().unwrap_or_default();
                    history = Err(format!("{why} after {:?}", &steps[..=at]));
                    break;
                }
            }
            // The next case has no rule.
            let rule = format!("/v1/auth/oidc-provisioning-rules/{}-rule", real.prefix);
            real.nodes[0].manage("DELETE", &rule, None).await;
            history
        });
        history.map_err(TestCaseError::fail)
    });
    if let Err(why) = done {
        panic!("{why}");
    }
}

#[test]
fn every_request_gets_the_answer_of_the_model_on_sqlite() {
    run(async || vec![TestServer::start_serving(|_, http| http.auth_failure_limit = None).await], 60);
}

#[test]
fn every_request_gets_the_answer_of_the_model_on_two_nodes_of_postgres() {
    run(async || TestServer::start_nodes(2).await, 30);
}
