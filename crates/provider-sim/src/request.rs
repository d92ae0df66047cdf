//! A request as it came, and the answer to it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::Value;

use crate::fields::Fields;

/// A request. Header names are lower case.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// `GET`, `POST`, …
    pub method: String,
    /// The path as sent, the provider's name in front included.
    pub path: String,
    /// The query as sent, without the question mark.
    pub query: String,
    /// Headers in order.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Bytes,
}

impl Request {
    /// The first value of a header; empty when there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// The path below the provider's name, cut at its slashes: `["v3", "mail", "send"]`.
    pub(crate) fn segments(&self) -> Vec<&str> {
        self.path.split('/').skip(2).filter(|part| !part.is_empty()).collect()
    }

    /// The parameters of the query.
    pub(crate) fn parameters(&self) -> Fields {
        Fields::parse(self.query.as_bytes())
    }

    /// The fields of a form body.
    pub(crate) fn form(&self) -> Fields {
        Fields::parse(&self.body)
    }

    /// The JSON body; `None` when it is none.
    pub(crate) fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// User name and password of `Authorization: Basic`.
    pub(crate) fn basic(&self) -> Option<(String, String)> {
        let given = STANDARD.decode(self.header("authorization").strip_prefix("Basic ")?).ok()?;
        let (user, password) = std::str::from_utf8(&given).ok()?.split_once(':')?;
        Some((user.to_owned(), password.to_owned()))
    }

    /// The token of `Authorization: Bearer`; empty when there is none.
    pub(crate) fn bearer(&self) -> &str {
        self.header("authorization").strip_prefix("Bearer ").unwrap_or_default()
    }
}

/// An answer.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Headers in order.
    pub headers: Vec<(&'static str, String)>,
    /// The body; empty for none.
    pub body: Bytes,
}

impl Reply {
    /// Without a body.
    pub(crate) fn empty(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// With a JSON body.
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::of(status, "application/json", body.to_string())
    }

    /// With a body of this type.
    pub(crate) fn of(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self { status, headers: vec![("content-type", content_type.to_owned())], body: body.into() }
    }

    /// With one more header.
    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// With `Retry-After`, when a wait is given.
    pub(crate) fn retry_after(self, after_s: Option<u64>) -> Self {
        match after_s {
            Some(after_s) => self.header("retry-after", after_s.to_string()),
            None => self,
        }
    }
}
