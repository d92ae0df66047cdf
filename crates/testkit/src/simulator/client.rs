//! The tenants' side of a simulated world: what they asked for, and what they were answered.

use std::collections::{BTreeMap, HashSet};

use engine::{callbacks::OwnedRequest, keys::Caller};
use model::{AccountId, Channel, Guarantee, Ids, MessageId, Status, TenantId, Timestamp};
use serde_json::{Value, json};

use super::provider::{Copy, Word};
use super::words::Kind;

/// A customer.
pub(super) struct Tenant {
    pub id: TenantId,
    pub caller: Caller,
}

/// A tenant's account at a provider.
pub(super) struct Account {
    pub id: AccountId,
    pub tenant: usize,
    pub connector: &'static str,
    /// What names it at the provider.
    pub name_there: String,
    /// What the provider signs its reports with.
    pub secret: String,
    /// Messages a second, where the tenant wants fewer.
    pub per_second: Option<u32>,
    pub is_deleted: bool,
}

/// Something a tenant wants sent once.
pub(super) struct Wish {
    pub tenant: usize,
    pub guarantee: Guarantee,
    /// The message, once a 202 said so.
    pub id: Option<MessageId>,
    /// True once it was refused and never asked for again.
    pub is_refused: bool,
    /// How often a person sent its dead letter again.
    pub retries: usize,
}

/// A request that may be repeated.
pub(super) struct Posted {
    pub tenant: usize,
    pub key: Option<String>,
    pub body: String,
    pub is_batch: bool,
    pub tags: Vec<u32>,
    pub at: Timestamp,
    /// What was answered, when the answer arrived.
    pub answer: Option<Vec<u8>>,
}

/// Everything the tenants know.
#[derive(Default)]
pub(super) struct Client {
    pub wishes: Vec<Wish>,
    pub posted: Vec<Posted>,
    /// The status each message had at the last look.
    pub seen: BTreeMap<MessageId, Status>,
    /// Messages a person has asked to be sent again since the last look.
    pub reopened: HashSet<MessageId>,
    /// The lowest status each message may have, by what its provider's reports said.
    pub told: BTreeMap<MessageId, Status>,
    /// Reports that were handed in: (copy, what it said).
    pub handed_in: HashSet<(String, Word)>,
}

impl Client {
    /// Makes up a message to somebody new. Answers its number and the request.
    pub fn wish(&mut self, chance: &Ids, tenant: usize, now: Timestamp, accounts: &[Account]) -> (u32, Value) {
        let tag = self.wishes.len() as u32;
        let channel = match chance.below(10) {
            0..4 => Channel::Email,
            4..8 => Channel::Sms,
            _ => Channel::Whatsapp,
        };
        let mut body = match channel {
            Channel::Email => json!({
                "to": { "email": format!("m{tag}@example.com") },
                "content": { "subject": format!("Number {tag}"), "text": "Hello {{ name }}" }, "variables": { "name": "Ada" },
            }),
            _ => json!({
                "to": { "phone": format!("+49151{tag:08}") }, "channel": channel.as_str(), "content": { "text": "Hello {{ name }}" },
                "variables": { "name": format!("No. {tag}") },
            }),
        };
        body["metadata"] = json!({ "n": tag });
        let guarantee = if chance.below(3) == 0 { Guarantee::AtMostOnce } else { Guarantee::AtLeastOnce };
        body["guarantee"] = guarantee.as_str().into();
        body["priority"] = ["high", "normal", "low"][chance.below(3) as usize].into();
        body["purpose"] = ["transactional", "marketing"][chance.below(2) as usize].into();
        let mut leaves_at = now;
        if chance.below(5) == 0 {
            leaves_at = now.plus_millis(1 + chance.below(120_000) as i64);
            body["send_at"] = leaves_at.to_string().into();
        }
        if chance.below(4) == 0 {
            body["expires_at"] = leaves_at.plus_millis(500 + chance.below(60_000) as i64).to_string().into();
        }
        if chance.below(4) == 0 {
            self.choose_account(chance, tenant, channel, accounts, &mut body);
        }
        self.wishes.push(Wish { tenant, guarantee, id: None, is_refused: false, retries: 0 });
        (tag, body)
    }

    fn choose_account(&self, chance: &Ids, tenant: usize, channel: Channel, accounts: &[Account], body: &mut Value) {
        let carries = |account: &&Account| {
            let is_mail = matches!(account.connector, "smtp" | "resend");
            account.tenant == tenant && (account.connector == "sandbox" || is_mail == (channel == Channel::Email))
        };
        let all: Vec<&Account> = accounts.iter().filter(carries).collect();
        if let Some(account) = all.get(chance.below(all.len() as u64) as usize) {
            body["account_id"] = account.id.to_string().into();
        }
    }

    /// Notes what a 202 said about a request's messages; a refusal is `None`. Answers what is wrong with it.
    pub fn answered(&mut self, index: usize, answer: Option<Vec<u8>>) -> Result<(), String> {
        let posted = &mut self.posted[index];
        let Some(answer) = answer else {
            for tag in &posted.tags {
                let wish = &mut self.wishes[*tag as usize];
                wish.is_refused = wish.id.is_none();
            }
            return Ok(());
        };
        if let Some(before) = &posted.answer
            && *before != answer
        {
            return Err("a repeated request was answered differently".to_owned());
        }
        let json: Value = serde_json::from_slice(&answer).map_err(|error| format!("an answer is no JSON: {error}"))?;
        posted.answer = Some(answer);
        let lines = if posted.is_batch { json["data"].as_array().cloned().unwrap_or_default() } else { vec![json] };
        if lines.len() != posted.tags.len() {
            return Err(format!("{} messages were answered with {} lines", posted.tags.len(), lines.len()));
        }
        for (tag, line) in posted.tags.iter().zip(lines) {
            let id = line["id"].as_str().and_then(|id| id.parse::<MessageId>().ok());
            let wish = &mut self.wishes[*tag as usize];
            match (wish.id, id) {
                (Some(before), after) if after != Some(before) => {
                    return Err(format!("m{tag} was answered as {before} and then as {after:?}"));
                }
                _ => (wish.id, wish.is_refused) = (id, id.is_none()),
            }
        }
        Ok(())
    }

    /// Notes that a message was sent again by a person.
    pub fn reopen(&mut self, id: MessageId) {
        self.reopened.insert(id);
        self.told.remove(&id);
        if let Some(wish) = self.wishes.iter_mut().find(|wish| wish.id == Some(id)) {
            wish.retries += 1;
        }
    }

    /// Notes that a report about a copy was answered with success. Only the first one of its kind binds the message: a repeated one may find it reopened.
    pub fn hand_in(&mut self, copy: &Copy, word: Word) {
        if self.handed_in.insert((copy.id.clone(), word)) {
            let status = self.told.entry(copy.item.message).or_insert(Status::Scheduled);
            *status = (*status).max(word.status());
        }
    }
}

/// A provider's report about a copy, signed. `forged`: by somebody who does not know the secret.
pub(super) fn report(
    account: &Account,
    copy: &Copy,
    word: Word,
    variant: u64,
    now: Timestamp,
    forged: bool,
) -> OwnedRequest {
    let secret = if forged { "another secret altogether, sorry" } else { &account.secret };
    match copy.kind {
        Kind::Twilio => {
            let attempt = copy.item.message.attempt(copy.item.attempt.unwrap_or(1));
            let mut form = vec![("MessageSid", copy.id.clone()), ("MessageStatus", word.of_twilio().to_owned())];
            if word == Word::Failed {
                form.push(("ErrorCode", "30005".to_owned()));
            }
            form.push(("RawDlrDoneDate", variant.to_string()));
            text_report(secret, account.id, &format!("attempt={attempt}"), &form)
        }
        Kind::Resend | Kind::Smtp => {
            let bounce = json!({ "type": "Permanent", "subType": "General", "message": "gone" });
            let mut data = json!({
                "email_id": copy.id, "to": [copy.item.to], "tags": { "tidings_message": copy.item.message.to_string() },
            });
            if word == Word::Bounced {
                data["bounce"] = bounce;
            }
            let event = json!({ "type": word.of_resend(), "created_at": copy.at.to_string(), "data": data });
            mail_report(secret, &format!("evt_{}_{word:?}_{variant}", copy.id), &event, now)
        }
    }
}

fn text_report(token: &str, account: AccountId, query: &str, form: &[(&str, String)]) -> OwnedRequest {
    use base64::Engine as _;
    let sorted: BTreeMap<&str, &str> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut text = format!("{}/hooks/{account}?{query}", super::node::PUBLIC_URL);
    sorted.iter().for_each(|(name, value)| text.extend([*name, *value]));
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, token.as_bytes());
    let signature =
        base64::engine::general_purpose::STANDARD.encode(aws_lc_rs::hmac::sign(&key, text.as_bytes()).as_ref());
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    OwnedRequest {
        method: "POST".to_owned(),
        path: String::new(),
        query: query.to_owned(),
        headers: vec![
            ("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned()),
            ("x-twilio-signature".to_owned(), signature),
        ],
        body: body.into(),
    }
}

fn mail_report(secret: &str, id: &str, event: &Value, now: Timestamp) -> OwnedRequest {
    use base64::Engine as _;
    let (body, timestamp) = (event.to_string(), now.as_seconds().to_string());
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
    let signature = aws_lc_rs::hmac::sign(&key, format!("{id}.{timestamp}.{body}").as_bytes());
    let signature = base64::engine::general_purpose::STANDARD.encode(signature.as_ref());
    OwnedRequest {
        method: "POST".to_owned(),
        headers: vec![
            ("content-type".to_owned(), "application/json".to_owned()),
            ("svix-id".to_owned(), id.to_owned()),
            ("svix-timestamp".to_owned(), timestamp),
            ("svix-signature".to_owned(), format!("v1,{signature}")),
        ],
        body: body.into(),
        ..OwnedRequest::default()
    }
}
