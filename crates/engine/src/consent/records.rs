//! What contacts said, as tenants record and read it (`/v1/contacts/{id}/consents`), and the question of a double opt-in.
//!
//! Records are only ever appended. A yes that the contact gave in person (by a link we sent, a word to us, our page) also lifts a suppression because of an opt-out; one that somebody else
//! reports does not, because a suppression always wins.

use std::sync::Arc;

use model::{
    Channel, ConsentId, ConsentMethod, ConsentState, ContactId, Ids, Purpose, SuppressionReason, TenantId, Timestamp,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::{
    Scope, Tx,
    consents::{self, ConsentRecord, Person, Standing},
    suppressions,
};
use utoipa::ToSchema;

use super::{
    bar,
    links::{Kind, Link},
    suppressions::{SuppressionView, view as suppression_view},
    words::Language,
};
use crate::{
    Engine, Error, audit,
    directory::Tenant,
    keys::Caller,
    names::Faults,
    once::{Repeat, Reply, Secrecy, once},
    page::{Page, Window},
    writes::Writes,
};

/// Longest text of a record, in characters: what people were shown may be a long sentence, not a contract.
const TEXT_MAX: usize = 4_000;
/// Longest of the other fields, in characters.
const FIELD_MAX: usize = 500;
const LIST: &str = "consents";

/// Something a contact said.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewConsent {
    /// About which channel.
    #[schema(value_type = String, example = "email")]
    pub channel: Channel,
    /// About which topic only. Left out: the whole channel.
    #[serde(default)]
    #[schema(example = "general_updates")]
    pub topic: Option<String>,
    /// `opted_in`, `opted_out`, or `pending` to ask the contact for a confirmation (double opt-in).
    #[schema(value_type = String, example = "opted_in")]
    pub state: ConsentState,
    /// How they said it: `form`, `api`, `import` or `staff`. Defaults to `api`.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "form")]
    pub method: Option<ConsentMethod>,
    /// The exact words they were shown.
    #[serde(default)]
    pub text: Option<String>,
    /// From which address.
    #[serde(default)]
    #[schema(example = "192.0.2.7")]
    pub ip: Option<String>,
    /// With which program.
    #[serde(default)]
    pub user_agent: Option<String>,
    /// Where the proof lies: an id or a URL of your own.
    #[serde(default)]
    pub evidence: Option<String>,
    /// When they said it; now when left out.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub at: Option<Timestamp>,
}

/// Something a contact said, on record.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ConsentView {
    /// Its id.
    #[schema(value_type = String, example = "cns_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub id: ConsentId,
    /// Who said it.
    #[schema(value_type = String)]
    pub contact_id: ContactId,
    /// About which channel.
    #[schema(value_type = String, example = "email")]
    pub channel: Channel,
    /// About which topic; `null` for the whole channel.
    pub topic: Option<String>,
    /// What: `pending`, `opted_in` or `opted_out`.
    #[schema(value_type = String, example = "opted_in")]
    pub state: ConsentState,
    /// How: `form`, `api`, `import`, `keyword`, `double_opt_in`, `staff`, `page` or `provider`.
    #[schema(value_type = String, example = "form")]
    pub method: ConsentMethod,
    /// Who noted it: a key's id, `recipient` or `provider`.
    pub source: String,
    /// The words they were shown.
    pub text: Option<String>,
    /// From which address.
    pub ip: Option<String>,
    /// With which program.
    pub user_agent: Option<String>,
    /// Where the proof lies.
    pub evidence: Option<String>,
    /// When they said it.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// When we learned it.
    #[schema(value_type = String, format = DateTime)]
    pub recorded_at: Timestamp,
}

/// The last word about a channel or a topic on it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct StandingView {
    /// About which channel.
    #[schema(value_type = String, example = "email")]
    pub channel: Channel,
    /// About which topic; `null` for the whole channel.
    pub topic: Option<String>,
    /// What.
    #[schema(value_type = String, example = "opted_in")]
    pub state: ConsentState,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
}

/// Everything about a contact's consent: how it stands, what stands against its addresses, and one page of what it said.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConsentPage {
    /// The last word of each channel and topic. What is not here was never said, which is no consent.
    pub standing: Vec<StandingView>,
    /// Suppressions of the contact's addresses.
    pub suppressions: Vec<SuppressionView>,
    /// What it said, newest first.
    pub data: Vec<ConsentView>,
    /// Leads to the next page.
    pub next_cursor: Option<String>,
}

pub(crate) fn view(row: ConsentRecord) -> ConsentView {
    ConsentView {
        id: row.id,
        contact_id: row.contact_id,
        channel: row.channel,
        topic: Some(row.topic).filter(|topic| !topic.is_empty()),
        state: row.state,
        method: row.method,
        source: row.source,
        text: row.text_shown,
        ip: row.ip,
        user_agent: row.user_agent,
        evidence: row.evidence,
        at: row.at,
        recorded_at: row.recorded_at,
    }
}

pub(crate) fn standing_view(row: &Standing) -> StandingView {
    StandingView {
        channel: row.channel,
        topic: Some(row.topic.clone()).filter(|topic| !topic.is_empty()),
        state: row.state,
        since: row.changed_at,
    }
}

/// A record of what a person did themselves or a provider told, to be completed.
pub(crate) fn draft(
    tenant_id: TenantId,
    contact_id: ContactId,
    channel: Channel,
    state: ConsentState,
    method: ConsentMethod,
    ids: &Ids,
    now: Timestamp,
) -> ConsentRecord {
    ConsentRecord {
        tenant_id,
        contact_id,
        id: ConsentId::from_ulid(ids.ulid(now)),
        channel,
        topic: String::new(),
        state,
        method,
        source: if method == ConsentMethod::Provider { "provider" } else { "recipient" }.to_owned(),
        text_shown: None,
        ip: None,
        user_agent: None,
        evidence: None,
        at: now,
        recorded_at: now,
    }
}

/// A record as events show it.
pub(crate) fn json(record: &ConsentRecord) -> String {
    serde_json::to_string(&view(record.clone())).expect("a record has a JSON form")
}

/// Appends a record and tells of it.
pub(crate) async fn append(
    tx: &mut Tx,
    writes: &mut Writes,
    tenant: &Tenant,
    record: ConsentRecord,
    ids: &Ids,
) -> Result<(), store::Error> {
    let now = record.recorded_at;
    consents::append(tx, std::slice::from_ref(&record)).await?;
    writes.event(tenant, "consent.changed", json(&record), now, ids);
    Ok(())
}

/// Lifts what an opt-out of the person's own put on the list.
pub(crate) async fn lift_opt_out(
    tx: &mut Tx,
    writes: &mut Writes,
    tenant: &Tenant,
    channel: Channel,
    address: &str,
    now: Timestamp,
    ids: &Ids,
) -> Result<bool, store::Error> {
    let key = bar::key(channel, address);
    let found = suppressions::find_reason(tx, tenant.id, channel, &key, SuppressionReason::OptedOut).await?;
    let Some(row) = found else { return Ok(false) };
    suppressions::remove(tx, tenant.id, row.id).await?;
    writes.event(tenant, "suppression.removed", super::suppressions::json(&row), now, ids);
    Ok(true)
}

fn check(
    new: NewConsent,
    tenant: TenantId,
    contact: ContactId,
    caller: &Caller,
    ids: &Ids,
    now: Timestamp,
) -> Result<ConsentRecord, Error> {
    let mut faults = Faults::default();
    if new.channel == Channel::Webhook {
        faults.add("/channel", "one of email, sms, whatsapp, telegram and voice");
    }
    let method = new.method.unwrap_or(ConsentMethod::Api);
    use ConsentMethod::{Api, Form, Import, Staff};
    if !matches!(method, Form | Api | Import | Staff) {
        faults.add("/method", "one of form, api, import and staff; the others are recorded when they happen");
    }
    if let Some(topic) = &new.topic {
        super::topics::check_name(&mut faults, "/topic", topic);
    }
    let long = |faults: &mut Faults, pointer: &str, text: &Option<String>, max: usize| {
        if text.as_ref().is_some_and(|text| text.chars().count() > max) {
            faults.add(pointer, format!("at most {max} characters"));
        }
    };
    long(&mut faults, "/text", &new.text, TEXT_MAX);
    long(&mut faults, "/user_agent", &new.user_agent, FIELD_MAX);
    long(&mut faults, "/evidence", &new.evidence, FIELD_MAX);
    if new.ip.as_ref().is_some_and(|ip| ip.parse::<std::net::IpAddr>().is_err()) {
        faults.add("/ip", "not an IP address");
    }
    if new.at.is_some_and(|at| at > now.plus_seconds(60)) {
        faults.add("/at", "not later than now");
    }
    faults.end()?;
    let clean = |text: Option<String>| text.map(|text| text.replace('\0', "\u{fffd}"));
    Ok(ConsentRecord {
        topic: new.topic.unwrap_or_default(),
        source: caller.actor(),
        text_shown: clean(new.text),
        ip: new.ip,
        user_agent: clean(new.user_agent),
        evidence: clean(new.evidence),
        at: new.at.unwrap_or(now).min(now),
        ..draft(tenant, contact, new.channel, new.state, method, ids, now)
    })
}

impl Engine {
    /// Records what a contact said. `pending` sends the contact the question. 201 with the record. Needs the scope `consent:write`.
    #[crate::boxed]
    pub async fn record_consent(
        &self,
        caller: &Caller,
        repeat: &Repeat,
        contact: ContactId,
        new: NewConsent,
    ) -> Result<Reply, Error> {
        caller.need("consent:write")?;
        let tenant_id = caller.need_tenant()?;
        let (_, mut tenant) = self.tenant(tenant_id).await?;
        let (ids, now, shard) = (Arc::clone(&self.ports.ids), self.ports.clock.now(), self.shard());
        let record = check(new, tenant_id, contact, caller, &ids, now)?;
        if record.state == ConsentState::Pending && !tenant.consent.has_secret() {
            self.need_secret(tenant_id).await?;
            tenant = self.tenant(tenant_id).await?.1;
        }
        let (by, asked) = (caller.clone(), Arc::clone(&tenant));
        let question = record.clone();
        let reply = once(self.parts(), caller, repeat, 201, Secrecy::Plain, move |tx| {
            Box::pin(async move {
                let person = consents::find_person(tx, tenant_id, contact).await?;
                let person = person.ok_or_else(|| Error::not_found("contact"))?;
                let before = consents::standing(tx, &[(tenant_id, contact)]).await?;
                let is_about = |of: &&consents::Standing| of.channel == record.channel && of.topic == record.topic;
                let before = before.iter().find(is_about).map(|of| of.state);
                let mut writes = Writes::default();
                if record.state == ConsentState::Pending {
                    ask(tx, &mut writes, &tenant, &person, &record, now, &ids).await?;
                }
                append(tx, &mut writes, &tenant, record.clone(), &ids).await?;
                writes.write(tx, shard).await?;
                let detail = json!({
                    "channel": record.channel, "topic": record.topic, "state": {"from": before, "to": record.state}, "method": record.method,
                    "text": record.text_shown,
                });
                audit::record(tx, tenant_id, &ids, now, &by, "consent.recorded", contact, &detail).await?;
                Ok::<_, Error>(view(record))
            })
        });
        let reply = reply.await?;
        if question.state == ConsentState::Pending
            && !reply.replayed
            && let Some(account) = crate::accept::plan::default_account(&asked, question.channel)
        {
            let class = model::Class::new(Purpose::Transactional, model::Priority::High);
            self.dispatcher.nudge(tenant_id, account.id, class, now);
        }
        self.wakers.wake(tenant_id);
        Ok(reply)
    }

    /// Shows a contact's consent: how it stands, suppressions of its addresses, and what it said, newest first. Needs the scope `consent:read`.
    #[crate::boxed]
    pub async fn consents(
        &self,
        caller: &Caller,
        contact: ContactId,
        limit: Option<u32>,
        cursor: Option<&str>,
    ) -> Result<ConsentPage, Error> {
        caller.need("consent:read")?;
        let tenant = caller.need_tenant()?;
        let window = Window::read(LIST, limit, cursor)?;
        let (before, rows) = (ConsentId::from_ulid(window.before), window.rows());
        let read = self.ports.db.read(Scope::Tenant(tenant), move |tx| {
            Box::pin(async move {
                let person = consents::find_person(tx, tenant, contact).await?;
                let Some(person) = person else { return Ok(None) };
                let said = consents::list(tx, tenant, contact, before, rows).await?;
                let mut standing = consents::standing(tx, &[(tenant, contact)]).await?;
                standing.sort_by(|a, b| (a.channel, &a.topic).cmp(&(b.channel, &b.topic)));
                let mut against = suppressions::against(tx, &addresses(tenant, &person)).await?;
                against.sort_by_key(|row| std::cmp::Reverse(row.id));
                Ok::<_, store::Error>(Some((said, standing, against)))
            })
        });
        let (said, standing, against) = read.await?.ok_or_else(|| Error::not_found("contact"))?;
        let Page { data, next_cursor } = window.page(said, |row| row.id.ulid(), view);
        Ok(ConsentPage {
            standing: standing.iter().map(standing_view).collect(),
            suppressions: against.iter().map(suppression_view).collect(),
            data,
            next_cursor,
        })
    }
}

/// A contact's addresses in the form they are compared in.
pub(crate) fn addresses(tenant: TenantId, person: &Person) -> Vec<(TenantId, Channel, String)> {
    [Channel::Email, Channel::Sms, Channel::Whatsapp, Channel::Telegram, Channel::Voice]
        .into_iter()
        .filter_map(|channel| Some((tenant, channel, bar::key(channel, &person.address(channel)?))))
        .collect()
}

/// Writes the question of a double opt-in: a transactional message with a link, valid for a week.
async fn ask(
    tx: &mut Tx,
    writes: &mut Writes,
    tenant: &Tenant,
    person: &Person,
    record: &ConsentRecord,
    now: Timestamp,
    ids: &Ids,
) -> Result<(), Error> {
    let channel = record.channel;
    let address = person.address(channel).ok_or_else(|| {
        Error::invalid(
            "/channel",
            format!("the contact has no address for {channel}; add one, or record another channel"),
        )
    })?;
    let account = crate::accept::plan::default_account(tenant, channel).ok_or_else(|| {
        Error::invalid(
            "/channel",
            format!("there is no account for {channel} to ask over; add one with POST /v1/accounts"),
        )
        .with_action("ADD_ACCOUNT")
    })?;
    let link = Link {
        tenant_id: tenant.id,
        kind: Kind::Confirm,
        message_id: None,
        contact_id: Some(person.id),
        consent_id: Some(record.id),
        channel,
        made_at: now,
        topic: record.topic.clone(),
        address: address.clone(),
    };
    let token = link.seal(&tenant.consent).ok_or_else(|| Error::internal("the tenant's secret was made before"))?;
    let url = format!("{}/{}/{token}", tenant.public_url, Kind::Confirm.path());
    let name = super::reply::literal(&tenant.name);
    let content = super::question::content(channel, Language::of(person.language.as_deref()), &name, &url);
    let content =
        content.ok_or_else(|| Error::invalid("/channel", format!("a question cannot be asked over {channel}")))?;
    let message = super::reply::message(tenant, account, channel, &address, "reply:confirm", &content, now, ids);
    let message = store::messages::Message { contact_id: Some(person.id), ..message };
    let watched = [(&message, tenant)];
    let rulings = super::screen::look(tx, &watched, now).await?;
    if let Some(super::screen::Ruling::Bar(failure)) = rulings.get(&message.id) {
        return Err(Error::conflict(
            "recipient_suppressed",
            format!("The contact cannot be asked: {}", failure.detail),
        ));
    }
    super::reply::write(writes, tenant, message, &content, now, ids);
    Ok(())
}
