//! What the checklist's lines are made of, besides the count of the audience: the account, what is said, and what is left to spend.

use std::sync::Arc;

use model::{Channel, Content, Purpose, Timestamp};
use store::{Scope, account_states, campaign_checks::CampaignCheck, credits, whatsapp_templates};

use super::{
    super::{definition::NewCampaign, work},
    count::{self, DONE, Tally},
};
use crate::{
    Engine, Error,
    accept::{plan, request::MessageRequest},
    directory::{Account, Tenant, TenantState},
    money::ledger::Open,
    plans::{
        quota::{self, QuotaView},
        subscription,
    },
    registrations::RegistrationState,
};

/// Everything the lines look at.
pub(super) struct Facts {
    pub channel: Channel,
    /// The account it goes through, and until when it is paused.
    pub account: Result<(Arc<Account>, Option<Timestamp>), Error>,
    /// Whether what it says can be said, whoever the recipient.
    pub said: Result<(), Error>,
    pub tally: Tally,
    /// True when everybody was counted.
    pub is_complete: bool,
    /// True when those without consent are to be left out.
    pub removes: bool,
    /// Whether the subscription permits it; `None` without one.
    pub permitted: Option<Result<(), Error>>,
    /// What the plan has left on the channel; `None` when nothing limits it.
    pub quota: Option<QuotaView>,
    /// For tenants who are billed.
    pub credit: Option<Credit>,
    /// What is to be done before text messages to the United States may leave, and whether the account's registration is approved.
    pub registration: (Option<&'static str>, bool),
    /// For WhatsApp.
    pub approval: Option<Approval>,
    pub now: Timestamp,
}

/// What a billed tenant can still spend; more than there is for those who pay afterwards.
pub(super) struct Credit {
    pub spendable: i64,
    pub currency: String,
}

/// Whether WhatsApp lets the campaign's texts out at any time.
pub(super) enum Approval {
    /// They are templates it approved.
    Given,
    /// It did not approve this one, or took it back: its name, where it stands, and why.
    Refused(String, String, Option<String>),
    /// Nothing is known here of this one.
    Unknown(String),
    /// It is a free text.
    FreeText,
}

/// True when recipients' messages can be planned: there is an account, something to say, and a subscription that permits it.
pub(super) async fn can_be_planned(
    engine: &Engine,
    tenant: &Tenant,
    new: &NewCampaign,
    says: &[MessageRequest],
) -> bool {
    let now = engine.ports.clock.now();
    subscription::permit(tenant, new.purpose.unwrap_or(Purpose::Marketing), now).is_ok()
        && account(engine, tenant, new).await.is_ok()
        && said(engine, tenant, new, says).await.is_ok()
}

pub(super) async fn facts(
    engine: &Engine,
    check: &CampaignCheck,
    new: &NewCampaign,
    now: Timestamp,
) -> Result<Facts, Error> {
    let (_, tenant) = engine.tenant(check.tenant_id).await?;
    let says = work::requests(new)?;
    let account = account(engine, &tenant, new).await;
    let said = said(engine, &tenant, new, &says).await;
    let approval = match (&account, new.channel) {
        (Ok((account, _)), Channel::Whatsapp) if said.is_ok() => {
            Some(approval(engine, &tenant, account, new, &says).await?)
        }
        _ => None,
    };
    let registration = account.as_ref().map_or((None, false), |(account, _)| {
        let registered = &tenant.registered;
        let is_approved = registered.states.get(&account.id) == Some(&RegistrationState::Approved);
        (registered.missing(account.id), is_approved)
    });
    Ok(Facts {
        channel: new.channel,
        registration,
        account,
        said,
        tally: count::tally(check)?,
        is_complete: check.state == DONE,
        removes: new.remove_without_consent,
        permitted: tenant
            .subscription
            .as_ref()
            .map(|subscribed| subscribed.permit(new.purpose.unwrap_or(Purpose::Marketing), now)),
        quota: quota::on_channel(engine.parts(), &tenant, new.channel).await?,
        credit: credit(engine, &tenant).await?,
        approval,
        now,
    })
}

async fn credit(engine: &Engine, tenant: &Tenant) -> Result<Option<Credit>, Error> {
    if tenant.billing.is_none() {
        return Ok(None);
    }
    let id = tenant.id;
    let read = engine
        .ports
        .db
        .read(Scope::Tenant(id), move |tx| Box::pin(async move { Ok::<_, Error>(credits::find(tx, id).await?) }));
    Ok(read.await?.map(|ledger| {
        let currency = ledger.currency.clone();
        Credit { spendable: Open::new(ledger).spendable(), currency }
    }))
}

/// Whether what a campaign says can be said.
async fn said(engine: &Engine, tenant: &Tenant, new: &NewCampaign, says: &[MessageRequest]) -> Result<(), Error> {
    for request in says {
        engine.can_be_said(request, tenant, new.channel).await?;
    }
    Ok(())
}

async fn approval(
    engine: &Engine,
    tenant: &Tenant,
    account: &Account,
    new: &NewCampaign,
    says: &[MessageRequest],
) -> Result<Approval, Error> {
    let (tenant_id, account_id) = (tenant.id, account.id);
    let read = engine.ports.db.read(Scope::Tenant(tenant_id), move |tx| {
        Box::pin(async move { Ok::<_, Error>(whatsapp_templates::all(tx, tenant_id, account_id).await?) })
    });
    let known = read.await?;
    let mut worst = Approval::Given;
    for request in says {
        let prepared = engine.can_be_said(request, tenant, new.channel).await?;
        let Content::Whatsapp(content) = prepared.source() else { continue };
        let Some(template) = &content.whatsapp_template else { return Ok(Approval::FreeText) };
        match known.iter().find(|row| row.name == template.name && row.language == template.language) {
            Some(row) if row.status == "approved" => {}
            Some(row) => return Ok(Approval::Refused(row.name.clone(), row.status.clone(), row.reason.clone())),
            None => worst = Approval::Unknown(template.name.clone()),
        }
    }
    Ok(worst)
}

/// The account the campaign goes through, and until when it is paused.
async fn account(
    engine: &Engine,
    tenant: &Tenant,
    new: &NewCampaign,
) -> Result<(Arc<Account>, Option<Timestamp>), Error> {
    if tenant.state == TenantState::Suspended {
        let detail = "This tenant is suspended and cannot send. Ask the operator to lift the suspension.";
        return Err(Error::forbidden("tenant_suspended", detail).with_action("CONTACT_OPERATOR"));
    }
    let found = match new.account_id {
        Some(id) => tenant.account(id).filter(|account| account.is_enabled && account.channels.contains(&new.channel)),
        None => plan::default_account(tenant, new.channel),
    };
    let Some(account) = found else {
        let detail = format!("There is no enabled account for {}. Add one, or enable it.", new.channel);
        return Err(Error::new(crate::ErrorKind::Invalid, "no_account_for_channel", detail).with_action("ADD_ACCOUNT"));
    };
    let tenant_id = tenant.id;
    let read =
        engine.ports.db.read(Scope::Tenant(tenant_id), move |tx| Box::pin(account_states::of_tenant(tx, tenant_id)));
    let states: Vec<account_states::AccountState> = read.await?;
    let until = states.iter().find(|state| state.account_id == account.id).and_then(|state| state.paused_until);
    Ok((Arc::clone(account), until))
}
