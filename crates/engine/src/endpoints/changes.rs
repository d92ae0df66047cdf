//! What is written when an endpoint is made, changed or deleted. Each function runs in one transaction, which first raises the configuration version: changes of one
//! tenant's endpoints therefore follow one another.

use model::{EndpointId, Secret, TenantId, Timestamp, Values};
use serde_json::json;
use store::{Tx, account_states, accounts, endpoints, tenants};

use super::{
    ENDPOINTS_MAX, EndpointPatch, find, settings,
    view::{self, ACTIVE, DISABLED, EndpointView, EndpointWithSecret},
    words,
};
use crate::{
    Error, Parts, audit, directory,
    keys::Caller,
    patch::Patch,
    vault::{Fingerprints, Sealed},
};

/// Secrets that sign at once at most, as the connector allows.
const SECRETS_MAX: usize = 5;

/// Shows an endpoint with the state of its account.
pub(super) async fn shown(tx: &mut Tx, row: &endpoints::Endpoint) -> Result<EndpointView, Error> {
    let states = account_states::of_tenant(tx, row.tenant_id).await?;
    Ok(view::endpoint(row, states.iter().find(|state| state.account_id == row.id.account())))
}

pub(super) async fn insert(
    tx: &mut Tx,
    parts: &Parts,
    caller: &Caller,
    row: &endpoints::Endpoint,
    secret: &Secret,
    now: Timestamp,
) -> Result<EndpointWithSecret, Error> {
    let tenant = row.tenant_id;
    tenants::bump(tx, Some(tenant)).await?;
    tenants::find(tx, tenant).await?.ok_or_else(|| Error::not_found("tenant"))?;
    if endpoints::count(tx, tenant).await? >= ENDPOINTS_MAX {
        return Err(Error::conflict(
            "too_many_endpoints",
            format!(
                "There are {ENDPOINTS_MAX} webhook endpoints already, which is the most. Delete those nobody uses."
            ),
        ));
    }
    let sealed = seal(tx, parts, row, &settings(&row.url, &[secret.reveal()]), now).await?;
    let account = accounts::Account {
        id: row.id.account(),
        tenant,
        connector: "webhook".to_owned(),
        name: row.id.to_string(),
        channels: model::Channel::Webhook.as_str().to_owned(),
        default_for: String::new(),
        sender: None,
        settings: sealed.bytes,
        data_key_id: sealed.data_key_id,
        is_enabled: row.state == ACTIVE,
        per_second: None,
        concurrency: None,
        created_at: now,
        updated_at: now,
        deleted_at: None,
    };
    accounts::insert(tx, &account).await?;
    endpoints::insert(tx, row).await?;
    let made = view::endpoint(row, None);
    let prints = Fingerprints::of_tenant(tx, &parts.vault, &parts.ports.ids, tenant, now).await?;
    let mut told = audited(&made, &prints);
    told["secret"] = prints.of(secret.reveal()).into();
    record(tx, parts, caller, row, "endpoint.created", &told, now).await?;
    Ok(EndpointWithSecret { endpoint: made, secret: secret.reveal().to_owned() })
}

/// Answers the endpoint after the change, and whether its pause ended.
pub(super) async fn patch(
    tx: &mut Tx,
    parts: &Parts,
    caller: &Caller,
    tenant: TenantId,
    id: EndpointId,
    change: EndpointPatch,
    now: Timestamp,
) -> Result<(EndpointView, bool), Error> {
    tenants::bump(tx, Some(tenant)).await?;
    let before = find(tx, tenant, id).await?;
    let mut account = account(tx, &before).await?;
    let mut bad = Vec::new();
    let is_asked_on = change.enabled == Patch::Set(true);
    let is_enabled = change.enabled.required(before.state == ACTIVE, "/enabled", &mut bad);
    let mut after = before.clone();
    after.url = change.url.required(before.url.clone(), "/url", &mut bad);
    if !bad.is_empty() {
        return Err(Error::invalid_fields(bad));
    }
    after.description = change.description.or(before.description.clone(), String::new());
    let filters = before.events.split_whitespace().map(str::to_owned).collect();
    after.events = words(&change.events.or(filters, vec!["*".to_owned()]));
    if is_enabled != (before.state == ACTIVE) {
        after.state = if is_enabled { ACTIVE } else { DISABLED }.to_owned();
        after.state_reason = None;
    }
    if after.url != before.url {
        let mut values = directory::open_settings(tx, &parts.vault, &account).await?;
        values.set("url", &after.url);
        let sealed = seal(tx, parts, &after, &values, now).await?;
        (account.settings, account.data_key_id) = (sealed.bytes, sealed.data_key_id);
    }
    let is_healed = is_enabled && (is_asked_on || after.url != before.url);
    if is_healed {
        end_pause(tx, tenant, id).await?;
    }
    account.is_enabled = is_enabled;
    save(tx, &mut after, &mut account, now).await?;
    let prints = Fingerprints::of_tenant(tx, &parts.vault, &parts.ports.ids, tenant, now).await?;
    let told = |row: &endpoints::Endpoint| audited(&view::endpoint(row, None), &prints);
    let (from, to) = (told(&before), told(&after));
    record(tx, parts, caller, &after, "endpoint.updated", &audit::difference(&from, &to), now).await?;
    Ok((shown(tx, &after).await?, is_healed))
}

pub(super) async fn delete(
    tx: &mut Tx,
    parts: &Parts,
    caller: &Caller,
    tenant: TenantId,
    id: EndpointId,
    now: Timestamp,
) -> Result<(), Error> {
    tenants::bump(tx, Some(tenant)).await?;
    let mut row = find(tx, tenant, id).await?;
    let mut account = account(tx, &row).await?;
    (account.settings, account.data_key_id, account.is_enabled) = (Vec::new(), 0, false);
    (row.state, row.previous_secret_until) = (DISABLED.to_owned(), None);
    (row.deleted_at, account.deleted_at) = (Some(now), Some(now));
    save(tx, &mut row, &mut account, now).await?;
    end_pause(tx, tenant, id).await?;
    let prints = Fingerprints::of_tenant(tx, &parts.vault, &parts.ports.ids, tenant, now).await?;
    let told = json!({"url": audited_url(&row.url, &prints)});
    record(tx, parts, caller, &row, "endpoint.deleted", &told, now).await
}

#[allow(clippy::too_many_arguments, reason = "each is a different fact, and a struct would be used once")]
pub(super) async fn rotate(
    tx: &mut Tx,
    parts: &Parts,
    caller: &Caller,
    tenant: TenantId,
    id: EndpointId,
    overlap_s: u32,
    secret: &Secret,
    now: Timestamp,
) -> Result<EndpointWithSecret, Error> {
    tenants::bump(tx, Some(tenant)).await?;
    let mut row = find(tx, tenant, id).await?;
    let mut account = account(tx, &row).await?;
    // Secrets that do not open are replaced: a new one is the remedy.
    let before = match directory::open_settings(tx, &parts.vault, &account).await {
        Err(error) if error.code == "secret_unreadable" => Values::default(),
        opened => opened?,
    };
    let overlap_until = row.previous_secret_until.filter(|until| *until > now);
    let signing = before.get("secrets").unwrap_or_default().split_whitespace();
    // When an overlap is over only the newest still signs, whether or not the job has been there.
    let signing = signing.take(if overlap_until.is_some() { SECRETS_MAX } else { 1 });
    let mut secrets = vec![secret.reveal()];
    if overlap_s > 0 {
        secrets.extend(signing);
    }
    if secrets.len() > SECRETS_MAX {
        return Err(Error::conflict(
            "too_many_secrets",
            format!(
                "{} secrets of this endpoint sign already because their overlaps have not ended. Wait until {}, or rotate with `overlap_s: 0`, which ends them all.",
                SECRETS_MAX,
                overlap_until.map_or_else(String::new, |until| until.to_string())
            ),
        ));
    }
    let ends = now.plus_seconds(overlap_s.into());
    row.previous_secret_until = (secrets.len() > 1).then(|| overlap_until.map_or(ends, |until| until.max(ends)));
    let sealed = seal(tx, parts, &row, &settings(&row.url, &secrets), now).await?;
    (account.settings, account.data_key_id) = (sealed.bytes, sealed.data_key_id);
    save(tx, &mut row, &mut account, now).await?;
    let prints = Fingerprints::of_tenant(tx, &parts.vault, &parts.ports.ids, row.tenant_id, now).await?;
    let from = before.get("secrets").unwrap_or_default().split_whitespace().next().map(|secret| prints.of(secret));
    let detail = json!({
        "secret": {"from": from, "to": prints.of(secret.reveal())}, "previous_secret_until": row.previous_secret_until,
    });
    record(tx, parts, caller, &row, "endpoint.secret_rotated", &detail, now).await?;
    Ok(EndpointWithSecret { endpoint: shown(tx, &row).await?, secret: secret.reveal().to_owned() })
}

/// Takes all secrets but the newest away. `false` when their overlap was prolonged or is over already.
pub(super) async fn retire_secrets(
    tx: &mut Tx,
    parts: &Parts,
    tenant: TenantId,
    id: EndpointId,
    now: Timestamp,
) -> Result<bool, Error> {
    tenants::bump(tx, Some(tenant)).await?;
    let Some(mut row) = endpoints::find(tx, tenant, id).await? else { return Ok(false) };
    if row.previous_secret_until.is_none_or(|until| until > now) {
        return Ok(false);
    }
    let mut account = account(tx, &row).await?;
    row.previous_secret_until = None;
    match directory::open_settings(tx, &parts.vault, &account).await {
        Ok(values) => {
            let newest: Vec<&str> = values.get("secrets").unwrap_or_default().split_whitespace().take(1).collect();
            let sealed = seal(tx, parts, &row, &settings(&row.url, &newest), now).await?;
            (account.settings, account.data_key_id) = (sealed.bytes, sealed.data_key_id);
        }
        // Nothing can sign with them, so nothing is to be taken away.
        Err(error) if error.code == "secret_unreadable" => {}
        Err(error) => return Err(error),
    }
    save(tx, &mut row, &mut account, now).await?;
    let caller = Caller::system(Some(tenant));
    record(tx, parts, &caller, &row, "endpoint.secret_retired", &json!({}), now).await?;
    Ok(true)
}

/// Switches an endpoint off because it took nothing. Answers the row and how it is shown; `None` when it is not active any more.
pub(super) async fn disable(
    tx: &mut Tx,
    parts: &Parts,
    tenant: TenantId,
    id: EndpointId,
    reason: String,
    now: Timestamp,
) -> Result<Option<EndpointView>, Error> {
    let Some(mut row) = endpoints::find(tx, tenant, id).await?.filter(|row| row.state == ACTIVE) else {
        return Ok(None);
    };
    let mut account = account(tx, &row).await?;
    (row.state, row.state_reason) = (DISABLED.to_owned(), Some(reason));
    account.is_enabled = false;
    save(tx, &mut row, &mut account, now).await?;
    let detail = json!({"reason": row.state_reason});
    record(tx, parts, &Caller::system(Some(tenant)), &row, "endpoint.disabled", &detail, now).await?;
    Ok(Some(view::endpoint(&row, None)))
}

/// Lets events leave again at once.
async fn end_pause(tx: &mut Tx, tenant: TenantId, id: EndpointId) -> Result<(), Error> {
    let Some(mut state) = account_states::lock(tx, tenant, id.account()).await? else { return Ok(()) };
    (state.paused_until, state.paused_at, state.pause, state.failures) = (None, None, None, 0);
    Ok(account_states::save(tx, &state).await?)
}

async fn account(tx: &mut Tx, row: &endpoints::Endpoint) -> Result<accounts::Account, Error> {
    let found = accounts::find(tx, row.tenant_id, row.id.account()).await?;
    found.ok_or_else(|| Error::internal(format!("the endpoint {} has lost its account", row.id)))
}

async fn save(
    tx: &mut Tx,
    row: &mut endpoints::Endpoint,
    account: &mut accounts::Account,
    now: Timestamp,
) -> Result<(), Error> {
    (row.updated_at, account.updated_at) = (now, now);
    endpoints::update(tx, row).await?;
    Ok(accounts::update(tx, account).await?)
}

async fn seal(
    tx: &mut Tx,
    parts: &Parts,
    row: &endpoints::Endpoint,
    values: &Values,
    now: Timestamp,
) -> Result<Sealed, Error> {
    let (account, plain) = (row.id.account().to_string(), zeroize::Zeroizing::new(values.to_plain_json()));
    let place = directory::settings_place(row.tenant_id, &account);
    parts.vault.seal(tx, &parts.ports.ids, now, &place, plain.as_bytes()).await
}

/// What the audit log tells of an endpoint.
fn audited(view: &EndpointView, prints: &Fingerprints) -> serde_json::Value {
    let url = audited_url(&view.url, prints);
    json!({"url": url, "description": view.description, "events": view.events, "enabled": view.enabled})
}

/// An endpoint's address as the audit log tells it. What follows the host is a password at many services: it stands there as a fingerprint.
fn audited_url(url: &str, prints: &Fingerprints) -> String {
    let host = url.find("://").map_or(0, |at| at + "://".len());
    let end = url[host..].find(['/', '\\', '?', '#']).map_or(url.len(), |at| host + at);
    match url.split_at(end) {
        (_, "" | "/") => url.to_owned(),
        (place, rest) => format!("{place}/{}", prints.of(rest)),
    }
}

async fn record(
    tx: &mut Tx,
    parts: &Parts,
    caller: &Caller,
    row: &endpoints::Endpoint,
    action: &'static str,
    detail: &serde_json::Value,
    now: Timestamp,
) -> Result<(), Error> {
    audit::record(tx, row.tenant_id, &parts.ports.ids, now, caller, action, row.id, detail).await
}
