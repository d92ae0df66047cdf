//! What invoices say, and what became of them, against the operator's log, which is chained and sealed with a key that is not in the database (`tidings doctor --audit` checks that): who writes over an invoice, marks it as
//! paid or taken back, removes it or makes one up is told of, however well the rest adds up.

use std::collections::BTreeMap;

use model::{InvoiceId, Timestamp};
use serde_json::Value;
use store::{Db, Scope, audit::Told, invoices::Invoice, recounts};

use super::{Found, PAGE};
use crate::{
    Error,
    invoices::{
        InvoiceState,
        digest::{Digest, RECORDED, is_final},
    },
    vault::OPERATOR,
};

/// An invoice as the log tells of it.
#[derive(Debug)]
struct Said {
    digest: Digest,
    /// When it got its digest.
    at: Timestamp,
    /// True when an earlier Tidings had issued it by then.
    is_earlier: bool,
    paid_at: Option<Timestamp>,
    payment: Option<String>,
    voided_at: Option<Timestamp>,
}

/// What the entries about an invoice come to; `None` before it is final, and for one of an earlier Tidings that is not recorded yet.
fn said(told: &[Told]) -> Option<Said> {
    let mut said: Option<Said> = None;
    for entry in told {
        let Ok(detail) = serde_json::from_str::<Value>(&entry.detail) else { continue };
        let text = |field: &str| detail[field].as_str().map(str::to_owned);
        let instant = |field: &str| detail[field].as_str().and_then(|at| at.parse().ok());
        if said.is_none()
            && let Some(digest) = Digest::in_detail(&detail)
        {
            said = Some(Said {
                digest,
                at: entry.at,
                is_earlier: entry.action == RECORDED,
                paid_at: instant("paid_at"),
                payment: text("reference"),
                voided_at: instant("voided_at"),
            });
        }
        let Some(said) = &mut said else { continue };
        match &*entry.action {
            "invoice.paid" => (said.paid_at, said.payment) = (instant("paid_at"), text("reference")),
            "invoice.voided" => said.voided_at = Some(entry.at),
            _ => {}
        }
    }
    said
}

/// What an invoice says, or says that became of it, and the log does not tell. `are_all_told`: every invoice that is final has its digest there.
pub(super) fn untold(row: &Invoice, told: &[Told], are_all_told: bool) -> Option<String> {
    let Some(said) = said(told) else {
        let is_strange = are_all_told && is_final(row);
        return is_strange
            .then(|| format!("it is {}, and no entry of the operator's log says who made it so", row.state));
    };
    if !said.digest.holds(row) {
        let what = if said.is_earlier { "was recorded" } else { "became final" };
        return Some(format!("it does not say what it said when it {what} at {}", said.at));
    }
    let marks = (row.paid_at, row.payment.as_deref(), row.voided_at);
    let expected = (said.paid_at, said.payment.as_deref(), said.voided_at);
    let state = match (said.voided_at, said.paid_at) {
        (Some(_), _) => InvoiceState::Void,
        (None, Some(_)) => InvoiceState::Paid,
        (None, None) => InvoiceState::Issued,
    };
    (marks != expected || row.state != state.as_str()).then(|| {
        let words = |(paid, payment, voided): (Option<Timestamp>, Option<&str>, Option<Timestamp>)| {
            let at = |at: Option<Timestamp>| at.map_or_else(|| "never".to_owned(), |at| at.to_string());
            format!("paid {} ({}), taken back {}", at(paid), payment.unwrap_or("no reference"), at(voided))
        };
        format!(
            "it is {}, {}, and the operator's log says {}, {}",
            row.state,
            words(marks),
            state.as_str(),
            words(expected)
        )
    })
}

/// Invoices the log tells of and that are not there any more. They outlive their tenants.
pub(super) async fn missing(db: &Db, found: &mut Found) -> Result<(), Error> {
    let (mut after, mut missing) = (0, BTreeMap::new());
    loop {
        let read = db.read(Scope::System, move |tx| {
            Box::pin(async move {
                let page = recounts::said_of_invoices(tx, OPERATOR, after, PAGE).await?;
                let last = page.last().map(|entry| entry.number);
                let mut of: BTreeMap<InvoiceId, _> =
                    page.into_iter().filter_map(|entry| Some((entry.subject.parse().ok()?, entry.tenant_id))).collect();
                let ids: Vec<InvoiceId> = of.keys().copied().collect();
                let there = recounts::there_are(tx, &ids).await?;
                of.retain(|id, _| !there.contains(id));
                Ok::<_, Error>((last, of))
            })
        });
        let (last, of) = read.await?;
        missing.extend(of);
        match last {
            Some(last) => after = last,
            None => break,
        }
    }
    for (id, tenant) in missing {
        found.add(tenant, "invoice", || format!("{id} is gone, and the operator's log tells of it"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(number: i64, action: &str, detail: &Value) -> Told {
        Told { number, at: Timestamp::from_seconds(number), action: action.to_owned(), detail: detail.to_string() }
    }

    #[test]
    fn entries_come_to_what_became_of_an_invoice() {
        let digest = json!({"form": 1, "sha256": "ab"});
        let (issued, paid) = (
            entry(1, "invoice.issued", &json!({"state": "issued", "digest": digest})),
            entry(2, "invoice.paid", &json!({"reference": "bank", "paid_at": "2026-11-01T00:00:00Z"})),
        );
        let marks = |told: &[Told]| said(told).map(|said| (said.paid_at.is_some(), said.payment, said.voided_at));
        assert_eq!(marks(std::slice::from_ref(&paid)), None, "of an earlier Tidings");
        assert_eq!(marks(std::slice::from_ref(&issued)), Some((false, None, None)));
        let voided = entry(3, "invoice.voided", &json!({"reason": "a mistake", "paid_at": "2026-11-01T00:00:00Z"}));
        let all = [issued, paid, voided];
        assert_eq!(marks(&all), Some((true, Some("bank".to_owned()), Some(Timestamp::from_seconds(3)))));
        let recorded =
            json!({"paid_at": "2026-11-01T00:00:00Z", "reference": "cash", "voided_at": null, "digest": digest});
        assert_eq!(marks(&[entry(4, RECORDED, &recorded)]), Some((true, Some("cash".to_owned()), None)));
        // A draft that is dropped is final from then on.
        assert_eq!(
            marks(&[entry(5, "invoice.voided", &json!({"digest": digest}))]),
            Some((false, None, Some(Timestamp::from_seconds(5))))
        );
    }
}
