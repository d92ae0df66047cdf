//! How an account's provider is told where it reports to: over its API where it has one, otherwise by hand, with everything to paste.

use connectors::{
    Cx, Inbound,
    manage::{CallbackState, Paste},
};
use model::{AccountId, Timestamp};
use serde::{Deserialize, Serialize};
use store::{account_resources, tenants};
use utoipa::ToSchema;

use super::{changes, view::may_change};
use crate::{
    Error, Parts, audit,
    directory::{Account, Secrets},
    keys::Caller,
    once::{self, Repeat, Reply, Secrecy, once},
    provider,
    vault::Fingerprints,
};

/// Something to be entered by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PasteView {
    /// Where it goes.
    pub place: String,
    /// What goes there.
    pub value: String,
}

/// How an account's callbacks are set up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct AccountCallbacks {
    /// `set`, `not_set`, `by_hand` where the provider has no API for it, `none` where this provider does not report, and `unknown` where it gave no answer.
    #[schema(example = "set")]
    pub state: &'static str,
    /// True when `POST` to this path sets them up.
    pub can_be_set: bool,
    /// The address the provider reports to; `null` where it does not. Secrets in it and below are only shown to who may change the account.
    pub url: Option<String>,
    /// How requests are known to be the provider's.
    pub security: String,
    /// What was found or done, a line each.
    pub lines: Vec<String>,
    /// What has to be entered by hand.
    pub by_hand: Vec<PasteView>,
    /// How to do it by hand, on the provider's pages.
    pub help: Option<String>,
    /// When they were last set up over the API.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub set_at: Option<Timestamp>,
}

impl AccountCallbacks {
    fn without(mut self, secrets: &Secrets) -> Self {
        let values = self.by_hand.iter_mut().map(|paste| &mut paste.value);
        for text in self.url.iter_mut().chain(&mut self.lines).chain(values) {
            *text = secrets.hidden(std::mem::take(text));
        }
        self
    }
}

/// Asks the provider how the account's callbacks are set up. Needs the scope `accounts:read`.
#[crate::boxed]
pub async fn callbacks(parts: &Parts, caller: &Caller, id: AccountId) -> Result<AccountCallbacks, Error> {
    caller.need("accounts:read")?;
    let tenant = caller.need_tenant()?;
    let account = provider::account(parts, tenant, id).await?;
    let read = parts
        .ports
        .db
        .read(caller.reach(), move |tx| Box::pin(async move { account_resources::find(tx, tenant, id).await }));
    let set_at = read.await?.and_then(|kept| kept.callbacks_at);
    let seen = match account.connector.callbacks() {
        Some(offered) => {
            Some(provider::drive(parts, &account, |cx, answers| offered.state(cx, answers)).await.map_err(|f| f.detail))
        }
        None => None,
    };
    let shown = view(parts, &account, seen, set_at);
    Ok(if may_change(caller, &account.channels) { shown } else { shown.without(account.secrets()) })
}

/// Sets the account's callbacks up at the provider. Secrets the provider gives are sealed into the account. Needs the scope `accounts:write`.
#[crate::boxed]
pub async fn set_callbacks(parts: &Parts, caller: &Caller, repeat: &Repeat, id: AccountId) -> Result<Reply, Error> {
    caller.need("accounts:write")?;
    let tenant = caller.need_tenant()?;
    if let Some(before) = once::replay(parts, caller, repeat).await? {
        return Ok(before);
    }
    let mut account = provider::account(parts, tenant, id).await?;
    changes::may_manage(caller, &account.channels)?;
    let Some(offered) = account.connector.callbacks() else {
        let shown = view(parts, &account, None, None);
        let detail = match (shown.url, shown.help) {
            (Some(url), Some(help)) => format!(
                "{} offers this on its own pages only. Enter {url} there: {help}",
                account.connector.spec().name
            ),
            (Some(url), None) => format!("This needs no set-up: every message names {url}."),
            (None, _) => format!("{} does not report.", account.connector.spec().name),
        };
        return Err(Error::conflict("callbacks_by_hand", detail).with_action("SET_UP_BY_HAND"));
    };
    // The provider may call while it is being told, so what it shall show must be stored before.
    if make_secrets(parts, caller, &account, offered.own_secrets()).await? {
        account = provider::account(parts, tenant, id).await?;
    }
    let driven = provider::drive(parts, &account, |cx, answers| offered.set(cx, answers)).await;
    let done = driven.map_err(provider::refusal)?;
    let now = parts.ports.clock.now();
    let (inner, by) = (parts.clone(), caller.clone());
    let reply = once(parts, caller, repeat, 200, Secrecy::Sealed, move |tx| {
        Box::pin(async move {
            tenants::bump(tx, Some(tenant)).await?;
            super::find(tx, tenant, id).await?;
            if !done.settings.is_empty() {
                let given: Vec<_> =
                    done.settings.iter().map(|(name, value)| ((*name).to_owned(), Some(value.clone()))).collect();
                changes::change_settings(tx, &inner, tenant, id, &given, now).await?;
            }
            account_resources::put_callbacks(tx, tenant, id, now).await?;
            let given: Vec<&str> = done.settings.iter().map(|(name, _)| *name).collect();
            let lines: Vec<_> = done.lines.iter().map(|line| account.secrets().hidden(line.clone())).collect();
            let detail = serde_json::json!({"set": done.is_set, "done": lines, "settings": given});
            audit::record(tx, tenant, &inner.ports.ids, now, &by, "account.callbacks_set", id, &detail).await?;
            Ok(view(&inner, &account, Some(Ok(done)), Some(now)))
        })
    })
    .await?;
    parts.directory.catch_up().await;
    Ok(reply)
}

/// Makes up the secrets that are not set yet, and stores them. `true` when there were any.
async fn make_secrets(
    parts: &Parts,
    caller: &Caller,
    account: &Account,
    wanted: &[(&'static str, usize)],
) -> Result<bool, Error> {
    let is_missing = |name: &str| account.values.get(name).is_none_or(str::is_empty);
    let made: Vec<(String, Option<String>)> = wanted
        .iter()
        .filter(|(name, _)| is_missing(name))
        .map(|(name, length)| ((*name).to_owned(), Some(secret(parts, *length))))
        .collect();
    if made.is_empty() {
        return Ok(false);
    }
    let (tenant, id, now) = (account.tenant_id, account.id, parts.ports.clock.now());
    let (inner, by) = (parts.clone(), caller.clone());
    let write = parts.ports.db.write(caller.reach(), move |tx| {
        Box::pin(async move {
            tenants::bump(tx, Some(tenant)).await?;
            changes::change_settings(tx, &inner, tenant, id, &made, now).await?;
            let prints = Fingerprints::of_tenant(tx, &inner.vault, &inner.ports.ids, tenant, now).await?;
            let print = |secret: &Option<String>| secret.as_deref().map(|secret| prints.of(secret));
            let names = made
                .iter()
                .map(|(name, secret)| (name.clone(), serde_json::json!({ "from": null, "to": print(secret) })));
            let detail = serde_json::json!({ "settings": names.collect::<serde_json::Map<_, _>>() });
            audit::record(tx, tenant, &inner.ports.ids, now, &by, "account.updated", id, &detail).await
        })
    });
    write.await?;
    parts.directory.catch_up().await;
    Ok(true)
}

/// Letters and digits nobody can guess: each has nearly six bits.
fn secret(parts: &Parts, length: usize) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789AB";
    let mut bytes = vec![0; length];
    parts.ports.ids.fill(&mut bytes);
    bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 63)])).collect()
}

fn view(
    parts: &Parts,
    account: &Account,
    seen: Option<Result<CallbackState, String>>,
    set_at: Option<Timestamp>,
) -> AccountCallbacks {
    let spec = account.connector.spec();
    let url = account.connector.inbound().map(|inbound| url(parts, account, inbound));
    let help = Some(spec.callback_help).filter(|help| !help.is_empty() && url.is_some());
    let can_be_set = account.connector.callbacks().is_some();
    let (state, lines, by_hand) = match (seen, &url) {
        (Some(Ok(seen)), _) => {
            let state = if seen.is_set {
                "set"
            } else if seen.by_hand.is_empty() {
                "not_set"
            } else {
                "by_hand"
            };
            (state, seen.lines, seen.by_hand.into_iter().map(pasted).collect())
        }
        (Some(Err(problem)), _) => ("unknown", vec![problem], Vec::new()),
        (None, None) => ("none", vec![format!("{} does not report.", spec.name)], Vec::new()),
        (None, Some(url)) => {
            let paste =
                PasteView { place: format!("the webhook or callback URL at {}", spec.name), value: url.clone() };
            ("by_hand", Vec::new(), vec![paste])
        }
    };
    AccountCallbacks {
        state,
        can_be_set,
        url,
        security: spec.callback_security.to_owned(),
        lines,
        by_hand,
        help: help.map(str::to_owned),
        set_at,
    }
}

fn pasted(paste: Paste) -> PasteView {
    PasteView { place: paste.place, value: paste.value }
}

/// The address with what the connector adds to it.
fn url(parts: &Parts, account: &Account, inbound: &dyn Inbound) -> String {
    let now = parts.ports.clock.now();
    let cx = Cx { nonce: parts.ports.ids.ulid(now), ..account.cx(now) };
    format!("{}{}", account.callback_url, inbound.path(&cx))
}
