//! An account as people see it.

use connectors::{Connector, Cx, Inbound, registry};
use model::{AccountId, Channel, Failure, Field, FieldKind, Timestamp, Values};
use serde::Serialize;
use serde_json::{Map, Value, json};
use store::{Tx, account_states, accounts, attempt_counters::Counts};
use utoipa::ToSchema;

use super::{
    changes,
    health::{self, ShortHealth},
};
use crate::{
    Error, Parts,
    directory::{self, DOTS},
    keys::Caller,
    vault::Fingerprints,
};

/// Whether messages can leave through an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AccountState {
    /// They can.
    Ready,
    /// Somebody switched it off.
    Disabled,
    /// The provider refuses the account, or fails; see `pause`. Messages wait or take another route.
    Paused,
    /// Its stored settings cannot be opened: enter them again.
    Unusable,
}

/// Why an account is paused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct AccountPause {
    /// What class of failure: `account`, `unavailable`, `throttled`.
    #[schema(example = "account")]
    pub kind: String,
    /// The provider's code, or ours.
    #[schema(example = "20003")]
    pub code: String,
    /// What happened and what to do.
    pub detail: String,
    /// Since when.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// When it is tried again.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
}

/// An account as people see it. Secrets are hints such as `••••1234`.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct AccountView {
    /// Its id.
    #[schema(value_type = String, example = "acc_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub id: AccountId,
    /// Name for people.
    pub name: String,
    /// Its connector.
    #[schema(example = "smtp")]
    pub connector: String,
    /// Its settings.
    #[schema(value_type = Object)]
    pub settings: Map<String, Value>,
    /// Channels it carries.
    #[schema(value_type = Vec<String>)]
    pub channels: Vec<Channel>,
    /// Channels whose default it is.
    #[schema(value_type = Vec<String>)]
    pub default_for: Vec<Channel>,
    /// Its default sender.
    pub from: Option<String>,
    /// Whether somebody switched it on.
    pub enabled: bool,
    /// Whether messages can leave through it.
    pub state: AccountState,
    /// Why it is paused, when it is.
    pub pause: Option<AccountPause>,
    /// How it did in the last 24 hours, in short; more of it under `/health`.
    pub health: ShortHealth,
    /// Messages a second, when less than the connector's own limit.
    pub per_second: Option<u32>,
    /// Requests at once, when less than the connector's own limit.
    pub concurrency: Option<u32>,
    /// Where its provider reports to; `null` when this provider does not. Of a provider that signs nothing only whoever may change the account sees the end: it is what shows that a report
    /// is the provider's. Others see `••••` in its place.
    #[schema(example = "https://tidings.example/hooks/acc_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub callback_url: Option<String>,
    /// Where its provider hands mails that people write, when that is an address of its own; otherwise `null`. Shown as `callback_url` is.
    #[schema(
        example = "https://tidings.example/hooks/acc_01K9ZC8Q6T7Y2V5B3N4M1XWRSD/6f1d0c5a9be24a7c8f3e2d1b0a998877"
    )]
    pub mail_url: Option<String>,
    /// How to set that up at the provider, when it has to be done by hand.
    pub callback_help: Option<String>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

impl AccountView {
    /// As somebody may see it: what makes its addresses unguessable is for those alone who may change it.
    pub(super) fn seen_by(mut self, caller: &Caller) -> Self {
        if !may_change(caller, &self.channels) {
            let id = self.id.to_string();
            for url in [&mut self.callback_url, &mut self.mail_url].into_iter().flatten() {
                let end = url.find(&id).map_or(0, |at| at + id.len());
                if end < url.len() {
                    url.replace_range(end.., &format!("/{DOTS}"));
                }
            }
        }
        self
    }
}

/// Whether somebody may change an account that carries these channels.
pub(super) fn may_change(caller: &Caller, channels: &[Channel]) -> bool {
    caller.need("accounts:write").is_ok() && changes::may_manage(caller, channels).is_ok()
}

/// Shows one account.
pub(super) async fn of(
    tx: &mut Tx,
    parts: &Parts,
    row: &accounts::Account,
    now: Timestamp,
) -> Result<AccountView, Error> {
    let states = account_states::of_tenant(tx, row.tenant).await?;
    let sums = health::lately(tx, row.tenant, Some(row.id), now).await?;
    read(tx, parts, row, states.iter().find(|state| state.account_id == row.id), sums.get(&row.id), now).await
}

/// Shows one account whose running state was read.
pub(super) async fn read(
    tx: &mut Tx,
    parts: &Parts,
    row: &accounts::Account,
    running: Option<&account_states::AccountState>,
    lately: Option<&Counts>,
    now: Timestamp,
) -> Result<AccountView, Error> {
    let connector = registry::find(&row.connector);
    let opened = match directory::open_settings(tx, &parts.vault, row).await {
        Ok(values) => Some(values),
        Err(error) if error.code == "secret_unreadable" => None,
        Err(error) => return Err(error),
    };
    let fields = connector.map_or(&[][..], |connector| connector.spec().fields);
    let pause = running.and_then(|running| pause(running, now));
    let state = match (row.is_enabled, &opened, &pause) {
        (_, None, _) => AccountState::Unusable,
        (false, Some(_), _) => AccountState::Disabled,
        (true, Some(_), Some(_)) => AccountState::Paused,
        (true, Some(_), None) => AccountState::Ready,
    };
    let calls_back = connector.filter(|connector| connector.inbound().is_some());
    let help = calls_back.map(|connector| connector.spec().callback_help).filter(|help| !help.is_empty());
    Ok(AccountView {
        id: row.id,
        name: row.name.clone(),
        connector: row.connector.clone(),
        callback_url: calls_back
            .map(|connector| {
                hook_url(parts, row, connector, opened.as_ref(), now, |inbound, cx| Some(inbound.path(cx)))
            })
            .map(|url| url.unwrap_or_else(|| directory::callback_url(&parts.config.public_url, row.id))),
        mail_url: calls_back.and_then(|connector| {
            hook_url(parts, row, connector, opened.as_ref(), now, |inbound, cx| inbound.mail_path(cx))
        }),
        settings: opened.unwrap_or_default().shown(fields),
        channels: directory::channels(&row.channels),
        default_for: directory::channels(&row.default_for),
        from: row.sender.clone(),
        enabled: row.is_enabled,
        state,
        pause,
        health: ShortHealth::of(running, lately, now),
        per_second: row.per_second,
        concurrency: row.concurrency,
        callback_help: help.map(str::to_owned),
        created_at: row.created_at,
        updated_at: row.updated_at,
    })
}

/// An address to enter at the provider, with what the connector adds to it.
fn hook_url(
    parts: &Parts,
    row: &accounts::Account,
    connector: &dyn Connector,
    settings: Option<&Values>,
    now: Timestamp,
    path: impl Fn(&dyn Inbound, &Cx<'_>) -> Option<String>,
) -> Option<String> {
    let url = directory::callback_url(&parts.config.public_url, row.id);
    let nonce = parts.ports.ids.ulid(now);
    let cx = Cx { settings: settings?, from: row.sender.as_deref(), base_url: None, callback_url: &url, now, nonce };
    let path = path(connector.inbound()?, &cx)?;
    Some(format!("{url}{path}"))
}

fn pause(running: &account_states::AccountState, now: Timestamp) -> Option<AccountPause> {
    let until = running.paused_until.filter(|until| *until > now);
    // `paused_at` is when the trouble began: a failure alone is no pause.
    if until.is_none() && running.pause.is_none() {
        return None;
    }
    let failure: Option<Failure> = running.pause.as_deref().and_then(|text| serde_json::from_str(text).ok());
    let (kind, code, detail) = failure.map_or_else(
        || {
            (
                "unavailable".to_owned(),
                "paused".to_owned(),
                "Sending through this account rests for a while.".to_owned(),
            )
        },
        |failure| (failure.kind.to_string(), failure.code, failure.detail),
    );
    Some(AccountPause { kind, code, detail, since: running.paused_at, until })
}

/// What of a view goes into the audit log: what people can change.
pub(super) fn audited(view: &AccountView) -> Value {
    json!({
        "name": view.name, "connector": view.connector, "settings": view.settings, "channels": view.channels, "default_for": view.default_for,
        "from": view.from, "enabled": view.enabled, "per_second": view.per_second, "concurrency": view.concurrency,
    })
}

/// The same of a new account, with the fingerprints of its secrets instead of their hints.
pub(super) fn audited_new(view: &AccountView, fields: &[Field], values: &Values, prints: &Fingerprints) -> Value {
    let mut told = audited(view);
    let secrets = fields.iter().filter(|field| matches!(field.kind, FieldKind::Secret));
    for (name, secret) in secrets.filter_map(|field| Some((field.name, values.get(field.name)?))) {
        told["settings"][name] = prints.of(secret).into();
    }
    told
}

/// Replaces the settings' difference: plain ones with their values, secrets with their fingerprints (two secrets may share a hint).
pub(super) fn add_changed_secrets(
    difference: &mut Value,
    fields: &[Field],
    before: &Values,
    after: &Values,
    prints: &Fingerprints,
) {
    let print = |values: &Values, field: &Field| values.get(field.name).map(|secret| prints.of(secret));
    let changed = fields.iter().filter(|field| before.get(field.name) != after.get(field.name)).map(|field| {
        let told = match field.kind {
            FieldKind::Secret => json!({"from": print(before, field), "to": print(after, field)}),
            FieldKind::Text | FieldKind::Number | FieldKind::Bool | FieldKind::Choice { .. } => {
                json!({"from": before.get(field.name), "to": after.get(field.name)})
            }
        };
        (field.name.to_owned(), told)
    });
    let changed: Map<String, Value> = changed.collect();
    if let Value::Object(difference) = difference {
        difference.remove("settings");
        if !changed.is_empty() {
            difference.insert("settings".to_owned(), Value::Object(changed));
        }
    }
}

#[cfg(test)]
mod tests {
    use model::{AccountId, FailureKind, TenantId};

    use super::*;

    #[test]
    fn a_failure_alone_is_no_pause() {
        let now = Timestamp::from_seconds(1_000);
        let mut state = account_states::AccountState::new(TenantId::from_ulid(1), AccountId::from_ulid(1), now);
        (state.failures, state.paused_at) = (1, Some(now));
        assert!(pause(&state, now).is_none());
        state.pause = serde_json::to_string(&Failure::new(FailureKind::Account, "20003", "Authenticate")).ok();
        assert_eq!(pause(&state, now).unwrap().code, "20003");
    }
}
