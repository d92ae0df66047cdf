//! Where what an error or a checklist proposes is done: one table from the engine's actions to pages.

use maud::{Markup, html};

use crate::cx::Cx;

/// Action, page, words, and the scope without which the page is not there.
const PLACES: &[(&str, &str, &str, &str)] = &[
    ("ADD_ACCOUNT", "/console/channels/new", "Set up the channel", "accounts:write"),
    ("UPDATE_ACCOUNT", "/console/channels", "Look at the account", "accounts:read"),
    ("ENABLE_ACCOUNT", "/console/channels", "Look at the account", "accounts:read"),
    ("CHANGE_ROUTE", "/console/routing", "Look at the routing", "accounts:read"),
    ("ADD_SENDER", "/console/senders", "Look at the senders", "accounts:read"),
    ("VERIFY_SENDER", "/console/senders", "Look at the senders", "accounts:read"),
    ("SYNC_TEMPLATES", "/console/senders", "Read the templates anew", "accounts:read"),
    ("CREATE_WHATSAPP_TEMPLATE", "/console/senders", "Submit a template", "accounts:read"),
    ("PUBLISH_TEMPLATE", "/console/templates", "Go to the templates", "templates:read"),
    ("COMPLETE_CONTACTS", "/console/contacts", "Go to the contacts", "contacts:read"),
    ("COLLECT_CONSENT", "/console/contacts", "Go to the contacts", "contacts:read"),
    ("REVIEW_SUPPRESSIONS", "/console/suppressions", "Look at the suppression list", "consent:read"),
    ("CHANGE_QUIET_HOURS", "/console/contacts/rules", "Look at the quiet hours", "consent:read"),
    ("SEND_LATER", "/console/contacts/rules", "Look at the limit", "consent:read"),
    ("CONFIGURE_BUSINESS_INFO", "/console/registration", "Register the business", "registrations:read"),
    ("UPDATE_BUSINESS_INFO", "/console/registration", "Change what was said", "registrations:read"),
    ("WAIT_FOR_APPROVAL", "/console/registration", "See how far it is", "registrations:read"),
    ("UPGRADE_PLAN", "/console/billing/plan", "Look at the plan", "plans:read"),
    ("ADD_CREDIT", "/console/billing", "Buy credit", "credits:read"),
    ("PAY_INVOICE", "/console/billing/invoices", "See what is open", "invoices:read"),
    ("ENABLE_ENDPOINT", "/console/settings/webhooks", "Look at the endpoint", "webhooks:read"),
];

/// A link to where an action is done; nothing for an action without a page, or without the right to see it.
pub(super) fn link(cx: &Cx, action: &str) -> Markup {
    let place = PLACES.iter().find(|(known, .., scope)| *known == action && cx.may(scope));
    html! { @if let Some((_, href, words, _)) = place { a.small href=(href) { (words) } } }
}
