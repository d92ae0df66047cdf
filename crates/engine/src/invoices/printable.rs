//! Whether an invoice can be printed: no font we ship has Chinese, Japanese and Korean characters, nor pictures, and an invoice with empty boxes for a name is none.
//!
//! What is written for invoices is checked where it is written; a tenant's own name is not, and neither is what an earlier version took. So it is checked once more when a month is closed, where such an
//! invoice stays a draft that says why (as its mail's failure), and when it is issued, after it was written anew.

use store::{
    Tx,
    invoices::{Invoice, Mail},
    plans,
};

use super::{
    Body,
    compose::LineKind,
    mailing::{MailFailure, MailState},
    printing::drawn,
};
use crate::{
    Error,
    branding::Branding,
    documents::{self, Look},
};

/// The code of what cannot be printed.
const CODE: &str = "invoice_unprintable";
/// Where the document has a text, what that is, and where it is written. The most particular first.
const PLACES: [(&str, &str, &str); 9] = [
    ("/buyer/name", "the customer's name", "`customer.name` of PATCH /v1/subscription"),
    ("/buyer/address", "the customer's address", "`customer.address` of PATCH /v1/subscription"),
    ("/buyer", "the customer", "`customer` of PATCH /v1/subscription"),
    ("/seller", "the seller", "`seller` of PATCH /v1/billing-settings"),
    ("/payment", "how to pay", "`payment` of PATCH /v1/billing-settings"),
    ("/notes", "the note", "`note` of PATCH /v1/billing-settings"),
    ("/taxes", "the tax's name", "`taxes` of PATCH /v1/billing-settings, or `customer.tax`"),
    ("/lines", "the plan's name", "`name` of PATCH /v1/plans/{id}"),
    ("", "another text", "the invoice"),
];

/// Where an invoice has a character no font has, and the first such there.
fn faults(row: &Invoice, body: &Body) -> Vec<(String, char)> {
    // Most have none, and need no fonts to tell.
    if serde_json::to_string(body).is_ok_and(|text| text.is_ascii()) {
        return Vec::new();
    }
    documents::uncovered(&drawn(row, body.clone(), "UTC", Look::of(&Branding::default(), None)))
}

/// Why an invoice cannot be printed; `None` for one that can. Pure.
pub(super) fn problem(row: &Invoice, body: &Body) -> Option<Error> {
    said(&faults(row, body)).map(|why| Error::conflict(CODE, why))
}

/// What of a document cannot be printed, and where to put it right, from what [`documents::uncovered`] found.
pub(crate) fn said(faults: &[(String, char)]) -> Option<String> {
    let said = faults.iter().map(|(pointer, c)| {
        let (_, what, remedy) =
            PLACES.iter().find(|(place, ..)| pointer.starts_with(place)).expect("the last place is everywhere");
        format!(
            "{what} has the character `{c}` (U+{:04X}), which no font we ship has: write {remedy} in another script",
            u32::from(*c)
        )
    });
    let mut said: Vec<String> = said.collect();
    said.dedup();
    (!said.is_empty()).then(|| format!("This cannot be printed: {}.", said.join("; ")))
}

/// The mail of an invoice that stays a draft because it cannot be printed.
pub(super) fn held(why: &Error) -> Mail {
    let failure = MailFailure { code: why.code.to_owned(), detail: why.detail.clone() };
    Mail {
        state: Some(MailState::Failed.as_str().to_owned()),
        failure: serde_json::to_string(&failure).ok(),
        ..Mail::default()
    }
}

/// Of a tenant that is gone nobody can say its name otherwise: it is called by its id, and what else of it cannot be printed is left out.
pub(super) fn spell_out(row: &Invoice, body: &mut Body) {
    let places: Vec<String> = faults(row, body).into_iter().map(|(pointer, _)| pointer).collect();
    let has = |place: &str| places.iter().any(|pointer| pointer == place);
    let customer = &mut body.customer;
    if has("/buyer/name") {
        customer.name = Some(row.tenant_id.to_string());
    }
    let mut index = 0;
    customer.address.retain(|_| {
        index += 1;
        !has(&format!("/buyer/address/{}", index - 1))
    });
    for (place, text) in [("/buyer/tax_id", &mut customer.tax_id), ("/buyer/email", &mut customer.email)] {
        if has(place) {
            *text = None;
        }
    }
}

/// Takes the plan's name anew where it cannot be printed.
pub(super) async fn rename_plan(tx: &mut Tx, row: &Invoice, body: &mut Body) -> Result<(), Error> {
    if !faults(row, body).iter().any(|(pointer, _)| pointer.starts_with("/lines")) {
        return Ok(());
    }
    let Some(id) = body.plan_id else { return Ok(()) };
    let Some(plan) = plans::find(tx, id).await? else { return Ok(()) };
    for line in body.lines.iter_mut().filter(|line| line.kind == LineKind::Fee) {
        if let Some(rest) = line.description.strip_prefix(&body.plan) {
            line.description = format!("{}{rest}", plan.name);
        }
    }
    body.plan = plan.name;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_of_a_document_is_named() {
        let of = |pointer: &str| PLACES.iter().find(|(place, ..)| pointer.starts_with(place)).unwrap().1;
        let seen =
            ["/buyer/name", "/buyer/address/1", "/buyer/tax_id", "/seller/name", "/lines/0/description", "/number"]
                .map(of);
        assert_eq!(
            seen,
            [
                "the customer's name",
                "the customer's address",
                "the customer",
                "the seller",
                "the plan's name",
                "another text"
            ]
        );
    }
}
