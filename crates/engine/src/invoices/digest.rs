//! What may never change of an invoice, as one hash: one that says something else than when it was issued is told of (`tidings doctor --ledger`).
//!
//! Once an invoice or a credit note has its number, or a draft is dropped, the entry of the audit log about that has its [`Digest`]: in the tenant's log, and in the operator's, which outlives the
//! tenant as the invoice does. Logs are chained and sealed with a key that is not in the database, so whoever has only that can change an invoice, and cannot make the entry that would go with it. What
//! becomes of an invoice later, that it is paid or taken back, changes nothing of this, and is an entry as well.
//!
//! Invoices of an earlier Tidings get an entry of their own, once, by [`record_earlier`]: as they were found, which says nothing about what happened to them before. When all of them have one the log says so
//! ([`Progress::Complete`]), and from then on an invoice without an entry is one that Tidings did not write.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use aws_lc_rs::digest::{SHA256, digest};
use model::{InvoiceId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::{
    Scope, Tx,
    audit::{self as log, Told},
    invoices::{self as rows, Invoice},
};

use super::{
    InvoiceState,
    telling::{facts, name_of_gone},
};
use crate::{Engine, Error, UPGRADE_S, audit, demo::bill::SERIES, keys::Caller, vault::OPERATOR};

/// The form in which invoices are hashed now.
const FORM: i64 = 1;
/// The entry of an invoice that had its number before there were digests.
pub(crate) const RECORDED: &str = "invoice.recorded";
/// The entry that says since when those are looked for.
const BEGUN: &str = "invoice.digests_begun";
/// The entry that says that all of them have one.
const COMPLETE: &str = "invoice.digests_complete";
/// What these two are about.
const ALL: &str = "invoices";
/// Invoices looked at together.
const PAGE: i64 = 1_000;
/// Invoices recorded in one transaction, which holds the operator's log as long as it lasts: some milliseconds.
const RECORDED_AT_ONCE: usize = 50;

/// The hash of an invoice as it was issued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Digest {
    /// In which form it was hashed.
    form: i64,
    /// The SHA-256 of that, in hexadecimal digits.
    sha256: String,
}

impl Digest {
    /// The digest of an invoice that says what it says from now on.
    pub(crate) fn of(row: &Invoice) -> Self {
        Self { form: FORM, sha256: hashed(FORM, row).expect("the form of now is known") }
    }

    /// The digest in the detail of an entry, if it has one.
    pub(crate) fn in_detail(detail: &Value) -> Option<Self> {
        Self::deserialize(detail.get("digest")?).ok()
    }

    /// Whether an invoice says what it said. One that a newer Tidings hashed in a form this one does not know is not judged.
    pub(crate) fn holds(&self, row: &Invoice) -> bool {
        hashed(self.form, row).is_none_or(|sha256| sha256 == self.sha256)
    }
}

/// Hashes an invoice in one of the forms there are; `None` for one that is not known. A form never changes: what an invoice has besides from some version on gets a form of its own.
///
/// The first is a JSON array, in which no two invoices look the same. What stands on it (seller, customer, lines, taxes, notes) is in there byte by byte as it was written, whatever fields that has.
fn hashed(form: i64, row: &Invoice) -> Option<String> {
    let canonical = match form {
        1 => json!([
            form,
            row.tenant_id,
            row.id,
            row.kind,
            row.number,
            row.of_id,
            row.currency,
            row.starts_at,
            row.ends_at,
            row.total,
            row.issued_at,
            row.due_at,
            row.created_at,
            row.body,
        ]),
        _ => return None,
    };
    let hash = digest(&SHA256, canonical.to_string().as_bytes());
    Some(hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Whether an invoice says what it says for good. A demo's is for show and goes with its tenant.
pub(crate) fn is_final(row: &Invoice) -> bool {
    let is_demo = row.number.as_deref().is_some_and(|number| number.starts_with(SERIES));
    row.state != InvoiceState::Draft.as_str() && !is_demo
}

/// What the operator's log tells of invoices, of each in the order in which it happened.
pub(crate) async fn told(tx: &mut Tx, invoices: &[Invoice]) -> Result<BTreeMap<String, Vec<Told>>, Error> {
    let ids: Vec<String> = invoices.iter().map(|row| row.id.to_string()).collect();
    Ok(log::about_many(tx, OPERATOR, &ids).await?)
}

/// How far the invoices of an earlier Tidings have their digests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Nobody has looked for them yet.
    None,
    /// They are looked for since an instant.
    Since(Timestamp),
    /// All have one.
    Complete,
}

impl Progress {
    /// Reads it from the operator's log.
    pub(crate) async fn read(tx: &mut Tx) -> Result<Self, Error> {
        let told = log::about_many(tx, OPERATOR, &[ALL.to_owned()]).await?.remove(ALL).unwrap_or_default();
        if told.iter().any(|entry| entry.action == COMPLETE) {
            return Ok(Self::Complete);
        }
        let begun = told.iter().find(|entry| entry.action == BEGUN);
        Ok(begun.map_or(Self::None, |entry| Self::Since(entry.at)))
    }
}

/// Writes down what invoices say that were issued by an earlier Tidings, for an hour, in which one may still run beside this one. Answers how many; nothing is asked any more once all are written down.
#[crate::boxed]
pub async fn record_earlier(engine: &Engine) -> Result<u64, Error> {
    let read = engine.ports.db.read(Scope::System, |tx| Box::pin(Progress::read(tx)));
    let since = match read.await? {
        Progress::Complete => return Ok(0),
        Progress::Since(at) => Some(at),
        Progress::None => None,
    };
    let now = engine.ports.clock.now();
    if since.is_none() {
        say(engine, BEGUN, json!({}), now).await?;
    }
    let (mut after, mut recorded) = (InvoiceId::from_ulid(0), 0);
    loop {
        let read = engine.ports.db.read(Scope::System, move |tx| {
            Box::pin(async move {
                let page = rows::page(tx, after, PAGE).await?;
                let last = page.last().map(|row| row.id);
                Ok::<_, Error>((last, without_digest(tx, page).await?))
            })
        });
        let (last, missing) = read.await?;
        for some in missing.chunks(RECORDED_AT_ONCE) {
            recorded += record(engine, some, now).await?;
        }
        match last {
            Some(last) => after = last,
            None => break,
        }
    }
    if since.is_some_and(|at| at.plus_seconds(UPGRADE_S) <= now) {
        say(engine, COMPLETE, json!({}), now).await?;
    }
    Ok(recorded)
}

/// Writes into the operator's log how far all invoices have come.
async fn say(engine: &Engine, what: &'static str, detail: Value, now: Timestamp) -> Result<(), Error> {
    let ids = Arc::clone(&engine.ports.ids);
    let write = engine.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move { audit::record(tx, OPERATOR, &ids, now, &Caller::system(None), what, ALL, &detail).await })
    });
    write.await
}

/// Those that are final and have no digest.
async fn without_digest(tx: &mut Tx, mut invoices: Vec<Invoice>) -> Result<Vec<(TenantId, InvoiceId)>, Error> {
    invoices.retain(is_final);
    let told = told(tx, &invoices).await?;
    let has_digest = |entry: &Told| {
        serde_json::from_str(&entry.detail).is_ok_and(|detail: Value| Digest::in_detail(&detail).is_some())
    };
    invoices.retain(|row| !told.get(&row.id.to_string()).is_some_and(|told| told.iter().any(has_digest)));
    Ok(invoices.into_iter().map(|row| (row.tenant_id, row.id)).collect())
}

/// Writes down what these say now, and what became of them by now. Answers how many.
async fn record(engine: &Engine, some: &[(TenantId, InvoiceId)], now: Timestamp) -> Result<u64, Error> {
    let (some, ids) = (some.to_vec(), Arc::clone(&engine.ports.ids));
    let write = engine.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move {
            // All of them before the log, in the order in which others take both.
            let mut locked = Vec::new();
            for (tenant, id) in some {
                locked.extend(rows::lock(tx, tenant, id).await?);
            }
            // Another process may have been first.
            let missing: BTreeSet<_> = without_digest(tx, locked.clone()).await?.into_iter().collect();
            locked.retain(|row| missing.contains(&(row.tenant_id, row.id)));
            for row in &locked {
                let mut detail = facts(row);
                detail["paid_at"] = json!(row.paid_at);
                detail["reference"] = json!(row.payment);
                detail["voided_at"] = json!(row.voided_at);
                detail["digest"] = json!(Digest::of(row));
                let (by, name) = (Caller::system(None), name_of_gone(tx, row).await?);
                audit::record_of_gone(tx, row.tenant_id, name, &ids, now, &by, RECORDED, row.id, &detail).await?;
            }
            Ok::<_, Error>(locked.len() as u64)
        })
    });
    write.await
}

#[cfg(test)]
mod tests {
    use store::invoices::Mail;

    use super::*;

    fn invoice() -> Invoice {
        let at = Timestamp::from_seconds;
        Invoice {
            tenant_id: TenantId::from_ulid(1),
            id: InvoiceId::from_ulid(2),
            kind: "invoice".to_owned(),
            state: "issued".to_owned(),
            number: Some("INV-000001".to_owned()),
            of_id: None,
            currency: "USD".to_owned(),
            starts_at: at(10),
            ends_at: at(20),
            total: 30,
            body: r#"{"net":30}"#.to_owned(),
            issued_at: Some(at(30)),
            due_at: Some(at(40)),
            paid_at: None,
            payment: None,
            voided_at: None,
            mail: Mail::default(),
            created_at: at(30),
            updated_at: at(30),
        }
    }

    #[test]
    fn a_form_never_changes() {
        // Whoever changes what is hashed breaks every digest that was written: it gets another form.
        let expected = r#"[1,"ten_00000000000000000000000001","inv_00000000000000000000000002","invoice","INV-000001",null,"USD","1970-01-01T00:00:10.000000Z","1970-01-01T00:00:20.000000Z",30,"1970-01-01T00:00:30.000000Z","1970-01-01T00:00:40.000000Z","1970-01-01T00:00:30.000000Z","{\"net\":30}"]"#;
        let hash = digest(&SHA256, expected.as_bytes());
        let hex: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(Digest::of(&invoice()), Digest { form: 1, sha256: hex });
    }

    #[test]
    fn what_becomes_of_an_invoice_changes_nothing_of_what_it_says() {
        let (issued, at) = (invoice(), Some(Timestamp::from_seconds(50)));
        let digest = Digest::of(&issued);
        let check = |row: Invoice, expected: bool| assert_eq!(digest.holds(&row), expected, "{row:?}");
        check(
            Invoice { state: "paid".to_owned(), paid_at: at, payment: Some("bank".to_owned()), ..issued.clone() },
            true,
        );
        check(Invoice { state: "void".to_owned(), voided_at: at, ..issued.clone() }, true);
        check(Invoice { mail: Mail { mailed_at: at, ..Mail::default() }, ..issued.clone() }, true);
        check(Invoice { tenant_id: TenantId::from_ulid(3), ..issued.clone() }, false);
        check(Invoice { number: Some("INV-000002".to_owned()), ..issued.clone() }, false);
        check(Invoice { body: r#"{"net":31}"#.to_owned(), ..issued.clone() }, false);
        check(Invoice { total: 31, ..issued.clone() }, false);
        check(Invoice { due_at: at, ..issued.clone() }, false);
        // What a newer Tidings hashed is not judged.
        assert!(Digest { form: 2, sha256: String::new() }.holds(&issued));
    }
}
