//! Plans of many requests, written as a straight line: each request is asked for where its answer is needed, and the line is walked anew with every answer that came.

use model::{Answer, Call, Failure, HttpCall};
use serde_json::Value;

use super::{Next, Plan, get, refused, reply};

/// Where a line stops: at a request without an answer yet, or at a refusal.
pub(crate) enum Stop {
    Ask(Box<HttpCall>),
    Refused(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Refused(failure)
    }
}

/// The answers so far, handed out in order.
pub(crate) struct Line<'a> {
    provider: &'static str,
    answers: &'a [Answer],
    at: usize,
}

impl Line<'_> {
    /// The JSON this request was answered with. Refusals end the plan.
    pub(crate) fn ask(&mut self, call: HttpCall) -> Result<Value, Stop> {
        let at = self.next(call)?;
        Ok(reply(self.provider, self.answers, at)?)
    }

    /// The same, but a refusal that `forgives` knows from its JSON is no failure.
    pub(crate) fn ask_or(&mut self, call: HttpCall, forgives: impl Fn(&Value) -> bool) -> Result<Option<Value>, Stop> {
        let at = self.next(call)?;
        let http = get(self.answers, at)?;
        if (200..300).contains(&http.status) {
            return Ok(Some(reply(self.provider, self.answers, at)?));
        }
        match forgives(&crate::read::json(http)) {
            true => Ok(None),
            false => Err(refused(self.provider, http).into()),
        }
    }

    fn next(&mut self, call: HttpCall) -> Result<usize, Stop> {
        let at = self.at;
        self.at += 1;
        if at < self.answers.len() { Ok(at) } else { Err(Stop::Ask(Box::new(call))) }
    }
}

/// Walks a line as far as its answers reach.
pub(crate) fn walk<T>(
    provider: &'static str,
    answers: &[Answer],
    line: impl FnOnce(&mut Line<'_>) -> Result<T, Stop>,
) -> Plan<T> {
    match line(&mut Line { provider, answers, at: 0 }) {
        Ok(done) => Ok(Next::Done(done)),
        Err(Stop::Ask(call)) => Ok(Next::Call(Call::Http(*call))),
        Err(Stop::Refused(failure)) => Err(failure),
    }
}
