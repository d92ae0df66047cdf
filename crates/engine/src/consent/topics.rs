//! Topics: what contacts' preferences and consents speak of (`/v1/topics`). Some everybody has; a tenant adds its own.

use model::{TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::{
    Scope, Tx,
    consents::{self, Topic},
    tenants,
};
use utoipa::ToSchema;

use crate::{
    Engine, Error, audit,
    keys::Caller,
    names::Faults,
    once::{Repeat, Reply, Secrecy, once},
};

/// Topics of one tenant's own: more than fit a preference page would help nobody.
const TOPICS_MAX: usize = 50;
/// Longest name, in characters; as in messages.
const NAME_MAX: usize = 64;
/// Longest description, in characters.
const DESCRIPTION_MAX: usize = 500;

/// Topics every tenant has: name, title, description.
pub const COMMON: &[(&str, &str, &str)] = &[
    ("invoice_delivery", "Invoices", "Invoices and receipts."),
    ("compliance_reminders", "Compliance reminders", "Deadlines set by authorities."),
    ("payment_reminders", "Payment reminders", "Payments that are due or late."),
    ("general_updates", "General updates", "News and offers."),
];

/// A topic to be added, or its new words.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTopic {
    /// Its word in messages and preferences: a-z, 0-9 and _, at most 64 characters. Cannot be changed later.
    #[schema(example = "match_reports")]
    pub name: String,
    /// What people read on the preference page.
    #[schema(example = "Match reports")]
    pub title: String,
    /// More of it.
    #[serde(default)]
    #[schema(example = "A summary after each match.")]
    pub description: String,
}

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TopicView {
    /// Its word in messages and preferences.
    #[schema(example = "match_reports")]
    pub name: String,
    /// What people read.
    #[schema(example = "Match reports")]
    pub title: String,
    /// More of it.
    pub description: String,
    /// True for topics every tenant has, which cannot be changed.
    pub is_common: bool,
    /// When it was added; `null` for common ones.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub created_at: Option<Timestamp>,
}

/// All topics of a tenant.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TopicList {
    /// The tenant's own, by name.
    pub data: Vec<TopicView>,
    /// Those every tenant has.
    pub common: Vec<TopicView>,
}

fn own(row: Topic) -> TopicView {
    TopicView {
        name: row.name,
        title: row.title,
        description: row.description,
        is_common: false,
        created_at: Some(row.created_at),
    }
}

/// Notes what is wrong with a topic's name.
pub(crate) fn check_name(faults: &mut Faults, pointer: &str, name: &str) {
    let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    if name.is_empty() || name.len() > NAME_MAX || !name.bytes().all(is_word) {
        faults.add(pointer, format!("1 to {NAME_MAX} characters of a-z, 0-9 and _"));
    }
}

/// A tenant's topics, common ones first.
pub(crate) async fn all(tx: &mut Tx, tenant: TenantId) -> Result<Vec<TopicView>, store::Error> {
    let common = COMMON.iter().map(|(name, title, description)| TopicView {
        name: (*name).to_owned(),
        title: (*title).to_owned(),
        description: (*description).to_owned(),
        is_common: true,
        created_at: None,
    });
    let mut topics: Vec<TopicView> = common.collect();
    topics.extend(consents::topics(tx, tenant).await?.into_iter().map(own));
    Ok(topics)
}

/// What the audit log holds of a topic.
fn told(topic: &Topic) -> Value {
    json!({ "title": topic.title, "description": topic.description })
}

impl Engine {
    /// Adds a topic, or changes the words of one of the same name. 201 with the topic. Needs the scope `consent:write`.
    #[crate::boxed]
    pub async fn put_topic(&self, caller: &Caller, repeat: &Repeat, new: NewTopic) -> Result<Reply, Error> {
        caller.need("consent:write")?;
        let tenant = caller.need_tenant()?;
        let mut faults = Faults::default();
        check_name(&mut faults, "/name", &new.name);
        if COMMON.iter().any(|(name, _, _)| *name == new.name) {
            faults.add("/name", "every tenant has this topic already; choose another name");
        }
        let title = faults.name("/title", &new.title);
        if new.description.chars().count() > DESCRIPTION_MAX || new.description.contains('\0') {
            faults.add("/description", format!("at most {DESCRIPTION_MAX} characters"));
        }
        faults.end()?;
        let (ids, now, by) = (std::sync::Arc::clone(&self.ports.ids), self.ports.clock.now(), caller.clone());
        once(self.parts(), caller, repeat, 201, Secrecy::Plain, move |tx| {
            Box::pin(async move {
                // Serialises changes, so that two requests cannot both add the last topic there is room for.
                tenants::bump(tx, Some(tenant)).await?;
                let before = consents::topics(tx, tenant).await?;
                let known = before.iter().find(|topic| topic.name == new.name);
                if known.is_none() && before.len() >= TOPICS_MAX {
                    let detail =
                        format!("There are {TOPICS_MAX} topics already, which is the most. Remove those nobody uses.");
                    return Err(Error::conflict("too_many_topics", detail));
                }
                let topic = Topic {
                    tenant_id: tenant,
                    created_at: known.map_or(now, |topic| topic.created_at),
                    name: new.name,
                    title,
                    description: new.description,
                };
                consents::put_topic(tx, &topic).await?;
                let detail = match known {
                    Some(before) => audit::difference(&told(before), &told(&topic)),
                    None => told(&topic),
                };
                audit::record(tx, tenant, &ids, now, &by, "topic.put", &topic.name, &detail).await?;
                Ok(own(topic))
            })
        })
        .await
    }

    /// Lists the topics. Needs the scope `consent:read`.
    #[crate::boxed]
    pub async fn topics(&self, caller: &Caller) -> Result<TopicList, Error> {
        caller.need("consent:read")?;
        let tenant = caller.need_tenant()?;
        let read = self.ports.db.read(Scope::Tenant(tenant), move |tx| Box::pin(all(tx, tenant)));
        let (common, data) = read.await.map_err(Error::from)?.into_iter().partition(|topic| topic.is_common);
        Ok(TopicList { data, common })
    }

    /// Removes one of the tenant's own topics. What contacts said about it stays on record. Needs the scope `consent:write`.
    #[crate::boxed]
    pub async fn remove_topic(&self, caller: &Caller, name: &str) -> Result<(), Error> {
        caller.need("consent:write")?;
        let tenant = caller.need_tenant()?;
        if COMMON.iter().any(|(common, _, _)| *common == name) {
            return Err(Error::conflict("topic_is_common", "Every tenant has this topic; it cannot be removed."));
        }
        let (ids, now, by) = (std::sync::Arc::clone(&self.ports.ids), self.ports.clock.now(), caller.clone());
        let name = name.to_owned();
        let write = self.ports.db.write(Scope::Tenant(tenant), move |tx| {
            Box::pin(async move {
                let topic = consents::topics(tx, tenant).await?.into_iter().find(|topic| topic.name == name);
                let topic = topic.ok_or_else(|| Error::not_found("topic"))?;
                consents::remove_topic(tx, tenant, &name).await?;
                audit::record(tx, tenant, &ids, now, &by, "topic.removed", &name, &told(&topic)).await
            })
        });
        write.await
    }
}
