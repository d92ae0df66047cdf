//! Why the engine refuses or fails a request, in terms a caller can act on. Becomes `problem+json` in one file of the API.

use std::fmt;

use model::Money;

use crate::plans::quota::Shortfall;

/// A refusal or failure. The texts are for people outside; nothing private goes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What class of error it is.
    pub kind: ErrorKind,
    /// Stable code in snake_case.
    pub code: &'static str,
    /// The thing, the problem and the remedy.
    pub detail: String,
    /// Which fields are wrong, where fields are.
    pub errors: Vec<FieldError>,
    /// What to do next, as a constant such as `UPDATE_ACCOUNT`.
    pub action: Option<&'static str>,
    /// When trying again makes sense, in milliseconds.
    pub retry_after_ms: Option<u64>,
    /// What it needs and what is available, where credit does not reach.
    pub shortfall: Option<Box<(Money, Money)>>,
    /// What is missing where a plan is used up.
    pub quota: Option<Box<Shortfall>>,
}

/// Classes of errors; each is one HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// 400: the request cannot be read.
    Malformed,
    /// 401: nobody we know.
    Unauthorized,
    /// 402: quota, credit or subscription.
    Payment,
    /// 403: not allowed to.
    Forbidden,
    /// 404: not there, or not yours.
    NotFound,
    /// 409: not in this state.
    Conflict,
    /// 413: over a size limit.
    TooLarge,
    /// 415: not a content type we take.
    UnsupportedMedia,
    /// 422: readable, but wrong.
    Invalid,
    /// 429: too fast.
    Throttled,
    /// 500: our fault.
    Internal,
    /// 503: not now.
    Unavailable,
}

impl ErrorKind {
    /// The HTTP status of this class.
    pub const fn status(self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::Unauthorized => 401,
            Self::Payment => 402,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::TooLarge => 413,
            Self::UnsupportedMedia => 415,
            Self::Invalid => 422,
            Self::Throttled => 429,
            Self::Internal => 500,
            Self::Unavailable => 503,
        }
    }
}

/// One wrong field.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct FieldError {
    /// JSON pointer into the request, such as `/to/phone`.
    pub pointer: String,
    /// What is wrong and what to do.
    pub detail: String,
}

impl FieldError {
    /// Names a field and what is wrong with it.
    pub fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), detail: detail.into() }
    }
}

impl Error {
    /// An error of this class.
    pub fn new(kind: ErrorKind, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            kind,
            code,
            detail: detail.into(),
            errors: Vec::new(),
            action: None,
            retry_after_ms: None,
            shortfall: None,
            quota: None,
        }
    }

    /// 404 for `noun`: also for what belongs to another tenant.
    pub fn not_found(noun: &str) -> Self {
        Self::new(ErrorKind::NotFound, "not_found", format!("There is no such {noun}."))
    }

    /// 422 for one field.
    pub fn invalid(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::invalid_fields(vec![FieldError::new(pointer, detail)])
    }

    /// 422 for several fields; there is at least one.
    pub fn invalid_fields(errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [only] => format!("{}: {}", only.pointer, only.detail),
            many => format!("{} fields are invalid; see `errors`.", many.len()),
        };
        Self { errors, ..Self::new(ErrorKind::Invalid, "invalid_request", detail) }
    }

    /// 409.
    pub fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conflict, code, detail)
    }

    /// 403.
    pub fn forbidden(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Forbidden, code, detail)
    }

    /// 500: the detail goes to the log, not to the caller.
    pub fn internal(private: impl fmt::Display) -> Self {
        tracing::error!(error = %private, "Internal error");
        Self::new(
            ErrorKind::Internal,
            "internal_error",
            "Something went wrong on our side; the log has the details under this request id.",
        )
    }

    /// Adds what to do next.
    #[must_use]
    pub fn with_action(mut self, action: &'static str) -> Self {
        self.action = Some(action);
        self
    }

    /// Adds when to try again.
    #[must_use]
    pub fn with_retry_after_ms(mut self, wait_ms: u64) -> Self {
        self.retry_after_ms = Some(wait_ms);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl std::error::Error for Error {}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        if error.is_temporary() {
            tracing::warn!(%error, "The database is not available");
            return Self::new(
                ErrorKind::Unavailable,
                "database_unavailable",
                "The database cannot take requests now. Nothing was done; try again shortly.",
            )
            .with_retry_after_ms(1_000);
        }
        Self::internal(error)
    }
}
