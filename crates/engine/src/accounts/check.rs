//! The rules for an account's fields.

use connectors::{Connector, registry};
use model::{Channel, Values};

use super::NewAccount;
use crate::{Error, names::Faults};

/// Highest rate an account can be given, in messages a second.
const PER_SECOND_MAX: u32 = 100_000;
/// Most requests at once an account can be given: sockets of one process are finite.
const CONCURRENCY_MAX: u32 = 1_000;
/// Longest sender, in bytes: a display name and an address.
const FROM_MAX: usize = 512;

/// What an account will be, apart from which default it takes.
#[derive(Clone)]
pub(super) struct Draft {
    pub(super) connector: &'static dyn Connector,
    pub(super) name: String,
    pub(super) values: Values,
    pub(super) channels: Vec<Channel>,
    /// `None`: those that have no default yet.
    pub(super) default_for: Option<Vec<Channel>>,
    pub(super) from: Option<String>,
    pub(super) is_enabled: bool,
    pub(super) per_second: Option<u32>,
    pub(super) concurrency: Option<u32>,
}

/// Checks a new account.
pub(super) fn new_account(new: NewAccount) -> Result<Draft, Error> {
    let connector = find(&new.connector)?;
    let mut faults = Faults::default();
    let values = merge(&mut faults, connector, &Values::default(), &new.settings);
    let draft = Draft {
        connector,
        name: new.name,
        values,
        channels: new.channels.unwrap_or_else(|| connector.spec().channels.to_vec()),
        default_for: new.default_for,
        from: new.from,
        is_enabled: new.enabled.unwrap_or(true),
        per_second: new.per_second,
        concurrency: new.concurrency,
    };
    finish(faults, draft)
}

/// Merges settings; each wrong one is noted under `/settings`.
pub(super) fn merge(
    faults: &mut Faults,
    connector: &dyn Connector,
    before: &Values,
    given: &serde_json::Map<String, serde_json::Value>,
) -> Values {
    Values::merge(connector.spec().fields, before, given).unwrap_or_else(|bad| {
        for bad in bad {
            faults.add(format!("/settings/{}", pointer_part(&bad.field)), bad.detail);
        }
        before.clone()
    })
}

/// Checks what depends on several fields, and the plain ones.
pub(super) fn finish(mut faults: Faults, mut draft: Draft) -> Result<Draft, Error> {
    let spec = draft.connector.spec();
    draft.name = faults.name("/name", &draft.name);
    draft.channels = distinct(&draft.channels);
    if draft.channels.is_empty() {
        faults.add("/channels", "an account carries at least one channel");
    }
    for (index, channel) in draft.channels.iter().enumerate().filter(|(_, channel)| !spec.channels.contains(channel)) {
        let known = spec.channels.iter().map(|channel| channel.as_str()).collect::<Vec<_>>().join(", ");
        faults.add(format!("/channels/{index}"), format!("{} does not carry {channel}, only: {known}", spec.name));
    }
    if let Some(wanted) = &mut draft.default_for {
        *wanted = distinct(wanted);
        for (index, channel) in wanted.iter().enumerate().filter(|(_, channel)| !draft.channels.contains(channel)) {
            faults.add(format!("/default_for/{index}"), format!("this account does not carry {channel}"));
        }
    }
    draft.per_second = draft.per_second.map(|rate| faults.number("/per_second", rate, PER_SECOND_MAX));
    draft.concurrency = draft.concurrency.map(|most| faults.number("/concurrency", most, CONCURRENCY_MAX));
    check_from(&mut faults, &mut draft);
    // A connector reads its settings as a whole, which only makes sense once each field is right.
    let is_readable = !faults.0.iter().any(|fault| fault.pointer.starts_with("/settings"));
    if let Some(bad) = is_readable.then(|| draft.connector.check(&draft.values).err()).flatten() {
        faults.add(format!("/settings/{}", pointer_part(&bad.field)), bad.detail);
    }
    faults.end()?;
    Ok(draft)
}

fn check_from(faults: &mut Faults, draft: &mut Draft) {
    let spec = draft.connector.spec();
    draft.from = draft.from.take().map(|from| from.trim().to_owned()).filter(|from| !from.is_empty());
    let Some(from) = &draft.from else {
        if spec.needs_from {
            faults.add("/from", format!("{} needs a sender, such as {}", spec.name, spec.from_example));
        }
        return;
    };
    if from.len() > FROM_MAX {
        return faults.add("/from", format!("at most {FROM_MAX} bytes"));
    }
    if from.chars().any(char::is_control) {
        return faults.add("/from", "no line breaks or control characters");
    }
    // The same sender can be wrong for several channels in the same way; it is said once.
    let refused = draft.channels.iter().find_map(|channel| draft.connector.check_from(from, *channel).err());
    if let Some(bad) = refused {
        faults.add("/from", bad.detail);
    }
}

fn find(id: &str) -> Result<&'static dyn Connector, Error> {
    registry::find(id).filter(|_| !registry::is_internal(id)).ok_or_else(|| {
        let known = registry::listed().map(|connector| connector.spec().id).collect::<Vec<_>>().join(", ");
        Error::invalid("/connector", format!("there is no such connector; there are: {known}"))
    })
}

fn distinct(channels: &[Channel]) -> Vec<Channel> {
    let mut seen = Vec::new();
    for channel in channels {
        if !seen.contains(channel) {
            seen.push(*channel);
        }
    }
    seen
}

/// A name as part of a JSON pointer (RFC 6901).
fn pointer_part(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
