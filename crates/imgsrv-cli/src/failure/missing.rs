//! Which command lists what does not exist.

/// Advice about a 404 whose detail says what does not exist.
pub(super) fn advice(detail: &str) -> Option<String> {
    let words: Vec<&str> = detail.split(' ').collect();
    let image_of = |name: &str| name.split('/').next().unwrap_or(name).to_owned();
    Some(match words.as_slice() {
        ["image", image, "has", "no", "retention", ..] => {
            format!("imgsrv retention set {image} sets one; see imgsrv retention set --help.")
        }
        ["image", image, "has", "no", ..] => {
            format!("imgsrv versions list {image} and imgsrv aliases list {image} show what it has.")
        }
        ["image", ..] => "imgsrv images list shows the images.".to_owned(),
        ["version", version, ..] => {
            format!("imgsrv versions list {} shows the versions of the image.", image_of(version))
        }
        ["alias", alias, ..] => format!("imgsrv aliases list {} shows the aliases of the image.", image_of(alias)),
        ["publish", "job", ..] => "imgsrv jobs list --all shows all jobs.".to_owned(),
        ["principal", ..] => "imgsrv auth principals list shows the principals.".to_owned(),
        ["API", "token", ..] => "imgsrv auth tokens list NAME shows the tokens of a principal.".to_owned(),
        ["provisioning", "rule", ..] => "imgsrv auth rules list shows the rules.".to_owned(),
        ["digest", _, "is", "not", "blocked"] => {
            "imgsrv blocked-digests list shows the digests that are blocked.".to_owned()
        }
        ["blob", ..] => "imgsrv versions show shows the digests of a version.".to_owned(),
        _ => return None,
    })
}
