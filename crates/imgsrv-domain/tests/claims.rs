//! Patterns of provisioning rules that name claims: different values never reach each other's images.

use imgsrv_domain::{
    access::{Action, Claimed, Grants, Rights, Role, Target},
    claims::{Binding, ClaimValues, ImageTemplate, RuleImages},
    names::{ImageName, RuleId},
    oidc::{ForwardedClaims, ProvisioningRule, RuleTerms},
    time::Timestamp,
    transition::Revision,
};
use proptest::prelude::*;

fn rule(id: &str, patterns: &[&str]) -> ProvisioningRule {
    let patterns = patterns.iter().map(|raw| raw.parse().expect("a template"));
    ProvisioningRule {
        id: id.parse().expect("an id"),
        terms: RuleTerms {
            display_name: "CI".parse().expect("a text"),
            issuer: "https://issuer.example".parse().expect("an issuer"),
            audience: "imgsrv".parse().expect("an audience"),
            forwarded_claims: ForwardedClaims::new(["repository".parse().expect("a claim")]).expect("few"),
            condition: "true".parse().expect("a condition"),
            role: Role::ContentWriter,
            images: RuleImages::matching(patterns).expect("patterns"),
            enabled: true,
        },
        created_at: Timestamp::from_micros(0),
        updated_at: Timestamp::from_micros(0),
        revision: Revision::FIRST,
    }
}

fn values(repository: &str) -> ClaimValues {
    ClaimValues::new([("repository", repository)])
}

fn name(raw: &str) -> ImageName {
    raw.parse().expect("a name")
}

fn expanded(template: &str, claims: &[(&str, &str)]) -> Option<String> {
    let template: ImageTemplate = template.parse().expect("a template");
    template.expand(&ClaimValues::new(claims.iter().copied()))
}

#[test]
fn templates_expand_to_names_without_wildcards() {
    let of = |repository: &str| expanded("{claims.repository}-*", &[("repository", repository)]);
    for (repository, expected) in [
        ("acme/images", "acme-images-*"),
        ("Acme/Images_1.2", "acme-images_1.2-*"),
        ("a*b", "a-b-*"),
        ("*", "--*"),
        ("{claims.repository}", "-claims.repository--*"),
        ("é\u{212a}", "---*"),
    ] {
        assert_eq!(of(repository).as_deref(), Some(expected), "{repository:?}");
    }
    for nothing in ["", "a\0b", "a\nb", "a\u{202e}b", &"a".repeat(257)] {
        assert_eq!(of(nothing), None, "{nothing:?}");
    }
    assert_eq!(expanded("{claims.repository}-*", &[("Repository", "a")]), None);
    assert_eq!(expanded("x-{claims.a}{claims.b:c/d}*", &[("a", "1"), ("b:c/d", "2")]).as_deref(), Some("x-12*"));
    for bad in [
        "",
        "A",
        "{",
        "}",
        "{}",
        "{claims.}",
        "{claims.a",
        "claims.a}",
        "{claim.a}",
        "{claims.a b}",
        "{claims.{a}}",
        "a b",
        "{{claims.a}}",
        &"a".repeat(257),
        &format!("{{claims.{}}}", "a".repeat(250)),
    ] {
        assert!(bad.parse::<ImageTemplate>().is_err(), "{bad:?}");
    }
    // A value that leaves no valid pattern grants nothing.
    assert_eq!(Claimed::new(&rule("ci", &["{claims.repository}-*"]), values(&"a".repeat(128))), None);
    assert_eq!(Claimed::new(&rule("ci", &["plain-*"]), values("a")), None);
}

#[test]
fn a_new_image_is_bound_to_every_claim_that_its_name_may_come_from() {
    let rule = rule("ci", &["{claims.owner}-*", "{claims.owner}-shared", "{claims.repository}-*", "literal"]);
    let values = ClaimValues::new([("owner", "acme"), ("repository", "acme/app"), ("ref", "main")]);
    let claimed = Claimed::new(&rule, values).expect("patterns");
    let claims = |image: &str| {
        let bound = claimed.bind(&name(image))?;
        Some(bound.claims.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" "))
    };
    assert_eq!(claims("acme-shared").as_deref(), Some("owner=acme"));
    assert_eq!(claims("acme-app-1").as_deref(), Some("owner=acme repository=acme/app"));
    assert_eq!(claims("literal"), None);
    let bound = claimed.bind(&name("acme-app-1"));
    let other = Claimed::new(&rule, ClaimValues::new([("owner", "acme"), ("repository", "acme-app")]));
    let other = other.expect("patterns");
    assert!(
        claimed.reaches(&name("acme-app-1"), bound.as_ref()) && !other.reaches(&name("acme-app-1"), bound.as_ref())
    );
    assert!(other.reaches(&name("acme-app-1"), None), "an image that no rule created has no owner");
}

/// Repositories, among them many that look alike in image names, or begin with the name of another.
fn repository() -> impl Strategy<Value = String> {
    "[aA*]?[a/._*-]{1,3}[abé]?"
}

proptest! {
    #[test]
    fn a_value_is_never_a_wildcard(repository in "\\PC{1,20}") {
        let text = expanded("{claims.repository}", &[("repository", &repository)]);
        prop_assert!(text.is_none_or(|text| !text.contains('*')));
    }

    #[test]
    fn different_values_never_reach_each_others_images(
        own in repository(),
        other in repository(),
        image in "[a-b][ab._-]{0,4}",
        other_rule in any::<bool>(),
    ) {
        let patterns = ["{claims.repository}*", "a{claims.repository}", "*{claims.repository}*"];
        let (image, owner) = (name(&image), Claimed::new(&rule("ci", &patterns), values(&own)));
        let id = if other_rule { "other" } else { "ci" };
        let intruder = Claimed::new(&rule(id, &patterns), values(&other));
        let (Some(owner), Some(intruder)) = (owner, intruder) else { return Ok(()) };
        let Some(bound) = owner.bind(&image) else { return Ok(()) };
        let reaches = |claimed: &Claimed, bound: Option<&Binding>| claimed.reaches(&image, bound);
        prop_assert!(reaches(&owner, Some(&bound)));
        let is_owner = own == other && !other_rule;
        prop_assert_eq!(reaches(&intruder, Some(&bound)), is_owner);
        let rights = |claimed: Claimed| Rights {
            claimed: Some(claimed.among([(image.clone(), Some(bound.clone()))])),
            ..Rights::of(Grants::default())
        };
        for action in [Action::ContentRead, Action::ContentWrite, Action::ContentRetire] {
            let allowed = rights(intruder.clone()).allow(action, Target::Image(&image));
            prop_assert_eq!(allowed, is_owner && action != Action::ContentRetire);
            prop_assert!(!rights(intruder.clone()).allow(action, Target::Everything));
        }
        let scopes = rights(intruder).images(Action::ContentWrite);
        prop_assert_eq!(scopes.iter().all(|scope| scope.covers(&image)), is_owner);
    }
}

#[test]
fn ids_of_rules_tell_bindings_apart() {
    let claimed = Claimed::new(&rule("ci", &["{claims.repository}-*"]), values("acme/app")).expect("a pattern");
    let image = name("acme-app-1");
    let bound = claimed.bind(&image).expect("a binding");
    assert_eq!(
        (bound.rule.clone(), bound.claims.clone()),
        ("ci".parse::<RuleId>().expect("an id"), values("acme/app"))
    );
    let moved = Binding { rule: "other".parse().expect("an id"), ..bound };
    assert!(!claimed.reaches(&image, Some(&moved)));
}
