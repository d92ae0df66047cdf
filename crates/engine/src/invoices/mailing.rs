//! Invoices by mail, through an account of the operator's own.
//!
//! Each invoice knows when its mail is to be tried or looked at next, so one that cannot go does not keep others: without an address it waits until there is one, a refusal is tried again
//! every hour, and what became of an accepted mail is looked for until nothing more is to be expected. What failed says why, in the log, on the invoice, and to the operator's alert.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use model::{Channel, Failure, FailureKind, InvoiceId, MessageId, Status, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::{
    Scope,
    invoices::{self as rows, Invoice, Mail},
    messages::{self, Message},
    subscriptions,
};
use utoipa::ToSchema;

use super::{
    Body, InvoiceKind, InvoiceState, InvoiceView,
    acts::{Act, act},
    found,
    printing::{mail_tenant, print},
    settings::BillingSettings,
    telling::note,
    view as view_of,
};
use crate::{
    Engine, Error, ErrorKind,
    keys::Caller,
    once::{IdempotencyKey, Repeat, Reply, replay},
    plans::subscription::Customer,
};

/// Invoices one run of the job tries, and at most as many it looks at.
const PAGE: i64 = 50;
/// How long an invoice waits at most for a mail to be tried, in seconds: what was left for three days, because nothing was set up or the job did not run, somebody has to look at.
const WAITS_S: i64 = 3 * 86_400;
/// Between two tries of a mail that is refused when it is to be accepted, in seconds.
const AGAIN_S: i64 = 3_600;
/// Tries at most: three days of them.
const TRIES_MAX: i64 = 72;
/// After how long a mail that was accepted and failed for a reason that passes is tried again, in seconds.
const FAILED_AGAIN_S: i64 = 6 * 3_600;
/// Mails of one invoice at most that fail like that.
const MAILS_MAX: i64 = 4;
/// How long after a mail was accepted the first look is, in seconds; later ones come the later, the longer it is out.
const LOOK_S: i64 = 60;
/// How long it is looked for what became of a mail, in seconds: a bounce comes within days.
const LOOKS_S: i64 = 5 * 86_400;

/// What became of an invoice's mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MailState {
    /// It has not left yet: it is about to, or waits for an address.
    Waiting,
    /// It was accepted, and is on its way.
    Accepted,
    /// The provider took it.
    Sent,
    /// It arrived.
    Delivered,
    /// It was refused, or did not arrive.
    Failed,
}

impl MailState {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Accepted => "accepted",
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }

    /// Reads the database's word; one this binary does not know is looked at by a person.
    fn from_stored(word: &str) -> Self {
        match word {
            "waiting" => Self::Waiting,
            "accepted" => Self::Accepted,
            "sent" => Self::Sent,
            "delivered" => Self::Delivered,
            _ => Self::Failed,
        }
    }
}

/// Why an invoice's mail did not go, or did not arrive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = InvoiceMailFailure)]
pub struct MailFailure {
    /// The code.
    #[schema(example = "mailbox_unavailable")]
    pub code: String,
    /// The same for people, and what to do.
    #[schema(example = "The address does not exist.")]
    pub detail: String,
}

/// How an invoice goes out to its customer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = InvoiceMail)]
pub struct MailView {
    /// What became of it.
    pub state: MailState,
    /// Why it did not go, or did not arrive. The operator sees it.
    pub failure: Option<MailFailure>,
    /// The message of the operator's own tenant it went in. The operator sees it.
    #[schema(value_type = Option<String>)]
    pub message_id: Option<MessageId>,
    /// When it is tried again by itself, where it waits or failed.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_try_at: Option<Timestamp>,
}

impl MailView {
    /// Leaves out what is the operator's to know.
    pub(super) fn hide(&mut self) {
        (self.failure, self.message_id) = (None, None);
    }
}

pub(super) fn view(mail: &Mail) -> Option<MailView> {
    let state = MailState::from_stored(mail.state.as_deref()?);
    let is_tried = matches!(state, MailState::Waiting | MailState::Failed);
    Some(MailView { state, failure: failure(mail), message_id: mail.id, next_try_at: mail.due_at.filter(|_| is_tried) })
}

fn failure(mail: &Mail) -> Option<MailFailure> {
    mail.failure.as_deref().and_then(|text| serde_json::from_str(text).ok())
}

/// The mail of an invoice that is to go out now.
pub(super) fn waiting(now: Timestamp) -> Mail {
    Mail { state: Some(MailState::Waiting.as_str().to_owned()), due_at: Some(now), ..Mail::default() }
}

/// Notes that a mail with an invoice was accepted, as a message of one of the operator's tenants.
pub(super) fn accepted(row: &mut Invoice, tenant: TenantId, mail: MessageId, now: Timestamp) {
    row.mail = Mail {
        state: Some(MailState::Accepted.as_str().to_owned()),
        failure: None,
        mailed_at: Some(now),
        id: Some(mail),
        tenant_id: Some(tenant),
        tries: row.mail.tries + 1,
        due_at: Some(now.plus_seconds(LOOK_S)),
    };
    row.updated_at = now;
}

/// Sends an issued invoice to its customer, again if it was sent before. Needs an operator with the scope `invoices:write`.
#[crate::boxed]
pub async fn send(engine: &Engine, caller: &Caller, repeat: &Repeat, id: InvoiceId) -> Result<Reply, Error> {
    caller.need_operator("invoices:write")?;
    let by = Caller { tenant: None, ..caller.clone() };
    if let Some(before) = replay(engine.parts(), &by, repeat).await? {
        return Ok(before);
    }
    let row = found(engine, caller, id).await?;
    if engine.parts().directory.tenant(row.tenant_id).await?.is_some_and(|tenant| tenant.is_demo) {
        let detail = "The invoice of a demo tenant is for show: nobody is sent it.";
        return Err(Error::conflict("demo_tenant", detail));
    }
    let now = engine.ports.clock.now();
    let Some(to) = address(engine, &row).await? else { return Err(without_recipient()) };
    let (tenant, mail) = post(engine, &row, &to, &format!("again at {}", now.as_micros())).await?;
    act(engine, caller, repeat, id, Act::Sent { tenant, mail }).await
}

fn without_recipient() -> Error {
    let detail = "The customer has no e-mail address; give one with PATCH /v1/subscription, and it is mailed.";
    Error::conflict("invoice_without_recipient", detail)
}

/// Where an invoice goes: to the address its customer has by now, or else to the one that stands on it.
async fn address(engine: &Engine, row: &Invoice) -> Result<Option<String>, Error> {
    let tenant = row.tenant_id;
    let read = engine.ports.db.read(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move { Ok::<_, Error>(subscriptions::find(tx, tenant).await?) })
    });
    let now = read.await?.and_then(|subscription| Customer::from_stored(&subscription.customer).email);
    Ok(now.or(Body::from_stored(&row.body)?.customer.email))
}

/// Hands an invoice to the engine as a mail. It is on disk when this returns; `occasion` makes a repeated one the same. Answers the message and whose it is.
async fn post(engine: &Engine, row: &Invoice, to: &str, occasion: &str) -> Result<(TenantId, MessageId), Error> {
    let seen: InvoiceView = view_of(row, engine.ports.clock.now())?;
    let Some(number) = seen.number else {
        return Err(Error::conflict("invoice_state", "A draft cannot be sent; issue it first."));
    };
    let read = engine.ports.db.read(Scope::System, |tx| Box::pin(BillingSettings::read(tx)));
    let settings: BillingSettings = read.await?;
    let Some(tenant) = mail_tenant(engine, &settings) else {
        let detail = "There is no tenant through whose account invoices leave: set `mail_tenant_id` with PATCH /v1/billing-settings.";
        return Err(Error::new(ErrorKind::Conflict, "mail_tenant_missing", detail));
    };
    let (_, from) = engine.tenant(tenant).await?;
    if !from.accounts.iter().any(|account| account.is_enabled && account.channels.contains(&Channel::Email)) {
        let detail = format!("The tenant {tenant}, through which invoices leave, has no e-mail account that works.");
        return Err(Error::new(ErrorKind::Conflict, "mail_tenant_missing", detail));
    }
    let (file, pdf) = print(engine, row).await?;
    let word = match seen.kind {
        InvoiceKind::Invoice | InvoiceKind::Correction => "Invoice",
        InvoiceKind::CreditNote => "Credit note",
    };
    let request = json!({
        "to": {"email": to}, "channel": "email", "purpose": "transactional",
        "content": {
            "subject": "{{ word }} {{ number }}",
            "text": "Hello,\n\nattached is {{ word }} {{ number }} for {{ month }}.\n{% if seller %}\n{{ seller }}\n{% endif %}",
        },
        "variables": {"word": word, "number": number, "month": seen.month, "seller": seen.seller.name},
        "attachments": [{"filename": file, "content_type": "application/pdf", "content_base64": STANDARD.encode(pdf)}],
        "metadata": {"invoice_id": seen.id},
    });
    let key = IdempotencyKey::parse(&format!("{}-{}", seen.id, occasion.replace(' ', "-")))?;
    let reply = engine.send(&Caller::system(Some(tenant)), request.to_string().as_bytes(), Some(key)).await?;
    let made: Value = serde_json::from_slice(&reply.body).map_err(Error::internal)?;
    let id = made["id"].as_str().and_then(|id| id.parse().ok());
    id.map(|id| (tenant, id)).ok_or_else(|| Error::internal("an accepted message has no id"))
}

/// Mails the invoices that are to go out, where the operator lets them go by themselves, and looks what became of those that are out. Answers how many were mailed.
#[crate::boxed]
pub async fn run(engine: &Arc<Engine>) -> Result<u64, Error> {
    let now = engine.ports.clock.now();
    let read = engine.ports.db.read(Scope::System, move |tx| {
        Box::pin(async move {
            let settings = BillingSettings::read(tx).await?;
            let due = if settings.sends_by_itself { rows::to_mail(tx, now, PAGE).await? } else { Vec::new() };
            Ok::<_, Error>((settings, due, rows::mailed(tx, now, PAGE).await?))
        })
    });
    let (settings, due, out) = read.await?;
    for row in out {
        let id = row.id;
        // One that cannot be looked at now must not keep the others.
        if let Err(error) = follow(engine, row, now).await {
            tracing::warn!(%error, invoice.id = %id, "It cannot be seen what became of an invoice's mail");
        }
    }
    let mut sent = 0;
    // Where no mail was ever set up, nothing is tried.
    for row in due.into_iter().filter(|_| mail_tenant(engine, &settings).is_some()) {
        let id = row.id;
        match attempt(engine, row, now).await {
            Ok(is_sent) => sent += u64::from(is_sent),
            Err(error) => tracing::warn!(%error, invoice.id = %id, "An invoice cannot be mailed now"),
        }
    }
    Ok(sent)
}

/// Tries to mail an invoice. What comes of it stands in its row, so the next run comes to others first. Answers whether it was accepted.
async fn attempt(engine: &Engine, row: Invoice, now: Timestamp) -> Result<bool, Error> {
    let Some(to) = address(engine, &row).await? else {
        let mail = failed(&row.mail, &without_recipient(), MailState::Waiting, None);
        return keep(engine, &row, mail, now).await.map(|()| false);
    };
    if row.mail.due_at.is_some_and(|due_at| due_at.plus_seconds(WAITS_S) < now) {
        let detail = "It was not tried for more than three days. Send it by hand, if it still is to go out.";
        let late = Error::conflict("mail_too_late", detail);
        return keep(engine, &row, failed(&row.mail, &late, MailState::Failed, None), now).await.map(|()| false);
    }
    // The key of a try that was on its way when the process died is the same, and so is the mail.
    let occasion = if row.mail.tries == 0 { "first".to_owned() } else { format!("try {}", row.mail.tries) };
    match post(engine, &row, &to, &occasion).await {
        Ok((tenant, mail)) => {
            let mut after = row.clone();
            accepted(&mut after, tenant, mail, now);
            keep(engine, &row, after.mail, now).await.map(|()| true)
        }
        Err(error) => {
            let again = (row.mail.tries + 1 < TRIES_MAX).then(|| now.plus_seconds(AGAIN_S));
            keep(engine, &row, failed(&row.mail, &error, MailState::Failed, again), now).await.map(|()| false)
        }
    }
}

/// A mail that did not go or arrive, with the reason.
fn failed(mail: &Mail, error: &Error, state: MailState, again: Option<Timestamp>) -> Mail {
    let failure = MailFailure { code: error.code.to_owned(), detail: error.detail.clone() };
    Mail {
        state: Some(state.as_str().to_owned()),
        failure: serde_json::to_string(&failure).ok(),
        tries: mail.tries + 1,
        due_at: again,
        ..mail.clone()
    }
}

/// Looks what became of a mail that was accepted.
async fn follow(engine: &Engine, row: Invoice, now: Timestamp) -> Result<(), Error> {
    let Some((tenant, id)) = row.mail.tenant_id.zip(row.mail.id) else {
        return keep(engine, &row, Mail { due_at: None, ..row.mail.clone() }, now).await;
    };
    let read = engine.ports.db.read(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move { Ok::<_, Error>(messages::find(tx, tenant, id).await?) })
    });
    let after = became(&row.mail, read.await?.as_ref(), now);
    keep(engine, &row, after, now).await
}

/// An invoice's mail by its message, which may be gone. Pure.
fn became(mail: &Mail, message: Option<&Message>, now: Timestamp) -> Mail {
    let out_s = mail.mailed_at.map_or(0, |at| now.millis_since(at) / 1_000);
    // The longer it is out, the less is to be expected.
    let look = (out_s < LOOKS_S).then(|| now.plus_seconds(LOOK_S.max(out_s / 2)));
    let is = |state: MailState, due_at| Mail { state: Some(state.as_str().to_owned()), due_at, ..mail.clone() };
    let Some(message) = message else { return Mail { due_at: None, ..mail.clone() } };
    match message.status {
        Status::Scheduled | Status::Queued | Status::Sending | Status::Unknown => is(MailState::Accepted, look),
        Status::Sent => is(MailState::Sent, look),
        Status::Delivered | Status::Read => is(MailState::Delivered, None),
        Status::Failed | Status::Bounced | Status::Canceled | Status::Expired | Status::Suppressed => {
            let failure: Option<Failure> = message.failure.as_deref().and_then(|text| serde_json::from_str(text).ok());
            // An address that does not take it, or asked for no more mail, is for a person to put right.
            let passes = match message.status {
                Status::Expired => true,
                Status::Failed => failure.as_ref().is_none_or(|failure| {
                    !matches!(failure.kind, FailureKind::Recipient | FailureKind::OptedOut | FailureKind::Content)
                }),
                _ => false,
            };
            let word = message.status.as_str();
            let failure = failure.map_or_else(
                || MailFailure { code: word.to_owned(), detail: format!("The mail to {} is {word}.", message.address) },
                |failure| MailFailure { code: failure.code, detail: failure.detail },
            );
            let again = (passes && mail.tries < MAILS_MAX).then(|| now.plus_seconds(FAILED_AGAIN_S));
            Mail { failure: serde_json::to_string(&failure).ok(), ..is(MailState::Failed, again) }
        }
    }
}

/// Writes what is known of an invoice's mail now, unless somebody else did something about it meanwhile, and says in the log what went wrong, once.
async fn keep(engine: &Engine, seen: &Invoice, mail: Mail, now: Timestamp) -> Result<(), Error> {
    let (tenant, id, before) = (seen.tenant_id, seen.id, seen.mail.clone());
    if let Some(why) = failure(&mail).filter(|why| failure(&before).as_ref() != Some(why)) {
        let number = seen.number.as_deref().unwrap_or_default();
        if mail.state.as_deref() == Some(MailState::Failed.as_str()) {
            tracing::warn!(invoice.id = %id, tenant.id = %tenant, number, code = why.code, detail = why.detail, "An invoice did not reach its customer by mail");
        } else {
            tracing::info!(invoice.id = %id, tenant.id = %tenant, number, detail = why.detail, "An invoice waits to be mailed");
        }
    }
    if mail == before {
        return Ok(());
    }
    let owner = engine.parts().directory.tenant(tenant).await?;
    let ids = Arc::clone(&engine.ports.ids);
    // Of who is gone the operator's log tells.
    let scope = if owner.is_some() { Scope::Tenant(tenant) } else { Scope::System };
    let write = engine.ports.db.write(scope, move |tx| {
        Box::pin(async move {
            if let Some(mut row) = rows::lock(tx, tenant, id).await?.filter(|row| row.mail == before) {
                let is_void = row.state == InvoiceState::Void.as_str();
                row.mail = mail;
                row.mail.due_at = row.mail.due_at.filter(|_| !is_void);
                row.updated_at = now;
                rows::update(tx, tenant, &row).await?;
                if row.mail.id != before.id {
                    note(tx, owner.as_deref(), &row, "invoice.sent", &ids, now).await?;
                }
            }
            Ok::<_, Error>(())
        })
    });
    write.await
}

#[cfg(test)]
mod tests {
    use store::messages::ContentId;

    use super::*;

    fn message(status: Status, kind: Option<FailureKind>) -> Message {
        let id = MessageId::from_ulid(1);
        let failure = kind.map(|kind| serde_json::to_string(&Failure::new(kind, "code", "Why.")).unwrap());
        let at = Timestamp::from_seconds(1);
        let made =
            Message::new(TenantId::from_ulid(1), id, Channel::Email, "ada@example.com".to_owned(), ContentId(1), at);
        Message { status, failure, ..made }
    }

    #[test]
    fn what_became_of_a_mail_says_when_it_is_looked_at_or_tried_next() {
        let at = Timestamp::from_seconds;
        let mail = |tries| Mail { mailed_at: Some(at(0)), tries, ..waiting(at(0)) };
        let check = |message: Option<Message>, tries, now: i64, state: &str, due_at: Option<i64>| {
            let found = became(&mail(tries), message.as_ref(), at(now));
            assert_eq!((found.state.as_deref(), found.due_at), (Some(state), due_at.map(at)), "{message:?}");
            found.failure
        };
        check(Some(message(Status::Queued, None)), 1, 60, "accepted", Some(120));
        check(Some(message(Status::Sent, None)), 1, 1_000, "sent", Some(1_500));
        check(Some(message(Status::Sent, None)), 1, LOOKS_S, "sent", None);
        check(Some(message(Status::Read, None)), 1, 60, "delivered", None);
        let gone = Some(FailureKind::Recipient);
        let failure = check(Some(message(Status::Bounced, gone)), 1, 60, "failed", None);
        assert_eq!(failure.as_deref(), Some(r#"{"code":"code","detail":"Why."}"#));
        check(Some(message(Status::Failed, gone)), 1, 60, "failed", None);
        let outage = Some(FailureKind::Unavailable);
        check(Some(message(Status::Failed, outage)), 1, 60, "failed", Some(60 + FAILED_AGAIN_S));
        check(Some(message(Status::Failed, outage)), MAILS_MAX, 60, "failed", None);
        let held = check(Some(message(Status::Suppressed, None)), 1, 60, "failed", None);
        assert!(held.unwrap().contains("The mail to ada@example.com is suppressed."));
        check(None, 1, 60, "waiting", None);
    }
}
