//! Replacing keys while everything runs.

use std::sync::Arc;

use model::{Ids, TenantId, Timestamp};
use store::{Db, Scope, accounts, audit_marks, data_keys};

use super::{INSTALLATION_KEY, OPERATOR, Place, Vault, master};
use crate::{Error, consent::policy};

/// Data keys re-sealed in one transaction. Each costs some microseconds; others wait no longer than a millisecond or two.
const DATA_KEYS_PER_STEP: i64 = 200;
/// Rows re-sealed in one transaction.
const ROWS_PER_STEP: i64 = 100;
/// Tenants one run of [`Vault::finish_rotations`] looks at.
const TENANTS_PER_RUN: i64 = 100;

/// What a rotation of the master key did.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct MasterRotation {
    /// The key that now seals.
    pub master_key_id: String,
    /// Data keys that were sealed anew in this run.
    pub resealed: u64,
    /// Data keys that do not open and stayed as they were: tenant and number.
    pub unreadable: Vec<(TenantId, i64)>,
}

/// What a rotation of one tenant's data key did.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct DataKeyRotation {
    /// The key that now seals.
    pub data_key_id: i64,
    /// Rows that were sealed anew in this run.
    pub resealed: u64,
    /// Rows that do not open and stayed as they were.
    pub unreadable: u64,
    /// Old data keys that were dropped. Others wait for answers kept under idempotency keys to grow old (a day).
    pub removed: u64,
}

impl Vault {
    /// Refuses to go on when something is sealed with a master key we were not given, and names it. For start and `doctor`.
    #[crate::boxed]
    pub async fn check(&self, db: &Db) -> Result<Vec<(String, i64)>, Error> {
        let in_use = db
            .read(Scope::System, |tx| Box::pin(async move { Ok::<_, Error>(data_keys::masters_in_use(tx).await?) }))
            .await?;
        let missing: Vec<_> = in_use.iter().map(|(id, _)| id.as_str()).filter(|id| !self.masters.has(id)).collect();
        if missing.is_empty() { Ok(in_use) } else { Err(master::missing(&missing)) }
    }

    /// Seals every data key with the first master key, a few at a time. Killed anywhere, the next run carries on; run twice, the second finds nothing.
    pub async fn rotate_master(self: &Arc<Self>, db: &Db, ids: &Arc<Ids>) -> Result<MasterRotation, Error> {
        self.check(db).await?;
        let mut done =
            MasterRotation { master_key_id: self.masters.first_id().to_owned(), resealed: 0, unreadable: Vec::new() };
        let mut after = Some((TenantId::from_ulid(0), 0));
        while let Some(from) = after {
            after = self.rotate_master_step(db, ids, from, &mut done).await?;
        }
        match self.rotate_installation_key(db, ids).await? {
            Some(true) => done.resealed += 1,
            Some(false) => done.unreadable.push((OPERATOR, INSTALLATION_KEY)),
            None => {}
        }
        Ok(done)
    }

    /// Seals the key of the audit log with the first master key: `None` when it is already, or there is none yet, and `false` when it does not open.
    async fn rotate_installation_key(self: &Arc<Self>, db: &Db, ids: &Arc<Ids>) -> Result<Option<bool>, Error> {
        let (vault, ids) = (Arc::clone(self), Arc::clone(ids));
        let write = db.write(Scope::System, move |tx| {
            Box::pin(async move {
                let Some(row) = audit_marks::lock_register(tx).await? else { return Ok(None) };
                let first = vault.masters.first_id();
                if row.master_key_id == first {
                    return Ok(None);
                }
                let Ok(key) = vault.open_installation_key(&row.master_key_id, &row.key) else {
                    return Ok(Some(false));
                };
                let now = Timestamp::from_seconds(0);
                let fresh = vault.masters.seal_data_key(&ids, OPERATOR, INSTALLATION_KEY, now, &key);
                audit_marks::reseal(tx, &fresh.sealed, first).await?;
                Ok::<_, Error>(Some(true))
            })
        });
        write.await
    }

    /// Re-seals up to one step of data keys after `after` and answers where the next step begins.
    pub(crate) async fn rotate_master_step(
        self: &Arc<Self>,
        db: &Db,
        ids: &Arc<Ids>,
        after: (TenantId, i64),
        done: &mut MasterRotation,
    ) -> Result<Option<(TenantId, i64)>, Error> {
        let (vault, ids) = (Arc::clone(self), Arc::clone(ids));
        let write = db.write(Scope::System, move |tx| {
            Box::pin(async move {
                let first = vault.masters.first_id();
                let rows = data_keys::sealed_by_others(tx, first, after, DATA_KEYS_PER_STEP).await?;
                let (mut resealed, mut unreadable) = (0, Vec::new());
                for row in &rows {
                    let Ok(key) = vault.masters.open_data_key(row) else {
                        unreadable.push((row.tenant, row.id));
                        continue;
                    };
                    let fresh = vault.masters.seal_data_key(&ids, row.tenant, row.id, row.created_at, &key);
                    resealed += u64::from(data_keys::reseal(tx, &fresh, &row.master_key_id).await?);
                }
                let is_full = rows.len() as i64 == DATA_KEYS_PER_STEP;
                let next = rows.last().filter(|_| is_full).map(|row| (row.tenant, row.id));
                Ok::<_, Error>((resealed, unreadable, next))
            })
        });
        let (resealed, unreadable, next) = write.await?;
        done.resealed += resealed;
        done.unreadable.extend(unreadable);
        Ok(next)
    }

    /// Gives a tenant a new data key and seals its rows with it. Killed anywhere, [`Vault::finish_rotations`] carries on.
    pub async fn rotate_data_key(
        self: &Arc<Self>,
        db: &Db,
        ids: &Arc<Ids>,
        tenant: TenantId,
        now: Timestamp,
    ) -> Result<DataKeyRotation, Error> {
        let (vault, new_ids) = (Arc::clone(self), Arc::clone(ids));
        db.write(Scope::Tenant(tenant), move |tx| {
            Box::pin(async move {
                let id = data_keys::newest(tx, tenant).await?.map_or(1, |row| row.id + 1);
                let row = vault.masters.new_data_key(&new_ids, tenant, id, now);
                data_keys::insert(tx, &row).await?;
                Ok::<_, Error>(())
            })
        })
        .await?;
        self.finish_rotation(db, ids, tenant, now).await
    }

    /// The background job: carries on every rotation that was not finished, and drops old data keys nothing needs any more.
    pub async fn finish_rotations(self: &Arc<Self>, db: &Db, ids: &Arc<Ids>, now: Timestamp) -> Result<u64, Error> {
        let tenants = db
            .read(Scope::System, |tx| {
                Box::pin(async move { Ok::<_, Error>(data_keys::rotating(tx, TENANTS_PER_RUN).await?) })
            })
            .await?;
        let mut resealed = 0;
        for tenant in tenants {
            resealed += self.finish_rotation(db, ids, tenant, now).await?.resealed;
        }
        Ok(resealed)
    }

    async fn finish_rotation(
        self: &Arc<Self>,
        db: &Db,
        ids: &Arc<Ids>,
        tenant: TenantId,
        now: Timestamp,
    ) -> Result<DataKeyRotation, Error> {
        let mut done = DataKeyRotation { data_key_id: 0, resealed: 0, unreadable: 0, removed: 0 };
        let mut after = Some(model::AccountId::from_ulid(0));
        while let Some(from) = after {
            after = self.rotate_rows_step(db, ids, tenant, now, from, &mut done).await?;
        }
        let newest = done.data_key_id;
        done.removed = db
            .write(Scope::Tenant(tenant), move |tx| {
                Box::pin(async move { Ok::<_, Error>(data_keys::remove_unused(tx, tenant, newest).await?) })
            })
            .await?;
        Ok(done)
    }

    /// Re-seals up to one step of the tenant's rows after `after` and answers where the next step begins.
    pub(crate) async fn rotate_rows_step(
        self: &Arc<Self>,
        db: &Db,
        ids: &Arc<Ids>,
        tenant: TenantId,
        now: Timestamp,
        after: model::AccountId,
        done: &mut DataKeyRotation,
    ) -> Result<Option<model::AccountId>, Error> {
        let (vault, ids) = (Arc::clone(self), Arc::clone(ids));
        let write = db.write(Scope::Tenant(tenant), move |tx| {
            Box::pin(async move {
                let newest = data_keys::newest(tx, tenant).await?.map_or(0, |row| row.id);
                let rows = accounts::sealed_by_others(tx, tenant, newest, after, ROWS_PER_STEP).await?;
                let (mut resealed, mut unreadable) = policy::reseal(tx, &vault, &ids, tenant, newest, now).await?;
                for account in &rows {
                    let row = account.id.to_string();
                    let place = Place { tenant, table: "accounts", row: &row, field: "settings" };
                    let Ok(plain) = vault.open(tx, &place, &account.settings).await else {
                        unreadable += 1;
                        continue;
                    };
                    let sealed = vault.seal(tx, &ids, now, &place, &plain).await?;
                    let is_done = accounts::reseal(tx, account, &sealed.bytes, sealed.data_key_id).await?;
                    resealed += u64::from(is_done);
                }
                let is_full = rows.len() as i64 == ROWS_PER_STEP;
                let next = rows.last().filter(|_| is_full).map(|account| account.id);
                Ok::<_, Error>((newest, resealed, unreadable, next))
            })
        });
        let (newest, resealed, unreadable, next) = write.await?;
        done.data_key_id = newest;
        done.resealed += resealed;
        done.unreadable += unreadable;
        Ok(next)
    }
}
