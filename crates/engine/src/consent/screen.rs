//! The two looks at whether a message may go: in the transaction that accepts it, and after it was claimed.
//!
//! Both cost nothing for messages about which nothing can be on record: transactional ones to a bare address, of a tenant that never suppressed anybody. For the others it is one
//! indexed look-up per kind of fact, over all messages of the batch.

use std::collections::{BTreeSet, HashMap};

use jiff::tz::TimeZone;
use model::{Channel, ContactId, Failure, MessageId, Purpose, TenantId, Timestamp};
use store::{
    Error, Tx,
    consents::{self, Preferences, Sent, Standing},
    messages::Message,
    suppressions::{self, Suppression},
};

use super::{
    bar,
    judge::{Contact, Facts, Verdict, is_reminder, judge},
    preferences, us_windows,
};
use crate::directory::Tenant;

/// Messages can be scheduled a year ahead, so what counts against a cap may have been accepted that long before, in seconds.
const ACCEPTED_BEFORE_S: i64 = 367 * 86_400;

/// What was found about a message. Nothing found: it may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ruling {
    /// It must not go.
    Bar(Failure),
    /// Not before this instant.
    Wait {
        /// When.
        until: Timestamp,
        /// Why, for people.
        why: String,
    },
}

pub(crate) type Rulings = HashMap<MessageId, Ruling>;

/// True when something may be on record about a message. Memory only.
pub(crate) fn is_watched(m: &Message, tenant: &Tenant) -> bool {
    m.channel != Channel::Webhook
        && (tenant.consent.has_suppressions || m.contact_id.is_some() || m.purpose == Purpose::Marketing)
}

/// Looks at messages with their tenants, of any tenants, as of when they would leave.
pub(crate) async fn look(tx: &mut Tx, messages: &[(&Message, &Tenant)], now: Timestamp) -> Result<Rulings, Error> {
    let watched: Vec<&(&Message, &Tenant)> = messages.iter().filter(|(m, tenant)| is_watched(m, tenant)).collect();
    if watched.is_empty() {
        return Ok(Rulings::new());
    }
    let mut rulings = suppressed(tx, &watched).await?;
    let mut known = Known::read(tx, &watched, now).await?;
    for (m, tenant) in watched {
        if rulings.contains_key(&m.id) || (m.contact_id.is_none() && m.purpose == Purpose::Transactional) {
            continue;
        }
        let at = m.due_at.map_or(now, |due_at| due_at.max(now));
        let facts = Facts {
            id: m.id,
            channel: m.channel,
            purpose: m.purpose,
            topic: m.topic.as_deref(),
            address: &m.address,
            policy: &tenant.consent,
            contact: m.contact_id.map(|contact| known.contact(m.tenant_id, contact, m.topic.as_deref())),
            at,
        };
        match judge(&facts) {
            Verdict::Go => known.count(m, at),
            Verdict::Bar(failure) => drop(rulings.insert(m.id, Ruling::Bar(failure))),
            Verdict::Wait { until, why } => {
                known.count(m, until);
                rulings.insert(m.id, Ruling::Wait { until, why });
            }
        }
    }
    Ok(rulings)
}

/// A message whose channel is still to be chosen.
pub(crate) struct Asked {
    /// To whom.
    pub contact: ContactId,
    /// Why.
    pub purpose: Purpose,
    /// About what.
    pub topic: Option<String>,
    /// The channels there are, with the contact's address.
    pub ways: Vec<(Channel, String)>,
}

/// What a contact prefers and allows, as far as the choice of a channel goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wishes {
    /// The channel it chose for the topic.
    pub preferred: Option<Channel>,
    /// Channels it must not be written to over, with the code of the reason.
    pub barred: Vec<(Channel, String)>,
}

/// What contacts of a tenant prefer and allow, in the order asked. How often and when they may be written to is the same over all channels, so it is not looked at here.
pub(crate) async fn wishes(
    tx: &mut Tx,
    tenant: &Tenant,
    asked: &[Asked],
    now: Timestamp,
) -> Result<Vec<Wishes>, Error> {
    let contacts: Vec<_> =
        asked.iter().map(|asked| (tenant.id, asked.contact)).collect::<BTreeSet<_>>().into_iter().collect();
    let preferences = consents::preferences(tx, &contacts).await?;
    let standing = consents::standing(tx, &contacts).await?;
    let key = |channel: Channel, address: &str| {
        let key = bar::key(channel, address);
        let hash = tenant.consent.has_erased.then(|| tenant.consent.hash(channel, &key)).flatten();
        std::iter::once(key).chain(hash).map(move |key| (tenant.id, channel, key))
    };
    let keys: BTreeSet<_> =
        asked.iter().flat_map(|asked| &asked.ways).flat_map(|(channel, address)| key(*channel, address)).collect();
    let listed = if tenant.consent.has_suppressions {
        suppressions::against(tx, &keys.into_iter().collect::<Vec<_>>()).await?
    } else {
        Vec::new()
    };
    let wishes = |asked: &Asked| {
        let own = preferences.iter().find(|row| row.contact_id == asked.contact);
        let barred = |(channel, address): &(Channel, String)| {
            let keys: Vec<_> = key(*channel, address).map(|(_, _, key)| key).collect();
            let against: Vec<_> =
                listed.iter().filter(|row| row.channel == *channel && keys.contains(&row.address)).collect();
            let topic = asked.topic.as_deref();
            let facts = Facts {
                id: MessageId::from_ulid(0),
                channel: *channel,
                purpose: asked.purpose,
                topic,
                address,
                policy: &tenant.consent,
                contact: Some(Contact {
                    standing: standing.iter().filter(|row| row.contact_id == asked.contact).collect(),
                    preferences: own,
                    zone: None,
                    marketing: Vec::new(),
                    reminded: Vec::new(),
                }),
                at: now,
            };
            let failure = bar::bar(asked.purpose, topic, &against).or_else(|| match judge(&facts) {
                Verdict::Bar(failure) => Some(failure),
                Verdict::Go | Verdict::Wait { .. } => None,
            });
            failure.map(|failure| (*channel, failure.code))
        };
        Wishes {
            preferred: own
                .zip(asked.topic.as_ref())
                .and_then(|(own, topic)| preferences::channels(own).get(topic).copied()),
            barred: asked.ways.iter().filter_map(barred).collect(),
        }
    };
    Ok(asked.iter().map(wishes).collect())
}

/// Which messages go to a suppressed address.
async fn suppressed(tx: &mut Tx, watched: &[&(&Message, &Tenant)]) -> Result<Rulings, Error> {
    let mut rulings = Rulings::new();
    let listed: Vec<_> = watched.iter().filter(|(_, tenant)| tenant.consent.has_suppressions).collect();
    let mut keys: Vec<_> = listed.iter().flat_map(|(m, tenant)| keys_of(tenant, m)).collect();
    if keys.is_empty() {
        return Ok(rulings);
    }
    keys.sort_unstable();
    keys.dedup();
    let found = suppressions::against(tx, &keys).await?;
    if found.is_empty() {
        return Ok(rulings);
    }
    let mut by_key: HashMap<(TenantId, Channel, &str), Vec<&Suppression>> = HashMap::new();
    for row in &found {
        by_key.entry((row.tenant_id, row.channel, &row.address)).or_default().push(row);
    }
    for (m, tenant) in listed {
        let own = keys_of(tenant, m);
        let against: Vec<&Suppression> = own
            .iter()
            .filter_map(|(tenant, channel, key)| by_key.get(&(*tenant, *channel, key.as_str())))
            .flatten()
            .copied()
            .collect();
        if let Some(failure) = bar::bar(m.purpose, m.topic.as_deref(), &against) {
            rulings.insert(m.id, Ruling::Bar(failure));
        }
    }
    Ok(rulings)
}

/// What to look for: the address, and its hash where addresses were erased.
fn keys_of(tenant: &Tenant, m: &Message) -> Vec<(TenantId, Channel, String)> {
    let key = bar::key(m.channel, &m.address);
    let hash = tenant.consent.has_erased.then(|| tenant.consent.hash(m.channel, &key)).flatten();
    let mut keys = vec![(m.tenant_id, m.channel, key)];
    keys.extend(hash.map(|hash| (m.tenant_id, m.channel, hash)));
    keys
}

/// What is on record about the contacts of a batch.
#[derive(Default)]
struct Known {
    standing: HashMap<(TenantId, ContactId), Vec<Standing>>,
    preferences: HashMap<(TenantId, ContactId), Preferences>,
    zones: HashMap<ContactId, TimeZone>,
    marketing: HashMap<(TenantId, ContactId), Vec<Sent>>,
    /// What contacts who said how often they want to be reminded got about topics of reminders.
    reminded: HashMap<(TenantId, ContactId), Vec<Sent>>,
}

impl Known {
    async fn read(tx: &mut Tx, watched: &[&(&Message, &Tenant)], now: Timestamp) -> Result<Self, Error> {
        let mut known = Self::default();
        let of = |is_wanted: &dyn Fn(&Message, &Tenant) -> bool| {
            let wanted = watched.iter().filter(|(m, tenant)| is_wanted(m, tenant));
            let mut keys: Vec<_> = wanted.filter_map(|(m, _)| Some((m.tenant_id, m.contact_id?))).collect();
            keys.sort_unstable();
            keys.dedup();
            keys
        };
        let contacts = of(&|_, _| true);
        if contacts.is_empty() {
            return Ok(known);
        }
        for row in consents::preferences(tx, &contacts).await? {
            known.preferences.insert((row.tenant_id, row.contact_id), row);
        }
        known.read_reminders(tx, watched, now).await?;
        let marketed = of(&|m, _| m.purpose == Purpose::Marketing);
        if marketed.is_empty() {
            return Ok(known);
        }
        for row in consents::standing(tx, &marketed).await? {
            known.standing.entry((row.tenant_id, row.contact_id)).or_default().push(row);
        }
        for (contact, zone) in consents::zones(tx, &marketed).await? {
            known.zones.extend(TimeZone::get(&zone).ok().map(|zone| (contact, zone)));
        }
        let capped = of(&|m, tenant| {
            let settings = &tenant.consent.settings;
            let has_state_cap = || {
                let held =
                    us_windows::of(&m.address, None).filter(|_| m.channel == Channel::Sms && settings.us_windows);
                held.is_some_and(|held| held.daily_max.is_some())
            };
            m.purpose == Purpose::Marketing && (settings.frequency_cap.is_some() || has_state_cap())
        });
        let mut by_tenant: HashMap<TenantId, Vec<ContactId>> = HashMap::new();
        for (tenant, contact) in capped {
            by_tenant.entry(tenant).or_default().push(contact);
        }
        for (tenant_id, contacts) in by_tenant {
            let cap = watched.iter().find(|(m, _)| m.tenant_id == tenant_id);
            let days = cap.and_then(|(_, tenant)| tenant.consent.settings.frequency_cap).map_or(0, |cap| cap.days);
            let since = now.plus_seconds(-(i64::from(days) * 86_400 + ACCEPTED_BEFORE_S));
            let since = MessageId::from_ulid(u128::from(since.as_millis().max(0).unsigned_abs()) << 80);
            for sent in consents::marketing_since(tx, tenant_id, &contacts, since).await? {
                known.marketing.entry((tenant_id, sent.contact_id)).or_default().push(sent);
            }
        }
        Ok(known)
    }

    /// Reads what was reminded of, for contacts who said how often they want that: for everybody else nothing is asked.
    async fn read_reminders(
        &mut self,
        tx: &mut Tx,
        watched: &[&(&Message, &Tenant)],
        now: Timestamp,
    ) -> Result<(), Error> {
        let mut asked: HashMap<TenantId, Vec<(ContactId, String)>> = HashMap::new();
        let mut days = 0;
        for (m, _) in watched.iter().filter(|(m, _)| is_reminder(m.topic.as_deref())) {
            let Some(contact) = m.contact_id else { continue };
            let own = self.preferences.get(&(m.tenant_id, contact)).and_then(preferences::reminders);
            let (Some(own), Some(topic)) = (own, m.topic.clone()) else { continue };
            days = days.max(own.days());
            asked.entry(m.tenant_id).or_default().push((contact, topic));
        }
        let since = now.plus_seconds(-(i64::from(days + 1) * 86_400 + ACCEPTED_BEFORE_S));
        let since = MessageId::from_ulid(u128::from(since.as_millis().max(0).unsigned_abs()) << 80);
        for (tenant_id, mut contacts) in asked {
            contacts.sort_unstable();
            contacts.dedup();
            for sent in consents::about_topics_since(tx, tenant_id, &contacts, since).await? {
                self.reminded.entry((tenant_id, sent.contact_id)).or_default().push(sent);
            }
            let whose: Vec<_> = contacts.iter().map(|(contact, _)| (tenant_id, *contact)).collect();
            for (contact, zone) in consents::zones(tx, &whose).await? {
                self.zones.extend(TimeZone::get(&zone).ok().map(|zone| (contact, zone)));
            }
        }
        Ok(())
    }

    fn contact(&self, tenant: TenantId, contact: ContactId, topic: Option<&str>) -> Contact<'_> {
        let key = (tenant, contact);
        let reminded = self.reminded.get(&key).into_iter().flatten();
        Contact {
            reminded: reminded.filter(|sent| sent.topic.as_deref() == topic).collect(),
            standing: self.standing.get(&key).into_iter().flatten().collect(),
            preferences: self.preferences.get(&key),
            zone: self.zones.get(&contact).cloned(),
            marketing: self.marketing.get(&key).into_iter().flatten().collect(),
        }
    }

    /// Counts a message of this batch, which is not in the table yet.
    fn count(&mut self, m: &Message, at: Timestamp) {
        if let Some(contact_id) = m.contact_id.filter(|_| is_reminder(m.topic.as_deref())) {
            let counted = self.reminded.entry((m.tenant_id, contact_id)).or_default();
            if counted.iter().all(|sent| sent.message_id != m.id) {
                let (channel, topic) = (m.channel, m.topic.clone());
                counted.push(Sent { message_id: m.id, contact_id, channel, topic, at, is_sent: false });
            }
        }
        let Some(contact_id) = m.contact_id.filter(|_| m.purpose == Purpose::Marketing) else { return };
        let counted = self.marketing.entry((m.tenant_id, contact_id)).or_default();
        if counted.iter().all(|sent| sent.message_id != m.id) {
            let (channel, topic) = (m.channel, m.topic.clone());
            counted.push(Sent { message_id: m.id, contact_id, channel, topic, at, is_sent: false });
        }
    }
}
