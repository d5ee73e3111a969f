//! The same steps on a server.

use crate::{
    GIVEN, REPOSITORIES, ROLES, Request as Asked, Step, TEMPLATES,
    model::{Granted, Model, Rule, Token},
};
use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use imgsrv_testkit::{Issuer, SigningKey, TestServer, digest};
use serde_json::{Value, json};

/// The same on a server with one node or two.
pub(crate) struct Real<'s> {
    pub(crate) nodes: &'s [TestServer],
    issuer: &'s Issuer,
    key: &'s SigningKey,
    pub(crate) prefix: String,
    principals: Vec<String>,
    /// Plaintext and id.
    tokens: Vec<(String, String)>,
    /// The path of the published artifact.
    artifact: String,
    /// The paths of links.
    links: Vec<String>,
}

impl<'s> Real<'s> {
    pub(crate) async fn new(nodes: &'s [TestServer], issuer: &'s Issuer, key: &'s SigningKey, model: &Model) -> Self {
        let (principals, tokens, links) = (Vec::new(), Vec::new(), Vec::new());
        let (prefix, artifact) = (model.prefix.clone(), String::new());
        let mut real = Self { nodes, issuer, key, prefix, principals, tokens, artifact, links };
        for at in 0..2 {
            let body = json!({"kind": "service", "display_name": format!("{} {at}", real.prefix)});
            let made = nodes[0].manage("POST", "/v1/auth/principals", Some(body)).await.json();
            real.principals.push(made["id"].as_str().expect("an id").to_owned());
        }
        // A rule of another id admits each repository once, and is reconciled, so that they are principals without roles.
        let rule = format!("{}-first", real.prefix);
        real.save(&rule, "content-writer", &["nothing".to_owned()], true).await;
        for at in 0..REPOSITORIES.len() {
            let whoami = nodes[0].call(Some(&real.repository(at)), "GET", "/v1/auth/whoami", None).await.json();
            real.principals.push(whoami["principal"]["id"].as_str().expect("an id").to_owned());
        }
        let rule = format!("/v1/auth/oidc-provisioning-rules/{rule}");
        assert!(nodes[0].manage("POST", &format!("{rule}/reconciliation"), None).await.status.is_success());
        assert!(nodes[0].manage("DELETE", &rule, None).await.status.is_success());
        for image in GIVEN {
            let body = json!({"name": model.name(image)});
            assert!(nodes[0].write("POST", "/v1/images", Some(body)).await.status.is_success());
        }
        let image = model.name(GIVEN[0]);
        let artifact = nodes[0].published(&image, "1", format!("data of {image}").as_bytes()).await;
        real.artifact = format!("/v1/images/{image}/versions/1/artifacts/{artifact}");
        real
    }

    fn repository(&self, at: usize) -> String {
        let repository = REPOSITORIES[at].replace('@', &self.prefix);
        self.key.sign(&json!({
            "iss": self.issuer.url, "sub": format!("repo:{repository}"), "aud": "imgsrv", "exp": 4_000_000_000_u64,
            "repository": repository,
        }))
    }

    async fn save(&self, id: &str, role: &str, templates: &[String], enabled: bool) {
        let rule = json!({
            "id": id, "display_name": "CI", "issuer_url": self.issuer.url, "audience": "imgsrv",
            "forwarded_claims": ["repository"], "condition": "claims.repository != ''", "enabled": enabled,
            "assign_role_ids": [role], "images": templates,
        });
        let url = format!("/v1/auth/oidc-provisioning-rules/{id}");
        let updated = self.nodes[0].manage("PUT", &url, Some(rule.clone())).await;
        if updated.status == 404 {
            let made = self.nodes[0].manage("POST", "/v1/auth/oidc-provisioning-rules", Some(rule)).await;
            assert_eq!(made.status, 201, "{made:?}");
        }
    }

    /// The bytes of that number.
    fn content(&self, number: usize) -> Vec<u8> {
        format!("{} {number}", self.prefix).into_bytes()
    }

    /// Opens an upload; one that is refused or `ready` is not continued.
    async fn upload(&self, bearer: &str, node: &TestServer, content: usize, size: Option<usize>) -> u16 {
        let bytes = self.content(content);
        let body = json!({"expected_digest": digest(&bytes), "expected_size_bytes": size.unwrap_or(bytes.len())});
        let opened = node.call(Some(bearer), "POST", "/v1/uploads", Some(body)).await;
        let session = opened.json();
        if opened.status != 201 || session["state"] == "ready" {
            return opened.status.as_u16();
        }
        let url = format!("/v1/uploads/{}", session["id"].as_str().expect("an id"));
        if size.is_some() {
            assert_eq!(node.call(Some(bearer), "POST", &format!("{url}/abort"), None).await.status, 200);
            return 201;
        }
        let size = bytes.len();
        let part = Request::builder().method("PUT").uri(format!("{url}/parts/1"));
        let part = part.header("authorization", format!("Bearer {bearer}")).body(Body::from(bytes));
        let part = node.send(part.expect("a request")).await;
        assert_eq!(part.status, 200, "{part:?}");
        let parts = json!({"parts": [{"number": 1, "etag": part.json()["etag"], "size_bytes": size}]});
        let completed = node.call(Some(bearer), "POST", &format!("{url}/complete"), Some(parts)).await;
        assert!(completed.status.is_success(), "{completed:?}");
        node.settle().await;
        201
    }

    async fn make_link(&mut self, bearer: &str, node: &TestServer) -> u16 {
        let url = format!("{}/links", self.artifact);
        let made = node.call(Some(bearer), "POST", &url, Some(json!({"ttl": "1h"}))).await;
        if made.status == 201 {
            let url = made.json()["url"].as_str().expect("a URL").to_owned();
            self.links.push(format!("/f/{}", url.split_once("/f/").expect("the path of a link").1));
        }
        made.status.as_u16()
    }

    /// Follows a link without the bytes, which only the node has that received them.
    async fn follow(&self, node: usize, path: &str) -> StatusCode {
        let request = Request::get(path).header("host", "images.test").header("if-none-match", "*");
        let response =
            self.nodes[node % self.nodes.len()].respond(request.body(Body::empty()).expect("a request")).await;
        if response.status() == StatusCode::NOT_MODIFIED { StatusCode::OK } else { response.status() }
    }

    async fn ask(&mut self, bearer: &str, node: usize, what: Asked, name: &str) -> u16 {
        let node = &self.nodes[node % self.nodes.len()];
        let image = format!("/v1/images/{name}");
        let (method, path, body) = match what {
            Asked::Send(content) => return self.upload(bearer, node, content, None).await,
            Asked::Use(content) => return self.upload(bearer, node, content, Some(1)).await,
            Asked::Link => return self.make_link(bearer, node).await,
            Asked::Read => ("GET", image, None),
            Asked::Create => ("POST", "/v1/images".to_owned(), Some(json!({"name": name}))),
            Asked::Change => ("PATCH", image, Some(json!({"description": "x"}))),
            Asked::Retire => (
                "PUT",
                format!("{image}/retention"),
                Some(json!({"keep": {"newest": 3}, "action": "remove", "enabled": false})),
            ),
            Asked::Delete => ("DELETE", image, None),
        };
        node.call(Some(bearer), method, &path, body).await.status.as_u16()
    }
}

/// A step in both. The model's answer is the server's.
pub(crate) async fn step(model: &mut Model, real: &mut Real<'_>, step: &Step) {
    let rule_id = format!("{}-rule", real.prefix);
    let manage = async |method: &str, path: String, body: Option<Value>| {
        let done = real.nodes[real.nodes.len() - 1].manage(method, &path, body).await;
        assert!(done.status.is_success(), "{path} {done:?}");
        done
    };
    match step {
        Step::Grant { principal, role, patterns } => {
            let patterns = patterns.as_ref().map(|patterns| model.texts(patterns));
            let path = format!("/v1/auth/principals/{}/roles/{}", real.principals[*principal], ROLES[*role]);
            manage("PUT", path, patterns.as_ref().map(|patterns| json!({"images": patterns}))).await;
            let has = model.by_hand.entry((*principal, *role));
            match patterns {
                Some(patterns) => *has.or_default() = patterns,
                // The images of a role that it has stay as they are; a rule that limits its images leaves none.
                None => {
                    has.or_insert_with(|| match model.by_rule.get(&(*principal, *role)) {
                        Some(true) => Vec::new(),
                        Some(false) | None => vec!["*".to_owned()],
                    });
                }
            }
        }
        Step::Revoke { principal, role } => {
            let path = format!("/v1/auth/principals/{}/roles/{}", real.principals[*principal], ROLES[*role]);
            manage("DELETE", path, None).await;
            model.by_hand.remove(&(*principal, *role));
            model.by_rule.remove(&(*principal, *role));
            model.granted.entry((*principal, *role)).and_modify(|granted| *granted = Granted::Ended);
        }
        Step::Issue { principal, roles, patterns } => {
            let mut body = json!({"expires_at": "2099-01-01T00:00:00Z"});
            if let Some(roles) = roles {
                body["role_ids"] = roles.iter().map(|role| ROLES[*role]).collect();
            }
            let patterns = patterns.as_ref().map(|patterns| model.texts(patterns));
            if let Some(patterns) = &patterns {
                body["images"] = json!(patterns);
            }
            let path = format!("/v1/auth/principals/{}/api-tokens", real.principals[*principal]);
            let issued = manage("POST", path, Some(body)).await.json();
            let text = |name: &str| issued[name].as_str().expect("a text").to_owned();
            real.tokens.push((text("plaintext"), text("id")));
            model.tokens.push(Token {
                principal: *principal,
                roles: roles.as_ref().map(|roles| roles.iter().copied().collect()),
                patterns: patterns.unwrap_or_else(|| vec!["*".to_owned()]),
                is_live: true,
            });
        }
        Step::End { token } => {
            if let Some((_, id)) = real.tokens.get(*token) {
                manage("DELETE", format!("/v1/auth/api-tokens/{id}"), None).await;
                model.tokens[*token].is_live = false;
            }
        }
        Step::Save { writes, templates, enabled } => {
            let role = usize::from(*writes);
            let templates: Vec<_> = templates.iter().map(|at| model.text(TEMPLATES[*at])).collect();
            real.save(&rule_id, ROLES[role], &templates, *enabled).await;
            let rule = Rule { role, templates, is_enabled: *enabled };
            if rule.is_limited() {
                let is_live = |held: &(usize, usize)| model.granted.get(held) == Some(&Granted::Live);
                model.by_rule.iter_mut().filter(|(held, _)| is_live(held)).for_each(|(_, limited)| *limited = true);
            }
            model.rule = Some(rule);
        }
        Step::Reconcile => {
            if model.rule.is_some() {
                let path = format!("/v1/auth/oidc-provisioning-rules/{rule_id}/reconciliation");
                manage("POST", path, None).await;
                model.granted.values_mut().for_each(|granted| *granted = Granted::Ended);
                model.by_rule.clear();
            }
        }
        Step::Hide(is_private) => {
            let visibility = if *is_private { "private" } else { "public" };
            let admin = real.nodes[0].token_with("content-admin").await;
            let (url, body) = (format!("/v1/images/{}", model.name(GIVEN[0])), json!({"visibility": visibility}));
            let changed = real.nodes[0].call(Some(&admin), "PATCH", &url, Some(body)).await;
            assert_eq!(changed.status, 200, "{changed:?}");
            model.is_private = *is_private;
        }
        Step::Follow { link, node } => {
            if let Some(path) = real.links.get(*link) {
                assert_eq!(real.follow(*node, path).await, model.follow(*link), "link {link}");
            }
        }
        Step::Request { by, what, image, node } => {
            let bearer = match real.tokens.get(*by) {
                Some((token, _)) => token.clone(),
                None => real.repository(by % REPOSITORIES.len()),
            };
            let actual = real.ask(&bearer, *node, *what, &model.name(*image)).await;
            assert_eq!(actual, model.request(*by, *what, *image), "{what:?} {}", model.name(*image));
        }
    }
}
