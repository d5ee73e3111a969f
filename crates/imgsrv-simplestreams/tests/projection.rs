//! For any catalog, a client finds in the projection exactly what the catalog contains.

use imgsrv_domain::{
    digest::{BlobClaim, ByteSize, Digest},
    inspection::IncusProperties,
    names::AliasName,
    time::Timestamp,
};
use imgsrv_simplestreams::{
    Aliases, Deprecation, EncodedProducts, File, ImageKind, Images, IncusArchitecture, Listed, Pieces, Product,
    Products, Root, index, index_pieces, is_ambiguous, products, products_pieces, project,
};
use proptest::{prelude::*, sample::select};
use std::collections::{BTreeSet, HashMap, HashSet};

/// 2026-01-02T03:04:05Z.
const SOME_DAY: i64 = 1_767_323_045_000_000;

fn claim(seed: &str, number: u8) -> BlobClaim {
    let mut bytes = [number; 32];
    bytes[..seed.len()].copy_from_slice(seed.as_bytes());
    BlobClaim { digest: Digest::new(bytes), size: ByteSize::try_from(i64::from(number)).expect("a size") }
}

/// An artifact; the same metadata and root have the same fingerprint, and are of one kind and architecture, as their
/// metadata says.
fn listed(image: &str, version: &str, platform: (&str, &str, &str), root: Root, bytes: (u8, u8), age: i64) -> Listed {
    let (os, architecture, variant) = platform;
    let (metadata, root_bytes) = bytes;
    let extension = match root {
        Root::Disk => "qcow2",
        Root::Squashfs => "squashfs",
        Root::Tarball => "root.tar.xz",
        Root::Unified(ImageKind::Container) => "tar.gz",
        Root::Unified(ImageKind::VirtualMachine) => "tar.xz",
    };
    let file = format!("{image}-{version}-{architecture}-{variant}.{extension}");
    let metadata = (!matches!(root, Root::Unified(_))).then(|| claim(&format!("m{architecture}"), metadata));
    // A unified image has the architecture in itself.
    let seed = if metadata.is_some() { extension.to_owned() } else { format!("{extension}{architecture}") };
    let root_claim = claim(&seed, root_bytes);
    let mut fingerprint = *metadata.unwrap_or(root_claim).digest.bytes();
    if metadata.is_some() {
        fingerprint
            .iter_mut()
            .zip(root_claim.digest.bytes())
            .for_each(|(one, other)| *one = one.wrapping_mul(31) ^ other);
    }
    Listed {
        image: image.parse().expect("a name"),
        title: None,
        version: version.parse().expect("a name"),
        published_at: Timestamp::from_micros(SOME_DAY + age * 1_000_000),
        operating_system: os.parse().expect("a name"),
        architecture: architecture.parse().expect("an architecture"),
        variant: variant.parse().expect("a name"),
        root,
        metadata: metadata.map(|claim| File { name: format!("{file}.incus.tar.xz"), claim }),
        root_file: File { name: file, claim: root_claim },
        fingerprint: Digest::new(fingerprint),
        properties: IncusProperties::default(),
        expires_at: None,
        deprecation: None,
    }
}

/// The document that consists of these pieces.
fn joined(pieces: Pieces<'_>) -> String {
    let entries: Vec<String> = pieces.entries.map(|entry| entry.json()).collect();
    [pieces.head, entries.join(","), pieces.tail.to_owned()].concat()
}

fn any_listed() -> impl Strategy<Value = Listed> {
    let names = (select(vec!["deb", "deb-cloud", "alp"]), select(vec!["1", "2", "10", "1:amd64", "cloud", "arm64"]));
    let platform = (
        select(vec!["debian", "alpine"]),
        select(vec!["amd64", "x86_64", "arm64", "riscv64"]),
        select(vec!["default", "cloud", "amd64", "container"]),
    );
    let unified = [ImageKind::Container, ImageKind::VirtualMachine].map(Root::Unified);
    let root = select([&[Root::Disk, Root::Squashfs, Root::Tarball], unified.as_slice()].concat());
    (names, platform, root, (0_u8..3, 0_u8..4), 0_i64..3).prop_map(|((image, version), platform, root, bytes, age)| {
        // An architecture has one name in metadata.
        let platform = if platform.1 == "x86_64" { (platform.0, "amd64", platform.2) } else { platform };
        listed(image, version, platform, root, bytes, age)
    })
}

fn any_aliases() -> impl Strategy<Value = Aliases> {
    let one =
        (select(vec!["deb", "deb-cloud", "alp"]), select(vec!["latest", "stable", "next", "riscv64"]), 0_usize..6);
    prop::collection::vec(one, 0..12).prop_map(|moves| {
        // An alias points to one version.
        let last: HashMap<_, _> = moves.into_iter().map(|(image, alias, at)| ((image, alias), at)).collect();
        let mut aliases = Aliases::new();
        for ((image, alias), at) in last {
            let version = ["1", "2", "10", "1:amd64", "cloud", "arm64"][at];
            let on = (image.parse().expect("a name"), version.parse().expect("a name"));
            aliases.entry(on).or_default().insert(alias.parse().expect("a name"));
        }
        aliases
    })
}

/// All artifacts of a version are published at the same time.
fn consistent(mut all: Vec<Listed>) -> Vec<Listed> {
    let mut times = HashMap::new();
    for one in &mut all {
        let key = (one.image.clone(), one.version.clone());
        one.published_at = *times.entry(key).or_insert(one.published_at);
    }
    all
}

fn seen(all: &[Listed], aliases: &Aliases) -> (Products, Images) {
    let document = products(project(all, aliases));
    let images = Images::of([&document]);
    (document, images)
}

/// What a virtual machine of amd64 with that name is, as image, version and variant.
fn machine(images: &Images, name: &str) -> Option<String> {
    let found = images.find(name, ImageKind::VirtualMachine, "amd64".parse().expect("an architecture"))?;
    let image = found.root.path.split('/').nth(1).unwrap_or_default();
    Some(format!("{image} {} {}", found.release, found.variant))
}

#[test]
fn a_product_is_deprecated_if_all_versions_with_its_bytes_are() {
    let one = |version, bytes| listed("deb", version, ("debian", "amd64", "default"), Root::Disk, (1, bytes), 0);
    let deprecated = |one: Listed| {
        let end_of_life = Some("2027-06-30".parse().expect("a day"));
        Listed { deprecation: Some(Deprecation { end_of_life }), ..one }
    };
    let shown = |all: &[Listed]| {
        let products = project(all, &Aliases::new()).into_values();
        products.map(|product| (product.release_title, product.support_eol)).collect::<Vec<_>>()
    };
    let marked = ("1 (deprecated)".to_owned(), Some("2027-06-30".to_owned()));
    assert_eq!(shown(&[deprecated(one("1", 1)), one("2", 2)]), [marked.clone(), ("2".to_owned(), None)]);
    assert_eq!(shown(&[deprecated(one("1", 1)), one("2", 1)]), [("1".to_owned(), None)], "the same bytes");
    assert_eq!(shown(&[deprecated(one("1", 1)), deprecated(one("2", 1))]), [marked]);
    let expires_at = Some(Timestamp::from_micros(1_900_000_000_000_000));
    let expiring = Listed { expires_at, deprecation: Some(Deprecation { end_of_life: None }), ..one("1", 1) };
    assert_eq!(shown(&[expiring]), [("1 (deprecated)".to_owned(), Some("2030-03-17".to_owned()))]);
}

#[test]
fn the_name_of_an_image_alone_refers_to_its_latest_version() {
    let one = |version, variant, bytes| listed("deb", version, ("debian", "amd64", variant), Root::Disk, (1, bytes), 0);
    let mut all = vec![one("1", "default", 1), one("2", "default", 2), one("1", "cloud", 3), one("2", "cloud", 4)];
    let on = |version: &str, names: &[&str]| {
        let on = ("deb".parse().expect("a name"), version.parse().expect("a name"));
        (on, names.iter().map(|name| name.parse().expect("a name")).collect::<BTreeSet<AliasName>>())
    };
    let find = |all: &[Listed], aliases: &Aliases, name: &str| machine(&seen(all, aliases).1, name);
    let latest = |name| Some(format!("deb {name}"));
    let stable = Aliases::from([on("2", &["stable"])]);
    assert_eq!(find(&all, &stable, "deb"), None, "there is no latest");
    for version in ["1", "2"] {
        let aliases = Aliases::from([on(version, &["latest"])]);
        assert_eq!(find(&all, &aliases, "deb"), latest(format!("{version} default")));
        assert_eq!(find(&all, &aliases, "deb/amd64"), latest(format!("{version} default")));
        assert_eq!(find(&all, &aliases, "deb/cloud"), latest(format!("{version} cloud")));
        assert_eq!(find(&all, &aliases, "deb/cloud/amd64"), latest(format!("{version} cloud")));
    }
    // An alias or a version with the same name wins.
    let aliases = Aliases::from([on("2", &["latest"]), on("1", &["cloud"])]);
    assert_eq!(find(&all, &aliases, "deb"), latest("2 default".to_owned()));
    assert_eq!(find(&all, &aliases, "deb/cloud"), latest("1 default".to_owned()));
    let aliases = Aliases::from([on("2", &["latest"]), on("1", &["arm64"])]);
    assert_eq!(find(&all, &aliases, "deb"), None, "deb/arm64 would be ambiguous");
    all.push(one("cloud", "default", 5));
    let aliases = Aliases::from([on("2", &["latest"])]);
    assert_eq!(find(&all, &aliases, "deb/cloud"), latest("cloud default".to_owned()));
    assert_eq!(find(&all, &aliases, "deb"), latest("2 default".to_owned()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_name_refers_to_the_bytes_of_its_version(
        all in prop::collection::vec(any_listed(), 0..16).prop_map(consistent),
        aliases in any_aliases(),
    ) {
        let (_, images) = seen(&all, &aliases);
        for one in all.iter().filter(|one| !is_ambiguous(&one.variant)) {
            let on = aliases.get(&(one.image.clone(), one.version.clone()));
            let references = on.into_iter().flatten().map(AliasName::as_str).chain([one.version.as_str()]);
            for reference in references {
                let short = one.variant.is_default().then(|| format!("{}/{reference}", one.image));
                let names: Vec<_> = short.into_iter().chain([format!("{}/{reference}/{}", one.image, one.variant)]).collect();
                let alike = |other: &&Listed| {
                    (&other.image, &other.version, &other.variant, other.architecture, other.root.kind())
                        == (&one.image, &one.version, &one.variant, one.architecture, one.root.kind())
                };
                let allowed: HashSet<String> = all.iter().filter(alike).map(|other| other.fingerprint.hex()).collect();
                for name in names {
                    let found = images.find(&name, one.root.kind(), one.architecture);
                    let found = found.map(|image| image.fingerprint.clone());
                    prop_assert!(found.as_ref().is_some_and(|found| allowed.contains(found)), "{name} refers to {found:?}");
                }
                // The name of the image alone refers to the latest version, or to nothing.
                let bare = images.find(one.image.as_str(), one.root.kind(), one.architecture);
                if let Some(bare) = bare.filter(|_| reference == "latest" && one.variant.is_default()) {
                    prop_assert!(allowed.contains(&bare.fingerprint), "{} refers to {bare:?}", one.image);
                }
            }
        }
    }

    #[test]
    fn every_fingerprint_is_listed_once_and_is_one_of_the_catalog(
        all in prop::collection::vec(any_listed(), 0..16).prop_map(consistent),
        aliases in any_aliases(),
    ) {
        let (_, images) = seen(&all, &aliases);
        let mut fingerprints = HashSet::new();
        for image in images.iter() {
            prop_assert!(fingerprints.insert(image.fingerprint.clone()), "{} is listed twice", image.fingerprint);
            let is_it = |one: &&Listed| one.fingerprint.hex() == image.fingerprint;
            let one = all.iter().find(is_it).expect("a listed one");
            let metadata = one.metadata.as_ref().unwrap_or(&one.root_file);
            prop_assert_eq!(&image.metadata.sha256, &metadata.claim.digest.hex());
            prop_assert_eq!(&image.root.sha256, &one.root_file.claim.digest.hex());
            prop_assert_eq!(image.kind, one.root.kind());
            let are_one = image.metadata.path.rsplit('/').next() == image.root.path.rsplit('/').next();
            prop_assert_eq!(are_one, one.metadata.is_none());
        }
    }

    #[test]
    fn no_two_products_have_the_same_name(
        all in prop::collection::vec(any_listed(), 0..16).prop_map(consistent),
        aliases in any_aliases(),
    ) {
        let (document, images) = seen(&all, &aliases);
        let mut names = BTreeSet::new();
        for product in document.products.values() {
            let one = Products { products: [("it".to_owned(), product.clone())].into(), ..Products::default() };
            for image in Images::of([&one]).iter() {
                for name in product.aliases.split(',') {
                    prop_assert!(names.insert((name.to_owned(), image.kind, image.architecture)), "two products have {name}");
                }
            }
        }
        prop_assert!(images.iter().count() <= all.len());
    }

    #[test]
    fn the_order_of_the_catalog_does_not_matter(
        all in prop::collection::vec(any_listed(), 0..10).prop_map(consistent),
        aliases in any_aliases(),
        seed in any::<u64>(),
    ) {
        let mut shuffled = all.clone();
        for at in 1..shuffled.len() {
            let other = usize::try_from(seed.rotate_left(u32::try_from(at).expect("small")) % (at as u64 + 1)).expect("small");
            shuffled.swap(at, other);
        }
        prop_assert_eq!(project(&all, &aliases), project(&shuffled, &aliases));
    }

    #[test]
    fn serialized_documents_can_be_parsed(all in prop::collection::vec(any_listed(), 0..8), aliases in any_aliases()) {
        let document = products(project(&all, &aliases));
        let written = serde_json::to_vec(&document).expect("JSON");
        prop_assert_eq!(serde_json::from_slice::<Products>(&written).expect("a document"), document);
    }

    #[test]
    fn documents_in_pieces_are_the_serialized_ones(
        all in prop::collection::vec(any_listed(), 0..8),
        aliases in any_aliases(),
    ) {
        let projected = project(&all, &aliases);
        let encoded: EncodedProducts = projected
            .iter()
            .map(|(key, product)| (key.clone(), serde_json::to_string(product).expect("JSON").into()))
            .collect();
        let written = serde_json::to_string(&index(projected.keys().cloned())).expect("JSON");
        prop_assert_eq!(joined(index_pieces(&encoded)), written);
        let written = serde_json::to_string(&products(projected)).expect("JSON");
        prop_assert_eq!(joined(products_pieces(&encoded)), written);
    }

    #[test]
    fn parsing_arbitrary_bytes_does_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        let _ = serde_json::from_slice::<Products>(&bytes);
    }
}

#[test]
fn the_description_reads_like_that_of_the_official_server() {
    // Properties `os` and `release`, operating system, image, display name, version, and what clients show.
    for (os, release, system, image, title, version, shown) in [
        // With properties.
        ("Debian", "bookworm", "debian", "debian", "", "12.5.0", "Debian bookworm"),
        ("debian", "bookworm", "debian", "debian", "Debian 12", "12.5.0", "Debian bookworm"),
        ("Debian", "Debian 12", "debian", "debian", "", "12.5.0", "Debian 12"),
        ("Debian", "debian", "debian", "debian", "", "12.5.0", "Debian 12.5.0"),
        ("openSUSE", "Tumbleweed", "opensuse", "suse", "", "1", "openSUSE Tumbleweed"),
        ("linux", "bookworm", "debian", "debian", "", "1", "Debian bookworm"),
        ("", "noble", "ubuntu", "base", "", "24.04.1", "Ubuntu noble"),
        ("Alpine", "", "linux", "alp", "", "3.20", "Alpine 3.20"),
        ("Debian GNU/Linux", "Debian 12", "debian", "debian", "", "1", "Debian GNU/Linux 12"),
        // A release that repeats the version tells less than the display name.
        ("debian", "12.5.0", "debian", "debian", "Debian Bookworm", "12.5.0", "Debian Bookworm"),
        ("debian", "12.5.0", "debian", "debian", "", "12.5.0", "Debian 12.5.0"),
        // Without properties.
        ("", "", "debian", "debian", "", "12.5.0", "Debian 12.5.0"),
        ("", "", "almalinux", "alma", "", "9", "Almalinux 9"),
        ("", "", "Ubuntu", "noble", "Ubuntu 24.04 LTS", "3", "Ubuntu 24.04 LTS"),
        ("", "", "debian", "debian", "Debian", "12", "Debian 12"),
        ("", "", "debian", "debian", "debian: stable", "12", "Debian stable"),
        ("", "", "debian", "debian", "Debian - stable", "12", "Debian stable"),
        ("", "", "debian", "debian", "Debianish", "12", "Debian Debianish"),
        // Without a known operating system.
        ("", "", "linux", "web", "", "7", "Web 7"),
        ("", "", "linux", "web", "Web server", "7", "Web server 7"),
        ("", "", "unknown", "web", "web server", "7", "Web server 7"),
        ("Linux", "", "Linux", "debian", "", "12", "Debian 12"),
    ] {
        let mut one = listed(image, version, (system, "amd64", "default"), Root::Disk, (1, 1), 0);
        one.title = Some(title.to_owned()).filter(|title| !title.is_empty());
        let properties = [("os", os), ("release", release), ("requirements.secureboot", "false")];
        one.properties =
            IncusProperties::of(&properties.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        let projected = project(&[one], &Aliases::new());
        let product = projected.values().next().expect("a product");
        assert_eq!(format!("{} {}", product.os, product.release_title), shown, "{os}, {release}, {system}, {title}");
        assert_eq!(product.release, version);
        assert_eq!(product.requirements, [("secureboot".to_owned(), "false".to_owned())].into());
    }
}

/// The product of an image with these properties.
fn product(variant: &str, properties: &[(&str, &str)], expires_at: Option<i64>) -> Product {
    let mut one = listed("deb", "12.5.0", ("debian", "amd64", variant), Root::Disk, (1, 1), 0);
    let properties = properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    one.properties = IncusProperties::of(&properties);
    one.expires_at = expires_at.map(|seconds| Timestamp::from_micros(seconds.saturating_mul(1_000_000)));
    project(&[one], &Aliases::new()).into_values().next().expect("a product")
}

#[test]
fn the_date_of_expiry_is_shown_in_utc() {
    assert_eq!(product("default", &[], None).support_eol, None);
    for (seconds, shown) in [(1_846_886_399, Some("2028-07-10")), (253_402_300_800, None), (i64::MAX, None)] {
        assert_eq!(product("default", &[], Some(seconds)).support_eol.as_deref(), shown, "{seconds}");
    }
}

#[test]
fn the_variant_of_the_metadata_is_shown_unless_the_artifact_has_one() {
    for (own, variant, release, shown, title) in [
        ("default", "cloud", "bookworm", "cloud", "bookworm (cloud)"),
        ("default", "cloud", "", "cloud", "12.5.0 (cloud)"),
        ("default", "cloud", "Bookworm Cloud", "cloud", "Bookworm Cloud"),
        ("default", "default", "bookworm", "default", "bookworm"),
        ("default", "", "bookworm", "default", "bookworm"),
        ("cloud", "cloud", "bookworm", "cloud", "bookworm (cloud)"),
        ("server", "cloud", "bookworm", "server", "bookworm (server)"),
        ("server", "", "bookworm", "server", "bookworm"),
    ] {
        let product = product(own, &[("variant", variant), ("release", release)], None);
        assert_eq!((product.variant.as_str(), product.release_title.as_str()), (shown, title), "{own} {variant}");
    }
}

#[test]
fn a_description_is_shown_as_far_as_it_says_more_than_the_rest() {
    for (description, label) in [
        ("Debian 12 by hand", Some("12 by hand")),
        ("Debian bookworm by hand", Some("by hand")),
        ("Debian: \"stable\"", Some("\"stable\"")),
        ("debian Bookworm amd64 (minimal)", Some("minimal")),
        ("Minimal server, with Debian bookworm", Some("Minimal server, with Debian bookworm")),
        // What distrobuilder, incus-simplestreams and this server generate.
        ("Debian bookworm amd64 (20261128_05:24)", None),
        ("Debian bookworm amd64 (cloud) (20261128_05:24)", None),
        ("Debian bookworm (cloud) (amd64) (202611280524)", None),
        ("debian 12.5.0 x86_64", None),
        ("", None),
    ] {
        let properties =
            [("description", description), ("os", "Debian"), ("release", "bookworm"), ("variant", "cloud")];
        let shown = product("default", &properties, None);
        let version = shown.versions.values().next().expect("a version");
        assert_eq!(version.label.as_deref(), label, "{description}");
    }
}

#[test]
fn a_machine_and_a_container_with_the_same_metadata_are_one_product() {
    let platform = ("debian", "amd64", "default");
    let all = [
        listed("deb", "12", platform, Root::Disk, (1, 1), 0),
        listed("deb", "12", platform, Root::Squashfs, (1, 2), 0),
    ];
    let aliases = Aliases::from([(
        ("deb".parse().expect("a name"), "12".parse().expect("a name")),
        BTreeSet::from(["latest".parse().expect("a name")]),
    )]);
    let document = products(project(&all, &aliases));
    insta::assert_json_snapshot!(document);
    insta::assert_json_snapshot!(index(document.products.keys().cloned()));
}

#[test]
fn a_container_with_other_metadata_is_a_separate_product() {
    let platform = ("debian", "amd64", "default");
    let all = [
        listed("deb", "12", platform, Root::Disk, (1, 1), 0),
        listed("deb", "12", platform, Root::Squashfs, (2, 2), 0),
    ];
    let keys: Vec<_> = project(&all, &Aliases::new()).into_keys().collect();
    assert_eq!(keys, ["deb:12:amd64:default", "deb:12:amd64:default:container"]);
}

#[test]
fn the_same_bytes_under_two_names_are_one_product_with_both_names() {
    let platform = ("debian", "amd64", "default");
    let all = [
        listed("deb", "12", platform, Root::Disk, (1, 1), 1),
        listed("deb-cloud", "7", platform, Root::Disk, (1, 1), 0),
    ];
    let found = project(&all, &Aliases::new());
    assert_eq!(found.keys().collect::<Vec<_>>(), ["deb-cloud:7:amd64:default"]);
    assert_eq!(found["deb-cloud:7:amd64:default"].aliases, "deb-cloud/7,deb-cloud/7/default,deb/12,deb/12/default");
    let images = Images::of([&products(found)]);
    let amd64: IncusArchitecture = "amd64".parse().expect("an architecture");
    for name in ["deb/12", "deb-cloud/7", "deb/12/amd64"] {
        assert!(images.find(name, ImageKind::VirtualMachine, amd64).is_some(), "{name}");
    }
}

#[test]
fn a_client_ignores_what_it_does_not_know() {
    let document = r#"{"products": {"a": {"aliases": "x", "arch": "vax", "versions": {"20260101": {"items": {
        "m": {"ftype": "incus.tar.xz", "path": "m", "combined_squashfs_sha256": "f"}, "r": {"ftype": "squashfs", "path": "r"}}}}},
      "b": {"aliases": "y", "arch": "amd64", "versions": {"latest": {"items": {
        "m": {"ftype": "incus.tar.xz", "path": "m", "combined_squashfs_sha256": "f"}, "r": {"ftype": "squashfs", "path": "r"}}},
        "20261301": {}, "20260101_x": {"items": {
        "m": {"ftype": "incus.tar.xz", "path": "m"}, "r": {"ftype": "squashfs", "path": "r"}}}}}}, "unknown": 1}"#;
    let document: Products = serde_json::from_str(document).expect("a document");
    assert_eq!(Images::of([&document]).iter().count(), 0);
}
