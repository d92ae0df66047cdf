//! What follows when somebody writes STOP, START or HELP: in the transaction that stores what they wrote.
//!
//! STOP puts the address on the suppression list before anything else can be accepted or claimed for it, notes the withdrawal on the contact, and is confirmed once, by one message
//! without marketing through the same account. A provider that answers by itself is only mirrored. START lifts what STOP did and nothing else. In a mail only their own words count, no mail
//! is answered with a mail, and what a machine wrote by itself asks for nothing. Whom a mail is from is only what it says, so a mail that answers one of ours speaks for the address that one
//! went to.

use std::sync::Arc;

use connectors::Keyword;
use model::{
    Blocks, Channel, ConsentMethod, ConsentState, Content, Ids, SmsContent, SuppressionId, SuppressionReason,
    TelegramContent, Timestamp, WhatsappContent,
};
use store::{Tx, consents, inbound::Inbound, messages, suppressions::Suppression};

use super::{
    bar::{self, HELP_REPLY, STOP_REPLY},
    policy::StopScope,
    records, reply, suppressions,
    words::{Language, Wish, answer, wish},
};
use crate::{directory::Tenant, inbound as messages_in, writes::Writes};

/// What somebody wrote, and the address it speaks for.
struct Said<'a> {
    m: &'a Inbound,
    address: String,
    text: &'a str,
}

/// Acts on what somebody wrote, if it is a word that acts.
pub(crate) async fn act(
    tx: &mut Tx,
    writes: &mut Writes,
    tenant: &Arc<Tenant>,
    m: &Inbound,
    now: Timestamp,
    ids: &Ids,
) -> Result<(), store::Error> {
    if !matches!(m.channel, Channel::Sms | Channel::Whatsapp | Channel::Telegram | Channel::Email) {
        return Ok(());
    }
    let Ok(body) = serde_json::from_str::<messages_in::Body>(&m.body) else { return Ok(()) };
    let text = match &body.mail {
        Some(mail) if mail.is_automatic => return Ok(()),
        Some(mail) => &mail.new_text,
        None if body.text.is_empty() => body.button.as_deref().unwrap_or_default(),
        None => &body.text,
    };
    let (keyword, language) = match wish(text, body.keyword) {
        None => return Ok(()),
        Some(Wish::PerhapsStop) => {
            writes.event(tenant, "consent.review_needed", messages_in::json(m), now, ids);
            return Ok(());
        }
        Some(Wish::Word(keyword, language)) => (keyword, language),
    };
    let said = Said { m, address: address(tx, m, &body).await?, text };
    let is_news = match keyword {
        Keyword::Stop => stop(tx, writes, tenant, &said, now, ids).await?,
        Keyword::Start => start(tx, writes, tenant, &said, now, ids).await?,
        Keyword::Help => true,
    };
    if is_news && m.channel != Channel::Email && body.keyword.is_none() && tenant.consent.settings.answers_keywords {
        say(writes, tenant, m, keyword, language, now, ids);
    }
    Ok(())
}

/// The address somebody speaks for: in a mail that answers one of ours, the one that was written to; else the one they write from.
async fn address(tx: &mut Tx, m: &Inbound, body: &messages_in::Body) -> Result<String, store::Error> {
    if let (Channel::Email, Some(answered)) = (m.channel, body.in_reply_to_message_id) {
        let found = messages::find(tx, m.tenant_id, answered).await?;
        if let Some(message) = found.filter(|message| message.channel == Channel::Email) {
            return Ok(message.address);
        }
    }
    Ok(m.address.clone())
}

/// Answers whether the address was not stopped before: only then it is confirmed.
async fn stop(
    tx: &mut Tx,
    writes: &mut Writes,
    tenant: &Tenant,
    said: &Said<'_>,
    now: Timestamp,
    ids: &Ids,
) -> Result<bool, store::Error> {
    let channel = said.m.channel;
    let blocks = match tenant.consent.settings.stop_scope {
        StopScope::All => bar::blocks(channel, SuppressionReason::OptedOut),
        StopScope::Program => Blocks::Marketing,
    };
    let candidate = Suppression {
        tenant_id: tenant.id,
        channel,
        address: bar::key(channel, &said.address),
        reason: SuppressionReason::OptedOut,
        id: SuppressionId::from_ulid(ids.ulid(now)),
        blocks,
        source: "recipient".to_owned(),
        detail: Some(format!("They wrote: {}", short(said.text))),
        message_id: None,
        created_at: now,
    };
    let new = suppressions::add(tx, writes, tenant, vec![candidate], now, ids).await?;
    note(tx, writes, tenant, said, ConsentState::OptedOut, now, ids).await?;
    Ok(!new.is_empty())
}

/// Answers whether there was a STOP to be lifted: otherwise `yes` is just an answer to something else.
async fn start(
    tx: &mut Tx,
    writes: &mut Writes,
    tenant: &Tenant,
    said: &Said<'_>,
    now: Timestamp,
    ids: &Ids,
) -> Result<bool, store::Error> {
    let is_lifted = records::lift_opt_out(tx, writes, tenant, said.m.channel, &said.address, now, ids).await?;
    if is_lifted {
        note(tx, writes, tenant, said, ConsentState::OptedIn, now, ids).await?;
    }
    Ok(is_lifted)
}

/// Notes it on the contacts who are reached there.
async fn note(
    tx: &mut Tx,
    writes: &mut Writes,
    tenant: &Tenant,
    said: &Said<'_>,
    state: ConsentState,
    now: Timestamp,
    ids: &Ids,
) -> Result<(), store::Error> {
    let Said { m, address, text } = said;
    for person in consents::people_at(tx, tenant.id, m.channel, address).await? {
        let mut record = records::draft(tenant.id, person.id, m.channel, state, ConsentMethod::Keyword, ids, now);
        record.text_shown = Some(short(text));
        record.evidence = Some(m.id.to_string());
        records::append(tx, writes, tenant, record, ids).await?;
    }
    Ok(())
}

fn short(text: &str) -> String {
    text.replace('\0', "\u{fffd}").chars().take(200).collect()
}

/// Writes the answer, through the account they wrote to.
fn say(
    writes: &mut Writes,
    tenant: &Tenant,
    m: &Inbound,
    keyword: Keyword,
    language: Language,
    now: Timestamp,
    ids: &Ids,
) {
    let Some(account) = tenant.account(m.account_id).filter(|a| a.is_enabled && a.channels.contains(&m.channel)) else {
        return;
    };
    let settings = &tenant.consent.settings;
    let (own, topic) = match keyword {
        Keyword::Stop => (&settings.stop_text, STOP_REPLY),
        Keyword::Start => (&settings.start_text, "reply:start"),
        Keyword::Help => (&settings.help_text, HELP_REPLY),
    };
    let text = reply::literal(&own.clone().unwrap_or_else(|| answer(keyword, language, &tenant.name)));
    let content = match m.channel {
        Channel::Whatsapp => Content::Whatsapp(WhatsappContent { text, ..WhatsappContent::default() }),
        Channel::Telegram => Content::Telegram(TelegramContent { text, ..TelegramContent::default() }),
        _ => Content::Sms(SmsContent { text, ..SmsContent::default() }),
    };
    let message = reply::message(tenant, account, m.channel, &m.address, topic, &content, now, ids);
    reply::write(writes, tenant, message, &content, now, ids);
}
