//! A publication that is continued until it is done, whatever interrupts it.

use crate::victim::{Victim, text};
use imgsrv_testkit::{digest, qcow2};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// How the bytes are sent and published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// An upload of two parts, a draft and a publish request.
    Upload,
    /// An intake, by tus.
    Intake,
}

/// A version to be published, and what the server has acknowledged of it.
#[derive(Debug)]
pub(crate) struct Publication {
    way: Way,
    version: String,
    bytes: Vec<u8>,
    upload: Option<String>,
    parts: Vec<Value>,
    is_completed: bool,
    artifact: Option<String>,
    pub(crate) job: Option<String>,
}

impl Publication {
    pub(crate) fn new(way: Way, number: u64) -> Self {
        let mut bytes = qcow2(number);
        bytes.extend((0..20_000_u64).flat_map(|word| (word ^ number).to_le_bytes()));
        let version = number.to_string();
        Self { way, version, bytes, upload: None, parts: Vec::new(), is_completed: false, artifact: None, job: None }
    }

    /// Continues until the version is published. It ends when the process does.
    pub(crate) async fn run(&mut self, victim: &Victim) -> reqwest::Result<()> {
        match self.way {
            Way::Upload => {
                self.upload(victim).await?;
                self.request(victim).await?;
                let job = self.job.as_deref().expect("a job");
                victim.becomes(&format!("/v1/publish-jobs/{job}"), "succeeded").await.map(drop)
            }
            Way::Intake => self.intake(victim).await,
        }
    }

    /// Uploads the bytes, the second part first: then ingest has to hash them.
    pub(crate) async fn upload(&mut self, victim: &Victim) -> reqwest::Result<()> {
        let upload = match &self.upload {
            Some(upload) => upload.clone(),
            None => {
                let new = json!({"expected_digest": digest(&self.bytes), "expected_size_bytes": self.bytes.len()});
                let (status, opened) = victim.send(Method::POST, "/v1/uploads", Some(new)).await?;
                assert!(status.is_success(), "{status}: {opened}");
                self.upload.insert(text(&opened, "id").to_owned()).clone()
            }
        };
        let half = self.bytes.len() / 2;
        for number in [2, 1].into_iter().skip(self.parts.len()) {
            let bytes = if number == 1 { &self.bytes[..half] } else { &self.bytes[half..] };
            self.parts.push(victim.put_part(&upload, number, bytes.to_vec()).await?);
        }
        if !self.is_completed {
            let listed = |part: &Value| json!({"number": part["part_number"], "etag": part["etag"], "size_bytes": part["size_bytes"]});
            let parts: Vec<Value> = self.parts.iter().rev().map(listed).collect();
            let path = format!("/v1/uploads/{upload}/complete");
            let (status, completed) = victim.send(Method::POST, &path, Some(json!({"parts": parts}))).await?;
            assert_eq!(status, StatusCode::OK, "{completed}");
            self.is_completed = true;
        }
        victim.becomes(&format!("/v1/uploads/{upload}"), "ready").await.map(drop)
    }

    /// Creates the version and requests its publishing.
    pub(crate) async fn request(&mut self, victim: &Victim) -> reqwest::Result<()> {
        let versions = "/v1/images/debian/versions";
        let version = format!("{versions}/{}", self.version);
        for (path, body) in [("/v1/images", json!({"name": "debian"})), (versions, json!({"version": self.version}))] {
            let (status, body) = victim.send(Method::POST, path, Some(body)).await?;
            assert!(matches!(status, StatusCode::CREATED | StatusCode::CONFLICT), "{status}: {body}");
        }
        if self.artifact.is_none() {
            let artifact = json!({"operating_system": "debian", "architecture": "amd64", "format": "qcow2",
                "primary_blob_digest": digest(&self.bytes), "primary_blob_size_bytes": self.bytes.len(),
                "primary_media_type": "a/b"});
            let (status, added) = victim.send(Method::POST, &format!("{version}/artifacts"), Some(artifact)).await?;
            // It may have been added by a request whose response was lost.
            let added = if status == StatusCode::CONFLICT { &added["existing"] } else { &added };
            self.artifact = Some(text(added, "id").to_owned());
        }
        let (status, requested) = victim.send(Method::POST, &format!("{version}/publish"), None).await?;
        assert!(status.is_success(), "{status}: {requested}");
        let job = text(&requested, "job_id").to_owned();
        assert!(self.job.as_ref().is_none_or(|known| *known == job), "the acknowledged job {:?} was lost", self.job);
        self.job = Some(job);
        Ok(())
    }

    async fn intake(&mut self, victim: &Victim) -> reqwest::Result<()> {
        let id = match &self.upload {
            Some(id) => id.clone(),
            None => {
                let new = json!({"image": "debian", "version": self.version, "operating_system": "debian",
                    "architecture": "amd64", "format": "qcow2", "size_bytes": self.bytes.len(), "aliases": ["latest"]});
                let (status, opened) = victim.send(Method::POST, "/api/images", Some(new)).await?;
                assert_eq!(status, StatusCode::CREATED, "{opened}");
                self.upload.insert(text(&opened, "upload_session_id").to_owned()).clone()
            }
        };
        let path = format!("/api/uploads/{id}");
        let (_, status) = victim.send(Method::GET, &path, None).await?;
        if matches!(text(&status, "state"), "created" | "uploading") {
            let offset = status["offset"].as_u64().expect("an offset");
            let rest = self.bytes[usize::try_from(offset).expect("a small offset")..].to_vec();
            let url = format!("{}/api/uploads/tus/{id}", victim.process.url);
            let request = victim.http.patch(url).bearer_auth(&victim.token).header("tus-resumable", "1.0.0");
            let request = request.header("content-type", "application/offset+octet-stream");
            let response = request.header("upload-offset", offset).body(rest).send().await?;
            assert_eq!(response.status(), StatusCode::NO_CONTENT);
            self.is_completed = true;
        }
        victim.becomes(&path, "published").await.map(drop)
    }

    /// Verifies that everything that the server has acknowledged exists.
    pub(crate) async fn is_kept(&self, victim: &Victim) {
        let Some(upload) = &self.upload else { return };
        let path = if self.way == Way::Upload { "/v1/uploads" } else { "/api/uploads" };
        let session = victim.get(&format!("{path}/{upload}")).await;
        let state = text(&session, "state");
        assert!(!matches!(state, "failed" | "aborted"), "{session}");
        assert!(!self.is_completed || !matches!(state, "created" | "uploading"), "its completion was lost: {session}");
        if matches!(state, "created" | "uploading") && self.way == Way::Upload {
            let listed = victim.get(&format!("/v1/uploads/{upload}/parts")).await;
            let listed = listed["parts"].as_array().expect("parts").clone();
            for part in &self.parts {
                assert!(listed.iter().any(|listed| listed["etag"] == part["etag"]), "lost {part} of {listed:?}");
            }
        }
        if let Some(artifact) = &self.artifact {
            let manifest = victim.get(&format!("/v1/images/debian/versions/{}", self.version)).await;
            assert_eq!(manifest["artifacts"][0]["artifact"]["id"], **artifact, "{manifest}");
        }
        if let Some(job) = &self.job {
            victim.get(&format!("/v1/publish-jobs/{job}")).await;
        }
    }

    /// Verifies that the version is published with the bytes that were sent.
    pub(crate) async fn is_published(&self, victim: &Victim) {
        let version = format!("/v1/images/debian/versions/{}", self.version);
        let manifest = victim.get(&version).await;
        assert_eq!(manifest["version"]["state"], "published", "{manifest}");
        assert_eq!(manifest["artifacts"].as_array().map(Vec::len), Some(1), "{manifest}");
        let artifact = text(&manifest["artifacts"][0]["artifact"], "id").to_owned();
        let read = victim.read(&format!("{version}/artifacts/{artifact}/download")).await;
        assert!(read == self.bytes, "version {}", self.version);
    }
}
