//! What is left to try after a message's first channel: planned with the message, by the same rules as a message of that channel alone, and written in the same transaction.

use model::{AttachmentRef, Channel, Timestamp};
use store::{contents::Stored, fallbacks::Fallback, messages::Message};

use super::{
    plan::{self, Plan},
    request::{ChannelChoice, MessageRequest, To},
};
use crate::{
    Engine, Error,
    apply::fallback::{MARK, NOTHING, Step},
    directory::Tenant,
    money::{book::Asked, charge},
    registrations::gate,
};

/// The channels after the first, with what is said on each.
pub(super) struct Tail {
    steps: Vec<Step>,
    /// New contents.
    pub contents: Vec<Stored>,
    after_s: u32,
}

impl Tail {
    /// Marks a message as one that has more channels, and answers the row that says which.
    pub fn attach(&self, m: &mut Message) -> Fallback {
        let names: Vec<&str> = self.steps.iter().map(|step| step.channel.as_str()).collect();
        m.route = Some(format!("{}{MARK}{}", m.route.clone().unwrap_or_default(), names.join(", then ")));
        Fallback {
            tenant_id: m.tenant_id,
            message_id: m.id,
            rest: serde_json::to_string(&self.steps).expect("steps have a JSON form"),
            after_s: self.after_s,
            due_at: None,
        }
    }
}

impl Engine {
    /// Plans the channels after the first. A channel without an address or an account is passed over; one whose content is wrong is refused now rather than when it is needed.
    pub(super) async fn tail(
        &self,
        request: &MessageRequest,
        tenant: &Tenant,
        first: &Plan,
        files: &[AttachmentRef],
        now: Timestamp,
    ) -> Result<Option<Tail>, Error> {
        let auto;
        let channels: &[Channel] = match &request.channel {
            Some(ChannelChoice::List(channels)) => channels,
            Some(ChannelChoice::Auto) if request.fallback_after_s.is_some() => {
                auto = plan::auto_order(request).0;
                &auto
            }
            _ => return Ok(None),
        };
        let mut tail = Tail { steps: Vec::new(), contents: Vec::new(), after_s: request.fallback_after_s.unwrap_or(0) };
        let mut seen = vec![first.channel];
        for channel in channels.iter().skip_while(|channel| **channel != first.channel).skip(1) {
            if seen.contains(channel) || plan::default_account(tenant, *channel).is_none() {
                continue;
            }
            seen.push(*channel);
            let Some(alone) = alone(request, *channel, tenant) else { continue };
            let files = if *channel == Channel::Email { files.to_vec() } else { Vec::new() };
            let (planned, said) = match self.plan_one(&alone, tenant, files, now).await {
                Ok(planned) => planned,
                Err(error) if is_out_of_reach(&error) => continue,
                Err(error) => return Err(error),
            };
            // What could not be paid for when it is needed is refused now.
            let to = planned.address.to_string();
            let asked = Asked {
                category: planned.category,
                ..Asked::new(planned.channel, planned.account.connector.spec().id, &to, planned.purpose)
            };
            charge::price_of(tenant, &asked, now).transpose()?;
            tail.steps.push(Step {
                channel: planned.channel,
                category: planned.category,
                address: to,
                account_id: planned.account.id,
                connector: planned.account.connector.spec().id.to_owned(),
                content_id: said.content_id.0.to_string(),
                segments: planned.segments,
                route: planned.route,
            });
            tail.contents.extend(said.stored);
        }
        for index in 0..tail.steps.len().saturating_sub(1) {
            let names: Vec<String> = tail.steps[index + 1..].iter().map(|step| step.channel.to_string()).collect();
            tail.steps[index].route.push_str(&format!("{MARK}{}", names.join(", then ")));
        }
        // The last one has nothing after it, but its row tells the ways it came.
        if let Some(last) = tail.steps.last_mut() {
            last.route.push_str(&format!("{MARK}{NOTHING}"));
        }
        Ok((!tail.steps.is_empty()).then_some(tail))
    }
}

/// True when a channel cannot be used for this message although nothing is wrong with it: the contact has no address there, the template is for another channel, or carriers would block it.
fn is_out_of_reach(error: &Error) -> bool {
    error.code == gate::REFUSED
        || error.errors.first().is_some_and(|field| field.pointer.starts_with("/to") || field.pointer == "/template")
}

/// The request as it would be for one channel alone; `None` when there is no address for it.
fn alone(request: &MessageRequest, channel: Channel, tenant: &Tenant) -> Option<MessageRequest> {
    let to = To {
        contact_id: request.to.contact_id,
        email: request.to.email.clone().filter(|_| channel == Channel::Email),
        phone: request
            .to
            .phone
            .clone()
            .filter(|_| matches!(channel, Channel::Sms | Channel::Whatsapp | Channel::Voice)),
        telegram_chat_id: request.to.telegram_chat_id.filter(|_| channel == Channel::Telegram),
    };
    if to.contact_id.is_none() && to.email.is_none() && to.phone.is_none() && to.telegram_chat_id.is_none() {
        return None;
    }
    let carries = |id: &model::AccountId| {
        tenant.account(*id).is_some_and(|account| account.is_enabled && account.channels.contains(&channel))
    };
    Some(MessageRequest {
        to,
        channel: Some(ChannelChoice::One(channel)),
        content: plan::narrowed(request, channel),
        account_id: request.account_id.filter(carries),
        attachments: if channel == Channel::Email { request.attachments.clone() } else { Vec::new() },
        // A sender belongs to one account; the next channel goes by its account's own.
        sender_id: None,
        fallback_after_s: None,
        ..request.clone()
    })
}
