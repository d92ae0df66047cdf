//! Brings a database to the version this binary knows. Runs at every start and by `tidings migrate`; two nodes may run it at once; one killed
//! half-way leaves nothing behind, because each step is one transaction.

use std::collections::BTreeSet;

use model::Timestamp;

use crate::{Db, Dialect, Error, Scope, Tx, statistics};

struct Migration {
    version: i64,
    name: &'static str,
    sql: &'static str,
    /// The tables it makes, or makes anew, whose rows belong to one tenant: row-level security guards them on PostgreSQL.
    tenant_tables: &'static [&'static str],
    /// What else PostgreSQL needs and SQLite has no word for.
    postgres: &'static str,
}

/// Released migrations never change; new ones are added at the end.
const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "base",
        sql: include_str!("../migrations/0001_base.sql"),
        tenant_tables: BASE_TENANT_TABLES,
        postgres: BASE_STORAGE,
    },
    Migration {
        version: 2,
        name: "contacts",
        sql: include_str!("../migrations/0002_contacts.sql"),
        tenant_tables: CONTACTS_TENANT_TABLES,
        postgres: "",
    },
    Migration {
        version: 3,
        name: "consent",
        sql: include_str!("../migrations/0003_consent.sql"),
        tenant_tables: CONSENT_TENANT_TABLES,
        postgres: "",
    },
    Migration {
        version: 4,
        name: "templates",
        sql: include_str!("../migrations/0004_templates.sql"),
        tenant_tables: TEMPLATE_TENANT_TABLES,
        postgres: "",
    },
    Migration {
        version: 5,
        name: "provider_resources",
        sql: include_str!("../migrations/0005_provider_resources.sql"),
        tenant_tables: &["domains", "senders", "whatsapp_templates", "account_resources"],
        postgres: "",
    },
    Migration {
        version: 6,
        name: "access",
        sql: include_str!("../migrations/0006_access.sql"),
        tenant_tables: &["memberships", "sessions", "user_links"],
        postgres: "",
    },
    Migration {
        version: 8,
        name: "money",
        sql: include_str!("../migrations/0008_money.sql"),
        tenant_tables: &["credit_ledgers", "credit_entries", "message_charges"],
        postgres: "",
    },
    Migration {
        version: 9,
        name: "campaigns",
        sql: include_str!("../migrations/0009_campaigns.sql"),
        tenant_tables: &["schedules", "schedule_occurrences", "campaigns", "campaign_recipients"],
        postgres: "",
    },
    Migration {
        version: 11,
        name: "insight",
        sql: include_str!("../migrations/0011_insight.sql"),
        tenant_tables: &["message_counters", "audit_heads"],
        postgres: "ALTER TABLE message_counters SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_cost_delay = 0, fillfactor = 80);",
    },
    Migration {
        version: 12,
        name: "lifecycle",
        sql: include_str!("../migrations/0012_lifecycle.sql"),
        tenant_tables: &["demo_tenants"],
        postgres: "",
    },
    Migration {
        version: 14,
        name: "routing",
        sql: include_str!("../migrations/0014_routing.sql"),
        tenant_tables: &["routes", "attempt_counters"],
        postgres: "ALTER TABLE attempt_counters SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_cost_delay = 0, fillfactor = 80);",
    },
    Migration {
        version: 15,
        name: "invoice_deliveries",
        sql: include_str!("../migrations/0015_invoice_deliveries.sql"),
        tenant_tables: &["invoice_deliveries"],
        postgres: "",
    },
    Migration {
        version: 16,
        name: "rights",
        sql: include_str!("../migrations/0016_rights.sql"),
        tenant_tables: &[
            "content_rules",
            "contact_exports",
            "retention_policies",
            "retention_places",
            "retention_left",
            "contact_moves",
            "campaign_checks",
        ],
        postgres: "",
    },
    Migration {
        version: 17,
        name: "billing",
        sql: include_str!("../migrations/0017_billing.sql"),
        tenant_tables: &["subscriptions", "quota_counters", "invoiced_usage", "invoices"],
        postgres: "",
    },
    Migration {
        version: 18,
        name: "prices_complete",
        sql: include_str!("../migrations/0018_prices_complete.sql"),
        tenant_tables: &["credit_grants"],
        postgres: "",
    },
    Migration {
        version: 19,
        name: "alerts",
        sql: include_str!("../migrations/0019_alerts.sql"),
        tenant_tables: &["alert_rules", "alert_states", "alerts", "alert_watches"],
        postgres: "",
    },
    Migration {
        version: 21,
        name: "registration",
        sql: include_str!("../migrations/0021_registration.sql"),
        tenant_tables: &["business_profiles", "registrations"],
        postgres: "",
    },
    Migration {
        version: 22,
        name: "purchases",
        sql: include_str!("../migrations/0022_purchases.sql"),
        tenant_tables: &[
            "charge_counters",
            "credit_purchases",
            "credit_refunds",
            "payment_methods",
            "reconciliations",
            "reconciliation_records",
        ],
        postgres: "",
    },
    Migration {
        version: 23,
        name: "replies_variants_cost",
        sql: include_str!("../migrations/0023_insight.sql"),
        tenant_tables: &["message_days", "message_counters"],
        postgres: SUMS_STORAGE,
    },
    Migration {
        version: 24,
        name: "charges_before",
        sql: include_str!("../migrations/0024_charges_before.sql"),
        tenant_tables: &[],
        postgres: "",
    },
    Migration {
        version: 25,
        name: "usage_complete",
        sql: include_str!("../migrations/0025_usage_complete.sql"),
        tenant_tables: &[],
        postgres: "",
    },
    Migration {
        version: 27,
        name: "told_and_toll_free",
        sql: include_str!("../migrations/0027_insight.sql"),
        tenant_tables: &[],
        postgres: "",
    },
    Migration {
        version: 29,
        name: "reconciled",
        sql: include_str!("../migrations/0029_reconciled.sql"),
        tenant_tables: &[],
        postgres: "",
    },
    Migration {
        version: 30,
        name: "kinds",
        sql: include_str!("../migrations/0030_kinds.sql"),
        tenant_tables: &[],
        postgres: "",
    },
    Migration {
        version: 33,
        name: "set_aside",
        sql: include_str!("../migrations/0033_set_aside.sql"),
        tenant_tables: &[],
        postgres: "",
    },
    Migration {
        version: 35,
        name: "bills",
        sql: include_str!("../migrations/0035_bills.sql"),
        tenant_tables: &["subscriptions"],
        postgres: "",
    },
    Migration {
        version: 36,
        name: "ways",
        sql: include_str!("../migrations/0036_ways.sql"),
        tenant_tables: &[],
        postgres: "",
    },
    Migration {
        version: 37,
        name: "audit_seals",
        sql: include_str!("../migrations/0037_audit_seals.sql"),
        tenant_tables: &[],
        postgres: "",
    },
    Migration {
        version: 38,
        name: "alert_letters",
        sql: include_str!("../migrations/0038_alert_letters.sql"),
        tenant_tables: &[],
        postgres: "",
    },
    Migration {
        version: 39,
        name: "asked_for",
        sql: include_str!("../migrations/0039_asked_for.sql"),
        tenant_tables: &[],
        postgres: "",
    },
    Migration {
        version: 40,
        name: "operators_log",
        sql: include_str!("../migrations/0040_operators_log.sql"),
        tenant_tables: &[],
        postgres: "",
    },
    Migration {
        version: 41,
        name: "budgets",
        sql: include_str!("../migrations/0041_budgets.sql"),
        tenant_tables: &[],
        postgres: "",
    },
    Migration {
        version: 42,
        name: "payments",
        sql: include_str!("../migrations/0042_payments.sql"),
        tenant_tables: &[],
        postgres: "",
    },
    Migration {
        version: 44,
        name: "billed_again",
        sql: include_str!("../migrations/0044_billed_again.sql"),
        tenant_tables: &[],
        postgres: "",
    },
    Migration {
        version: 48,
        name: "payment_callbacks",
        sql: include_str!("../migrations/0048_payment_callbacks.sql"),
        tenant_tables: &[],
        postgres: "",
    },
    Migration {
        version: 49,
        name: "removed_messages",
        sql: include_str!("../migrations/0049_removed_messages.sql"),
        tenant_tables: &[],
        postgres: "",
    },
    Migration {
        version: 50,
        name: "set_aside_together",
        sql: include_str!("../migrations/0050_set_aside_together.sql"),
        tenant_tables: &[],
        postgres: "",
    },
    Migration {
        version: 51,
        name: "credit_tax",
        sql: include_str!("../migrations/0051_credit_tax.sql"),
        tenant_tables: &[],
        postgres: "",
    },
    Migration {
        version: 52,
        name: "charges_in_rows",
        sql: include_str!("../migrations/0052_charges_in_rows.sql"),
        tenant_tables: &[],
        postgres: "",
    },
];

/// Every table whose rows belong to one tenant, in the order they came to be.
pub fn tenant_tables() -> impl Iterator<Item = &'static str> {
    let mut seen = BTreeSet::new();
    let all = MIGRATIONS.iter().flat_map(|migration| migration.tenant_tables.iter().copied());
    all.filter(move |table| seen.insert(*table))
}

/// The newest version this binary knows.
pub const NEWEST: i64 = MIGRATIONS[MIGRATIONS.len() - 1].version;

const BASE_TENANT_TABLES: &[&str] = &[
    "data_keys",
    "api_keys",
    "accounts",
    "account_states",
    "endpoints",
    "contents",
    "messages",
    "deliveries",
    "inflight",
    "attempts",
    "observations",
    "later_facts",
    "early_reports",
    "events",
    "idempotency_keys",
    "usage_counters",
    "callback_log",
    "inbound_messages",
    "attachments",
    "audit_log",
];

const CONTACTS_TENANT_TABLES: &[&str] = &[
    "contacts",
    "contact_attributes",
    "lists",
    "list_members",
    "segments",
    "contact_imports",
    "contact_import_errors",
];

const TEMPLATE_TENANT_TABLES: &[&str] =
    &["templates", "template_versions", "template_counters", "branding", "tracking_hits"];
const CONSENT_TENANT_TABLES: &[&str] = &[
    "consent_policies",
    "suppressions",
    "soft_bounces",
    "consent_records",
    "consent_states",
    "contact_preferences",
    "topics",
    "fallbacks",
    "former_routes",
];

/// The queue tables are vacuumed early, because they churn.
const BASE_STORAGE: &str = "
ALTER TABLE deliveries SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_cost_delay = 0, fillfactor = 80);
ALTER TABLE inflight SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_cost_delay = 0, fillfactor = 80);
ALTER TABLE later_facts SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_cost_delay = 0, fillfactor = 80);
ALTER TABLE account_states SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_cost_delay = 0, fillfactor = 80);
ALTER TABLE usage_counters SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_cost_delay = 0, fillfactor = 80);
ALTER TABLE messages SET (fillfactor = 85);
";

/// The sums moved to a new table, which churns like the one before.
const SUMS_STORAGE: &str = "
ALTER TABLE message_counters SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_cost_delay = 0, fillfactor = 80);
ALTER TABLE message_days SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_cost_delay = 0, fillfactor = 80);
";

/// Applies what is missing and answers the versions applied. Refuses a database that is newer than this binary.
pub async fn migrate(db: &Db, now: Timestamp) -> Result<Vec<i64>, Error> {
    migrate_to(db, NEWEST, now).await
}

/// Brings a database no further than a version, as an earlier Tidings left it: for tests of upgrades.
pub async fn migrate_to(db: &Db, newest: i64, now: Timestamp) -> Result<Vec<i64>, Error> {
    db.write(Scope::System, move |tx| Box::pin(create_table(tx))).await?;
    let mut applied = Vec::new();
    for migration in MIGRATIONS.iter().filter(|migration| migration.version <= newest) {
        if db.write(Scope::System, move |tx| Box::pin(apply(tx, migration, now))).await? {
            applied.push(migration.version);
        }
    }
    db.write(Scope::System, |tx| Box::pin(statistics::tell(tx))).await?;
    Ok(applied)
}

/// The version of a database: 0 when it is empty.
pub async fn version(tx: &mut Tx) -> Result<i64, Error> {
    let exists = match tx.dialect() {
        Dialect::Sqlite => "SELECT COUNT(*) FROM sqlite_schema WHERE name = 'migrations'",
        Dialect::Postgres => {
            "SELECT COUNT(*) FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'migrations'"
        }
    };
    if tx.row(exists, &[]).await?.map_or(Ok(0), |mut row| row.get::<i64>(0))? == 0 {
        return Ok(0);
    }
    tx.row("SELECT COALESCE(MAX(version), 0) FROM migrations", &[]).await?.map_or(Ok(0), |mut row| row.get(0))
}

/// When a database that was there before was brought to a version; `None` for one that was made with it. Programs of the version before may run beside this one for a while from then on.
pub async fn upgraded_at(tx: &mut Tx, version: i64) -> Result<Option<Timestamp>, Error> {
    let sql = "SELECT applied_at FROM migrations WHERE version = $1 AND applied_at > (SELECT MIN(applied_at) FROM migrations)";
    tx.row(sql, &[&version]).await?.map(|mut row| row.get(0)).transpose()
}

async fn is_applied(tx: &mut Tx, version: i64) -> Result<bool, Error> {
    let row = tx.row("SELECT COUNT(*) FROM migrations WHERE version = $1", &[&version]).await?;
    row.map_or(Ok(0), |mut row| row.get::<i64>(0)).map(|count| count > 0)
}

/// Lets one node at a time change the schema. SQLite's writer already holds the write lock.
async fn lock(tx: &mut Tx) -> Result<(), Error> {
    /// Any number nobody else uses in this database: "tidings" in ASCII.
    const KEY: i64 = 0x0074_6964_696e_6773;
    if tx.dialect() == Dialect::Postgres {
        tx.execute("SELECT pg_advisory_xact_lock($1)", &[&KEY]).await?;
    }
    Ok(())
}

async fn create_table(tx: &mut Tx) -> Result<(), Error> {
    lock(tx).await?;
    let sql = for_engine(
        "CREATE TABLE IF NOT EXISTS migrations (version BIGINT PRIMARY KEY, name TEXT NOT NULL, applied_at {TIME} NOT NULL);",
        tx.dialect(),
    );
    tx.script(&sql).await
}

async fn apply(tx: &mut Tx, migration: &Migration, now: Timestamp) -> Result<bool, Error> {
    lock(tx).await?;
    let found = version(tx).await?;
    if found > NEWEST {
        return Err(Error::TooNew { found, known: NEWEST });
    }
    // Not by the highest number: a database may have met a later migration before an earlier one was merged.
    if found > 0 && is_applied(tx, migration.version).await? {
        return Ok(false);
    }
    tx.script(&for_engine(migration.sql, tx.dialect())).await?;
    if tx.dialect() == Dialect::Postgres {
        tx.script(&guards(migration.tenant_tables)).await?;
        tx.script(migration.postgres).await?;
    }
    tx.execute(
        "INSERT INTO migrations (version, name, applied_at) VALUES ($1, $2, $3)",
        &[&migration.version, &migration.name, &now],
    )
    .await?;
    tracing::info!(version = migration.version, name = migration.name, "Migrated the database");
    Ok(true)
}

/// Row-level security: a second wall behind the tenant argument of every function. Without a tenant set, nothing is visible.
fn guards(tables: &[&str]) -> String {
    let policy = |table: &&str| {
        format!(
            "ALTER TABLE {table} ENABLE ROW LEVEL SECURITY; ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
             CREATE POLICY tenant ON {table} USING ((SELECT current_setting('tidings.tenant', TRUE)) IN ('*', tenant_id::TEXT));\n"
        )
    };
    tables.iter().map(policy).collect()
}

fn for_engine(sql: &str, dialect: Dialect) -> String {
    let words: [(&str, &str, &str); 10] = [
        ("{ID}", "BLOB", "UUID"),
        ("{TIME}", "INTEGER", "TIMESTAMPTZ"),
        ("{JSON}", "TEXT", "JSONB"),
        ("{BYTES}", "BLOB", "BYTEA"),
        ("{KEY}", "TEXT", "TEXT COLLATE \"C\""),
        ("{SERIAL}", "INTEGER PRIMARY KEY AUTOINCREMENT", "BIGSERIAL PRIMARY KEY"),
        ("{TXID}", "DEFAULT 0", "DEFAULT (pg_current_xact_id()::TEXT::BIGINT)"),
        ("{CLUSTERED}", "WITHOUT ROWID", ""),
        ("{EPOCH}", "0", "TIMESTAMPTZ 'epoch'"),
        // The quarter of an hour in which a message `m` was accepted.
        (
            "{QUARTER}",
            "m.created_at - m.created_at % 900000000",
            "date_bin('15 minutes', m.created_at, TIMESTAMPTZ 'epoch')",
        ),
    ];
    words.iter().fold(sql.to_owned(), |sql, (word, sqlite, postgres)| {
        sql.replace(word, if dialect == Dialect::Sqlite { sqlite } else { postgres })
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use model::{Channel, InvoiceId, MessageId, TenantId};

    use super::*;
    use crate::{charge_counters, credits, invoices, messages, scratch::Scratch};

    const ACME: TenantId = TenantId::from_ulid(10);

    const fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    /// A database as it was before sums of charges were kept: one message of a month that was billed and one of the next, and a charge whose message is gone.
    async fn prepare(tx: &mut Tx) -> Result<(), Error> {
        let ledger = credits::Ledger { revenue: 111, ..credits::Ledger::empty(ACME, "postpaid", "EUR", at(1)) };
        credits::put(tx, ACME, &ledger).await?;
        let sms = |id: u128, second: i64| {
            let content = messages::ContentId(id);
            messages::Message::new(ACME, MessageId::from_ulid(id), Channel::Sms, "+1".to_owned(), content, at(second))
        };
        messages::insert_many(tx, &[sms(1, 1_000), sms(2, 3_000)]).await?;
        let charge = |id: u128, charged: i64| {
            let charge = credits::Charge::new(ACME, MessageId::from_ulid(id), "settled");
            credits::Charge { charged, ..charge }
        };
        credits::put_charges(tx, &[charge(1, 10), charge(2, 100)]).await?;
        let time = (at(900), at(2_700));
        let month = invoices::Invoice {
            state: "issued".to_owned(),
            body: "{}".to_owned(),
            ..invoices::Invoice::draft(ACME, InvoiceId::from_ulid(1), "invoice", "EUR", time, at(3))
        };
        invoices::insert(tx, ACME, &month).await?;
        tx.script("DELETE FROM charge_counters; DELETE FROM invoiced_usage;").await
    }

    #[tokio::test]
    async fn what_was_charged_before_is_summed_and_what_was_billed_is_known() {
        let scratch = Scratch::new("charges-before").await;
        let sql = MIGRATIONS.iter().find(|migration| migration.version == 24).unwrap().sql;
        let found = scratch.db.write(Scope::System, move |tx| {
            Box::pin(async move {
                prepare(tx).await?;
                tx.script(&for_engine(sql, tx.dialect())).await?;
                let open = charge_counters::sums(tx, ACME, at(2_700), at(9_000)).await?;
                let billed = invoices::invoiced_since(tx, ACME, at(0)).await?;
                Ok::<_, Error>((open, billed, charge_counters::total(tx, ACME).await?))
            })
        });
        let (open, billed, total) = found.await.unwrap();
        let counts = charge_counters::Counts { messages: 1, charged: 100 };
        assert_eq!(open, BTreeMap::from([((Channel::Sms, String::new()), counts)]));
        assert_eq!((billed.len(), billed[0].charges, billed[0].charged, billed[0].sent), (1, 1, 10, 0));
        assert_eq!(total, 111, "all of it is what the ledger says was spent");
    }
}
