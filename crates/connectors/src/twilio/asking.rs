//! How the stages of registrations ask Twilio: its hosts, calls below them, and lists page by page.

use model::{HttpCall, Method};
use serde_json::Value;

use super::{Settings, callbacks::NAME, request};
use crate::{
    Cx,
    manage::{Line, Progress, Reason, References, Stage, StageResult, Stop, Work, each, form},
    read::text,
};

pub(super) const TRUST_HOST: &str = "https://trusthub.twilio.com";
pub(super) const MESSAGING_HOST: &str = "https://messaging.twilio.com";
/// Rows of a list read at once: with all they say, two hundred stay well below the largest answer we read.
pub(super) const PAGE: &str = "PageSize=200";
/// Pages of a list read at most, so that the four lists of the longest stage fit into one plan: three thousand rows, where an account per tenant has a few.
const PAGES_MAX: usize = 15;
/// There is no such thing. <https://www.twilio.com/docs/api/errors/20404>
pub(super) const NOT_THERE: u64 = 20404;

/// What every stage works with.
pub(super) struct At<'a> {
    pub(super) cx: &'a Cx<'a>,
    pub(super) settings: &'a Settings,
    pub(super) work: &'a Work<'a>,
}

impl At<'_> {
    pub(super) fn call(&self, method: Method, host: &str, path: &str) -> HttpCall {
        let mut call = request(self.cx, self.settings, method, "");
        call.url = format!("{}{path}", self.cx.base_or(host));
        call
    }

    pub(super) fn get(&self, host: &str, path: &str) -> HttpCall {
        self.call(Method::Get, host, path)
    }

    pub(super) fn post(&self, host: &str, path: &str, pairs: &[(&str, &str)]) -> HttpCall {
        form(self.call(Method::Post, host, path), pairs)
    }

    /// Below the account's own path.
    pub(super) fn own(&self, method: Method, path: &str) -> HttpCall {
        request(self.cx, self.settings, method, path)
    }

    pub(super) fn done(&self, stage: Stage, refs: References) -> Progress {
        Progress { stage, refs, result: StageResult::Done, settings: Vec::new() }
    }

    pub(super) fn waits(&self) -> Progress {
        let refs = self.work.refs.clone();
        Progress { stage: self.work.stage, refs, result: StageResult::Waits(None), settings: Vec::new() }
    }

    pub(super) fn rejected(&self, refs: References, reasons: Vec<Reason>) -> Progress {
        Progress { stage: self.work.stage, refs, result: StageResult::Rejected(reasons), settings: Vec::new() }
    }

    /// What was to be made before; a registration that lacks it cannot go on.
    pub(super) fn made<'r>(&self, what: &'r Option<String>, name: &str) -> Result<&'r str, Stop> {
        what.as_deref().ok_or_else(|| {
            let detail = format!("The registration's {name} is not known; submit it again.");
            Stop::Refused(model::Failure::new(model::FailureKind::Content, "incomplete_registration", detail))
        })
    }
}

/// The one of a list under the registration's name, by the part it plays.
pub(super) fn named<'a>(rows: &'a [Value], name: &str) -> Option<&'a Value> {
    rows.iter().find(|one| text(one, "/friendly_name") == Some(name))
}

/// The rows of a list, page by page, until there are `enough`. A list that does not end is refused: what was made before could be among what was not read, and would be paid for twice.
pub(super) fn rows(
    line: &mut Line<'_>,
    first: HttpCall,
    pointer: &str,
    enough: impl Fn(&[Value]) -> bool,
) -> Result<Vec<Value>, Stop> {
    let (mut rows, mut next) = (Vec::new(), Some(first.clone()));
    for _ in 0..PAGES_MAX {
        let Some(call) = next.take() else { return Ok(rows) };
        let page = line.ask(call)?;
        rows.extend(each(&page, pointer).cloned());
        if enough(&rows) {
            return Ok(rows);
        }
        next = next_page(&first, &page);
    }
    match next {
        None => Ok(rows),
        Some(_) => {
            let path = first.url.split('?').next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
            let detail = format!(
                "Twilio lists more than {} {path}, which is more than are looked through. Delete what is no longer needed, or use an account of the tenant's own.",
                rows.len()
            );
            Err(Stop::Refused(model::Failure::new(model::FailureKind::Account, "too_many_rows", detail)))
        }
    }
}

/// Where a list goes on. Of what Twilio names only the query is followed: the rest is known.
fn next_page(first: &HttpCall, page: &Value) -> Option<HttpCall> {
    let next = text(page, "/meta/next_page_url").or_else(|| text(page, "/next_page_uri"))?;
    let (_, query) = next.split_once('?')?;
    let path = first.url.split('?').next()?;
    Some(HttpCall { url: format!("{path}?{query}"), ..first.clone() })
}

/// The rows of a list until one has the name.
pub(super) fn until_named(line: &mut Line<'_>, first: HttpCall, pointer: &str, name: &str) -> Result<Vec<Value>, Stop> {
    rows(line, first, pointer, |rows| named(rows, name).is_some())
}

pub(super) fn sid(made: &Value) -> Result<String, Stop> {
    let sid = text(made, "/sid").map(str::to_owned);
    sid.ok_or_else(|| Stop::Refused(crate::manage::unreadable(NAME)))
}
