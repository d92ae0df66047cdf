//! The OpenAPI 3.1 document: generated from the handlers, then completed with what all operations have in common.
//!
//! A handler says what is its own (path, body, answers, examples). From [`crate::access`] come who may call it and, with that, the headers it reads and the errors
//! it can answer; each of those is described once, under `components`.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use utoipa::OpenApi;

use crate::{
    access::{Access, OPERATIONS, Operation, Pace, Verb},
    examples,
    problem::{CONTENT_TYPE, FieldProblem, ProblemView, TYPE_PREFIX},
    routes::content::{EmailContent, SmsContent, TelegramContent, VoiceContent, WhatsappContent},
};

/// What the generated document begins with.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tidings",
        description = "Sends messages over e-mail, SMS, WhatsApp, Telegram and voice, and tells exactly what became of each.\n\nJSON in snake_case, instants in RFC 3339 UTC, money in millionths. Lists come in pages: `limit`, `cursor`, and `next_cursor` in the answer. Every POST takes an `Idempotency-Key`. Errors are `application/problem+json` with a stable `code`. Unknown fields and query parameters are refused by name. Every answer has an `X-Request-Id`."
    ),
    components(schemas(
        ProblemView<'static>, FieldProblem, EmailContent, SmsContent, WhatsappContent, TelegramContent, VoiceContent
    )),
    tags(
        (name = "Messages", description = "Send messages and follow them."),
        (name = "Campaigns", description = "One message to an audience, once to each."),
        (name = "Schedules", description = "Messages that repeat."),
        (name = "Invoice deliveries", description = "Invoices to a tenant's customers, as PDF."),
        (name = "Dead letters", description = "Messages that were given up, and another try for them."),
        (name = "Attachments", description = "Files that go with messages."),
        (name = "Inbound messages", description = "What people wrote back."),
        (name = "Contacts", description = "The people a tenant talks to."),
        (name = "Lists", description = "Contacts put together by hand or by an import."),
        (name = "Segments", description = "Contacts described by conditions."),
        (name = "Templates", description = "What is said many times, in languages and versions, and how it looks."),
        (name = "Consent", description = "What contacts allowed and prefer."),
        (name = "Content rules", description = "What messages may say."),
        (name = "Retention", description = "How long things are kept."),
        (name = "Suppressions", description = "Addresses that must not be written to, and why."),
        (name = "Accounts", description = "A tenant's own settings for a provider."),
        (name = "Routing", description = "Rules about which account a message leaves through."),
        (name = "Senders", description = "As whom an account may send."),
        (name = "Domains", description = "Mail domains and what has to stand in their DNS."),
        (name = "Registration", description = "Who the business is, its registration with American carriers (10DLC), and the operator's numbers."),
        (name = "WhatsApp templates", description = "Templates at an account's provider."),
        (name = "Webhook endpoints", description = "Where a tenant receives events, per Standard Webhooks."),
        (name = "Events", description = "The same events as a stream."),
        (name = "Usage", description = "What was sent, counted."),
        (name = "Alerts", description = "What is the matter, who was told, and the rules that say so."),
        (name = "Money", description = "What messages cost, and a tenant's credit: an append-only ledger that always adds up. Amounts are millionths of the currency's unit."),
        (name = "Keys", description = "API keys and their scopes."),
        (name = "Users", description = "The people who belong to a tenant, and the one who asks. Each has a role and perhaps permissions beyond it; a person's token (`tds_…`) is a bearer like an API key."),
        (name = "Sessions", description = "Signing in and out. What these answer is not repeated under an `Idempotency-Key`."),
        (name = "Tenants", description = "The operator's customers."),
        (name = "Logs", description = "What providers sent us, and who changed what."),
        (name = "Callbacks", description = "Where providers call. Not for clients."),
        (name = "Operation", description = "For machines that watch this one. Answered without a key: keep these paths inside your network."),
    )
)]
pub(crate) struct Base;

/// Completes the generated document.
pub(crate) fn finish(generated: &utoipa::openapi::OpenApi) -> Value {
    let mut document = serde_json::to_value(generated).expect("an OpenAPI document has a JSON form");
    document["info"]["license"] = json!({ "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" });
    document["info"]["version"] = json!(env!("CARGO_PKG_VERSION"));
    document["servers"] = json!([{ "url": "/", "description": "This installation" }]);
    for operation in OPERATIONS {
        let described = &mut document["paths"][operation.path][operation.method.as_str()];
        assert!(described.is_object(), "{operation:?} has no handler that describes it");
        complete(described, operation);
    }
    document["components"]["schemas"]["MessageRequest"]["properties"]["content"] = content();
    let components = document["components"].as_object_mut().expect("the base document has schemas");
    components.insert("securitySchemes".to_owned(), security_schemes());
    components.insert("parameters".to_owned(), parameters());
    components.insert("headers".to_owned(), headers());
    components.insert("responses".to_owned(), responses());
    forget_unused_schemas(&mut document);
    document
}

/// Removes schemas that stand only inline where they are used. What only an unused one refers to is unused too.
fn forget_unused_schemas(document: &mut Value) {
    loop {
        let text = document.to_string();
        let references = text.split("\"#/components/schemas/").skip(1);
        let used: BTreeSet<&str> = references.filter_map(|rest| rest.split('"').next()).collect();
        let schemas = document["components"]["schemas"].as_object_mut().expect("the base document has schemas");
        let before = schemas.len();
        schemas.retain(|name, _| used.contains(name.as_str()));
        if schemas.len() == before {
            return;
        }
    }
}

/// What a message says: the engine keeps it raw until it knows the channel, so its own schema cannot tell.
fn content() -> Value {
    let names = ["EmailContent", "SmsContent", "WhatsappContent", "TelegramContent", "VoiceContent"];
    let mut shapes: Vec<Value> =
        names.iter().map(|name| json!({ "$ref": format!("#/components/schemas/{name}") })).collect();
    shapes.push(json!({ "type": "null" }));
    json!({
        "description": "What it says, in the shape of its channel. Texts may hold placeholders such as `{{ name }}`. Exactly one of `content` and `template`.",
        "anyOf": shapes,
    })
}

fn complete(described: &mut Value, operation: &Operation) {
    let has_body = described.get("requestBody").is_some();
    let access = operation.access;
    described["security"] = match access.scope() {
        Some(scope) => json!([{ key_name(access): [scope] }, { "session": [] }]),
        None if access == Access::Person => json!([{ "session": [] }]),
        None => json!([]),
    };
    if let Some(scope) = access.scope() {
        described["x-scope"] = json!(scope);
        let text = described["description"].as_str().unwrap_or_default().trim_end();
        let who = match access {
            Access::Operator(_) => "Needs an operator's key with the scope",
            _ => "Needs the scope",
        };
        described["description"] = json!(format!("{text}\n\n{who} `{scope}`.").trim_start());
    }
    add_parameters(described, operation);
    for (status, response) in described["responses"].as_object_mut().into_iter().flatten() {
        if status.starts_with('2') {
            let headers = response.as_object_mut().expect("a response is an object").entry("headers");
            let headers = headers.or_insert_with(|| json!({})).as_object_mut().expect("headers are an object");
            headers.insert("X-Request-Id".to_owned(), json!({ "$ref": "#/components/headers/RequestId" }));
            if access.scope().is_some() && operation.method == Verb::Post {
                headers.insert("Idempotency-Replayed".to_owned(), json!({ "$ref": "#/components/headers/Replayed" }));
            }
        }
    }
    for name in errors(operation, has_body) {
        let (status, ..) = ERRORS.iter().find(|error| error.1 == name).expect("errors() names errors of the table");
        let responses = described["responses"].as_object_mut().expect("an operation has responses");
        responses.entry(*status).or_insert_with(|| json!({ "$ref": format!("#/components/responses/{name}") }));
    }
}

/// Which of the security schemes an operation takes.
const fn key_name(access: Access) -> &'static str {
    match access {
        Access::Operator(_) => "operatorKey",
        _ => "apiKey",
    }
}

fn add_parameters(described: &mut Value, operation: &Operation) {
    let mut parameters: Vec<Value> = path_parameters(operation.path).collect();
    parameters.extend(described["parameters"].as_array().into_iter().flatten().cloned());
    if operation.access.scope().is_some() {
        if operation.method == Verb::Post {
            parameters.push(json!({ "$ref": "#/components/parameters/IdempotencyKey" }));
        }
        if !matches!(operation.access, Access::Operator(_)) {
            parameters.push(json!({ "$ref": "#/components/parameters/Tenant" }));
        }
    }
    if !parameters.is_empty() {
        described["parameters"] = Value::Array(parameters);
    }
}

/// The ids in a path: what they name follows from the collection before them.
fn path_parameters(path: &str) -> impl Iterator<Item = Value> + '_ {
    let mut before = "";
    path.split('/').filter_map(move |part| {
        let collection = std::mem::replace(&mut before, part);
        let name = part.strip_prefix('{')?.strip_suffix('}')?;
        let (noun, example) = examples::id_of(collection);
        let schema = json!({ "type": "string", "example": example });
        Some(json!({ "name": name, "in": "path", "required": true, "description": match name { "name" | "version" => format!("The {noun}'s {name}."), _ => format!("The {noun}'s id.") }, "schema": schema }))
    })
}

/// The errors an operation can answer, by name in [`ERRORS`].
fn errors(operation: &Operation, has_body: bool) -> Vec<&'static str> {
    let mut names = vec!["Internal", "Unavailable"];
    if operation.path.starts_with("/hooks") {
        names.extend(["Malformed", "NotVerified", "NotFound", "TooLarge"]);
    }
    match operation.access {
        Access::Open => return names,
        Access::Door | Access::Person => {
            names.extend(["Malformed", "SignInRefused", "Forbidden", "NotFound", "TooManyRequests"]);
        }
        Access::Tenant(_) | Access::Operator(_) | Access::Owner(_) => {}
    }
    if operation.access.scope().is_some() {
        names.extend(["Malformed", "Unauthorized", "Forbidden", "NotFound"]);
    }
    if operation.pace != Pace::Free {
        names.push("TooManyRequests");
    }
    match operation.method {
        Verb::Post => names.extend(["Conflict", "TooLarge", "UnsupportedMedia", "Invalid"]),
        Verb::Patch => names.extend(["Conflict", "TooLarge", "UnsupportedMedia", "Invalid"]),
        Verb::Delete => names.push("Conflict"),
        Verb::Get if operation.path == "/v1/stream" => names.push("Invalid"),
        Verb::Get => {}
    }
    if operation.method == Verb::Post && matches!(operation.path, "/v1/messages" | "/v1/messages/batch") {
        names.push("PaymentRequired");
    }
    debug_assert!(!has_body || names.contains(&"TooLarge"), "only POST and PATCH have bodies");
    names
}

/// Status, name, when it is answered, and an example's code, detail and further members.
type ErrorLine = (&'static str, &'static str, &'static str, &'static str, &'static str);

const ERRORS: &[ErrorLine] = &[
    (
        "400",
        "Malformed",
        "The request cannot be read: malformed JSON, an unknown query parameter, a cursor that was changed.",
        "invalid_cursor",
        "`cursor` is not one this list gave out. Use `next_cursor` of the page before, unchanged, or leave it out to begin anew.",
    ),
    (
        "401",
        "Unauthorized",
        "No API key, or one that is unknown, revoked or expired.",
        "invalid_api_key",
        "This API key is unknown, revoked or expired. Make another under /v1/api-keys or ask the operator.",
    ),
    (
        "401",
        "NotVerified",
        "The request could not be verified as the provider's; nothing changed. The callback log says why.",
        "callback_not_verified",
        "This request could not be verified as the provider's. The callback log of the account says why.",
    ),
    (
        "401",
        "SignInRefused",
        "What was given proves nothing, or the session has ended.",
        "sign_in_failed",
        "The e-mail address or the password is not right. Try again, or reset the password.",
    ),
    (
        "402",
        "PaymentRequired",
        "The tenant pays ahead, and its credit does not cover this: `need` and `available` say how much. Or its plan does not reach (`quota_exceeded`): `need`, `used`, `remaining`, `resets_at` and `choices` say how far it does and what can be done. Or its subscription has ended. Nothing was accepted.",
        "insufficient_credit",
        "This costs 12.50 INR, and 3.00 INR are available. Add credit, then send the request again.",
    ),
    (
        "403",
        "Forbidden",
        "The API key may not do this, or the tenant is suspended.",
        "missing_scope",
        "This API key does not have the scope `messages:write`. Use a key that has it, or make one under /v1/api-keys.",
    ),
    ("404", "NotFound", "It does not exist, or belongs to another tenant.", "not_found", "There is no such message."),
    (
        "409",
        "Conflict",
        "Not possible in the present state, or the same `Idempotency-Key` is still being worked on.",
        "idempotency_key_in_use",
        "A request with this `Idempotency-Key` is still running. Wait for its answer, or repeat this request shortly.",
    ),
    (
        "413",
        "TooLarge",
        "The body is larger than the operation takes.",
        "body_too_large",
        "The body is larger than 10485760 bytes, which is the most this operation takes. Upload large attachments first with POST /v1/attachments.",
    ),
    (
        "415",
        "UnsupportedMedia",
        "The body is not of a type the operation reads.",
        "unsupported_media_type",
        "This operation reads JSON: send it with `Content-Type: application/json`. The request has `Content-Type: text/plain`.",
    ),
    (
        "422",
        "Invalid",
        "Readable, but wrong: `errors` points at each field. Also an `Idempotency-Key` that was used for another request.",
        "invalid_request",
        "/to/phone: expected a phone number in E.164 such as +15550100001",
    ),
    (
        "429",
        "TooManyRequests",
        "Faster than the tenant may call. `Retry-After` says when to come back.",
        "rate_limited",
        "This tenant may make 100 requests a second, with a burst of 200; a batch counts each of its messages. Try again in 10 ms.",
    ),
    (
        "500",
        "Internal",
        "Our fault. Whether the request took effect can be seen by repeating it under the same `Idempotency-Key`.",
        "internal_error",
        "Something went wrong on our side; the log has the details under this request id.",
    ),
    (
        "503",
        "Unavailable",
        "Not now; nothing was done. `Retry-After` says when to come back.",
        "database_unavailable",
        "The database cannot take requests now. Nothing was done; try again shortly.",
    ),
];

fn responses() -> Value {
    let mut responses = Map::new();
    for (status, name, description, code, detail) in ERRORS {
        let status_code = status.parse::<u16>().expect("the table has HTTP statuses");
        let title =
            crate::problem::title(http::StatusCode::from_u16(status_code).expect("the table has HTTP statuses"));
        let mut example = json!({
            "type": format!("{TYPE_PREFIX}{code}"), "title": title, "status": status_code, "detail": detail, "code": code,
            "request_id": examples::REQUEST_ID,
        });
        let mut headers = json!({ "X-Request-Id": { "$ref": "#/components/headers/RequestId" } });
        match status_code {
            401 if *name == "Unauthorized" => {
                headers["WWW-Authenticate"] = json!({ "$ref": "#/components/headers/WwwAuthenticate" })
            }
            422 => {
                example["errors"] =
                    json!([{ "pointer": "/to/phone", "detail": detail.trim_start_matches("/to/phone: ") }])
            }
            429 | 503 => {
                headers["Retry-After"] = json!({ "$ref": "#/components/headers/RetryAfter" });
                example["retry_after_s"] = json!(1);
            }
            _ => {}
        }
        if status_code == 429 {
            headers["RateLimit"] = json!({ "$ref": "#/components/headers/RateLimit" });
            headers["RateLimit-Policy"] = json!({ "$ref": "#/components/headers/RateLimitPolicy" });
        }
        let content =
            json!({ CONTENT_TYPE: { "schema": { "$ref": "#/components/schemas/Problem" }, "example": example } });
        responses
            .insert((*name).to_owned(), json!({ "description": description, "headers": headers, "content": content }));
    }
    Value::Object(responses)
}

fn parameters() -> Value {
    json!({
        "IdempotencyKey": {
            "name": "Idempotency-Key", "in": "header", "required": false,
            "description": "A name of your choice for this request. Repeating the request under the same key within 24 hours answers what the first one answered and does nothing a second time; another request under the same key is refused.",
            "schema": { "type": "string", "minLength": 1, "maxLength": engine::once::KEY_MAX, "example": "order-42-ticket" }
        },
        "Tenant": {
            "name": "Tidings-Tenant", "in": "header", "required": false,
            "description": "With an operator's key: the tenant to act in.",
            "schema": { "type": "string", "example": examples::TENANT }
        }
    })
}

fn headers() -> Value {
    let text = |description: &str, example: &str| json!({ "description": description, "schema": { "type": "string", "example": example } });
    json!({
        "RequestId": text("The request's id: taken from the request's own `X-Request-Id`, or made.", examples::REQUEST_ID),
        "Replayed": text("`true` when this repeats the answer to an earlier request with the same `Idempotency-Key`.", "true"),
        "WwwAuthenticate": text("How to authenticate.", "Bearer realm=\"tidings\""),
        "RetryAfter": text("Seconds until trying again makes sense.", "1"),
        "RateLimit": text("What is left of the tenant's pace: `r` requests, full again after `t` seconds.", "\"tenant\";r=0;t=2"),
        "RateLimitPolicy": text("The tenant's pace: `q` requests in `w` seconds.", "\"tenant\";q=200;w=2"),
    })
}

fn security_schemes() -> Value {
    json!({
        "apiKey": {
            "type": "http", "scheme": "bearer",
            "description": "A tenant's key (`tdk_…`), or an operator's (`tdo_…`) together with the header `Tidings-Tenant`."
        },
        "session": {
            "type": "http", "scheme": "bearer",
            "description": "The token of a person's session (`tds_…`), with the header `Tidings-Tenant` when they belong to several tenants. In a browser the cookie `tidings_session` does the same; what changes something then carries the session's `csrf` in the header `Tidings-Csrf`."
        },
        "operatorKey": { "type": "http", "scheme": "bearer", "description": "An operator's key (`tdo_…`)." }
    })
}
