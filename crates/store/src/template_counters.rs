//! Sums over the messages of each version of a template, written in the transaction that changes the messages.

use std::collections::BTreeMap;

use model::{TemplateId, TenantId};

use crate::{Error, Given, Kind, Tx, usage};

/// What is counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Whose.
    pub tenant_id: TenantId,
    /// Which template.
    pub template_id: TemplateId,
    /// Which of its versions.
    pub version: u32,
    /// True for test sends.
    pub is_test: bool,
}

/// What became of messages, and what was done with them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// What became of them.
    pub outcome: usage::Counts,
    /// Opened by a person.
    pub opened: i64,
    /// With a link a person followed.
    pub clicked: i64,
    /// Opened by a program.
    pub machine_opened: i64,
    /// With a link a program followed.
    pub machine_clicked: i64,
}

impl Counts {
    /// Adds others.
    pub fn add(&mut self, other: Self) {
        self.outcome += other.outcome;
        self.opened += other.opened;
        self.clicked += other.clicked;
        self.machine_opened += other.machine_opened;
        self.machine_clicked += other.machine_clicked;
    }

    /// The difference to others.
    #[must_use]
    pub fn less(self, other: Self) -> Self {
        Self {
            outcome: self.outcome - other.outcome,
            opened: self.opened - other.opened,
            clicked: self.clicked - other.clicked,
            machine_opened: self.machine_opened - other.machine_opened,
            machine_clicked: self.machine_clicked - other.machine_clicked,
        }
    }
}

/// The sums' columns, in the order of [`Counts`].
pub(crate) const NAMES: [&str; 15] = [
    "accepted",
    "sent",
    "delivered",
    "read",
    "failed",
    "bounced",
    "canceled",
    "expired",
    "suppressed",
    "unknown",
    "segments",
    "opened",
    "clicked",
    "machine_opened",
    "machine_clicked",
];

/// Adds to the sums. The keys come in order, so that two transactions cannot wait for each other.
pub async fn add_many(tx: &mut Tx, shard: i64, added: &BTreeMap<Key, Counts>) -> Result<(), Error> {
    let mut given = Given::new(&[
        ("tenant_id", Kind::Id),
        ("template_id", Kind::Id),
        ("version", Kind::Int),
        ("is_test", Kind::Bool),
        ("shard", Kind::Int),
        ("accepted", Kind::Int),
        ("sent", Kind::Int),
        ("delivered", Kind::Int),
        ("read", Kind::Int),
        ("failed", Kind::Int),
        ("bounced", Kind::Int),
        ("canceled", Kind::Int),
        ("expired", Kind::Int),
        ("suppressed", Kind::Int),
        ("unknown", Kind::Int),
        ("segments", Kind::Int),
        ("opened", Kind::Int),
        ("clicked", Kind::Int),
        ("machine_opened", Kind::Int),
        ("machine_clicked", Kind::Int),
    ]);
    let zero = Counts::default();
    for (key, c) in added.iter().filter(|(_, counts)| **counts != zero) {
        let o = &c.outcome;
        given.row([
            &key.tenant_id,
            &key.template_id,
            &key.version,
            &key.is_test,
            &shard,
            &o.accepted,
            &o.sent,
            &o.delivered,
            &o.read,
            &o.failed,
            &o.bounced,
            &o.canceled,
            &o.expired,
            &o.suppressed,
            &o.unknown,
            &o.segments,
            &c.opened,
            &c.clicked,
            &c.machine_opened,
            &c.machine_clicked,
        ]);
    }
    let sets: Vec<_> =
        NAMES.iter().map(|name| format!("{name} = template_counters.{name} + excluded.{name}")).collect();
    let suffix =
        format!("ON CONFLICT (tenant_id, template_id, version, is_test, shard) DO UPDATE SET {}", sets.join(", "));
    tx.insert_many_later("template_counters", &given, &suffix).await
}

/// The sums of one of the tenant's templates by version and test, in that order.
pub async fn of_template(
    tx: &mut Tx,
    tenant: TenantId,
    template: TemplateId,
) -> Result<Vec<(u32, bool, Counts)>, Error> {
    let sums = NAMES.iter().map(|name| format!("CAST(SUM({name}) AS BIGINT)")).collect::<Vec<_>>().join(", ");
    let sql = format!(
        "SELECT version, is_test, {sums} FROM template_counters WHERE tenant_id = $1 AND template_id = $2
         GROUP BY version, is_test ORDER BY version, is_test"
    );
    let rows = tx.rows(&sql, &[&tenant, &template]).await?.into_iter();
    rows.map(|mut row| {
        let row = &mut row;
        let counts = Counts {
            outcome: usage::Counts {
                accepted: row.get(2)?,
                sent: row.get(3)?,
                delivered: row.get(4)?,
                read: row.get(5)?,
                failed: row.get(6)?,
                bounced: row.get(7)?,
                canceled: row.get(8)?,
                expired: row.get(9)?,
                suppressed: row.get(10)?,
                unknown: row.get(11)?,
                segments: row.get(12)?,
                // What templates come to does not depend on how long they are.
                bytes: 0,
            },
            opened: row.get(13)?,
            clicked: row.get(14)?,
            machine_opened: row.get(15)?,
            machine_clicked: row.get(16)?,
        };
        Ok((row.get(0)?, row.get(1)?, counts))
    })
    .collect()
}
