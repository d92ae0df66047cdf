//! What contacts prefer (`/v1/contacts/{id}/preferences`): the channel of each topic, how often they are reminded, quiet hours on their own clock, and whether they are to be written to
//! at all. And the tenant's own rules (`/v1/consent-policy`).

use std::{collections::BTreeMap, sync::Arc};

use model::{Channel, ContactId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use store::{
    Scope, Tx, consent_policies,
    consents::{self, Preferences},
    tenants,
};
use utoipa::ToSchema;

use super::{
    hours::QuietHours,
    policy::{FrequencyCap, Settings, StopScope},
    topics,
};
use crate::{Engine, Error, audit, keys::Caller, names::Faults, patch::Patch};

/// Longest answer to a keyword, in characters: ten parts of an SMS.
const ANSWER_MAX: usize = 1_530;
/// Longest span between reminders, in days.
const REMINDER_DAYS_MAX: u32 = 366;
/// Bounds of the frequency cap.
const CAP_MESSAGES_MAX: u32 = 1_000;
const CAP_DAYS_MAX: u32 = 90;

/// Days between two monthly reminders at least: from the 1st of February to that of March, and from one first Monday to the next, it may be no more.
const MONTH_DAYS: u32 = 28;

/// How often a contact is reminded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Frequency {
    /// Once a day at most.
    Daily,
    /// Once a week at most.
    Weekly,
    /// Once a month at most: every 28 days.
    Monthly,
    /// Every so many days at most: `every_days`.
    Custom,
}

/// How often a contact is reminded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reminders {
    /// How often.
    pub frequency: Frequency,
    /// Days between two, for `custom`.
    #[serde(default)]
    #[schema(example = 10)]
    pub every_days: Option<u32>,
}

impl Reminders {
    /// Days between two reminders at least.
    pub fn days(self) -> u32 {
        match self.frequency {
            Frequency::Daily => 1,
            Frequency::Weekly => 7,
            Frequency::Monthly => MONTH_DAYS,
            Frequency::Custom => self.every_days.unwrap_or(1),
        }
    }
}

/// What a contact prefers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct PreferencesView {
    /// Whose they are.
    #[schema(value_type = String)]
    pub contact_id: ContactId,
    /// True when nothing at all is to be sent, also no transactional message.
    pub do_not_contact: bool,
    /// The channel of each topic, as far as the contact chose one. `channel: "auto"` follows it.
    #[schema(value_type = Object)]
    pub channels: BTreeMap<String, Channel>,
    /// How often it is reminded: of messages about a topic whose name ends in `_reminders` at most one in so many days is sent, the others are held back with `reminder_frequency`. `null` when it did not
    /// say.
    pub reminders: Option<Reminders>,
    /// When marketing waits, on the contact's own clock; `null` for the tenant's hours.
    pub quiet_hours: Option<QuietHours>,
    /// When they last changed; `null` for never.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub updated_at: Option<Timestamp>,
}

/// Changes of a contact's preferences.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PreferencesPatch {
    /// Nothing at all is to be sent.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    pub do_not_contact: Patch<bool>,
    /// Topic to channel; `null` for a topic forgets it.
    #[serde(default)]
    #[schema(value_type = Option<Object>, example = json!({"invoice_delivery": "whatsapp"}))]
    pub channels: Patch<BTreeMap<String, Option<Channel>>>,
    /// How often it is reminded.
    #[serde(default)]
    #[schema(value_type = Option<Reminders>)]
    pub reminders: Patch<Reminders>,
    /// When marketing waits.
    #[serde(default)]
    #[schema(value_type = Option<QuietHours>)]
    pub quiet_hours: Patch<QuietHours>,
}

/// Reads how often a contact wants to be reminded.
pub(crate) fn reminders(row: &Preferences) -> Option<Reminders> {
    let frequency = serde_json::from_value(serde_json::Value::String(row.reminders.clone()?)).ok()?;
    Some(Reminders { frequency, every_days: row.reminder_days })
}

/// Reads the preferred channels a row keeps.
pub(crate) fn channels(row: &Preferences) -> BTreeMap<String, Channel> {
    serde_json::from_str(&row.channels).unwrap_or_default()
}

pub(crate) fn view(contact: ContactId, row: Option<&Preferences>) -> PreferencesView {
    let Some(row) = row else {
        return PreferencesView {
            contact_id: contact,
            do_not_contact: false,
            channels: BTreeMap::new(),
            reminders: None,
            quiet_hours: None,
            updated_at: None,
        };
    };
    let minutes = |value: Option<u32>| value.and_then(|value| u16::try_from(value).ok());
    PreferencesView {
        contact_id: contact,
        do_not_contact: row.do_not_contact,
        channels: channels(row),
        reminders: reminders(row),
        quiet_hours: minutes(row.quiet_from)
            .zip(minutes(row.quiet_until))
            .map(|(from, until)| QuietHours { from, until }),
        updated_at: Some(row.updated_at),
    }
}

fn check_quiet(faults: &mut Faults, quiet: Option<QuietHours>) {
    if quiet.is_some_and(|quiet| quiet.from == quiet.until) {
        faults.add("/quiet_hours/until", "another time than `from`: a whole day would never end");
    }
}

/// The preferences after a patch.
fn changed(
    tenant: TenantId,
    before: PreferencesView,
    patch: PreferencesPatch,
    known: &[String],
    now: Timestamp,
) -> Result<Preferences, Error> {
    let mut faults = Faults::default();
    let mut channels = before.channels;
    match patch.channels {
        Patch::Keep => {}
        Patch::Clear => channels.clear(),
        Patch::Set(changes) => {
            for (topic, channel) in changes {
                let pointer = format!("/channels/{topic}");
                if !known.contains(&topic) {
                    faults.add(
                        pointer,
                        format!(
                            "there is no such topic; there are {}, and more can be added with POST /v1/topics",
                            known.join(", ")
                        ),
                    );
                } else if channel == Some(Channel::Webhook) {
                    faults.add(pointer, "one of email, sms, whatsapp, telegram and voice");
                } else if let Some(channel) = channel {
                    channels.insert(topic, channel);
                } else {
                    channels.remove(&topic);
                }
            }
        }
    }
    let reminders = patch.reminders.onto(before.reminders);
    match reminders {
        Some(Reminders { frequency: Frequency::Custom, every_days: None }) => {
            faults.add("/reminders/every_days", "how many days, for `custom`");
        }
        Some(Reminders { frequency: Frequency::Custom, every_days: Some(days) })
            if !(1..=REMINDER_DAYS_MAX).contains(&days) =>
        {
            faults.add("/reminders/every_days", format!("1 to {REMINDER_DAYS_MAX} days"));
        }
        Some(Reminders { frequency, every_days: Some(_) }) if frequency != Frequency::Custom => {
            faults.add("/reminders/every_days", "only for `custom`");
        }
        _ => {}
    }
    let quiet = patch.quiet_hours.onto(before.quiet_hours);
    check_quiet(&mut faults, quiet);
    faults.end()?;
    let word = |reminders: Reminders| serde_json::to_value(reminders.frequency).ok()?.as_str().map(str::to_owned);
    Ok(Preferences {
        tenant_id: tenant,
        contact_id: before.contact_id,
        do_not_contact: patch.do_not_contact.or(before.do_not_contact, false),
        quiet_from: quiet.map(|quiet| quiet.from.into()),
        quiet_until: quiet.map(|quiet| quiet.until.into()),
        channels: serde_json::to_string(&channels).expect("channels have a JSON form"),
        reminders: reminders.and_then(word),
        reminder_days: reminders.and_then(|reminders| reminders.every_days),
        updated_at: now,
    })
}

/// Reads a contact's preferences, if the contact exists.
pub(crate) async fn read(
    tx: &mut Tx,
    tenant: TenantId,
    contact: ContactId,
) -> Result<Option<PreferencesView>, store::Error> {
    if consents::find_person(tx, tenant, contact).await?.is_none() {
        return Ok(None);
    }
    let rows = consents::preferences(tx, &[(tenant, contact)]).await?;
    Ok(Some(view(contact, rows.first())))
}

/// Changes a contact's preferences. Answers them after and before.
pub(crate) async fn change(
    tx: &mut Tx,
    tenant: TenantId,
    contact: ContactId,
    patch: PreferencesPatch,
    now: Timestamp,
) -> Result<(PreferencesView, PreferencesView), Error> {
    let before = read(tx, tenant, contact).await?.ok_or_else(|| Error::not_found("contact"))?;
    let known: Vec<String> = topics::all(tx, tenant).await?.into_iter().map(|topic| topic.name).collect();
    let row = changed(tenant, before.clone(), patch, &known, now)?;
    consents::prefer(tx, &row).await?;
    Ok((view(contact, Some(&row)), before))
}

/// Changes of a tenant's rules. Fields left out keep their value; `null` brings back what everybody begins with.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SettingsPatch {
    /// When marketing waits.
    #[serde(default)]
    #[schema(value_type = Option<QuietHours>)]
    pub quiet_hours: Patch<QuietHours>,
    /// The most marketing a contact gets.
    #[serde(default)]
    #[schema(value_type = Option<FrequencyCap>)]
    pub frequency_cap: Patch<FrequencyCap>,
    /// Marketing texts to the United States keep to the window of their state.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    pub us_windows: Patch<bool>,
    /// Whether marketing texts to numbers in India arrive from 10:00 to 21:00 there.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    pub india_windows: Patch<bool>,
    /// What STOP ends.
    #[serde(default)]
    #[schema(value_type = Option<StopScope>)]
    pub stop_scope: Patch<StopScope>,
    /// STOP, START and HELP are answered.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    pub answers_keywords: Patch<bool>,
    /// The answer to HELP.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub help_text: Patch<String>,
    /// The answer to STOP.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub stop_text: Patch<String>,
    /// The answer to START.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub start_text: Patch<String>,
}

fn set(before: Settings, patch: SettingsPatch) -> Result<Settings, Error> {
    let first = Settings::default();
    let after = Settings {
        quiet_hours: patch.quiet_hours.onto(before.quiet_hours),
        frequency_cap: patch.frequency_cap.onto(before.frequency_cap),
        us_windows: patch.us_windows.or(before.us_windows, first.us_windows),
        india_windows: patch.india_windows.or(before.india_windows, first.india_windows),
        stop_scope: patch.stop_scope.or(before.stop_scope, first.stop_scope),
        answers_keywords: patch.answers_keywords.or(before.answers_keywords, first.answers_keywords),
        help_text: patch.help_text.onto(before.help_text),
        stop_text: patch.stop_text.onto(before.stop_text),
        start_text: patch.start_text.onto(before.start_text),
    };
    let mut faults = Faults::default();
    check_quiet(&mut faults, after.quiet_hours);
    if let Some(cap) = after.frequency_cap {
        if !(1..=CAP_MESSAGES_MAX).contains(&cap.max) {
            faults.add("/frequency_cap/max", format!("1 to {CAP_MESSAGES_MAX} messages"));
        }
        if !(1..=CAP_DAYS_MAX).contains(&cap.days) {
            faults.add("/frequency_cap/days", format!("1 to {CAP_DAYS_MAX} days"));
        }
    }
    let texts =
        [("/help_text", &after.help_text), ("/stop_text", &after.stop_text), ("/start_text", &after.start_text)];
    for (pointer, text) in texts {
        if text
            .as_ref()
            .is_some_and(|text| text.trim().is_empty() || text.chars().count() > ANSWER_MAX || text.contains('\0'))
        {
            faults.add(pointer, format!("1 to {ANSWER_MAX} characters; null for our own words"));
        }
    }
    faults.end()?;
    Ok(after)
}

impl Engine {
    /// Shows what a contact prefers. Needs the scope `consent:read`.
    #[crate::boxed]
    pub async fn preferences(&self, caller: &Caller, contact: ContactId) -> Result<PreferencesView, Error> {
        caller.need("consent:read")?;
        let tenant = caller.need_tenant()?;
        let read = self.ports.db.read(Scope::Tenant(tenant), move |tx| Box::pin(read(tx, tenant, contact)));
        read.await.map_err(Error::from)?.ok_or_else(|| Error::not_found("contact"))
    }

    /// Changes what a contact prefers. Needs the scope `consent:write`.
    #[crate::boxed]
    pub async fn patch_preferences(
        &self,
        caller: &Caller,
        contact: ContactId,
        patch: PreferencesPatch,
    ) -> Result<PreferencesView, Error> {
        caller.need("consent:write")?;
        let tenant = caller.need_tenant()?;
        let (ids, now, by) = (Arc::clone(&self.ports.ids), self.ports.clock.now(), caller.clone());
        let write = self.ports.db.write(Scope::Tenant(tenant), move |tx| {
            Box::pin(async move {
                let (after, before) = change(tx, tenant, contact, patch, now).await?;
                let json = |view: &PreferencesView| serde_json::to_value(view).unwrap_or_default();
                let difference = audit::difference(&json(&before), &json(&after));
                audit::record(tx, tenant, &ids, now, &by, "preferences.updated", contact, &difference).await?;
                Ok::<_, Error>(after)
            })
        });
        write.await
    }

    /// Shows the tenant's rules of consent. Needs the scope `consent:read`.
    #[crate::boxed]
    pub async fn consent_policy(&self, caller: &Caller) -> Result<Settings, Error> {
        caller.need("consent:read")?;
        Ok(self.tenant(caller.need_tenant()?).await?.1.consent.settings.clone())
    }

    /// Changes the tenant's rules of consent. Needs the scope `consent:write`.
    #[crate::boxed]
    pub async fn patch_consent_policy(&self, caller: &Caller, patch: SettingsPatch) -> Result<Settings, Error> {
        caller.need("consent:write")?;
        let tenant = caller.need_tenant()?;
        let (ids, now, by) = (Arc::clone(&self.ports.ids), self.ports.clock.now(), caller.clone());
        let write = self.ports.db.write(Scope::Tenant(tenant), move |tx| {
            Box::pin(async move {
                tenants::bump(tx, Some(tenant)).await?;
                consent_policies::begin(tx, tenant, now).await?;
                let row = consent_policies::find(tx, tenant).await?;
                let before: Settings = row.and_then(|row| serde_json::from_str(&row.settings).ok()).unwrap_or_default();
                let after = set(before.clone(), patch)?;
                let text = serde_json::to_string(&after).expect("settings have a JSON form");
                consent_policies::set(tx, tenant, &text, now).await?;
                let json = |settings: &Settings| serde_json::to_value(settings).unwrap_or_default();
                let difference = audit::difference(&json(&before), &json(&after));
                audit::record(tx, tenant, &ids, now, &by, "consent_policy.updated", tenant, &difference).await?;
                Ok::<_, Error>(after)
            })
        });
        let after = write.await?;
        self.directory.catch_up().await;
        Ok(after)
    }
}
