//! The files of a publication, as the command line names them.

use imgsrv_client::{Format, UnknownValue};
use std::{path::PathBuf, str::FromStr};

/// The options that may follow the name of a file.
const KEYS: [&str; 5] = ["os", "arch", "variant", "format", "attach"];

/// A file with its options: `disk.qcow2,arch=arm64,variant=cloud,attach=sbom.json=./sbom.json`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct FileSpec {
    pub(crate) path: PathBuf,
    pub(crate) os: Option<String>,
    pub(crate) arch: Option<String>,
    pub(crate) variant: Option<String>,
    pub(crate) format: Option<Format>,
    pub(crate) attachments: Vec<AttachmentSpec>,
}

/// An attachment: `NAME=FILE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AttachmentSpec {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

impl FromStr for AttachmentSpec {
    type Err = String;

    fn from_str(raw: &str) -> Result<Self, String> {
        match raw.split_once('=') {
            Some((name, path)) if !name.is_empty() && !path.is_empty() => {
                Ok(Self { name: name.to_owned(), path: path.into() })
            }
            _ => Err("must be NAME=FILE, such as sbom.spdx.json=./sbom.json".to_owned()),
        }
    }
}

impl FromStr for FileSpec {
    type Err = String;

    fn from_str(raw: &str) -> Result<Self, String> {
        let mut spec = Self::default();
        let mut rest = raw;
        // From the end, since a path may contain commas.
        while let Some((before, last)) = rest.rsplit_once(',') {
            let Some((key, value)) = last.split_once('=') else { break };
            let value_of = || Some(value.to_owned()).filter(|value| !value.is_empty());
            match key {
                "os" => spec.os = value_of(),
                "arch" => spec.arch = value_of(),
                "variant" => spec.variant = value_of(),
                "format" => spec.format = Some(value.parse().map_err(|error: UnknownValue| error.to_string())?),
                "attach" => spec.attachments.insert(0, value.parse()?),
                _ => break,
            }
            rest = before;
        }
        if rest.is_empty() {
            return Err("must start with the name of a file".to_owned());
        }
        spec.path = rest.into();
        Ok(spec)
    }
}

impl FileSpec {
    /// What is wrong with the options, and advice, if no such file exists because its name ends with what looks like one.
    pub(crate) fn unknown_option(&self) -> Option<(String, String)> {
        let path = self.path.to_str()?;
        let (file, last) = path.rsplit_once(',').filter(|(file, _)| !file.is_empty())?;
        let key = last.split('=').next().unwrap_or(last);
        let is_key =
            !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_' || byte == b'-');
        if !is_key {
            return None;
        }
        if KEYS.contains(&key) {
            return Some((format!("the option {key} of {file} has no value"), format!("Write {file},{key}=VALUE.")));
        }
        let similar = KEYS.into_iter().max_by(|a, b| similarity(key, a).total_cmp(&similarity(key, b)));
        let similar = similar.filter(|similar| similarity(key, similar) > SIMILAR);
        let hint = similar.map(|similar| format!("Did you mean {similar}? ")).unwrap_or_default();
        let advice = format!("{hint}The options are {}.", KEYS.join(", "));
        Some((format!("{key} is not an option of a file, and there is no file {path}"), advice))
    }
}

/// Above which similarity a word is suggested.
const SIMILAR: f64 = 0.7;

fn similarity(one: &str, other: &str) -> f64 {
    strsim::jaro(one, other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(raw: &str) -> FileSpec {
        raw.parse().expect("a file")
    }

    #[test]
    fn options_follow_the_file_name() {
        assert_eq!(spec("disk.qcow2"), FileSpec { path: "disk.qcow2".into(), ..FileSpec::default() });
        let parsed = spec("a,b.raw,arch=arm64,attach=x=./y,format=raw,attach=z=./z");
        assert_eq!((parsed.path.to_str(), parsed.arch.as_deref()), (Some("a,b.raw"), Some("arm64")));
        let names: Vec<&str> = parsed.attachments.iter().map(|attachment| attachment.name.as_str()).collect();
        assert_eq!(names, ["x", "z"]);
        assert_eq!(spec("odd,name=x.raw").path.to_str(), Some("odd,name=x.raw"));
        for (raw, said) in [
            ("disk.raw,arhc=amd64", "Did you mean arch? The options are os, arch, variant, format, attach."),
            ("disk.raw,size=1,os=linux", "The options are os, arch, variant, format, attach."),
            ("disk.raw,arch", "Write disk.raw,arch=VALUE."),
            ("disk.raw", ""),
            ("Debian, Backup 2.raw", ""),
        ] {
            assert_eq!(spec(raw).unknown_option().unwrap_or_default().1, said, "{raw}");
        }
        for bad in [",arch=amd64", "disk,format=floppy", "disk,attach=x", ""] {
            assert!(bad.parse::<FileSpec>().is_err(), "{bad}");
        }
    }
}
