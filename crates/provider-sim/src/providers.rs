//! The providers, one file each.

mod africastalking;
mod aisensy;
pub(crate) mod bird;
mod gupshup;
mod interakt;
mod mailgun;
mod mailjet;
mod messagebird;
mod resend;
mod sendgrid;
mod ses;
mod smtp;
mod sns;
mod stripe;
mod telegram;
pub(crate) mod termii;
mod twilio;
pub(crate) mod vonage;
mod whatsapp_cloud;

use crate::provider::Provider;

/// All of them, in the order of their ids.
pub(crate) static PROVIDERS: &[&dyn Provider] = &[
    &africastalking::AfricasTalking,
    &aisensy::AiSensy,
    &gupshup::Gupshup,
    &interakt::Interakt,
    &mailgun::Mailgun,
    &mailjet::Mailjet,
    &messagebird::MessageBird,
    &resend::Resend,
    &sendgrid::SendGrid,
    &ses::Ses,
    &smtp::Smtp,
    &sns::Sns,
    &stripe::Stripe,
    &telegram::Telegram,
    &termii::Termii,
    &twilio::Twilio,
    &vonage::Vonage,
    &whatsapp_cloud::WhatsappCloud,
];

/// The one with this id.
pub(crate) fn provider(id: &str) -> Option<&'static dyn Provider> {
    PROVIDERS.iter().copied().find(|provider| provider.id() == id)
}
