//! Dry runs: what would happen to a message, and why.

use std::sync::Arc;

use model::{ContactId, Money, Status, TenantId, Timestamp};
use serde::Serialize;
use store::{Scope, messages::Message};

use super::request::MessageRequest;
use crate::{
    Engine, Error, consent::screen::Ruling, contacts::links::Links, directory::Tenant, once::Reply,
    routing::decide::Decision,
};

impl Engine {
    /// Says what would happen to a message, and sends nothing.
    pub(crate) async fn explain(&self, tenant_id: TenantId, request: &MessageRequest) -> Result<Reply, Error> {
        let files = self.attach(tenant_id, request).await?;
        let (_, tenant) = self.tenant(tenant_id).await?;
        let now = self.ports.clock.now();
        let (plan, said) = self.plan_one(request, &tenant, files, now).await?;
        let (message, _) = self.new_message(request, &tenant, &plan, &said, now)?;
        // Its files were counted and are not stored, so they have no ids to show.
        let mut content = (*plan.rendered).clone();
        if let model::Content::Email(email) = &mut content {
            email.attachments.clear();
        }
        let cost = message
            .cost_micros
            .zip(message.cost_currency.clone())
            .map(|(amount_micros, currency)| Money { amount_micros, currency });
        let consent = self.foresee(&tenant, message, now).await?;
        let explanation = Explanation {
            dry_run: true,
            status: match consent.verdict {
                "held_back" => Status::Suppressed.as_str(),
                "waits" => Status::Scheduled.as_str(),
                _ => plan.status.as_str(),
            },
            channel: plan.channel.as_str(),
            to: plan.address.to_string(),
            account_id: plan.account.id.to_string(),
            connector: plan.account.connector.spec().id,
            route: &plan.route,
            routing: plan.ruled.as_ref().map(|(_, decision)| &**decision),
            leaves_at: consent.until.unwrap_or(plan.due_at),
            consent,
            segments: plan.segments,
            cost,
            sender_id: plan.sender.as_ref().map(|sender| sender.id),
            warnings: plan.warnings(),
            content: &content,
        };
        Ok(Reply {
            status: 200,
            body: serde_json::to_vec(&explanation).expect("an explanation has a JSON form"),
            replayed: false,
        })
    }

    /// What consent, suppression and quiet hours would say of a message that is not written.
    async fn foresee(&self, tenant: &Arc<Tenant>, mut m: Message, now: Timestamp) -> Result<Foreseen, Error> {
        if m.contact_id.is_none() && tenant.has_contacts {
            let (tenant, channel, address) = (tenant.id, m.channel, m.address.clone());
            let read = self.ports.db.read(Scope::Tenant(tenant), move |tx| {
                Box::pin(async move {
                    let links = Links::find(tx, std::iter::once((tenant, channel, address.as_str()))).await?;
                    Ok::<_, store::Error>(links.of(tenant, channel, &address))
                })
            });
            m.contact_id = read.await?;
        }
        let (id, contact_id) = (m.id, m.contact_id);
        let ruling = self.ruled(tenant, vec![m], now).await?.remove(&id);
        let go = Foreseen { verdict: "go", code: None, detail: None, until: None, contact_id };
        Ok(match ruling {
            None => go,
            Some(Ruling::Bar(failure)) => {
                Foreseen { verdict: "held_back", code: Some(failure.code), detail: Some(failure.detail), ..go }
            }
            Some(Ruling::Wait { until, why }) => {
                Foreseen { verdict: "waits", detail: Some(why), until: Some(until), ..go }
            }
        })
    }
}

/// The answer to a dry run.
#[derive(Serialize)]
struct Explanation<'a> {
    dry_run: bool,
    status: &'static str,
    channel: &'static str,
    to: String,
    account_id: String,
    connector: &'static str,
    route: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    routing: Option<&'a Decision>,
    leaves_at: Timestamp,
    consent: Foreseen,
    segments: Option<u32>,
    cost: Option<Money>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sender_id: Option<model::SenderId>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    content: &'a model::Content,
}

/// Whether a message may go, for the explanation of a dry run.
#[derive(Serialize)]
struct Foreseen {
    verdict: &'static str,
    code: Option<String>,
    detail: Option<String>,
    until: Option<Timestamp>,
    contact_id: Option<ContactId>,
}
