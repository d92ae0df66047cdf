//! Between contacts and messages: a contact's address over a channel, its fields as variables, and the contact an address belongs to.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use model::{Address, Channel, ChatId, ContactId, Purpose, TenantId};
use serde_json::{Value, value::RawValue};
use store::{
    Scope, Tx, contact_attributes,
    contacts::{self, Contact, Key},
};

use super::view;
use crate::{
    Engine, Error,
    accept::request::{ChannelChoice, MessageRequest},
    consent::{
        Wishes,
        screen::{self, Asked},
    },
};

/// The variable under which a content finds the contact.
const VARIABLE: &str = "contact";

/// A contact as the recipient of a message.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipient {
    /// Its row.
    pub contact: Contact,
    /// What contents see of it: what the API shows, with attributes by name both beside the fields and below `attributes`.
    pub variables: Value,
}

impl Recipient {
    /// The recipient a row is.
    pub fn new(contact: Contact, schema: &[contact_attributes::Attribute]) -> Self {
        let mut variables = serde_json::to_value(view::contact(&contact, schema)).expect("a contact has a JSON form");
        // A field that is empty is an empty text in a message, not the word "none".
        for field in variables.as_object_mut().into_iter().flat_map(|fields| fields.values_mut()) {
            if field.is_null() {
                *field = Value::String(String::new());
            }
        }
        Self { contact, variables }
    }

    /// Where it is reached over a channel.
    pub fn address(&self, channel: Channel) -> Option<Address> {
        address(&self.contact, channel)
    }
}

/// Where a contact is reached over a channel.
pub fn address(contact: &Contact, channel: Channel) -> Option<Address> {
    match channel {
        Channel::Email => contact.email.as_ref()?.parse().ok().map(Address::Email),
        Channel::Sms | Channel::Voice => contact.phone.as_ref()?.parse().ok().map(Address::Phone),
        Channel::Whatsapp => contact.whatsapp_number()?.parse().ok().map(Address::Phone),
        Channel::Telegram => contact.telegram_chat_id.map(|chat| Address::Telegram(ChatId(chat))),
        Channel::Webhook => None,
    }
}

impl Engine {
    /// Reads the contacts that requests name, once for all of them, and gives their fields to the contents that ask for them. A request whose contact is not there
    /// is left without one; planning refuses it.
    pub(crate) async fn find_recipients<'r>(
        &self,
        tenant: TenantId,
        requests: impl Iterator<Item = &'r mut MessageRequest>,
    ) -> Result<(), Error> {
        let requests: Vec<&mut MessageRequest> = requests.filter(|request| request.to.contact_id.is_some()).collect();
        let ids: BTreeSet<ContactId> = requests.iter().filter_map(|request| request.to.contact_id).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let ids: Vec<ContactId> = ids.into_iter().collect();
        let read = self.ports.db.read(Scope::Tenant(tenant), move |tx| {
            Box::pin(async move {
                let found = contacts::find_many(tx, tenant, &ids).await?;
                Ok::<_, Error>((found, contact_attributes::all(tx, tenant).await?))
            })
        });
        let (found, schema): (Vec<Contact>, Vec<_>) = read.await?;
        let found: HashMap<ContactId, Arc<Recipient>> =
            found.into_iter().map(|contact| (contact.id, Arc::new(Recipient::new(contact, &schema)))).collect();
        let mut open: Vec<&mut MessageRequest> = Vec::new();
        for request in requests {
            request.recipient = request.to.contact_id.and_then(|id| found.get(&id).cloned());
            if let Some(recipient) = &request.recipient {
                let asks = request.content.as_ref().is_none_or(|content| content.get().contains(VARIABLE));
                if asks {
                    request.variables = with_contact(request.variables.take(), &recipient.variables);
                }
                if matches!(request.channel, Some(ChannelChoice::Auto)) {
                    open.push(request);
                }
            }
        }
        if open.is_empty() { Ok(()) } else { self.find_wishes(tenant, open).await }
    }

    /// Reads what contacts prefer and allow, for requests that leave the channel open.
    async fn find_wishes(&self, id: TenantId, open: Vec<&mut MessageRequest>) -> Result<(), Error> {
        let (_, tenant) = self.tenant(id).await?;
        let now = self.ports.clock.now();
        let channels = [Channel::Email, Channel::Whatsapp, Channel::Sms, Channel::Telegram, Channel::Voice];
        let ask = |request: &&mut MessageRequest| {
            let recipient = request.recipient.as_ref()?;
            let way = |channel: &Channel| Some((*channel, recipient.address(*channel)?.to_string()));
            Some(Asked {
                contact: recipient.contact.id,
                purpose: request.purpose.unwrap_or(Purpose::Transactional),
                topic: request.topic.clone(),
                ways: channels.iter().filter_map(way).collect(),
            })
        };
        let asked: Vec<Asked> = open.iter().filter_map(ask).collect();
        let read = self
            .ports
            .db
            .read(Scope::Tenant(id), move |tx| Box::pin(async move { screen::wishes(tx, &tenant, &asked, now).await }));
        let wishes: Vec<Wishes> = read.await?;
        for (request, wishes) in open.into_iter().zip(wishes) {
            request.wishes = Some(Arc::new(wishes));
        }
        Ok(())
    }
}

/// A request's variables and the contact's fields; the request's own win. What is no object is left for planning to refuse.
fn with_contact(given: Option<Box<RawValue>>, contact: &Value) -> Option<Box<RawValue>> {
    let mut fields = match &given {
        None => serde_json::Map::new(),
        Some(raw) => match serde_json::from_str(raw.get()) {
            Ok(fields) => fields,
            Err(_) => return given,
        },
    };
    if !fields.contains_key(VARIABLE) {
        fields.insert(VARIABLE.to_owned(), contact.clone());
    }
    RawValue::from_string(Value::Object(fields).to_string()).ok().or(given)
}

/// Which contacts addresses belong to.
#[derive(Debug, Default)]
pub(crate) struct Links(HashMap<(TenantId, Key, String), ContactId>);

impl Links {
    /// Looks addresses up, a statement for each kind of address that is there; none without addresses.
    pub(crate) async fn find<'a>(
        tx: &mut Tx,
        wanted: impl Iterator<Item = (TenantId, Channel, &'a str)>,
    ) -> Result<Self, store::Error> {
        let mut keys: BTreeSet<(Key, TenantId, String)> = BTreeSet::new();
        for (tenant, channel, address) in wanted {
            keys.extend(keys_of(channel, address).map(|(key, text)| (key, tenant, text)));
        }
        let mut links = HashMap::new();
        for key in [Key::Email, Key::Phone, Key::Whatsapp, Key::Telegram] {
            let of_kind: Vec<(TenantId, String)> = keys
                .iter()
                .filter(|(kind, ..)| *kind == key)
                .map(|(_, tenant, text)| (*tenant, text.clone()))
                .collect();
            for (tenant, text, contact) in contacts::owners(tx, key, &of_kind).await? {
                links.insert((tenant, key, text), contact);
            }
        }
        Ok(Self(links))
    }

    /// Whose an address is.
    pub(crate) fn of(&self, tenant: TenantId, channel: Channel, address: &str) -> Option<ContactId> {
        if self.0.is_empty() {
            return None;
        }
        keys_of(channel, address).find_map(|(key, text)| self.0.get(&(tenant, key, text)).copied())
    }
}

/// What a contact with this address has, the surest first.
fn keys_of(channel: Channel, address: &str) -> impl Iterator<Item = (Key, String)> + use<> {
    let keys: &[Key] = match channel {
        Channel::Email => &[Key::Email],
        Channel::Sms | Channel::Voice => &[Key::Phone],
        Channel::Whatsapp => &[Key::Whatsapp, Key::Phone],
        Channel::Telegram => &[Key::Telegram],
        Channel::Webhook => &[],
    };
    let text = if channel == Channel::Email { address.to_lowercase() } else { address.to_owned() };
    keys.iter().map(move |key| (*key, text.clone()))
}
