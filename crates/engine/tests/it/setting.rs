//! What the tests of tenants, keys and accounts share: a node, callers, and answers read as JSON.

use std::collections::BTreeMap;

use engine::{
    Config, Error, Parts,
    keys::{Caller, NewApiKey},
    once::{IdempotencyKey, Repeat, Reply},
    tenants::{self, NewTenant},
    vault::MasterKeys,
};
use model::TenantId;
use serde_json::Value;
use testkit::{TestDb, World};

/// 32 bytes in base64, for tests.
pub const MASTER: &str = "first:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
/// Another.
pub const MASTER_2: &str = "second:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";

/// A node in a world in which every provider accepts.
pub fn node(db: &TestDb) -> (World, Parts) {
    let world = World::new(db);
    let parts = parts(&world);
    (world, parts)
}

/// A node in this world. Two of them share the database but nothing in memory.
pub fn parts(world: &World) -> Parts {
    with_masters(world, MASTER)
}

/// A node with these master keys.
pub fn with_masters(world: &World, masters: &str) -> Parts {
    let config = Config {
        public_url: "https://tidings.example".to_owned(),
        base_urls: BTreeMap::new(),
        mail_tenant: None,
        oidc: None,
        requests_per_second: None,
        slots: 64,
    };
    Parts::new(world.ports.clone(), config, MasterKeys::parse(masters).unwrap())
}

/// The operator, outside of any tenant.
pub fn operator() -> Caller {
    Caller::system(None)
}

/// Somebody who may do everything in one tenant.
pub fn member(tenant: TenantId) -> Caller {
    Caller { is_operator: false, ..Caller::system(Some(tenant)) }
}

/// A new tenant with a key that may do everything.
pub async fn tenant(parts: &Parts, name: &str) -> (TenantId, String) {
    let new = NewTenant { name: name.to_owned(), ..NewTenant::default() };
    let (tenant, key) = tenants::create_with_key(parts, &operator(), new).await.unwrap();
    (tenant.id, key.key)
}

/// A request under an idempotency key.
pub fn repeat(key: &str, body: &str) -> Repeat {
    Repeat {
        key: Some(IdempotencyKey::parse(key).unwrap()),
        fingerprint: engine::once::fingerprint("POST", "/v1/things", body.as_bytes()),
    }
}

/// What a request answered, as JSON.
pub fn json(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body).unwrap()
}

/// A request body.
pub fn body<T: serde::de::DeserializeOwned>(json: Value) -> T {
    serde_json::from_value(json).unwrap()
}

/// A key request with this name.
pub fn named(name: &str) -> NewApiKey {
    NewApiKey { name: name.to_owned(), ..NewApiKey::default() }
}

/// The code of an error.
pub fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> &'static str {
    result.unwrap_err().code
}

/// The fields an error names.
pub fn pointers<T: std::fmt::Debug>(result: Result<T, Error>) -> Vec<String> {
    result.unwrap_err().errors.into_iter().map(|error| error.pointer).collect()
}

/// One column of the database as text, rows joined by line breaks: for looking behind the engine's back.
pub async fn column(db: &TestDb, sql: &'static str) -> String {
    let rows = db
        .read(store::Scope::System, move |tx| {
            Box::pin(async move {
                let rows = tx.rows(sql, &[]).await?;
                rows.into_iter().map(|mut row| row.get::<String>(0)).collect::<Result<Vec<_>, store::Error>>()
            })
        })
        .await;
    rows.unwrap().join("\n")
}
