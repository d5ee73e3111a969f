//! What the decisions about access must be.

use crate::{GIVEN, IMAGES, PATTERNS, REPOSITORIES, ROLES, Request};
use std::collections::{BTreeMap, BTreeSet};

/// What `pattern` means.
pub(crate) fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some((b'*', rest)) => (0..=name.len()).any(|at| matches(rest, &name[at..])),
        Some((first, rest)) => name.first() == Some(first) && matches(rest, &name[1..]),
    }
}

pub(crate) fn any_matches(patterns: &[String], name: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern.as_bytes(), name.as_bytes()))
}

/// Whether every name that matches one of `others` matches one of `patterns`, as far as their texts tell.
fn contain(patterns: &[String], others: &[String]) -> bool {
    others.iter().all(|other| any_matches(patterns, other))
}

/// Whether a role allows an action: `read`, `write` or `retire`.
pub(crate) fn allows(role: usize, action: &str) -> bool {
    match ROLES[role] {
        "content-reader" => action == "read",
        "content-writer" => action != "retire",
        _ => true,
    }
}

pub(crate) struct Token {
    pub(crate) principal: usize,
    pub(crate) roles: Option<BTreeSet<usize>>,
    pub(crate) patterns: Vec<String>,
    pub(crate) is_live: bool,
}

pub(crate) struct Rule {
    pub(crate) role: usize,
    pub(crate) templates: Vec<String>,
    pub(crate) is_enabled: bool,
}

impl Rule {
    pub(crate) fn is_limited(&self) -> bool {
        !self.templates.iter().any(|template| template == "*")
    }
}

/// Who has made a link.
pub(crate) enum Maker {
    Token(usize),
    Repository(usize),
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Granted {
    Live,
    Ended,
}

pub(crate) struct Model {
    pub(crate) prefix: String,
    /// Patterns by principal and role, of what was granted by hand.
    pub(crate) by_hand: BTreeMap<(usize, usize), Vec<String>>,
    pub(crate) tokens: Vec<Token>,
    pub(crate) rule: Option<Rule>,
    /// What the rule has granted, by principal and role.
    pub(crate) granted: BTreeMap<(usize, usize), Granted>,
    /// Roles that principals have through the rule, and whether the rule limited its images since.
    pub(crate) by_rule: BTreeMap<(usize, usize), bool>,
    /// Images that exist, and the repository to which they are bound.
    pub(crate) images: BTreeMap<usize, Option<usize>>,
    pub(crate) published: BTreeSet<usize>,
    /// Whether the published image is private.
    pub(crate) is_private: bool,
    /// Bytes, by the principal that has sent them and the images that its token leaves.
    sent: Vec<(usize, usize, Vec<String>)>,
    pub(crate) links: Vec<Maker>,
}

/// What a caller may do.
pub(crate) struct Caller {
    pub(crate) principal: usize,
    /// Patterns by role.
    roles: Vec<(usize, Vec<String>)>,
    /// Patterns that are expanded for a repository, and their role.
    claimed: Option<(usize, Vec<String>)>,
    /// Roles and patterns that the token leaves.
    narrowed: (Option<BTreeSet<usize>>, Vec<String>),
}

impl Model {
    pub(crate) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
            by_hand: BTreeMap::new(),
            tokens: Vec::new(),
            rule: None,
            granted: BTreeMap::new(),
            by_rule: BTreeMap::new(),
            images: GIVEN.into_iter().map(|image| (image, None)).collect(),
            published: BTreeSet::from([GIVEN[0]]),
            is_private: false,
            sent: Vec::new(),
            links: Vec::new(),
        }
    }

    pub(crate) fn text(&self, raw: &str) -> String {
        raw.replace('@', &self.prefix)
    }

    pub(crate) fn texts(&self, at: &[usize]) -> Vec<String> {
        at.iter().map(|at| self.text(PATTERNS[*at])).collect()
    }

    pub(crate) fn name(&self, image: usize) -> String {
        self.text(IMAGES[image])
    }

    fn expanded(&self, template: &str, repository: usize) -> String {
        let repository = self.text(REPOSITORIES[repository]).replace('/', "-");
        template.replace("{claims.repository}", &repository)
    }

    /// The caller of a request, or the status that it gets at once.
    fn caller(&mut self, by: usize) -> Result<Caller, u16> {
        if let Some(token) = self.tokens.get(by) {
            if !token.is_live {
                return Err(401);
            }
            return Ok(self.bearer(token));
        }
        let repository = by % REPOSITORIES.len();
        let principal = 2 + repository;
        let rule = match &self.rule {
            None => return Err(401),
            Some(rule) if !rule.is_enabled => return Err(403),
            Some(rule) => rule,
        };
        let granted = *self.granted.entry((principal, rule.role)).or_insert(Granted::Live);
        if granted == Granted::Ended && !self.by_hand.contains_key(&(principal, rule.role)) {
            return Err(403);
        }
        if granted == Granted::Live {
            self.by_rule.entry((principal, rule.role)).or_insert_with(|| rule.is_limited());
        }
        let mut roles = self.roles(principal);
        let mut claimed = None;
        if granted == Granted::Live {
            let is_plain = |template: &&String| !template.contains('{');
            // One pattern for every image makes the others superfluous.
            let is_every = !rule.is_limited();
            roles.push((rule.role, rule.templates.iter().filter(is_plain).cloned().collect()));
            let expanded = rule.templates.iter().filter(|template| !is_plain(template) && !is_every);
            let expanded = expanded.map(|template| self.expanded(template, repository));
            claimed = Some((rule.role, expanded.collect()));
        }
        Ok(Caller { principal, roles, claimed, narrowed: (None, vec!["*".to_owned()]) })
    }

    /// The roles that a principal has by hand.
    fn roles(&self, principal: usize) -> Vec<(usize, Vec<String>)> {
        let own = self.by_hand.iter().filter(|((owner, _), _)| *owner == principal);
        own.map(|((_, role), patterns)| (*role, patterns.clone())).collect()
    }

    fn bearer(&self, token: &Token) -> Caller {
        let narrowed = (token.roles.clone(), token.patterns.clone());
        Caller { principal: token.principal, roles: self.roles(token.principal), claimed: None, narrowed }
    }

    /// Whether a caller may write to every image.
    fn writes_everywhere(caller: &Caller) -> bool {
        let (left, patterns) = &caller.narrowed;
        let is_every = |patterns: &[String]| patterns.iter().any(|pattern| pattern == "*");
        left.as_ref().is_none_or(|roles| roles.iter().any(|role| allows(*role, "write")))
            && is_every(patterns)
            && caller.roles.iter().any(|(role, own)| allows(*role, "write") && is_every(own))
    }

    /// Whether a caller may use bytes by their digest.
    fn may_use(&self, caller: &Caller, content: usize) -> bool {
        let is_own = |(sent, principal, patterns): &(usize, usize, Vec<String>)| {
            *sent == content && *principal == caller.principal && contain(&caller.narrowed.1, patterns)
        };
        let is_stored = self.sent.iter().any(|(sent, ..)| *sent == content);
        self.sent.iter().any(is_own) || (is_stored && Self::writes_everywhere(caller))
    }

    /// The status of a download by a link.
    pub(crate) fn follow(&self, link: usize) -> u16 {
        let maker = match self.links[link] {
            Maker::Token(token) => {
                Some(&self.tokens[token]).filter(|token| token.is_live).map(|token| self.bearer(token))
            }
            Maker::Repository(principal) => self
                .rule
                .as_ref()
                .filter(|rule| rule.is_enabled && self.granted.get(&(principal, rule.role)) == Some(&Granted::Live))
                .map(|rule| {
                    let mut roles = self.roles(principal);
                    let any_value = |template: &String| template.replace("{claims.repository}", "*");
                    roles.push((rule.role, rule.templates.iter().map(any_value).collect()));
                    Caller { principal, roles, claimed: None, narrowed: (None, vec!["*".to_owned()]) }
                }),
        };
        if maker.is_some_and(|maker| self.may_read(&maker, GIVEN[0])) { 200 } else { 404 }
    }

    /// Whether a caller may do something to an image that exists, or would if it was created.
    fn may(&self, caller: &Caller, action: &str, image: usize) -> bool {
        let name = self.name(image);
        let (roles, patterns) = &caller.narrowed;
        let is_left = roles.as_ref().is_none_or(|roles| roles.iter().any(|role| allows(*role, action)));
        let granted = caller.roles.iter().any(|(role, own)| allows(*role, action) && any_matches(own, &name));
        is_left && any_matches(patterns, &name) && (granted || self.reaches(caller, action, image))
    }

    /// Whether a caller reaches an image by its claims.
    fn reaches(&self, caller: &Caller, action: &str, image: usize) -> bool {
        let Some((role, patterns)) = &caller.claimed else { return false };
        let is_own =
            self.images.get(&image).is_none_or(|bound| bound.is_none_or(|owner| owner + 2 == caller.principal));
        allows(*role, action) && is_own && any_matches(patterns, &self.name(image))
    }

    /// Whether there is any name of an image on which a caller may do something.
    fn may_anywhere(&self, caller: &Caller, action: &str) -> bool {
        let (roles, left) = &caller.narrowed;
        let is_left = roles.as_ref().is_none_or(|roles| roles.iter().any(|role| allows(*role, action)));
        // The patterns have names in common if one of these matches both.
        let prefix = &self.prefix;
        let names = ["debian-13", "debian-1", "b-c-1", "b-c-2", "tools", "tools-1", "b-c", "b-c-d", "b-c-d-1"];
        let names: Vec<_> = names.iter().map(|name| format!("{prefix}-{name}")).collect();
        let claimed = caller.claimed.iter().map(|(role, patterns)| (role, patterns));
        let mut granted = caller.roles.iter().map(|(role, own)| (role, own)).chain(claimed);
        is_left
            && granted.any(|(role, own)| {
                allows(*role, action) && names.iter().any(|name| any_matches(own, name) && any_matches(left, name))
            })
    }

    /// Whether a caller sees an image that exists.
    fn may_read(&self, caller: &Caller, image: usize) -> bool {
        let is_shown = self.published.contains(&image) && (!self.is_private || self.may(caller, "read", image));
        is_shown || self.may(caller, "write", image)
    }

    /// The status of a request, and what it changes.
    pub(crate) fn request(&mut self, by: usize, what: Request, image: usize) -> u16 {
        let caller = match self.caller(by) {
            Ok(caller) => caller,
            Err(status) => return status,
        };
        let exists = self.images.contains_key(&image);
        match what {
            Request::Read => {
                if exists && self.may_read(&caller, image) {
                    200
                } else {
                    404
                }
            }
            Request::Create => {
                if !self.may(&caller, "write", image) {
                    return 403;
                }
                if exists {
                    return 409;
                }
                let own: Vec<_> = caller.roles.iter().filter(|(role, _)| allows(*role, "write")).collect();
                let is_plain = own.iter().any(|(_, patterns)| any_matches(patterns, &self.name(image)));
                self.images.insert(image, (!is_plain).then(|| caller.principal - 2));
                201
            }
            Request::Send(content) => {
                if !self.may_anywhere(&caller, "write") {
                    return 403;
                }
                if self.may_use(&caller, content) {
                    return 200;
                }
                self.sent.push((content, caller.principal, caller.narrowed.1));
                201
            }
            // With a wrong size.
            Request::Use(content) => {
                if !self.may_anywhere(&caller, "write") {
                    403
                } else if self.may_use(&caller, content) {
                    409
                } else {
                    201
                }
            }
            Request::Link => {
                let image = GIVEN[0];
                if !self.may_anywhere(&caller, "write") {
                    return 403;
                }
                if !self.may(&caller, "write", image) {
                    return if self.may_read(&caller, image) { 403 } else { 404 };
                }
                let is_token = by < self.tokens.len();
                self.links.push(if is_token { Maker::Token(by) } else { Maker::Repository(caller.principal) });
                201
            }
            Request::Change | Request::Retire | Request::Delete => {
                let action = if matches!(what, Request::Retire) { "retire" } else { "write" };
                if !self.may_anywhere(&caller, action) {
                    return 403;
                }
                if !self.may(&caller, action, image) {
                    return if exists && self.may_read(&caller, image) { 403 } else { 404 };
                }
                match what {
                    _ if !exists => 404,
                    Request::Delete if self.published.contains(&image) => 412,
                    Request::Delete => {
                        self.images.remove(&image);
                        204
                    }
                    _ => 200,
                }
            }
        }
    }
}
