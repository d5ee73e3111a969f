//! Random histories of grants and visibilities, compared with a model on two nodes: every request is answered by what is in
//! force, at once.

use crate::support::Team;
use imgsrv_testkit::{TestServer, digest};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const STEPS: usize = 24;
const IMAGES: [&str; 2] = ["alpha-vm", "beta-vm"];
const ROLES: [&str; 3] = ["content-reader", "content-writer", "content-admin"];
const SCOPES: [&str; 4] = ["alpha-*", "beta-*", "*", "gamma"];

/// Pseudo-random numbers (`SplitMix64`), the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        usize::try_from((mixed ^ (mixed >> 31)) >> 33).expect("it fits") % bound
    }
}

fn covers(pattern: &str, image: &str) -> bool {
    pattern == "*" || pattern.strip_suffix('*').is_some_and(|start| image.starts_with(start)) || pattern == image
}

/// A principal, its grants by role, and its tokens with the images that they leave.
struct Member {
    team: Team,
    grants: BTreeMap<&'static str, &'static str>,
    tokens: Vec<(String, &'static str)>,
}

impl Member {
    async fn new(server: &TestServer) -> Self {
        // A role on no image that exists, which is revoked at once.
        let team = Team::with(server, "content-reader", "none").await;
        let revoked = server.manage("DELETE", &format!("{}/roles/content-reader", team.principal), None).await;
        assert!(revoked.status.is_success(), "{revoked:?}");
        let body = json!({"name": "narrow", "expires_at": "2099-01-01T00:00:00Z", "images": ["alpha-*"],
            "role_ids": ["content-reader"]});
        let issued = server.manage("POST", &format!("{}/api-tokens", team.principal), Some(body)).await.json();
        let narrow = issued["plaintext"].as_str().expect("a token").to_owned();
        let tokens = vec![(team.token.clone(), "*"), (narrow, "alpha-*")];
        Self { team, grants: BTreeMap::new(), tokens }
    }

    fn reads(&self, image: &str, left: &str) -> bool {
        covers(left, image) && self.grants.values().any(|scope| covers(scope, image))
    }
}

async fn changed(
    server: &TestServer,
    numbers: &mut Numbers,
    members: &mut [Member],
    private: &mut BTreeMap<&str, bool>,
) -> String {
    match numbers.below(5) {
        0 | 1 => {
            let (member, role) = (&mut members[numbers.below(2)], ROLES[numbers.below(3)]);
            let scope = SCOPES[numbers.below(4)];
            let url = format!("{}/roles/{role}", member.team.principal);
            let granted = server.manage("PUT", &url, Some(json!({"images": [scope]}))).await;
            assert!(granted.status.is_success(), "{granted:?}");
            member.grants.insert(role, scope);
            format!("{role} on {scope}")
        }
        2 => {
            let (member, role) = (&mut members[numbers.below(2)], ROLES[numbers.below(3)]);
            server.manage("DELETE", &format!("{}/roles/{role}", member.team.principal), None).await;
            member.grants.remove(role);
            format!("{role} revoked")
        }
        _ => {
            let image = IMAGES[numbers.below(2)];
            let is_private = private.entry(image).or_default();
            *is_private = !*is_private;
            let visibility = if *is_private { "private" } else { "public" };
            let admin = server.token_with("content-admin").await;
            let body: Option<Value> = Some(json!({"visibility": visibility}));
            let set = server.call(Some(&admin), "PATCH", &format!("/v1/images/{image}"), body).await;
            assert!(set.status.is_success(), "{set:?}");
            format!("{image} {visibility}")
        }
    }
}

#[tokio::test]
async fn every_node_answers_by_what_is_in_force() {
    for (seed, server) in [(1, TestServer::start().await), (2, TestServer::start_on_postgres().await)] {
        for image in IMAGES {
            server.published(image, "1", image.as_bytes()).await;
        }
        let other = server.other_node().await;
        let mut members = [Member::new(&server).await, Member::new(&server).await];
        let (mut numbers, mut private) = (Numbers(seed), BTreeMap::new());
        let mut history = Vec::new();
        for _ in 0..STEPS {
            history.push(changed(&server, &mut numbers, &mut members, &mut private).await);
            for image in IMAGES {
                let is_public = !private.get(image).copied().unwrap_or_default();
                let urls = [
                    format!("/v1/images/{image}/versions/1"),
                    format!("/images/{image}/1/{image}-1-amd64.qcow2"),
                    format!("/v1/blobs/{}", digest(image.as_bytes())),
                ];
                let callers = members.iter().flat_map(|member| {
                    let tokens = member.tokens.iter();
                    tokens.map(move |(token, left)| (Some(token.as_str()), member.reads(image, left)))
                });
                let callers: Vec<_> = callers.chain([(None, false)]).collect();
                for (at, node) in [&server, &other].into_iter().enumerate() {
                    for url in &urls {
                        for (token, reads) in &callers {
                            let answer = node.call(*token, "GET", url, None).await;
                            let expected = if is_public || *reads { 200 } else { 404 };
                            assert_eq!(answer.status, expected, "{url} on node {at} after {history:?}");
                        }
                    }
                }
            }
        }
    }
}
