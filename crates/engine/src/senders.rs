//! Senders: the addresses, numbers and names an account may send as.
//!
//! An account's own `from` is its default sender; making one of these the default writes it there, so an account has one default by construction. Whether a mail
//! address may be used follows from its domain ([`crate::domains`]); of numbers and names the provider is asked where it can be ([`connectors::manage::Numbers`]).

use connectors::manage::{DomainState, NumberState};
use model::{AccountId, Channel, Mailbox, SenderId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use store::{Scope, Tx, domains, senders, tenants};
use utoipa::ToSchema;

use crate::{
    Error, Parts,
    accounts::changes,
    audit, directory,
    directory::Account,
    domains::covering,
    keys::Caller,
    names::Faults,
    once::{self, Repeat, Reply, Secrecy, once},
    page::{Page, Window},
    patch::Patch,
    provider,
};

/// Senders a tenant can have: they are read together whenever the tenant is.
pub const SENDERS_MAX: usize = 1_000;
/// Longest sender, in bytes: a display name and an address.
const FROM_MAX: usize = 512;

/// Whether a sender may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SenderState {
    /// The provider lets it send.
    Verified,
    /// The provider would refuse it: messages that name it are refused here.
    Refused,
    /// Nobody can say before a message is sent.
    Unknown,
}

/// A sender to be made.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSender {
    /// On which account.
    #[schema(value_type = String, example = "acc_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub account_id: AccountId,
    /// As whom: an address with or without a name, a number, or what else the account's connector takes as a sender.
    #[schema(example = "Acme News <news@acme.example>")]
    pub from: String,
    /// Name for people; the sender itself when left out.
    #[serde(default)]
    pub name: Option<String>,
    /// Channels it can be used for; all of the account's that take it when left out.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>)]
    pub channels: Option<Vec<Channel>>,
    /// True to make it the account's default sender.
    #[serde(default)]
    pub default: bool,
}

/// Changes of a sender. Another `from` is another sender.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SenderPatch {
    /// Name for people.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub name: Patch<String>,
    /// Channels it can be used for; `null` for all that take it.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>)]
    pub channels: Patch<Vec<Channel>>,
    /// True to make it the account's default sender. To end that, make another one the default.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    pub default: Patch<bool>,
}

/// A sender as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct SenderView {
    /// Its id: what `sender_id` of a message names.
    #[schema(value_type = String, example = "snd_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub id: SenderId,
    /// On which account.
    #[schema(value_type = String)]
    pub account_id: AccountId,
    /// `email`, `phone`, `alphanumeric` or `other`.
    #[schema(example = "email")]
    pub kind: &'static str,
    /// As whom.
    pub from: String,
    /// Name for people.
    pub name: String,
    /// Channels it can be used for.
    #[schema(value_type = Vec<String>)]
    pub channels: Vec<Channel>,
    /// Whether it is the account's default.
    pub default: bool,
    /// Whether it may be used.
    pub state: SenderState,
    /// Why, and what to do.
    pub detail: Option<String>,
    /// When the provider was asked about it.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub checked_at: Option<Timestamp>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// Adds a sender. Where the provider can be asked about it, it is. Needs the scope `accounts:write`.
#[crate::boxed]
pub async fn create(parts: &Parts, caller: &Caller, repeat: &Repeat, new: NewSender) -> Result<Reply, Error> {
    caller.need("accounts:write")?;
    let tenant = caller.need_tenant()?;
    if let Some(before) = once::replay(parts, caller, repeat).await? {
        return Ok(before);
    }
    let account = provider::named_account(parts, tenant, new.account_id).await?;
    changes::may_manage(caller, &account.channels)?;
    let mut row = draft(&account, new.from.trim(), new.name.as_deref(), new.channels)?;
    let now = parts.ports.clock.now();
    row.id = SenderId::from_ulid(parts.ports.ids.ulid(now));
    (row.created_at, row.updated_at) = (now, now);
    (row.state, row.detail) = ask(parts, &account, &row).await;
    row.checked_at = is_asked(&account, &row).then_some(now);
    let (inner, by, is_default) = (parts.clone(), caller.clone(), new.default);
    let reply = once(parts, caller, repeat, 201, Secrecy::Plain, move |tx| {
        Box::pin(async move { insert(tx, &inner, &by, row, is_default, now).await })
    })
    .await?;
    parts.directory.catch_up().await;
    Ok(reply)
}

/// Checks a new sender against what its account takes.
fn draft(
    account: &Account,
    from: &str,
    name: Option<&str>,
    channels: Option<Vec<Channel>>,
) -> Result<senders::Sender, Error> {
    let mut faults = Faults::default();
    if from.is_empty() || from.len() > FROM_MAX || from.chars().any(char::is_control) {
        faults.add("/from", format!("1 to {FROM_MAX} bytes without line breaks or control characters"));
        faults.end()?;
        unreachable!("a fault was added");
    }
    let takes = |channel: &Channel| account.connector.check_from(from, *channel);
    let fitting: Vec<Channel> = account.channels.iter().copied().filter(|channel| takes(channel).is_ok()).collect();
    let channels = match channels {
        None if fitting.is_empty() => {
            let detail = account.channels.iter().find_map(|channel| takes(channel).err()).map(|bad| bad.detail);
            faults.add("/from", detail.unwrap_or_else(|| "is no sender this account takes".to_owned()));
            fitting
        }
        None => fitting,
        Some(wanted) => {
            check_channels(&mut faults, account, from, &wanted);
            wanted
        }
    };
    let name =
        faults.name("/name", name.unwrap_or(from).chars().take(crate::names::NAME_MAX).collect::<String>().as_str());
    faults.end()?;
    Ok(senders::Sender {
        id: SenderId::from_ulid(0),
        tenant_id: account.tenant_id,
        account_id: account.id,
        channels: directory::channel_words(&channels),
        sender: from.to_owned(),
        name,
        state: word(SenderState::Unknown).to_owned(),
        detail: None,
        checked_at: None,
        created_at: Timestamp::EPOCH,
        updated_at: Timestamp::EPOCH,
    })
}

fn check_channels(faults: &mut Faults, account: &Account, from: &str, wanted: &[Channel]) {
    if wanted.is_empty() {
        faults.add("/channels", "a sender is for at least one channel");
    }
    for (index, channel) in wanted.iter().enumerate() {
        let pointer = format!("/channels/{index}");
        if !account.channels.contains(channel) {
            faults.add(pointer, format!("the account {} does not carry {channel}", account.name));
        } else if let Err(bad) = account.connector.check_from(from, *channel) {
            faults.add(pointer, bad.detail);
        }
    }
}

async fn insert(
    tx: &mut Tx,
    parts: &Parts,
    caller: &Caller,
    row: senders::Sender,
    is_default: bool,
    now: Timestamp,
) -> Result<SenderView, Error> {
    let tenant = row.tenant_id;
    tenants::bump(tx, Some(tenant)).await?;
    crate::accounts::find(tx, tenant, row.account_id).await?;
    if senders::all(tx, tenant).await?.len() >= SENDERS_MAX {
        let detail = format!("There are {SENDERS_MAX} senders already, which is the most. Delete those nobody uses.");
        return Err(Error::conflict("too_many_senders", detail));
    }
    if !senders::insert(tx, &row).await? {
        return Err(Error::conflict("sender_exists", format!("This account has the sender {} already.", row.sender)));
    }
    if is_default {
        changes::change_from(tx, tenant, row.account_id, &row.sender, now).await?;
    }
    let shown = shown(tx, row).await?;
    let detail = serde_json::json!({"account_id": shown.account_id, "from": shown.from, "channels": shown.channels, "default": shown.default});
    audit::record(tx, tenant, &parts.ports.ids, now, caller, "sender.created", shown.id, &detail).await?;
    Ok(shown)
}

/// Lists the tenant's senders, of one account or of all, newest first. Needs the scope `accounts:read`.
#[crate::boxed]
pub async fn list(
    parts: &Parts,
    caller: &Caller,
    account: Option<AccountId>,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<SenderView>, Error> {
    caller.need("accounts:read")?;
    let tenant = caller.need_tenant()?;
    let window = Window::read("senders", limit, cursor)?;
    let read = parts.ports.db.read(caller.reach(), move |tx| {
        Box::pin(async move {
            let before = SenderId::from_ulid(window.before);
            let rows = senders::list(tx, tenant, account, before, window.rows()).await?;
            let mut views = Vec::with_capacity(rows.len());
            let known = Known::read(tx, tenant).await?;
            let accounts = store::accounts::all(tx, tenant).await?;
            for row in rows {
                let from =
                    accounts.iter().find(|account| account.id == row.account_id).and_then(|a| a.sender.as_deref());
                views.push(known.view(&row, from));
            }
            Ok::<_, Error>(views)
        })
    });
    Ok(window.page(read.await?, |view| view.id.ulid(), |view| view))
}

/// Reads one of the tenant's senders. Needs the scope `accounts:read`.
#[crate::boxed]
pub async fn get(parts: &Parts, caller: &Caller, id: SenderId) -> Result<SenderView, Error> {
    caller.need("accounts:read")?;
    let tenant = caller.need_tenant()?;
    let read = parts.ports.db.read(caller.reach(), move |tx| {
        Box::pin(async move {
            let row = find(tx, tenant, id).await?;
            shown(tx, row).await
        })
    });
    read.await
}

/// Changes a sender. Needs the scope `accounts:write`.
#[crate::boxed]
pub async fn patch(parts: &Parts, caller: &Caller, id: SenderId, change: SenderPatch) -> Result<SenderView, Error> {
    caller.need("accounts:write")?;
    let tenant = caller.need_tenant()?;
    let before = row(parts, tenant, id).await?;
    let account = provider::account(parts, tenant, before.account_id).await?;
    changes::may_manage(caller, &account.channels)?;
    let (now, inner, by) = (parts.ports.clock.now(), parts.clone(), caller.clone());
    let write = parts.ports.db.write(caller.reach(), move |tx| {
        Box::pin(async move {
            tenants::bump(tx, Some(tenant)).await?;
            let mut row = find(tx, tenant, id).await?;
            let before = shown(tx, row.clone()).await?;
            let mut faults = Faults::default();
            let name = change.name.required(row.name.clone(), "/name", &mut faults.0);
            row.name = faults.name("/name", &name);
            match change.channels {
                Patch::Keep => {}
                Patch::Clear => row.channels = draft(&account, &row.sender, None, None)?.channels,
                Patch::Set(wanted) => {
                    check_channels(&mut faults, &account, &row.sender, &wanted);
                    row.channels = directory::channel_words(&wanted);
                }
            }
            match change.default {
                Patch::Keep => {}
                Patch::Set(true) => changes::change_from(tx, tenant, row.account_id, &row.sender, now).await?,
                Patch::Set(false) | Patch::Clear if before.default => {
                    faults.add("/default", "an account has one default sender: make another one the default instead");
                }
                Patch::Set(false) | Patch::Clear => {}
            }
            faults.end()?;
            row.updated_at = now;
            senders::update(tx, &row).await?;
            let after = shown(tx, row).await?;
            let told = |view: &SenderView| {
                serde_json::json!({"name": view.name, "channels": view.channels, "default": view.default})
            };
            let difference = audit::difference(&told(&before), &told(&after));
            audit::record(tx, tenant, &inner.ports.ids, now, &by, "sender.updated", id, &difference).await?;
            Ok::<_, Error>(after)
        })
    });
    let after = write.await?;
    parts.directory.catch_up().await;
    Ok(after)
}

/// Asks the provider about a sender, now. Needs the scope `accounts:write`.
#[crate::boxed]
pub async fn verify(parts: &Parts, caller: &Caller, repeat: &Repeat, id: SenderId) -> Result<Reply, Error> {
    caller.need("accounts:write")?;
    let tenant = caller.need_tenant()?;
    if let Some(before) = once::replay(parts, caller, repeat).await? {
        return Ok(before);
    }
    let mut row = row(parts, tenant, id).await?;
    let account = provider::account(parts, tenant, row.account_id).await?;
    changes::may_manage(caller, &account.channels)?;
    let now = parts.ports.clock.now();
    if is_asked(&account, &row) {
        (row.state, row.detail) = ask(parts, &account, &row).await;
        row.checked_at = Some(now);
    }
    let (ids, by) = (std::sync::Arc::clone(&parts.ports.ids), caller.clone());
    let reply = once(parts, caller, repeat, 200, Secrecy::Plain, move |tx| {
        Box::pin(async move {
            tenants::bump(tx, Some(tenant)).await?;
            if !senders::update(tx, &row).await? {
                return Err(Error::not_found("sender"));
            }
            let shown = shown(tx, row).await?;
            let detail = serde_json::json!({"state": shown.state, "detail": shown.detail});
            audit::record(tx, tenant, &ids, now, &by, "sender.checked", id, &detail).await?;
            Ok(shown)
        })
    })
    .await?;
    parts.directory.catch_up().await;
    Ok(reply)
}

/// Forgets a sender. Messages that still wait and name it fail with the reason. Needs the scope `accounts:write`.
#[crate::boxed]
pub async fn delete(parts: &Parts, caller: &Caller, id: SenderId) -> Result<(), Error> {
    caller.need("accounts:write")?;
    let tenant = caller.need_tenant()?;
    let account = provider::account(parts, tenant, row(parts, tenant, id).await?.account_id).await?;
    changes::may_manage(caller, &account.channels)?;
    let (now, inner, by) = (parts.ports.clock.now(), parts.clone(), caller.clone());
    let write = parts.ports.db.write(caller.reach(), move |tx| {
        Box::pin(async move {
            tenants::bump(tx, Some(tenant)).await?;
            let row = find(tx, tenant, id).await?;
            senders::remove(tx, tenant, id).await?;
            let detail = serde_json::json!({"account_id": row.account_id, "from": row.sender});
            audit::record(tx, tenant, &inner.ports.ids, now, &by, "sender.deleted", id, &detail).await
        })
    });
    write.await?;
    parts.directory.catch_up().await;
    Ok(())
}

async fn row(parts: &Parts, tenant: TenantId, id: SenderId) -> Result<senders::Sender, Error> {
    let read = parts.ports.db.read(Scope::Tenant(tenant), move |tx| Box::pin(find(tx, tenant, id)));
    read.await
}

async fn find(tx: &mut Tx, tenant: TenantId, id: SenderId) -> Result<senders::Sender, Error> {
    senders::find(tx, tenant, id).await?.ok_or_else(|| Error::not_found("sender"))
}

async fn shown(tx: &mut Tx, row: senders::Sender) -> Result<SenderView, Error> {
    let account = store::accounts::find(tx, row.tenant_id, row.account_id).await?;
    let known = Known::read(tx, row.tenant_id).await?;
    Ok(known.view(&row, account.and_then(|account| account.sender).as_deref()))
}

/// True when the provider can be asked about this one: mail addresses follow from their domains.
fn is_asked(account: &Account, row: &senders::Sender) -> bool {
    account.connector.numbers().is_some() && !directory::channels(&row.channels).contains(&Channel::Email)
}

/// Asks the provider about a number or name. A provider that does not answer leaves it unknown.
async fn ask(parts: &Parts, account: &Account, row: &senders::Sender) -> (String, Option<String>) {
    let unknown = |detail| (word(SenderState::Unknown).to_owned(), detail);
    let channel = directory::channels(&row.channels).first().copied();
    let (Some(numbers), Some(channel)) = (account.connector.numbers().filter(|_| is_asked(account, row)), channel)
    else {
        return unknown(None);
    };
    let driven =
        provider::drive_as(parts, account, Some(&row.sender), |cx, answers| numbers.look_up(cx, channel, answers));
    match driven.await {
        Ok(NumberState::Verified(detail)) => (word(SenderState::Verified).to_owned(), Some(detail)),
        Ok(NumberState::Refused(detail)) => (word(SenderState::Refused).to_owned(), Some(detail)),
        Ok(NumberState::Unknown(detail)) => unknown(Some(detail)),
        Err(failure) => unknown(Some(failure.detail)),
    }
}

const fn word(state: SenderState) -> &'static str {
    match state {
        SenderState::Verified => "verified",
        SenderState::Refused => "refused",
        SenderState::Unknown => "unknown",
    }
}

/// What the states of a tenant's senders follow from.
pub(crate) struct Known {
    domains: Vec<(AccountId, String, String)>,
    senders: Vec<senders::Sender>,
    /// Accounts whose provider refuses mail of domains that are not verified.
    strict: Vec<AccountId>,
}

impl Known {
    pub(crate) async fn read(tx: &mut Tx, tenant: TenantId) -> Result<Self, Error> {
        let senders = senders::all(tx, tenant).await?;
        // Most tenants have none: nothing more is read then.
        let domains = if senders.is_empty() { Vec::new() } else { domains::states(tx, tenant).await? };
        let accounts = if senders.is_empty() { Vec::new() } else { store::accounts::all(tx, tenant).await? };
        let is_strict = |account: &&store::accounts::Account| {
            connectors::registry::find(&account.connector).is_some_and(|connector| connector.domains().is_some())
        };
        let strict = accounts.iter().filter(is_strict).map(|account| account.id).collect();
        Ok(Self { domains, senders, strict })
    }

    /// The senders of one account, for the directory.
    pub(crate) fn of(&self, account: &Account) -> Vec<std::sync::Arc<directory::Sender>> {
        let own = self.senders.iter().filter(|row| row.account_id == account.id);
        own.map(|row| {
            let (state, detail) = self.state(row);
            std::sync::Arc::new(directory::Sender {
                id: row.id,
                from: row.sender.clone(),
                name: row.name.clone(),
                channels: directory::channels(&row.channels),
                state,
                detail,
            })
        })
        .collect()
    }

    fn state(&self, row: &senders::Sender) -> (SenderState, Option<String>) {
        let Some(domain) = mail_domain(row) else {
            let state = match row.state.as_str() {
                "verified" => SenderState::Verified,
                "refused" => SenderState::Refused,
                _ => SenderState::Unknown,
            };
            return (state, row.detail.clone());
        };
        let is_strict = self.strict.contains(&row.account_id);
        match covering(&self.domains, row.account_id, &domain) {
            Some(DomainState::Verified) => (SenderState::Verified, Some(format!("Its domain {domain} is verified."))),
            Some(DomainState::Pending | DomainState::Failed) => {
                let state = if is_strict { SenderState::Refused } else { SenderState::Unknown };
                let detail = format!(
                    "Its domain {domain} is not verified. Publish the records that GET /v1/domains shows, and verify it."
                );
                (state, Some(detail))
            }
            None => {
                let detail = format!(
                    "Nobody checked the domain {domain}. Add it with POST /v1/domains, to see whether it is in order."
                );
                (SenderState::Unknown, Some(detail))
            }
        }
    }

    fn view(&self, row: &senders::Sender, default: Option<&str>) -> SenderView {
        let (state, detail) = self.state(row);
        SenderView {
            id: row.id,
            account_id: row.account_id,
            kind: kind(row),
            from: row.sender.clone(),
            name: row.name.clone(),
            channels: directory::channels(&row.channels),
            default: default == Some(row.sender.as_str()),
            state,
            detail,
            checked_at: row.checked_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

/// The domain of a mail sender.
fn mail_domain(row: &senders::Sender) -> Option<String> {
    if !directory::channels(&row.channels).contains(&Channel::Email) {
        return None;
    }
    let mailbox: Mailbox = row.sender.parse().ok()?;
    Some(mailbox.address.domain().to_ascii_lowercase())
}

fn kind(row: &senders::Sender) -> &'static str {
    let text = row.sender.as_str();
    let digits = text.strip_prefix('+').unwrap_or(text);
    if mail_domain(row).is_some() {
        "email"
    } else if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        "phone"
    } else if text.len() <= 11 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b' ') {
        "alphanumeric"
    } else {
        "other"
    }
}
