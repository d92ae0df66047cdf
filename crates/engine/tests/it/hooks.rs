//! What the tests of callbacks, withdrawals and reading share: a tenant with a Twilio account, requests signed as Twilio signs them, and looks behind the engine.

use std::collections::BTreeMap;

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use model::{AccountId, Answer, Broken, Call, MessageId, TenantId, Timestamp};
use serde_json::{Value, json};
use store::{Scope, usage::Counts};
use testkit::{Stage, TestDb, World, http_answer};
use tidings_engine::{
    Error,
    callbacks::OwnedRequest,
    once::Repeat,
    usage::{UsageCounts, UsageQuery},
    writes,
};

pub const TOKEN: &str = "0123456789abcdef0123456789abcdef";
pub const SID: &str = "SM0123456789abcdef0123456789abcdef";

/// A stage with a Twilio account whose provider answers as told.
pub async fn twilio(
    db: &TestDb,
    respond: impl Fn(&Call) -> Result<Answer, Broken> + Send + Sync + 'static,
) -> (Stage, AccountId) {
    let stage = Stage::in_world(World::answering(db, respond)).await;
    let account = twilio_account(&stage).await;
    (stage, account)
}

/// One more Twilio account.
pub async fn twilio_account(stage: &Stage) -> AccountId {
    let settings = json!({ "account_sid": "AC00000000000000000000000000000001", "auth_token": TOKEN });
    stage.account("twilio", settings, Some("+15550100001")).await
}

/// Another tenant on the same engine, seen like a stage of its own.
pub async fn neighbour(stage: &Stage) -> Stage {
    let new = serde_json::from_value(json!({ "name": "Other" })).unwrap();
    let operator = tidings_engine::keys::Caller::system(None);
    let reply = tidings_engine::tenants::create(stage.engine.parts(), &operator, &Repeat::NONE, new).await.unwrap();
    let tenant: TenantId =
        serde_json::from_slice::<Value>(&reply.body).unwrap()["id"].as_str().unwrap().parse().unwrap();
    let world = World {
        ports: stage.world.ports.clone(),
        clock: std::sync::Arc::clone(&stage.world.clock),
        transport: std::sync::Arc::clone(&stage.world.transport),
        blobs: std::sync::Arc::clone(&stage.world.blobs),
        zone: std::sync::Arc::clone(&stage.world.zone),
        base_urls: stage.world.base_urls.clone(),
    };
    let caller = tidings_engine::keys::Caller::system(Some(tenant));
    Stage { world, engine: std::sync::Arc::clone(&stage.engine), tenant, caller }
}

/// Twilio takes the message under [`SID`].
pub fn taken() -> Result<Answer, Broken> {
    http_answer(201, format!(r#"{{"sid": "{SID}", "status": "queued", "num_segments": "1"}}"#))
}

pub fn sms() -> Value {
    json!({ "to": { "phone": "+4915112345678" }, "channel": "sms", "content": { "text": "Hello" } })
}

/// A form to an account's callback URL, signed with `token` as Twilio does.
pub fn signed_with(token: &str, account: AccountId, query: &str, form: &[(&str, &str)]) -> OwnedRequest {
    let sorted: BTreeMap<&str, &str> = form.iter().copied().collect();
    let mut text = format!("https://tidings.example/hooks/{account}");
    if !query.is_empty() {
        text.push_str(&format!("?{query}"));
    }
    sorted.iter().for_each(|(name, value)| text.push_str(&format!("{name}{value}")));
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, token.as_bytes());
    let signature = STANDARD.encode(hmac::sign(&key, text.as_bytes()));
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

/// Twilio says that the message under `sid` is at `status`; with our echo when it has one.
pub fn report(account: AccountId, message: Option<MessageId>, sid: &str, status: &str) -> OwnedRequest {
    let query = message.map_or_else(String::new, |id| format!("attempt={}", id.attempt(1)));
    signed_with(TOKEN, account, &query, &[("MessageSid", sid), ("MessageStatus", status)])
}

/// Hands a request in and answers the status.
pub async fn call(stage: &Stage, account: AccountId, request: OwnedRequest) -> Result<u16, Error> {
    stage.engine.callback(account, request, None).await.map(|reply| reply.status)
}

/// A list or view as JSON.
pub fn read(answer: Result<Vec<u8>, Error>) -> Value {
    serde_json::from_slice(&answer.unwrap()).unwrap()
}

/// The callback log's rows, newest first.
pub async fn log(stage: &Stage) -> Vec<Value> {
    let log = read(stage.engine.callback_log(&stage.caller, &Default::default()).await);
    log["data"].as_array().unwrap().clone()
}

/// The types of the tenant's events about messages, in order, without `message.accepted`.
pub async fn told(stage: &Stage) -> Vec<String> {
    let tenant = stage.tenant;
    // Not as a stream reads them: on PostgreSQL that waits for the transactions of tests that run at the same time.
    let read = stage.world.ports.db.read(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move {
            let rows = tx.rows("SELECT type FROM events WHERE tenant_id = $1 ORDER BY seq", &[&tenant]).await?;
            rows.into_iter().map(|mut row| row.get(0)).collect::<Result<Vec<String>, store::Error>>()
        })
    });
    let kinds = read.await.unwrap().into_iter();
    kinds.filter(|kind| kind.starts_with("message.") && kind != "message.accepted").collect()
}

/// Checks that the counters equal a recount of the rows.
pub async fn recount(stage: &Stage) {
    let (tenant, now) = (stage.tenant, model::Clock::now(&*stage.world.clock));
    let read = stage.world.ports.db.read(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move { store::messages::list(tx, tenant, &Default::default(), None, now, 10_000).await })
    });
    let mut sums = Counts::default();
    read.await.unwrap().iter().for_each(|m| sums += writes::counts(m));
    let usage = read_usage(stage).await;
    assert_eq!(usage["totals"], serde_json::to_value(UsageCounts::from(sums)).unwrap());
}

pub async fn read_usage(stage: &Stage) -> Value {
    read(stage.engine.usage(&stage.caller, &UsageQuery::default()).await)
}

/// The instant on the stage's clock.
pub fn now(stage: &Stage) -> Timestamp {
    model::Clock::now(&*stage.world.clock)
}
