//! Lists of the packages in an image: SPDX and `CycloneDX` documents in JSON, and what `dpkg`, `rpm`, `apk` and `pacman`
//! print.

use crate::source::{MAX_READ, Source};
use serde::{
    Deserialize, Deserializer,
    de::{Error, SeqAccess, Visitor},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    marker::PhantomData,
};

/// The largest file that is read as a list of packages, in bytes.
pub const MAX_PACKAGE_LIST_BYTES: u64 = 16 << 20;

/// The most elements of an array in a document: an empty one takes three bytes there, and many times that in memory.
const MAX_ELEMENTS: usize = 200_000;

/// The names of packages, each with its versions. A package whose version is unknown has none.
pub type Packages = BTreeMap<String, BTreeSet<String>>;

/// The packages that the file lists; absent if it is not a list of packages, or larger than [`MAX_PACKAGE_LIST_BYTES`].
pub async fn read_packages<S: Source>(source: &S) -> Result<Option<Packages>, S::Error> {
    let size = source.size();
    if size > MAX_PACKAGE_LIST_BYTES {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < size {
        let length = usize::try_from(size - bytes.len() as u64).unwrap_or(MAX_READ).min(MAX_READ);
        bytes.extend(source.read(bytes.len() as u64, length).await?);
    }
    Ok(source.run(move || parse(&bytes)).await)
}

fn parse(bytes: &[u8]) -> Option<Packages> {
    let text = std::str::from_utf8(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)).ok()?;
    let packages = if text.trim_start().starts_with('{') { document(text)? } else { lines(text)? };
    (!packages.is_empty()).then_some(packages)
}

/// The elements of an array, at most [`MAX_ELEMENTS`].
fn bounded<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    struct Elements<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Elements<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Vec<T>, A::Error> {
            let mut elements = Vec::new();
            while let Some(element) = array.next_element()? {
                if elements.len() == MAX_ELEMENTS {
                    return Err(A::Error::custom("the array has too many elements"));
                }
                elements.push(element);
            }
            Ok(elements)
        }
    }

    deserializer.deserialize_seq(Elements(PhantomData))
}

/// The members that the known kinds of documents have.
#[derive(Deserialize)]
struct Document {
    /// SPDX 2: <https://spdx.github.io/spdx-spec/v2.3/package-information/>.
    #[serde(rename = "spdxVersion")]
    spdx_version: Option<String>,
    #[serde(default, deserialize_with = "bounded")]
    packages: Vec<SpdxPackage>,
    /// `CycloneDX`: <https://cyclonedx.org/docs/1.6/json/>.
    #[serde(rename = "bomFormat")]
    bom_format: Option<String>,
    #[serde(default, deserialize_with = "bounded")]
    components: Vec<Component>,
    /// SPDX 3: <https://spdx.github.io/spdx-spec/v3.0.1/serializations/>.
    #[serde(rename = "@graph", default, deserialize_with = "bounded")]
    graph: Vec<Element>,
}

#[derive(Deserialize)]
struct SpdxPackage {
    name: String,
    #[serde(rename = "versionInfo")]
    version: Option<String>,
}

#[derive(Deserialize)]
struct Component {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    version: Option<String>,
    #[serde(default, deserialize_with = "bounded")]
    components: Vec<Component>,
}

#[derive(Deserialize)]
struct Element {
    #[serde(rename = "type")]
    kind: Option<String>,
    name: Option<String>,
    #[serde(rename = "software_packageVersion")]
    version: Option<String>,
}

fn document(text: &str) -> Option<Packages> {
    let document: Document = serde_json::from_str(text).ok()?;
    let mut packages = Packages::new();
    if document.spdx_version.is_some_and(|version| version.starts_with("SPDX-2")) {
        for package in document.packages {
            add(&mut packages, package.name, package.version);
        }
    } else if document.bom_format.as_deref() == Some("CycloneDX") {
        add_components(&mut packages, document.components);
    } else {
        let elements = document.graph.into_iter();
        for element in elements.filter(|element| element.kind.as_deref() == Some("software_Package")) {
            add(&mut packages, element.name?, element.version);
        }
    }
    Some(packages)
}

fn add_components(packages: &mut Packages, components: Vec<Component>) {
    for component in components {
        add_components(packages, component.components);
        if component.kind != "file" {
            add(packages, component.name, component.version);
        }
    }
}

fn add(packages: &mut Packages, name: String, version: Option<String>) {
    packages.entry(name).or_default().extend(version.filter(|version| !version.is_empty()));
}

/// A package a line: as `dpkg-query -W` and `pacman -Q` print it, `dpkg -l`, or `rpm -qa` and `apk info -v`.
fn lines(text: &str) -> Option<Packages> {
    let mut packages = Packages::new();
    let is_table = text.starts_with("Desired=");
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        if is_table && ["Desired=", "|", "+++-"].iter().any(|head| line.starts_with(head)) {
            continue;
        }
        let mut words = line.split_whitespace();
        let (name, version) = match (is_table, words.next()?, words.next(), words.next()) {
            (true, _, Some(name), Some(version)) | (false, name, Some(version), None) => (name, version),
            (false, one, None, None) => joined(one)?,
            _ => return None,
        };
        if !version.bytes().any(|byte| byte.is_ascii_digit()) {
            return None;
        }
        add(&mut packages, name.to_owned(), Some(version.to_owned()));
    }
    Some(packages)
}

/// The name of a package and its version and release, which follow the last two hyphens.
fn joined(word: &str) -> Option<(&str, &str)> {
    let (release, _) = word.rmatch_indices('-').nth(1)?;
    let (name, version) = (&word[..release], &word[release + 1..]);
    (!name.is_empty() && version.starts_with(|first: char| first.is_ascii_alphanumeric())).then_some((name, version))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn some<const N: usize>(packages: [&str; N]) -> Option<Vec<String>> {
        (!packages.is_empty()).then(|| packages.map(str::to_owned).to_vec())
    }

    fn listed(text: &str) -> Option<Vec<String>> {
        let packages = parse(text.as_bytes())?;
        let shown = |(name, versions): (String, BTreeSet<String>)| {
            [name].into_iter().chain(versions).collect::<Vec<_>>().join(" ")
        };
        Some(packages.into_iter().map(shown).collect())
    }

    #[test]
    fn packages_of_an_spdx_2_document_are_found() {
        let document = r#"{"spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT", "packages": [
            {"name": "openssl", "SPDXID": "SPDXRef-1", "versionInfo": "3.0.15-1~deb12u1"},
            {"name": "linux-image", "versionInfo": "6.1.0-31"}, {"name": "linux-image", "versionInfo": "6.1.0-30"},
            {"name": "no-version", "downloadLocation": "NOASSERTION"}]}"#;
        let expected = ["linux-image 6.1.0-30 6.1.0-31", "no-version", "openssl 3.0.15-1~deb12u1"];
        assert_eq!(listed(document), some(expected));
    }

    #[test]
    fn packages_of_an_spdx_3_document_are_found() {
        let document = r#"{"@context": "https://spdx.org/rdf/3.0.1/spdx-context.jsonld", "@graph": [
            {"type": "CreationInfo", "@id": "_:info"}, {"type": "software_File", "name": "./etc/passwd"},
            {"type": "software_Package", "name": "bash", "software_packageVersion": "5.2"}]}"#;
        assert_eq!(listed(document), some(["bash 5.2"]));
    }

    #[test]
    fn components_of_a_cyclonedx_document_are_found_at_every_depth_without_files() {
        let document = r#"{"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [
            {"type": "operating-system", "name": "debian", "version": "12"},
            {"type": "file", "name": "/etc/passwd"},
            {"type": "library", "name": "outer", "version": "1", "components": [
                {"type": "library", "name": "inner", "version": "2"}]}]}"#;
        assert_eq!(listed(document), some(["debian 12", "inner 2", "outer 1"]));
    }

    #[test]
    fn lists_of_package_managers_are_found() {
        assert_eq!(
            listed("adduser\t3.134\nlibc6:amd64\t2.36-9+deb12u9\n"),
            some(["adduser 3.134", "libc6:amd64 2.36-9+deb12u9"])
        );
        assert_eq!(listed("bash 5.2.037-1\r\n\r\n"), some(["bash 5.2.037-1"]));
        assert_eq!(
            listed("bash-5.2.26-3.fc40.x86_64\nutil-linux-core-2.40.1-1.fc40.x86_64\n"),
            some(["bash 5.2.26-3.fc40.x86_64", "util-linux-core 2.40.1-1.fc40.x86_64"])
        );
        assert_eq!(
            listed("musl-1.2.5-r0\nca-certificates-bundle-20240705-r0\n"),
            some(["ca-certificates-bundle 20240705-r0", "musl 1.2.5-r0"])
        );
        let table = "Desired=Unknown/Install/Remove/Purge/Hold\n\
            | Status=Not/Inst/Conf-files/Unpacked/halF-conf/Half-inst/trig-aWait/Trig-pend\n\
            |/ Err?=(none)/Reinst-required (Status,Err: uppercase=bad)\n\
            ||/ Name           Version      Architecture Description\n\
            +++-==============-============-============-=================================\n\
            ii  adduser        3.134        all          add and remove users and groups\n\
            rc  libssl3:amd64  3.0.15-1     amd64        Secure Sockets Layer toolkit\n";
        assert_eq!(listed(table), some(["adduser 3.134", "libssl3:amd64 3.0.15-1"]));
    }

    #[test]
    fn other_files_are_not_lists() {
        for other in [
            "",
            "\n",
            "{}",
            r#"{"packages": [{"name": "left-pad", "versionInfo": "1"}]}"#,
            r#"{"spdxVersion": "SPDX-2.3", "packages": [{"name": 1}]}"#,
            r#"{"bomFormat": "CycloneDX", "components": {}}"#,
            "# Changes\n\nNothing of note happened in this release.\n",
            "one\n",
            "key value\n",
        ] {
            assert_eq!(listed(other), None, "{other:?}");
        }
        assert_eq!(parse(b"bash 5\xff\n"), None);
        let deep = format!(r#"{{"bomFormat": "CycloneDX", "components": {}1"#, r#"[{"components": "#.repeat(100_000));
        assert_eq!(listed(&deep), None);
        let many =
            format!(r#"{{"@graph": [{}{{"type": "software_Package", "name": "bash"}}]}}"#, "{},".repeat(MAX_ELEMENTS));
        assert_eq!(listed(&many), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "(\\{|[a-z]|-|\\s|[0-9]|\\PC){0,200}") {
            let _ = parse(text.as_bytes());
        }
    }
}
