//! Every connector by its id. A new connector adds one line here and its folder under `cases/`.
//!
//! The engine finds connectors here when it dispatches, the API when an account is saved and for its list. Nothing is hidden from [`find`];
//! connectors that serve ourselves (`webhook`, `noop`) are only left out of [`listed`].

use crate::{
    Connector, africastalking, aisensy, gupshup, interakt, mailgun, mailjet, messagebird, noop, resend, sandbox,
    sendgrid, ses, smtp, sns, telegram, termii, twilio, vonage, webhook, whatsapp_cloud,
};

static ALL: &[&dyn Connector] = &[
    &africastalking::AfricasTalking,
    &aisensy::Aisensy,
    &gupshup::Gupshup,
    &interakt::Interakt,
    &mailgun::Mailgun,
    &mailjet::Mailjet,
    &messagebird::MessageBird,
    &noop::Noop,
    &resend::Resend,
    &sandbox::Sandbox,
    &sendgrid::SendGrid,
    &ses::Ses,
    &smtp::Smtp,
    &sns::Sns,
    &telegram::Telegram,
    &termii::Termii,
    &twilio::Twilio,
    &vonage::Vonage,
    &webhook::Webhook,
    &whatsapp_cloud::WhatsappCloud,
];

/// Ids of connectors that tenants cannot make accounts for: our own outgoing events, and the one `tidings bench` drains into.
const INTERNAL: &[&str] = &["noop", "webhook"];

/// Every connector, internal ones too.
pub fn all() -> &'static [&'static dyn Connector] {
    ALL
}

/// The connector with this id; internal ones are found too.
pub fn find(id: &str) -> Option<&'static dyn Connector> {
    ALL.iter().copied().find(|connector| connector.spec().id == id)
}

/// The connector a tenant's account works with. A demo tenant has the sandbox for every one: whatever its rows say, nothing of it can leave.
pub fn find_for(is_demo: bool, id: &str) -> Option<&'static dyn Connector> {
    if is_demo { Some(&sandbox::Sandbox) } else { find(id) }
}

/// The connectors tenants may choose from: what `GET /v1/connectors` shows and `POST /v1/accounts` takes.
pub fn listed() -> impl Iterator<Item = &'static dyn Connector> {
    ALL.iter().copied().filter(|connector| !is_internal(connector.spec().id))
}

/// True for connectors that tenants cannot make accounts for.
pub fn is_internal(id: &str) -> bool {
    INTERNAL.contains(&id)
}
