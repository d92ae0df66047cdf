//! What people do about messages: withdraw them, send dead letters again, reach for what is not theirs.

use engine::{Error, dead_letters::RetryRequest, once::Repeat};
use model::MessageId;

use super::{
    Result, Simulation,
    act::{Cut, failed},
    broken,
    laws::{APART, WORKS},
};

impl Simulation {
    pub(super) fn cancel(&mut self, cut: Cut) -> Result {
        let Some((id, tenant, tag)) = self.someone() else { return Ok(()) };
        let node = self.awake();
        let caller = self.tenants[tenant].caller.clone();
        let op = self.nodes[node].engine.cancel(&caller, &Repeat::NONE, id);
        let done = Self::within(&self.nodes[node], cut, op).map(|done| done.map(drop));
        self.settled(&format!("m{tag} is canceled"), done)?;
        if cut.is_some() { self.crash(node) } else { Ok(()) }
    }

    pub(super) fn retry(&mut self, cut: Cut) -> Result {
        let Some((id, tenant, tag)) = self.someone() else { return Ok(()) };
        let node = self.awake();
        let caller = self.tenants[tenant].caller.clone();
        let op = self.nodes[node].engine.retry(&caller, &Repeat::NONE, id);
        let done = Self::within(&self.nodes[node], cut, op).map(|done| done.map(drop));
        if !matches!(done, Some(Err(_))) {
            self.client.reopen(id);
        }
        self.settled(&format!("m{tag} is sent again by a person"), done)?;
        if cut.is_some() { self.crash(node) } else { Ok(()) }
    }

    pub(super) fn retry_all(&mut self) -> Result {
        let tenant = self.below(self.tenants.len());
        let node = self.awake();
        let caller = self.tenants[tenant].caller.clone();
        let request = RetryRequest { all: true, ..RetryRequest::default() };
        let reply = self.nodes[node].run(self.nodes[node].engine.retry_many(&caller, &Repeat::NONE, request));
        let reply = reply.map_err(|error| failed("retrying all", &error))?;
        let json: serde_json::Value = serde_json::from_slice(&reply.body).map_err(|error| broken(WORKS, error))?;
        let lines = json["data"].as_array().cloned().unwrap_or_default();
        let queued =
            lines.iter().filter(|line| line["status"] == "queued").filter_map(|line| line["id"].as_str()?.parse().ok());
        let ids: Vec<MessageId> = queued.collect();
        self.note(format_args!("tenant {tenant} sends {} dead letters again", ids.len()));
        ids.into_iter().for_each(|id| self.client.reopen(id));
        Ok(())
    }

    /// A tenant reaches for another's message.
    pub(super) fn trespass(&mut self) -> Result {
        let Some((id, tenant, tag)) = self.someone() else { return Ok(()) };
        let other = (tenant + 1) % self.tenants.len();
        let node = self.awake();
        let caller = self.tenants[other].caller.clone();
        let engine = &self.nodes[node].engine;
        let (canceled, retried) = self.nodes[node].run(async {
            (engine.cancel(&caller, &Repeat::NONE, id).await, engine.retry(&caller, &Repeat::NONE, id).await)
        });
        self.note(format_args!("tenant {other} reaches for m{tag} of tenant {tenant}"));
        for reply in [canceled, retried] {
            let status = reply.as_ref().err().map(|error| error.kind.status());
            if status != Some(404) {
                return Err(broken(APART, format!("tenant {other} was answered {status:?} about m{tag}")));
            }
        }
        Ok(())
    }

    /// A message that was answered 202, mostly a late one.
    fn someone(&self) -> Option<(MessageId, usize, u32)> {
        let known = self.client.wishes.iter().enumerate();
        let known: Vec<_> = known.filter_map(|(tag, wish)| Some((wish.id?, wish.tenant, tag as u32))).collect();
        known.get(self.below(known.len())).copied()
    }

    /// Notes an operation that may be refused but must not fail.
    pub(super) fn settled(&mut self, what: &str, done: Option<Result<(), Error>>) -> Result {
        match done {
            None => self.note(format_args!("{what}: no answer")),
            Some(Ok(())) => self.note(what),
            Some(Err(error)) if error.kind.status() >= 500 => return Err(failed(what, &error)),
            Some(Err(error)) => self.note(format_args!("{what}: refused, {}", error.code)),
        }
        Ok(())
    }
}
