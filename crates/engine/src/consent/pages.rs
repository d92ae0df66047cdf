//! What the hosted pages do: show how things stand for the one who holds a link, and do what they ask. The link is all they need, and it lets them touch nothing but their own.

use std::{collections::BTreeMap, sync::Arc};

use model::{Channel, ConsentMethod, ConsentState, Fact, SuppressionId, SuppressionReason, Timestamp};
use store::{
    Scope, Tx,
    consents::{self, Person},
    messages, suppressions,
    suppressions::Suppression,
};

use super::{
    bar,
    hours::QuietHours,
    links::{Kind, Link},
    preferences::{self, PreferencesPatch},
    records,
    topics::{self, TopicView},
};
use crate::{
    Engine, Error, ErrorKind,
    apply::{self, Input, Learned},
    branding::Look,
    directory::Tenant,
    engine::Tenants,
    patch::Patch,
    writes::Writes,
};

/// Who uses a page, for the record of what they said.
#[derive(Debug, Clone, Default)]
pub struct Visitor {
    /// From which address.
    pub ip: Option<String>,
    /// With which program, shortened.
    pub user_agent: Option<String>,
    /// The words they were shown.
    pub text_shown: Option<String>,
}

/// How far an unsubscription goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Only the topic of the message the link stood in.
    Topic,
    /// All marketing over the channel.
    Channel,
}

/// A channel on which somebody is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelStanding {
    /// Which.
    pub channel: Channel,
    /// The address, mostly hidden: a mail is easily forwarded.
    pub address: String,
    /// True when marketing comes there.
    pub is_on: bool,
}

/// How things stand for the one who holds a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The sender, as it calls itself.
    pub tenant: String,
    /// How its pages look.
    pub look: Look,
    /// The person's language, when it is known.
    pub language: Option<String>,
    /// The channel the link came over.
    pub channel: Channel,
    /// The address it came to, mostly hidden.
    pub address: String,
    /// The topic of the message it stood in.
    pub topic: Option<TopicView>,
    /// True when nothing more comes about that topic, though other things may.
    pub is_topic_off: bool,
    /// True when no marketing comes to the address.
    pub is_off: bool,
    /// The channels of the contact; one without a contact.
    pub channels: Vec<ChannelStanding>,
    /// What can be chosen for; empty without a contact.
    pub topics: Vec<TopicView>,
    /// The chosen channel of each topic.
    pub preferred: BTreeMap<String, Channel>,
    /// Topics nothing is wanted about, on the channel the link came over.
    pub topics_off: Vec<String>,
    /// The contact's quiet hours.
    pub quiet_hours: Option<QuietHours>,
    /// True when there is a contact whose preferences can be kept.
    pub has_contact: bool,
}

/// What somebody chose on the preference page.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// Channels on which marketing is welcome; those left out are not.
    pub channels: Vec<Channel>,
    /// Topics something is wanted about, on the channel the link came over; those left out are not.
    pub topics: Vec<String>,
    /// The channel of each topic; those left out have none in particular.
    pub preferred: BTreeMap<String, Channel>,
    /// Quiet hours, or none of their own.
    pub quiet_hours: Option<QuietHours>,
}

fn invalid() -> Error {
    Error::new(
        ErrorKind::NotFound,
        "link_invalid",
        "This link is not one of ours, or it was cut off. Copy it whole out of the message.",
    )
}

/// An address with all but its ends hidden.
fn masked(channel: Channel, address: &str) -> String {
    match (channel, address.split_once('@')) {
        (Channel::Email, Some((local, domain))) => {
            format!("{}\u{2022}\u{2022}\u{2022}@{domain}", local.chars().take(1).collect::<String>())
        }
        _ => {
            let chars: Vec<char> = address.chars().collect();
            let end: String = chars[chars.len().saturating_sub(3)..].iter().collect();
            format!("\u{2022}\u{2022}\u{2022} {end}")
        }
    }
}

impl Engine {
    /// Opens a link. 404 for anything else.
    async fn link(&self, token: &str, kind: Kind) -> Result<(Arc<Tenant>, Link), Error> {
        let tenant = Link::tenant(token).ok_or_else(invalid)?;
        let tenant = self.directory.tenant(tenant).await?.ok_or_else(invalid)?;
        let link = Link::open(token, kind, &tenant.consent).ok_or_else(invalid)?;
        if link.is_over(self.ports.clock.now()) {
            let detail = "This link has grown too old. Use the link in a newer message.";
            return Err(Error::new(ErrorKind::NotFound, "link_expired", detail));
        }
        Ok((tenant, link))
    }

    /// Shows how things stand for the one who holds this link. Changes nothing: programs that look for viruses follow links, too.
    #[crate::boxed]
    pub async fn page(&self, token: &str, kind: Kind) -> Result<Standing, Error> {
        let (tenant, link) = self.link(token, kind).await?;
        let read = self
            .ports
            .db
            .read(Scope::Tenant(tenant.id), move |tx| Box::pin(async move { stands(tx, &tenant, &link).await }));
        read.await.map_err(Error::from)
    }

    /// Ends marketing for the one who holds this link. Done twice it changes nothing more.
    #[crate::boxed]
    pub async fn unsubscribe(&self, token: &str, visitor: Visitor, reach: Reach) -> Result<Standing, Error> {
        let (tenant, link) = self.link(token, Kind::Unsubscribe).await?;
        self.at_page(tenant, link, move |tx, page| {
            Box::pin(async move {
                let is_topic = reach == Reach::Topic && page.link.contact_id.is_some() && !page.link.topic.is_empty();
                if is_topic {
                    let topic = page.link.topic.clone();
                    page.say(tx, page.link.channel, &topic, ConsentState::OptedOut, &visitor).await?;
                } else {
                    page.end(tx, page.link.channel, &page.link.address.clone(), &visitor).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Takes an unsubscription back, for the one who holds this link.
    #[crate::boxed]
    pub async fn resubscribe(&self, token: &str, visitor: Visitor) -> Result<Standing, Error> {
        let (tenant, link) = self.link(token, Kind::Unsubscribe).await?;
        self.at_page(tenant, link, move |tx, page| {
            Box::pin(async move {
                let (channel, address) = (page.link.channel, page.link.address.clone());
                page.begin(tx, channel, &address, ConsentMethod::Page, &visitor).await?;
                if !page.link.topic.is_empty() {
                    let topic = page.link.topic.clone();
                    page.say(tx, channel, &topic, ConsentState::OptedIn, &visitor).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Keeps what somebody chose on the preference page.
    #[crate::boxed]
    pub async fn choose(&self, token: &str, visitor: Visitor, choice: Choice) -> Result<Standing, Error> {
        let (tenant, link) = self.link(token, Kind::Preferences).await?;
        self.at_page(tenant, link, move |tx, page| {
            Box::pin(async move {
                let before = stands(tx, &page.tenant, &page.link).await?;
                let person = page.person(tx).await?;
                for was in &before.channels {
                    let wants = choice.channels.contains(&was.channel);
                    let address = match &person {
                        Some(person) => person.address(was.channel),
                        None => Some(page.link.address.clone()),
                    };
                    let Some(address) = address.filter(|_| wants != was.is_on) else { continue };
                    if wants {
                        page.begin(tx, was.channel, &address, ConsentMethod::Page, &visitor).await?;
                    } else {
                        page.end(tx, was.channel, &address, &visitor).await?;
                    }
                }
                let Some(contact) = person.map(|person| person.id) else { return Ok(()) };
                for topic in &before.topics {
                    let (wants, was) = (choice.topics.contains(&topic.name), !before.topics_off.contains(&topic.name));
                    if wants != was {
                        let state = if wants { ConsentState::OptedIn } else { ConsentState::OptedOut };
                        page.say(tx, page.link.channel, &topic.name, state, &visitor).await?;
                    }
                }
                let known = |name: &String| before.topics.iter().any(|topic| topic.name == *name);
                let mut channels: BTreeMap<String, Option<Channel>> =
                    before.topics.iter().map(|topic| (topic.name.clone(), None)).collect();
                channels.extend(
                    choice
                        .preferred
                        .into_iter()
                        .filter(|(name, _)| known(name))
                        .map(|(name, channel)| (name, Some(channel))),
                );
                let patch = PreferencesPatch {
                    channels: Patch::Set(channels),
                    quiet_hours: choice.quiet_hours.map_or(Patch::Clear, Patch::Set),
                    ..PreferencesPatch::default()
                };
                preferences::change(tx, page.tenant.id, contact, patch, page.now).await?;
                Ok(())
            })
        })
        .await
    }

    /// Confirms a double opt-in. Done twice it changes nothing more.
    #[crate::boxed]
    pub async fn confirm(&self, token: &str, visitor: Visitor) -> Result<Standing, Error> {
        let (tenant, link) = self.link(token, Kind::Confirm).await?;
        self.at_page(tenant, link, move |tx, page| {
            Box::pin(async move {
                let asked = match (page.link.contact_id, page.link.consent_id) {
                    (Some(contact), Some(id)) => consents::find(tx, page.tenant.id, contact, id).await?,
                    _ => None,
                };
                let asked = asked.ok_or_else(invalid)?;
                let (channel, address) = (page.link.channel, page.link.address.clone());
                let standing = consents::standing(tx, &[(page.tenant.id, asked.contact_id)]).await?;
                let now = standing.iter().find(|s| s.channel == channel && s.topic == asked.topic);
                // A later word of theirs stands: an old confirmation found in the mailbox must not bring back what was withdrawn.
                if now.is_some_and(|now| now.state == ConsentState::Pending) {
                    page.evidence = Some(asked.id.to_string());
                    page.topic.clone_from(&asked.topic);
                    page.begin(tx, channel, &address, ConsentMethod::DoubleOptIn, &visitor).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Does something for the one who holds a link, in one transaction, and shows how things stand afterwards.
    async fn at_page(
        &self,
        tenant: Arc<Tenant>,
        link: Link,
        work: impl for<'t> FnOnce(&'t mut Tx, &'t mut AtPage) -> model::BoxFuture<'t, Result<(), Error>> + Send + 'static,
    ) -> Result<Standing, Error> {
        let (ids, now, shard) = (Arc::clone(&self.ports.ids), self.ports.clock.now(), self.shard());
        let id = tenant.id;
        let write = self.ports.db.write(Scope::Tenant(id), move |tx| {
            Box::pin(async move {
                let mut page = AtPage {
                    tenant,
                    link,
                    writes: Writes::default(),
                    ids,
                    now,
                    shard,
                    evidence: None,
                    topic: String::new(),
                };
                work(tx, &mut page).await?;
                page.writes.write(tx, shard).await?;
                Ok::<_, Error>(stands(tx, &page.tenant, &page.link).await?)
            })
        });
        let after = write.await?;
        self.noticed(id).await;
        Ok(after)
    }
}

/// One use of a page.
struct AtPage {
    tenant: Arc<Tenant>,
    link: Link,
    writes: Writes,
    ids: Arc<model::Ids>,
    now: Timestamp,
    shard: i64,
    evidence: Option<String>,
    /// The topic a confirmation is about.
    topic: String,
}

impl AtPage {
    async fn person(&self, tx: &mut Tx) -> Result<Option<Person>, store::Error> {
        match self.link.contact_id {
            Some(contact) => consents::find_person(tx, self.tenant.id, contact).await,
            None => Ok(None),
        }
    }

    /// Notes what the contact said, if there is one.
    async fn say(
        &mut self,
        tx: &mut Tx,
        channel: Channel,
        topic: &str,
        state: ConsentState,
        visitor: &Visitor,
    ) -> Result<(), Error> {
        self.note(tx, channel, topic, state, ConsentMethod::Page, visitor).await
    }

    async fn note(
        &mut self,
        tx: &mut Tx,
        channel: Channel,
        topic: &str,
        state: ConsentState,
        method: ConsentMethod,
        visitor: &Visitor,
    ) -> Result<(), Error> {
        let Some(person) = self.person(tx).await? else { return Ok(()) };
        let standing = consents::standing(tx, &[(self.tenant.id, person.id)]).await?;
        if standing.iter().any(|s| s.channel == channel && s.topic == topic && s.state == state) {
            return Ok(());
        }
        let mut record = records::draft(self.tenant.id, person.id, channel, state, method, &self.ids, self.now);
        record.topic = topic.to_owned();
        record.ip.clone_from(&visitor.ip);
        record.user_agent.clone_from(&visitor.user_agent);
        record.text_shown.clone_from(&visitor.text_shown);
        record.evidence = self.evidence.clone().or_else(|| self.link.message_id.map(|id| id.to_string()));
        let (tenant, ids) = (Arc::clone(&self.tenant), Arc::clone(&self.ids));
        records::append(tx, &mut self.writes, &tenant, record, &ids).await?;
        Ok(())
    }

    /// Ends marketing to an address.
    async fn end(&mut self, tx: &mut Tx, channel: Channel, address: &str, visitor: &Visitor) -> Result<(), Error> {
        let is_of_message = channel == self.link.channel;
        let candidate = Suppression {
            tenant_id: self.tenant.id,
            channel,
            address: bar::key(channel, address),
            reason: SuppressionReason::OptedOut,
            id: SuppressionId::from_ulid(self.ids.ulid(self.now)),
            blocks: model::Blocks::Marketing,
            source: "recipient".to_owned(),
            detail: Some("They unsubscribed by a link in a message.".to_owned()),
            message_id: self.link.message_id.filter(|_| is_of_message),
            created_at: self.now,
        };
        let (tenant, ids) = (Arc::clone(&self.tenant), Arc::clone(&self.ids));
        let new = super::suppressions::add(tx, &mut self.writes, &tenant, vec![candidate], self.now, &ids).await?;
        self.note(tx, channel, "", ConsentState::OptedOut, ConsentMethod::Page, visitor).await?;
        if new.is_empty() || !is_of_message {
            return Ok(());
        }
        // Written before the message hears of it, so that it finds the suppression there.
        std::mem::take(&mut self.writes).write(tx, self.shard).await?;
        self.tell_message(tx).await
    }

    /// Notes on the message that it led to this.
    async fn tell_message(&self, tx: &mut Tx) -> Result<(), Error> {
        let Some(message_id) = self.link.message_id else { return Ok(()) };
        if messages::find(tx, self.tenant.id, message_id).await?.is_none() {
            return Ok(());
        }
        let learned = Learned {
            tenant_id: self.tenant.id,
            message_id,
            fact: Fact::Unsubscribed,
            at: self.now,
            source: "recipient".to_owned(),
            dedupe: "unsubscribed".to_owned(),
            provider_status: None,
            provider_message_id: None,
            segments: None,
            price: None,
            pricing: None,
            attempt: None,
            machine: None,
        };
        let tenants = Tenants::from([(self.tenant.id, Arc::clone(&self.tenant))]);
        apply::write_in(tx, &[&Input::Learned(vec![learned])], &tenants, &[], &self.ids, self.now, self.shard).await?;
        Ok(())
    }

    /// Begins marketing to an address again, or for the first time.
    async fn begin(
        &mut self,
        tx: &mut Tx,
        channel: Channel,
        address: &str,
        method: ConsentMethod,
        visitor: &Visitor,
    ) -> Result<(), Error> {
        let (tenant, ids) = (Arc::clone(&self.tenant), Arc::clone(&self.ids));
        records::lift_opt_out(tx, &mut self.writes, &tenant, channel, address, self.now, &ids).await?;
        let topic = self.topic.clone();
        self.note(tx, channel, &topic, ConsentState::OptedIn, method, visitor).await
    }
}

/// Reads how things stand.
async fn stands(tx: &mut Tx, tenant: &Tenant, link: &Link) -> Result<Standing, store::Error> {
    let person = match link.contact_id {
        Some(contact) => consents::find_person(tx, tenant.id, contact).await?,
        None => None,
    };
    let mut addresses: Vec<(Channel, String)> = match &person {
        Some(person) => [Channel::Email, Channel::Sms, Channel::Whatsapp, Channel::Telegram]
            .into_iter()
            .filter_map(|channel| Some((channel, person.address(channel)?)))
            .collect(),
        None => Vec::new(),
    };
    if !addresses.iter().any(|(channel, _)| *channel == link.channel) {
        addresses.insert(0, (link.channel, link.address.clone()));
    }
    let key = |channel: Channel, address: &str| (tenant.id, channel, bar::key(channel, address));
    let mut keys: Vec<_> = addresses.iter().map(|(channel, address)| key(*channel, address)).collect();
    keys.push(key(link.channel, &link.address));
    keys.dedup();
    let against = suppressions::against(tx, &keys).await?;
    let said = match &person {
        Some(person) => consents::standing(tx, &[(tenant.id, person.id)]).await?,
        None => Vec::new(),
    };
    let word = |channel: Channel, topic: &str| {
        said.iter().find(|s| s.channel == channel && s.topic == topic).map(|standing| standing.state)
    };
    let is_listed = |channel: Channel, address: &str| {
        let (_, channel, address) = key(channel, address);
        against.iter().any(|row| row.channel == channel && row.address == address)
    };
    let is_on = |channel: Channel, address: &str| {
        // A bare address, or a contact who was written to: what is not withdrawn comes.
        !is_listed(channel, address) && (person.is_none() || word(channel, "") == Some(ConsentState::OptedIn))
    };
    let topics = topics::all(tx, tenant.id).await?;
    let preferences = match &person {
        Some(person) => preferences::read(tx, tenant.id, person.id).await?,
        None => None,
    };
    let topic = topics.iter().find(|topic| topic.name == link.topic).cloned();
    let is_off = is_listed(link.channel, &link.address) || word(link.channel, "") == Some(ConsentState::OptedOut);
    Ok(Standing {
        tenant: tenant.branding.name.clone().unwrap_or_else(|| tenant.name.clone()),
        look: tenant.branding.look(tenant.id),
        language: person.as_ref().and_then(|person| person.language.clone()),
        channel: link.channel,
        address: masked(link.channel, &link.address),
        is_topic_off: word(link.channel, &link.topic) == Some(ConsentState::OptedOut) && !link.topic.is_empty(),
        topic,
        is_off,
        channels: addresses
            .iter()
            .map(|(channel, address)| ChannelStanding {
                channel: *channel,
                address: masked(*channel, address),
                is_on: is_on(*channel, address),
            })
            .collect(),
        topics_off: topics
            .iter()
            .filter(|topic| word(link.channel, &topic.name) == Some(ConsentState::OptedOut))
            .map(|topic| topic.name.clone())
            .collect(),
        topics: if person.is_some() { topics } else { Vec::new() },
        preferred: preferences.as_ref().map(|p| p.channels.clone()).unwrap_or_default(),
        quiet_hours: preferences.and_then(|p| p.quiet_hours),
        has_contact: person.is_some(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_shown_by_their_ends_only() {
        assert_eq!(masked(Channel::Email, "ada@example.com"), "a\u{2022}\u{2022}\u{2022}@example.com");
        assert_eq!(masked(Channel::Sms, "+4915112345678"), "\u{2022}\u{2022}\u{2022} 678");
        assert_eq!(masked(Channel::Telegram, "7"), "\u{2022}\u{2022}\u{2022} 7");
    }
}
