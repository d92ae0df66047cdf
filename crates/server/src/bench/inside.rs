//! The engine inside this process: for workloads that measure the engine alone, without HTTP on either side.

use std::sync::Arc;

use anyhow::Context as _;
use engine::{
    Engine, Ports,
    keys::Caller,
    once::Repeat,
    vault::{MasterKeys, Place},
};
use model::{AccountId, Channel, Clock as _, Ids, TenantId, Values};
use net::{Lookups, Net, NetConfig, SystemClock};
use serde_json::{Value, json};
use store::{Db, Scope, accounts, blobs::DiskBlobs};

use super::room::Room;

/// An engine with one tenant.
pub struct Inside {
    /// The engine; its jobs do not run by themselves.
    pub engine: Arc<Engine>,
    /// The tenant.
    pub tenant: TenantId,
    /// Somebody who may do everything in it.
    pub caller: Caller,
}

impl Inside {
    /// Opens and migrates the room's database and makes a tenant.
    pub async fn new(room: &Room) -> anyhow::Result<Self> {
        let ids = Arc::new(Ids::from_os());
        let db = Db::open(&room.url)?;
        store::migrate(&db, SystemClock.now()).await?;
        let ports = Ports {
            db,
            clock: Arc::new(SystemClock),
            transport: Net::new(NetConfig::default(), Arc::new(SystemClock))?,
            blobs: Arc::new(DiskBlobs::new(room.directory().join("attachments"))?),
            ids: Arc::clone(&ids),
            dns: Lookups::new(None),
        };
        let config = engine::Config {
            public_url: "http://127.0.0.1:8080".to_owned(),
            base_urls: std::collections::BTreeMap::new(),
            requests_per_second: None,
            slots: engine::SLOTS,
        };
        let engine = Engine::new(ports, config, MasterKeys::parse(&MasterKeys::generate(&ids))?);
        let new = serde_json::from_value(json!({"name": "Bench"}))?;
        let reply = engine::tenants::create(engine.parts(), &Caller::system(None), &Repeat::NONE, new).await?;
        let made: Value = serde_json::from_slice(&reply.body)?;
        let tenant: TenantId = made["id"].as_str().and_then(|id| id.parse().ok()).context("a tenant has an id")?;
        Ok(Self { engine, tenant, caller: Caller::system(Some(tenant)) })
    }

    /// Gives the tenant an account of the no-op connector, for every channel. Tenants cannot make one themselves, so its row is written here.
    pub async fn noop(&self, is_batching: bool) -> anyhow::Result<AccountId> {
        let (parts, tenant) = (self.engine.parts().clone(), self.tenant);
        let now = parts.ports.clock.now();
        let id = AccountId::from_ulid(parts.ports.ids.ulid(now));
        let mut values = Values::default();
        values.set("batch", if is_batching { "true" } else { "false" });
        let write = self.engine.ports.db.write(Scope::System, move |tx| {
            Box::pin(async move {
                store::tenants::bump(tx, Some(tenant)).await?;
                let row = id.to_string();
                let place = Place { tenant, table: "accounts", row: &row, field: "settings" };
                let plain = values.to_plain_json();
                let sealed = parts.vault.seal(tx, &parts.ports.ids, now, &place, plain.as_bytes()).await?;
                let channels = [Channel::Email, Channel::Sms].map(Channel::as_str).join(" ");
                let account = accounts::Account {
                    id,
                    tenant,
                    connector: "noop".to_owned(),
                    name: "No-op".to_owned(),
                    default_for: channels.clone(),
                    channels,
                    sender: None,
                    settings: sealed.bytes,
                    data_key_id: sealed.data_key_id,
                    is_enabled: true,
                    per_second: None,
                    concurrency: None,
                    created_at: now,
                    updated_at: now,
                    deleted_at: None,
                };
                accounts::insert(tx, &account).await?;
                Ok::<_, engine::Error>(())
            })
        });
        write.await?;
        self.engine.directory.refresh().await?;
        Ok(id)
    }

    /// Posts a batch; fails unless every message of it was accepted.
    pub async fn send_batch(&self, body: &str, count: usize) -> anyhow::Result<()> {
        let reply = self.engine.send_batch(&self.caller, body.as_bytes(), None).await?;
        anyhow::ensure!(
            accepted(&reply.body) == count,
            "a batch was not accepted as a whole: {}",
            String::from_utf8_lossy(&reply.body[..reply.body.len().min(400)])
        );
        Ok(())
    }

    /// Messages that left, attempts made, and messages with more than one attempt, as the database has it.
    pub async fn outcome(&self) -> anyhow::Result<(u64, u64)> {
        let sql =
            "SELECT COUNT(*), COUNT(*) - COUNT(DISTINCT message_id) FROM attempts WHERE tenant_id = $1 AND outcome = 0";
        let (sent, again) = self.pair(sql).await?;
        Ok((sent, again))
    }

    /// Messages accepted and sent so far, by the usage counters.
    pub async fn counted(&self) -> anyhow::Result<(u64, u64)> {
        let sql = "SELECT CAST(COALESCE(SUM(accepted), 0) AS BIGINT), CAST(COALESCE(SUM(sent), 0) AS BIGINT) FROM usage_counters WHERE tenant_id = $1";
        self.pair(sql).await
    }

    async fn pair(&self, sql: &'static str) -> anyhow::Result<(u64, u64)> {
        let tenant = self.tenant;
        let read = self.engine.ports.db.read(Scope::System, move |tx| {
            Box::pin(async move {
                let row = tx.row(sql, &[&tenant]).await?;
                match row {
                    Some(mut row) => Ok::<(i64, i64), store::Error>((row.get(0)?, row.get(1)?)),
                    None => Ok((0, 0)),
                }
            })
        });
        let (first, second) = read.await?;
        Ok((first.unsigned_abs(), second.unsigned_abs()))
    }
}

/// Messages a batch's answer says were accepted.
pub fn accepted(body: &[u8]) -> usize {
    memchr::memmem::find_iter(body, b"\"id\":\"msg_").count()
}
