//! Registration of a tenant's business with American carriers (10DLC): collected once, submitted, watched, mended, approved.
//!
//! **Who takes part.** The tenant says once who its business is ([`profile`]). A *registration* belongs to one account at a provider that registers businesses
//! ([`connectors::manage::Registrations`]); it is begun by a person ([`create`]) and worked off by a job ([`work`]). The operator has a pool of numbers ([`numbers`]) and is asked
//! when a provider cannot be reached for long. Whether a message may leave meanwhile is [`gate`], a pure rule that accept, routing and the checklist of campaigns ask.
//!
//! **The life of a registration.** It goes through the stages of [`Stage`], each of which is one plan of requests; what was made at the provider is written down after each, with the
//! stage that comes next. A review is asked about again until it is decided. What is rejected waits for the tenant, with the reasons and the fields they are about; after the profile was
//! changed, [`submit`] begins again at the stage that was refused. When the provider cannot be asked, it is asked again every five minutes, ten times; then it is the operator's turn.
//!
//! **A crash** anywhere is one more beginning of the same stage: plans look for what is there before they make anything, so nothing is bought twice. Rows are leased, so one node
//! works on one registration at a time; whoever changed a row meanwhile wins, because a turn is only written onto the row it saw.

pub(crate) mod gate;
pub mod numbers;
pub mod profile;
pub mod toll_free;
mod work;

use std::sync::Arc;

use connectors::manage::{Business, BusinessKind, Reason, References, Stage};
use model::{AccountId, Channel, RegistrationId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::{
    Tx, business_profiles, numbers as pool,
    registrations::{self, Registration},
    tenants,
};
use utoipa::ToSchema;

pub use self::work::{free_numbers, run};
use self::{gate::CONFIGURE, profile::BusinessProfile};
use crate::{
    Engine, Error, ErrorKind, Parts,
    accounts::changes,
    audit,
    directory::Account,
    keys::Caller,
    names::Faults,
    once::{self, Repeat, Reply, Secrecy, once},
    page::{Page, Window},
    provider,
};

/// The words of the states in SQL.
pub(crate) const IN_PROGRESS: &str = "in_progress";
const REJECTED: &str = "rejected";
const OPERATOR_NEEDED: &str = "operator_needed";
pub(crate) const APPROVED: &str = "approved";

/// A registration to be begun.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRegistration {
    /// The account whose messages are to leave registered. One registration each.
    #[schema(value_type = String, example = "acc_01K9ZC1M2N3P4Q5R6S7T8V9W0X")]
    pub account_id: AccountId,
    /// Area code the number is to have; any when left out.
    #[serde(default)]
    #[schema(example = "415")]
    pub area_code: Option<String>,
}

/// What can be said anew when a registration is submitted again.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Resubmission {
    /// Another area code.
    #[serde(default)]
    #[schema(example = "628")]
    pub area_code: Option<String>,
}

/// Where a registration is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RegistrationState {
    /// It is worked on, or reviewed.
    InProgress,
    /// Something was refused; see the reasons.
    Rejected,
    /// The provider could not be reached for long, or refuses the account: the operator has to look.
    OperatorNeeded,
    /// Messages may leave.
    Approved,
}

impl RegistrationState {
    pub(crate) fn from_stored(word: &str) -> Self {
        match word {
            APPROVED => Self::Approved,
            REJECTED => Self::Rejected,
            OPERATOR_NEEDED => Self::OperatorNeeded,
            _ => Self::InProgress,
        }
    }

    /// What is to be done next, and by whom.
    pub(crate) const fn action(self) -> Option<&'static str> {
        match self {
            Self::InProgress | Self::OperatorNeeded => Some(gate::WAIT),
            Self::Rejected => Some(gate::UPDATE),
            Self::Approved => None,
        }
    }
}

/// Why a registration was rejected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RejectionReason {
    /// The provider's code.
    #[schema(example = "30886")]
    pub code: String,
    /// In its words.
    pub detail: String,
    /// The fields of the business profile it is about, where that is known.
    #[schema(example = json!(["/use_case/opt_in_flow"]))]
    pub pointers: Vec<String>,
}

/// What is registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub enum RegistrationKind {
    /// A business with American carriers, for local numbers.
    #[serde(rename = "10dlc")]
    TenDlc,
    /// A toll-free number is verified.
    #[serde(rename = "toll_free")]
    TollFree,
}

impl RegistrationKind {
    /// The word in JSON and SQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TenDlc => "10dlc",
            Self::TollFree => "toll_free",
        }
    }

    fn from_stored(word: &str) -> Self {
        if word == Self::TollFree.as_str() { Self::TollFree } else { Self::TenDlc }
    }
}

/// What was made at the provider, in its own ids.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct RegistrationReferences {
    /// The business's profile.
    pub profile: Option<String>,
    /// What carriers want to know besides.
    pub trust: Option<String>,
    /// The brand.
    pub brand: Option<String>,
    /// The messaging service.
    pub service: Option<String>,
    /// The campaign.
    pub campaign: Option<String>,
    /// The number's id.
    pub number_id: Option<String>,
    /// The verification of a toll-free number.
    pub verification: Option<String>,
}

/// A registration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RegistrationView {
    /// Its id.
    #[schema(value_type = String, example = "reg_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub id: RegistrationId,
    /// Whose.
    #[schema(value_type = String)]
    pub tenant_id: model::TenantId,
    /// The account it is for.
    #[schema(value_type = String)]
    pub account_id: AccountId,
    /// What is registered.
    pub kind: RegistrationKind,
    /// Where it is.
    pub state: RegistrationState,
    /// What is done next: `profile`, `profile_review`, `trust`, `brand`, `brand_review`, `code`, `service`, `campaign`, `campaign_review`, `number`, `attach` or `approved`; for a toll-free number
    /// `verification`, `verification_review` or `approved`.
    #[schema(example = "brand_review")]
    pub stage: String,
    /// What to do: `WAIT_FOR_APPROVAL` or `UPDATE_BUSINESS_INFO`.
    #[schema(example = "WAIT_FOR_APPROVAL")]
    pub next_action: Option<&'static str>,
    /// Why it was rejected.
    pub reasons: Vec<RejectionReason>,
    /// What went wrong the last time the provider was asked, or what somebody has to do elsewhere.
    pub problem: Option<String>,
    /// How often in a row it could not be asked.
    pub failures: u32,
    /// Where the number is to be.
    pub area_code: Option<String>,
    /// The number, once there is one.
    #[schema(example = "+14155550100")]
    pub number: Option<String>,
    /// How people agree to be written to from a toll-free number.
    pub toll_free: Option<toll_free::TollFreeOptIn>,
    /// What was made at the provider.
    pub references: RegistrationReferences,
    /// When it was last submitted.
    #[schema(value_type = String, format = DateTime)]
    pub submitted_at: Timestamp,
    /// When it was approved.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub approved_at: Option<Timestamp>,
    /// When it is looked at next.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_at: Option<Timestamp>,
    /// When it was begun.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

fn view(row: Registration) -> RegistrationView {
    let state = RegistrationState::from_stored(&row.state);
    let refs: References = serde_json::from_str(&row.refs).unwrap_or_default();
    let reasons: Vec<Reason> = serde_json::from_str(&row.reasons).unwrap_or_default();
    let reasons =
        reasons.into_iter().map(|r| RejectionReason { code: r.code, detail: r.detail, pointers: r.pointers }).collect();
    let kind = RegistrationKind::from_stored(&row.kind);
    RegistrationView {
        id: row.id,
        kind,
        toll_free: row.toll_free.as_deref().and_then(toll_free::shown),
        tenant_id: row.tenant_id,
        account_id: row.account_id,
        state,
        next_action: state.action(),
        stage: row.stage,
        reasons,
        problem: row.problem,
        failures: row.failures,
        area_code: row.area_code,
        number: refs.number.or(Some(row.sender).filter(|_| kind == RegistrationKind::TollFree)),
        references: RegistrationReferences {
            profile: refs.profile,
            trust: refs.trust,
            brand: refs.brand,
            service: refs.service,
            campaign: refs.campaign,
            number_id: refs.number_id,
            verification: refs.verification,
        },
        submitted_at: row.submitted_at,
        approved_at: row.approved_at,
        next_at: row.next_at,
        created_at: row.created_at,
        updated_at: row.updated_at,
    }
}

fn area_code(faults: &mut Faults, code: Option<&str>) {
    let is_one = |code: &str| code.len() == 3 && code.bytes().all(|b| b.is_ascii_digit()) && code >= "200";
    if code.is_some_and(|code| !is_one(code)) {
        faults.add("/area_code", "an American area code has three digits and begins with 2 to 9, such as 415");
    }
}

/// The business as it is submitted, or what is missing.
async fn complete(tx: &mut Tx, tenant: model::TenantId) -> Result<connectors::manage::Business, Error> {
    let profile = match business_profiles::find(tx, tenant).await? {
        Some(row) => profile::stored(&row)?,
        None => BusinessProfile::default(),
    };
    profile.business().map_err(|errors| {
        let detail = "The business profile is not complete. Fill it in with PATCH /v1/business-profile.";
        Error { errors, ..Error::new(ErrorKind::Invalid, "business_profile_incomplete", detail) }.with_action(CONFIGURE)
    })
}

/// The account a request names, when what is wanted can be had through it.
async fn account(parts: &Parts, caller: &Caller, id: AccountId, what: &str) -> Result<Arc<Account>, Error> {
    let account = provider::named_account(parts, caller.need_tenant()?, id).await?;
    changes::may_manage(caller, &[Channel::Sms])?;
    if account.connector.registrations().is_none() || !account.channels.contains(&Channel::Sms) {
        return Err(provider::not_offered(&account, "/account_id", what));
    }
    Ok(account)
}

/// Begins a registration of the tenant's business for an account. Needs the scope `registrations:write`.
#[crate::boxed]
pub async fn create(engine: &Engine, caller: &Caller, repeat: &Repeat, new: NewRegistration) -> Result<Reply, Error> {
    caller.need("registrations:write")?;
    let tenant = caller.need_tenant()?;
    let parts = engine.parts();
    if let Some(before) = once::replay(parts, caller, repeat).await? {
        return Ok(before);
    }
    let mut faults = Faults::default();
    area_code(&mut faults, new.area_code.as_deref());
    faults.end()?;
    let account = account(parts, caller, new.account_id, "registration with American carriers").await?;
    let begun =
        Begun { kind: RegistrationKind::TenDlc, stage: Stage::Profile, area_code: new.area_code, toll_free: None };
    begin(parts, caller, repeat, tenant, account.id, begun).await
}

/// How a registration begins.
struct Begun {
    kind: RegistrationKind,
    stage: Stage,
    area_code: Option<String>,
    toll_free: Option<connectors::manage::TollFree>,
}

async fn begin(
    parts: &Parts,
    caller: &Caller,
    repeat: &Repeat,
    tenant: model::TenantId,
    id: AccountId,
    begun: Begun,
) -> Result<Reply, Error> {
    let now = parts.ports.clock.now();
    let (inner, by) = (parts.clone(), caller.clone());
    let reply = once(parts, caller, repeat, 201, Secrecy::Plain, move |tx| {
        Box::pin(async move {
            tenants::bump(tx, Some(tenant)).await?;
            crate::accounts::find(tx, tenant, id).await?;
            let business = complete(tx, tenant).await?;
            let row = Registration {
                tenant_id: tenant,
                id: RegistrationId::from_ulid(inner.ports.ids.ulid(now)),
                account_id: id,
                kind: begun.kind.as_str().to_owned(),
                sender: begun.toll_free.as_ref().map(|asked| asked.number.clone()).unwrap_or_default(),
                toll_free: begun.toll_free.map(|asked| json!(asked).to_string()),
                state: IN_PROGRESS.to_owned(),
                stage: begun.stage.as_str().to_owned(),
                refs: "{}".to_owned(),
                business: json!(business).to_string(),
                area_code: begun.area_code,
                reasons: "[]".to_owned(),
                problem: None,
                failures: 0,
                submitted_at: now,
                approved_at: None,
                next_at: Some(now),
                created_at: now,
                updated_at: now,
            };
            if !registrations::insert(tx, &row).await? {
                let detail = match begun.kind {
                    RegistrationKind::TenDlc => "This account has a registration already. Change the business profile and submit that one again, or delete it first.",
                    RegistrationKind::TollFree => "This number has a registration already. Change what was wrong and submit that one again, or delete it first.",
                };
                return Err(Error::conflict("registration_exists", detail));
            }
            let detail = json!({"kind": begun.kind, "account_id": id, "area_code": row.area_code, "number": row.sender});
            audit::record(tx, tenant, &inner.ports.ids, now, &by, "registration.begun", row.id, &detail).await?;
            Ok(view(row))
        })
    })
    .await?;
    parts.directory.catch_up().await;
    Ok(reply)
}

/// Lists registrations, newest first: a tenant its own, the operator those of all tenants that need somebody to look. Needs the scope `registrations:read`.
#[crate::boxed]
pub async fn list(
    parts: &Parts,
    caller: &Caller,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<RegistrationView>, Error> {
    list_of(parts, caller, RegistrationKind::TenDlc, limit, cursor).await
}

async fn list_of(
    parts: &Parts,
    caller: &Caller,
    kind: RegistrationKind,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<RegistrationView>, Error> {
    caller.need("registrations:read")?;
    let tenant = caller.tenant;
    if tenant.is_none() {
        caller.need_operator("registrations:read")?;
    }
    let window = Window::read(kind.as_str(), limit, cursor)?;
    let before = RegistrationId::from_ulid(window.before);
    let read = parts.ports.db.read(caller.reach(), move |tx| {
        Box::pin(async move {
            match tenant {
                Some(tenant) => registrations::list(tx, tenant, kind.as_str(), before, window.rows()).await,
                None => registrations::stuck(tx, kind.as_str(), before, window.rows()).await,
            }
        })
    });
    Ok(window.page(read.await?, |row| row.id.ulid(), view))
}

/// Reads one of the tenant's registrations. Needs the scope `registrations:read`.
#[crate::boxed]
pub async fn get(parts: &Parts, caller: &Caller, id: RegistrationId) -> Result<RegistrationView, Error> {
    get_of(parts, caller, RegistrationKind::TenDlc, id).await
}

/// A registration of this kind.
fn found(row: Option<Registration>, kind: RegistrationKind) -> Result<Registration, Error> {
    row.filter(|row| row.kind == kind.as_str()).ok_or_else(|| Error::not_found("registration"))
}

async fn get_of(
    parts: &Parts,
    caller: &Caller,
    kind: RegistrationKind,
    id: RegistrationId,
) -> Result<RegistrationView, Error> {
    caller.need("registrations:read")?;
    let tenant = caller.need_tenant()?;
    let read = parts.ports.db.read(caller.reach(), move |tx| Box::pin(registrations::find(tx, tenant, id)));
    found(read.await?, kind).map(view)
}

/// Submits a registration again: what was rejected with the business profile as it is now, what stopped for want of the provider from where it was. Needs the scope `registrations:write`.
#[crate::boxed]
pub async fn submit(
    engine: &Engine,
    caller: &Caller,
    repeat: &Repeat,
    id: RegistrationId,
    again: Resubmission,
) -> Result<Reply, Error> {
    let mut faults = Faults::default();
    area_code(&mut faults, again.area_code.as_deref());
    caller.need("registrations:write")?;
    faults.end()?;
    submit_of(engine, caller, repeat, RegistrationKind::TenDlc, id, move |row| {
        row.area_code = again.area_code.or(row.area_code.take());
    })
    .await
}

/// True while a sole proprietor has to answer a text message, which can be sent again.
fn waits_for_answer(row: &Registration) -> bool {
    let business = serde_json::from_str::<Business>(&row.business).ok();
    row.stage == Stage::BrandReview.as_str()
        && business.is_some_and(|business| business.kind == BusinessKind::SoleProprietor)
}

/// Submits a registration of a kind again; `change` writes down what is said anew about one that was rejected.
async fn submit_of(
    engine: &Engine,
    caller: &Caller,
    repeat: &Repeat,
    kind: RegistrationKind,
    id: RegistrationId,
    change: impl FnOnce(&mut Registration) + Send + 'static,
) -> Result<Reply, Error> {
    caller.need("registrations:write")?;
    let tenant = caller.need_tenant()?;
    changes::may_manage(caller, &[Channel::Sms])?;
    let parts = engine.parts();
    let (now, ids, by) = (parts.ports.clock.now(), Arc::clone(&parts.ports.ids), caller.clone());
    let reply = once(parts, caller, repeat, 200, Secrecy::Plain, move |tx| {
        Box::pin(async move {
            tenants::bump(tx, Some(tenant)).await?;
            let mut row = found(registrations::find(tx, tenant, id).await?, kind)?;
            let seen = row.updated_at;
            match row.state.as_str() {
                REJECTED => {
                    row.business = json!(complete(tx, tenant).await?).to_string();
                    change(&mut row);
                    let stage = Stage::from_stored(&row.stage).unwrap_or(Stage::Profile);
                    row.stage = stage.again().as_str().to_owned();
                    row.submitted_at = now;
                }
                OPERATOR_NEEDED => {}
                IN_PROGRESS if waits_for_answer(&row) => row.stage = Stage::Code.as_str().to_owned(),
                state => {
                    let detail = match state {
                        APPROVED => "This registration is approved; there is nothing to submit.",
                        _ => "This registration is under way; it can be submitted again when it was rejected.",
                    };
                    return Err(Error::conflict("registration_under_way", detail));
                }
            }
            (row.state, row.reasons) = (IN_PROGRESS.to_owned(), "[]".to_owned());
            (row.problem, row.failures) = (None, 0);
            (row.next_at, row.updated_at) = (Some(now), now);
            if !registrations::update(tx, &row, seen).await? {
                return Err(Error::conflict(
                    "registration_changed",
                    "Somebody else changed it just now. Read it again.",
                ));
            }
            let detail = json!({"stage": row.stage});
            audit::record(tx, tenant, &ids, now, &by, "registration.submitted", id, &detail).await?;
            Ok(view(row))
        })
    })
    .await?;
    parts.directory.catch_up().await;
    Ok(reply)
}

/// Forgets a registration here: its numbers go back to the pool, and what was made at the provider stays there. Not while it is worked on, because what is just being made would be lost;
/// and not once it is approved, because its account sends as what was registered, from a number that would be somebody else's. Needs the scope `registrations:write`.
#[crate::boxed]
pub async fn delete(parts: &Parts, caller: &Caller, id: RegistrationId) -> Result<(), Error> {
    delete_of(parts, caller, RegistrationKind::TenDlc, id).await
}

async fn delete_of(parts: &Parts, caller: &Caller, kind: RegistrationKind, id: RegistrationId) -> Result<(), Error> {
    caller.need("registrations:write")?;
    let tenant = caller.need_tenant()?;
    changes::may_manage(caller, &[Channel::Sms])?;
    let (now, ids, by) = (parts.ports.clock.now(), Arc::clone(&parts.ports.ids), caller.clone());
    let write = parts.ports.db.write(caller.reach(), move |tx| {
        Box::pin(async move {
            tenants::bump(tx, Some(tenant)).await?;
            let row = found(registrations::find(tx, tenant, id).await?, kind)?;
            // A toll-free number stays what it is: the account's own.
            let is_ours = kind == RegistrationKind::TenDlc;
            if is_ours && row.state == APPROVED && store::accounts::find(tx, tenant, row.account_id).await?.is_some() {
                let detail = "The account sends as what was registered, from its number. Delete the account, and the registration goes with it.";
                return Err(Error::conflict("registration_in_use", detail));
            }
            if !registrations::remove(tx, tenant, id, now).await? {
                let detail = "It is being worked on at the provider. Try again in a minute.";
                return Err(Error::conflict("registration_busy", detail));
            }
            pool::free(tx, tenant, id, now).await?;
            audit::record(tx, tenant, &ids, now, &by, "registration.deleted", id, &json!({})).await
        })
    });
    write.await?;
    parts.directory.catch_up().await;
    Ok(())
}

/// What was decided about a tenant's registrations, for the directory.
pub(crate) async fn load(tx: &mut Tx, tenant: model::TenantId) -> Result<gate::Registered, Error> {
    let profile = business_profiles::find(tx, tenant).await?;
    let mut registered = gate::Registered {
        policy: profile.map_or(profile::UsSms::default(), |row| profile::UsSms::from_stored(&row.us_sms)),
        ..gate::Registered::default()
    };
    for (account, sender, state) in registrations::states(tx, tenant).await? {
        let state = RegistrationState::from_stored(&state);
        if sender.is_empty() {
            registered.states.insert(account, state);
        } else {
            registered.toll_free.insert((account, sender), state);
        }
    }
    Ok(registered)
}
