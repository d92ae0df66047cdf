//! The operator's pool of numbers (`/v1/numbers`): free, allocated, retired, failed.
//!
//! A number bought for a registration comes into the pool as allocated. One whose registration or tenant is gone is free again, and the next registration of an account of the same holder
//! that fits gets it before anything is bought. A number that is free but has no reference at the provider is only counted: nothing can be done with it there.

use std::sync::Arc;

use model::{NumberId, Phone, RegistrationId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::{Scope, accounts, numbers};
use utoipa::ToSchema;

use crate::{
    Error, Parts, audit,
    directory::Account,
    keys::Caller,
    names::Faults,
    once::{Repeat, Reply, Secrecy, once},
    page::{Page, Window},
    patch::Patch,
    provider,
    vault::OPERATOR,
};

/// Accounts looked at for one that can give a number back: some seconds, once, for the operator.
const ACCOUNTS_MAX: i64 = 2_000;
/// Longest id of a provider, in bytes.
const REFERENCE_MAX: usize = 255;

/// Where a number is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NumberState {
    /// The next registration that fits gets it.
    Free,
    /// It is with a tenant.
    Allocated,
    /// It is not used any more.
    Retired,
    /// Something is wrong with it.
    Failed,
}

impl NumberState {
    /// The word in JSON and SQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Allocated => "allocated",
            Self::Retired => "retired",
            Self::Failed => "failed",
        }
    }

    fn from_stored(word: &str) -> Self {
        [Self::Free, Self::Allocated, Self::Retired].into_iter().find(|s| s.as_str() == word).unwrap_or(Self::Failed)
    }
}

/// A number the operator has at a provider.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewNumber {
    /// The number in E.164 form.
    #[schema(value_type = String, example = "+14155550100")]
    pub number: Phone,
    /// Where it is held.
    #[schema(example = "twilio")]
    pub connector: String,
    /// Who holds it there: Twilio's account SID.
    #[schema(example = "AC00000000000000000000000000000001")]
    pub provider_account: String,
    /// What the provider calls it: Twilio's `PN…`.
    #[schema(example = "PN00000000000000000000000000000001")]
    pub reference: String,
}

/// What the operator can change of a number.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NumberPatch {
    /// `free` takes it from whoever has it, `retired` and `failed` put it aside.
    #[serde(default)]
    #[schema(value_type = Option<NumberState>)]
    pub state: Patch<NumberState>,
    /// Why.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub detail: Patch<String>,
}

/// A number of the pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct NumberView {
    /// Its id.
    #[schema(value_type = String, example = "num_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub id: NumberId,
    /// The number in E.164 form.
    pub number: String,
    /// ISO 3166-1 alpha-2.
    #[schema(example = "US")]
    pub country: String,
    /// Where it is held.
    pub connector: String,
    /// Who holds it there.
    pub provider_account: String,
    /// What the provider calls it.
    pub reference: Option<String>,
    /// Where it is in its life.
    pub state: NumberState,
    /// Why.
    pub detail: Option<String>,
    /// The tenant it is with.
    #[schema(value_type = Option<String>)]
    pub tenant_id: Option<TenantId>,
    /// The registration it is for.
    #[schema(value_type = Option<String>)]
    pub registration_id: Option<RegistrationId>,
    /// Since when.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub allocated_at: Option<Timestamp>,
    /// When it came into the pool.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

fn view(row: numbers::Number) -> NumberView {
    NumberView {
        id: row.id,
        number: row.number,
        country: row.country,
        connector: row.connector,
        provider_account: row.provider_account,
        reference: row.reference,
        state: NumberState::from_stored(&row.state),
        detail: row.detail,
        tenant_id: row.allocated_to,
        registration_id: row.registration_id,
        allocated_at: row.allocated_at,
        created_at: row.created_at,
        updated_at: row.updated_at,
    }
}

/// Adds a number to the pool. Needs an operator with the scope `numbers:write`.
#[crate::boxed]
pub async fn create(parts: &Parts, caller: &Caller, repeat: &Repeat, new: NewNumber) -> Result<Reply, Error> {
    caller.need_operator("numbers:write")?;
    let mut faults = Faults::default();
    let offers = connectors::registry::find(&new.connector).is_some_and(|found| found.registrations().is_some());
    if !offers || new.connector == crate::demo::CONNECTOR {
        faults.add("/connector", "expected the id of a provider that registers businesses: twilio");
    }
    let national = new.number.as_str().strip_prefix("+1").unwrap_or_default();
    if model::is_toll_free(national) {
        faults.add(
            "/number",
            "a local number: toll-free ones are verified another way, and no registration can take them",
        );
    }
    for (pointer, text) in [("/provider_account", &new.provider_account), ("/reference", &new.reference)] {
        if text.is_empty() || text.len() > REFERENCE_MAX || !text.bytes().all(|b| b.is_ascii_graphic()) {
            faults.add(pointer, format!("1 to {REFERENCE_MAX} characters as the provider shows them"));
        }
    }
    faults.end()?;
    let now = parts.ports.clock.now();
    let row = numbers::Number {
        id: NumberId::from_ulid(parts.ports.ids.ulid(now)),
        country: country(new.number.as_str()),
        number: new.number.as_str().to_owned(),
        connector: new.connector,
        provider_account: new.provider_account,
        reference: Some(new.reference),
        state: NumberState::Free.as_str().to_owned(),
        detail: None,
        allocated_to: None,
        registration_id: None,
        allocated_at: None,
        created_at: now,
        updated_at: now,
    };
    let (ids, by) = (Arc::clone(&parts.ports.ids), outside(caller));
    once(parts, &outside(caller), repeat, 201, Secrecy::Plain, move |tx| {
        Box::pin(async move {
            if !numbers::insert(tx, &row).await? {
                let detail = format!("The number {} is in the pool already.", row.number);
                return Err(Error::conflict("number_exists", detail));
            }
            let detail = json!({"number": row.number, "provider_account": row.provider_account});
            audit::record(tx, OPERATOR, &ids, now, &by, "number.added", row.id, &detail).await?;
            Ok(view(row))
        })
    })
    .await
}

/// The country of a number, for people.
pub(super) fn country(number: &str) -> String {
    let code = crate::country::of(model::Channel::Sms, number);
    code.and_then(|code| String::from_utf8(code.to_vec()).ok()).unwrap_or_default()
}

/// The operator outside of any tenant: the pool is nobody else's.
fn outside(caller: &Caller) -> Caller {
    Caller { tenant: None, ..caller.clone() }
}

/// Lists the pool, newest first. Needs an operator with the scope `numbers:read`.
#[crate::boxed]
pub async fn list(
    parts: &Parts,
    caller: &Caller,
    state: Option<NumberState>,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<NumberView>, Error> {
    caller.need_operator("numbers:read")?;
    let window = Window::read("numbers", limit, cursor)?;
    let read = parts.ports.db.read(Scope::System, move |tx| {
        Box::pin(async move {
            let before = NumberId::from_ulid(window.before);
            numbers::list(tx, state.map(NumberState::as_str), before, window.rows()).await
        })
    });
    Ok(window.page(read.await?, |row| row.id.ulid(), view))
}

/// Reads one number. Needs an operator with the scope `numbers:read`.
#[crate::boxed]
pub async fn get(parts: &Parts, caller: &Caller, id: NumberId) -> Result<NumberView, Error> {
    caller.need_operator("numbers:read")?;
    let read = parts.ports.db.read(Scope::System, move |tx| Box::pin(numbers::find(tx, id)));
    read.await?.map(view).ok_or_else(|| Error::not_found("number"))
}

/// Puts a number aside, or frees it. Needs an operator with the scope `numbers:write`.
#[crate::boxed]
pub async fn patch(parts: &Parts, caller: &Caller, id: NumberId, change: NumberPatch) -> Result<NumberView, Error> {
    caller.need_operator("numbers:write")?;
    let (now, ids, by) = (parts.ports.clock.now(), Arc::clone(&parts.ports.ids), outside(caller));
    let write = parts.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move {
            let mut row = numbers::lock(tx, id).await?.ok_or_else(|| Error::not_found("number"))?;
            let mut faults = Faults::default();
            let before = NumberState::from_stored(&row.state);
            let after = change.state.required(before, "/state", &mut faults.0);
            if after == NumberState::Allocated && before != NumberState::Allocated {
                faults
                    .add("/state", "a number is allocated by a registration; free it, and the next that fits gets it");
            }
            row.detail = change.detail.onto(row.detail);
            if row.detail.as_ref().is_some_and(|detail| detail.chars().count() > crate::names::NAME_MAX) {
                faults.add("/detail", format!("at most {} characters", crate::names::NAME_MAX));
            }
            faults.end()?;
            row.state = after.as_str().to_owned();
            if after != NumberState::Allocated {
                (row.allocated_to, row.registration_id, row.allocated_at) = (None, None, None);
            }
            row.updated_at = now;
            numbers::update(tx, &row).await?;
            let detail = json!({"state": {"from": before, "to": after}, "detail": row.detail});
            audit::record(tx, OPERATOR, &ids, now, &by, "number.updated", id, &detail).await?;
            Ok::<_, Error>(view(row))
        })
    });
    write.await
}

/// Takes a number out of the pool; with `is_released` it is given back to the provider first, which ends what is paid for it. Needs an operator with the scope `numbers:write`.
///
/// It is put aside before the provider is asked, so that nobody is given it meanwhile. When the answer is lost it stays aside, and this can be asked again: what is not there any more is
/// given back.
#[crate::boxed]
pub async fn remove(parts: &Parts, caller: &Caller, id: NumberId, is_released: bool) -> Result<(), Error> {
    caller.need_operator("numbers:write")?;
    let read = parts.ports.db.read(Scope::System, move |tx| Box::pin(numbers::find(tx, id)));
    let row: numbers::Number = read.await?.ok_or_else(|| Error::not_found("number"))?;
    if !is_released {
        return end(parts, caller, id, "number.removed").await;
    }
    let Some(reference) = row.reference.clone() else {
        let detail = "What the provider calls this number is not known, so it cannot be given back here: do so on the provider's pages, and remove it without `release`.";
        return Err(Error::conflict("number_without_reference", detail));
    };
    let account = holding(parts, &row).await?;
    let now = parts.ports.clock.now();
    let aside = parts.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move {
            let mut row = idle(tx, id).await?;
            row.state = NumberState::Retired.as_str().to_owned();
            (row.detail, row.updated_at) = (Some("To be given back to the provider.".to_owned()), now);
            Ok::<_, Error>(numbers::update(tx, &row).await?)
        })
    });
    aside.await?;
    let offered = account.connector.registrations().ok_or_else(|| unheld(&row))?;
    let given = provider::drive(parts, &account, |cx, answers| offered.release(cx, &reference, answers));
    given.await.map_err(provider::refusal)?;
    end(parts, caller, id, "number.released").await
}

/// A number nobody has, locked.
async fn idle(tx: &mut store::Tx, id: NumberId) -> Result<numbers::Number, Error> {
    let row = numbers::lock(tx, id).await?.ok_or_else(|| Error::not_found("number"))?;
    if row.allocated_to.is_some() {
        let detail = format!(
            "{} is with a tenant, whose messages may leave as it. Delete its account or registration, or take it away with PATCH /v1/numbers/{id} (`state`: `retired`), then try again.",
            row.number
        );
        return Err(Error::conflict("number_allocated", detail));
    }
    Ok(row)
}

async fn end(parts: &Parts, caller: &Caller, id: NumberId, action: &'static str) -> Result<(), Error> {
    let (now, ids, by) = (parts.ports.clock.now(), Arc::clone(&parts.ports.ids), outside(caller));
    let write = parts.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move {
            let row = idle(tx, id).await?;
            numbers::remove(tx, id).await?;
            let detail =
                json!({"number": row.number, "provider_account": row.provider_account, "reference": row.reference});
            audit::record(tx, OPERATOR, &ids, now, &by, action, id, &detail).await
        })
    });
    write.await
}

fn unheld(row: &numbers::Number) -> Error {
    let detail = format!(
        "No account here belongs to {}, who holds {}: give it back on the pages of {}, and remove it without `release`.",
        row.provider_account, row.number, row.connector
    );
    Error::conflict("number_account_missing", detail)
}

/// An account of whoever holds a number, of any tenant: the pool has none of its own.
async fn holding(parts: &Parts, row: &numbers::Number) -> Result<Arc<Account>, Error> {
    let connector = row.connector.clone();
    let read = parts.ports.db.read(Scope::System, move |tx| {
        Box::pin(async move {
            let first = model::AccountId::from_ulid(0);
            Ok::<_, Error>(accounts::of_connector(tx, &connector, first, ACCOUNTS_MAX).await?)
        })
    });
    for (tenant, id) in read.await? {
        // One whose settings cannot be read is no use.
        let Ok(account) = provider::account(parts, tenant, id).await else { continue };
        if super::work::holder(&account, parts.ports.clock.now()).1 == row.provider_account {
            return Ok(account);
        }
    }
    Err(unheld(row))
}
