//! Examples shared by several operations of the OpenAPI document. A test checks each against its schema.

use serde_json::{Value, json};

/// The request every example error belongs to.
pub const REQUEST_ID: &str = "req_01K9ZC8Q6T7Y2V5B3N4M1XWRSD";
/// The tenant of every example.
pub const TENANT: &str = "ten_01K9ZC0A1B2C3D4E5F6G7H8J9K";
const ACCOUNT: &str = "acc_01K9ZC1M2N3P4Q5R6S7T8V9W0X";
const SENDER: &str = "snd_01K9ZC1N3P4Q5R6S7T8V9W0X1Y";
const DOMAIN: &str = "dom_01K9ZC1P4Q5R6S7T8V9W0X1Y2Z";
const REGISTRATION: &str = "reg_01K9ZC1R6S7T8V9W0X1Y2Z3A4B";
const NUMBER: &str = "num_01K9ZC1S7T8V9W0X1Y2Z3A4B5C";
const MESSAGE: &str = "msg_01K9ZC8Q6T7Y2V5B3N4M1XWRSD";
const CONTACT: &str = "con_01K9ZCB1C2D3E4F5G6H7J8K9M0";
const LIST: &str = "lst_01K9ZCC2D3E4F5G6H7J8K9M0N1";
const SEGMENT: &str = "seg_01K9ZCD3E4F5G6H7J8K9M0N1P2";
const IMPORT: &str = "imp_01K9ZCE4F5G6H7J8K9M0N1P2Q3";
const USER: &str = "usr_01K9ZC2B4C5D6E7F8G9H0J1K2M";
const SESSION: &str = "ses_01K9ZC2C5D6E7F8G9H0J1K2M3N";
const ROUTE: &str = "rte_01K9ZC1Q5R6S7T8V9W0X1Y2Z3A";
const KEY: &str = "key_01K9ZC2A3B4C5D6E7F8G9H0J1K";
const ENDPOINT: &str = "whk_01K9ZC3D4E5F6G7H8J9K0M1N2P";
const ATTACHMENT: &str = "atc_01K9ZC4G5H6J7K8M9N0P1Q2R3S";
const INBOUND: &str = "inb_01K9ZC5K6M7N8P9Q0R1S2T3V4W";
const CALLBACK: &str = "cbk_01K9ZC9A1B2C3D4E5F6G7H8J9K";
const CAMPAIGN: &str = "cmp_01K9ZCCA1B2C3D4E5F6G7H8J9K";
const SCHEDULE: &str = "sch_01K9ZCBT4V5W6X7Y8Z9A0B1C2D";
const INVOICE_DELIVERY: &str = "ivd_01K9ZCD1A2B3C4D5E6F7G8H9J0";
const EVENT: &str = "evt_01K9ZC7R8S9T0V1W2X3Y4Z5A6B";
const TEMPLATE: &str = "tpl_01K9ZC6T7E8M9P0R1S2T3V4W5X";
const SUPPRESSION: &str = "sup_01K9ZCB3C4D5E6F7G8H9J0K1MN";
const ALERT: &str = "alt_01K9ZCF5G6H7J8K9M0N1P2Q3R4";
const ALERT_RULE: &str = "alr_01K9ZCG6H7J8K9M0N1P2Q3R4S5";
const CREATED: &str = "2026-11-21T09:30:00.000000Z";

/// What an id behind this collection names, and an example of one.
pub fn id_of(collection: &str) -> (&'static str, &'static str) {
    match collection {
        "tenants" => ("tenant", TENANT),
        "demo-tenants" => ("demo tenant", TENANT),
        "api-keys" => ("key", KEY),
        "users" => ("user", USER),
        "sessions" => ("session", SESSION),
        "accounts" | "hooks" => ("account", ACCOUNT),
        "whatsapp-templates" => ("template", "order_update"),
        "senders" => ("sender", SENDER),
        "routes" => ("route", ROUTE),
        "domains" => ("domain", DOMAIN),
        "10dlc" | "toll-free" => ("registration", REGISTRATION),
        "numbers" => ("number", NUMBER),
        "messages" => ("message", MESSAGE),
        "contacts" => ("contact", CONTACT),
        "contact-attributes" => ("attribute", "plan"),
        "lists" => ("list", LIST),
        "segments" => ("segment", SEGMENT),
        "imports" => ("import", IMPORT),
        "templates" => ("template", TEMPLATE),
        "t" => ("token", "bwGaE3yV0kX1s8f4QGZk2w"),
        "attachments" => ("attachment", ATTACHMENT),
        "inbound-messages" => ("inbound message", INBOUND),
        "callback-log" => ("callback", CALLBACK),
        "campaigns" => ("campaign", CAMPAIGN),
        "schedules" => ("schedule", SCHEDULE),
        "invoice-deliveries" => ("invoice delivery", INVOICE_DELIVERY),
        "deliveries" => ("delivery", MESSAGE),
        "webhook-endpoints" => ("endpoint", ENDPOINT),
        "suppressions" => ("suppression", SUPPRESSION),
        "topics" => ("topic", "match_reports"),
        "plans" => ("plan", "pln_01K9ZC8Q6T7Y2V5B3N4M1XWRSD"),
        "prices" => ("price list", "1"),
        "content-rules" => ("content rule", "crl_01K9ZC8Q6T7Y2V5B3N4M1XWRSD"),
        "exports" => ("export", "cxp_01K9ZC8Q6T7Y2V5B3N4M1XWRSD"),
        "alerts" => ("alert", ALERT),
        "alert-rules" => ("rule", ALERT_RULE),
        "invoices" => ("invoice", "inv_01K9ZC8Q6T7Y2V5B3N4M1XWRSD"),
        "purchases" => ("purchase", "pur_01K9ZC8Q6T7Y2V5B3N4M1XWRSD"),
        "reconciliations" => ("reconciliation", "rec_01K9ZC8Q6T7Y2V5B3N4M1XWRSD"),
        other => unreachable!("the collection {other} has no example of an id"),
    }
}

/// How an account's callbacks are set up.
pub fn callbacks() -> Value {
    json!({
        "state": "set", "can_be_set": true, "url": format!("https://tidings.example/hooks/{ACCOUNT}"),
        "security": "Signed: ECDSA (P-256, SHA-256) over timestamp and body, checked with `webhook_public_key`.",
        "lines": ["SendGrid sends every event here, signed; its verification key is kept in this account."], "by_hand": [], "help": null, "set_at": CREATED,
    })
}

/// A WhatsApp template.
pub fn whatsapp_template() -> Value {
    json!({
        "name": "order_update", "language": "en", "provider_id": "1002003004005006", "category": "UTILITY", "status": "submitted", "quality": null, "reason": null,
        "components": [{"type": "BODY", "text": "Your order {{1}} is on its way.", "example": {"body_text": [["42"]]}}],
        "created_at": CREATED, "updated_at": CREATED, "synced_at": CREATED,
    })
}

/// A sender.
pub fn sender() -> Value {
    json!({
        "id": SENDER, "account_id": ACCOUNT, "kind": "email", "from": "Acme News <news@acme.example>", "name": "Newsletter", "channels": ["email"], "default": false,
        "state": "verified", "detail": "Its domain acme.example is verified.", "checked_at": null, "created_at": CREATED, "updated_at": CREATED,
    })
}

/// What came of an account's attempts.
fn attempts() -> Value {
    json!({
        "attempts": 1204, "accepted": 1180, "refused": 12, "throttled": 8, "unavailable": 3, "account": 0, "unknown": 1, "success_rate": 0.99,
        "throttled_share": 0.0066, "p50_ms": 180, "p95_ms": 740,
    })
}

/// How an account does.
pub fn health() -> Value {
    let mut hour = attempts();
    hour["at"] = json!("2026-11-21T09:00:00.000000Z");
    json!({
        "account_id": ACCOUNT, "circuit": {"state": "closed", "since": null, "until": null, "failure": null}, "last_24h": attempts(), "delivery_rate": 0.982,
        "last_error": {"kind": "throttled", "code": "20429", "detail": "Too many requests.", "at": "2026-11-21T09:12:04.120000Z"},
        "hours": [hour], "at": CREATED,
    })
}

/// A routing rule as it is made.
pub fn new_route() -> Value {
    json!({
        "name": "Kenya", "channel": "sms", "match": {"countries": ["KE"]}, "choose": {"by": "priority"}, "accounts": [{"account_id": ACCOUNT}],
    })
}

/// A routing rule.
pub fn route() -> Value {
    json!({
        "id": ROUTE, "name": "Kenya", "channel": "sms", "position": 1, "enabled": true, "match": {"countries": ["KE"]}, "choose": {"by": "priority"},
        "accounts": [{"account_id": ACCOUNT}], "otherwise": "next_rule", "problems": [], "created_at": CREATED, "updated_at": CREATED,
    })
}

/// What rules say of a message.
pub fn route_trial() -> Value {
    let why = "the cheapest of 2 for KE at 0.0075 USD; Lagos skipped: failing since 14:02 UTC (account: 20003), tried again at 14:32 UTC";
    json!({
        "account_id": ACCOUNT, "why": why,
        "decision": {
            "rule_id": ROUTE, "rule": "Kenya", "account_id": ACCOUNT, "account": "Nairobi", "waits": false, "why": why, "country": "KE", "passed": [],
            "considered": [
                {"account_id": ACCOUNT, "account": "Nairobi", "verdict": "chosen", "figure": "0.0075 USD", "why": null},
                {"account_id": "acc_01K9ZC1M2N3P4Q5R6S7T8V9W0Y", "account": "Lagos", "verdict": "skipped", "figure": "0.008 USD",
                    "why": "failing since 14:02 UTC (account: 20003), tried again at 14:32 UTC"},
            ],
        },
    })
}

/// A mail domain.
pub fn domain() -> Value {
    json!({
        "id": DOMAIN, "name": "acme.example", "account_id": ACCOUNT, "state": "pending", "detail": null,
        "records": [
            {"purpose": "dkim", "type": "TXT", "name": "td-5f2a91c0._domainkey.acme.example", "value": "v=DKIM1; k=rsa; p=MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A", "required": true,
                "state": "missing", "found": [], "detail": null},
            {"purpose": "dmarc", "type": "TXT", "name": "_dmarc.acme.example", "value": "v=DMARC1; p=none", "required": false, "state": "ok",
                "found": ["v=DMARC1; p=quarantine"], "detail": null},
        ],
        "checked_at": CREATED, "next_check_at": "2026-11-21T09:31:37.080000Z", "verified_at": null, "created_at": CREATED, "updated_at": CREATED,
    })
}

/// Who a business is.
pub fn business_profile() -> Value {
    json!({
        "legal_name": "Acme Events LLC", "dba": "Acme Tickets", "business_type": "llc", "ein": "12-3456789", "industry": "hospitality", "website": "https://acme.example",
        "address": {"street": "1 High Street", "city": "Springfield", "region": "IL", "postal_code": "62701", "country": "US"},
        "owner": {"first_name": "Ada", "last_name": "Byron", "title": "Founder", "position": "ceo", "email": "ada@acme.example", "phone": "+14155550123"},
        "contact_email": "compliance@acme.example", "monthly_volume": 5000, "stock_exchange": null, "stock_ticker": null,
        "use_case": {
            "category": "marketing", "description": "News about the events of a venue, to people who asked for them when they bought a ticket.",
            "opt_in_flow": "Whoever buys a ticket on https://acme.example can tick a box that is empty at first, beside the words of the consent.",
            "samples": ["Acme Tickets: the doors open at 7 pm. Reply STOP to stop.", "Acme Tickets: new dates in May, https://acme.example/may. Reply STOP to stop."],
            "has_links": true, "has_phone_numbers": false, "is_age_gated": false, "is_lending": false, "opt_in_message": null, "opt_out_message": null, "help_message": null,
            "privacy_policy_url": "https://acme.example/privacy", "terms_url": "https://acme.example/sms-terms",
        },
        "compliance": {"has_opt_in": true, "numbers_not_shared": true, "no_forbidden_content": true},
        "us_sms": "when_started", "is_complete": true, "missing": [], "updated_at": CREATED,
    })
}

/// A registration with carriers.
pub fn registration() -> Value {
    json!({
        "id": REGISTRATION, "tenant_id": TENANT, "account_id": ACCOUNT, "state": "in_progress", "stage": "brand_review", "next_action": "WAIT_FOR_APPROVAL", "reasons": [],
        "problem": null, "failures": 0, "area_code": "415", "number": null, "kind": "10dlc", "toll_free": null,
        "references": {
            "profile": "BU00000000000000000000000000000001", "trust": "BU00000000000000000000000000000002", "brand": "BN00000000000000000000000000000001",
            "service": null, "campaign": null, "number_id": null, "verification": null,
        },
        "submitted_at": CREATED, "approved_at": null, "next_at": "2026-11-21T09:35:00.000000Z", "created_at": CREATED, "updated_at": CREATED,
    })
}

/// The verification of a toll-free number.
pub fn toll_free() -> Value {
    let mut verification = registration();
    verification["kind"] = json!("toll_free");
    verification["stage"] = json!("verification_review");
    verification["area_code"] = Value::Null;
    verification["number"] = json!("+18005550100");
    verification["toll_free"] = json!({"opt_in_type": "web_form", "opt_in_image_urls": ["https://acme.example/opt-in.png"], "additional_information": null});
    verification["references"] = json!({
        "profile": null, "trust": null, "brand": null, "service": null, "campaign": null, "number_id": null, "verification": "HH00000000000000000000000000000001",
    });
    verification
}

/// A number of the pool.
pub fn number() -> Value {
    json!({
        "id": NUMBER, "number": "+14155550100", "country": "US", "connector": "twilio", "provider_account": "AC00000000000000000000000000000001",
        "reference": "PN00000000000000000000000000000001", "state": "allocated", "detail": null, "tenant_id": TENANT, "registration_id": REGISTRATION,
        "allocated_at": CREATED, "created_at": CREATED, "updated_at": CREATED,
    })
}

/// An alert.
pub fn alert() -> Value {
    json!({
        "id": ALERT, "rule_id": ALERT_RULE, "kind": "account_failing", "subject": ACCOUNT, "state": "firing", "severity": "critical",
        "title": "Twilio takes no messages",
        "detail": "The account Twilio (twilio) has been paused for 2 minutes; its messages wait or go another way. The last answer (20003): The auth token is wrong.",
        "value": 124.0, "threshold": 120.0, "unit": "seconds", "currency": null, "times": 1, "fired_at": CREATED, "acknowledged_at": null, "acknowledged_by": null, "note": null,
        "resolved_at": null, "resolved_by": null, "told_at": CREATED, "letters": [alert_letter()],
    })
}

/// A letter about an alert.
pub fn alert_letter() -> Value {
    json!({
        "channel": "email", "to": "ops@acme.example", "about": "firing", "state": "accepted", "tries": 1, "reason": null, "message_id": MESSAGE,
        "by_operator": false, "tried_at": CREATED,
    })
}

/// An alert rule.
pub fn alert_rule() -> Value {
    json!({
        "id": ALERT_RULE, "kind": "bounce_rate",
        "explanation": "Too many mails come back. Amazon SES reviews an account at 5 % and pauses it at 10 %; other providers do alike. When there are too few mails in that time, the last 7 and then the last 30 days are looked at.",
        "name": "Bounces", "enabled": true, "threshold": 4.0, "unit": "percent", "currency": null, "other_costs": [], "over_s": 86400, "at_least": 1000, "channel": null, "account_id": null, "for_s": 120,
        "quiet_s": 14400, "deliver": [{"channel": "email", "to": "admins"}], "created_at": CREATED, "updated_at": CREATED,
    })
}

/// One page with one row.
pub fn page(row: Value) -> Value {
    json!({ "data": [row], "next_cursor": null })
}

/// A tenant.
pub fn tenant() -> Value {
    json!({
        "id": TENANT, "name": "Acme Tickets", "state": "active", "timezone": "Europe/Berlin", "currency": "EUR", "default_country": "DE",
        "per_second": null, "is_demo": false, "created_at": CREATED, "updated_at": CREATED,
    })
}

/// Where everything about a contact can be read.
pub fn contact_export() -> Value {
    let id = "cxp_01K9ZC8Q6T7Y2V5B3N4M1XWRSD";
    json!({
        "id": id, "contact_id": CONTACT, "url": format!("/v1/contacts/{CONTACT}/exports/{id}"), "created_at": CREATED,
        "expires_at": "2026-11-22T09:30:07.080000Z",
    })
}

/// How long things are kept.
pub fn retention() -> Value {
    json!({
        "message_content_days": 365, "message_addresses_days": null, "exchanges_days": 90, "inbound_days": null, "callbacks_days": null, "events_days": null,
        "imports_days": null, "inactive_contacts_days": null, "done": [{"kind": "exchanges", "rows": 5120, "worked_at": CREATED}], "updated_at": CREATED,
        "next_at": "2026-11-21T10:30:07.080000Z",
    })
}

/// A content rule.
pub fn content_rule() -> Value {
    json!({
        "id": "crl_01K9ZC8Q6T7Y2V5B3N4M1XWRSD", "name": "No gambling", "blocked_words": {"words": ["casino", "jackpot"], "anywhere": false}, "links": null,
        "required_footer": null, "channels": [], "purpose": "marketing", "enabled": true, "created_at": CREATED, "updated_at": CREATED,
    })
}

/// What an erasure came to.
pub fn erasure() -> Value {
    json!({"messages": 12, "inbound_messages": 3, "events": 41, "callbacks": 24, "schedules": 1, "files": 2})
}

/// A demo tenant as it is listed.
pub fn demo_tenant() -> Value {
    json!({
        "id": TENANT, "name": "Demo for Globex", "owner_id": USER, "link": null, "is_filled": true, "created_at": CREATED,
        "ends_at": "2026-11-28T09:30:00.080000Z",
    })
}

/// A demo tenant as it is made.
pub fn new_demo_tenant() -> Value {
    let mut made = demo_tenant();
    made["link"] = json!("https://tidings.example/console/enter/4kQ0yZ1b6mVw8TnR2cXe9JpL5sDf7GhUaBoYx7Kq");
    made
}

/// An API key as it is listed.
pub fn api_key() -> Value {
    json!({
        "id": KEY, "name": "Ticket shop", "hint": "tdk_••••x7Kq", "scopes": ["messages:read", "messages:write"], "ip_allow_list": ["192.0.2.0/24"],
        "expires_at": null, "created_at": CREATED, "last_used_at": null,
    })
}

/// An API key as it is shown once.
pub fn new_api_key() -> Value {
    let mut key = api_key();
    key["key"] = json!("tdk_4kQ0yZ1b6mVw8TnR2cXe9JpL5sDf7GhUaBoYx7Kq");
    key
}

/// Somebody who belongs to a tenant.
pub fn member() -> Value {
    json!({
        "id": USER, "email": "ada@example.com", "name": "Ada Lovelace", "role": "member", "permissions": ["campaigns"], "state": "active",
        "has_second_factor": true, "created_at": CREATED, "updated_at": CREATED, "last_signed_in_at": CREATED,
    })
}

/// Somebody who was just invited.
pub fn invited() -> Value {
    let mut member = member();
    member["state"] = json!("invited");
    member["has_second_factor"] = json!(false);
    member["last_signed_in_at"] = Value::Null;
    member["link"] = Value::Null;
    member["is_sent"] = json!(true);
    member
}

/// The person who asks.
pub fn me() -> Value {
    json!({
        "id": USER, "email": "ada@example.com", "name": "Ada Lovelace", "operator_role": null,
        "memberships": [{"tenant_id": TENANT, "tenant_name": "Acme Tickets", "role": "member", "permissions": ["campaigns"]}],
        "has_second_factor": true, "recovery_codes": 10, "password_set_at": CREATED, "csrf": "4kQ0yZ1b6mVw8TnR2cXe9JpL5sDf7GhUaBoYx7Kq",
    })
}

/// A session that was just opened.
pub fn new_session() -> Value {
    json!({
        "id": SESSION, "token": "tds_4kQ0yZ1b6mVw8TnR2cXe9JpL5sDf7GhUaBoYx7Kq", "csrf": "8TnR2cXe9JpL5sDf7GhUaBoYx7Kq4kQ0yZ1b6mVw",
        "user_id": USER, "expires_at": "2026-11-28T09:30:00.000000Z",
    })
}

/// A way in that worked.
pub fn signed_in() -> Value {
    json!({ "status": "signed_in", "session": new_session(), "ticket": null })
}

/// A session as it is listed.
pub fn session() -> Value {
    json!({
        "id": SESSION, "is_current": true, "method": "password+totp", "ip": "192.0.2.7", "agent": "Mozilla/5.0 (X11; Linux x86_64)",
        "created_at": CREATED, "last_seen_at": CREATED, "expires_at": "2026-11-28T09:30:00.000000Z",
    })
}

/// A mail account.
pub fn account() -> Value {
    json!({
        "id": ACCOUNT, "name": "Ticket mail", "connector": "smtp",
        "settings": {"host": "mail.acme.example", "port": 587, "security": "starttls", "username": "tickets", "password": "••••tery"},
        "channels": ["email"], "default_for": ["email"], "from": "Acme Tickets <tickets@acme.example>", "enabled": true, "state": "ready",
        "pause": null, "health": {"circuit": "closed", "attempts": 1204, "success_rate": 0.99}, "per_second": null, "concurrency": null, "callback_url": null, "mail_url": null, "callback_help": null,
        "created_at": CREATED, "updated_at": CREATED,
    })
}

/// An entry of the audit log.
pub fn audit_entry() -> Value {
    json!({
        "id": "aud_01K9ZC6P7Q8R9S0T1V2W3X4Y5Z", "at": CREATED, "actor": KEY, "actor_kind": "key", "actor_name": "Website", "action": "account.updated", "subject": ACCOUNT,
        "detail": {"per_second": {"from": null, "to": 20}}, "ip": "192.0.2.7", "agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", "tenant": null,
    })
}

/// A message to be sent.
pub fn message_request() -> Value {
    json!({
        "to": {"email": "ada@example.com"}, "channel": "email", "purpose": "transactional",
        "content": {"subject": "Your ticket", "text": "Hello {{ name }}", "html": "<p>Hello {{ name }}</p>"},
        "variables": {"name": "Ada"}, "metadata": {"order": "42"},
    })
}

/// A message that was just accepted.
pub fn message() -> Value {
    message_at("queued")
}

/// A message at a status.
pub fn message_at(status: &str) -> Value {
    json!({
        "id": MESSAGE, "status": status, "channel": "email", "purpose": "transactional", "topic": null, "to": "ada@example.com",
        "account_id": ACCOUNT, "connector": "smtp", "provider_message_id": null, "campaign_id": null, "contact_id": null, "cost": null,
        "segments": null, "attempts": 0, "failure": null, "metadata": {"order": "42"}, "created_at": CREATED, "send_at": null,
        "expires_at": null, "next_attempt_at": CREATED, "sent_at": null, "delivered_at": null, "read_at": null,
        "template": null, "opened_at": null, "clicked_at": null, "replied_at": null,
    })
}

/// A message that arrived by mail after nobody had seen its text message.
pub fn message_in_full() -> Value {
    let mut message = message_at("delivered");
    message["cost"] = json!({"amount_micros": 7_900, "currency": "USD"});
    message["former_routes"] = json!([{
        "channel": "sms", "to": "+4915112345678", "account_id": ACCOUNT, "connector": "twilio", "provider_message_id": "SM0123456789abcdef0123456789abcdef",
        "cost": {"amount_micros": 7_500, "currency": "USD"}, "segments": 1, "failure": null, "sent_at": CREATED, "left_at": "2026-11-21T09:31:00Z",
    }]);
    message
}

/// A message that arrived.
pub fn timeline() -> Value {
    json!({ "data": [
        {"type": "accepted", "at": CREATED, "channel": "email", "purpose": "transactional", "guarantee": "at_least_once", "to": "ada@example.com",
            "content": {"channel": "email", "subject": "Your ticket", "text": "Hello {{ name }}"}, "send_at": null, "expires_at": null},
        {"type": "routed", "at": CREATED, "account_id": ACCOUNT, "connector": "smtp", "why": "email: the channel was given; Ticket mail: the channel's default account"},
        {"type": "attempt", "at": "2026-11-21T09:30:00.004000Z", "id": "att_01K9ZC8Q6T7Y2V5B3N4M1XWRSE", "number": 1, "account_id": ACCOUNT,
            "finished_at": "2026-11-21T09:30:00.120000Z", "outcome": "accepted", "failure": null, "provider_message_id": "4XyZ1", "exchange": null, "note": null},
        {"type": "change", "at": "2026-11-21T09:30:00.120000Z", "status": "sent"},
    ] })
}

/// A message that was given up.
pub fn dead_letter() -> Value {
    let mut message = message_at("failed");
    message["attempts"] = json!(5);
    message["failure"] = json!({"kind": "unavailable", "code": "connect_refused", "detail": "mail.acme.example refused the connection. Check host and port of the account."});
    message["next_attempt_at"] = Value::Null;
    message["dead_at"] = json!("2026-11-21T15:30:00.000000Z");
    message
}

/// A provider's report.
pub fn callback() -> Value {
    json!({
        "id": CALLBACK, "account_id": ACCOUNT, "received_at": CREATED, "method": "POST", "path": "", "query": "",
        "headers": [["content-type", "application/x-www-form-urlencoded"], ["x-twilio-signature", "\u{2022}\u{2022}\u{2022}\u{2022}"]],
        "body": "MessageSid=SM1&MessageStatus=delivered", "body_encoding": "utf-8", "size": 38, "verdict": "valid", "detail": null,
        "observed": 1, "unmatched": 0, "repeats": 0,
        "told": [{"fact": "delivered", "message_id": "msg_01K9ZC8Q6T7Y2V5B3N4M1XWRSD", "inbound_message_id": null,
            "changed": [{"what": "status", "from": "sent", "to": "delivered"}, {"what": "price", "to": "7500 USD"}]}],
        "event_type": null, "event_id": null, "tenant_id": null,
    })
}

/// What the operator's payment provider told.
pub fn payment_callback() -> Value {
    json!({
        "id": CALLBACK, "account_id": null, "received_at": CREATED, "method": "POST", "path": "/hooks/stripe", "query": "",
        "headers": [["content-type", "application/json; charset=utf-8"], ["stripe-signature", "t=1795253400,v1=5257a869e7ecebeda32affa62cdca3fa51cad7e77a0e56ff536d0ce8e108d8bd"]],
        "body": "{\n  \"data\": {\n    \"object\": {\n      \"amount_total\": 5000,\n      \"currency\": \"usd\",\n      \"customer_email\": \"••••\",\n      \"id\": \"cs_live_a1B2\"\n    }\n  },\n  \"id\": \"evt_1MtJUT2eZvKYlo2CNaw2HvEv\",\n  \"type\": \"checkout.session.completed\"\n}",
        "body_encoding": "utf-8", "size": 3184, "verdict": "valid", "detail": null, "observed": 1, "unmatched": 0, "repeats": 0,
        "told": [{"fact": "checkout.session.completed", "message_id": null, "inbound_message_id": null, "purchase_id": "pur_01K9ZC8Q6T7Y2V5B3N4M1XWRSD",
            "changed": [{"what": "purchase", "from": "open", "to": "paid"}, {"what": "credit", "from": "0.00 USD", "to": "50.00 USD"}, {"what": "refunds_and_disputes", "to": "to be asked for"}]}],
        "event_type": "checkout.session.completed", "event_id": "evt_1MtJUT2eZvKYlo2CNaw2HvEv", "tenant_id": TENANT,
    })
}

/// What somebody wrote.
pub fn inbound() -> Value {
    json!({
        "id": INBOUND, "channel": "sms", "account_id": ACCOUNT, "from": "+15550100002", "contact_id": CONTACT, "provider_message_id": "SM0123456789abcdef0123456789abcdef",
        "from_name": null, "to": "+15550100001", "text": "Where is my ticket?", "media": [], "location": null, "button": null,
        "in_reply_to": null, "keyword": null, "sent_at": null, "in_reply_to_message_id": null, "mail": null, "received_at": CREATED,
    })
}

/// A webhook endpoint.
pub fn endpoint() -> Value {
    json!({
        "id": ENDPOINT, "url": "https://shop.example/hooks/tidings", "description": "Order status", "events": ["message.*"], "enabled": true,
        "state": "active", "disabled_reason": null, "failing": null, "previous_secret_until": null, "created_at": CREATED, "updated_at": CREATED,
    })
}

/// A webhook endpoint as it is shown once.
pub fn endpoint_with_secret() -> Value {
    let mut endpoint = endpoint();
    endpoint["secret"] = json!("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=");
    endpoint
}

/// An event that was queued for an endpoint.
pub fn delivery_queued() -> Value {
    json!({ "message_id": MESSAGE, "event_id": EVENT })
}

/// An event that an endpoint took.
pub fn delivery() -> Value {
    json!({
        "message_id": MESSAGE, "event_id": EVENT, "event_type": "message.delivered", "status": "sent", "attempts": 1, "last_answer": 200, "failure": null,
        "created_at": CREATED, "next_attempt_at": null, "sent_at": "2026-11-21T09:30:00.120000Z",
    })
}

/// The same with its body and its attempts.
pub fn delivery_detail() -> Value {
    let mut delivery = delivery();
    delivery["body"] = json!({"type": "message.delivered", "id": EVENT, "timestamp": CREATED, "data": {"id": "msg_01K9ZCAB2C3D4E5F6G7H8J9K0M", "status": "delivered"}});
    delivery["log"] = json!([{
        "number": 1, "started_at": CREATED, "finished_at": "2026-11-21T09:30:00.120000Z", "answer": 200, "failure": null, "exchange": null,
    }]);
    delivery
}

/// Something a contact said.
pub fn consent() -> Value {
    json!({
        "id": "cns_01K9ZCC4D5E6F7G8H9J0K1M2NP", "contact_id": CONTACT, "channel": "email", "topic": null, "state": "opted_in", "method": "form", "source": KEY,
        "text": "Yes, send me news by e-mail.", "ip": "192.0.2.7", "user_agent": null, "evidence": null, "at": CREATED, "recorded_at": CREATED,
    })
}

/// How a contact's consent stands.
pub fn consents() -> Value {
    json!({
        "standing": [{"channel": "email", "topic": null, "state": "opted_in", "since": CREATED}], "suppressions": [], "data": [consent()],
        "next_cursor": null,
    })
}

/// What a contact prefers.
pub fn preferences() -> Value {
    json!({
        "contact_id": CONTACT, "do_not_contact": false, "channels": {"invoice_delivery": "whatsapp"}, "reminders": {"frequency": "weekly", "every_days": null},
        "quiet_hours": {"from": "22:00", "until": "09:00"}, "updated_at": CREATED,
    })
}

/// A topic of a tenant's own.
pub fn topic() -> Value {
    json!({"name": "match_reports", "title": "Match reports", "description": "A summary after each match.", "is_common": false, "created_at": CREATED})
}

/// A tenant's rules of consent.
pub fn consent_policy() -> Value {
    json!({
        "quiet_hours": {"from": "21:00", "until": "08:00"}, "frequency_cap": {"max": 3, "days": 7}, "us_windows": true, "india_windows": true, "stop_scope": "all",
        "answers_keywords": true, "help_text": null, "stop_text": null, "start_text": null,
    })
}

/// An address that must not be written to.
pub fn suppression() -> Value {
    json!({
        "id": SUPPRESSION, "channel": "email", "address": "ada@example.com", "reason": "hard_bounce", "blocks": "everything", "source": "provider",
        "detail": "5.1.1 550 5.1.1 There is no such mailbox", "message_id": MESSAGE, "created_at": CREATED,
    })
}

/// A stored file.
pub fn attachment() -> Value {
    json!({
        "id": ATTACHMENT, "filename": "ticket.pdf", "content_type": "application/pdf", "size": 9,
        "sha256": "6a3e0c2b5d1f4e8a9b7c6d5e4f3a2b1c0d9e8f7a6b5c4d3e2f1a0b9c8d7e6f5a", "created_at": CREATED,
    })
}

/// A contact.
pub fn contact() -> Value {
    json!({
        "id": CONTACT, "external_id": "customer-42", "name": "Ada Lovelace", "first_name": "Ada", "last_name": "Lovelace", "email": "ada@example.com",
        "phone": "+15550100002", "whatsapp": "+15550100002", "telegram_chat_id": null, "language": "en-GB", "timezone": "Europe/London",
        "attributes": {"plan": "pro", "orders": 12}, "created_at": CREATED, "updated_at": CREATED,
    })
}

/// What was between a tenant and a contact.
pub fn contact_entry() -> Value {
    json!({ "at": CREATED, "type": "message", "data": message() })
}

/// A declared attribute.
pub fn contact_attribute() -> Value {
    json!({ "name": "plan", "type": "text", "created_at": CREATED })
}

/// A list.
pub fn list() -> Value {
    json!({ "id": LIST, "name": "Newsletter", "description": "Monthly, in English", "contacts": 1204, "created_at": CREATED, "updated_at": CREATED })
}

/// Conditions that any tenant can have.
pub fn conditions() -> Value {
    json!({"all": [
        {"field": "language", "starts_with": "de"},
        {"field": "created_at", "within_last_days": 365},
        {"not": {"message": {"was": "accepted", "channel": "email", "within_days": 30}}},
    ]})
}

/// A segment.
pub fn segment() -> Value {
    json!({
        "id": SEGMENT, "name": "German, not written to lately", "description": "", "conditions": conditions(), "created_at": CREATED,
        "updated_at": CREATED,
    })
}

/// Who belongs to a segment.
pub fn preview() -> Value {
    json!({
        "contacts": 1, "sample": [contact()],
        "remaining": {"channel": "email", "with_address": 1, "with_consent": 1, "not_suppressed": 1},
    })
}

/// An import under way.
pub fn import() -> Value {
    json!({
        "id": IMPORT, "state": "running", "problem": null, "size": 104_857_600, "percent": 42, "rows": 420_000, "created": 400_000, "updated": 12_000,
        "skipped": 0, "failed": 3_000, "duplicates": 5_000, "columns": columns(), "list_id": LIST, "on_duplicate": "update", "created_at": CREATED,
        "started_at": "2026-11-21T09:30:01.000000Z", "finished_at": null,
    })
}

fn columns() -> Value {
    json!([
        {"column": "E-Mail", "field": "email", "type": null}, {"column": "Plan", "field": "attributes.plan", "type": "text"},
        {"column": "Note", "field": null, "type": null},
    ])
}

/// What an import would do.
pub fn dry_run() -> Value {
    json!({
        "format": "csv", "encoding": "windows-1252", "delimiter": ";", "columns": columns(), "rows": 2, "failed": 1, "sample": [contact()],
        "problems": [{"row": 3, "column": "E-Mail", "reason": "the domain needs at least one dot, as in example.com"}],
    })
}

/// A weekly report.
pub fn schedule() -> Value {
    json!({
        "id": SCHEDULE, "name": "Weekly report", "state": "active",
        "message": {"to": {"email": "ada@example.com"}, "content": {"subject": "Your week", "text": "Hello Ada"}},
        "rrule": "FREQ=WEEKLY;BYDAY=MO;BYHOUR=9;BYMINUTE=0", "cron": null, "timezone": "Europe/Berlin", "starts_at": CREATED, "ends_at": null,
        "skip": ["2026-12-28"], "catch_up": "last", "next_at": "2026-11-23T08:00:00.000000Z", "fired": 0, "created_at": CREATED, "updated_at": CREATED,
    })
}

/// An invoice to be sent.
pub fn new_invoice_delivery() -> Value {
    json!({
        "to": {"email": "ada@example.com"}, "channel": "email", "message": "Thank you for the good work together.",
        "invoice": {
            "number": "2026-0042", "issue_date": "2026-11-29", "due_date": "2026-12-13", "currency": "EUR",
            "seller": {"name": "Lovelace & Partner", "address": ["Analytische Straße 18", "10115 Berlin"], "tax_id": "DE123456789"},
            "buyer": {"name": "Babbage Engines Ltd", "address": ["1 Dorset Street", "London W1U 4EG"]},
            "lines": [{"description": "Programs for the analytical engine", "quantity": "12.5", "unit": "h", "unit_price_micros": 120_000_000, "tax_percent": "19",
                "amount_micros": 1_500_000_000}],
            "taxes": [{"name": "VAT", "percent": "19", "base_micros": 1_500_000_000, "amount_micros": 285_000_000}],
            "totals": {"net_micros": 1_500_000_000, "tax_micros": 285_000_000, "total_micros": 1_785_000_000},
            "payment": "IBAN DE02 1203 0000 0000 2020 51",
        },
    })
}

/// A sent invoice.
pub fn invoice_delivery() -> Value {
    json!({
        "id": INVOICE_DELIVERY, "number": "2026-0042", "is_resend": false, "channel": "email", "reason": "The channel was given.",
        "total": {"amount_micros": 1_785_000_000, "currency": "EUR"}, "contact_id": null,
        "document": {"filename": "invoice-2026-0042.pdf", "attachment_id": ATTACHMENT, "size": 16_095,
            "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", "path": format!("/v1/invoice-deliveries/{INVOICE_DELIVERY}/document")},
        "messages": [{"id": MESSAGE, "channel": "email", "to": "ada@example.com", "status": "queued", "failure": null, "sent_at": null, "delivered_at": null, "read_at": null}],
        "created_at": CREATED,
    })
}

/// The occurrences of a weekly report.
pub fn occurrences() -> Value {
    json!({
        "data": [{
            "at": "2026-11-23T08:00:00.000000Z", "local": "2026-11-23T09:00:00+01:00[Europe/Berlin]", "state": "planned", "message_id": null, "detail": null,
        }],
        "past": [{
            "at": "2026-11-16T08:00:00.000000Z", "local": "2026-11-16T09:00:00+01:00[Europe/Berlin]", "state": "sent", "message_id": MESSAGE, "detail": null,
        }],
    })
}

/// A campaign as it is posted.
pub fn new_campaign() -> Value {
    json!({
        "name": "Summer", "channel": "email", "content": {"subject": "Summer, {{ contact.first_name }}", "text": "Hello {{ contact.first_name }}"},
        "audience": {"lists": [LIST]},
    })
}

/// A campaign.
pub fn campaign() -> Value {
    json!({
        "id": CAMPAIGN, "state": "draft", "name": "Summer", "description": null, "channel": "email", "purpose": null,
        "content": {"subject": "Summer, {{ contact.first_name }}", "text": "Hello {{ contact.first_name }}"}, "template": null, "variants": [],
        "test": null, "audience": {"lists": [LIST], "segments": [], "contact_ids": [], "exclude_lists": [], "exclude_segments": []},
        "variables": null, "account_id": null, "topic": null, "remove_without_consent": false, "timing": null, "parent_id": null, "creator": KEY, "recipients": 0, "accepted": 0, "excluded": 0,
        "progress_percent": 0.0, "eta_s": null, "winner": null, "stage": null, "problem": null, "scheduled_at": null, "started_at": null, "test_ends_at": null,
        "paused_at": null, "ended_at": null, "created_at": CREATED, "updated_at": CREATED,
    })
}

/// A checklist.
pub fn check() -> Value {
    json!({
        "can_send": false, "checked": 1204, "expected": 1204, "progress_percent": 100.0, "is_complete": true, "estimated_cost": [], "estimated_duration_s": 3, "problem": null,
        "checked_at": CREATED,
        "lines": [
            {"code": "channel_ready", "level": "ok", "count": 0, "detail": "email goes through Ticket mail.", "action": null},
            {"code": "consent", "level": "blocking", "count": 12, "detail": "12 recipients have not agreed to marketing over email. The first: The contact has not agreed to marketing over email.", "action": "REMOVE_WITHOUT_CONSENT"},
            {"code": "invalid_addresses", "level": "warning", "count": 3, "detail": "3 recipients have no valid address for email; they are left out.", "action": "COMPLETE_CONTACTS"},
        ],
    })
}

/// How a campaign goes.
pub fn campaign_stats() -> Value {
    let rate =
        |hits: u32| json!({"of": 263, "hits": hits, "percent": 30.8, "low_percent": 25.53, "high_percent": 36.62});
    json!({
        "campaign": campaign(),
        "messages": {
            "variant": 0, "accepted": 270, "sent": 263, "delivered": rate(81), "opened": rate(81), "clicked": rate(81), "replied": rate(81),
            "complained": 1, "unsubscribed": 2, "machine_opened": 12, "machine_clicked": 0, "failed": 4, "canceled": 0, "suppressed": 0,
            "waiting": 3, "cost_micros": 0, "costs": [],
        },
        "variants": [], "best": null, "left_out": [{"reason": "no_address", "count": 3}],
    })
}

/// What became of one recipient.
pub fn recipient() -> Value {
    json!({ "contact_id": CONTACT, "status": "delivered", "variant": null, "to": "ada@example.com", "message_id": MESSAGE, "reason": null })
}

/// A template to be made.
pub fn new_template() -> Value {
    json!({
        "name": "ticket-ready", "channel": "email", "variants": {
            "en": {"subject": "Your ticket, {{ name }}", "mjml": "<mjml><mj-body><mj-section><mj-column><mj-text>Hello {{ name }}</mj-text></mj-column></mj-section></mj-body></mjml>"},
            "de": {"subject": "Ihr Ticket, {{ name }}", "html": "<p>Guten Tag, {{ name }}</p>"},
        },
        "variables": [{"name": "name", "type": "string", "example": "Ada"}],
    })
}

/// Another version of it.
pub fn new_version() -> Value {
    json!({ "variants": {"en": {"subject": "Your ticket, {{ name }}", "html": "<p>Dear {{ name }}</p>"}} })
}

/// A template.
pub fn template() -> Value {
    json!({
        "id": TEMPLATE, "name": "ticket-ready", "channel": "email", "description": "", "default": false, "tracking": null, "published_version": 1,
        "newest_version": 1, "created_at": CREATED, "updated_at": CREATED,
    })
}

/// A version of it.
pub fn template_version() -> Value {
    json!({
        "template_id": TEMPLATE, "version": 1, "state": "published", "default_locale": "en", "variants": {"en": {"subject": "Your ticket, {{ name }}", "html": "<p>Hello {{ name }}</p>"}},
        "variables": [{"name": "name", "type": "string", "required": null, "default": null, "example": "Ada", "description": null}], "warnings": [],
        "created_at": CREATED, "published_at": CREATED, "ended_at": null,
    })
}

/// A tenant's branding.
pub fn branding() -> Value {
    json!({
        "name": "Acme Tickets", "sender_name": null, "logo_url": "https://acme.example/logo.png", "logo_attachment_id": null, "logo_path": null, "website_url": "https://acme.example/",
        "colors": {"primary": "#1f5fd6", "on_primary": "#ffffff", "background": "#f4f5f7", "text": "#1c1e21"}, "font_stack": null, "footer": null,
        "postal_address": "1 Main Street, Springfield", "default_locale": "en", "tracking_domain": null, "tracking": {"opens": null, "clicks": null}, "updated_at": CREATED,
    })
}

/// A template as somebody would get it.
pub fn template_preview() -> Value {
    json!({
        "version": 1, "locale": "en", "content": {"channel": "email", "subject": "Your ticket, Ada", "text": "Hello Ada", "html": "<p>Hello Ada</p>"},
        "html_size": 16, "sms": null, "whatsapp": null, "warnings": [],
    })
}

/// A test send.
pub fn template_test() -> Value {
    json!({ "data": [{"id": MESSAGE, "to": "ada@example.com"}] })
}

/// What came of a template.
pub fn template_stats() -> Value {
    let counts = |sent: i64| {
        json!({
            "accepted": sent, "sent": sent, "delivered": sent, "read": 0, "failed": 0, "bounced": 0, "suppressed": 0, "withdrawn": 0, "unknown": 0,
            "opened": sent / 3, "clicked": sent / 10, "machine_opened": sent / 2, "machine_clicked": 0,
        })
    };
    let mut version = counts(240);
    version["version"] = json!(1);
    version["tests"] = counts(1);
    json!({ "data": [version] })
}

/// A price list.
pub(crate) fn price_list() -> Value {
    json!({
        "version": 1, "currency": "USD", "valid_from": "2026-11-28T09:00:00Z", "note": "From December",
        "rows": [
            {"channel": "sms", "unit": "segment", "cost_micros": 7200, "markup_basis_points": 2500}, {"channel": "sms", "country": "IN", "unit": "segment", "amount_micros": 4500},
            {"channel": "email", "unit": "thousand", "amount_micros": 400_000},
        ],
        "created_at": "2026-11-28T09:00:00Z",
    })
}

/// A price list without its rows.
pub(crate) fn price_list_summary() -> Value {
    json!({
        "version": 1, "currency": "USD", "valid_from": "2026-11-28T09:00:00Z", "note": "From December", "row_count": 3, "created_at": "2026-11-28T09:00:00Z",
    })
}

/// A tenant's credit.
pub(crate) fn credits() -> Value {
    json!({
        "mode": "prepaid", "available": {"amount_micros": 49_991_000, "currency": "USD"}, "debt": {"amount_micros": 0, "currency": "USD"}, "reserved": {"amount_micros": 0, "currency": "USD"},
        "spent": {"amount_micros": 9000, "currency": "USD"}, "purchased": {"amount_micros": 50_000_000, "currency": "USD"},
        "adjusted": {"amount_micros": 0, "currency": "USD"}, "promotional": {"amount_micros": 0, "currency": "USD"},
        "granted": {"amount_micros": 0, "currency": "USD"}, "entries": 3, "low_at_micros": 5_000_000,
        "top_up": {"below_micros": 2_000_000, "amount_micros": 50_000_000, "monthly_max_micros": null},
        "top_up_state": {"state": "buys", "reason": null}, "purchase_tax": {"name": "VAT", "rate_ppm": 190_000}, "differences": [],
    })
}

/// A movement of credit.
pub(crate) fn credit_entry() -> Value {
    json!({
        "number": 1, "kind": "purchase", "from": "purchased", "to": "available", "amount": {"amount_micros": 50_000_000, "currency": "USD"},
        "available_after_micros": 50_000_000, "reserved_after_micros": 0, "promotional_after_micros": 0, "message_id": null, "messages": null,
        "reference": "bank transfer 2026-11-28", "at": "2026-11-28T09:00:00Z",
    })
}

/// A purchase of credit.
pub(crate) fn credit_purchase() -> Value {
    json!({
        "id": "pur_01K9ZC8Q6T7Y2V5B3N4M1XWRSD", "provider": "stripe", "state": "open", "amount": {"amount_micros": 50_000_000, "currency": "USD"},
        "taxes": [{"name": "VAT", "rate_ppm": 190_000, "amount_micros": 9_500_000}], "total": {"amount_micros": 59_500_000, "currency": "USD"}, "tax_country": "DE", "tax_id": "DE123456789",
        "refunded": {"amount_micros": 0, "currency": "USD"}, "refunded_total": {"amount_micros": 0, "currency": "USD"}, "disputed": {"amount_micros": 0, "currency": "USD"}, "disputes": [], "reference": null, "url": "https://checkout.stripe.com/c/pay/cs_live_a1B2", "failure": null,
        "is_top_up": false, "entry": null, "created_at": "2026-11-28T09:00:00Z", "updated_at": "2026-11-28T09:00:00Z",
    })
}

/// Money given back.
pub(crate) fn credit_refund() -> Value {
    json!({
        "id": "rfd_01K9ZC8Q6T7Y2V5B3N4M1XWRSD", "purchase_id": null, "provider": "operator", "state": "done", "amount": {"amount_micros": 5_000_000, "currency": "USD"},
        "tax": {"amount_micros": 950_000, "currency": "USD"}, "total": {"amount_micros": 5_950_000, "currency": "USD"}, "taken": {"amount_micros": 5_000_000, "currency": "USD"}, "reason": "closed their account", "failure": null, "created_at": "2026-11-28T09:00:00Z",
        "updated_at": "2026-11-28T09:00:00Z",
    })
}

/// Our records held against a provider's.
pub(crate) fn reconciliation() -> Value {
    json!({
        "id": "rec_01K9ZC8Q6T7Y2V5B3N4M1XWRSD", "account_id": ACCOUNT, "source": "messages", "channel": null, "state": "done", "starts_at": "2026-11-01T00:00:00Z",
        "ends_at": "2026-12-01T00:00:00Z", "ours": 20_412, "theirs": 20_411, "matched": 20_411, "missing_here": 0, "missing_there": 1, "elsewhere": 0, "not_asked": 0, "price_differences": 3,
        "segment_differences": 1, "is_binding": true,
        "accuracy_ppm": 999_951, "is_accurate": true, "cost_ours": {"amount_micros": 153_082_500, "currency": "USD"},
        "cost_theirs": {"amount_micros": 153_090_000, "currency": "USD"}, "failure": null, "created_at": "2026-12-01T09:00:00Z", "updated_at": "2026-12-01T09:01:00Z",
    })
}

/// Something that differs.
pub(crate) fn reconciliation_difference() -> Value {
    json!({
        "kind": "price", "record": "SM00000000000000000000000000000001", "message_id": MESSAGE, "at": "2026-11-21T09:30:00Z", "ours": 7_500, "theirs": 7_900, "currency": "USD",
        "segments_ours": 1, "segments_theirs": 1,
    })
}

/// How payments are taken.
pub(crate) fn payment_settings() -> Value {
    json!({
        "stripe": {"secret_key": "••••9f2K", "webhook_secret": "••••x7Qw", "updated_at": "2026-11-28T09:00:00Z"},
        "stripe_webhook_url": "https://messages.example/hooks/stripe",
    })
}

/// A plan.
pub(crate) fn plan() -> Value {
    json!({
        "id": "pln_01K9ZC8Q6T7Y2V5B3N4M1XWRSD", "name": "Studio", "monthly_fee": {"amount_micros": 49_000_000, "currency": "USD"},
        "allowances": [
            {"channel": "email", "included": 50_000, "overage_micros": null, "limit": null},
            {"channel": "sms", "included": 1_000, "overage_micros": 9_000, "limit": 5_000},
        ],
        "is_offered": true, "is_archived": false, "created_at": "2026-11-28T09:00:00Z", "updated_at": "2026-11-28T09:00:00Z",
    })
}

/// A tenant's subscription.
pub(crate) fn subscription() -> Value {
    json!({
        "state": "active", "plan": plan(),
        "quotas": [
            {"channel": "email", "included": 50_000, "overage_micros": null, "limit": 50_000, "used": 12_408, "remaining": 37_592, "level": "enough", "resets_at": "2026-11-30T23:00:00Z"},
            {"channel": "sms", "included": 1_000, "overage_micros": 9_000, "limit": 5_000, "used": 812, "remaining": 4_188, "level": "enough", "resets_at": "2026-11-30T23:00:00Z"},
        ],
        "trial_ends_at": null, "past_due_since": null, "forgiven_until": null, "marketing_stops_at": null, "canceled_at": null,
        "customer": {"name": "Acme Tickets GmbH", "address": ["Lindenstr. 9", "10969 Berlin"], "country": "DE", "tax_id": "DE123456789", "email": "billing@acme.example", "tax": null},
        "billed_until": "2026-10-31T23:00:00Z", "next_invoice_at": "2026-11-30T23:00:00Z", "created_at": "2026-09-01T09:00:00Z",
        "updated_at": "2026-11-28T09:00:00Z",
    })
}

/// Promotional credit.
pub(crate) fn credit_grant() -> Value {
    json!({
        "number": 2, "amount": {"amount_micros": 10_000_000, "currency": "USD"}, "left": {"amount_micros": 10_000_000, "currency": "USD"},
        "expires_at": "2099-12-31T00:00:00Z", "reference": "welcome", "created_at": "2026-11-28T09:00:00Z",
    })
}

/// An invoice.
pub(crate) fn invoice() -> Value {
    json!({
        "id": "inv_01K9ZC8Q6T7Y2V5B3N4M1XWRSD", "tenant_id": TENANT, "kind": "invoice", "state": "issued", "number": "INV-000042", "credits_id": null, "replaces_id": null,
        "month": "2026-11", "starts_at": "2026-10-31T23:00:00Z", "ends_at": "2026-11-30T23:00:00Z",
        "seller": {"name": "Tidings Hosting GmbH", "address": ["Hafenstr. 1", "20457 Hamburg"], "tax_id": "DE987654321", "email": "billing@tidings.example"},
        "customer": {"name": "Acme Tickets GmbH", "address": ["Lindenstr. 9", "10969 Berlin"], "country": "DE", "tax_id": "DE123456789", "email": "billing@acme.example", "tax": null},
        "plan": "Studio",
        "lines": [
            {"kind": "fee", "description": "Studio, a month", "channel": null, "country": null, "quantity": 1, "unit_micros": 49_000_000, "amount_micros": 49_000_000},
            {"kind": "included", "description": "sms: 1000 of 1000 included messages", "channel": "sms", "country": null, "quantity": 1_000, "unit_micros": null, "amount_micros": 0},
            {"kind": "overage", "description": "sms to DE beyond the 1000 included", "channel": "sms", "country": "DE", "quantity": 412, "unit_micros": 9_000, "amount_micros": 3_710_000},
        ],
        "net": {"amount_micros": 52_710_000, "currency": "EUR"}, "taxes": [{"name": "VAT", "rate_ppm": 190_000, "amount_micros": 10_010_000}],
        "total": {"amount_micros": 62_720_000, "currency": "EUR"}, "payment_details": ["IBAN DE02 1203 0000 0000 2020 51"], "note": null, "reason": null,
        "issued_at": "2026-12-01T00:00:00Z", "due_at": "2026-12-15T00:00:00Z", "is_overdue": false, "paid_at": null, "payment_reference": null, "voided_at": null,
        "mailed_at": "2026-12-01T00:00:10Z", "mail": {"state": "delivered", "failure": null, "message_id": "msg_01K9ZC8Q6T7Y2V5B3N4M1XWRSD", "next_try_at": null},
        "created_at": "2026-12-01T00:00:00Z", "updated_at": "2026-12-01T00:00:00Z",
    })
}

/// How invoices are written.
pub(crate) fn billing_settings() -> Value {
    json!({
        "seller": {"name": "Tidings Hosting GmbH", "address": ["Hafenstr. 1", "20457 Hamburg"], "tax_id": "DE987654321", "email": "billing@tidings.example"},
        "series": "INV-", "credit_note_series": "CN-", "due_days": 14, "issues_by_itself": true, "sends_by_itself": true, "mail_tenant_id": null,
        "payment": ["IBAN DE02 1203 0000 0000 2020 51"], "note": null, "taxes": [{"country": "DE", "name": "VAT", "rate_ppm": 190_000}],
        "credit_taxed": "at_purchase",
    })
}
