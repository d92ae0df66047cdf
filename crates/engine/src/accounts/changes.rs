//! What is written when an account is made, changed or deleted. Each function runs in one transaction, which first raises the configuration version:
//! changes of configuration therefore follow one another, and a channel cannot end up with two defaults.

use super::check::Draft;
use super::*;
use crate::vault::Fingerprints;

pub(super) async fn insert(
    tx: &mut Tx,
    parts: &Parts,
    caller: &Caller,
    tenant: TenantId,
    id: AccountId,
    draft: Draft,
    now: Timestamp,
) -> Result<AccountView, Error> {
    tenants::bump(tx, Some(tenant)).await?;
    let of = tenants::find(tx, tenant).await?.ok_or_else(|| Error::not_found("tenant"))?;
    if of.is_demo && draft.connector.spec().id != crate::demo::CONNECTOR {
        return Err(Error::invalid("/connector", crate::demo::ONLY_SANDBOX));
    }
    may_manage(caller, &draft.channels)?;
    let others: Vec<_> =
        accounts::all(tx, tenant).await?.into_iter().filter(|row| row.connector != "webhook").collect();
    if others.len() >= ACCOUNTS_MAX {
        return Err(Error::conflict(
            "too_many_accounts",
            format!("There are {ACCOUNTS_MAX} accounts already, which is the most. Delete those nobody uses."),
        ));
    }
    let taken: Vec<_> = others.iter().flat_map(|other| directory::channels(&other.default_for)).collect();
    let free = |channel: &Channel| !taken.contains(channel);
    let default_for =
        draft.default_for.clone().unwrap_or_else(|| draft.channels.iter().copied().filter(free).collect());
    let sealed = seal(tx, parts, tenant, id, &draft.values, now).await?;
    let row = accounts::Account {
        id,
        tenant,
        connector: draft.connector.spec().id.to_owned(),
        name: draft.name,
        channels: directory::channel_words(&draft.channels),
        default_for: directory::channel_words(&default_for),
        sender: draft.from,
        settings: sealed.bytes,
        data_key_id: sealed.data_key_id,
        is_enabled: draft.is_enabled,
        per_second: draft.per_second,
        concurrency: draft.concurrency,
        created_at: now,
        updated_at: now,
        deleted_at: None,
    };
    accounts::insert(tx, &row).await?;
    if draft.connector.templates().is_some() && draft.channels.contains(&Channel::Whatsapp) {
        // What the account has already is read soon.
        crate::whatsapp_templates::nudge(tx, tenant, id, now).await?;
    }
    take_defaults(tx, parts, caller, &row, others, now).await?;
    let made = view::of(tx, parts, &row, now).await?;
    let prints = Fingerprints::of_tenant(tx, &parts.vault, &parts.ports.ids, tenant, now).await?;
    let told = view::audited_new(&made, draft.connector.spec().fields, &draft.values, &prints);
    audit::record(tx, tenant, &parts.ports.ids, now, caller, "account.created", id, &told).await?;
    Ok(made)
}

/// Refuses a member who may not set up every one of these channels: an account that carries two is a matter of both.
pub(crate) fn may_manage(caller: &Caller, channels: &[Channel]) -> Result<(), Error> {
    channels.iter().try_for_each(|channel| caller.need_permission(crate::access::Permission::Manage(*channel)))
}

pub(super) async fn patch(
    tx: &mut Tx,
    parts: &Parts,
    caller: &Caller,
    tenant: TenantId,
    id: AccountId,
    change: AccountPatch,
    now: Timestamp,
) -> Result<AccountView, Error> {
    tenants::bump(tx, Some(tenant)).await?;
    let before = find(tx, tenant, id).await?;
    may_manage(caller, &directory::channels(&before.channels))?;
    let is_demo = tenants::find(tx, tenant).await?.is_some_and(|tenant| tenant.is_demo);
    let connector = registry::find_for(is_demo, &before.connector).ok_or_else(|| unknown_connector(&before))?;
    // Settings that do not open are replaced as a whole: entering them again is the remedy.
    let values = match directory::open_settings(tx, &parts.vault, &before).await {
        Err(error) if error.code == "secret_unreadable" => model::Values::default(),
        opened => opened?,
    };
    let before_view = view::of(tx, parts, &before, now).await?;
    let draft = changed(connector, &before, &values, change)?;
    may_manage(caller, &draft.channels)?;

    let heals = draft.values != values || draft.from != before.sender || (draft.is_enabled && !before.is_enabled);
    let mut after = before.clone();
    if draft.values != values || before_view.state == AccountState::Unusable {
        let sealed = seal(tx, parts, tenant, id, &draft.values, now).await?;
        (after.settings, after.data_key_id) = (sealed.bytes, sealed.data_key_id);
    }
    after.name = draft.name;
    after.channels = directory::channel_words(&draft.channels);
    after.default_for = directory::channel_words(&draft.default_for.unwrap_or_default());
    after.sender = draft.from;
    after.is_enabled = draft.is_enabled;
    after.per_second = draft.per_second;
    after.concurrency = draft.concurrency;
    after.updated_at = now;
    accounts::update(tx, &after).await?;
    let others = accounts::all(tx, tenant).await?;
    take_defaults(tx, parts, caller, &after, others, now).await?;
    if heals {
        end_pause(tx, tenant, id).await?;
    }

    let after_view = view::of(tx, parts, &after, now).await?;
    let mut difference = audit::difference(&view::audited(&before_view), &view::audited(&after_view));
    let prints = Fingerprints::of_tenant(tx, &parts.vault, &parts.ports.ids, tenant, now).await?;
    view::add_changed_secrets(&mut difference, connector.spec().fields, &values, &draft.values, &prints);
    audit::record(tx, tenant, &parts.ports.ids, now, caller, "account.updated", id, &difference).await?;
    Ok(after_view)
}

fn changed(
    connector: &'static dyn connectors::Connector,
    before: &accounts::Account,
    values: &model::Values,
    change: AccountPatch,
) -> Result<Draft, Error> {
    let mut faults = Faults::default();
    let name = change.name.required(before.name.clone(), "/name", &mut faults.0);
    let is_enabled = change.enabled.required(before.is_enabled, "/enabled", &mut faults.0);
    let settings = change.settings.required(Map::new(), "/settings", &mut faults.0);
    let values = check::merge(&mut faults, connector, values, &settings);
    let channels = change.channels.or(directory::channels(&before.channels), connector.spec().channels.to_vec());
    // A channel the account no longer carries is no longer its default; one that is asked for by name must be carried.
    let kept = directory::channels(&before.default_for).into_iter().filter(|channel| channels.contains(channel));
    let default_for = change.default_for.or(kept.collect(), Vec::new());
    let draft = Draft {
        connector,
        name,
        values,
        channels,
        default_for: Some(default_for),
        from: change.from.onto(before.sender.clone()),
        is_enabled,
        per_second: change.per_second.onto(before.per_second),
        concurrency: change.concurrency.onto(before.concurrency),
    };
    check::finish(faults, draft)
}

pub(super) async fn delete(
    tx: &mut Tx,
    parts: &Parts,
    caller: &Caller,
    tenant: TenantId,
    id: AccountId,
    is_forced: bool,
    now: Timestamp,
) -> Result<(), Error> {
    /// Messages counted at most: whether there are any matters, not how many.
    const COUNTED_MAX: i64 = 10_000;
    tenants::bump(tx, Some(tenant)).await?;
    let mut row = find(tx, tenant, id).await?;
    may_manage(caller, &directory::channels(&row.channels))?;
    let due = deliveries::count_of_account(tx, tenant, id, COUNTED_MAX).await?;
    // Their last attempt got no answer: once the provider was asked in vain they are tried again through this account.
    let unsettled = messages::count_unsettled(tx, tenant, id, COUNTED_MAX).await?;
    let waiting = (due + unsettled).min(COUNTED_MAX);
    let on_their_way = inflight::count_of_account(tx, tenant, id).await?;
    if waiting + on_their_way > 0 && !is_forced {
        let more = if waiting == COUNTED_MAX { " or more" } else { "" };
        return Err(Error::conflict(
            "account_in_use",
            format!(
                "{waiting}{more} messages wait for this account and {on_their_way} are on their way. Disable it and wait, cancel them, or delete it with `?force=true`, which sends them \
                 another way or fails them with the reason."
            ),
        )
        .with_action("FORCE_DELETE"));
    }
    row.settings = Vec::new();
    row.data_key_id = 0;
    row.is_enabled = false;
    row.default_for = String::new();
    row.updated_at = now;
    row.deleted_at = Some(now);
    accounts::update(tx, &row).await?;
    store::domains::remove_of_account(tx, tenant, id).await?;
    store::senders::remove_of_account(tx, tenant, id).await?;
    store::whatsapp_templates::remove_of_account(tx, tenant, id).await?;
    store::account_resources::remove(tx, tenant, id).await?;
    for registration in store::registrations::remove_of_account(tx, tenant, id).await? {
        store::numbers::free(tx, tenant, registration, now).await?;
    }
    let detail = serde_json::json!({
        "name": row.name, "connector": row.connector, "forced": is_forced, "waiting": waiting, "on_their_way": on_their_way,
    });
    audit::record(tx, tenant, &parts.ports.ids, now, caller, "account.deleted", id, &detail).await
}

/// Takes the channels `row` is the default for from the other accounts.
async fn take_defaults(
    tx: &mut Tx,
    parts: &Parts,
    caller: &Caller,
    row: &accounts::Account,
    others: Vec<accounts::Account>,
    now: Timestamp,
) -> Result<(), Error> {
    let taken = directory::channels(&row.default_for);
    for mut other in others.into_iter().filter(|other| other.id != row.id) {
        let before = directory::channels(&other.default_for);
        let left: Vec<_> = before.iter().copied().filter(|channel| !taken.contains(channel)).collect();
        if left == before {
            continue;
        }
        other.default_for = directory::channel_words(&left);
        other.updated_at = now;
        accounts::update(tx, &other).await?;
        let detail = serde_json::json!({"default_for": {"from": before, "to": left}});
        audit::record(tx, row.tenant, &parts.ports.ids, now, caller, "account.updated", other.id, &detail).await?;
    }
    Ok(())
}

/// Lets messages leave again through an account that was paused because of its own failure.
pub(super) async fn end_pause(tx: &mut Tx, tenant: TenantId, id: AccountId) -> Result<bool, Error> {
    let Some(mut state) = account_states::lock(tx, tenant, id).await? else { return Ok(false) };
    let was_paused = state.paused_at.is_some() || state.paused_until.is_some();
    (state.paused_until, state.paused_at, state.pause, state.failures) = (None, None, None, 0);
    account_states::save(tx, &state).await?;
    Ok(was_paused)
}

/// Changes an account's stored settings by what a provider or we ourselves made up: a value, or `None` to take one away. Raises no version and audits nothing: that is the caller's.
pub(crate) async fn change_settings(
    tx: &mut Tx,
    parts: &Parts,
    tenant: TenantId,
    id: AccountId,
    changes: &[(String, Option<String>)],
    now: Timestamp,
) -> Result<(), Error> {
    let mut row = find(tx, tenant, id).await?;
    let mut values = directory::open_settings(tx, &parts.vault, &row).await?;
    for (name, value) in changes {
        match value {
            Some(value) => values.set(name, value),
            None => values.remove(name),
        }
    }
    let sealed = seal(tx, parts, tenant, id, &values, now).await?;
    (row.settings, row.data_key_id, row.updated_at) = (sealed.bytes, sealed.data_key_id, now);
    Ok(accounts::update(tx, &row).await?)
}

/// Makes `from` the account's default sender.
pub(crate) async fn change_from(
    tx: &mut Tx,
    tenant: TenantId,
    id: AccountId,
    from: &str,
    now: Timestamp,
) -> Result<(), Error> {
    let mut row = find(tx, tenant, id).await?;
    (row.sender, row.updated_at) = (Some(from.to_owned()), now);
    Ok(accounts::update(tx, &row).await?)
}

async fn seal(
    tx: &mut Tx,
    parts: &Parts,
    tenant: TenantId,
    id: AccountId,
    values: &model::Values,
    now: Timestamp,
) -> Result<crate::vault::Sealed, Error> {
    let vault: &Vault = &parts.vault;
    let (row, plain) = (id.to_string(), zeroize::Zeroizing::new(values.to_plain_json()));
    vault.seal(tx, &parts.ports.ids, now, &directory::settings_place(tenant, &row), plain.as_bytes()).await
}

fn unknown_connector(row: &accounts::Account) -> Error {
    Error::conflict(
        "connector_unknown",
        format!("The connector `{}` is not part of this version; the account can only be deleted.", row.connector),
    )
}
