//! A stage on which messages are played: one engine, one tenant, its accounts, and a few verbs for tests that read as sentences.

use std::sync::Arc;

use engine::{
    Config, Engine,
    keys::Caller,
    once::{IdempotencyKey, Repeat},
    vault::MasterKeys,
};
use model::{AccountId, MessageId, TenantId};
use serde_json::{Value, json};
use store::{Scope, messages::Message};

use crate::{TestDb, World};

/// An engine with one tenant.
pub struct Stage {
    /// The doors, and handles on what is behind them.
    pub world: World,
    /// The engine.
    pub engine: Arc<Engine>,
    /// The tenant.
    pub tenant: TenantId,
    /// Somebody who may do everything in it.
    pub caller: Caller,
}

impl Stage {
    /// A stage in which every provider accepts.
    pub async fn new(db: &TestDb) -> Self {
        Self::in_world(World::new(db)).await
    }

    /// A stage in a given world.
    pub async fn in_world(world: World) -> Self {
        let engine = engine_in(&world);
        let tenant: TenantId = {
            let new = serde_json::from_value(json!({ "name": "Acme" })).expect("a tenant needs a name");
            let reply = engine::tenants::create(engine.parts(), &Caller::system(None), &Repeat::NONE, new)
                .await
                .expect("a tenant is made");
            serde_json::from_slice::<Value>(&reply.body).expect("an answer is JSON")["id"]
                .as_str()
                .expect("it has an id")
                .parse()
                .expect("of a tenant")
        };
        Self { world, engine, tenant, caller: Caller::system(Some(tenant)) }
    }

    /// The same database after a crash: a new engine that knows nothing.
    pub fn restart(&mut self) {
        self.engine = engine_in(&self.world);
    }

    /// Gives the tenant an account.
    pub async fn account(&self, connector: &str, settings: Value, from: Option<&str>) -> AccountId {
        let mut new = json!({ "name": connector, "connector": connector, "settings": settings });
        if let Some(from) = from {
            new["from"] = from.into();
        }
        let new = serde_json::from_value(new).expect("an account request");
        let reply = engine::accounts::create(self.engine.parts(), &self.caller, &Repeat::NONE, new)
            .await
            .expect("the account is made");
        serde_json::from_slice::<Value>(&reply.body).expect("an answer is JSON")["id"]
            .as_str()
            .expect("it has an id")
            .parse()
            .expect("of an account")
    }

    /// Posts a message that must be accepted.
    pub async fn send(&self, request: Value) -> MessageId {
        let reply = self.try_send(request, None).await.expect("the message is accepted");
        reply["id"].as_str().expect("it has an id").parse().expect("of a message")
    }

    /// Posts a message.
    pub async fn try_send(&self, request: Value, key: Option<&str>) -> Result<Value, engine::Error> {
        let key = key.map(|key| IdempotencyKey::parse(key).expect("a key"));
        let reply = self.engine.send(&self.caller, request.to_string().as_bytes(), key).await?;
        Ok(serde_json::from_slice(&reply.body).expect("an answer is JSON"))
    }

    /// Sends what is due, until nothing is.
    pub async fn dispatch(&self) {
        while engine::dispatch::step(&self.engine).await.expect("a round works") > 0 {}
    }

    /// Moves the clock on by `millis`, a second at a time, and lets everything happen that is due.
    pub async fn pass(&self, millis: i64) {
        self.pass_by(millis, 1_000).await;
    }

    /// The same by `step` milliseconds at a time: for hours of which no second matters.
    pub async fn pass_by(&self, millis: i64, step: i64) {
        let mut left = millis;
        while left > 0 {
            let part = left.min(step);
            self.world.clock.advance_ms(part.unsigned_abs());
            left -= part;
            self.tick().await;
        }
    }

    /// Runs every job once and sends what is due.
    pub async fn tick(&self) {
        engine::recovery::beat(&self.engine).await.expect("a beat");
        engine::waiting::expire(&self.engine).await.expect("expiring works");
        engine::apply::move_on(&self.engine).await.expect("moving on works");
        engine::routing::divert::divert(&self.engine).await.expect("diverting works");
        engine::waiting::later(&self.engine).await.expect("later facts work");
        engine::waiting::ask(&self.engine).await.expect("asking works");
        engine::schedules::fire(&self.engine).await.expect("firing works");
        engine::campaigns::check::run(&self.engine).await.expect("counting goes on");
        engine::campaigns::work::run(&self.engine).await.expect("campaigns go on");
        engine::tracking::settle(&self.engine).await.expect("judging works");
        self.dispatch().await;
    }

    /// The message's row.
    pub async fn message(&self, id: MessageId) -> Message {
        let tenant = self.tenant;
        let read = self
            .world
            .ports
            .db
            .read(Scope::System, move |tx| Box::pin(async move { store::messages::find(tx, tenant, id).await }));
        read.await.expect("the database answers").expect("the message is there")
    }

    /// The message's status as a word.
    pub async fn status(&self, id: MessageId) -> &'static str {
        self.message(id).await.status.as_str()
    }
}

fn engine_in(world: &World) -> Arc<Engine> {
    let config = Config {
        public_url: "https://tidings.example".to_owned(),
        base_urls: world.base_urls.clone(),
        mail_tenant: None,
        oidc: None,
        requests_per_second: None,
        slots: engine::SLOTS,
    };
    let masters = MasterKeys::parse("test:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").expect("a master key");
    Engine::new(world.ports.clone(), config, masters)
}
