//! Every operation of the API and who may call it: the one table that authorisation and the OpenAPI document both read.
//!
//! An operation that is missing here cannot learn who calls it ([`crate::extract::Who`] refuses), so a forgotten line closes a door instead of opening one.

use std::{collections::HashMap, sync::LazyLock};

use http::Method;

/// Who may call an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anybody: no key is looked at.
    Open,
    /// Anybody who wants to sign in: no key is looked at, failures are slowed down.
    Door,
    /// A person who signed in, about what is their own. Keys have nothing of the kind.
    Person,
    /// Inside a tenant: its own key with this scope, or an operator's that names the tenant in `Tidings-Tenant`.
    Tenant(&'static str),
    /// The operator, with this scope.
    Operator(&'static str),
    /// A tenant about its own, or the operator about the installation's.
    Owner(&'static str),
}

impl Access {
    /// The scope a key needs.
    pub const fn scope(self) -> Option<&'static str> {
        match self {
            Self::Open | Self::Door | Self::Person => None,
            Self::Tenant(scope) | Self::Operator(scope) | Self::Owner(scope) => Some(scope),
        }
    }
}

/// Whether an operation counts against the tenant's request rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// As one request, before anything else is done.
    Request,
    /// The operation counts for itself: a batch counts each of its messages.
    Own,
    /// It does not count.
    Free,
}

/// One operation.
#[derive(Debug, Clone, Copy)]
pub struct Operation {
    /// Its method.
    pub method: Verb,
    /// Its path template, as in the OpenAPI document.
    pub path: &'static str,
    /// Who may call it.
    pub access: Access,
    /// How it counts.
    pub pace: Pace,
}

/// The methods our operations use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
#[allow(missing_docs)]
pub enum Verb {
    Get,
    Post,
    Patch,
    Delete,
}

impl Verb {
    const COUNT: usize = 4;

    /// The verb of a request; HEAD is answered as GET.
    pub fn of(method: &Method) -> Option<Self> {
        match *method {
            Method::GET | Method::HEAD => Some(Self::Get),
            Method::POST => Some(Self::Post),
            Method::PATCH => Some(Self::Patch),
            Method::DELETE => Some(Self::Delete),
            _ => None,
        }
    }

    /// As in the OpenAPI document.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "post",
            Self::Patch => "patch",
            Self::Delete => "delete",
        }
    }
}

const fn op(method: Verb, path: &'static str, access: Access) -> Operation {
    let pace = match access {
        Access::Open | Access::Door | Access::Person => Pace::Free,
        Access::Tenant(_) | Access::Operator(_) | Access::Owner(_) => Pace::Request,
    };
    Operation { method, path, access, pace }
}

const fn counts_itself(operation: Operation) -> Operation {
    Operation { pace: Pace::Own, ..operation }
}

use Access::{Door, Open, Operator, Owner, Person, Tenant};
use Verb::{Delete, Get, Patch, Post};

/// Every operation.
pub static OPERATIONS: &[Operation] = &[
    op(Get, "/healthz", Open),
    op(Get, "/readyz", Open),
    op(Get, "/metrics", Open),
    op(Get, "/openapi.json", Open),
    op(Get, "/t/{token}", Open),
    op(Get, "/hooks/{account_id}", Open),
    op(Post, "/hooks/{account_id}", Open),
    op(Post, "/hooks/stripe", Open),
    op(Post, "/v1/demo-tenants", Operator("demo-tenants:write")),
    op(Get, "/v1/demo-tenants", Operator("demo-tenants:read")),
    op(Get, "/v1/demo-tenants/{id}", Operator("demo-tenants:read")),
    op(Delete, "/v1/demo-tenants/{id}", Operator("demo-tenants:write")),
    op(Post, "/v1/demo-tenants/{id}/link", Operator("demo-tenants:write")),
    op(Post, "/v1/tenants", Operator("tenants:write")),
    op(Get, "/v1/tenants", Operator("tenants:read")),
    op(Get, "/v1/tenants/{id}", Operator("tenants:read")),
    op(Patch, "/v1/tenants/{id}", Operator("tenants:write")),
    op(Delete, "/v1/tenants/{id}", Operator("tenants:write")),
    op(Get, "/v1/tenant", Tenant("tenant:read")),
    op(Patch, "/v1/tenant", Tenant("tenant:write")),
    op(Post, "/v1/api-keys", Owner("keys:write")),
    op(Get, "/v1/api-keys", Owner("keys:read")),
    op(Delete, "/v1/api-keys/{id}", Owner("keys:write")),
    op(Post, "/v1/campaigns", Tenant("campaigns:write")),
    op(Get, "/v1/campaigns", Tenant("campaigns:read")),
    op(Get, "/v1/campaigns/{id}", Tenant("campaigns:read")),
    op(Patch, "/v1/campaigns/{id}", Tenant("campaigns:write")),
    op(Delete, "/v1/campaigns/{id}", Tenant("campaigns:write")),
    op(Post, "/v1/campaigns/{id}/duplicate", Tenant("campaigns:write")),
    op(Post, "/v1/campaigns/{id}/send", Tenant("campaigns:write")),
    op(Post, "/v1/campaigns/{id}/schedule", Tenant("campaigns:write")),
    op(Post, "/v1/campaigns/{id}/pause", Tenant("campaigns:write")),
    op(Post, "/v1/campaigns/{id}/resume", Tenant("campaigns:write")),
    op(Post, "/v1/campaigns/{id}/cancel", Tenant("campaigns:write")),
    op(Post, "/v1/campaigns/{id}/winner", Tenant("campaigns:write")),
    op(Post, "/v1/campaigns/{id}/check", Tenant("campaigns:read")),
    op(Get, "/v1/campaigns/{id}/check", Tenant("campaigns:read")),
    op(Get, "/v1/campaigns/{id}/stats", Tenant("campaigns:read")),
    op(Get, "/v1/campaigns/{id}/recipients", Tenant("campaigns:read")),
    op(Get, "/v1/campaigns/{id}/recipients/export", Tenant("campaigns:read")),
    op(Post, "/v1/invoice-deliveries", Tenant("messages:write")),
    op(Get, "/v1/invoice-deliveries", Tenant("messages:read")),
    op(Get, "/v1/invoice-deliveries/{id}", Tenant("messages:read")),
    op(Get, "/v1/invoice-deliveries/{id}/document", Tenant("messages:read")),
    op(Post, "/v1/schedules", Tenant("messages:write")),
    op(Get, "/v1/schedules", Tenant("messages:read")),
    op(Get, "/v1/schedules/{id}", Tenant("messages:read")),
    op(Patch, "/v1/schedules/{id}", Tenant("messages:write")),
    op(Delete, "/v1/schedules/{id}", Tenant("messages:write")),
    op(Post, "/v1/schedules/{id}/cancel", Tenant("messages:write")),
    op(Get, "/v1/schedules/{id}/occurrences", Tenant("messages:read")),
    op(Post, "/v1/users", Owner("users:write")),
    op(Get, "/v1/users", Owner("users:read")),
    op(Get, "/v1/users/{id}", Owner("users:read")),
    op(Patch, "/v1/users/{id}", Owner("users:write")),
    op(Delete, "/v1/users/{id}", Owner("users:write")),
    op(Post, "/v1/users/{id}/invitation", Owner("users:write")),
    op(Get, "/v1/users/me", Person),
    op(Patch, "/v1/users/me", Person),
    op(Post, "/v1/users/me/password", Person),
    op(Post, "/v1/users/me/second-factor", Person),
    op(Post, "/v1/users/me/second-factor/confirm", Person),
    op(Post, "/v1/users/me/second-factor/remove", Person),
    op(Post, "/v1/users/me/recovery-codes", Person),
    op(Post, "/v1/sessions", Door),
    op(Get, "/v1/sessions", Person),
    op(Delete, "/v1/sessions/{id}", Person),
    op(Post, "/v1/sessions/end-others", Person),
    op(Post, "/v1/sessions/confirm", Door),
    op(Post, "/v1/sessions/link", Door),
    op(Post, "/v1/invitations/show", Door),
    op(Post, "/v1/invitations/accept", Door),
    op(Post, "/v1/invitations/join", Person),
    op(Post, "/v1/password-resets", Door),
    op(Post, "/v1/password-resets/confirm", Door),
    op(Get, "/v1/oidc/start", Door),
    op(Get, "/v1/oidc/callback", Door),
    op(Get, "/v1/connectors", Owner("accounts:read")),
    op(Post, "/v1/accounts", Tenant("accounts:write")),
    op(Get, "/v1/accounts", Tenant("accounts:read")),
    op(Get, "/v1/accounts/{id}", Tenant("accounts:read")),
    op(Patch, "/v1/accounts/{id}", Tenant("accounts:write")),
    op(Delete, "/v1/accounts/{id}", Tenant("accounts:write")),
    op(Post, "/v1/accounts/{id}/test", Tenant("accounts:write")),
    op(Get, "/v1/accounts/{id}/stats", Tenant("accounts:read")),
    op(Get, "/v1/accounts/{id}/health", Tenant("accounts:read")),
    op(Get, "/v1/accounts/{id}/callbacks", Tenant("accounts:read")),
    op(Post, "/v1/accounts/{id}/callbacks", Tenant("accounts:write")),
    op(Get, "/v1/accounts/{id}/suppressions", Tenant("accounts:read")),
    op(Get, "/v1/accounts/{id}/whatsapp-templates", Tenant("accounts:read")),
    op(Post, "/v1/accounts/{id}/whatsapp-templates", Tenant("accounts:write")),
    op(Post, "/v1/accounts/{id}/whatsapp-templates/sync", Tenant("accounts:write")),
    op(Delete, "/v1/accounts/{id}/whatsapp-templates/{name}", Tenant("accounts:write")),
    op(Post, "/v1/routes", Tenant("accounts:write")),
    op(Get, "/v1/routes", Tenant("accounts:read")),
    op(Post, "/v1/routes/try", Tenant("accounts:read")),
    op(Get, "/v1/routes/{id}", Tenant("accounts:read")),
    op(Patch, "/v1/routes/{id}", Tenant("accounts:write")),
    op(Delete, "/v1/routes/{id}", Tenant("accounts:write")),
    op(Post, "/v1/senders", Tenant("accounts:write")),
    op(Get, "/v1/senders", Tenant("accounts:read")),
    op(Get, "/v1/senders/{id}", Tenant("accounts:read")),
    op(Patch, "/v1/senders/{id}", Tenant("accounts:write")),
    op(Delete, "/v1/senders/{id}", Tenant("accounts:write")),
    op(Post, "/v1/senders/{id}/verify", Tenant("accounts:write")),
    op(Post, "/v1/domains", Tenant("accounts:write")),
    op(Get, "/v1/domains", Tenant("accounts:read")),
    op(Get, "/v1/domains/{id}", Tenant("accounts:read")),
    op(Delete, "/v1/domains/{id}", Tenant("accounts:write")),
    op(Post, "/v1/domains/{id}/verify", Tenant("accounts:write")),
    op(Get, "/v1/business-profile", Tenant("registrations:read")),
    op(Patch, "/v1/business-profile", Tenant("registrations:write")),
    op(Post, "/v1/registrations/10dlc", Tenant("registrations:write")),
    op(Get, "/v1/registrations/10dlc", Owner("registrations:read")),
    op(Get, "/v1/registrations/10dlc/{id}", Tenant("registrations:read")),
    op(Delete, "/v1/registrations/10dlc/{id}", Tenant("registrations:write")),
    op(Post, "/v1/registrations/10dlc/{id}/submit", Tenant("registrations:write")),
    op(Post, "/v1/registrations/toll-free", Tenant("registrations:write")),
    op(Get, "/v1/registrations/toll-free", Owner("registrations:read")),
    op(Get, "/v1/registrations/toll-free/{id}", Tenant("registrations:read")),
    op(Delete, "/v1/registrations/toll-free/{id}", Tenant("registrations:write")),
    op(Post, "/v1/registrations/toll-free/{id}/submit", Tenant("registrations:write")),
    op(Post, "/v1/numbers", Operator("numbers:write")),
    op(Get, "/v1/numbers", Operator("numbers:read")),
    op(Get, "/v1/numbers/{id}", Operator("numbers:read")),
    op(Patch, "/v1/numbers/{id}", Operator("numbers:write")),
    op(Delete, "/v1/numbers/{id}", Operator("numbers:write")),
    counts_itself(op(Post, "/v1/messages", Tenant("messages:write"))),
    counts_itself(op(Post, "/v1/messages/batch", Tenant("messages:write"))),
    op(Get, "/v1/messages", Tenant("messages:read")),
    op(Get, "/v1/messages/{id}", Tenant("messages:read")),
    op(Get, "/v1/messages/{id}/timeline", Tenant("messages:read")),
    op(Post, "/v1/messages/{id}/cancel", Tenant("messages:write")),
    op(Post, "/v1/messages/{id}/retry", Tenant("messages:write")),
    op(Get, "/v1/dead-letters", Tenant("messages:read")),
    op(Get, "/v1/dead-letters/export", Tenant("messages:read")),
    op(Post, "/v1/dead-letters/retry", Tenant("messages:write")),
    op(Post, "/v1/attachments", Tenant("attachments:write")),
    op(Get, "/v1/attachments", Tenant("attachments:read")),
    op(Get, "/v1/attachments/{id}", Tenant("attachments:read")),
    op(Get, "/v1/attachments/{id}/content", Tenant("attachments:read")),
    op(Delete, "/v1/attachments/{id}", Tenant("attachments:write")),
    op(Post, "/v1/contacts", Tenant("contacts:write")),
    op(Get, "/v1/contacts", Tenant("contacts:read")),
    op(Post, "/v1/contacts/import", Tenant("contacts:write")),
    op(Get, "/v1/contacts/imports", Tenant("contacts:read")),
    op(Get, "/v1/contacts/imports/{id}", Tenant("contacts:read")),
    op(Get, "/v1/contacts/imports/{id}/errors", Tenant("contacts:read")),
    op(Post, "/v1/contacts/imports/{id}/cancel", Tenant("contacts:write")),
    op(Get, "/v1/contacts/export", Tenant("contacts:read")),
    op(Get, "/v1/contacts/{id}", Tenant("contacts:read")),
    op(Patch, "/v1/contacts/{id}", Tenant("contacts:write")),
    op(Delete, "/v1/contacts/{id}", Tenant("contacts:write")),
    op(Post, "/v1/contacts/{id}/erase", Tenant("contacts:write")),
    op(Post, "/v1/contacts/{id}/merge", Tenant("contacts:write")),
    op(Get, "/v1/contacts/{id}/timeline", Tenant("contacts:read")),
    op(Post, "/v1/contact-attributes", Tenant("contacts:write")),
    op(Get, "/v1/contact-attributes", Tenant("contacts:read")),
    op(Delete, "/v1/contact-attributes/{name}", Tenant("contacts:write")),
    op(Post, "/v1/lists", Tenant("contacts:write")),
    op(Get, "/v1/lists", Tenant("contacts:read")),
    op(Get, "/v1/lists/{id}", Tenant("contacts:read")),
    op(Patch, "/v1/lists/{id}", Tenant("contacts:write")),
    op(Delete, "/v1/lists/{id}", Tenant("contacts:write")),
    op(Post, "/v1/lists/{id}/contacts", Tenant("contacts:write")),
    op(Get, "/v1/lists/{id}/contacts", Tenant("contacts:read")),
    op(Post, "/v1/lists/{id}/contacts/remove", Tenant("contacts:write")),
    op(Post, "/v1/segments", Tenant("contacts:write")),
    op(Get, "/v1/segments", Tenant("contacts:read")),
    op(Post, "/v1/segments/preview", Tenant("contacts:read")),
    op(Get, "/v1/segments/{id}", Tenant("contacts:read")),
    op(Patch, "/v1/segments/{id}", Tenant("contacts:write")),
    op(Delete, "/v1/segments/{id}", Tenant("contacts:write")),
    op(Get, "/v1/segments/{id}/preview", Tenant("contacts:read")),
    op(Get, "/v1/inbound-messages", Tenant("messages:read")),
    op(Get, "/v1/inbound-messages/{id}", Tenant("messages:read")),
    op(Post, "/v1/templates", Tenant("templates:write")),
    op(Get, "/v1/templates", Tenant("templates:read")),
    op(Get, "/v1/templates/{id}", Tenant("templates:read")),
    op(Patch, "/v1/templates/{id}", Tenant("templates:write")),
    op(Delete, "/v1/templates/{id}", Tenant("templates:write")),
    op(Post, "/v1/templates/{id}/versions", Tenant("templates:write")),
    op(Get, "/v1/templates/{id}/versions", Tenant("templates:read")),
    op(Post, "/v1/templates/{id}/publish", Tenant("templates:write")),
    op(Post, "/v1/templates/{id}/rollback", Tenant("templates:write")),
    op(Post, "/v1/templates/{id}/preview", Tenant("templates:read")),
    op(Post, "/v1/templates/{id}/test", Tenant("templates:write")),
    op(Get, "/v1/templates/{id}/stats", Tenant("templates:read")),
    op(Get, "/v1/branding", Tenant("templates:read")),
    op(Patch, "/v1/branding", Tenant("templates:write")),
    op(Post, "/v1/webhook-endpoints", Tenant("webhooks:write")),
    op(Get, "/v1/webhook-endpoints", Tenant("webhooks:read")),
    op(Get, "/v1/webhook-endpoints/{id}", Tenant("webhooks:read")),
    op(Patch, "/v1/webhook-endpoints/{id}", Tenant("webhooks:write")),
    op(Delete, "/v1/webhook-endpoints/{id}", Tenant("webhooks:write")),
    op(Get, "/v1/webhook-endpoints/{id}/deliveries", Tenant("webhooks:read")),
    op(Get, "/v1/webhook-endpoints/{id}/deliveries/{delivery_id}", Tenant("webhooks:read")),
    op(Post, "/v1/webhook-endpoints/{id}/deliveries/{delivery_id}/retry", Tenant("webhooks:write")),
    op(Post, "/v1/webhook-endpoints/{id}/replay", Tenant("webhooks:write")),
    op(Post, "/v1/webhook-endpoints/{id}/rotate-secret", Tenant("webhooks:write")),
    op(Post, "/v1/webhook-endpoints/{id}/test", Tenant("webhooks:write")),
    op(Post, "/v1/contacts/{id}/consents", Tenant("consent:write")),
    op(Get, "/v1/contacts/{id}/consents", Tenant("consent:read")),
    op(Get, "/v1/contacts/{id}/preferences", Tenant("consent:read")),
    op(Patch, "/v1/contacts/{id}/preferences", Tenant("consent:write")),
    op(Post, "/v1/topics", Tenant("consent:write")),
    op(Get, "/v1/topics", Tenant("consent:read")),
    op(Delete, "/v1/topics/{name}", Tenant("consent:write")),
    op(Get, "/v1/consent-policy", Tenant("consent:read")),
    op(Patch, "/v1/consent-policy", Tenant("consent:write")),
    op(Post, "/v1/content-rules", Tenant("content-rules:write")),
    op(Get, "/v1/content-rules", Tenant("content-rules:read")),
    op(Get, "/v1/content-rules/{id}", Tenant("content-rules:read")),
    op(Patch, "/v1/content-rules/{id}", Tenant("content-rules:write")),
    op(Delete, "/v1/content-rules/{id}", Tenant("content-rules:write")),
    op(Post, "/v1/contacts/{id}/export", Tenant("contacts:write")),
    op(Get, "/v1/contacts/{id}/exports/{export_id}", Tenant("contacts:write")),
    op(Get, "/v1/retention", Tenant("retention:read")),
    op(Patch, "/v1/retention", Tenant("retention:write")),
    op(Post, "/v1/suppressions", Tenant("consent:write")),
    op(Post, "/v1/suppressions/batch", Tenant("consent:write")),
    op(Get, "/v1/suppressions", Tenant("consent:read")),
    op(Get, "/v1/suppressions/export", Tenant("consent:read")),
    op(Get, "/v1/suppressions/{id}", Tenant("consent:read")),
    op(Delete, "/v1/suppressions/{id}", Tenant("consent:write")),
    op(Get, "/v1/stream", Owner("events:read")),
    op(Get, "/v1/usage", Owner("usage:read")),
    op(Get, "/v1/analytics", Owner("usage:read")),
    op(Get, "/v1/alerts", Owner("alerts:read")),
    op(Get, "/v1/alerts/{id}", Owner("alerts:read")),
    op(Post, "/v1/alerts/{id}/acknowledge", Owner("alerts:write")),
    op(Post, "/v1/alerts/{id}/resolve", Owner("alerts:write")),
    op(Post, "/v1/alert-rules", Owner("alerts:write")),
    op(Get, "/v1/alert-rules", Owner("alerts:read")),
    op(Get, "/v1/alert-rules/{id}", Owner("alerts:read")),
    op(Patch, "/v1/alert-rules/{id}", Owner("alerts:write")),
    op(Delete, "/v1/alert-rules/{id}", Owner("alerts:write")),
    op(Post, "/v1/alert-rules/{id}/test", Owner("alerts:write")),
    op(Post, "/v1/prices", Operator("prices:write")),
    op(Get, "/v1/prices", Owner("prices:read")),
    op(Get, "/v1/prices/{version}", Owner("prices:read")),
    op(Post, "/v1/plans", Operator("plans:write")),
    op(Get, "/v1/plans", Owner("plans:read")),
    op(Get, "/v1/plans/{id}", Owner("plans:read")),
    op(Patch, "/v1/plans/{id}", Operator("plans:write")),
    op(Get, "/v1/subscription", Tenant("plans:read")),
    op(Patch, "/v1/subscription", Operator("plans:write")),
    op(Post, "/v1/prices/import", Operator("prices:write")),
    op(Get, "/v1/prices/export", Owner("prices:read")),
    op(Post, "/v1/prices/what-if", Operator("prices:write")),
    op(Get, "/v1/invoices", Owner("invoices:read")),
    op(Get, "/v1/invoices/{id}", Owner("invoices:read")),
    op(Post, "/v1/invoices/{id}/renew", Operator("invoices:write")),
    op(Post, "/v1/invoices/{id}/issue", Operator("invoices:write")),
    op(Post, "/v1/invoices/{id}/payment", Operator("invoices:write")),
    op(Post, "/v1/invoices/{id}/void", Operator("invoices:write")),
    op(Post, "/v1/invoices/{id}/bill-again", Operator("invoices:write")),
    op(Post, "/v1/invoices/{id}/send", Operator("invoices:write")),
    op(Get, "/v1/invoices/{id}/document", Owner("invoices:read")),
    op(Get, "/v1/billing-settings", Operator("invoices:read")),
    op(Patch, "/v1/billing-settings", Operator("invoices:write")),
    op(Get, "/v1/credits", Tenant("credits:read")),
    op(Patch, "/v1/credits", Operator("credits:write")),
    op(Get, "/v1/credits/entries", Tenant("credits:read")),
    op(Post, "/v1/credits/purchases", Tenant("purchases:write")),
    op(Get, "/v1/credits/purchases", Tenant("purchases:read")),
    op(Get, "/v1/credits/purchases/{id}", Tenant("purchases:read")),
    op(Get, "/v1/credits/purchases/{id}/receipt", Tenant("purchases:read")),
    op(Post, "/v1/credits/refunds", Operator("credits:write")),
    op(Get, "/v1/credits/refunds", Tenant("credits:read")),
    op(Get, "/v1/credits/payment-method", Tenant("purchases:read")),
    op(Delete, "/v1/credits/payment-method", Tenant("purchases:write")),
    op(Post, "/v1/reconciliations", Tenant("usage:write")),
    op(Get, "/v1/reconciliations", Tenant("usage:read")),
    op(Get, "/v1/reconciliations/{id}", Tenant("usage:read")),
    op(Get, "/v1/reconciliations/{id}/differences", Tenant("usage:read")),
    op(Get, "/v1/payment-settings", Operator("credits:read")),
    op(Patch, "/v1/payment-settings", Operator("credits:write")),
    op(Post, "/v1/credits/adjustments", Operator("credits:write")),
    op(Post, "/v1/credits/grants", Operator("credits:write")),
    op(Get, "/v1/credits/grants", Tenant("credits:read")),
    op(Get, "/v1/callback-log", Owner("callbacks:read")),
    op(Get, "/v1/callback-log/{id}", Owner("callbacks:read")),
    op(Get, "/v1/audit-log", Owner("audit:read")),
    op(Get, "/v1/audit-log/export", Owner("audit:read")),
];

/// One path with its operations by verb.
#[derive(Debug)]
pub struct Route {
    /// The template, for metrics and logs.
    pub path: &'static str,
    operations: [Option<&'static Operation>; Verb::COUNT],
}

impl Route {
    /// What a verb does here.
    pub const fn operation(&self, verb: Verb) -> Option<&'static Operation> {
        self.operations[verb as usize]
    }
}

static ROUTES: LazyLock<HashMap<&'static str, Route>> = LazyLock::new(|| {
    let mut routes: HashMap<&'static str, Route> = HashMap::new();
    for operation in OPERATIONS {
        let route = routes
            .entry(operation.path)
            .or_insert_with(|| Route { path: operation.path, operations: [None; Verb::COUNT] });
        route.operations[operation.method as usize] = Some(operation);
    }
    routes
});

/// The route a matched path template belongs to.
pub fn route(template: &str) -> Option<&'static Route> {
    // What follows a callback's account belongs to the connector; the document knows the path without it.
    let template = template.strip_suffix("/{*rest}").unwrap_or(template);
    ROUTES.get(template)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scope_is_one_a_key_can_have() {
        for operation in OPERATIONS {
            if let Some(scope) = operation.access.scope() {
                assert!(engine::keys::SCOPES.iter().any(|(known, _)| *known == scope), "{operation:?}");
            }
        }
    }

    #[test]
    fn each_line_is_found_again() {
        for operation in OPERATIONS {
            let found = route(operation.path).and_then(|route| route.operation(operation.method)).unwrap();
            assert!(std::ptr::eq(found, operation), "{operation:?} stands here twice");
        }
        assert_eq!(route("/hooks/{account_id}/{*rest}").map(|route| route.path), Some("/hooks/{account_id}"));
        assert!(route("/v1/nothing").is_none());
    }
}
