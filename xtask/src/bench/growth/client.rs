//! Requests over a connection that is kept, without parsing what is not needed.

use crate::shell::Result;
use serde_json::Value;
use std::io::Read;
use ureq::{
    Agent, Body, SendBody,
    http::{Request, Response, request::Builder},
};

/// A client of one server.
pub(in crate::bench) struct Client {
    agent: Agent,
    url: String,
}

impl Client {
    pub(in crate::bench) fn new(url: &str) -> Self {
        let agent = Agent::config_builder().http_status_as_error(false).build().into();
        Self { agent, url: url.to_owned() }
    }

    /// Reads a response to its end, and returns its size.
    pub(in crate::bench) fn get(&self, path: &str, headers: &[(&str, &str)]) -> Result<usize> {
        let (mut response, mut buffer, mut size) = (self.send("GET", path, headers, &[])?, vec![0; 256 << 10], 0);
        let mut body = response.body_mut().with_config().limit(u64::MAX).reader();
        loop {
            match body.read(&mut buffer)? {
                0 => return Ok(size),
                read => size += read,
            }
        }
    }

    /// The value of a header of a response.
    pub(in crate::bench) fn header(&self, path: &str, headers: &[(&str, &str)], name: &str) -> Result<String> {
        let response = self.send("HEAD", path, headers, &[])?;
        let value = response.headers().get(name).ok_or_else(|| format!("{path} has no {name}"))?;
        Ok(value.to_str()?.to_owned())
    }

    /// The response to a request with JSON, or without a body.
    pub(in crate::bench) fn json(&self, method: &str, path: &str, token: &str, body: Option<&Value>) -> Result<Value> {
        let bearer = format!("Bearer {token}");
        let body = body.map(Value::to_string).unwrap_or_default();
        let headers = [("authorization", &*bearer), ("content-type", "application/json")];
        let headers = if body.is_empty() { &headers[..1] } else { &headers };
        let text = self.send(method, path, headers, body.as_bytes())?.body_mut().read_to_string()?;
        Ok(if text.is_empty() { Value::Null } else { serde_json::from_str(&text)? })
    }

    /// The response to a request; fails if its status is an error.
    pub(in crate::bench) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Response<Body>> {
        let request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        let request = headers.iter().fold(request, |request: Builder, (name, value)| request.header(*name, *value));
        let sent = match body {
            [] => self.agent.run(request.body(())?),
            mut body => {
                let request = request.header("content-length", body.len().to_string());
                self.agent.run(request.body(SendBody::from_reader(&mut body))?)
            }
        };
        let mut response = sent.map_err(|error| format!("{method} {path}: {error}"))?;
        if response.status().as_u16() >= 400 {
            let problem = response.body_mut().read_to_string().unwrap_or_default();
            return Err(format!("{method} {path}: {} {problem}", response.status()).into());
        }
        Ok(response)
    }
}
